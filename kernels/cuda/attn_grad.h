/* Private to kernels/cuda: one block of the gradient of attention. A block owns OWN rows of one head, keys (it makes their dk and dv) or
 * queries (their dq), and walks through the rows of the other kind that meet them, STEP at a time, in ascending order. Both ways a step is
 *   score = own0 step0^T,  product = own1 step1^T,  weight and ds from them,  sum0 += ds step0,  sum1 += weight step1
 * with (own0, own1, step0, step1) = (k, v, q, d_o) or (q, d_o, k, v). Nothing of size N x N is kept.
 *
 * The rows of a strip lie in one warp, and a thread's elements of any product are tiles of four: grad_place. BF16 multiplies on tensor cores
 * (attn_grad_mma.h), F32 by fmaf (attn_grad_f32.h). */
#ifndef LETHE_KERNELS_CUDA_ATTN_GRAD_H
#define LETHE_KERNELS_CUDA_ATTN_GRAD_H

#include "kernels/cuda/philox.h"

typedef enum GradKind { GRAD_KEYS, GRAD_QUERIES } GradKind;

/* How a block of KIND is built for head sizes up to HD. Rows are padded by 16 bytes, so that eight rows at the same column lie in different banks.
 * HALVES: warps that share a strip's columns where one has not registers enough for them; each makes the strip's scores for itself. */
template <typename T, int HD, GradKind KIND> struct GradShape {
    enum {
        OWN = 64,
        STEP = 32,
        STAGES = 2,
        STRIP = 16,
        HALVES = HD == 256 && KIND == GRAD_KEYS ? 2 : 1,
        TILE_COLS = 8,
        PITCH = HD + 8,
    };
};
template <int HD, GradKind KIND> struct GradShape<float, HD, KIND> {
    enum {
        OWN = 32,
        STEP = 32,
        STAGES = 1,
        STRIP = 4,
        HALVES = 1,
        TILE_COLS = 32,
        PITCH = HD + 4,
    };
};

template <typename T, int HD, GradKind KIND> struct GradLayout : GradShape<T, HD, KIND> {
    typedef GradShape<T, HD, KIND> S;
    enum {
        THREADS = S::OWN / S::STRIP * S::HALVES * WARP,
        SUMS = KIND == GRAD_KEYS ? 2 : 1,
        COLS = HD / S::HALVES,               /* of a sum in one warp */
        SUM_TILES = COLS / S::TILE_COLS,
        SCORE_TILES = S::STEP / S::TILE_COLS,
        OWN_BYTES = S::OWN * S::PITCH * sizeof(T),
        STEP_BYTES = S::STEP * S::PITCH * sizeof(T),
        QUERIES = KIND == GRAD_KEYS ? S::STEP : S::OWN, /* of a step */
        KEYS = KIND == GRAD_KEYS ? S::OWN : S::STEP,
        ROW_BYTES = QUERIES * sizeof(float),
        KEEP_BYTES = QUERIES * KEYS,
        BYTES = 2 * OWN_BYTES + S::STAGES * 2 * (STEP_BYTES + ROW_BYTES) + KEEP_BYTES,
    };
};

/* Shared memory of a block. lse in units of log 2. */
template <typename T> struct GradShared {
    T *own0, *own1, *step0, *step1; /* [rows, pitch]; step0, step1: [STAGES, STEP, pitch] */
    float *lse, *delta;             /* [STAGES, QUERIES] */
    uint8_t *keep;                  /* [QUERIES, KEYS] */
};
template <typename T, int HD, GradKind KIND> __device__ __forceinline__ GradShared<T> grad_carve(char *base)
{
    typedef GradLayout<T, HD, KIND> L;
    GradShared<T> m;

    m.own0 = (T *)base;
    m.own1 = m.own0 + L::OWN * L::PITCH;
    m.step0 = m.own1 + L::OWN * L::PITCH;
    m.step1 = m.step0 + L::STAGES * L::STEP * L::PITCH;
    m.lse = (float *)(m.step1 + L::STAGES * L::STEP * L::PITCH);
    m.delta = m.lse + L::STAGES * L::QUERIES;
    m.keep = (uint8_t *)(m.delta + L::STAGES * L::QUERIES);
    return m;
}

/* The row (of the block's own) and column (of the step, or of a sum) of element e of a thread's tile. */
typedef struct GradPlace {
    int row, col;
} GradPlace;
template <int HALVES, int COLS> __device__ __forceinline__ GradPlace grad_place(int tile, int e, Bf16)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

    return {warp / HALVES * 16 + lane / 4 + e / 2 * 8, warp % HALVES * COLS + tile * 8 + lane % 4 * 2 + e % 2};
}
template <int, int> __device__ __forceinline__ GradPlace grad_place(int tile, int e, float)
{
    return {(int)threadIdx.x / WARP * 4 + e, tile * 32 + (int)threadIdx.x % WARP};
}

/* ---- what a block works on ------------------------------------------------------------------------------------------------- */

/* Rows are positions in the segment, whose first row is `row`. first, count: the block's own; begin, end: those it walks through. head: of
 * the own rows' kind. */
