/* db += the sum of dy's rows. Reads dy once: 2 bytes (BF16) or 4 an element and one addition; the sums of blocks of ROWS rows go through
 * memory, 2 / ROWS of dy's elements in F32.
 * Bound by memory. A thread adds one piece of columns over one block of rows, eight on their way at once; the second kernel adds the block
 * sums in ascending order, and reads them TILE rows at a time so that the order does not wait for memory.
 * *Expected* on an H100 (3.35 TB/s): 75 % of the byte floor from 4096 rows on; fewer are bound by the latency of the two launches. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 128, ROWS = 64 };

typedef struct BiasGradArgs {
    float *partial; /* [pieces(rows, ROWS), cols] */
    Rows dy;
    bool wide; /* partial's rows begin at multiples of 16 bytes */
} BiasGradArgs;

template <typename T> __global__ void __launch_bounds__(BLOCK) bias_grad_kernel(BiasGradArgs a)
{
    constexpr int N = Piece<T>::N;
    const int64_t rows = a.dy.t.rows, cols = a.dy.t.cols;
    const Item at = thread_item(pieces(cols, N));
    const int64_t col = at.minor * N, first = at.major * ROWS, end = least(first + ROWS, rows);
    float sum[N] = {0};

    if (first >= rows)
        return;
    add_rows<T>(sum, a.dy, NULL, first, end, col);
    store_floats<N>(a.partial + at.major * cols + col, cols - col, a.wide, sum);
}

Status cuda_bias_grad(Device *dev, Tensor db, Tensor dy)
{
    const int64_t n_block = pieces(dy.rows, ROWS);
    void *partial;

    TRY(cuda_workspace(dev, (size_t)(n_block * dy.cols) * sizeof(float), &partial));
    const BiasGradArgs args = {(float *)partial, rows_of(dy), is_wide((size_t)dy.cols * sizeof(float))};
    WITH_TRAIN(dy.dtype, T,
               LAUNCH(bias_grad_kernel<T>, cuda_blocks(n_block * pieces(dy.cols, Piece<T>::N), BLOCK), BLOCK, 0, cuda_of(dev)->stream,
                      args));
    return add_column_sums(dev, db, args.partial, n_block, "bias_grad");
}

/* ---- block sums in ascending order --------------------------------------------------------------------------------------- */

enum { SUM_BLOCK = 256, TILE = 128, LOADS = TILE / (SUM_BLOCK / WARP) };

typedef struct ColumnSumArgs {
    float *to;
    const float *partial;
    int64_t rows, cols;
} ColumnSumArgs;

/* A block has 32 columns, a lane each; a lane behind the last adds that one too, for nobody. All warps fetch a tile of rows, then the
 * first adds it row by row. */
__global__ void __launch_bounds__(SUM_BLOCK) column_sum_kernel(ColumnSumArgs a)
{
    SHARED(float, tile, TILE * WARP);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int64_t col = (int64_t)blockIdx.x * WARP + lane;
    float sum = 0, v[LOADS];

    for (int64_t first = 0; first < a.rows; first += TILE) {
        const int n = (int)least(a.rows - first, TILE);

        for (int k = 0; k < LOADS; k++) {
            const int row = warp * LOADS + k;

            v[k] = row < n ? a.partial[(first + row) * a.cols + least(col, a.cols - 1)] : 0.0f;
        }
        for (int k = 0; k < LOADS; k++)
            tile[(warp * LOADS + k) * WARP + lane] = v[k];
        __syncthreads();
        for (int row = 0; warp == 0 && row < n; row++)
            sum += tile[row * WARP + lane];
        __syncthreads();
    }
    if (warp == 0 && col < a.cols)
        a.to[col] += sum;
}

Status add_column_sums(Device *dev, Tensor to, const float *partial, int64_t rows, const char *op)
{
    const ColumnSumArgs args = {(float *)to.data, partial, rows, to.cols};

    LAUNCH(column_sum_kernel, cuda_blocks(to.cols, WARP), SUM_BLOCK, 0, cuda_of(dev)->stream, args);
    return cuda_launched(op);
}
