/* RMSNorm. 8 bytes moved and 5 operations an element in F32: bound by memory, so the second pass over a group finds it in cache. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

typedef struct NormArgs {
    Tensor y, rstd, x, w;
    float eps;
} NormArgs;

/* Sum of squares of one group, lane by lane; the last piece is filled up with zeros. */
SIMD_INLINE float sum_of_squares(Tensor x, int64_t row, int64_t col, int64_t n)
{
    float buffer[SIMD_CHUNK];
    SimdF32 sum[2] = {{0}, {0}}, v[2];

    for (int64_t at = 0; at < n; at += SIMD_CHUNK) {
        const int64_t len = simd_min(n - at, SIMD_CHUNK), padded = (len + SIMD_LANES - 1) / SIMD_LANES * SIMD_LANES;

        simd_widen(buffer, x, row, col + at, len);
        for (int64_t i = len; i < padded; i++)
            buffer[i] = 0;
        for (int64_t i = 0; i < padded; i += SIMD_LANES) {
            simd_load(v, buffer + i);
            sum[0] += v[0] * v[0];
            sum[1] += v[1] * v[1];
        }
    }
    return simd_sum(sum);
}

SIMD_INLINE void norm_group(const NormArgs *a, int64_t row, int64_t group)
{
    const int64_t n = a->w.cols, col = group * n;
    const float rstd = 1.0f / __builtin_sqrtf(sum_of_squares(a->x, row, col, n) / (float)n + a->eps);
    float x[SIMD_CHUNK], w[SIMD_CHUNK];

    for (int64_t at = 0; at < n; at += SIMD_CHUNK) {
        const int64_t len = simd_min(n - at, SIMD_CHUNK);

        simd_widen(x, a->x, row, col + at, len);
        simd_widen(w, a->w, 0, at, len);
        for (int64_t i = 0; i < len; i++)
            x[i] = x[i] * rstd * w[i];
        simd_narrow(a->y, row, col + at, x, len);
    }
    if (tensor_is_set(a->rstd))
        ((float *)a->rstd.data)[row * a->rstd.stride + group] = rstd;
}

SIMD_INLINE void norm_rows(const void *context, int64_t from, int64_t to)
{
    const NormArgs *a = context;
    const int64_t n_group = a->x.cols / a->w.cols;

    for (int64_t row = from; row < to; row++)
        for (int64_t group = 0; group < n_group; group++)
            norm_group(a, row, group);
}

static void norm_generic(const void *args, int64_t from, int64_t to) { norm_rows(args, from, to); }
TARGET_AVX2 static void norm_avx2(const void *args, int64_t from, int64_t to) { norm_rows(args, from, to); }
TARGET_AVX512 static void norm_avx512(const void *args, int64_t from, int64_t to) { norm_rows(args, from, to); }
static const RowsBody norm_body[CPU_LEVELS] = {norm_generic, norm_avx2, norm_avx512, norm_avx512};

Status cpu_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps)
{
    return rows_run(dev, norm_body, &(NormArgs){y, rstd, x, w, eps}, x.rows, x.cols);
}
