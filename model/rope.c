#include "model/rope.h"

#include <math.h>

enum { ROWS_PER_TASK = 256 };

/* The steps follow transformers' modeling_rope_utils in dtype and order: a table computed more exactly moves logits by 3e-6.
 * Functions of the C library are called in F64 and rounded, the nearest thing to a correctly rounded F32 function. */
static float pow_f32(double base, float exponent) { return (float)pow((double)(float)base, (double)exponent); }

static void base_frequencies(const ModelConfig *cfg, double theta, float *inv_freq)
{
    const int64_t dim = cfg->head_dim;

    for (int64_t i = 0; i < dim / 2; i++)
        inv_freq[i] = 1.0f / pow_f32(theta, (float)(2 * i) / (float)dim);
}

static void linear_frequencies(const ModelConfig *cfg, float *inv_freq)
{
    for (int64_t i = 0; i < cfg->head_dim / 2; i++)
        inv_freq[i] /= (float)cfg->rope.factor;
}

/* Keeps short wavelengths, stretches long ones by the factor, blends between. */
static void llama3_frequencies(const ModelConfig *cfg, float *inv_freq)
{
    const RopeConfig *rope = &cfg->rope;
    const double original = (double)rope->original_max_position;
    const float factor = (float)rope->factor, low = (float)rope->low_freq_factor;
    const float range = (float)(rope->high_freq_factor - rope->low_freq_factor);
    const float longest = (float)(original / rope->low_freq_factor), shortest = (float)(original / rope->high_freq_factor);

    for (int64_t i = 0; i < cfg->head_dim / 2; i++) {
        const float f = inv_freq[i], wavelength = (float)(2 * M_PI) / f;
        const float t = ((float)original / wavelength - low) / range;

        if (wavelength > longest)
            inv_freq[i] = f / factor;
        else if (wavelength >= shortest)
            inv_freq[i] = (1.0f - t) * f / factor + t * f;
    }
}

/* The dimension that turns `rotations` times over the original context (Peng et al. 2023, YaRN, section 3.2). */
static double yarn_dimension(const ModelConfig *cfg, double rotations)
{
    const double original = (double)cfg->rope.original_max_position;

    return (double)cfg->head_dim * log(original / (rotations * 2 * M_PI)) / (2 * log(cfg->rope.theta));
}

static void yarn_frequencies(const ModelConfig *cfg, float *inv_freq)
{
    const RopeConfig *rope = &cfg->rope;
    double low = yarn_dimension(cfg, rope->beta_fast), high = yarn_dimension(cfg, rope->beta_slow);

    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)cfg->head_dim - 1);
    if (low == high)
        high += 0.001; /* as transformers does, against a division by zero */
    for (int64_t i = 0; i < cfg->head_dim / 2; i++) {
        const float position = pow_f32(rope->theta, (float)(2 * i) / (float)cfg->head_dim);
        const float ramp = fminf(fmaxf(((float)i - (float)low) / (float)(high - low), 0.0f), 1.0f);
        const float keep = 1.0f - ramp;

        inv_freq[i] = 1.0f / ((float)rope->factor * position) * (1.0f - keep) + 1.0f / position * keep;
    }
}

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

static float yarn_attention_factor(const RopeConfig *rope)
{
    if (rope->attention_factor != 0)
        return (float)rope->attention_factor;
    if (rope->mscale != 0 && rope->mscale_all_dim != 0)
        return (float)(yarn_mscale(rope->factor, rope->mscale) / yarn_mscale(rope->factor, rope->mscale_all_dim));
    return (float)yarn_mscale(rope->factor, 1);
}

/* A larger base for longer sequences; at max_position_embeddings it is the base itself. */
static double dynamic_theta(const ModelConfig *cfg, int64_t length)
{
    const float factor = (float)cfg->rope.factor, dim = (float)cfg->head_dim;
    const float grown = factor * (float)length / (float)cfg->max_position_embeddings - (float)(cfg->rope.factor - 1);

    return (double)((float)cfg->rope.theta * pow_f32((double)grown, dim / (dim - 2)));
}

static void longrope_frequencies(const ModelConfig *cfg, int64_t length, float *inv_freq)
{
    const RopeConfig *rope = &cfg->rope;
    const double *stretch = length > rope->original_max_position ? rope->long_factor : rope->short_factor;

    for (int64_t i = 0; i < cfg->head_dim / 2; i++)
        inv_freq[i] = 1.0f / ((float)stretch[i] * pow_f32(rope->theta, (float)(2 * i) / (float)cfg->head_dim));
}

static float longrope_attention_factor(const RopeConfig *rope)
{
    if (rope->attention_factor != 0)
        return (float)rope->attention_factor;
    return rope->factor <= 1 ? 1 : (float)sqrt(1 + log(rope->factor) / log((double)rope->original_max_position));
}

bool rope_by_length(const ModelConfig *cfg)
{
    return cfg->rope.type == ROPE_DYNAMIC || cfg->rope.type == ROPE_LONGROPE;
}

