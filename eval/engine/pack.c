#include "eval/engine/pack.h"

#include "core/mem.h"

static int32_t common_prefix(const Input *a, const Input *b, int32_t at_most)
{
    int32_t n = at_most < b->n_read ? at_most : b->n_read;
    for (int32_t i = 0; i < n; i++)
        if (a->token[i] != b->token[i])
            return i;
    return n;
}

Span span_take(const Input *input, int32_t n_input, const BatchLimits *limits)
{
    Span span = {1, input[0].n_read, input[0].n_read, input[0].n_score};
    int64_t read = input[0].n_read; /* without sharing */

    for (int32_t i = 1; i < n_input; i++) {
        const int32_t shared = common_prefix(&input[0], &input[i], span.n_shared);
        read += input[i].n_read;
        const int64_t n_token = read - (int64_t)i * shared, n_pair = (int64_t)span.n_pair + input[i].n_score;
        if (n_token > limits->n_token || n_pair > limits->n_pair || input[i].length_class != input[0].length_class)
            break;
        span = (Span){i + 1, shared, (int32_t)n_token, (int32_t)n_pair};
    }
    return span;
}

Status pack_init(Pack *pack, const BatchLimits *limits)
{
    *pack = (Pack){.limits = *limits};
    const size_t n_token = (size_t)limits->n_token, n_pair = (size_t)limits->n_pair;
    Status st;

    TRY_GOTO(MEM_NEW(pack->id, n_token), st, failed);
    TRY_GOTO(MEM_NEW(pack->position, n_token), st, failed);
    TRY_GOTO(MEM_NEW(pack->length, n_token), st, failed);
    TRY_GOTO(MEM_NEW(pack->segment, (size_t)limits->n_segment), st, failed);
    TRY_GOTO(MEM_NEW(pack->pair, n_pair), st, failed);
    TRY_GOTO(MEM_NEW(pack->home, n_pair), st, failed);
    TRY_GOTO(MEM_NEW(pack->lp, n_pair), st, failed);
    TRY_GOTO(MEM_NEW(pack->greedy, n_pair), st, failed);
    return LT_OK;
failed:
    pack_release(pack);
    return st;
}

void pack_release(Pack *pack)
{
    mem_free(pack->id);
    mem_free(pack->position);
    mem_free(pack->length);
    mem_free(pack->segment);
    mem_free(pack->pair);
    mem_free(pack->home);
    mem_free(pack->lp);
    mem_free(pack->greedy);
    *pack = (Pack){0};
}

/* Segments need no check of their own: each has a token, and there is room for as many segments as tokens. */
bool pack_has_room(const Pack *pack, const Span *span)
{
    return span->n_token <= pack->limits.n_token - pack->n_token && span->n_pair <= pack->limits.n_pair - pack->n_pair;
}

static void add_pair(Pack *pack, int32_t row, const Input *in, int32_t at)
{
    const int32_t s = at - (in->n_read - in->n_score);
    pack->pair[pack->n_pair] = (ScorePair){row, in->token[at + 1]};
    pack->home[pack->n_pair++] = (PairHome){in->lp + s, in->greedy + s};
}

/* Tokens [from, to) of an input as one segment; gives its first row. */
static int32_t add_segment(Pack *pack, const Input *in, int32_t from, int32_t to, int32_t ctx_begin)
{
    const int32_t row = pack->n_token;
    for (int32_t i = from; i < to; i++) {
        pack->id[pack->n_token] = in->token[i];
        pack->length[pack->n_token] = in->n_read; /* in a context: of one of those that share it, all of one class */
        pack->position[pack->n_token++] = i;
    }
    pack->segment[pack->n_segment++] = (AttnSegment){row, to - from, ctx_begin, from, row};
    return row;
}

void pack_add(Pack *pack, const Input *input, const Span *span)
{
    const int32_t shared = span->n_shared;
    int32_t context = pack->n_token, first_scored = shared;

    if (shared > 0)
        context = add_segment(pack, &input[0], 0, shared, 0);
    for (int32_t r = 0; r < span->n_input; r++) {
        const int32_t first = input[r].n_read - input[r].n_score;
        first_scored = first < first_scored ? first : first_scored;
    }
    /* Row by row and not request by request: a pass wants its pairs sorted by row. Continuations that begin alike have scored tokens inside
     * the context, and all of them are predicted by its last row at the latest. */
    for (int32_t at = first_scored; at < shared; at++)
        for (int32_t r = 0; r < span->n_input; r++)
            if (at >= input[r].n_read - input[r].n_score)
                add_pair(pack, context + at, &input[r], at);

    for (int32_t r = 0; r < span->n_input; r++) {
        const Input *in = &input[r];
        if (in->n_read == shared)
            continue;
        const int32_t row = add_segment(pack, in, shared, in->n_read, context);
        const int32_t first = in->n_read - in->n_score;
        for (int32_t at = first > shared ? first : shared; at < in->n_read; at++)
            add_pair(pack, row + at - shared, in, at);
    }
}

Batch pack_batch(const Pack *pack)
{
    return (Batch){.id = pack->id, .position = pack->position, .length = pack->length, .n_token = pack->n_token, .segment = pack->segment,
                   .n_segment = pack->n_segment, .pair = pack->pair, .n_pair = pack->n_pair};
}

void pack_deliver(Pack *pack)
{
    for (int32_t i = 0; i < pack->n_pair; i++) {
        *pack->home[i].lp = pack->lp[i];
        *pack->home[i].greedy = pack->greedy[i];
    }
    pack_clear(pack);
}

void pack_clear(Pack *pack)
{
    pack->n_token = pack->n_segment = pack->n_pair = 0;
}
