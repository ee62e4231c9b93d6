/* Private to kernels/cuda: the products of a step of attention's gradient on tensor cores. A warp has a strip of 16 own rows; weights and ds lie
 * in its registers as the left operand of the sums takes them, rounded to BF16. */
#ifndef LETHE_KERNELS_CUDA_ATTN_GRAD_MMA_H
#define LETHE_KERNELS_CUDA_ATTN_GRAD_MMA_H

#include "kernels/cuda/attn_grad.h"

/* to[tile] = own step^T for the warp's strip: own[., pitch], step[STEP, pitch]. */
template <int HD, GradKind KIND> __device__ __forceinline__ void grad_multiply(float (*to)[4], const Bf16 *own, const Bf16 *step)
{
    typedef GradLayout<Bf16, HD, KIND> L;
    const int lane = threadIdx.x % WARP;
    const Bf16 *left = own + (threadIdx.x / WARP / L::HALVES * L::STRIP + lane % 16) * L::PITCH + lane / 16 * 8;
    const Bf16 *right = step + (lane / 16 * 8 + lane % 8) * L::PITCH + lane / 8 % 2 * 8;

    UNROLL
    for (int tile = 0; tile < L::SCORE_TILES; tile++)
        UNROLL
        for (int e = 0; e < 4; e++)
            to[tile][e] = 0;
    UNROLL
    for (int d = 0; d < HD; d += 16) {
        uint32_t a[4], b[4];

        ldmatrix_x4(a, left + d);
        UNROLL
        for (int tile = 0; tile < L::SCORE_TILES; tile += 2) {
            ldmatrix_x4(b, right + tile * 8 * L::PITCH + d);
            mma_16816(to[tile], a, b, Bf16());
            mma_16816(to[tile + 1], a, b + 2, Bf16());
        }
    }
}

/* sum += x step. */
template <int HD, GradKind KIND> __device__ __forceinline__ void grad_add(float (*sum)[4], const float (*x)[4], const Bf16 *step)
{
    typedef GradLayout<Bf16, HD, KIND> L;
    const int lane = threadIdx.x % WARP;
    const Bf16 *right = step + lane % 16 * L::PITCH + threadIdx.x / WARP % L::HALVES * L::COLS + lane / 16 * 8;

    UNROLL
    for (int tile = 0; tile < L::SCORE_TILES; tile += 2) {
        const uint32_t a[4] = {pack2(x[tile][0], x[tile][1], Bf16()), pack2(x[tile][2], x[tile][3], Bf16()),
                               pack2(x[tile + 1][0], x[tile + 1][1], Bf16()), pack2(x[tile + 1][2], x[tile + 1][3], Bf16())};

        UNROLL
        for (int c = 0; c < L::SUM_TILES; c += 2) {
            uint32_t b[4];

            ldmatrix_x4_trans(b, right + tile * 8 * L::PITCH + c * 8);
            mma_16816(sum[c], a, b, Bf16());
            mma_16816(sum[c + 1], a, b + 2, Bf16());
        }
    }
}

#endif
