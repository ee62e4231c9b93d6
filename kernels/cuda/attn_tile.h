/* Private to kernels/cuda: one tile of attention, shared by op_attn and op_attn_cached. A tile is some rows (a query and one of the query heads of
 * one kv head each) over the keys that any of them sees, worked on by one block.
 *
 * Keys come in blocks of ATTN_BLOCK inside splits of ATTN_SPLIT, both aligned to position 0. Inside a split a softmax runs over its blocks (maximum,
 * mass, weighted sum of values, rescaled when the maximum grows: Milakov and Gimelshein 2018); the splits' triples are joined in ascending
 * order, in the tile or by the kernel that follows. Scores are kept in units of log 2. What a row does not see counts exp2(-inf) = 0, so a
 * block that only its neighbours in the tile see leaves its triple as it is: the result is a function of the row, its keys and its
 * position alone.
 *
 * Both element kinds spread a tile in the same way: LANES lanes of a warp share a row, each has ROWS of them and the same share of their
 * columns (attn_item). BF16 and F16 multiply on tensor cores (attn_mma.h), F32 by fmaf (attn_f32.h). */
#ifndef LETHE_KERNELS_CUDA_ATTN_TILE_H
#define LETHE_KERNELS_CUDA_ATTN_TILE_H

#include "kernels/cuda/philox.h"

enum { ATTN_BLOCK = 64 };

/* What every block of a launch knows. *_bytes: how much of a row of q, k, v one copy may move. scale: the caller's times log2(e). */
typedef struct AttnProblem {
    const void *q, *k, *v;
    void *o;
    float *lse;
    int64_t q_stride, k_stride, v_stride, o_stride, lse_stride;
    int32_t n_kv_head, group, head_size, window;
    int32_t q_bytes, k_bytes, v_bytes;
    bool o_pairs; /* two columns of o may be written at once */
    float scale, dropout;
    DropoutKey key;
} AttnProblem;

/* A row of the tile. query: row of q and o, -1 where the tile has no such row, which then sees nothing. slot: where its partial results go. */
typedef struct AttnRow {
    int32_t query, head, position, slot;
} AttnRow;

/* Where the keys of a sequence lie: in pages, or as a context and a tail. */
typedef struct AttnKeys {
    const int32_t *page;
    int32_t ctx_begin, ctx_len, own_begin;
} AttnKeys;

/* The block's positions begin + j lie in row (j < cut ? first : second) + j. */
typedef struct AttnPlace {
    int64_t first, second;
    int cut;
} AttnPlace;

template <typename T> struct AttnSpread {
    enum { LANES = 4, ROWS = 2 };
};
template <> struct AttnSpread<float> {
    enum { LANES = 16, ROWS = 4 };
};

/* Shared memory of a tile. Rows are padded by 16 bytes, so that eight rows at the same column lie in different banks. */
template <typename T, int DP, int WARPS> struct AttnLayout {
    enum {
        WARP_ROWS = WARP / AttnSpread<T>::LANES * AttnSpread<T>::ROWS,
        ROWS = WARPS * WARP_ROWS,
        THREADS = WARPS * WARP,
        PITCH = DP + 16 / sizeof(T),
        WEIGHT_PITCH = ATTN_BLOCK + 4,
        ROW_BYTES = ROWS * sizeof(AttnRow),
        FLAG_BYTES = 16,
        Q_BYTES = ROWS * PITCH * sizeof(T),
        KEY_BYTES = ATTN_BLOCK * PITCH * sizeof(T),
        WEIGHT_BYTES = sizeof(T) == 4 ? ROWS * WEIGHT_PITCH * sizeof(float) : 0,
        SPLIT_BYTES = ROW_BYTES + FLAG_BYTES + Q_BYTES + 2 * KEY_BYTES + WEIGHT_BYTES, /* where no splits are joined */
        BYTES = SPLIT_BYTES + ROWS * DP * sizeof(float),
    };
};
template <typename T> struct AttnShared {
    AttnRow *row;
    int *flag;     /* [WARPS] */
    T *q, *k, *v;  /* [rows, pitch] */
    float *weight; /* F32: [ROWS, WEIGHT_PITCH] */
    float *total;  /* each thread's own, so that registers hold one split only */
};
template <typename T, int DP, int WARPS> __device__ __forceinline__ AttnShared<T> attn_carve(char *base)
{
    typedef AttnLayout<T, DP, WARPS> L;
    AttnShared<T> s;

    s.row = (AttnRow *)base;
    s.flag = (int *)(base + L::ROW_BYTES);
    s.q = (T *)(base + L::ROW_BYTES + L::FLAG_BYTES);
    s.k = s.q + L::ROWS * L::PITCH;
    s.v = s.k + ATTN_BLOCK * L::PITCH;
    s.weight = (float *)(s.v + ATTN_BLOCK * L::PITCH);
    s.total = (float *)((char *)s.weight + L::WEIGHT_BYTES);
    return s;
}

