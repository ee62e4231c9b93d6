#include "core/random.h"
#include "model/convert.h"
#include "model/model.h"
#include "model/stream.h"

#include <math.h>

enum { BLOCK = 1024 };

typedef struct Initializer {
    const ParamList *params;
    uint64_t seed;
    double sd;
} Initializer;

/* Four normal numbers of one Philox block (Box and Muller 1958), numbers 4 block .. 4 block + 3 of this entry. */
static void normal_block(float out[4], uint64_t seed, uint32_t entry, uint64_t block, double sd)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), entry, 0};
    uint32_t word[4];

    philox4x32(counter, key, word);
    for (int i = 0; i < 4; i += 2) {
        const double radius = sd * sqrt(-2 * log(1 - (double)philox_unit(word[i])));
        const double angle = 2 * M_PI * (double)philox_unit(word[i + 1]);

        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

static void fill_block(const Initializer *init, const ParamEntry *entry, int64_t from, float *out, int64_t n)
{
    const uint32_t index = (uint32_t)(entry - init->params->entry);
    const float constant = entry->row->init == INIT_ONE ? 1 : 0;

    if (entry->row->init == INIT_NORMAL)
        for (int64_t i = 0; i < n; i += 4)
            normal_block(out + i, init->seed, index, (uint64_t)(from + i) / 4, init->sd);
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = constant;
}

static Status fill_chunk(void *context, const WeightChunk *c, void *to, int thread)
{
    const DType dtype = c->entry->value.dtype;
    float block[BLOCK];
    bool lossy = false;

    (void)thread;
    for (int64_t i = 0; i < c->count; i += BLOCK) {
        const int64_t n = c->count - i < BLOCK ? c->count - i : BLOCK;

        fill_block(context, c->entry, c->from + i, block, n);
        weights_convert((char *)to + (size_t)i * dtype_bytes(dtype), dtype, block, LT_F32, n, &lossy);
    }
    return LT_OK;
}

/* The digest of a random model says how it was made. */
static Status digest_of(Model *m, uint64_t seed)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    st = config_write(&m->cfg, m->dtype, &text);
    strbuf_addf(&text, "random %llu", (unsigned long long)seed);
    if (st == LT_OK)
        st = strbuf_status(&text);
    if (st == LT_OK)
        st = sha256_of(text.data, text.len, &m->digest);
    strbuf_release(&text);
    return st;
}

Status model_random(Model **out, Device *dev, const ModelConfig *cfg, DType dtype, uint64_t seed)
{
    Initializer init = {.seed = seed, .sd = cfg->initializer_range};
    const StreamJob job = {.context = &init, .fill = fill_chunk};
    WeightChunks chunks = {0};
    Model *m;
    Status st;

    TRY(model_create(&m, dev, cfg, dtype, 0));
    init.params = &m->params;
    for (size_t i = 0; i < m->params.count; i++)
        TRY_GOTO(chunks_add(&chunks, &m->params.entry[i]), st, done);
    TRY_GOTO(stream_weights(dev, &chunks, &job), st, done);
    st = digest_of(m, seed);
done:
    mem_free(chunks.chunk);
    if (st == LT_OK)
        *out = m;
    else
        model_free(m);
    return st;
}
