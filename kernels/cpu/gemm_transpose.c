#include "kernels/cpu/gemm.h"

#if CPU_X86
#include <immintrin.h>
#endif

/* A block of 8 x 8 in registers; whole rows of blocks, so that the writes run along k. */
enum { BLOCK = 8 };

#define INLINE static inline __attribute__((always_inline))

/* Edges, and machines without the instructions. */
INLINE void turn_u16(uint16_t *to, const uint16_t *from, int64_t from_stride, int64_t to_stride, int64_t k, int64_t outer)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < k; i++)
            to[o * to_stride + i] = from[i * from_stride + o];
}

INLINE void turn_u32(uint32_t *to, const uint32_t *from, int64_t from_stride, int64_t to_stride, int64_t k, int64_t outer)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < k; i++)
            to[o * to_stride + i] = from[i * from_stride + o];
}

#if CPU_X86
TARGET_AVX2 INLINE void block_u16(uint16_t *to, const uint16_t *from, int64_t from_stride, int64_t to_stride)
{
    __m128i a[BLOCK], b[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(const void *)(from + i * from_stride));
    for (int i = 0; i < BLOCK; i += 2) {
        b[i] = _mm_unpacklo_epi16(a[i], a[i + 1]);
        b[i + 1] = _mm_unpackhi_epi16(a[i], a[i + 1]);
    }
    for (int i = 0; i < BLOCK; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm_unpacklo_epi32(b[i + j], b[i + j + 2]);
            a[i + 2 * j + 1] = _mm_unpackhi_epi32(b[i + j], b[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(void *)(to + (2 * i) * to_stride), _mm_unpacklo_epi64(a[i], a[i + 4]));
        _mm_storeu_si128((__m128i *)(void *)(to + (2 * i + 1) * to_stride), _mm_unpackhi_epi64(a[i], a[i + 4]));
    }
}

TARGET_AVX2 INLINE void block_u32(uint32_t *to, const uint32_t *from, int64_t from_stride, int64_t to_stride)
{
    __m256i a[BLOCK], b[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        a[i] = _mm256_loadu_si256((const __m256i *)(const void *)(from + i * from_stride));
    for (int i = 0; i < BLOCK; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < BLOCK; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm256_unpacklo_epi64(b[i + j], b[i + j + 2]);
            a[i + 2 * j + 1] = _mm256_unpackhi_epi64(b[i + j], b[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)(void *)(to + i * to_stride), _mm256_permute2x128_si256(a[i], a[i + 4], 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(to + (i + 4) * to_stride), _mm256_permute2x128_si256(a[i], a[i + 4], 0x31));
    }
}

TARGET_AVX2 static void transpose_u16(uint16_t *to, const uint16_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    const int64_t k_whole = k / BLOCK * BLOCK, o_whole = outer / BLOCK * BLOCK;

    for (int64_t o = 0; o < o_whole; o += BLOCK)
        for (int64_t i = 0; i < k_whole; i += BLOCK)
            block_u16(to + o * k + i, from + i * from_stride + o, from_stride, k);
    turn_u16(to + k_whole, from + k_whole * from_stride, from_stride, k, k - k_whole, o_whole);
    turn_u16(to + o_whole * k, from + o_whole, from_stride, k, k, outer - o_whole);
}

TARGET_AVX2 static void transpose_u32(uint32_t *to, const uint32_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    const int64_t k_whole = k / BLOCK * BLOCK, o_whole = outer / BLOCK * BLOCK;

    for (int64_t o = 0; o < o_whole; o += BLOCK)
        for (int64_t i = 0; i < k_whole; i += BLOCK)
            block_u32(to + o * k + i, from + i * from_stride + o, from_stride, k);
    turn_u32(to + k_whole, from + k_whole * from_stride, from_stride, k, k - k_whole, o_whole);
    turn_u32(to + o_whole * k, from + o_whole, from_stride, k, k, outer - o_whole);
}
#else
static void transpose_u16(uint16_t *to, const uint16_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    turn_u16(to, from, from_stride, k, k, outer);
}

static void transpose_u32(uint32_t *to, const uint32_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    turn_u32(to, from, from_stride, k, k, outer);
}
#endif

void gemm_transpose(char *to, const char *from, int64_t from_stride, size_t size, int64_t k, int64_t outer)
{
    if (size == sizeof(uint16_t))
        transpose_u16((uint16_t *)(void *)to, (const uint16_t *)(const void *)from, from_stride, k, outer);
    else
        transpose_u32((uint32_t *)(void *)to, (const uint32_t *)(const void *)from, from_stride, k, outer);
}