/* A thread's part of the split that runs, and the joined splits before it. mass: of the keys in this lane's share. */
template <typename T, int DP> struct AttnState {
    enum {
        ROWS = AttnSpread<T>::ROWS,
        COLS = DP / AttnSpread<T>::LANES,
        KEYS = ATTN_BLOCK / AttnSpread<T>::LANES,
        PAIRS = AttnSpread<T>::LANES == 4, /* items come two beside one another */
    };
    float sum[ROWS][COLS];
    float max[ROWS], mass[ROWS], total_max[ROWS], total_mass[ROWS];
    int position[ROWS];                 /* -1: no row */
    int low, high, warp_low, warp_high; /* of the positions of the tile's rows, and of the warp's */
};

/* Column (or key of a block) i of the lane's share. The tensor core's order: pairs, eight columns apart. */
template <typename T> __device__ __forceinline__ int attn_item(int i)
{
    const int lane = threadIdx.x % WARP;

    return AttnSpread<T>::LANES == 4 ? i / 2 * 8 + lane % 4 * 2 + i % 2 : lane % 16 + 16 * i;
}
template <typename T> __device__ __forceinline__ int attn_row(int h)
{
    enum { APART = WARP / AttnSpread<T>::LANES };

    return threadIdx.x / WARP * APART * AttnSpread<T>::ROWS + threadIdx.x % WARP / AttnSpread<T>::LANES + APART * h;
}

__device__ __forceinline__ AttnPlace attn_place(const AttnKeys &keys, int begin)
{
    if (keys.page == NULL)
        return {(int64_t)keys.ctx_begin + begin, (int64_t)keys.own_begin - keys.ctx_len + begin, keys.ctx_len - begin};
    return {(int64_t)keys.page[begin / KV_PAGE] * KV_PAGE, 0, KV_PAGE};
}
static_assert((int)KV_PAGE == (int)ATTN_BLOCK, "a block of keys is a page");
__device__ __forceinline__ int64_t attn_key_row(const AttnPlace &place, int j) { return (j < place.cut ? place.first : place.second) + j; }

/* ---- copies ------------------------------------------------------------------------------------------------------------- */

/* bytes: 16, 8, 4 or 2. */
__device__ __forceinline__ void attn_copy_piece(void *to, const void *from, bool valid, int bytes)
{
    if (bytes == 16)
        cp_async_16(to, from, valid);
    else if (bytes == 8)
        cp_async_8(to, from, valid);
    else if (bytes == 4)
        cp_async_4(to, from, valid);
    else
        *(uint16_t *)to = valid ? *(const uint16_t *)from : (uint16_t)0;
}

/* Where the rows of a tile come from: offsets in elements, negative for a row of zeros. */
typedef struct AttnKeyRows {
    AttnPlace place;
    int64_t stride;
    int n;
} AttnKeyRows;
typedef struct AttnQueryRows {
    const AttnRow *row;
    int64_t stride;
    int head_size;
} AttnQueryRows;
__device__ __forceinline__ int64_t attn_offset(const AttnKeyRows &r, int j) { return j < r.n ? attn_key_row(r.place, j) * r.stride : -1; }
__device__ __forceinline__ int64_t attn_offset(const AttnQueryRows &r, int j)
{
    const AttnRow row = r.row[j];

    return row.query < 0 ? -1 : row.query * r.stride + (int64_t)row.head * r.head_size;
}

/* Columns 0..size-1 of the tile's rows, `bytes` at a time. They land at the next wait. One loop for all widths, rolled: registers are scarce where it
 * stands. */
template <typename T, int DP, int WARPS, typename Rows>
__device__ __forceinline__ void attn_copy(T *to, int n_row, const void *from, int size, int bytes, const Rows &rows)
{
    const int step = bytes / (int)sizeof(T), pieces = DP / step, shift = 31 - __clz(pieces); /* powers of two */

    ROLLED
    for (int i = threadIdx.x; i < n_row * pieces; i += WARPS * WARP) {
        const int j = i >> shift, d = (i & (pieces - 1)) * step;
        const int64_t at = attn_offset(rows, j);

        if (d < size)
            attn_copy_piece(to + j * AttnLayout<T, DP, WARPS>::PITCH + d, (const T *)from + (at < 0 ? 0 : at + d), at >= 0, bytes);
    }
}

