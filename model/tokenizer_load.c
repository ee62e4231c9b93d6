/* From the text of a tokenizer.json to a Tokenizer. */
#include "model/tokenizer_private.h"

#include "core/utf8.h"

#include <stdio.h>

Status tokenizer_keep(Tokenizer *t, Str text, Str *out)
{
    const char *copy = arena_strndup(&t->arena, text.data, text.len);

    if (copy == NULL)
        return LT_E_NOMEM;
    *out = (Str){copy, text.len};
    return LT_OK;
}

Status tokenizer_read_steps(Tokenizer *t, JsonAt at, const char *list, ReadStepFn *read)
{
    Str type;
    size_t n;

    TRY(json_to_object(at));
    TRY(json_get_str(&at, "type", &type));
    if (!str_is(type, "Sequence"))
        return read(t, at, type);
    const JsonAt steps = json_member(&at, list);
    TRY(json_to_array(steps, &n));
    for (size_t i = 0; i < n; i++)
        TRY(tokenizer_read_steps(t, json_element(&steps, i), list, read));
    return LT_OK;
}

Status tokenizer_refuse_step(JsonAt step, const char *sort, Str type)
{
    return json_fail(step, "%s '" STR_FORMAT "' is not supported", sort, STR_ARG(type));
}

/* A key that is not known may change what the tokenizer does, so it is not passed over. */
static Status refuse_unknown_keys(JsonAt object, const char *const *known)
{
    const char *key;
    json_t *value;

    json_object_foreach(object.value, key, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL && !json_is_null(value))
            return json_fail(json_member(&object, key), "this key is not known");
    }
    return LT_OK;
}

static Status refuse_text(JsonAt model, const char *key)
{
    Str text = {"", 0};

    TRY(json_opt_str(&model, key, &text));
    return text.len == 0 ? LT_OK : json_fail(json_member(&model, key), "only an empty text is supported");
}

static Status read_model_options(Tokenizer *t, JsonAt model)
{
    static const char *const known[] = {
        "type",  "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
        "vocab", "merges",  NULL};
    Str type = str_of("BPE"); /* the first files do not say it */
    double dropout = 0;

    TRY(json_to_object(model));
    TRY(json_opt_str(&model, "type", &type));
    if (!str_is(type, "BPE"))
        return tokenizer_refuse_step(model, "model", type);
    TRY(refuse_unknown_keys(model, known));
    TRY(json_opt_double(&model, "dropout", &dropout));
    if (dropout < 0 || dropout > 0)
        return json_fail(json_member(&model, "dropout"), "dropout %g is not supported, ids would be random", dropout);
    TRY(refuse_text(model, "continuing_subword_prefix"));
    TRY(refuse_text(model, "end_of_word_suffix"));
    TRY(json_opt_bool(&model, "fuse_unk", &t->fuse_unk));
    TRY(json_opt_bool(&model, "byte_fallback", &t->byte_fallback));
    return json_opt_bool(&model, "ignore_merges", &t->ignore_merges);
}

static Status read_unknown(Tokenizer *t, JsonAt model)
{
    const JsonAt at = json_member(&model, "unk_token");
    Str text;

    if (!json_here(at))
        return LT_OK;
    TRY(json_to_str(at, &text));
    t->unk = vocab_find(&t->vocab, text);
    return t->unk >= 0 ? LT_OK : json_fail(at, "'" STR_FORMAT "' is not in model.vocab", STR_ARG(text));
}

/* A merge whose token has U+2581 anywhere but at its start crosses the place in front of it. U+2581 itself must be a token:
 * an unknown one would melt with the unknown tokens before it. */
static bool may_cut_at_spaces(const Vocab *v)
{
    const Str sign = str_of("\xe2\x96\x81");

    if (vocab_find(v, sign) < 0)
        return false;
    for (size_t i = 0; i <= v->merges.mask; i++) {
        if (v->merges.slot[i].pair == UINT64_MAX)
            continue;
        const Str token = v->text[v->merges.slot[i].id];
        size_t at = 0;
        while (str_starts(str_slice(token, at, token.len), sign))
            at += sign.len;
        if (str_find(token, sign, at) != SIZE_MAX)
            return false;
    }
    return true;
}

static void fill_byte_tables(Tokenizer *t)
{
    char text[8];

    for (int i = 0; i < 256; i++) {
        const size_t n = utf8_put(text, t->byte_level ? byte_level_code((uint8_t)i) : (uint32_t)i);
        t->byte_id[i] = t->byte_level || i < 0x80 ? vocab_find(&t->vocab, (Str){text, n}) : -1;
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        t->fallback_id[i] = vocab_find(&t->vocab, str_of(text));
    }
}

