#include "model/tokenizer_private.h"

/* The ids of a special token of a template. */
static Status add_special(Tokenizer *t, JsonAt name, JsonAt specials, Ids *to)
{
    Str text;
    size_t n;
    int64_t id;

    TRY(json_to_str(name, &text));
    const JsonAt special = json_member(&specials, text.data);
    if (special.value == NULL)
        return json_fail(name, "special token '" STR_FORMAT "' is not among special_tokens", STR_ARG(text));
    const JsonAt ids = json_member(&special, "ids");
    TRY(json_to_array(ids, &n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt at = json_element(&ids, i);
        TRY(json_to_int(at, 0, INT32_MAX, &id));
        if (!vocab_has(&t->vocab, id))
            return json_fail(at, "id %lld is not in the vocabulary", (long long)id);
        TRY(ids_add(to, (int32_t)id));
    }
    return LT_OK;
}

static Status append(Ids *to, const Ids *ids)
{
    for (size_t i = 0; i < ids->count; i++)
        TRY(ids_add(to, ids->id[i]));
    return LT_OK;
}

static Status read_template_items(Tokenizer *t, JsonAt single, JsonAt specials, Ids *before, Ids *after)
{
    bool seen = false;
    size_t n;
    Str text;

    TRY(json_to_array(single, &n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt item = json_element(&single, i);
        const JsonAt token = json_member(&item, "SpecialToken"), sequence = json_member(&item, "Sequence");
        if (token.value != NULL) {
            TRY(add_special(t, json_member(&token, "id"), specials, seen ? after : before));
            continue;
        }
        if (sequence.value == NULL)
            return json_expected(item, "a SpecialToken or a Sequence");
        const JsonAt id = json_member(&sequence, "id");
        TRY(json_to_str(id, &text));
        if (!str_is(text, "A") || seen)
            return json_fail(id, "the sequence 'A' is expected once");
        seen = true;
    }
    return seen ? LT_OK : json_fail(single, "the sequence 'A' is expected once");
}

/* One text at a time is all that is scored: "single" counts, "pair" does not. */
static Status read_template(Tokenizer *t, JsonAt at)
{
    Ids before = {0}, after = {0};
    Status st;

    TRY_GOTO(read_template_items(t, json_member(&at, "single"), json_member(&at, "special_tokens"), &before, &after), st, done);
    /* A template around an earlier one of the same sequence. */
    TRY_GOTO(append(&before, &t->prefix), st, done);
    TRY_GOTO(append(&t->suffix, &after), st, done);
    ids_release(&t->prefix);
    t->prefix = before;
    before = (Ids){0};
done:
    ids_release(&before);
    ids_release(&after);
    return st;
}

static const struct {
    const char *type;
    Status (*read)(Tokenizer *t, JsonAt at); /* NULL: moves offsets only */
} kinds[] = {
    {"ByteLevel", NULL},
    {"TemplateProcessing", read_template},
};

static Status read_step(Tokenizer *t, JsonAt at, Str type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_is(type, kinds[i].type))
            return kinds[i].read != NULL ? kinds[i].read(t, at) : LT_OK;
    return tokenizer_refuse_step(at, "post-processor", type);
}

Status post_read(Tokenizer *t, JsonAt at)
{
    return tokenizer_read_steps(t, at, "processors", read_step);
}
