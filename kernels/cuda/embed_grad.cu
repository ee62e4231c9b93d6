/* dw[id] += the rows of dy that had this id, one after the other. Reads dy once and reads and writes the rows of dw that occur, F32: per
 * element of dy 2 bytes (BF16) or 4, per element of such a row 8; one addition an element of dy.
 * Bound by memory. A thread owns one piece of columns of one id and has eight rows on their way at once: an id costs its number of rows / 8
 * latencies. *Expected* on an H100 (3.35 TB/s): 70 % of the byte floor where many ids occur. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 128 };

typedef struct EmbedGradArgs {
    Rows dw, dy;
    const int32_t *id, *first, *order;
    int64_t n_id;
} EmbedGradArgs;

template <typename T> __global__ void __launch_bounds__(BLOCK) embed_grad_kernel(EmbedGradArgs a)
{
    constexpr int N = Piece<T>::N;
    const Item at = thread_item(pieces(a.dy.t.cols, N));
    const int64_t col = at.minor * N, left = a.dy.t.cols - col;
    float sum[N], *dw;

    if (at.major >= a.n_id)
        return;
    dw = row_at<float>(a.dw, a.id[at.major]) + col;
    load_floats<N>(sum, dw, left, a.dw.wide);
    add_rows<T>(sum, a.dy, a.order, a.first[at.major], a.first[at.major + 1], col);
    store_floats<N>(dw, left, a.dw.wide, sum);
}

Status cuda_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order)
{
    const EmbedGradArgs args = {rows_of(dw),
                                rows_of(dy),
                                (const int32_t *)id.data,
                                (const int32_t *)first.data,
                                (const int32_t *)order.data,
                                id.cols};

    WITH_TRAIN(dy.dtype, T,
               LAUNCH(embed_grad_kernel<T>, cuda_blocks(id.cols * pieces(dy.cols, Piece<T>::N), BLOCK), BLOCK, 0, cuda_of(dev)->stream,
                      args));
    return cuda_launched("embed_grad");
}