/* A line break that is a byte token, in a vocabulary where no character is unknown, stands between what may merge. */
static bool may_cut_at_breaks(const Tokenizer *t)
{
    const MergeTable *merges = &t->vocab.merges;
    const uint32_t id = (uint32_t)t->fallback_id['\n'];

    for (int i = 0; i < 256; i++)
        if (t->fallback_id[i] < 0)
            return false;
    for (size_t i = 0; i <= merges->mask; i++)
        if (merges->slot[i].pair != UINT64_MAX && (merges->slot[i].pair >> 32 == id || (uint32_t)merges->slot[i].pair == id))
            return false;
    return t->byte_fallback && t->byte_id['\n'] < 0;
}

void vocab_finish(Tokenizer *t)
{
    fill_byte_tables(t);
    t->cut_at_spaces = !t->byte_level && !t->ignore_merges && may_cut_at_spaces(&t->vocab);
    t->cut_at_breaks = t->cut_at_spaces && may_cut_at_breaks(t);
}

static Status read_flags(JsonAt at, AddedToken *token)
{
    TRY(json_opt_bool(&at, "special", &token->special));
    TRY(json_opt_bool(&at, "single_word", &token->single_word));
    TRY(json_opt_bool(&at, "lstrip", &token->lstrip));
    TRY(json_opt_bool(&at, "rstrip", &token->rstrip));
    token->normalized = !token->special;
    return json_opt_bool(&at, "normalized", &token->normalized);
}

/* As the reference does, this goes by content: a token of the vocabulary keeps its id there, a new one gets the next free id,
 * and the id that the file gives is passed over. They differ only in files edited by hand. */
static Status choose_added_id(const Tokenizer *t, JsonAt at, Str content, int64_t *next, int32_t *id)
{
    *id = vocab_find(&t->vocab, content);
    if (*id < 0) {
        if (vocab_has(&t->vocab, *next))
            return json_fail(at, "the next free id, %lld, is that of '" STR_FORMAT "' in model.vocab", (long long)*next,
                             STR_ARG(t->vocab.text[*next]));
        *id = (int32_t)*next;
    }
    if (*id >= *next)
        *next = (int64_t)*id + 1;
    return LT_OK;
}

static Status read_added_token(Tokenizer *t, JsonAt at, int64_t *next)
{
    AddedToken token = {0};
    int64_t id_in_file;
    bool fresh;
    Str content;

    TRY(json_to_object(at));
    TRY(json_get_str(&at, "content", &content));
    if (content.len == 0)
        return json_fail(json_member(&at, "content"), "an added token must not be empty");
    TRY(json_get_int(&at, "id", 0, INT32_MAX, &id_in_file));
    TRY(choose_added_id(t, at, content, next, &token.id));
    TRY(read_flags(at, &token));
    TRY(map_put(&t->added_index, content, (int64_t)t->n_added, &fresh));
    if (!fresh)
        return json_fail(at, "'" STR_FORMAT "' is listed twice", STR_ARG(content));
    token.content = map_key(&t->added_index, t->n_added);
    TRY(vocab_name_id(&t->vocab, (size_t)token.id, token.content));
    TRY(MEM_GROW(t->added, t->added_cap, t->n_added + 1));
    t->added[t->n_added++] = token;
    return LT_OK;
}

/* A token that counts as normalised is looked for in normalised text, so in its own normalised form, and is decoded to that
 * form: behind Llama-2's normalizer "[X]" becomes " [X]". */
static Status index_normalized(Tokenizer *t, NormalWork *work, size_t i)
{
    Str content;

    TRY(normal_run(t, work, t->added[i].content, &content));
    TRY(tokenizer_keep(t, content, &t->vocab.text[t->added[i].id]));
    return content.len > 0 ? added_set_put(&t->normalized, content, i) : LT_OK;
}

static Status index_added(Tokenizer *t)
{
    NormalWork work = {0};
    Status st = LT_OK;

    TRY(MEM_NEW(t->added_of, t->vocab.size));
    t->raw.token = t->normalized.token = t->added;
    for (size_t i = 0; i < t->n_added; i++) {
        const AddedToken *token = &t->added[i];
        t->added_of[token->id] = (uint32_t)i + 1;
        if (token->normalized)
            TRY_GOTO(index_normalized(t, &work, i), st, done);
        else
            TRY_GOTO(added_set_put(&t->raw, token->content, i), st, done);
    }
done:
    normal_work_release(&work);
    return st;
}

