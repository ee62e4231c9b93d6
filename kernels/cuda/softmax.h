/* What everything about the softmax of a row of logits begins with: one block of ROW_THREADS threads reads the row once and keeps its maximum,
 * where that lies, and the sum of e^(x - max).
 *
 * Thread t reads quads t, t + ROW_THREADS, ... in ascending order and corrects its sum when its maximum grows (once per ROW_QUADS quads);
 * then the threads' results are merged as a tree, lanes first, warps then. So a result depends on the row's length and numbers alone. */
#ifndef LETHE_KERNELS_CUDA_SOFTMAX_H
#define LETHE_KERNELS_CUDA_SOFTMAX_H

#include "kernels/cuda/block.h"
#include "kernels/cuda/quad.h"

enum { ROW_THREADS = 512, ROW_WARPS = ROW_THREADS / WARP, ROW_QUADS = 4 };

struct RowTop {
    float max;  /* NaN if the row has one */
    float mass; /* sum of e^(x - max) */
    int32_t at; /* lowest index of the maximum, or of a NaN if there is one */
};

__device__ __forceinline__ RowTop row_nothing() { return RowTop{-INFINITY, 0, INT32_MAX}; }

/* Indices must come in ascending order. */
__device__ __forceinline__ void row_see(RowTop *top, float x, int64_t at)
{
    if (x > top->max || (x != x && top->max == top->max)) {
        top->max = x;
        top->at = (int32_t)at;
    }
}

/* Factor from a mass below `from` to one below `to`; below -inf there is none, and e^(-inf - 0) says so. */
__device__ __forceinline__ float row_base(float max) { return max == -INFINITY ? 0.0f : max; }
__device__ __forceinline__ float row_factor(float from, float to) { return expf(from - row_base(to)); }

__device__ __forceinline__ RowTop row_merge(RowTop a, RowTop b)
{
    const bool nan_a = a.max != a.max, nan_b = b.max != b.max;
    const bool take_b = nan_a || nan_b ? nan_b && (!nan_a || b.at < a.at) : b.max > a.max || (b.max == a.max && b.at < a.at);
    const float max = take_b ? b.max : a.max;

    return RowTop{max, a.mass * row_factor(a.max, max) + b.mass * row_factor(b.max, max), take_b ? b.at : a.at};
}

__device__ __forceinline__ RowTop row_merge_warp(RowTop top)
{
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        const RowTop other = {__shfl_xor_sync(FULL_WARP, top.max, apart), __shfl_xor_sync(FULL_WARP, top.mass, apart),
                              __shfl_xor_sync(FULL_WARP, top.at, apart)};

        top = row_merge(top, other);
    }
    return top;
}

/* Every thread of the block gets the result. part: ROW_WARPS + 1 of shared memory, free again at the next barrier. */
__device__ __forceinline__ RowTop row_merge_block(RowTop top, RowTop *part)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

    top = row_merge_warp(top);
    if (lane == 0)
        part[warp] = top;
    __syncthreads();
    if (warp == 0) {
        top = row_merge_warp(lane < ROW_WARPS ? part[lane] : row_nothing());
        if (lane == 0)
            part[ROW_WARPS] = top;
    }
    __syncthreads();
    return part[ROW_WARPS];
}

/* A thread that has seen nothing but -inf answers with its first index. */
__device__ __forceinline__ RowTop row_start(int64_t cols)
{
    RowTop top = row_nothing();

    if ((int64_t)threadIdx.x * QUAD < cols)
        top.at = threadIdx.x * QUAD;
    return top;
}

/* Maximum and place only: mass is 0. */
__device__ __forceinline__ RowTop row_argmax(const float *x, int64_t cols, bool wide, RowTop *part)
{
    RowTop top = row_start(cols);

    for (int64_t at = (int64_t)threadIdx.x * QUAD; at < cols; at += ROW_THREADS * QUAD) {
        const Quad q = quad_load(x + at, cols - at, wide, -INFINITY);

        for (int i = 0; i < QUAD; i++)
            row_see(&top, q.v[i], at + i);
    }
    return row_merge_block(top, part);
}

__device__ __forceinline__ RowTop row_softmax(const float *x, int64_t cols, bool wide, RowTop *part)
{
    RowTop top = row_start(cols);

    for (int64_t begin = (int64_t)threadIdx.x * QUAD; begin < cols; begin += ROW_QUADS * ROW_THREADS * QUAD) {
        const float before = top.max;
        float base;
        Quad q[ROW_QUADS];

        for (int k = 0; k < ROW_QUADS; k++) {
            const int64_t at = begin + k * ROW_THREADS * QUAD;

            q[k] = quad_load(x + at, cols - at, wide, -INFINITY);
        }
        for (int k = 0; k < ROW_QUADS; k++)
            for (int i = 0; i < QUAD; i++)
                row_see(&top, q[k].v[i], begin + k * ROW_THREADS * QUAD + i);
        base = row_base(top.max);
        top.mass *= expf(before - base);
        for (int k = 0; k < ROW_QUADS; k++)
            for (int i = 0; i < QUAD; i++)
                top.mass += expf(q[k].v[i] - base);
    }
    return row_merge_block(top, part);
}

/* log of the sum of the exponentials of the row. */
__device__ __forceinline__ double row_lse(RowTop top) { return (double)top.max + log((double)top.mass); }

#endif
