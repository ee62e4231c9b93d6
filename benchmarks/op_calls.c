#include "benchmarks/op_calls.h"

#include "benchmarks/bench.h"
#include "core/half.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */

enum { RANDOM_WORDS = 1 << 18 };

/* Numbers in [-1, 1) of the dtype, the same block again and again: a device's speed may depend on them, but not on more of them. */
static const void *random_block(DType dtype)
{
    static float f32[RANDOM_WORDS];
    static bf16_t bf16[RANDOM_WORDS];
    static uint32_t state;

    if (state == 0)
        for (int i = 0; i < RANDOM_WORDS; i++) {
            state = state * 1664525u + 1013904223u;
            f32[i] = (float)((int32_t)state) * 0x1p-31f;
            bf16[i] = f32_to_bf16(f32[i]);
        }
    return dtype == LT_BF16 ? (const void *)bf16 : (const void *)f32;
}

static Tensor take(OpCall *c, DType dtype, int64_t rows, int64_t cols)
{
    Tensor t;

    BENCH_TRY(tensor_arena_take(c->arena, &t, dtype, rows, cols));
    if (t.data == NULL || (dtype != LT_F32 && dtype != LT_BF16))
        return t;
    for (int64_t at = 0; at < rows * cols; at += RANDOM_WORDS) {
        const int64_t n = rows * cols - at < RANDOM_WORDS ? rows * cols - at : RANDOM_WORDS;

        BENCH_TRY(device_upload(c->dev, tensor_of((char *)t.data + (size_t)at * dtype_bytes(dtype), dtype, 1, n), random_block(dtype)));
    }
    return t;
}

/* I32 numbers (i * step) % below, from the given one on. */
static Tensor take_index(OpCall *c, int64_t n, int64_t step, int64_t below)
{
    Tensor t;
    int32_t *host = mem_take((size_t)n, sizeof *host);

    BENCH_TRY(host != NULL ? LT_OK : LT_E_NOMEM);
    BENCH_TRY(tensor_arena_take(c->arena, &t, LT_I32, 1, n));
    for (int64_t i = 0; i < n; i++)
        host[i] = (int32_t)(i * step % below);
    if (t.data != NULL)
        BENCH_TRY(device_upload(c->dev, t, host));
    mem_free(host);
    return t;
}

static Tensor put_words(OpCall *c, int64_t rows, int64_t cols, const void *host)
{
    Tensor t;

    BENCH_TRY(tensor_arena_take(c->arena, &t, LT_I32, rows, cols));
    if (t.data != NULL)
        BENCH_TRY(device_upload(c->dev, t, host));
    return t;
}

static double bytes_of(const OpCall *c, int n)
{
    double bytes = 0;

    for (int i = 0; i < n; i++)
        bytes += (double)(c->t[i].rows * c->t[i].cols) * (double)dtype_bytes(c->t[i].dtype);
    return bytes;
}

/* ---- products ----------------------------------------------------------------------------------------------------------- */

static Status run_gemm(OpCall *c)
{
    return op_gemm(c->dev, &(GemmArgs){.c = c->t[0], .a = c->t[1], .b = c->t[2], .op_b = GEMM_T,
                                       .phase = c->t[1].rows > 64 ? GEMM_WIDE : GEMM_NARROW});
}

static void gemm(OpCall *c, const char *what, int64_t m, int64_t n, int64_t k, DType out)
{
    snprintf(c->what, sizeof c->what, "%s %lldx%lldx%lld", what, (long long)m, (long long)n, (long long)k);
    c->t[0] = take(c, out, m, n);
    c->t[1] = take(c, c->dtype, m, k);
    c->t[2] = take(c, c->dtype, n, k);
    c->bytes = bytes_of(c, 3);
    c->flops = 2.0 * (double)m * (double)n * (double)k;
    c->run = run_gemm;
}

static int64_t qkv_cols(const OpShape *s) { return (s->n_head + 2 * s->n_kv_head) * s->head_size; }

