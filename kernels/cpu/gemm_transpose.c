#include "kernels/cpu/gemm.h"

enum { BLOCK = 16 };

#define INLINE static inline __attribute__((always_inline))

/* Blocks of 16 x 16 keep both sides within a few cache lines. */
INLINE void transpose_u16(uint16_t *to, const uint16_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    for (int64_t o0 = 0; o0 < outer; o0 += BLOCK)
        for (int64_t k0 = 0; k0 < k; k0 += BLOCK)
            for (int64_t o = o0; o < o0 + BLOCK && o < outer; o++)
                for (int64_t i = k0; i < k0 + BLOCK && i < k; i++)
                    to[o * k + i] = from[i * from_stride + o];
}

INLINE void transpose_u32(uint32_t *to, const uint32_t *from, int64_t from_stride, int64_t k, int64_t outer)
{
    for (int64_t o0 = 0; o0 < outer; o0 += BLOCK)
        for (int64_t k0 = 0; k0 < k; k0 += BLOCK)
            for (int64_t o = o0; o < o0 + BLOCK && o < outer; o++)
                for (int64_t i = k0; i < k0 + BLOCK && i < k; i++)
                    to[o * k + i] = from[i * from_stride + o];
}

void gemm_transpose(CpuLevel level, char *to, const char *from, int64_t from_stride, size_t size, int64_t k, int64_t outer)
{
    (void)level;
    if (size == sizeof(uint16_t))
        transpose_u16((uint16_t *)(void *)to, (const uint16_t *)(const void *)from, from_stride, k, outer);
    else
        transpose_u32((uint32_t *)(void *)to, (const uint32_t *)(const void *)from, from_stride, k, outer);
}
