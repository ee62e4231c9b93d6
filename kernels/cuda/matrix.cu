/* Copies, transposes and triangles of matrices. All bound by memory: an element is read once and written once, 8 to 16 bytes; a transpose goes through
 * shared memory, so that both sides run along rows. */
#include "kernels/cuda/matrix.h"

/* A tile has one column more than it needs: neighbours in a column lie in different banks. */
enum { SIDE = 32, TILE_ROWS = 8, PITCH = SIDE + 1, TRIANGLE_THREADS = 256 };

template <typename To, typename From, bool TRANSPOSED>
static __global__ void move_tile(To *to, int64_t to_stride, const From *from, int64_t from_stride, int64_t rows, int64_t cols, const To *scale)
{
    const int64_t across = (cols + SIDE - 1) / SIDE, row0 = blockIdx.x / across * SIDE, col0 = blockIdx.x % across * SIDE;
    const int x = threadIdx.x % SIDE, y0 = threadIdx.x / SIDE;
    SHARED(To, tile, SIDE * PITCH);

    for (int y = y0; y < SIDE; y += TILE_ROWS)
        if (row0 + y < rows && col0 + x < cols) {
            const To v = (To)from[(row0 + y) * from_stride + col0 + x];

            tile[y * PITCH + x] = scale != NULL ? v * scale[row0 + y] : v;
        }
    __syncthreads();
    for (int y = y0; y < SIDE; y += TILE_ROWS) {
        if (TRANSPOSED && col0 + y < cols && row0 + x < rows)
            to[(col0 + y) * to_stride + row0 + x] = tile[x * PITCH + y];
        if (!TRANSPOSED && row0 + y < rows && col0 + x < cols)
            to[(row0 + y) * to_stride + col0 + x] = tile[y * PITCH + x];
    }
}

template <typename To, typename From>
static Status move_as(Device *dev, const char *op, Tensor to, Tensor from, MatrixTurn turn, Tensor scale)
{
    const unsigned tiles = cuda_blocks(from.rows, SIDE) * cuda_blocks(from.cols, SIDE);
    const cudaStream_t stream = cuda_of(dev)->stream;

    if (turn == MATRIX_TRANSPOSED)
        LAUNCH((move_tile<To, From, true>), tiles, SIDE * TILE_ROWS, 0, stream, (To *)to.data, to.stride, (const From *)from.data, from.stride, from.rows,
               from.cols, (const To *)scale.data);
    else
        LAUNCH((move_tile<To, From, false>), tiles, SIDE * TILE_ROWS, 0, stream, (To *)to.data, to.stride, (const From *)from.data, from.stride, from.rows,
               from.cols, (const To *)scale.data);
    return cuda_launched(op);
}

Status matrix_move(Device *dev, const char *op, Tensor to, Tensor from, MatrixTurn turn, Tensor scale)
{
    if (to.dtype == LT_F32)
        return move_as<float, float>(dev, op, to, from, turn, scale);
    return from.dtype == LT_F32 ? move_as<double, float>(dev, op, to, from, turn, scale) : move_as<double, double>(dev, op, to, from, turn, scale);
}

template <typename T> static __global__ void take_triangle(T *r, int64_t r_stride, T *sign, const T *factor, int64_t factor_stride, int64_t n)
{
    const int64_t at = (int64_t)blockIdx.x * TRIANGLE_THREADS + threadIdx.x, i = at / n, j = at % n;

    if (at >= n * n)
        return;
    const T s = factor[i * factor_stride + i] < 0 ? T(-1) : T(1);

    r[i * r_stride + j] = j < i ? T(0) : s * factor[j * factor_stride + i];
    if (j == 0)
        sign[i] = s;
}

Status matrix_triangle(Device *dev, Tensor r, Tensor sign, Tensor factor)
{
    const unsigned blocks = cuda_blocks(r.rows * r.rows, TRIANGLE_THREADS);
    const cudaStream_t stream = cuda_of(dev)->stream;

    if (r.dtype == LT_F32)
        LAUNCH(take_triangle<float>, blocks, TRIANGLE_THREADS, 0, stream, (float *)r.data, r.stride, (float *)sign.data, (const float *)factor.data,
               factor.stride, r.rows);
    else
        LAUNCH(take_triangle<double>, blocks, TRIANGLE_THREADS, 0, stream, (double *)r.data, r.stride, (double *)sign.data, (const double *)factor.data,
               factor.stride, r.rows);
    return cuda_launched("qr");
}