/* The columns from size on of n_row rows: multiplied, so they have to be zeros. */
template <typename T, int DP, int WARPS> __device__ __forceinline__ void attn_pad(T *to, int n_row, int size)
{
    const int width = DP - size;

    for (int i = threadIdx.x; i < n_row * width; i += WARPS * WARP)
        from_f32(&to[i / width * AttnLayout<T, DP, WARPS>::PITCH + size + i % width], 0.0f);
}

/* ---- softmax ------------------------------------------------------------------------------------------------------------ */

/* The first position that a row sees; its own is the last. */
__device__ __forceinline__ int attn_first(int position, int window) { return window > 0 && position >= window ? position - window + 1 : 0; }
__device__ __forceinline__ bool attn_sees(int position, int key, int window) { return key <= position && (window <= 0 || key > position - window); }

/* What a running maximum is subtracted as: before the first key it is -inf, and -inf - -inf would be no number. */
__device__ __forceinline__ float attn_base(float max) { return max == -INFINITY ? 0.0f : max; }

template <typename T> __device__ __forceinline__ float attn_row_max(float v)
{
    UNROLL
    for (int apart = AttnSpread<T>::LANES / 2; apart > 0; apart /= 2)
        v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, apart));
    return v;
}
template <typename T> __device__ __forceinline__ float attn_row_sum(float v)
{
    UNROLL
    for (int apart = AttnSpread<T>::LANES / 2; apart > 0; apart /= 2)
        v += __shfl_xor_sync(FULL_WARP, v, apart);
    return v;
}

/* Products of the block at `begin` become weights relative to each row's new maximum, which mass and sum follow. masked: some row does not see
 * all of the block. A NaN gets lost in the maximum and comes back through the exponentials. */
template <typename T, int DP>
__device__ __forceinline__ void attn_soften(AttnState<T, DP> &s, float (*score)[AttnState<T, DP>::KEYS], const AttnProblem &p, int begin, bool masked)
{
    typedef AttnState<T, DP> S;

    UNROLL
    for (int h = 0; h < S::ROWS; h++) {
        float top = -INFINITY, mass = 0;

        UNROLL
        for (int i = 0; i < S::KEYS; i++) {
            score[h][i] *= p.scale;
            if (masked && !attn_sees(s.position[h], begin + attn_item<T>(i), p.window))
                score[h][i] = -INFINITY;
            top = fmaxf(top, score[h][i]);
        }
        const float max = fmaxf(s.max[h], attn_row_max<T>(top)), base = attn_base(max), keep = exp2f(s.max[h] - base);

        UNROLL
        for (int i = 0; i < S::KEYS; i++) {
            score[h][i] = exp2f(score[h][i] - base);
            mass += score[h][i];
        }
        s.max[h] = max;
        s.mass[h] = fmaf(s.mass[h], keep, mass);
        UNROLL
        for (int c = 0; c < S::COLS; c++)
            s.sum[h][c] *= keep;
    }
}

/* The contract's dropout on the weights of the block at `begin`; the mass has counted them all. */
template <typename T, int DP>
__device__ __forceinline__ void attn_drop(float (*weight)[AttnState<T, DP>::KEYS], const AttnProblem &p, const AttnRow *row, int begin)
{
    const float grow = 1.0f / (1.0f - p.dropout);
    const int64_t n_head = (int64_t)p.n_kv_head * p.group;

    UNROLL
    for (int h = 0; h < AttnState<T, DP>::ROWS; h++) {
        const AttnRow r = row[attn_row<T>(h)];

        UNROLL
        for (int i = 0; i < AttnState<T, DP>::KEYS; i++) {
            const float u = dropout_number(p.key, r.query * n_head + r.head, (uint32_t)(begin + attn_item<T>(i)));

            weight[h][i] = u < p.dropout ? 0.0f : weight[h][i] * grow;
        }
    }
}

/* How the triple of one split joins those before it: their factors and the new maximum. */
typedef struct AttnJoin {
    float max, before, here;
} AttnJoin;
__device__ __forceinline__ AttnJoin attn_join(float before, float here)
{
    const float max = fmaxf(before, here), base = attn_base(max);

    return {max, exp2f(before - base), exp2f(here - base)};
}
__device__ __forceinline__ float attn_joined(const AttnJoin &j, float before, float here) { return fmaf(here, j.here, before * j.before); }

