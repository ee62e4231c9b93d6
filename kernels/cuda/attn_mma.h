/* Private to kernels/cuda: the two products of an attention tile on tensor cores, BF16 and F16. A warp has 16 rows; the weights of its
 * scores' layout are the left operand of the second product as they lie. */
#ifndef LETHE_KERNELS_CUDA_ATTN_MMA_H
#define LETHE_KERNELS_CUDA_ATTN_MMA_H

#include "kernels/cuda/attn_tile.h"

enum { MMA_KEYS = ATTN_BLOCK / AttnSpread<Bf16>::LANES };

/* d of one mma, read from and written to two rows' columns (keys) 2 i and 2 i + 1 of the lane's share. */
template <typename T, int N>
__device__ __forceinline__ void attn_mma(float (*to)[N], int i, const uint32_t a[4], const uint32_t b[2])
{
    float d[4] = {to[0][2 * i], to[0][2 * i + 1], to[1][2 * i], to[1][2 * i + 1]};

    mma_16816(d, a, b, T());
    to[0][2 * i] = d[0];
    to[0][2 * i + 1] = d[1];
    to[1][2 * i] = d[2];
    to[1][2 * i + 1] = d[3];
}

/* score = q k^T: 16 rows of the warp, a block of keys. */
template <int DP, int WARPS, typename T>
__device__ __forceinline__ void attn_scores(float (*score)[MMA_KEYS], const AttnShared<T> &m, int)
{
    typedef AttnLayout<T, DP, WARPS> L;
    const int lane = threadIdx.x % WARP;
    const T *q = m.q + (threadIdx.x / WARP * L::WARP_ROWS + lane % 16) * L::PITCH + lane / 16 * 8;
    const T *k = m.k + (lane / 16 * 8 + lane % 8) * L::PITCH + lane / 8 % 2 * 8;

    UNROLL
    for (int i = 0; i < MMA_KEYS; i++)
        score[0][i] = score[1][i] = 0;
    UNROLL
    for (int d = 0; d < DP; d += 16) {
        uint32_t a[4], b[4];

        ldmatrix_x4(a, q + d);
        UNROLL
        for (int j = 0; j < ATTN_BLOCK / 16; j++) {
            ldmatrix_x4(b, k + j * 16 * L::PITCH + d);
            attn_mma<T>(score, 2 * j, a, b);
            attn_mma<T>(score, 2 * j + 1, a, b + 2);
        }
    }
}

/* sum += weight v. The weights are rounded to T, as tensor cores take them. */
template <int DP, int WARPS, typename T>
__device__ __forceinline__ void attn_values(AttnState<T, DP> &s, float (*weight)[MMA_KEYS], const AttnShared<T> &m, int)
{
    typedef AttnLayout<T, DP, WARPS> L;
    const int lane = threadIdx.x % WARP;
    const T *v = m.v + lane % 16 * L::PITCH + lane / 16 * 8;

    UNROLL
    for (int j = 0; j < ATTN_BLOCK / 16; j++) {
        const uint32_t a[4] = {pack2(weight[0][4 * j], weight[0][4 * j + 1], T()), pack2(weight[1][4 * j], weight[1][4 * j + 1], T()),
                               pack2(weight[0][4 * j + 2], weight[0][4 * j + 3], T()), pack2(weight[1][4 * j + 2], weight[1][4 * j + 3], T())};

        UNROLL
        for (int c = 0; c < DP / 16; c++) {
            uint32_t b[4];

            ldmatrix_x4_trans(b, v + j * 16 * L::PITCH + c * 16);
            attn_mma<T>(s.sum, 2 * c, a, b);
            attn_mma<T>(s.sum, 2 * c + 1, a, b + 2);
        }
    }
}

/* The tensor core takes the weights from registers. */
template <int DP, int WARPS, typename T>
__device__ __forceinline__ void attn_pass_weights(const AttnState<T, DP> &, float (*)[MMA_KEYS], const AttnShared<T> &, int, int)
{
}

__device__ __forceinline__ uint32_t attn_exponent(Bf16) { return 0x7f80; }
__device__ __forceinline__ uint32_t attn_exponent(Half) { return 0x7c00; }

/* Where some row does not see all of a block, 0 times a value that is not finite would reach it: such values become zeros here, and attn_show
 * gives them to the rows that see them. Every thread of the block reaches it; whether there were any. */
template <int DP, int WARPS, typename T> __device__ __forceinline__ bool attn_hide(const AttnShared<T> &m)
{
    enum { PIECES = DP / 8 };
    const uint32_t low = attn_exponent(T()), high = low << 16;
    bool any = false;

    for (int i = threadIdx.x; i < ATTN_BLOCK * PIECES; i += WARPS * WARP) {
        T *at = m.v + i / PIECES * AttnLayout<T, DP, WARPS>::PITCH + i % PIECES * 8;
        Pack16 piece = load16(at);
        bool found = false;

        for (int w = 0; w < 4; w++) {
            const bool bad_low = (piece.word[w] & low) == low, bad_high = (piece.word[w] & high) == high;

            found = found || bad_low || bad_high;
            piece.word[w] &= (bad_low ? 0 : 0xffffu) | (bad_high ? 0 : 0xffff0000u);
        }
        if (found)
            store16(at, piece);
        any = any || found;
    }
    any = __any_sync(FULL_WARP, any);
    if (threadIdx.x % WARP == 0)
        m.flag[threadIdx.x / WARP] = any;
    __syncthreads();
    for (int warp = 0; warp < WARPS; warp++)
        any = any || m.flag[warp];
    return any;
}

/* Rare, so slow: the values that attn_hide took away, from where they came. */
template <int DP, typename T>
__device__ __forceinline__ void attn_show(AttnState<T, DP> &s, const AttnProblem &p, const AttnPlace &place, int begin, int end)
{
    typedef AttnState<T, DP> S;

    for (int position = begin; position < end; position++) {
        const T *v = (const T *)p.v + attn_key_row(place, position - begin) * p.v_stride;

        UNROLL
        for (int c = 0; c < S::COLS; c++) {
            const float value = attn_item<T>(c) < p.head_size ? to_f32(v[attn_item<T>(c)]) : 0.0f;

            UNROLL
            for (int h = 0; h < S::ROWS; h++)
                if (!(fabsf(value) < INFINITY) && attn_sees(s.position[h], position, p.window))
                    s.sum[h][c] += value;
        }
    }
}

#endif