static void gemm_qkv(OpCall *c) { gemm(c, "qkv", c->shape->n_token, qkv_cols(c->shape), c->shape->hidden, c->dtype); }
static void gemm_o(OpCall *c) { gemm(c, "o", c->shape->n_token, c->shape->hidden, c->shape->n_head * c->shape->head_size, c->dtype); }
static void gemm_gate(OpCall *c) { gemm(c, "gate_up", c->shape->n_token, 2 * c->shape->ffn, c->shape->hidden, c->dtype); }
static void gemm_down(OpCall *c) { gemm(c, "down", c->shape->n_token, c->shape->hidden, c->shape->ffn, c->dtype); }
static void gemm_head(OpCall *c) { gemm(c, "head", c->shape->n_token / 4, c->shape->vocab, c->shape->hidden, LT_F32); }
static void gemm_one(OpCall *c) { gemm(c, "gate_up", 1, 2 * c->shape->ffn, c->shape->hidden, c->dtype); }
static void gemm_few(OpCall *c) { gemm(c, "gate_up", 16, 2 * c->shape->ffn, c->shape->hidden, c->dtype); }
static void gemm_batch(OpCall *c) { gemm(c, "gate_up", 64, 2 * c->shape->ffn, c->shape->hidden, c->dtype); }

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static Status run_embed(OpCall *c) { return op_embed(c->dev, c->t[0], c->t[1], c->t[2]); }
static void embed(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->bytes = 2 * bytes_of(c, 1);
    c->t[1] = take(c, c->dtype, c->shape->vocab, c->shape->hidden);
    c->t[2] = take_index(c, c->shape->n_token, 7919, c->shape->vocab);
    c->run = run_embed;
}

static Status run_rmsnorm(OpCall *c) { return op_rmsnorm(c->dev, c->t[0], c->t[2], c->t[1], c->t[3], 1e-5f); }
static void rmsnorm(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->t[1] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->t[2] = take(c, LT_F32, c->shape->n_token, 1);
    c->t[3] = take(c, c->dtype, 1, c->shape->hidden);
    c->bytes = bytes_of(c, 4);
    c->run = run_rmsnorm;
}

static Status run_rmsnorm_grad(OpCall *c)
{
    return op_rmsnorm_grad(c->dev, c->t[0], c->t[1], c->t[2], c->t[3], c->t[4], c->t[5], 1);
}
static void rmsnorm_grad(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->bytes = bytes_of(c, 1); /* read and written */
    c->t[1] = take(c, LT_F32, 1, c->shape->hidden);
    c->t[2] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->t[3] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->t[4] = take(c, c->dtype, 1, c->shape->hidden);
    c->t[5] = take(c, LT_F32, c->shape->n_token, 1);
    c->bytes += bytes_of(c, 6);
    c->run = run_rmsnorm_grad;
}

static Status run_rope(OpCall *c) { return op_rope(c->dev, c->t[0], c->t[1], c->t[2], c->t[3], 1); }
static void rope(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, (c->shape->n_head + c->shape->n_kv_head) * c->shape->head_size);
    c->bytes = 2 * bytes_of(c, 1);
    c->t[1] = take(c, LT_F32, c->shape->length, c->shape->head_size / 2);
    c->t[2] = take(c, LT_F32, c->shape->length, c->shape->head_size / 2);
    c->t[3] = take_index(c, c->shape->n_token, 1, c->shape->length);
    c->run = run_rope;
}

static Status run_swiglu(OpCall *c) { return op_swiglu(c->dev, c->t[0], c->t[1]); }
static void swiglu(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->ffn);
    c->t[1] = take(c, c->dtype, c->shape->n_token, 2 * c->shape->ffn);
    c->bytes = bytes_of(c, 2);
    c->run = run_swiglu;
}

static Status run_swiglu_grad(OpCall *c) { return op_swiglu_grad(c->dev, c->t[0], c->t[1], c->t[0]); }
static void swiglu_grad(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, 2 * c->shape->ffn);
    c->bytes = bytes_of(c, 1);
    c->t[1] = take(c, c->dtype, c->shape->n_token, c->shape->ffn);
    c->bytes += bytes_of(c, 2);
    c->run = run_swiglu_grad;
}

static Status run_axpy(OpCall *c) { return op_axpy(c->dev, c->t[0], c->t[1], 0.5f); }
static void axpy(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->bytes = bytes_of(c, 1);
    c->t[1] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->bytes += bytes_of(c, 2);
    c->run = run_axpy;
}

static Status run_dropout(OpCall *c) { return op_dropout(c->dev, c->t[0], c->t[1], 0.1f, &(DropoutKey){.seed = 1}); }
static void dropout(OpCall *c)
{
    c->t[0] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->t[1] = take(c, c->dtype, c->shape->n_token, c->shape->hidden);
    c->bytes = bytes_of(c, 2);
    c->run = run_dropout;
}

