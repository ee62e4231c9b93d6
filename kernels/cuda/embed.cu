/* Rows moved by an index: embed, gather, scatter. Twice the bytes of the moved rows, no operations.
 * Bound by memory. A thread moves one unit: 16 bytes where bases, strides and row length are multiples of that, else one element. The row's
 * index comes before the row, two latencies in turn: 32 KiB a multiprocessor in flight cover both. *Expected* on an H100 (3.35 TB/s): 85 %
 * of the byte floor where rows are not in L2 anyway. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 256 };

typedef struct MoveArgs {
    void *to;
    const void *from;
    const int32_t *row;
    int64_t rows, units, to_stride, from_stride; /* of a row, in units */
    bool scatter;                                /* the index is the destination's row, not the source's */
} MoveArgs;

__device__ __forceinline__ void move(Pack16 *to, const Pack16 *from) { store16(to, load16(from)); }
template <typename T> __device__ __forceinline__ void move(T *to, const T *from) { *to = *from; }

template <typename Unit> __global__ void __launch_bounds__(BLOCK) move_kernel(MoveArgs a)
{
    const Item at = thread_item(a.units);
    int64_t target, source;

    if (at.major >= a.rows)
        return;
    target = a.scatter ? a.row[at.major] : at.major;
    source = a.scatter ? at.major : a.row[at.major];
    move((Unit *)a.to + target * a.to_stride + at.minor, (const Unit *)a.from + source * a.from_stride + at.minor);
}

static Status move_rows(Device *dev, const char *op, Tensor to, Tensor from, Tensor row, bool scatter)
{
    const cudaStream_t stream = cuda_of(dev)->stream;
    const int64_t size = (int64_t)dtype_bytes(to.dtype), n_row = row.cols;
    const bool wide = rows_of(to).wide && rows_of(from).wide && is_wide((size_t)(to.cols * size));
    const int64_t per_unit = wide ? (int64_t)sizeof(Pack16) / size : 1;
    const MoveArgs a = {to.data, from.data, (const int32_t *)row.data, n_row, to.cols / per_unit, to.stride / per_unit,
                        from.stride / per_unit, scatter};
    const unsigned grid = cuda_blocks(n_row * a.units, BLOCK);

    if (wide)
        LAUNCH(move_kernel<Pack16>, grid, BLOCK, 0, stream, a);
    else if (size == sizeof(uint32_t))
        LAUNCH(move_kernel<uint32_t>, grid, BLOCK, 0, stream, a);
    else
        LAUNCH(move_kernel<uint16_t>, grid, BLOCK, 0, stream, a);
    return cuda_launched(op);
}

Status cuda_embed(Device *dev, Tensor y, Tensor w, Tensor id) { return move_rows(dev, "embed", y, w, id, false); }
Status cuda_gather(Device *dev, Tensor y, Tensor x, Tensor row) { return move_rows(dev, "gather", y, x, row, false); }
Status cuda_scatter(Device *dev, Tensor x, Tensor y, Tensor row) { return move_rows(dev, "scatter", x, y, row, true); }
