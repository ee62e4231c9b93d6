/* Private to kernels/cuda: the products of a step of attention's gradient in F32. A warp has a strip of four own rows; a lane has one row of the
 * step for the scores, and every 32nd column for the sums. */
#ifndef LETHE_KERNELS_CUDA_ATTN_GRAD_F32_H
#define LETHE_KERNELS_CUDA_ATTN_GRAD_F32_H

#include "kernels/cuda/attn_grad.h"

typedef struct GradQuad {
    float v[4];
} GradQuad;
__device__ __forceinline__ GradQuad grad_quad(const float *from)
{
    const Pack16 pack = load16(from);
    GradQuad quad;

    memcpy(&quad, &pack, sizeof quad);
    return quad;
}

/* to[0] = own step^T for the warp's strip: own[., pitch], step[STEP, pitch]; one chain over the columns. */
template <int HD, GradKind KIND> __device__ __forceinline__ void grad_multiply(float (*to)[4], const float *own, const float *step)
{
    typedef GradLayout<float, HD, KIND> L;
    const float *left = own + threadIdx.x / WARP * L::STRIP * L::PITCH, *right = step + threadIdx.x % WARP * L::PITCH;

    UNROLL
    for (int r = 0; r < L::STRIP; r++)
        to[0][r] = 0;
    for (int d = 0; d < HD; d += 4) {
        const GradQuad b = grad_quad(right + d);

        UNROLL
        for (int r = 0; r < L::STRIP; r++) {
            const GradQuad a = grad_quad(left + r * L::PITCH + d);

            UNROLL
            for (int i = 0; i < 4; i++)
                to[0][r] = fmaf(a.v[i], b.v[i], to[0][r]);
        }
    }
}

/* sum += x step; one chain over the step's rows. */
template <int HD, GradKind KIND> __device__ __forceinline__ void grad_add(float (*sum)[4], const float (*x)[4], const float *step)
{
    typedef GradLayout<float, HD, KIND> L;
    const float *right = step + threadIdx.x % WARP;

    for (int n = 0; n < L::STEP; n++) {
        float a[L::STRIP];

        UNROLL
        for (int r = 0; r < L::STRIP; r++)
            a[r] = __shfl_sync(FULL_WARP, x[0][r], n);
        UNROLL
        for (int c = 0; c < L::SUM_TILES; c++) {
            const float b = right[n * L::PITCH + c * L::TILE_COLS];

            UNROLL
            for (int r = 0; r < L::STRIP; r++)
                sum[c][r] = fmaf(a[r], b, sum[c][r]);
        }
    }
}

#endif
