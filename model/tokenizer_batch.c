/* Many texts at once: a task takes a run of texts, a thread keeps one encoder, so that pieces seen once stay known. */
#include "model/tokenizer.h"

enum { TEXTS_PER_TASK = 16 };

typedef struct Batch {
    const Tokenizer *t;
    const Str *text;
    size_t n;
    bool special;
    Ids *out;
    Encoder **encoder; /* by thread, made by its first task */
} Batch;

static Status encode_some(void *context, int64_t index, int thread)
{
    const Batch *b = context;
    const size_t begin = (size_t)index * TEXTS_PER_TASK, rest = b->n - begin, end = begin + (rest < TEXTS_PER_TASK ? rest : TEXTS_PER_TASK);

    if (b->encoder[thread] == NULL)
        TRY(encoder_create(&b->encoder[thread], b->t));
    for (size_t i = begin; i < end; i++) {
        const Status st = encoder_encode(b->encoder[thread], b->text[i], b->special, &b->out[i]);
        if (st != LT_OK)
            return status_wrap(st, "text %zu", i);
    }
    return LT_OK;
}

Status encode_batch(Pool *pool, const Tokenizer *t, const Str *text, size_t n, bool special, Ids *out)
{
    const size_t n_thread = (size_t)pool_threads(pool);
    Batch b = {.t = t, .text = text, .n = n, .special = special, .out = out};

    TRY(MEM_NEW(b.encoder, n_thread));
    const Status st = pool_run(pool, (int64_t)(n / TEXTS_PER_TASK + (n % TEXTS_PER_TASK > 0)), encode_some, &b);
    for (size_t i = 0; i < n_thread; i++)
        encoder_free(b.encoder[i]);
    mem_free(b.encoder);
    return st;
}
