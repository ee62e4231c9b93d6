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
        return json_fail(at, "'" STR_FORMAT "' is not a token of tokenizer.json", STR_ARG(text));
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

Status tokenizer_read_folder(Tokenizer *t, const char *folder)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, "tokenizer_config.json"), st, done);
    if (file_exists(path.data))
        TRY_GOTO(load_config(t, path.data), st, done);
    TRY_GOTO(path_join(&path, folder, "chat_template.jinja"), st, done);
    if (file_exists(path.data))
        TRY_GOTO(load_template(t, path.data), st, done);
done:
    strbuf_release(&path);
    return st;
}

Status tokenizer_load(Tokenizer **out, const char *folder)
{
    Tokenizer *t = NULL;
    StrBuf path, text;
    Status st;

    strbuf_init(&path);
    strbuf_init(&text);
    TRY_GOTO(path_join(&path, folder, "tokenizer.json"), st, done);
    if (!file_exists(path.data)) {
        st = FAIL(LT_E_INPUT, "%s: expected a folder with tokenizer.json, found none", folder);
        goto done;
    }
    TRY_GOTO(file_read(path.data, FILE_MAX, &text), st, done);
    TRY_GOTO(tokenizer_parse(&t, strbuf_str(&text), path.data), st, done);
    TRY_GOTO(tokenizer_read_folder(t, folder), st, done);
    *out = t;
    t = NULL;
done:
    tokenizer_free(t);
    strbuf_release(&text);
    strbuf_release(&path);
    return st;
}
