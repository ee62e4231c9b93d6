/* Private to kernels/cuda: what the launchers of the attention kernels share on the host. */
#ifndef LETHE_KERNELS_CUDA_ATTN_LAUNCH_H
#define LETHE_KERNELS_CUDA_ATTN_LAUNCH_H

#include "kernels/cuda/attn_walk.h"
#include "kernels/cuda/block.h"

/* Runs the statement with DP as the width that a head is padded to in shared memory: the only ones there are kernels for. */
#define WITH_HEAD(head_size, DP, ...)                                                                                                      \
    do {                                                                                                                                   \
        if ((head_size) <= 32) {                                                                                                           \
            enum { DP = 32 };                                                                                                              \
            __VA_ARGS__;                                                                                                                   \
        } else if ((head_size) <= 64) {                                                                                                    \
            enum { DP = 64 };                                                                                                              \
            __VA_ARGS__;                                                                                                                   \
        } else if ((head_size) <= 128) {                                                                                                   \
            enum { DP = 128 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            enum { DP = 256 };                                                                                                             \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

/* The most bytes that one copy may move wherever it starts in a head of t: a power of two up to 16. */
static inline int attn_copy_bytes(Tensor t, int head_size)
{
    const size_t size = dtype_bytes(t.dtype), steps = (size_t)t.stride * size | (size_t)head_size * size;
    const uintptr_t bits = (uintptr_t)t.data | steps | 16;

    return (int)(bits & -bits);
}

/* What op_attn and op_attn_cached say alike; the rest stays zero. */
typedef struct AttnCommon {
    Tensor o, q, k, v;
    int32_t n_head, n_kv_head, head_size, window;
    float scale;
} AttnCommon;
static inline AttnProblem attn_problem(const AttnCommon *c)
{
    AttnProblem p = {};

    p.q = c->q.data;
    p.k = c->k.data;
    p.v = c->v.data;
    p.o = c->o.data;
    p.q_stride = c->q.stride;
    p.k_stride = c->k.stride;
    p.v_stride = c->v.stride;
    p.o_stride = c->o.stride;
    p.n_kv_head = c->n_kv_head;
    p.group = c->n_head / c->n_kv_head;
    p.head_size = c->head_size;
    p.window = c->window;
    p.q_bytes = attn_copy_bytes(c->q, c->head_size);
    p.k_bytes = attn_copy_bytes(c->k, c->head_size);
    p.v_bytes = attn_copy_bytes(c->v, c->head_size);
    p.o_pairs = attn_copy_bytes(c->o, c->head_size) >= 4;
    p.scale = c->scale * 1.44269504f;
    return p;
}

/* The last of n ascending starts, `step` words apart, that is not above `at`. Launches carry lists of starts by value, so that nothing has to be sent. */
__device__ __forceinline__ int attn_find(const int32_t *start, int step, int n, int at)
{
    int low = 0;

    for (int high = n; low + 1 < high;) {
        const int middle = (low + high) / 2;

        if (start[middle * step] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows of a tile of `warps` warps. */
static inline int attn_tile_rows(DType dtype, int warps)
{
    return warps * (dtype == LT_F32 ? (int)AttnLayout<float, 32, 1>::ROWS : (int)AttnLayout<Bf16, 32, 1>::ROWS);
}

#endif
