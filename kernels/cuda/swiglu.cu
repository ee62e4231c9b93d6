/* silu(gate) up and its gradient. y[N, F]; F32: 12 and 20 bytes an element of y, BF16: 6 and 10; about 25 and 35 operations.
 * Bound by memory: each thread has one piece of gate, of up (and of dy) on its way, 32 to 48 bytes. At 32 registers a multiprocessor keeps
 * 64 KiB in flight; *expected* on an H100 (3.35 TB/s): 90 % of the byte floor. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 256 };

typedef struct SwigluArgs {
    Rows y, gate, up;
} SwigluArgs;

template <typename T> __global__ void __launch_bounds__(BLOCK, 8) swiglu_kernel(SwigluArgs a)
{
    constexpr int N = Piece<T>::N;
    const Item at = thread_item(pieces(a.y.t.cols, N));
    const int64_t row = at.major, col = at.minor * N, left = a.y.t.cols - col;
    float gate[N], up[N];

    if (row >= a.y.t.rows)
        return;
    widen<T>(gate, load_piece(row_at<T>(a.gate, row) + col, left, a.gate.wide));
    widen<T>(up, load_piece(row_at<T>(a.up, row) + col, left, a.up.wide));
    for (int i = 0; i < N; i++)
        up[i] *= gate[i] / (1.0f + expf(-gate[i]));
    store_piece(row_at<T>(a.y, row) + col, left, a.y.wide, narrow<T>(up));
}

Status cuda_swiglu(Device *dev, Tensor y, Tensor gate_up)
{
    const SwigluArgs args = {rows_of(y), rows_of(tensor_cols(gate_up, 0, y.cols)), rows_of(tensor_cols(gate_up, y.cols, y.cols))};

    WITH_FLOAT(y.dtype, T,
               LAUNCH(swiglu_kernel<T>, cuda_blocks(y.rows * pieces(y.cols, Piece<T>::N), BLOCK), BLOCK, 0, cuda_of(dev)->stream, args));
    return cuda_launched("swiglu");
}

typedef struct SwigluGradArgs {
    Rows dgate, dup, dy, gate, up;
} SwigluGradArgs;

/* A thread reads its pieces before it writes them: dgate_up may be gate_up. */
template <typename T> __global__ void __launch_bounds__(BLOCK) swiglu_grad_kernel(SwigluGradArgs a)
{
    constexpr int N = Piece<T>::N;
    const Item at = thread_item(pieces(a.dy.t.cols, N));
    const int64_t row = at.major, col = at.minor * N, left = a.dy.t.cols - col;
    float gate[N], up[N], dy[N];

    if (row >= a.dy.t.rows)
        return;
    widen<T>(gate, load_piece(row_at<T>(a.gate, row) + col, left, a.gate.wide));
    widen<T>(up, load_piece(row_at<T>(a.up, row) + col, left, a.up.wide));
    widen<T>(dy, load_piece(row_at<T>(a.dy, row) + col, left, a.dy.wide));
    for (int i = 0; i < N; i++) {
        const float s = 1.0f / (1.0f + expf(-gate[i])), dup = dy[i] * (gate[i] * s);

        gate[i] = dy[i] * up[i] * (s * (1.0f + gate[i] * (1.0f - s)));
        up[i] = dup;
    }
    store_piece(row_at<T>(a.dgate, row) + col, left, a.dgate.wide, narrow<T>(gate));
    store_piece(row_at<T>(a.dup, row) + col, left, a.dup.wide, narrow<T>(up));
}

Status cuda_swiglu_grad(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up)
{
    const int64_t n = dy.cols;
    const SwigluGradArgs args = {rows_of(tensor_cols(dgate_up, 0, n)), rows_of(tensor_cols(dgate_up, n, n)), rows_of(dy),
                                 rows_of(tensor_cols(gate_up, 0, n)), rows_of(tensor_cols(gate_up, n, n))};

    WITH_TRAIN(dy.dtype, T,
               LAUNCH(swiglu_grad_kernel<T>, cuda_blocks(dy.rows * pieces(n, Piece<T>::N), BLOCK), BLOCK, 0, cuda_of(dev)->stream, args));
    return cuda_launched("swiglu_grad");
}
