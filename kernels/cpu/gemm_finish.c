#include "kernels/cpu/gemm.h"

#include "core/half.h"

#include <string.h>
#if CPU_X86
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { F16_BATCH = 8 };

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

/* value[j] += from[j] */
INLINE void add_row(float *value, const char *from, DType dtype, int64_t cols, FromF16 *from_f16)
{
    if (dtype == LT_F32) {
        const float *x = (const float *)(const void *)from;

        for (int64_t j = 0; j < cols; j++)
            value[j] += x[j];
    } else if (dtype == LT_BF16) {
        const uint16_t *x = (const uint16_t *)(const void *)from;

        for (int64_t j = 0; j < cols; j++)
            value[j] += bf16_to_f32(x[j]);
    } else {
        const uint16_t *x = (const uint16_t *)(const void *)from;
        uint16_t half[F16_BATCH] = {0};
        float wide[F16_BATCH];

        for (int64_t j = 0; j < cols; j += F16_BATCH) {
            const int64_t n = cols - j < F16_BATCH ? cols - j : F16_BATCH;

            memcpy(half, x + j, (size_t)n * sizeof *half);
            from_f16(wide, half);
            for (int64_t i = 0; i < n; i++)
                value[j + i] += wide[i];
        }
    }
}

/* The one rounding. */
INLINE void store_row(char *to, DType dtype, const float *value, int64_t cols, ToF16 *to_f16)
{
    uint16_t half[GEMM_TILE_COLS];

    if (dtype == LT_F32) {
        memcpy(to, value, (size_t)cols * sizeof *value);
        return;
    }
    if (dtype == LT_BF16)
        for (int64_t j = 0; j < cols; j++)
            half[j] = f32_to_bf16(value[j]);
    else
        for (int64_t j = 0; j < cols; j += F16_BATCH)
            to_f16(half + j, value + j);
    memcpy(to, half, (size_t)cols * sizeof *half);
}

INLINE void finish(const GemmFinish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols, FromF16 *from_f16, ToF16 *to_f16)
{
    const size_t step = (size_t)f->stride * dtype_bytes(f->dtype);
    float value[GEMM_TILE_COLS] = {0};

    for (int64_t i = 0; i < rows; i++) {
        const float *sum = sums + i * sums_stride;
        char *c = f->c + (size_t)i * step;

        for (int64_t j = 0; j < cols; j++)
            value[j] = f->alpha * sum[j];
        if (f->add)
            add_row(value, c, f->dtype, cols, from_f16);
        if (f->bias != NULL)
            add_row(value, f->bias, f->bias_dtype, cols, from_f16);
        store_row(c, f->dtype, value, cols, to_f16);
    }
}

static void finish_generic(const GemmFinish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_generic, to_f16_generic);
}

#if CPU_X86
TARGET_AVX2 static void finish_avx2(const GemmFinish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_avx2, to_f16_avx2);
}

TARGET_AVX512 static void finish_avx512(const GemmFinish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
    finish(f, sums, sums_stride, rows, cols, from_f16_avx2, to_f16_avx2);
}
#endif

void gemm_finish(CpuLevel level, const GemmFinish *f, const float *sums, int64_t sums_stride, int64_t rows, int64_t cols)
{
#if CPU_X86
    if (level >= CPU_AVX512)
        finish_avx512(f, sums, sums_stride, rows, cols);
    else if (level == CPU_AVX2)
        finish_avx2(f, sums, sums_stride, rows, cols);
    else
#endif
        finish_generic(f, sums, sums_stride, rows, cols);
    (void)level;
}