/* ---- attention ---------------------------------------------------------------------------------------------------------- */

static AttnArgs attn_args(const OpCall *c)
{
    const OpShape *s = c->shape;

    return (AttnArgs){.o = c->t[0], .q = c->t[1], .k = c->t[2], .v = c->t[3], .lse = c->t[4], .seg = c->segment, .seg_dev = c->t[5],
                      .n_seg = (int32_t)c->t[5].rows, .n_head = (int32_t)s->n_head, .n_kv_head = (int32_t)s->n_kv_head,
                      .head_size = (int32_t)s->head_size, .scale = (float)(1 / sqrt((double)s->head_size))};
}

static Status run_attn(OpCall *c)
{
    const AttnArgs args = attn_args(c);

    return op_attn(c->dev, &args);
}

static void attn(OpCall *c)
{
    const OpShape *s = c->shape;
    const int64_t n_seg = s->n_token / s->length;

    BENCH_TRY(MEM_NEW(c->segment, (size_t)n_seg));
    for (int64_t i = 0; i < n_seg; i++)
        c->segment[i] = (AttnSegment){(int32_t)(i * s->length), (int32_t)s->length, 0, 0, (int32_t)(i * s->length)};
    snprintf(c->what, sizeof c->what, "%lld x %lld causal", (long long)n_seg, (long long)s->length);
    c->t[0] = take(c, c->dtype, s->n_token, s->n_head * s->head_size);
    c->t[1] = take(c, c->dtype, s->n_token, s->n_head * s->head_size);
    c->t[2] = take(c, c->dtype, s->n_token, s->n_kv_head * s->head_size);
    c->t[3] = take(c, c->dtype, s->n_token, s->n_kv_head * s->head_size);
    c->t[4] = take(c, LT_F32, s->n_token, s->n_head);
    c->bytes = bytes_of(c, 5);
    c->flops = 2.0 * (double)s->n_token * (double)(s->length + 1) * (double)(s->n_head * s->head_size);
    c->t[5] = put_words(c, n_seg, 5, c->segment);
    c->run = run_attn;
}

/* t[7]: the gradients of q, k and v side by side. */
static Status run_attn_grad(OpCall *c)
{
    const int64_t q = c->t[1].cols, kv = c->t[2].cols;
    const AttnGradArgs args = {.fwd = attn_args(c), .d_o = c->t[6], .dq = tensor_cols(c->t[7], 0, q), .dk = tensor_cols(c->t[7], q, kv),
                               .dv = tensor_cols(c->t[7], q + kv, kv)};

    return op_attn_grad(c->dev, &args);
}

static void attn_grad(OpCall *c)
{
    attn(c);
    c->t[6] = take(c, c->dtype, c->t[0].rows, c->t[0].cols);
    c->t[7] = take(c, c->dtype, c->t[1].rows, c->t[1].cols + c->t[2].cols + c->t[3].cols);
    c->bytes = bytes_of(c, 8);
    c->flops *= 2.5;
    if (c->t[0].data != NULL) /* o and lse have to be those of the forward pass */
        BENCH_TRY(run_attn(c));
    c->run = run_attn_grad;
}

static Status run_attn_cached(OpCall *c)
{
    const OpShape *s = c->shape;
    const AttnCachedArgs args = {.o = c->t[0], .q = c->t[1], .k_pages = c->t[2], .v_pages = c->t[3], .table = c->t[4], .seg = c->cached,
                                 .seg_dev = c->t[5], .group = &c->group, .group_dev = c->t[6], .n_seg = (int32_t)c->t[5].rows,
                                 .n_group = c->group.count > 0, .n_head = (int32_t)s->n_head, .n_kv_head = (int32_t)s->n_kv_head,
                                 .head_size = (int32_t)s->head_size, .scale = (float)(1 / sqrt((double)s->head_size))};

    return op_attn_cached(c->dev, &args);
}

