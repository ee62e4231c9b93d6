/* y = x keep / (1 - p), the mask drawn again wherever it is needed. F32: 8 bytes an element, BF16: 4; and a quarter of a Philox call, about
 * 25 integer operations. Bound by memory in F32; in BF16 the draws are near the limit too. *Expected* on an H100 (3.35 TB/s): 90 % (F32)
 * and 70 % (BF16) of the byte floor. */
#include "kernels/cuda/philox.h"
#include "kernels/cuda/rows.h"

enum { BLOCK = 256 };

typedef struct DropoutArgs {
    Rows y, x;
    float p, scale;
    DropoutKey key;
} DropoutArgs;

template <typename T> __global__ void __launch_bounds__(BLOCK) dropout_kernel(DropoutArgs a)
{
    constexpr int N = Piece<T>::N;
    const Item at = thread_item(pieces(a.y.t.cols, N));
    const int64_t row = at.major, col = at.minor * N, left = a.y.t.cols - col;
    float v[N], u[N];

    if (row >= a.y.t.rows)
        return;
    widen<T>(v, load_piece(row_at<T>(a.x, row) + col, left, a.x.wide));
    for (int i = 0; i < N; i += 4)
        dropout_draw(u + i, a.key, row, (uint32_t)((col + i) / 4));
    for (int i = 0; i < N; i++)
        v[i] = u[i] < a.p ? 0.0f : v[i] * a.scale;
    store_piece(row_at<T>(a.y, row) + col, left, a.y.wide, narrow<T>(v));
}

Status cuda_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key)
{
    const DropoutArgs args = {rows_of(y), rows_of(x), p, 1.0f / (1.0f - p), *key};

    WITH_TRAIN(y.dtype, T,
               LAUNCH(dropout_kernel<T>, cuda_blocks(y.rows * pieces(y.cols, Piece<T>::N), BLOCK), BLOCK, 0, cuda_of(dev)->stream, args));
    return cuda_launched("dropout");
}
