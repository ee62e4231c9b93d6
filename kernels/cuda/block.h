/* What the kernels share: reductions in one fixed order, and the choice of an instance by dtype. */
#ifndef LETHE_KERNELS_CUDA_BLOCK_H
#define LETHE_KERNELS_CUDA_BLOCK_H

#include "kernels/cuda/cuda.h"

/* Sum (maximum) over the warp by halving: lane pairs 16 apart, 8, 4, 2, 1. Every lane gets the same bits. */
template <typename T> __device__ __forceinline__ T warp_sum(T v)
{
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        v += __shfl_xor_sync(FULL_WARP, v, apart);
    return v;
}
__device__ __forceinline__ float warp_max(float v)
{
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, apart));
    return v;
}

/* Over a block of whole warps, at most 32 of them: warps first, then their sums by the first warp in the same way. Every thread
 * reaches it and gets the result. part: 33 elements of shared memory, free again at the next barrier after the call. */
template <typename T> __device__ __forceinline__ T block_sum(T v, T *part)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, n_warp = blockDim.x / WARP;

    v = warp_sum(v);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = warp_sum(lane < n_warp ? part[lane] : T(0));
        if (lane == 0)
            part[WARP] = v;
    }
    __syncthreads();
    return part[WARP];
}
__device__ __forceinline__ float block_max(float v, float *part)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, n_warp = blockDim.x / WARP;

    v = warp_max(v);
    if (lane == 0)
        part[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = warp_max(lane < n_warp ? part[lane] : -INFINITY);
        if (lane == 0)
            part[WARP] = v;
    }
    __syncthreads();
    return part[WARP];
}

/* Runs the statement with T as the element type of `dtype`: activations; the front doors let no other dtype through. */
#define WITH_FLOAT(dtype, T, ...)                                                                                                          \
    do {                                                                                                                                   \
        switch (dtype) {                                                                                                                   \
        case LT_BF16: {                                                                                                                    \
            typedef Bf16 T;                                                                                                                \
            __VA_ARGS__;                                                                                                                   \
        } break;                                                                                                                           \
        case LT_F16: {                                                                                                                     \
            typedef Half T;                                                                                                                \
            __VA_ARGS__;                                                                                                                   \
        } break;                                                                                                                           \
        default: {                                                                                                                         \
            typedef float T;                                                                                                               \
            __VA_ARGS__;                                                                                                                   \
        } break;                                                                                                                           \
        }                                                                                                                                  \
    } while (0)

#endif
