/* Transfers: host to device and back through the pinned ring, device to device, and zeroing. A transfer moves the bytes of its tensor once
 * over the bus (about 25 GB/s on PCIe 4, 50 on PCIe 5) and once through host memory. */
#include "kernels/cuda/transfer.h"

#include <string.h>

Status cuda_transfers_open(CudaDevice *cuda)
{
    CUDA_TRY(cudaHostAlloc(&cuda->staging, (size_t)CUDA_SLICES * CUDA_SLICE_BYTES, cudaHostAllocDefault));
    for (int i = 0; i < CUDA_SLICES; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&cuda->slice_done[i], cudaEventDisableTiming));
    return LT_OK;
}

void cuda_transfers_close(CudaDevice *cuda)
{
    for (int i = 0; i < CUDA_SLICES; i++)
        if (cuda->slice_done[i] != NULL)
            (void)cudaEventDestroy(cuda->slice_done[i]);
    (void)cudaFreeHost(cuda->staging);
}

/* ---- what a transfer is made of --------------------------------------------------------------------------------------------- */

/* A tensor in bytes. Rows that lie one behind the other are one row. */
typedef struct Rows {
    char *data;
    size_t rows, row_bytes, step;
} Rows;

static Rows rows_of(Tensor t)
{
    const size_t size = dtype_bytes(t.dtype);

    if (t.stride == t.cols || t.rows == 1) {
        const size_t bytes = (size_t)t.rows * (size_t)t.cols * size;

        return (Rows){(char *)t.data, 1, bytes, bytes};
    }
    return (Rows){(char *)t.data, (size_t)t.rows, (size_t)t.cols * size, (size_t)t.stride * size};
}

/* What of it travels in one slice: whole rows, or a part of one row that is longer than a slice. */
typedef struct Piece {
    size_t row, n_row, at, bytes; /* bytes of each row, from byte `at` */
} Piece;

/* The piece behind p. False: there is none. */
static bool next_piece(const Rows *r, Piece *p)
{
    const size_t room = CUDA_SLICE_BYTES, fit = r->row_bytes <= room ? room / r->row_bytes : 1;

    p->at += p->bytes;
    if (p->at == r->row_bytes || p->n_row == 0) {
        p->row += p->n_row;
        p->at = 0;
    }
    if (p->row == r->rows)
        return false;
    p->n_row = r->rows - p->row < fit ? r->rows - p->row : fit;
    p->bytes = r->row_bytes - p->at < room ? r->row_bytes - p->at : room;
    return true;
}

static char *device_at(const Rows *r, const Piece *p) { return r->data + p->row * r->step + p->at; }
static size_t host_at(const Rows *r, const Piece *p) { return p->row * r->row_bytes + p->at; }
static char *slice(const CudaDevice *cuda, int i) { return (char *)cuda->staging + (size_t)i * CUDA_SLICE_BYTES; }

/* The next slice of the ring, once the device is done with what it carried before. */
static Status take_slice(CudaDevice *cuda, int *out)
{
    const int i = cuda->next_slice;

    CUDA_TRY(cudaEventSynchronize(cuda->slice_done[i]));
    cuda->next_slice = (i + 1) % CUDA_SLICES;
    *out = i;
    return LT_OK;
}

/* ---- the slots -------------------------------------------------------------------------------------------------------------- */

Status cuda_upload(Device *dev, Tensor to, const void *from)
{
    CudaDevice *cuda = cuda_of(dev);
    const Rows r = rows_of(to);
    Piece p = {0, 0, 0, 0};
    int i;

    TRY(cuda_may_wait(cuda, "an upload is asked for"));
    TRY(cuda_select(cuda));
    while (next_piece(&r, &p)) {
        TRY(take_slice(cuda, &i));
        memcpy(slice(cuda, i), (const char *)from + host_at(&r, &p), p.n_row * p.bytes);
        CUDA_TRY(cudaMemcpy2DAsync(device_at(&r, &p), r.step, slice(cuda, i), p.bytes, p.bytes, p.n_row, cudaMemcpyHostToDevice, cuda->stream));
        CUDA_TRY(cudaEventRecord(cuda->slice_done[i], cuda->stream));
    }
    return LT_OK;
}

/* Waits until the piece lies in its slice and takes it out. */
static Status finish_download(CudaDevice *cuda, char *to, const Rows *r, const Piece *p, int i)
{
    CUDA_TRY(cudaEventSynchronize(cuda->slice_done[i]));
    memcpy(to + host_at(r, p), slice(cuda, i), p->n_row * p->bytes);
    return LT_OK;
}

/* The bus brings a piece while the one before it is copied out. */
Status cuda_download(Device *dev, void *to, Tensor from)
{
    CudaDevice *cuda = cuda_of(dev);
    const Rows r = rows_of(from);
    Piece p = {0, 0, 0, 0}, before = p;
    int i, i_before = -1;

    TRY(cuda_may_wait(cuda, "a download is asked for"));
    TRY(cuda_select(cuda));
    for (; next_piece(&r, &p); before = p, i_before = i) {
        TRY(take_slice(cuda, &i));
        CUDA_TRY(cudaMemcpy2DAsync(slice(cuda, i), p.bytes, device_at(&r, &p), r.step, p.bytes, p.n_row, cudaMemcpyDeviceToHost, cuda->stream));
        CUDA_TRY(cudaEventRecord(cuda->slice_done[i], cuda->stream));
        if (i_before >= 0)
            TRY(finish_download(cuda, (char *)to, &r, &before, i_before));
    }
    return finish_download(cuda, (char *)to, &r, &before, i_before);
}

Status cuda_copy(Device *dev, Tensor to, Tensor from)
{
    CudaDevice *cuda = cuda_of(dev);
    const size_t size = dtype_bytes(to.dtype), row = (size_t)to.cols * size;

    if (to.stride == to.cols && from.stride == from.cols)
        return cuda_check(cudaMemcpyAsync(to.data, from.data, row * (size_t)to.rows, cudaMemcpyDeviceToDevice, cuda->stream), "copy");
    return cuda_check(cudaMemcpy2DAsync(to.data, (size_t)to.stride * size, from.data, (size_t)from.stride * size, row, (size_t)to.rows,
                                        cudaMemcpyDeviceToDevice, cuda->stream),
                      "copy");
}

Status cuda_fill_zero(Device *dev, Tensor t)
{
    CudaDevice *cuda = cuda_of(dev);
    const Rows r = rows_of(t);

    if (r.rows == 1)
        return cuda_check(cudaMemsetAsync(r.data, 0, r.row_bytes, cuda->stream), "fill with zero");
    return cuda_check(cudaMemset2DAsync(r.data, r.step, 0, r.row_bytes, r.rows, cuda->stream), "fill with zero");
}
