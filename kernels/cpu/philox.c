/* Sixteen calls of core/random.h's philox4x32 side by side, its loops exchanged: 70 to 90 ns at every level. Functions of their own, since
 * inlined into a long one the compiler no longer sees that the loop is a vector's. */
#include "kernels/cpu/philox.h"

#include "core/random.h"
#include "kernels/cpu/simd.h"

enum { CALLS = DROP_COLS / 4 };

/* c0..c3 are the counters, then the words. */
SIMD_INLINE void philox_calls(uint32_t *restrict c0, uint32_t *restrict c1, uint32_t *restrict c2, uint32_t *restrict c3, uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u)
        for (int i = 0; i < CALLS; i++) {
            const uint64_t p = (uint64_t)c0[i] * 0xd2511f53u, q = (uint64_t)c2[i] * 0xcd9e8d57u;

            c0[i] = (uint32_t)(q >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)q;
            c3[i] = (uint32_t)p;
        }
}

SIMD_INLINE void draw_factors(float factor[DROP_COLS], const DropoutDraw *draw)
{
    const DropoutKey *key = draw->key;
    const uint64_t at = (uint64_t)(key->first_row + draw->row);
    const float scale = 1.0f / (1.0f - draw->p);
    uint32_t c[4][CALLS];
    float kept[4][CALLS];

    for (uint32_t i = 0; i < CALLS; i++) {
        c[0][i] = (uint32_t)at;
        c[1][i] = (uint32_t)(at >> 32);
        c[2][i] = draw->first_quad + i;
        c[3][i] = key->step;
    }
    philox_calls(c[0], c[1], c[2], c[3], (uint32_t)key->seed, (uint32_t)(key->seed >> 32) ^ (key->layer << 8 | key->site));
    for (int word = 0; word < 4; word++)
        for (int i = 0; i < CALLS; i++)
            kept[word][i] = philox_unit(c[word][i]) >= draw->p ? scale : 0.0f;
    for (int i = 0; i < CALLS; i++)
        for (int word = 0; word < 4; word++)
            factor[4 * i + word] = kept[word][i];
}

void dropout_factors_generic(float factor[DROP_COLS], const DropoutDraw *draw) { draw_factors(factor, draw); }
TARGET_AVX2 void dropout_factors_avx2(float factor[DROP_COLS], const DropoutDraw *draw) { draw_factors(factor, draw); }
TARGET_AVX512 void dropout_factors_avx512(float factor[DROP_COLS], const DropoutDraw *draw) { draw_factors(factor, draw); }