/* shared: positions that all sequences have in the same pages. */
static void cached(OpCall *c, int64_t shared)
{
    const OpShape *s = c->shape;
    const int64_t n_page = (s->context + KV_PAGE - 1) / KV_PAGE, n_shared = shared / KV_PAGE, own = n_page - n_shared;
    const int64_t kv = s->n_kv_head * s->head_size, n = s->n_sequence;
    int32_t *table;

    BENCH_TRY(MEM_NEW(c->cached, (size_t)n));
    BENCH_TRY(MEM_NEW(table, (size_t)(n * n_page)));
    for (int64_t i = 0; i < n; i++) {
        c->cached[i] = (CachedSegment){(int32_t)i, 1, (int32_t)s->context - 1, (int32_t)i};
        for (int64_t p = 0; p < n_page; p++)
            table[i * n_page + p] = (int32_t)(p < n_shared ? p : n_shared + i * own + p - n_shared);
    }
    c->group = (PrefixGroup){0, shared > 0 ? (int32_t)n : 0, (int32_t)shared};
    snprintf(c->what, sizeof c->what, "%lld x %lld keys, %lld shared", (long long)n, (long long)s->context, (long long)shared);
    c->t[0] = take(c, c->dtype, n, s->n_head * s->head_size);
    c->t[1] = take(c, c->dtype, n, s->n_head * s->head_size);
    c->t[2] = take(c, c->dtype, (n_shared + n * own) * KV_PAGE, kv);
    c->t[3] = take(c, c->dtype, (n_shared + n * own) * KV_PAGE, kv);
    c->bytes = bytes_of(c, 4);
    c->flops = 4.0 * (double)n * (double)s->context * (double)(s->n_head * s->head_size);
    c->t[4] = put_words(c, n, n_page, table);
    c->t[5] = put_words(c, n, 4, c->cached);
    c->t[6] = put_words(c, 1, 3, &c->group);
    mem_free(table);
    c->run = run_attn_cached;
}

static void attn_decode(OpCall *c) { cached(c, 0); }
static void attn_shared(OpCall *c) { cached(c, c->shape->context / 2 / ATTN_SPLIT * ATTN_SPLIT); }

/* ---- loss, choice, training ---------------------------------------------------------------------------------------------- */

static Status run_logprob(OpCall *c) { return op_logprob(c->dev, c->t[0], c->t[1], c->t[2], c->t[3], c->t[4]); }
static void logprob(OpCall *c)
{
    const int64_t rows = c->shape->n_token / 8;

    c->t[0] = take(c, LT_F32, 1, rows);
    c->t[1] = take(c, LT_I32, 1, rows);
    c->t[2] = take(c, LT_F32, rows, c->shape->vocab);
    c->bytes = bytes_of(c, 3);
    c->t[3] = take_index(c, rows, 1, rows);
    c->t[4] = take_index(c, rows, 7919, c->shape->vocab);
    c->run = run_logprob;
}

static Status run_argmax(OpCall *c) { return op_argmax(c->dev, c->t[0], c->t[1]); }
static void argmax(OpCall *c)
{
    c->t[0] = take(c, LT_I32, 1, c->shape->n_sequence);
    c->t[1] = take(c, LT_F32, c->shape->n_sequence, c->shape->vocab);
    c->bytes = bytes_of(c, 2);
    c->run = run_argmax;
}

static Status run_sample(OpCall *c) { return op_sample(c->dev, c->t[0], c->t[1], c->t[2], c->t[3]); }
static void sample(OpCall *c)
{
    const int64_t rows = c->shape->n_sequence;
    SampleParams *params;

    BENCH_TRY(MEM_NEW(params, (size_t)rows));
    for (int64_t i = 0; i < rows; i++)
        params[i] = (SampleParams){.temperature = 0.2f, .top_p = 0.95f, .seed_low = (uint32_t)i};
    snprintf(c->what, sizeof c->what, "temperature 0.2, top-p 0.95");
    c->t[0] = take(c, LT_I32, 1, rows);
    c->t[1] = take(c, LT_F32, 1, rows);
    c->t[2] = take(c, LT_F32, rows, c->shape->vocab);
    c->bytes = bytes_of(c, 3);
    c->t[3] = put_words(c, rows, 6, params);
    mem_free(params);
    c->run = run_sample;
}

static Status run_xent(OpCall *c) { return op_xent(c->dev, c->t[0], c->t[1], c->t[2], c->t[3], c->t[4]); }
static void xent(OpCall *c)
{
    const int64_t rows = c->shape->n_token / 8;

    c->t[0] = take(c, LT_F32, 1, rows);
    c->t[1] = take(c, c->dtype, rows, c->shape->vocab);
    c->t[2] = take(c, LT_F32, rows, c->shape->vocab);
    c->bytes = bytes_of(c, 3);
    c->t[3] = take_index(c, rows, 7919, c->shape->vocab);
    c->t[4] = take(c, LT_F32, 1, rows);
    c->run = run_xent;
}

