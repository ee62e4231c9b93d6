#include "kernels/cpu/gemm.h"

#include "core/half.h"

#include <string.h>
#if CPU_X86
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { F16_BATCH = 8 };

/* A tile of C. */
typedef struct Finish {
    char *c; /* its first element */
    DType dtype;
    int64_t stride;
    const char *bias; /* of its first column, or NULL */
    DType bias_dtype;
    float alpha;
    bool add; /* beta 1 */
} Finish;

/* Eight at a time; the processor and core/half agree in every bit (round to nearest even, NaN quiet). */
typedef void FromF16(float *to, const uint16_t *from);
typedef void ToF16(uint16_t *to, const float *from);

static inline void from_f16_generic(float *to, const uint16_t *from)
{
    for (int j = 0; j < F16_BATCH; j++)
        to[j] = f16_to_f32(from[j]);
}

static inline void to_f16_generic(uint16_t *to, const float *from)
{
    for (int j = 0; j < F16_BATCH; j++)
        to[j] = f32_to_f16(from[j]);
}

#if CPU_X86
TARGET_AVX2 static inline void from_f16_avx2(float *to, const uint16_t *from)
{
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from)));
}

TARGET_AVX2 static inline void to_f16_avx2(uint16_t *to, const float *from)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT));
}
#endif

/* F32 and BF16; the dtype is a constant wherever these are inlined, so the loops over them vectorise. */
INLINE float read_c(const void *c, DType dtype, int64_t j)
{
    return dtype == LT_F32 ? ((const float *)c)[j] : bf16_to_f32(((const uint16_t *)c)[j]);
}

INLINE void write_c(void *c, DType dtype, int64_t j, float value)
{
    if (dtype == LT_F32)
        ((float *)c)[j] = value;
    else
        ((uint16_t *)c)[j] = f32_to_bf16(value);
}

INLINE void finish_row(void *restrict c, DType dtype, const float *restrict sum, const float *restrict bias, float alpha, bool add, int64_t cols)
{
    if (add && bias != NULL)
        for (int64_t j = 0; j < cols; j++)
            write_c(c, dtype, j, alpha * sum[j] + read_c(c, dtype, j) + bias[j]);
    else if (add)
        for (int64_t j = 0; j < cols; j++)
            write_c(c, dtype, j, alpha * sum[j] + read_c(c, dtype, j));
    else if (bias != NULL)
        for (int64_t j = 0; j < cols; j++)
            write_c(c, dtype, j, alpha * sum[j] + bias[j]);
    else
        for (int64_t j = 0; j < cols; j++)
            write_c(c, dtype, j, alpha * sum[j]);
}

/* n <= GEMM_TILE_COLS elements of any dtype as F32 and back; F16 goes by whole batches. */
INLINE void widen(float *to, const char *from, DType dtype, int64_t n, FromF16 *from_f16)
{
    uint16_t half[GEMM_TILE_COLS] = {0};

    if (dtype != LT_F16) {
        for (int64_t j = 0; j < n; j++)
            to[j] = read_c(from, dtype, j);
        return;
    }
    memcpy(half, from, (size_t)n * sizeof *half);
    for (int64_t j = 0; j < n; j += F16_BATCH)
        from_f16(to + j, half + j);
}

INLINE void finish_row_f16(char *c, const float *sum, const float *bias, float alpha, bool add, int64_t cols, FromF16 *from_f16, ToF16 *to_f16)
{
    float value[GEMM_TILE_COLS] = {0}; /* the row in F32; it starts as what C held */
    uint16_t half[GEMM_TILE_COLS];

    if (add)
        widen(value, c, LT_F16, cols, from_f16);
    finish_row(value, LT_F32, sum, bias, alpha, add, cols);
    for (int64_t j = 0; j < cols; j += F16_BATCH)
        to_f16(half + j, value + j);
    memcpy(c, half, (size_t)cols * sizeof *half);
}

INLINE void finish(const Finish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols, FromF16 *from_f16, ToF16 *to_f16)
{
    const size_t step = (size_t)f->stride * dtype_bytes(f->dtype);
    float wide_bias[GEMM_TILE_COLS];
    const float *bias = f->bias != NULL ? wide_bias : NULL;
    char *c = f->c;

    if (bias != NULL)
        widen(wide_bias, f->bias, f->bias_dtype, cols, from_f16);
    for (int64_t i = 0; i < rows; i++, c += step, sums += sums_stride)
        if (f->dtype == LT_F32)
            finish_row(c, LT_F32, sums, bias, f->alpha, f->add, cols);
        else if (f->dtype == LT_BF16)
            finish_row(c, LT_BF16, sums, bias, f->alpha, f->add, cols);
        else
            finish_row_f16(c, sums, bias, f->alpha, f->add, cols, from_f16, to_f16);
}

static void finish_generic(const Finish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_generic, to_f16_generic);
}

#if CPU_X86
TARGET_AVX2 static void finish_avx2(const Finish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_avx2, to_f16_avx2);
}

TARGET_AVX512 static void finish_avx512(const Finish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_avx2, to_f16_avx2);
}
#endif

void gemm_finish(CpuLevel level, const GemmArgs *g, const float *sums, int64_t sums_stride, int64_t i, int64_t rows, int64_t j, int64_t cols)
{
    const Finish f = {
        .c = (char *)g->c.data + (size_t)(i * g->c.stride + j) * dtype_bytes(g->c.dtype),
        .dtype = g->c.dtype,
        .stride = g->c.stride,
        .bias = tensor_is_set(g->bias) ? (const char *)g->bias.data + (size_t)j * dtype_bytes(g->bias.dtype) : NULL,
        .bias_dtype = g->bias.dtype,
        .alpha = g->alpha,
        .add = g->beta != 0.0f,
    };

#if CPU_X86
    if (level >= CPU_AVX512)
        finish_avx512(&f, sums, sums_stride, rows, cols);
    else if (level == CPU_AVX2)
        finish_avx2(&f, sums, sums_stride, rows, cols);
    else
#endif
        finish_generic(&f, sums, sums_stride, rows, cols);
    (void)level;
}
