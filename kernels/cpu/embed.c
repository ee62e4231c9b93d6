/* Rows moved by an index: copies of whole rows, at memory speed whatever the level. */
#include "kernels/cpu/rows.h"

#include <string.h>

typedef struct MoveArgs {
    Tensor to, from, row;
    bool scatter; /* the index is the destination's row, not the source's */
} MoveArgs;

static void move_rows(const void *context, int64_t from, int64_t to)
{
    const MoveArgs *a = context;
    const size_t size = dtype_bytes(a->to.dtype), bytes = (size_t)a->to.cols * size;
    const int32_t *row = a->row.data;

    for (int64_t i = from; i < to; i++) {
        const int64_t target = a->scatter ? row[i] : i, source = a->scatter ? i : row[i];

        memcpy((char *)a->to.data + (size_t)(target * a->to.stride) * size, (const char *)a->from.data + (size_t)(source * a->from.stride) * size,
               bytes);
    }
}

static const RowsBody move_body[CPU_LEVELS] = {move_rows, move_rows, move_rows, move_rows};

Status cpu_embed(Device *dev, Tensor y, Tensor w, Tensor id)
{
    return rows_run(dev, move_body, &(MoveArgs){y, w, id, false}, y.rows, y.cols);
}

Status cpu_gather(Device *dev, Tensor y, Tensor x, Tensor row)
{
    return rows_run(dev, move_body, &(MoveArgs){y, x, row, false}, y.rows, y.cols);
}

Status cpu_scatter(Device *dev, Tensor x, Tensor y, Tensor row)
{
    return rows_run(dev, move_body, &(MoveArgs){x, y, row, true}, y.rows, y.cols);
}
