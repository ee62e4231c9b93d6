/* Copies and fills. What touches pageable host memory is done before the call returns, as on a card; the rest is work on the stream. */
#include "tests/cudasim/stream.h"

typedef struct Rows {
    char *to;
    const char *from; /* NULL: fill with value */
    size_t to_pitch, from_pitch, width, height;
    int value;
} Rows;

static void run_rows(const void *args)
{
    const Rows *r = (const Rows *)args;

    for (size_t i = 0; i < r->height; i++)
        if (r->from != NULL)
            memmove(r->to + i * r->to_pitch, r->from + i * r->from_pitch, r->width);
        else
            memset(r->to + i * r->to_pitch, r->value, r->width);
}

static size_t span(size_t pitch, size_t width, size_t height) { return (height - 1) * pitch + width; }

/* Stops if an end is not where the kind says; true if one of them is pageable. */
static bool check_ends(const Rows *r, enum cudaMemcpyKind kind)
{
    const bool to_device = kind == cudaMemcpyDefault ? sim_is_device(r->to) : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device =
        kind == cudaMemcpyDefault ? sim_is_device(r->from) : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;

    if (to_device)
        sim_check_device("copy: target", r->to, span(r->to_pitch, r->width, r->height));
    else if (sim_is_device(r->to))
        sim_stop("copy: target %p is device memory, host memory expected", (void *)r->to);
    if (from_device)
        sim_check_device("copy: source", r->from, span(r->from_pitch, r->width, r->height));
    else if (sim_is_device(r->from))
        sim_stop("copy: source %p is device memory, host memory expected", (const void *)r->from);
    return (!to_device && !sim_is_pinned(r->to)) || (!from_device && !sim_is_pinned(r->from));
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t handle)
{
    const Rows rows = {(char *)to, (const char *)from, to_pitch, from_pitch, width, height, 0};
    CUstream_st *stream = sim_stream(handle);

    if (width == 0 || height == 0)
        return cudaSuccess;
    if (to_pitch < width || from_pitch < width)
        return sim_error(cudaErrorInvalidPitchValue);
    if (!check_ends(&rows, kind))
        return sim_enqueue(handle, "copy", run_rows, &rows, sizeof rows);
    if (stream->recording)
        return sim_stream_refuse(stream);
    sim_stream_drain(stream);
    sim_work_run(run_rows, &rows);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                         enum cudaMemcpyKind kind)
{
    cudaError_t error = sim_stream_wait_blocking();

    if (error == cudaSuccess)
        error = cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, NULL);
    return error == cudaSuccess ? cudaStreamSynchronize(NULL) : error;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    return cudaMemcpy2D(to, bytes, from, bytes, bytes, 1, kind);
}

cudaError_t cudaMemset2DAsync(void *to, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream)
{
    const Rows rows = {(char *)to, NULL, pitch, 0, width, height, value};

    if (width == 0 || height == 0)
        return cudaSuccess;
    if (pitch < width)
        return sim_error(cudaErrorInvalidPitchValue);
    sim_check_device("fill: target", to, span(pitch, width, height));
    return sim_enqueue(stream, "fill", run_rows, &rows, sizeof rows);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    return cudaMemset2DAsync(to, bytes, value, bytes, 1, stream);
}

cudaError_t cudaMemset(void *to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, NULL); }
