/* Private to kernels/cpu: the two passes over a row of logits that everything about its softmax begins with. */
#ifndef LETHE_KERNELS_CPU_SOFTMAX_H
#define LETHE_KERNELS_CPU_SOFTMAX_H

#include "kernels/cpu/simd.h"

#include <math.h>

enum { SUM_BLOCK = 4096 };

typedef struct RowTop {
    float max;
    int64_t at; /* lowest index of the maximum, or of a NaN if there is one */
} RowTop;

/* Maximum of up to SIMD_CHUNK numbers; *nan becomes true if one of them is none. */
SIMD_INLINE float piece_max(const float *x, int64_t n, bool *nan)
{
    SimdF32 max[2], v[2];
    SimdI32 odd;
    float tail[SIMD_LANES];
    int32_t lane[8], any = 0;

    for (int i = 0; i < SIMD_LANES; i++)
        tail[i] = x[simd_min(n / SIMD_LANES * SIMD_LANES + i, n - 1)]; /* filled up with the last */
    simd_load(max, tail);
    odd = (max[0] != max[0]) | (max[1] != max[1]);
    for (int64_t i = 0; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_load(v, x + i);
        odd |= (v[0] != v[0]) | (v[1] != v[1]);
        simd_max_into(&max[0], &v[0]);
        simd_max_into(&max[1], &v[1]);
    }
    memcpy(lane, &odd, sizeof lane);
    for (int i = 0; i < 8; i++)
        any |= lane[i];
    *nan = *nan || any != 0;
    return simd_max(max);
}

/* The piece that holds the answer is known after one pass; only it is searched. */
SIMD_INLINE RowTop row_top(const float *x, int64_t n)
{
    RowTop top = {-INFINITY, 0};
    int64_t begin = 0;
    bool nan = false;

    for (int64_t at = 0; at < n && !nan; at += SIMD_CHUNK) {
        const float max = piece_max(x + at, simd_min(n - at, SIMD_CHUNK), &nan);

        if (max > top.max || nan) {
            top.max = nan ? NAN : max;
            begin = at;
        }
    }
    top.at = begin;
    while (top.at + 1 < n && !(nan ? isnan(x[top.at]) : x[top.at] == top.max))
        top.at++;
    return top;
}

/* Sum of e^(x - max), lanes inside a block of SUM_BLOCK, blocks in ascending order. */
SIMD_INLINE float row_mass(const float *x, int64_t n, float max, bool fused)
{
    float e[SIMD_CHUNK], mass = 0;
    SimdF32 sum[2] = {{0}, {0}}, v[2];

    for (int64_t at = 0; at < n; at += SIMD_CHUNK) {
        const int64_t len = simd_min(n - at, SIMD_CHUNK), padded = (len + SIMD_LANES - 1) / SIMD_LANES * SIMD_LANES;

        for (int64_t i = 0; i < len; i++)
            e[i] = simd_exp_down(x[at + i] - max, fused);
        for (int64_t i = len; i < padded; i++)
            e[i] = 0;
        for (int64_t i = 0; i < padded; i += SIMD_LANES) {
            simd_load(v, e + i);
            sum[0] += v[0];
            sum[1] += v[1];
        }
        if ((at + SIMD_CHUNK) % SUM_BLOCK == 0 || at + len == n) {
            mass += simd_sum(sum);
            sum[0] = sum[1] = (SimdF32){0};
        }
    }
    return mass;
}

#endif
