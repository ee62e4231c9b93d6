#include "tests/packed.h"

#include "tests/check.h"

void packed_start(Packed *p)
{
    p->batch = (Batch){.id = p->id, .position = p->position, .length = p->length, .segment = p->segment, .pair = p->pair};
}

int32_t packed_add(Packed *p, const int32_t *id, int32_t n, int32_t ctx_begin, int32_t ctx_len)
{
    const int32_t begin = p->batch.n_token;

    assert_true(begin + n <= MAX_TOKENS && p->batch.n_segment < MAX_SEGMENTS);
    for (int32_t i = 0; i < n; i++) {
        p->id[begin + i] = id[i];
        p->position[begin + i] = ctx_len + i;
        p->length[begin + i] = ctx_len + n;
    }
    for (int32_t i = 0; i < ctx_len; i++)
        p->length[ctx_begin + i] = ctx_len + n;
    p->segment[p->batch.n_segment++] = (AttnSegment){begin, n, ctx_begin, ctx_len, begin};
    p->batch.n_token += n;
    return begin;
}

void packed_want(Packed *p, int32_t row, int32_t target) { p->pair[p->batch.n_pair++] = (ScorePair){row, target}; }

void packed_want_successors(Packed *p, int32_t begin, const int32_t *id, int32_t n)
{
    for (int32_t i = 0; i + 1 < n; i++)
        packed_want(p, begin + i, id[i + 1]);
}

static BatchLimits limits_of(const Batch *b)
{
    return (BatchLimits){.n_token = b->n_token, .n_segment = b->n_segment, .n_pair = b->n_pair,
                         .max_rank = b->adapter != NULL ? b->adapter->max_rank : 0};
}

void packed_logprob(const Model *m, const Batch *b, float *lp, bool *greedy)
{
    const BatchLimits limits = limits_of(b);
    Workspace *ws;

    CHECK_OK(workspace_open(&ws, m, &limits));
    CHECK_OK(forward_logprob(m, ws, b, lp, greedy));
    workspace_close(ws);
}

void packed_logits(const Model *m, const Batch *b, float *logits)
{
    const BatchLimits limits = limits_of(b);
    Workspace *ws;

    CHECK_OK(workspace_open(&ws, m, &limits));
    CHECK_OK(forward_logits(m, ws, b, logits));
    workspace_close(ws);
}

void packed_random_ids(int32_t *id, int32_t n, int64_t vocab, uint64_t seed)
{
    TestRandom random = {seed};

    for (int32_t i = 0; i < n; i++)
        id[i] = (int32_t)(test_random(&random) % (uint64_t)vocab);
}
