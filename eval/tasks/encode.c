#include "eval/tasks/encode.h"

#include "core/utf8.h"

/* What stands in for an empty context, and whose text at the start of a context means that the start is already marked. */
static int32_t prefix_token(const Tokenizer *t)
{
    return tokenizer_bos(t) >= 0 ? tokenizer_bos(t) : tokenizer_eos(t);
}

/* How a text is to begin, settled once for context and whole so that both count the same tokens. */
typedef struct Start {
    bool special; /* the post-processor runs */
    int32_t bos;  /* put in front unless the ids already begin with it; -1: nothing */
} Start;

static Status start_pick(Start *out, const Tokenizer *t, BosRule rule, Str context)
{
    const int32_t prefix = prefix_token(t);
    Str mark;
    *out = (Start){.special = rule != BOS_NO, .bos = -1};
    if (rule == BOS_YES && tokenizer_bos(t) < 0)
        return FAIL(LT_E_INPUT, "bos: yes was asked for, the tokenizer names no bos_token");
    if (prefix >= 0 && tokenizer_token(t, prefix, &mark) && mark.len > 0 && str_starts(context, mark))
        out->special = false;
    else if (rule == BOS_YES)
        out->bos = tokenizer_bos(t);
    return LT_OK;
}

static Status encode_text(Encoder *e, Start start, Str text, Ids *out)
{
    const size_t begin = out->count;
    TRY(encoder_encode(e, text, start.special, out));
    if (start.bos < 0 || (out->count > begin && out->id[begin] == start.bos))
        return LT_OK;
    TRY(ids_add(out, start.bos));
    memmove(out->id + begin + 1, out->id + begin, (out->count - begin - 1) * sizeof *out->id);
    out->id[begin] = start.bos;
    return LT_OK;
}

/* The continuation alone behind one prefix token, its own if it begins with that. */
static Status encode_alone(Encoder *e, const Tokenizer *t, Str continuation, Ids *ids, int32_t *n_context, int32_t *n_continuation)
{
    const size_t begin = ids->count;
    const int32_t prefix = prefix_token(t);
    if (prefix < 0)
        return FAIL(LT_E_INPUT, "an empty context needs a bos_token or an eos_token, the tokenizer names neither");
    TRY(ids_add(ids, prefix));
    TRY(encoder_encode(e, continuation, false, ids));
    if (ids->count > begin + 1 && ids->id[begin + 1] == prefix) {
        ids->count--;
        memmove(ids->id + begin, ids->id + begin + 1, (ids->count - begin) * sizeof *ids->id);
    }
    *n_context = 1;
    *n_continuation = (int32_t)(ids->count - begin - 1);
    return LT_OK;
}

/* The context's ids stay; of the whole's only those behind as many are kept. Where a merge crosses the border the model so reads the context
 * as it stands alone: not the same as cutting the whole in two, and what every published number is made with. */
static Status encode_joint(Encoder *e, Start start, Str context, Str moved, Str continuation, Ids *ids, int32_t *n_context,
                           int32_t *n_continuation)
{
    StrBuf text;
    Ids whole = {0};
    strbuf_init(&text);
    strbuf_add_str(&text, context);
    strbuf_add_str(&text, moved);
    strbuf_add_str(&text, continuation);
    const size_t begin = ids->count;
    Status st;
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(encode_text(e, start, strbuf_str(&text), &whole), st, done);
    TRY_GOTO(encode_text(e, start, context, ids), st, done);
    const size_t cut = ids->count - begin;
    for (size_t i = cut; i < whole.count; i++)
        TRY_GOTO(ids_add(ids, whole.id[i]), st, done);
    *n_context = (int32_t)cut;
    *n_continuation = whole.count > cut ? (int32_t)(whole.count - cut) : 0;
done:
    strbuf_release(&text);
    ids_release(&whole);
    return st;
}

Status encode_pair(Encoder *e, const Tokenizer *t, BosRule bos, Str context, Str continuation, Ids *ids, int32_t *n_context,
                   int32_t *n_continuation)
{
    const size_t begin = ids->count;
    int32_t n_left = 0, n_right = 0;
    Start start;
    Status st;
    if (context.len == 0) {
        TRY_GOTO(encode_alone(e, t, continuation, ids, &n_left, &n_right), st, failed);
    } else {
        const Str head = py_rstrip(context);
        const Str moved = str_slice(context, head.len, context.len);
        TRY_GOTO(start_pick(&start, t, bos, head), st, failed);
        TRY_GOTO(encode_joint(e, start, head, moved, continuation, ids, &n_left, &n_right), st, failed);
    }
    /* lm-eval stops here as well: there would be nothing to read, or nothing to score. */
    if (n_left == 0)
        TRY_GOTO(FAIL(LT_E_INPUT, "the context '" STR_FORMAT "' has no token", STR_ARG(context)), st, failed);
    if (n_right == 0)
        TRY_GOTO(FAIL(LT_E_INPUT, "the continuation '" STR_FORMAT "' has no token of its own", STR_ARG(continuation)), st, failed);
    *n_context = n_left;
    *n_continuation = n_right;
    return LT_OK;
failed:
    ids->count = begin;
    return st;
}
