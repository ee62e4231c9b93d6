/* What a folder says about its tokenizer beside tokenizer.json. */
#include "model/tokenizer_private.h"

#include "core/file.h"

#include <stdlib.h>

enum { FILE_MAX = 1 << 29 };

/* transformers writes 1e30 for "no limit", as an integer of 31 digits that no JSON integer can hold. */
static const double LENGTH_MAX = 1e15;

/* Takes model_max_length out of the text, for it may be too big for the general reader. */
static void take_max_length(Tokenizer *t, StrBuf *text)
{
    Str value;

    if (!table_member(strbuf_str(text), "model_max_length", &value) || value.len < sizeof "null" - 1)
        return;
    const size_t at = (size_t)(value.data - text->data);
    if (value.data[0] < '1' || value.data[0] > '9' || strtod(text->data + at, NULL) < LENGTH_MAX)
        return;
    memset(text->data + at, ' ', value.len);
    memcpy(text->data + at, "null", sizeof "null" - 1);
    t->max_length = 0;
}

/* "bos_token": "<s>", or an object with its content; null: none. */
static Status read_token_name(const Tokenizer *t, JsonAt at, bool required, int32_t *id)
{
    const JsonAt content = json_member(&at, "content");
    Str text;

    if (!json_here(at))
        return LT_OK;
    TRY(json_to_str(content.value != NULL ? content : at, &text));
    *id = tokenizer_find(t, text);
    if (*id < 0 && required)
        return json_fail(at, "'" STR_FORMAT "' is not a token of this tokenizer", STR_ARG(text));
    return LT_OK;
}

static Status set_template(Tokenizer *t, Str text)
{
    TRY(sha256_of(text.data, text.len, &t->template_digest));
    t->has_template = true;
    return LT_OK;
}

/* One text, or a list of named ones, of which transformers uses "default". */
static Status read_template(Tokenizer *t, JsonAt at)
{
    size_t n;
    Str text;

    if (!json_here(at))
        return LT_OK;
    if (!json_is_array(at.value)) {
        TRY(json_to_str(at, &text));
        return set_template(t, text);
    }
    TRY(json_to_array(at, &n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt item = json_element(&at, i);
        TRY(json_get_str(&item, "name", &text));
        if (!str_is(text, "default"))
            continue;
        TRY(json_get_str(&item, "template", &text));
        return set_template(t, text);
    }
    return LT_OK;
}

/* A tokenizer.json has its added tokens in itself; beside a tokenizer.model others say them, as {"content": id} or {"id": {"content"}}. They
 * would be cut out of the text by rules that depend on the class that wrote them, so only what the model has anyway is taken. */
static Status refuse_more_tokens(const Tokenizer *t, JsonAt tokens)
{
    const char *key;
    json_t *value;

    if (!t->sentencepiece || !json_here(tokens))
        return LT_OK;
    TRY(json_to_object(tokens));
    json_object_foreach(tokens.value, key, value)
    {
        const JsonAt at = json_member(&tokens, key), content = json_member(&at, "content");
        Str text = str_of(key);
        if (json_is_object(value))
            TRY(json_to_str(content, &text));
        if (tokenizer_find(t, text) < 0)
            return json_fail(at, "'" STR_FORMAT "' is not in tokenizer.model; save this tokenizer as tokenizer.json with transformers",
                             STR_ARG(text));
    }
    return LT_OK;
}

/* What a tokenizer.json has its post-processor for. Llama's class adds BOS unless told otherwise. */
static Status read_ends(Tokenizer *t, const JsonAt *root)
{
    bool bos = true, eos = false;

    if (!t->sentencepiece)
        return LT_OK;
    TRY(json_opt_bool(root, "add_bos_token", &bos));
    TRY(json_opt_bool(root, "add_eos_token", &eos));
    t->prefix.count = t->suffix.count = 0;
    if (bos && t->bos >= 0)
        TRY(ids_add(&t->prefix, t->bos));
    return eos && t->eos >= 0 ? ids_add(&t->suffix, t->eos) : LT_OK;
}

static Status read_config(Tokenizer *t, JsonAt root)
{
    double length = 0;

    TRY(json_to_object(root));
    TRY(json_opt_double(&root, "model_max_length", &length));
    if (length < 0)
        return json_expected(json_member(&root, "model_max_length"), "a length");
    t->max_length = length < LENGTH_MAX ? (int64_t)length : 0;
    TRY(read_token_name(t, json_member(&root, "bos_token"), true, &t->bos));
    TRY(read_token_name(t, json_member(&root, "eos_token"), true, &t->eos));
    /* Nothing here is padded: a name that only a trainer knew does no harm. */
    TRY(read_token_name(t, json_member(&root, "pad_token"), false, &t->pad));
    TRY(refuse_more_tokens(t, json_member(&root, "added_tokens_decoder")));
    TRY(read_ends(t, &root));
    return read_template(t, json_member(&root, "chat_template"));
}

static Status load_config(Tokenizer *t, const char *path)
{
    json_t *document = NULL;
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, FILE_MAX, &text), st, done);
    take_max_length(t, &text);
    TRY_GOTO(json_parse(&document, strbuf_str(&text), path, 0), st, done);
    TRY_GOTO(read_config(t, json_root(document, path, 0)), st, done);
done:
    json_decref(document);
    strbuf_release(&text);
    return st;
}

static Status check_added_tokens(Tokenizer *t, const char *path)
{
    json_t *document;

    TRY(json_load_path(&document, path, FILE_MAX));
    const Status st = refuse_more_tokens(t, json_root(document, path, 0));
    json_decref(document);
    return st;
}

/* The newer place of a chat template; it wins over the one in tokenizer_config.json. */
static Status load_template(Tokenizer *t, const char *path)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, FILE_MAX, &text), st, done);
    TRY_GOTO(set_template(t, strbuf_str(&text)), st, done);
done:
    strbuf_release(&text);
    return st;
}

/* Reads a file of the folder where there is one. */
static Status read_file(Tokenizer *t, const char *folder, const char *name, Status (*read)(Tokenizer *t, const char *path))
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, name), st, done);
    if (file_exists(path.data))
        st = read(t, path.data);
done:
    strbuf_release(&path);
    return st;
}

static Status read_folder(Tokenizer *t, const char *folder)
{
    TRY(read_file(t, folder, "tokenizer_config.json", load_config));
    if (t->sentencepiece)
        TRY(read_file(t, folder, "added_tokens.json", check_added_tokens));
    return read_file(t, folder, "chat_template.jinja", load_template);
}

Status tokenizer_load_file(Tokenizer **out, const char *path)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, FILE_MAX, &text), st, done);
    if (str_ends(str_of(path), str_of(".model")))
        st = tokenizer_parse_model(out, strbuf_str(&text), path);
    else
        st = tokenizer_parse(out, strbuf_str(&text), path);
done:
    strbuf_release(&text);
    return st;
}

Status tokenizer_load(Tokenizer **out, const char *folder)
{
    Tokenizer *t = NULL;
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, "tokenizer.json"), st, done);
    if (!file_exists(path.data))
        TRY_GOTO(path_join(&path, folder, "tokenizer.model"), st, done);
    if (!file_exists(path.data)) {
        st = FAIL(LT_E_INPUT, "%s: expected a folder with tokenizer.json or tokenizer.model, found none", folder);
        goto done;
    }
    TRY_GOTO(tokenizer_load_file(&t, path.data), st, done);
    TRY_GOTO(read_folder(t, folder), st, done);
    *out = t;
    t = NULL;
done:
    tokenizer_free(t);
    strbuf_release(&path);
    return st;
}
