#include "kernels/cpu/gemm_micro.h"

#if CPU_X86
#include "kernels/cpu/gemm_micro_pack.h"

enum { MR = 12, NR = 32 };

TARGET_AVX512 static void pack_a(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k)
{
    micro_pack(to, s, from, outer, k0, k, MR);
}

TARGET_AVX512 static void pack_b(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k)
{
    micro_pack(to, s, from, outer, k0, k, NR);
}

/* rows is a constant wherever this is inlined, so the sums are registers. */
TARGET_AVX512 MICRO_INLINE void multiply(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first)
{
    __m512 sum[MR][2];

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++)
            sum[i][j] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * c_stride + 16 * j);
    for (int64_t p = 0; p < k; p++, a += MR, b += NR) {
        const __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + 16);

#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            const __m512 x = _mm512_set1_ps(a[i]);

            sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++)
            _mm512_storeu_ps(c + i * c_stride + 16 * j, sum[i][j]);
}

TARGET_AVX512 static void kernel(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first)
{
    if (rows > 6)
        multiply(c, c_stride, a, b, k, MR, first);
    else if (rows > 2)
        multiply(c, c_stride, a, b, k, 6, first);
    else
        multiply(c, c_stride, a, b, k, 2, first);
}

const MicroLevel micro_avx512 = {MR, NR, pack_a, pack_b, kernel};
#endif