static Status read_added(Tokenizer *t, JsonAt list)
{
    int64_t next = (int64_t)t->vocab.id.count;
    size_t n = 0;

    if (json_here(list))
        TRY(json_to_array(list, &n));
    for (size_t i = 0; i < n; i++)
        TRY(read_added_token(t, json_element(&list, i), &next));
    return LT_OK;
}

static Status read_steps(Tokenizer *t, JsonAt root, const char *key, Status (*read)(Tokenizer *t, JsonAt at))
{
    const JsonAt at = json_member(&root, key);

    return json_here(at) ? read(t, at) : LT_OK;
}

static Status read_model(Tokenizer *t, JsonAt model, const TableText *tables, size_t id_limit)
{
    const JsonAt vocab = json_member(&model, "vocab"), merges = json_member(&model, "merges");

    TRY(read_model_options(t, model));
    if (!json_is_object(vocab.value) || tables->vocab.len == 0)
        return json_expected(vocab, "an object of tokens");
    if (!json_is_array(merges.value) || tables->merges.len == 0)
        return json_expected(merges, "an array of merges");
    TRY(vocab_read(&t->vocab, tables->vocab, model.file, id_limit));
    TRY(merges_read(&t->vocab, tables->merges, model.file));
    return read_unknown(t, model);
}

/* `truncation` and `padding` are for batches of some earlier use: transformers switches both off before it encodes for a
 * caller who asks for neither, and so does this reader by passing over them. */
static Status read_root(Tokenizer *t, JsonAt root, const TableText *tables, size_t id_limit)
{
    static const char *const known[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    const JsonAt model = json_member(&root, "model");
    Str version = str_of("1.0");

    TRY(json_to_object(root));
    TRY(json_opt_str(&root, "version", &version));
    if (!str_is(version, "1.0"))
        return json_fail(json_member(&root, "version"), "version 1.0 expected, '" STR_FORMAT "' found", STR_ARG(version));
    TRY(refuse_unknown_keys(root, known));
    TRY(read_model(t, model, tables, id_limit));
    TRY(read_added(t, json_member(&root, "added_tokens")));
    TRY(read_steps(t, root, "normalizer", normal_read));
    TRY(read_steps(t, root, "pre_tokenizer", pre_read));
    TRY(read_steps(t, root, "post_processor", post_read));
    TRY(read_steps(t, root, "decoder", decode_read));
    t->decode_joins_by_space = !json_here(json_member(&root, "decoder"));
    vocab_finish(t);
    const Status st = index_added(t);
    return st == LT_E_INPUT ? status_wrap(st, "%s: added_tokens", root.file) : st;
}

static Status parse(Tokenizer *t, Str json, const char *file)
{
    /* Every token takes more than a byte of the file: a table indexed by id stays of the file's size. */
    const size_t id_limit = json.len;
    const size_t valid = utf8_valid_prefix(json);
    json_t *document = NULL;
    StrBuf rest;
    Status st;

    if (valid != json.len)
        return FAIL(LT_E_INPUT, "%s: invalid UTF-8 at byte %zu", file, valid);
    const TableText tables = table_find(json);
    strbuf_init(&rest);
    table_cut(&rest, json, &tables);
    TRY_GOTO(strbuf_status(&rest), st, done);
    TRY_GOTO(json_parse(&document, strbuf_str(&rest), file, 0), st, done);
    TRY_GOTO(read_root(t, json_root(document, file, 0), &tables, id_limit), st, done);
    TRY_GOTO(sha256_of(json.data, json.len, &t->digest), st, done);
done:
    json_decref(document);
    strbuf_release(&rest);
    return st;
}

Status tokenizer_new(Tokenizer **out)
{
    Tokenizer *t;

    TRY(MEM_NEW(t, 1));
    arena_init(&t->arena);
    map_init(&t->vocab.id);
    map_init(&t->added_index);
    t->unk = t->bos = t->eos = t->pad = -1;
    *out = t;
    return LT_OK;
}

Status tokenizer_parse(Tokenizer **out, Str json, const char *file)
{
    Tokenizer *t;

    TRY(tokenizer_new(&t));
    const Status st = parse(t, json, file);
    if (st == LT_OK)
        *out = t;
    else
        tokenizer_free(t);
    return st;
}
