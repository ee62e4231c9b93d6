/* Private to kernels/cuda: the two products of an attention tile in F32, by fmaf in ascending order over the head's columns and over the keys. Sixteen
 * lanes share four rows; the weights reach the second product through shared memory, -1 for a key that the row does not see. */
#ifndef LETHE_KERNELS_CUDA_ATTN_F32_H
#define LETHE_KERNELS_CUDA_ATTN_F32_H

#include "kernels/cuda/attn_tile.h"

enum { F32_KEYS = ATTN_BLOCK / AttnSpread<float>::LANES };

__device__ __forceinline__ void attn_load4(float to[4], const float *from)
{
    const Pack16 four = load16(from);

    memcpy(to, &four, sizeof four);
}

template <int DP, int WARPS>
__device__ __forceinline__ void attn_scores(float (*score)[F32_KEYS], const AttnShared<float> &m, int head_size)
{
    enum { PITCH = AttnLayout<float, DP, WARPS>::PITCH, ROWS = AttnState<float, DP>::ROWS };

    UNROLL
    for (int h = 0; h < ROWS; h++)
        UNROLL
        for (int i = 0; i < F32_KEYS; i++)
            score[h][i] = 0;
    for (int d = 0; d < head_size; d += 4) {
        float q[ROWS][4], k[4];

        UNROLL
        for (int h = 0; h < ROWS; h++)
            attn_load4(q[h], m.q + attn_row<float>(h) * PITCH + d);
        UNROLL
        for (int i = 0; i < F32_KEYS; i++) {
            attn_load4(k, m.k + attn_item<float>(i) * PITCH + d);
            UNROLL
            for (int h = 0; h < ROWS; h++)
                UNROLL
                for (int e = 0; e < 4; e++)
                    score[h][i] = fmaf(q[h][e], k[e], score[h][i]);
        }
    }
}

/* Read by the lanes of the same rows, behind the barrier that the values wait for. */
template <int DP, int WARPS>
__device__ __forceinline__ void attn_pass_weights(const AttnState<float, DP> &s, float (*weight)[F32_KEYS],
                                                  const AttnShared<float> &m, int begin, int window)
{
    enum { PITCH = AttnLayout<float, DP, WARPS>::WEIGHT_PITCH };

    UNROLL
    for (int h = 0; h < AttnState<float, DP>::ROWS; h++)
        UNROLL
        for (int i = 0; i < F32_KEYS; i++) {
            const bool seen = attn_sees(s.position[h], begin + attn_item<float>(i), window);

            m.weight[attn_row<float>(h) * PITCH + attn_item<float>(i)] = seen ? weight[h][i] : -1.0f;
        }
}

template <int DP, int WARPS>
__device__ __forceinline__ void attn_values(AttnState<float, DP> &s, float (*)[F32_KEYS], const AttnShared<float> &m, int n_key)
{
    enum { PITCH = AttnLayout<float, DP, WARPS>::PITCH, WEIGHT_PITCH = AttnLayout<float, DP, WARPS>::WEIGHT_PITCH };
    enum { ROWS = AttnState<float, DP>::ROWS, COLS = AttnState<float, DP>::COLS };

    for (int j = 0; j < n_key; j++) {
        float weight[ROWS];

        UNROLL
        for (int h = 0; h < ROWS; h++)
            weight[h] = m.weight[attn_row<float>(h) * WEIGHT_PITCH + j];
        UNROLL
        for (int c = 0; c < COLS; c++) {
            const float value = m.v[j * PITCH + attn_item<float>(c)];

            UNROLL
            for (int h = 0; h < ROWS; h++)
                s.sum[h][c] = weight[h] < 0 ? s.sum[h][c] : fmaf(weight[h], value, s.sum[h][c]); /* a NaN is no hidden key */
        }
    }
}

/* Hidden keys are left out one by one, so nothing has to be hidden or shown. */
template <int DP, int WARPS> __device__ __forceinline__ bool attn_hide(const AttnShared<float> &) { return false; }
template <int DP>
__device__ __forceinline__ void attn_show(AttnState<float, DP> &, const AttnProblem &, const AttnPlace &, int, int)
{
}

#endif