/* From units of log 2 to natural ones. */
__device__ __forceinline__ float attn_lse(float max, float mass) { return fmaf(max, 0.693147181f, logf(mass)); }

/* ---- a tile's rows ------------------------------------------------------------------------------------------------------ */

/* Reads where the rows are (behind the barrier that follows writing them) and empties the sums. */
template <typename T, int DP, int WARPS> __device__ __forceinline__ void attn_begin(AttnState<T, DP> &s, const AttnShared<T> &m)
{
    typedef AttnLayout<T, DP, WARPS> L;

    s.low = s.warp_low = INT32_MAX;
    s.high = s.warp_high = -1;
    for (int r = 0; r < L::ROWS; r++) {
        const int position = m.row[r].position;

        if (m.row[r].query < 0)
            continue;
        s.low = min(s.low, position);
        s.high = max(s.high, position);
        if (r / L::WARP_ROWS == (int)threadIdx.x / WARP) {
            s.warp_low = min(s.warp_low, position);
            s.warp_high = max(s.warp_high, position);
        }
    }
    UNROLL
    for (int h = 0; h < AttnState<T, DP>::ROWS; h++) {
        const AttnRow row = m.row[attn_row<T>(h)];

        s.position[h] = row.query < 0 ? -1 : row.position;
        s.max[h] = s.total_max[h] = -INFINITY;
        s.mass[h] = s.total_mass[h] = 0;
        UNROLL
        for (int c = 0; c < AttnState<T, DP>::COLS; c++)
            s.sum[h][c] = 0;
    }
}

/* The split is complete: it joins those before it, and the next begins empty. */
template <typename T, int DP, int WARPS> __device__ __forceinline__ void attn_end_split(AttnState<T, DP> &s, const AttnShared<T> &m, bool is_first)
{
    typedef AttnState<T, DP> S;

    UNROLL
    for (int h = 0; h < S::ROWS; h++) {
        const AttnJoin j = attn_join(s.total_max[h], s.max[h]);

        s.total_mass[h] = attn_joined(j, s.total_mass[h], attn_row_sum<T>(s.mass[h]));
        s.total_max[h] = j.max;
        s.max[h] = -INFINITY;
        s.mass[h] = 0;
        UNROLL
        for (int c = 0; c < S::COLS; c++) {
            float *total = m.total + (h * S::COLS + c) * WARPS * WARP + threadIdx.x;

            *total = attn_joined(j, is_first ? 0.0f : *total, s.sum[h][c]);
            s.sum[h][c] = 0;
        }
    }
}

/* Neighbours in the lane's share: two columns on the tensor core, one for F32. */
template <typename T> __device__ __forceinline__ void attn_put(T *to, const float v[2], bool pairs)
{
    if (pairs) {
        *(uint32_t *)(void *)to = pack2(v[0], v[1], T());
    } else {
        from_f32(to, v[0]);
        from_f32(to + 1, v[1]);
    }
}
__device__ __forceinline__ void attn_put(float *to, const float v[1], bool) { *to = v[0]; }

/* The joined splits become rows of o and lse. */
template <typename T, int DP, int WARPS>
__device__ __forceinline__ void attn_store(const AttnState<T, DP> &s, const AttnShared<T> &m, const AttnProblem &p)
{
    typedef AttnState<T, DP> S;
    enum { STEP = S::PAIRS ? 2 : 1 };

    UNROLL
    for (int h = 0; h < S::ROWS; h++) {
        const AttnRow row = m.row[attn_row<T>(h)];
        const float inverse = 1.0f / s.total_mass[h];
        T *o = (T *)p.o + row.query * p.o_stride + (int64_t)row.head * p.head_size;

        if (row.query < 0)
            continue;
        if (p.lse != NULL && attn_item<T>(0) == 0)
            p.lse[row.query * p.lse_stride + row.head] = attn_lse(s.total_max[h], s.total_mass[h]);
        for (int c = 0; c < S::COLS && attn_item<T>(c) < p.head_size; c += STEP) {
            const float *total = m.total + (h * S::COLS + c) * WARPS * WARP + threadIdx.x;
            float v[STEP];

            for (int i = 0; i < STEP; i++)
                v[i] = total[i * WARPS * WARP] * inverse;
            attn_put(o + attn_item<T>(c), v, p.o_pairs);
        }
    }
}

#endif
