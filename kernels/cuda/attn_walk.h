/* Private to kernels/cuda: a tile's way over its keys. While a block's products with the queries are computed its values are on their way, and while it is
 * multiplied with its values the next block's keys are: two buffers, two barriers a block. */
#ifndef LETHE_KERNELS_CUDA_ATTN_WALK_H
#define LETHE_KERNELS_CUDA_ATTN_WALK_H

#include "kernels/cuda/attn_f32.h"
#include "kernels/cuda/attn_mma.h"

/* Copies the queries of the tile's rows; behind a barrier that follows writing the rows. */
template <typename T, int DP, int WARPS> __device__ __forceinline__ void attn_load_queries(const AttnShared<T> &m, const AttnProblem &p)
{
    enum { ROWS = AttnLayout<T, DP, WARPS>::ROWS };
    const AttnQueryRows rows = {m.row, p.q_stride, p.head_size};

    attn_pad<T, DP, WARPS>(m.q, ROWS, p.head_size);
    attn_pad<T, DP, WARPS>(m.k, ATTN_BLOCK, p.head_size);
    attn_pad<T, DP, WARPS>(m.v, ATTN_BLOCK, p.head_size);
    attn_copy<T, DP, WARPS>(m.q, ROWS, p.q, p.head_size, p.q_bytes, rows);
}

template <typename T, int DP, int WARPS>
__device__ __forceinline__ void attn_load_block(T *to, const void *from, int64_t stride, int bytes, const AttnProblem &p, const AttnKeys &keys,
                                                int begin, int end)
{
    const AttnKeyRows rows = {attn_place(keys, begin), stride, end - begin};

    attn_copy<T, DP, WARPS>(to, ATTN_BLOCK, from, p.head_size, bytes, rows);
    cp_async_commit();
}

enum AttnEnd { ATTN_JOIN, ATTN_KEEP }; /* at the end of a split: join it to those before; or leave it in the state, it is the only one */

/* The keys at positions from..to-1 (from a multiple of ATTN_BLOCK; to no later than behind the last key any row sees). */
template <typename T, int DP, int WARPS, bool DROP>
__device__ __forceinline__ void attn_walk(AttnState<T, DP> &s, const AttnShared<T> &m, const AttnProblem &p, const AttnKeys &keys, int from, int to,
                                          AttnEnd at_end)
{
    bool is_first = true;

    attn_load_block<T, DP, WARPS>(m.k, p.k, p.k_stride, p.k_bytes, p, keys, from, to);
    for (int begin = from; begin < to; begin += ATTN_BLOCK) {
        const int behind = begin + ATTN_BLOCK, end = min(behind, to);
        const bool masked = begin < attn_first(s.high, p.window) || behind - 1 > s.low; /* some row does not see some key */
        const bool seen = begin <= s.warp_high && end > attn_first(s.warp_low, p.window);
        float score[AttnState<T, DP>::ROWS][AttnState<T, DP>::KEYS];

        cp_async_wait<0>();
        __syncthreads();
        attn_load_block<T, DP, WARPS>(m.v, p.v, p.v_stride, p.v_bytes, p, keys, begin, to);
        if (seen) {
            attn_scores<DP, WARPS>(score, m, p.head_size);
            attn_soften<T, DP>(s, score, p, begin, masked);
            if (DROP)
                attn_drop<T, DP>(score, p, m.row, begin);
            attn_pass_weights<DP, WARPS>(s, score, m, begin, p.window);
        }
        cp_async_wait<0>();
        __syncthreads();
        if (behind < to)
            attn_load_block<T, DP, WARPS>(m.k, p.k, p.k_stride, p.k_bytes, p, keys, behind, to);
        const bool hidden = masked && attn_hide<DP, WARPS>(m);

        if (seen)
            attn_values<DP, WARPS>(s, score, m, end - begin);
        if (seen && hidden)
            attn_show<DP>(s, p, attn_place(keys, begin), begin, end);
        if (at_end == ATTN_JOIN && (behind % ATTN_SPLIT == 0 || behind >= to)) {
            attn_end_split<T, DP, WARPS>(s, m, is_first);
            is_first = false;
        }
    }
}

#endif
