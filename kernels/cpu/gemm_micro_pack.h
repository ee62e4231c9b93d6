/* Laying out panels with AVX2, for both vector levels: only the target of the function that inlines this differs. */
#ifndef LETHE_KERNELS_CPU_GEMM_MICRO_PACK_H
#define LETHE_KERNELS_CPU_GEMM_MICRO_PACK_H

#include "kernels/cpu/gemm_micro.h"

#include <immintrin.h>
#include <string.h>

#define MICRO_INLINE static inline __attribute__((always_inline))

/* Eight elements as F32. */
TARGET_AVX2 MICRO_INLINE __m256 micro_load(const char *at, DType dtype)
{
    if (dtype == LT_F32)
        return _mm256_loadu_ps((const float *)(const void *)at);
    const __m128i half = _mm_loadu_si128((const __m128i *)(const void *)at);
    return dtype == LT_F16 ? _mm256_cvtph_ps(half) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Up to eight elements, zeros behind them; nothing past them is read. */
TARGET_AVX2 MICRO_INLINE __m256 micro_load_part(const char *at, DType dtype, int64_t n)
{
    char part[32] = {0};

    if (n >= 8)
        return micro_load(at, dtype);
    if (n > 0)
        memcpy(part, at, (size_t)n * dtype_bytes(dtype));
    return micro_load(part, dtype);
}

/* row[o][8 elements of k] -> col[k][8 rows] */
TARGET_AVX2 MICRO_INLINE void micro_transpose(__m256 v[8])
{
    __m256 t[8], u[8];

    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Stores the first n of eight; whole vectors where the next row of the panel is written later anyway. */
TARGET_AVX2 MICRO_INLINE void micro_store_part(float *to, __m256 v, int n)
{
    float part[8];

    if (n == 8) {
        _mm256_storeu_ps(to, v);
        return;
    }
    _mm256_storeu_ps(part, v);
    for (int i = 0; i < n; i++)
        to[i] = part[i];
}

/* One panel whose rows lie along k: turned 8 x 8 at a time. */
TARGET_AVX2 MICRO_INLINE void micro_pack_turned(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k, int width)
{
    const size_t size = dtype_bytes(s->dtype), step = (size_t)s->stride * size;
    const char *at = gemm_side_at(s, from) + (size_t)k0 * size;

    for (int w = 0; w < width; w += 8) {
        const int n = width - w < 8 ? width - w : 8;

        for (int64_t p = 0; p < k; p += 8) {
            const int64_t left = k - p < 8 ? k - p : 8;
            __m256 v[8];

            for (int i = 0; i < 8; i++)
                v[i] = i < n && w + i < outer ? micro_load_part(at + (size_t)(w + i) * step + (size_t)p * size, s->dtype, left)
                                               : _mm256_setzero_ps();
            micro_transpose(v);
            for (int i = 0; i < 8; i++)
                if (i < left)
                    micro_store_part(to + (p + i) * width + w, v[i], n);
        }
    }
}

/* One panel whose rows lie side by side: copied. */
TARGET_AVX2 MICRO_INLINE void micro_pack_copied(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k, int width)
{
    const size_t size = dtype_bytes(s->dtype), step = (size_t)s->stride * size;
    const char *at = gemm_side_at(s, from) + (size_t)k0 * step;

    for (int64_t p = 0; p < k; p++)
        for (int w = 0; w < width; w += 8)
            micro_store_part(to + p * width + w, micro_load_part(at + (size_t)p * step + (size_t)w * size, s->dtype, outer - w),
                             width - w < 8 ? width - w : 8);
}

TARGET_AVX2 MICRO_INLINE void micro_pack(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k, int width)
{
    for (int64_t o = 0; o < outer; o += width, to += k * width)
        if (s->k_contiguous)
            micro_pack_turned(to, s, from + o, outer - o, k0, k, width);
        else
            micro_pack_copied(to, s, from + o, outer - o, k0, k, width);
}

#endif