typedef struct GradTask {
    int64_t row;
    int len, head, first, count, begin, end;
} GradTask;

/* a.window is never 0. False: the segment has no such rows. Whoever meets most rows comes first: in blockIdx.x all segments and heads lie within one rank. */
template <int OWN, int STEP, GradKind KIND> __device__ __forceinline__ bool grad_task(GradTask *t, const AttnArgs &a)
{
    const int n_head = KIND == GRAD_KEYS ? a.n_kv_head : a.n_head, within = a.n_seg * n_head;
    const int rank = blockIdx.x / within, rest = blockIdx.x % within;
    const int32_t *segment = (const int32_t *)a.seg_dev.data + rest / n_head * a.seg_dev.stride;
    const int len = segment[1], n_tile = (len + OWN - 1) / OWN;

    if (rank >= n_tile)
        return false;
    t->row = segment[0];
    t->len = len;
    t->head = rest % n_head;
    t->first = (KIND == GRAD_KEYS ? rank : n_tile - 1 - rank) * OWN;
    t->count = min(len - t->first, (int)OWN);
    if (KIND == GRAD_KEYS) {
        t->begin = t->first;
        t->end = (int)min((int64_t)len, (int64_t)t->first + t->count - 1 + a.window);
    } else {
        t->begin = max(t->first - a.window + 1, 0) / STEP * STEP;
        t->end = t->first + t->count;
    }
    return true;
}

/* ---- copies ---------------------------------------------------------------------------------------------------------------- */

/* Rows [row, row + n) of t, columns [col, col + size), to ROWS rows of a tile; zeros around them. They land at the next wait. */
template <typename T, int HD, int PITCH, int ROWS, int THREADS>
__device__ __forceinline__ void grad_copy(T *to, const Tensor &t, int64_t row, int n, int64_t col, int size)
{
    enum { PIECE = 16 / sizeof(T), PIECES = HD / PIECE };
    const T *from = (const T *)t.data + row * t.stride + col;

    if (((uintptr_t)from | (uintptr_t)(t.stride * (int64_t)sizeof(T))) % 16 == 0 && size % PIECE == 0) {
        for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
            const int r = i / PIECES, d = i % PIECES * PIECE;
            const bool valid = r < n && d < size;

            cp_async_16(to + r * PITCH + d, valid ? from + r * t.stride + d : (const T *)t.data, valid);
        }
        return;
    }
    ROLLED
    for (int i = threadIdx.x; i < ROWS * HD; i += THREADS) {
        const int r = i / HD, d = i % HD;

        if (r < n && d < size)
            to[r * PITCH + d] = from[r * t.stride + d];
        else
            from_f32(&to[r * PITCH + d], 0.0f);
    }
}

/* lse and delta of queries `first` on; zeros behind the last. */
template <int QUERIES> __device__ __forceinline__ void grad_copy_rows(float *lse, float *delta, const AttnArgs &a, const float *all_delta,
                                                                      const GradTask &t, int first, int head)
{
    const int i = threadIdx.x;

    if (i < QUERIES) {
        const int64_t row = t.row + first + i;
        const bool valid = first + i < t.len;

        lse[i] = valid ? ((const float *)a.lse.data)[row * a.lse.stride + head] * 1.44269504f : 0.0f;
        delta[i] = valid ? all_delta[row * a.n_head + head] : 0.0f;
    }
}

/* ---- a step's elements ------------------------------------------------------------------------------------------------------ */

/* The queries from q_first and the keys from k_first on. scale: in units of log 2. grow: 1 / (1 - dropout). */
typedef struct GradTile {
    int q_first, k_first, window;
    float scale, grow;
    bool drops;
} GradTile;

/* Which weights of a tile dropout leaves. */
template <int QUERIES, int KEYS, int THREADS>
__device__ __forceinline__ void grad_draw(uint8_t *keep, const AttnArgs &a, const GradTile &t, int64_t row, int head)
{
    ROLLED
    for (int i = threadIdx.x; i < QUERIES * KEYS / 4; i += THREADS) {
        const int query = i / (KEYS / 4), quad = i % (KEYS / 4);
        float u[4];

        dropout_draw(u, a.key, (row + t.q_first + query) * a.n_head + head, (uint32_t)(t.k_first / 4 + quad));
        for (int j = 0; j < 4; j++)
            keep[query * KEYS + 4 * quad + j] = u[j] >= a.dropout;
    }
}

/* A score becomes the dropped weight, a product d_o . v becomes ds. Queries behind the last are zeros with zeros: they add nothing. */
template <int KEYS> __device__ __forceinline__ void grad_soften(float *score, float *product, const GradTile &t, int query, int key, const float *lse,
                                                                const float *delta, const uint8_t *keep)
{
    const int i = t.q_first + query, j = t.k_first + key;
    const bool visible = j <= i && j > i - t.window;
    const float p = exp2f(fmaf(*score, t.scale, -lse[query]));
    const float factor = !t.drops ? 1.0f : keep[query * KEYS + key] != 0 ? t.grow : 0.0f;

    *score = visible ? p * factor : 0.0f;
    *product = visible ? p * fmaf(*product, factor, -delta[query]) : 0.0f;
}

#endif
