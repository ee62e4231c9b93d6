#include "kernels/cpu/gemm_micro.h"

#if CPU_X86
#include "kernels/cpu/gemm_micro_pack.h"

enum { MR = 6, NR = 16 };

TARGET_AVX2 static void pack_a(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k)
{
    micro_pack(to, s, from, outer, k0, k, MR);
}

TARGET_AVX2 static void pack_b(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k)
{
    micro_pack(to, s, from, outer, k0, k, NR);
}

/* rows is a constant wherever this is inlined, so the sums are registers. */
TARGET_AVX2 MICRO_INLINE void multiply(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first)
{
    __m256 sum[MR][2];

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++)
            sum[i][j] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * c_stride + 8 * j);
    for (int64_t p = 0; p < k; p++, a += MR, b += NR) {
        const __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);

#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 x = _mm256_broadcast_ss(a + i);

            sum[i][0] = _mm256_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(x, b1, sum[i][1]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++)
            _mm256_storeu_ps(c + i * c_stride + 8 * j, sum[i][j]);
}

TARGET_AVX2 static void kernel(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first)
{
    if (rows > 3)
        multiply(c, c_stride, a, b, k, MR, first);
    else if (rows > 1)
        multiply(c, c_stride, a, b, k, 3, first);
    else
        multiply(c, c_stride, a, b, k, 1, first);
}

const MicroLevel micro_avx2 = {MR, NR, pack_a, pack_b, kernel};
#endif
