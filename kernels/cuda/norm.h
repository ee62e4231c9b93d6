/* What rmsnorm and its gradient share: the team of threads that a group of columns gets, and what the team does alike.
 *
 * Thread i of a team owns pieces i, i + TEAM, i + 2 TEAM, ... of the group. The first HOLD of them stay in its registers between the passes
 * over the group; only what is wider than the widest team holds (16384 columns of BF16, 8192 of F32; half of that for the gradient) is read
 * twice. */
#ifndef LETHE_KERNELS_CUDA_NORM_H
#define LETHE_KERNELS_CUDA_NORM_H

#include "kernels/cuda/rows.h"

enum { HOLD = 4 };

/* Runs the statement with TEAM fit for groups of this many pieces: the order in which a group is added up depends on its width alone. */
#define WITH_TEAM(n_piece, TEAM, ...)                                                                                                      \
    do {                                                                                                                                   \
        if ((n_piece) <= 8 * HOLD) {                                                                                                       \
            constexpr int TEAM = 8;                                                                                                        \
            __VA_ARGS__;                                                                                                                   \
        } else if ((n_piece) <= 32 * HOLD) {                                                                                               \
            constexpr int TEAM = 32;                                                                                                       \
            __VA_ARGS__;                                                                                                                   \
        } else if ((n_piece) <= 128 * HOLD) {                                                                                              \
            constexpr int TEAM = 128;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            constexpr int TEAM = 512;                                                                                                      \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

/* Threads of a block, and teams in it. */
template <int TEAM> struct Teams {
    static constexpr int BLOCK = TEAM < 128 ? 128 : TEAM, N = BLOCK / TEAM;
};

/* Every thread of the block reaches it; part as for block_sum. */
template <int TEAM> __device__ __forceinline__ float team_sum(float v, float *part)
{
    if constexpr (TEAM > WARP) {
        return block_sum(v, part);
    } else {
        for (int apart = TEAM / 2; apart > 0; apart /= 2)
            v += __shfl_xor_sync(FULL_WARP, v, apart);
        return v;
    }
}

/* A piece of w, which has dtype T or F32. */
template <typename T> __device__ __forceinline__ void load_weight(float v[Piece<T>::N], Rows w, int at)
{
    if (w.t.dtype == LT_F32)
        load_floats<Piece<T>::N>(v, (const float *)w.t.data + at, w.t.cols - at, w.wide);
    else
        widen<T>(v, load_piece((const T *)w.t.data + at, w.t.cols - at, w.wide));
}

/* Rows of groups of n columns: each group has to begin at a multiple of 16 bytes. */
static inline Rows groups_of(Tensor t, int64_t n)
{
    const Rows r = rows_of(t);

    return Rows{t, r.wide && (t.cols == n || is_wide((size_t)n * dtype_bytes(t.dtype)))};
}

#endif
