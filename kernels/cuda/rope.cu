/* Rotary embedding, half-split, in place. F32: 8 bytes an element, BF16: 4, and three operations.
 * Bound by memory. A thread turns the same columns of HEADS neighbouring heads with cosines and sines that it reads once, out of L1 and L2:
 * half as many bytes as it reads of x (F32: a quarter). 32 bytes a head are on their way at once.
 * *Expected* on an H100 (3.35 TB/s): 80 % of the byte floor. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 128, HEADS = 4 };

typedef struct RopeArgs {
    Rows x, cos, sin;
    const int32_t *row;
    int64_t n_head, half;
    bool wide; /* both halves of every head begin at a multiple of 16 bytes */
    float sign;
} RopeArgs;

template <typename T> __global__ void __launch_bounds__(BLOCK) rope_kernel(RopeArgs a)
{
    constexpr int N = Piece<T>::N;
    const int64_t n_piece = pieces(a.half, N), n_team = pieces(a.n_head, HEADS);
    const Item at = thread_item(n_piece * n_team);
    const int64_t row = at.major, team = quotient(at.minor, n_piece), col = (at.minor - team * n_piece) * N, left = a.half - col;
    const int64_t n_head = a.n_head - team * HEADS; /* from here on */
    Pack16 low[HEADS], high[HEADS];
    float cos[N], sin[N], u[N], v[N];
    T *x;

    if (row >= a.x.t.rows)
        return;
    x = row_at<T>(a.x, row) + team * HEADS * 2 * a.half + col;
    for (int h = 0; h < HEADS; h++)
        if (h < n_head) {
            low[h] = load_piece(x + 2 * h * a.half, left, a.wide);
            high[h] = load_piece(x + (2 * h + 1) * a.half, left, a.wide);
        }
    load_floats<N>(cos, row_at<float>(a.cos, a.row[row]) + col, left, a.cos.wide);
    load_floats<N>(sin, row_at<float>(a.sin, a.row[row]) + col, left, a.sin.wide);
    for (int h = 0; h < HEADS; h++)
        if (h < n_head) {
            widen<T>(u, low[h]);
            widen<T>(v, high[h]);
            for (int i = 0; i < N; i++) {
                const float s = a.sign * sin[i], turned = u[i] * cos[i] - v[i] * s;

                v[i] = v[i] * cos[i] + u[i] * s;
                u[i] = turned;
            }
            store_piece(x + 2 * h * a.half, left, a.wide, narrow<T>(u));
            store_piece(x + (2 * h + 1) * a.half, left, a.wide, narrow<T>(v));
        }
}

Status cuda_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction)
{
    const int64_t half = cos.cols, n_head = x.cols / (2 * half);
    const RopeArgs args = {rows_of(x), rows_of(cos), rows_of(sin), (const int32_t *)row.data, n_head, half,
                           rows_of(x).wide && is_wide((size_t)half * dtype_bytes(x.dtype)), direction < 0 ? -1.0f : 1.0f};

    WITH_FLOAT(x.dtype, T,
               LAUNCH(rope_kernel<T>, cuda_blocks(x.rows * pieces(n_head, HEADS) * pieces(half, Piece<T>::N), BLOCK), BLOCK, 0,
                      cuda_of(dev)->stream, args));
    return cuda_launched("rope");
}