static Status run_sumsq(OpCall *c) { return op_sumsq(c->dev, c->t[0], c->t[1]); }
static void sumsq(OpCall *c)
{
    c->t[0] = take(c, LT_F64, 1, 1);
    c->t[1] = take(c, LT_F32, c->shape->hidden, 2 * c->shape->ffn);
    c->bytes = bytes_of(c, 2);
    c->run = run_sumsq;
}

static OptimArgs optim_args(const OpCall *c)
{
    return (OptimArgs){.master = c->t[0], .m = c->t[1], .v = c->t[2], .weight = c->t[3], .grad = c->t[4], .lr = 1e-5f, .beta1 = 0.9f, .beta2 = 0.95f,
                       .eps = 1e-8f, .grad_scale = 1, .step = 10};
}

static Status run_adamw(OpCall *c)
{
    const OptimArgs args = optim_args(c);

    return op_adamw(c->dev, &args);
}

static Status run_lion(OpCall *c)
{
    OptimArgs args = optim_args(c);

    args.v = (Tensor){0};
    return op_lion(c->dev, &args);
}

static void optim(OpCall *c, bool lion)
{
    for (int i = 0; i < 5; i++)
        c->t[i] = take(c, i == 3 ? LT_BF16 : LT_F32, c->shape->hidden, 2 * c->shape->ffn);
    if (!lion && c->t[2].data != NULL) /* v is never negative */
        BENCH_TRY(device_fill_zero(c->dev, c->t[2]));
    c->bytes = (lion ? 22.0 : 30.0) * (double)(c->shape->hidden * 2 * c->shape->ffn);
    c->run = lion ? run_lion : run_adamw;
}

static void adamw(OpCall *c) { optim(c, false); }
static void lion(OpCall *c) { optim(c, true); }

/* ---- decompositions ----------------------------------------------------------------------------------------------------- */

static Status run_gram(OpCall *c) { return op_gram_values(c->dev, c->values, c->t[0]); }
static void gram_of(OpCall *c, int64_t m, int64_t n)
{
    const double q = (double)(m < n ? m : n), p = (double)(m < n ? n : m);

    snprintf(c->what, sizeof c->what, "%lld x %lld, F64", (long long)m, (long long)n);
    c->t[0] = take(c, LT_F32, m, n);
    BENCH_TRY(MEM_NEW(c->values, (size_t)q));
    c->bytes = bytes_of(c, 1) + 8 * q * q * q / 3; /* the reduction to a band reads the matrix for every column, half of its products */
    c->flops = q * q * p + 4.0 / 3.0 * q * q * q;
    c->run = run_gram;
}

static void gram_square(OpCall *c) { gram_of(c, c->shape->hidden, c->shape->hidden); }
static void gram_mlp(OpCall *c) { gram_of(c, c->shape->ffn, c->shape->hidden); }

/* ---- the list ----------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *op;
    void (*prepare)(OpCall *c);
} CALL[] = {
    {"gemm", gemm_qkv}, {"gemm", gemm_o}, {"gemm", gemm_gate}, {"gemm", gemm_down}, {"gemm", gemm_head}, {"gemm", gemm_one},
    {"gemm", gemm_few}, {"gemm", gemm_batch}, {"embed", embed}, {"rmsnorm", rmsnorm}, {"rmsnorm_grad", rmsnorm_grad}, {"rope", rope},
    {"swiglu", swiglu}, {"swiglu_grad", swiglu_grad}, {"axpy", axpy}, {"dropout", dropout}, {"attn", attn}, {"attn_grad", attn_grad},
    {"attn_cached", attn_decode}, {"attn_cached", attn_shared}, {"logprob", logprob}, {"argmax", argmax}, {"sample", sample}, {"xent", xent},
    {"sumsq", sumsq}, {"adamw", adamw}, {"lion", lion}, {"gram_values", gram_square}, {"gram_values", gram_mlp},
};

bool op_call_prepare(OpCall *call, int i, Device *dev, TensorArena *arena, const OpShape *shape, DType dtype)
{
    if (i >= (int)(sizeof CALL / sizeof *CALL))
        return false;
    arena->used = 0;
    *call = (OpCall){.dev = dev, .arena = arena, .shape = shape, .dtype = dtype, .op = CALL[i].op};
    CALL[i].prepare(call);
    return true;
}

void op_call_release(OpCall *c)
{
    mem_free(c->segment);
    mem_free(c->cached);
    mem_free(c->values);
    *c = (OpCall){0};
}
