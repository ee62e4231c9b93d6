/* What the ops on rows share: rows read and written in pieces of 16 bytes, and the spreading of pieces over threads.
 *
 * A piece starts at a column that is a multiple of its element count, and a thread owns whole pieces: which thread adds what follows from
 * the column alone. Where base or stride allow no 16-byte access, or at the end of a row, the same thread takes the same elements one by
 * one, so the place of a row in memory changes no bit. */
#ifndef LETHE_KERNELS_CUDA_ROWS_H
#define LETHE_KERNELS_CUDA_ROWS_H

#include "kernels/cuda/block.h"

/* Elements of a piece. */
template <typename T> struct Piece {
    static constexpr int N = 16 / (int)sizeof(T);
};

/* A tensor, and whether all of its rows begin at a multiple of 16 bytes. */
typedef struct Rows {
    Tensor t;
    bool wide;
} Rows;

static inline bool is_wide(size_t offset) { return offset % sizeof(Pack16) == 0; }
static inline Rows rows_of(Tensor t)
{
    return Rows{t, is_wide((size_t)(uintptr_t)t.data) && (t.rows <= 1 || is_wide((size_t)t.stride * dtype_bytes(t.dtype)))};
}

/* The same elements as one row, where they lie one after the other. */
static inline bool is_contiguous(Tensor t) { return t.stride == t.cols || t.rows == 1; }
static inline Tensor as_one_row(Tensor t) { return tensor_of(t.data, t.dtype, 1, t.rows * t.cols); }

/* Pieces of n elements that cover a row. */
__host__ __device__ static inline int64_t pieces(int64_t cols, int n) { return (cols + n - 1) / n; }

/* WITH_FLOAT for ops that have gradients: F32 and BF16. */
#define WITH_TRAIN(dtype, T, ...)                                                                                                          \
    do {                                                                                                                                   \
        if ((dtype) == LT_BF16) {                                                                                                          \
            typedef Bf16 T;                                                                                                                \
            __VA_ARGS__;                                                                                                                   \
        } else {                                                                                                                           \
            typedef float T;                                                                                                               \
            __VA_ARGS__;                                                                                                                   \
        }                                                                                                                                  \
    } while (0)

template <typename T> __device__ __forceinline__ T *row_at(Rows r, int64_t row) { return (T *)r.t.data + row * r.t.stride; }

/* n: elements from here to the end of the row; those behind it read as zero and are not written. */
template <typename T> __device__ __forceinline__ Pack16 load_piece(const T *from, int64_t n, bool wide)
{
    T part[Piece<T>::N];
    Pack16 p;

    if (wide && n >= Piece<T>::N)
        return load16(from);
    for (int i = 0; i < Piece<T>::N; i++)
        part[i] = i < n ? from[i] : T{};
    memcpy(&p, part, sizeof p);
    return p;
}

template <typename T> __device__ __forceinline__ void store_piece(T *to, int64_t n, bool wide, Pack16 p)
{
    T part[Piece<T>::N];

    if (wide && n >= Piece<T>::N) {
        store16(to, p);
        return;
    }
    memcpy(part, &p, sizeof p);
    for (int i = 0; i < Piece<T>::N; i++)
        if (i < n)
            to[i] = part[i];
}

template <typename T> __device__ __forceinline__ void widen(float v[Piece<T>::N], Pack16 p)
{
    T part[Piece<T>::N];

    memcpy(part, &p, sizeof p);
    for (int i = 0; i < Piece<T>::N; i++)
        v[i] = to_f32(part[i]);
}

template <typename T> __device__ __forceinline__ Pack16 narrow(const float v[Piece<T>::N])
{
    T part[Piece<T>::N];
    Pack16 p;

    for (int i = 0; i < Piece<T>::N; i++)
        from_f32(&part[i], v[i]);
    memcpy(&p, part, sizeof p);
    return p;
}

/* n_want floats, a multiple of four, as pieces of four. */
template <int N_WANT> __device__ __forceinline__ void load_floats(float v[N_WANT], const float *from, int64_t n, bool wide)
{
    for (int i = 0; i < N_WANT; i += Piece<float>::N)
        widen<float>(v + i, load_piece(from + i, n - i, wide));
}

template <int N_HAVE> __device__ __forceinline__ void store_floats(float *to, int64_t n, bool wide, const float v[N_HAVE])
{
    for (int i = 0; i < N_HAVE; i += Piece<float>::N)
        store_piece(to + i, n - i, wide, narrow<float>(v + i));
}

/* sum += rows order[from..end-1] of r at col, one after the other (order NULL: rows from..end-1). Eight are on their way at once. */
template <typename T>
__device__ __forceinline__ void add_rows(float sum[Piece<T>::N], Rows r, const int32_t *order, int64_t from, int64_t end, int64_t col)
{
    constexpr int BATCH = 8;
    float v[Piece<T>::N];
    Pack16 row[BATCH];

    for (; from < end; from += BATCH) {
        for (int k = 0; k < BATCH; k++)
            if (from + k < end)
                row[k] = load_piece(row_at<T>(r, order == NULL ? from + k : order[from + k]) + col, r.t.cols - col, r.wide);
        for (int k = 0; k < BATCH; k++)
            if (from + k < end) {
                widen<T>(v, row[k]);
                for (int i = 0; i < Piece<T>::N; i++)
                    sum[i] += v[i];
            }
    }
}

__device__ __forceinline__ int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* a / b of numbers that are not negative; division in 64 bits is slow, and almost never needed. */
__device__ __forceinline__ int64_t quotient(int64_t a, int64_t b)
{
    return ((a | b) >> 32) == 0 ? (int64_t)((uint32_t)a / (uint32_t)b) : a / b;
}

/* The thread's item of a launch with one item a thread, as `major` and, below `n_minor`, `minor`. */
typedef struct Item {
    int64_t major, minor;
} Item;
__device__ __forceinline__ Item thread_item(int64_t n_minor)
{
    const int64_t item = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, major = quotient(item, n_minor);

    return Item{major, item - major * n_minor};
}

/* to[col] += the sum over rows of partial[rows, to.cols], row after row. bias_grad.cu */
Status add_column_sums(Device *dev, Tensor to, const float *partial, int64_t rows, const char *op);

#endif