int64_t rope_length_class(const ModelConfig *cfg, int64_t length)
{
    const int64_t original = cfg->rope.original_max_position;

    if (cfg->rope.type == ROPE_DYNAMIC)
        return length > cfg->max_position_embeddings ? length : cfg->max_position_embeddings;
    if (cfg->rope.type == ROPE_LONGROPE)
        return length > original ? original + 1 : original;
    return 0;
}

void rope_frequencies(const ModelConfig *cfg, int64_t length, float *inv_freq, float *attention_factor)
{
    *attention_factor = 1;
    base_frequencies(cfg, cfg->rope.theta, inv_freq);
    switch (cfg->rope.type) {
    case ROPE_DEFAULT:
        break;
    case ROPE_LINEAR:
        linear_frequencies(cfg, inv_freq);
        break;
    case ROPE_LLAMA3:
        llama3_frequencies(cfg, inv_freq);
        break;
    case ROPE_YARN:
        yarn_frequencies(cfg, inv_freq);
        *attention_factor = yarn_attention_factor(&cfg->rope);
        break;
    case ROPE_DYNAMIC:
        if (length > cfg->max_position_embeddings)
            base_frequencies(cfg, dynamic_theta(cfg, length), inv_freq);
        break;
    case ROPE_LONGROPE:
        longrope_frequencies(cfg, length, inv_freq);
        *attention_factor = longrope_attention_factor(&cfg->rope);
        break;
    }
}

typedef struct RopeFill {
    const ModelConfig *cfg;
    const int32_t *position, *length; /* of each token; NULL: positions 0.. of the model's one table */
    int64_t n;
    float *cos, *sin; /* host, [n, head_dim / 2] */
} RopeFill;

static Status fill_rows(void *context, int64_t index, int thread)
{
    const RopeFill *f = context;
    const int64_t half = f->cfg->head_dim / 2, first = index * ROWS_PER_TASK;
    const int64_t after = first + ROWS_PER_TASK < f->n ? first + ROWS_PER_TASK : f->n;
    float inv_freq[CONFIG_MAX_HEAD_DIM / 2], factor = 0;

    (void)thread;
    for (int64_t r = first; r < after; r++) {
        const int64_t position = f->position == NULL ? r : f->position[r];

        /* Neighbours mostly belong to one sequence. */
        if (r == first || (f->length != NULL && f->length[r] != f->length[r - 1]))
            rope_frequencies(f->cfg, f->length == NULL ? 0 : f->length[r], inv_freq, &factor);
        for (int64_t i = 0; i < half; i++) {
            const float angle = (float)position * inv_freq[i];

            f->cos[r * half + i] = (float)cos((double)angle) * factor;
            f->sin[r * half + i] = (float)sin((double)angle) * factor;
        }
    }
    return LT_OK;
}

static Status fill(Pool *pool, RopeFill *f)
{
    BUG_IF(f->cfg->head_dim > CONFIG_MAX_HEAD_DIM);
    return pool_run(pool, (f->n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, fill_rows, f);
}

Status rope_rows(Pool *pool, const ModelConfig *cfg, const int32_t *position, const int32_t *length, int64_t n, float *cos, float *sin)
{
    return fill(pool, &(RopeFill){.cfg = cfg, .position = position, .length = length, .n = n, .cos = cos, .sin = sin});
}

static Status take_tables(RopeTable *t, const ModelConfig *cfg)
{
    TRY(tensor_arena_take(&t->memory, &t->cos, LT_F32, t->n_position, cfg->head_dim / 2));
    return tensor_arena_take(&t->memory, &t->sin, LT_F32, t->n_position, cfg->head_dim / 2);
}

size_t rope_bytes(Device *dev, const ModelConfig *cfg, int64_t n_position)
{
    RopeTable t = {.n_position = n_position};

    if (rope_by_length(cfg))
        return 0;
    tensor_arena_plan(&t.memory, dev);
    const Status st = take_tables(&t, cfg);
    return tensor_arena_planned(&t.memory, st);
}

Status rope_open(RopeTable *t, Device *dev, const ModelConfig *cfg, int64_t n_position)
{
    const int64_t half = cfg->head_dim / 2;
    RopeTable table = {.n_position = n_position};
    float *host = NULL;
    Status st = LT_OK;

    if (rope_by_length(cfg))
        goto done;
    TRY_GOTO(MEM_NEW(host, 2 * (size_t)(n_position * half)), st, done);
    RopeFill rows = {.cfg = cfg, .n = n_position, .cos = host, .sin = host + n_position * half};
    TRY_GOTO(fill(device_pool(dev), &rows), st, done);
    TRY_GOTO(tensor_arena_open(&table.memory, dev, rope_bytes(dev, cfg, n_position)), st, done);
    TRY_GOTO(take_tables(&table, cfg), st, done);
    TRY_GOTO(device_upload(dev, table.cos, rows.cos), st, done);
    TRY_GOTO(device_upload(dev, table.sin, rows.sin), st, done);
done:
    mem_free(host);
    if (st == LT_OK)
        *t = table;
    else
        rope_close(&table);
    return st;
}

void rope_close(RopeTable *t)
{
    tensor_arena_close(&t->memory);
    *t = (RopeTable){0};
}
