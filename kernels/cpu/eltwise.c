/* axpy, sub, scale, cast: bound by memory. Any dtype for each tensor; where one of them is F64, the arithmetic is F64. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

typedef enum EltwiseKind {
    ELTWISE_ADD,   /* y = a + alpha b */
    ELTWISE_SCALE, /* y = alpha a */
    ELTWISE_COPY,  /* y = a */
} EltwiseKind;

typedef struct EltwiseArgs {
    Tensor y, a, b;
    float alpha;
    EltwiseKind kind;
} EltwiseArgs;

/* d as F32 with the last bit set if anything was cut off: rounding that to 16 bits rounds d itself, once. */
SIMD_INLINE float round_to_odd(double d)
{
    const float f = (float)d;
    const uint32_t bits = simd_bits(f), below = __builtin_fabs((double)f) > __builtin_fabs(d) ? bits - 1 : bits;

    return (double)f == d || f != f ? f : simd_float(below | 1u);
}

SIMD_INLINE void widen_f64(double *restrict to, Tensor t, int64_t row, int64_t col, int64_t n)
{
    float narrow[SIMD_CHUNK];

    if (t.dtype == LT_F64) {
        memcpy(to, (const double *)t.data + row * t.stride + col, (size_t)n * sizeof *to);
        return;
    }
    simd_widen(narrow, t, row, col, n);
    for (int64_t i = 0; i < n; i++)
        to[i] = (double)narrow[i];
}

SIMD_INLINE void narrow_f64(Tensor t, int64_t row, int64_t col, const double *restrict from, int64_t n)
{
    float narrow[SIMD_CHUNK];

    if (t.dtype == LT_F64) {
        memcpy((double *)t.data + row * t.stride + col, from, (size_t)n * sizeof *from);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        narrow[i] = t.dtype == LT_F32 ? (float)from[i] : round_to_odd(from[i]);
    simd_narrow(t, row, col, narrow, n);
}

SIMD_INLINE void piece_f64(const EltwiseArgs *e, int64_t row, int64_t at, int64_t n)
{
    const double alpha = (double)e->alpha;
    double a[SIMD_CHUNK], b[SIMD_CHUNK];

    widen_f64(a, e->a, row, at, n);
    if (e->kind == ELTWISE_ADD) {
        widen_f64(b, e->b, row, at, n);
        for (int64_t i = 0; i < n; i++)
            a[i] += alpha * b[i];
    } else if (e->kind == ELTWISE_SCALE) {
        for (int64_t i = 0; i < n; i++)
            a[i] *= alpha;
    }
    narrow_f64(e->y, row, at, a, n);
}

SIMD_INLINE void piece_f32(const EltwiseArgs *e, int64_t row, int64_t at, int64_t n)
{
    float a[SIMD_CHUNK], b[SIMD_CHUNK];

    simd_widen(a, e->a, row, at, n);
    if (e->kind == ELTWISE_ADD) {
        simd_widen(b, e->b, row, at, n);
        for (int64_t i = 0; i < n; i++)
            a[i] += e->alpha * b[i];
    } else if (e->kind == ELTWISE_SCALE) {
        for (int64_t i = 0; i < n; i++)
            a[i] *= e->alpha;
    }
    simd_narrow(e->y, row, at, a, n);
}

SIMD_INLINE void eltwise_rows(const void *context, int64_t from, int64_t to)
{
    const EltwiseArgs *e = context;
    const bool wide = e->y.dtype == LT_F64 || e->a.dtype == LT_F64 || (e->kind == ELTWISE_ADD && e->b.dtype == LT_F64);

    for (int64_t row = from; row < to; row++) {
        for (int64_t at = 0; at < e->y.cols; at += SIMD_CHUNK) {
            const int64_t n = simd_min(e->y.cols - at, SIMD_CHUNK);

            if (wide)
                piece_f64(e, row, at, n);
            else
                piece_f32(e, row, at, n);
        }
    }
}

static void eltwise_generic(const void *args, int64_t from, int64_t to) { eltwise_rows(args, from, to); }
TARGET_AVX2 static void eltwise_avx2(const void *args, int64_t from, int64_t to) { eltwise_rows(args, from, to); }
TARGET_AVX512 static void eltwise_avx512(const void *args, int64_t from, int64_t to) { eltwise_rows(args, from, to); }
static const RowsBody eltwise_body[CPU_LEVELS] = {eltwise_generic, eltwise_avx2, eltwise_avx512, eltwise_avx512};

static Status run(Device *dev, const EltwiseArgs *e) { return rows_run(dev, eltwise_body, e, e->y.rows, e->y.cols); }

Status cpu_axpy(Device *dev, Tensor y, Tensor x, float alpha)
{
    return run(dev, &(EltwiseArgs){y, y, x, alpha, ELTWISE_ADD});
}

Status cpu_sub(Device *dev, Tensor y, Tensor a, Tensor b)
{
    return run(dev, &(EltwiseArgs){y, a, b, -1, ELTWISE_ADD});
}

Status cpu_scale(Device *dev, Tensor y, float alpha)
{
    return run(dev, &(EltwiseArgs){y, y, (Tensor){0}, alpha, ELTWISE_SCALE});
}

Status cpu_cast(Device *dev, Tensor y, Tensor x)
{
    return run(dev, &(EltwiseArgs){y, x, (Tensor){0}, 1, ELTWISE_COPY});
}
