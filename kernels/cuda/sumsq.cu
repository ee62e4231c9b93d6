/* Sum of squares in F64, in blocks of 4096 elements whose sums are added in ascending order. Reads x once (F32: 4 bytes an element, one
 * multiply-add and one conversion), 2 bytes in 4096 elements for the block sums.
 * The first kernel is bound by memory. The second adds one number after the other, about 8 clocks each, which is as long as a block's
 * 16 KiB take on the whole card: *expected* on an H100 (3.35 TB/s): 85 % of the byte floor up to a few million elements, 50 % for the
 * largest matrices. */
#include "kernels/cuda/rows.h"

enum { ELEMENTS = 4096, BLOCK = 256, TILE = 1024 };

typedef struct SumsqArgs {
    double *sum; /* of each block */
    Rows x;
    bool wide; /* no piece crosses the end of a row, and each begins at a multiple of 16 bytes */
} SumsqArgs;

__device__ __forceinline__ double as_f64(double x) { return x; }
template <typename T> __device__ __forceinline__ double as_f64(T x) { return (double)to_f32(x); }

/* Elements at.. of x, counted row by row; zeros behind the last. */
template <typename T> __device__ __forceinline__ void read_elements(double v[Piece<T>::N], const SumsqArgs &a, int64_t at)
{
    constexpr int N = Piece<T>::N;
    const int64_t cols = a.x.t.cols, left = a.x.t.rows * cols - at;
    T part[N];
    Pack16 p;

    if (a.wide && left >= N) {
        const int64_t row = quotient(at, cols);

        p = load16(row_at<T>(a.x, row) + (at - row * cols));
        memcpy(part, &p, sizeof p);
    } else {
        for (int i = 0; i < N; i++) {
            const int64_t row = quotient(at + i, cols);

            part[i] = i < left ? row_at<T>(a.x, row)[at + i - row * cols] : T{};
        }
    }
    for (int i = 0; i < N; i++)
        v[i] = as_f64(part[i]);
}

/* Piece k of the block belongs to thread k % BLOCK. */
template <typename T> __global__ void __launch_bounds__(BLOCK) sumsq_kernel(SumsqArgs a)
{
    constexpr int N = Piece<T>::N, STEPS = ELEMENTS / (BLOCK * N);
    SHARED(double, part, WARP + 1);
    double v[STEPS][N], sum = 0;

    for (int k = 0; k < STEPS; k++)
        read_elements<T>(v[k], a, (int64_t)blockIdx.x * ELEMENTS + (k * BLOCK + (int)threadIdx.x) * N);
    for (int k = 0; k < STEPS; k++)
        for (int i = 0; i < N; i++)
            sum = fma(v[k][i], v[k][i], sum);
    sum = block_sum(sum, part);
    if (threadIdx.x == 0)
        a.sum[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(BLOCK) sum_in_order_kernel(double *out, const double *sum, int64_t n)
{
    SHARED(double, tile, TILE);
    double all = threadIdx.x == 0 ? *out : 0;

    for (int64_t first = 0; first < n; first += TILE) {
        const int count = (int)least(n - first, TILE);

        for (int i = threadIdx.x; i < count; i += BLOCK)
            tile[i] = sum[first + i];
        __syncthreads();
        for (int i = 0; threadIdx.x == 0 && i < count; i++)
            all += tile[i];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        *out = all;
}

template <typename T> static void launch_blocks(SumsqArgs a, int64_t n_block, cudaStream_t stream)
{
    a.wide = a.x.wide && (a.x.t.rows == 1 || a.x.t.cols % Piece<T>::N == 0);
    LAUNCH(sumsq_kernel<T>, (unsigned)n_block, BLOCK, 0, stream, a);
}

Status cuda_sumsq(Device *dev, Tensor out, Tensor x)
{
    const cudaStream_t stream = cuda_of(dev)->stream;
    const int64_t n_block = pieces(x.rows * x.cols, ELEMENTS);
    SumsqArgs args = {NULL, rows_of(is_contiguous(x) ? as_one_row(x) : x), false};

    TRY(cuda_workspace(dev, (size_t)n_block * sizeof(double), (void **)&args.sum));
    if (x.dtype == LT_F64)
        launch_blocks<double>(args, n_block, stream);
    else
        WITH_FLOAT(x.dtype, T, launch_blocks<T>(args, n_block, stream));
    TRY(cuda_launched("sumsq"));
    LAUNCH(sum_in_order_kernel, 1, BLOCK, 0, stream, (double *)out.data, args.sum, n_block);
    return cuda_launched("sumsq");
}
