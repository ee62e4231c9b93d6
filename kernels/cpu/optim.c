/* AdamW and Lion. Bytes an element in F32: AdamW reads p, g, m, v and writes p, m, v (28), Lion 20, a 16-bit weight beside the master 2 more:
 * bound by memory. Sums and products are not fused at any level, and division and root are exact to the last bit, so every level gives the same
 * bits. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/optim.h"

/* Elements a task counts, row after row: a parameter may be one long row. */
enum { BLOCK = 4096 };

typedef struct OptimRun {
    const OptimArgs *o;
    OptimStep step;
} OptimRun;

/* A split master is 2^16 times the weight's bits plus `low` read as signed, so that the weight is the master rounded to nearest. */
SIMD_INLINE void join_halves(float *restrict p, Tensor high, Tensor low, int64_t row, int64_t col, int64_t n)
{
    const uint16_t *restrict h = (const uint16_t *)high.data + row * high.stride + col;
    const uint16_t *restrict l = (const uint16_t *)low.data + row * low.stride + col;

    for (int64_t i = 0; i < n; i++)
        p[i] = simd_float(((uint32_t)h[i] << 16) + (uint32_t)(int32_t)(int16_t)l[i]);
}

SIMD_INLINE void split_halves(Tensor high, Tensor low, const float *restrict p, int64_t row, int64_t col, int64_t n)
{
    uint16_t *restrict h = (uint16_t *)high.data + row * high.stride + col;
    uint16_t *restrict l = (uint16_t *)low.data + row * low.stride + col;

    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = p[i] == p[i] ? simd_bits(p[i]) : 0x7fc00000u; /* another NaN might be rounded to a number */

        h[i] = (uint16_t)((bits + 0x8000u) >> 16);
        l[i] = (uint16_t)bits;
    }
}

SIMD_INLINE void load_master(float *restrict p, const OptimArgs *o, int64_t row, int64_t col, int64_t n)
{
    if (tensor_is_set(o->low))
        join_halves(p, o->weight, o->low, row, col, n);
    else
        simd_widen(p, o->master, row, col, n);
}

SIMD_INLINE void store_master(const OptimArgs *o, const float *restrict p, int64_t row, int64_t col, int64_t n)
{
    if (tensor_is_set(o->low)) {
        split_halves(o->weight, o->low, p, row, col, n);
        return;
    }
    simd_narrow(o->master, row, col, p, n);
    if (tensor_is_set(o->weight))
        simd_narrow(o->weight, row, col, p, n);
}

/* v in BF16: rounded up as often as the part cut off says. To nearest, v would stand still: a step moves it by 1 - beta2, a thousandth, and half
 * a unit of BF16 is two to four thousandths. */
SIMD_INLINE void store_dithered(Tensor t, const float *restrict v, int64_t row, int64_t col, int64_t n, uint32_t dither)
{
    bf16_t *restrict to = (bf16_t *)t.data + row * t.stride + col;

    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = simd_bits(v[i]);
        uint32_t h = bits ^ dither; /* the last steps of MurmurHash3 (Appleby): every bit comes to depend on all others */

        h = (h ^ (h >> 16)) * 0x85ebca6bu;
        h = (h ^ (h >> 13)) * 0xc2b2ae35u;
        h = (h ^ (h >> 16)) & 0xffffu;
        to[i] = v[i] < INFINITY ? (bf16_t)((bits + h) >> 16) : simd_bf16_narrow(v[i]);
    }
}

SIMD_INLINE void adamw_piece(const OptimRun *run, int64_t row, int64_t col, int64_t n)
{
    const OptimArgs *o = run->o;
    const OptimStep s = run->step;
    float p[SIMD_CHUNK], g[SIMD_CHUNK], m[SIMD_CHUNK], v[SIMD_CHUNK];

    load_master(p, o, row, col, n);
    simd_widen(g, o->grad, row, col, n);
    simd_widen(m, o->m, row, col, n);
    simd_widen(v, o->v, row, col, n);
    for (int64_t i = 0; i < n; i++) {
        const float grad = g[i] * s.grad_scale;

        m[i] = s.beta1 * m[i] + s.rest1 * grad;
        v[i] = s.beta2 * v[i] + s.rest2 * (grad * grad);
        p[i] = p[i] * s.keep - s.rate * (m[i] / (__builtin_sqrtf(v[i]) * s.root + s.eps));
    }
    store_master(o, p, row, col, n);
    simd_narrow(o->m, row, col, m, n);
    if (o->v.dtype == LT_BF16)
        store_dithered(o->v, v, row, col, n, s.dither);
    else
        simd_narrow(o->v, row, col, v, n);
}

SIMD_INLINE void lion_piece(const OptimRun *run, int64_t row, int64_t col, int64_t n)
{
    const OptimArgs *o = run->o;
    const OptimStep s = run->step;
    float p[SIMD_CHUNK], g[SIMD_CHUNK], m[SIMD_CHUNK];

    load_master(p, o, row, col, n);
    simd_widen(g, o->grad, row, col, n);
    simd_widen(m, o->m, row, col, n);
    for (int64_t i = 0; i < n; i++) {
        const float away = g[i] * s.grad_scale - m[i], u = m[i] + s.rest1 * away;
        const float sign = (float)((u > 0) - (u < 0));

        p[i] = p[i] * s.keep - s.rate * sign;
        m[i] = m[i] + s.rest2 * away;
    }
    store_master(o, p, row, col, n);
    simd_narrow(o->m, row, col, m, n);
}

/* Blocks from..to-1, each in pieces that lie in one row. */
SIMD_INLINE void optim_blocks(const void *context, int64_t from, int64_t to, bool adamw)
{
    const OptimRun *run = context;
    const int64_t cols = run->o->grad.cols, end = simd_min(to * BLOCK, run->o->grad.rows * cols);

    for (int64_t at = from * BLOCK, n; at < end; at += n) {
        const int64_t row = at / cols, col = at % cols;

        n = simd_min(simd_min(end - at, cols - col), SIMD_CHUNK);
        if (adamw)
            adamw_piece(run, row, col, n);
        else
            lion_piece(run, row, col, n);
    }
}

static void adamw_generic(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, true); }
TARGET_AVX2 static void adamw_avx2(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, true); }
TARGET_AVX512 static void adamw_avx512(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, true); }
static const RowsBody adamw_body[CPU_LEVELS] = {adamw_generic, adamw_avx2, adamw_avx512, adamw_avx512};

static void lion_generic(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, false); }
TARGET_AVX2 static void lion_avx2(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, false); }
TARGET_AVX512 static void lion_avx512(const void *args, int64_t from, int64_t to) { optim_blocks(args, from, to, false); }
static const RowsBody lion_body[CPU_LEVELS] = {lion_generic, lion_avx2, lion_avx512, lion_avx512};

static Status run_blocks(Device *dev, const RowsBody body[CPU_LEVELS], const OptimArgs *o, OptimStep step)
{
    const OptimRun run = {o, step};

    return rows_run(dev, body, &run, (o->grad.rows * o->grad.cols + BLOCK - 1) / BLOCK, BLOCK);
}

Status cpu_adamw(Device *dev, const OptimArgs *args) { return run_blocks(dev, adamw_body, args, optim_adamw_step(args)); }

Status cpu_lion(Device *dev, const OptimArgs *args) { return run_blocks(dev, lion_body, args, optim_lion_step(args)); }
