#include "eval/tasks/prompt.h"

#include "core/random.h"

static bool same_row(const DataSet *pool, uint64_t row, const Doc *doc)
{
    return json_equal(pool->doc[row].row, doc->row);
}

/* Where duplicates of the scored row left too few, lm-eval 0.4.13 draws once more from the pool without them; the stream moves on. */
static Status draw_without(int32_t *out, PyRandom *random, const DataSet *pool, const Doc *doc, int32_t n, uint64_t *drawn)
{
    uint64_t *rest;
    size_t n_rest = 0;
    TRY(MEM_NEW(rest, pool->n_doc));
    for (size_t i = 0; i < pool->n_doc; i++)
        if (!same_row(pool, i, doc))
            rest[n_rest++] = i;
    Status st;
    if (n_rest < (size_t)n)
        TRY_GOTO(FAIL(LT_E_INPUT, "%s: row %lld needs %d other rows as shots, found %zu", pool->path, (long long)doc->index, n, n_rest), st,
                 done);
    TRY_GOTO(pyrandom_sample(random, n_rest, (uint64_t)n, drawn), st, done);
    for (int32_t k = 0; k < n; k++)
        out[k] = (int32_t)rest[drawn[k]];
done:
    mem_free(rest);
    return st;
}

/* The shots of one row. `drawn` has room for n + 1. */
static Status draw_row(int32_t *out, PyRandom *random, const DataSet *pool, const Doc *doc, int32_t n, bool draws_one_more, uint64_t *drawn)
{
    const uint64_t want = (uint64_t)n + draws_one_more;
    TRY(pyrandom_sample(random, pool->n_doc, want, drawn));
    int32_t kept = 0;
    for (uint64_t k = 0; k < want && kept < n; k++)
        if (!draws_one_more || !same_row(pool, drawn[k], doc))
            out[kept++] = (int32_t)drawn[k];
    return kept == n ? LT_OK : draw_without(out, random, pool, doc, n, drawn);
}

Status shots_draw(Shots *shots, const DataSet *scored, const DataSet *pool, int32_t n, bool draws_one_more, uint64_t seed)
{
    Shots made = {.n = n, .n_doc = scored->n_doc};
    BUG_IF(n < 0 || (n > 0 && pool == NULL));
    if (n == 0) {
        *shots = made;
        return LT_OK;
    }
    const uint64_t want = (uint64_t)n + draws_one_more;
    if (want > pool->n_doc)
        return FAIL(LT_E_INPUT, "%s: %d shots of %s are drawn from at least %llu rows, found %zu", pool->path, n, scored->task->name,
                    (unsigned long long)want, pool->n_doc);
    size_t total;
    uint64_t *drawn = NULL;
    if (pool->n_doc > INT32_MAX || !mem_mul(scored->n_doc, (size_t)n, &total))
        return FAIL(LT_E_NOMEM, "%s: no memory for %d shots a row", scored->path, n);
    PyRandom random;
    pyrandom_seed(&random, seed);
    Status st;
    TRY_GOTO(MEM_NEW(made.row, total), st, done);
    TRY_GOTO(MEM_NEW(drawn, (size_t)want), st, done);
    for (size_t i = 0; i < scored->n_doc; i++)
        TRY_GOTO(draw_row(made.row + i * (size_t)n, &random, pool, &scored->doc[i], n, draws_one_more, drawn), st, done);
    *shots = made;
    made.row = NULL;
done:
    mem_free(drawn);
    mem_free(made.row);
    return st;
}

void shots_release(Shots *shots)
{
    mem_free(shots->row);
    *shots = (Shots){0};
}

Status prompt_build(StrBuf *out, const Doc *doc, int which, const DataSet *pool, const Shots *shots)
{
    BUG_IF(which < 0 || which >= doc->n_context || doc->index < 0 || (size_t)doc->index >= shots->n_doc);
    const int32_t *row = shots->n > 0 ? shots->row + (size_t)doc->index * (size_t)shots->n : NULL;
    for (int32_t k = 0; k < shots->n; k++) {
        strbuf_add_str(out, pool->doc[row[k]].shot);
        strbuf_add_text(out, "\n\n");
    }
    strbuf_add_str(out, doc->context[which]);
    return strbuf_status(out);
}
