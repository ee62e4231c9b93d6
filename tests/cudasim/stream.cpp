#include "tests/cudasim/stream.h"

#include "tests/cudasim/fault.h"

#include <pthread.h>
#include <stdlib.h>

/* Work that nobody waits for is done when there is this much: a card would long have begun. */
enum { LATEST = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUstream_st *streams; /* all but the default one */

void sim_list_init(SimList *list) { *list = {NULL, &list->first, 0}; }

void sim_list_free(SimList *list)
{
    for (SimWork *work = list->first, *next; work != NULL; work = next) {
        next = work->next;
        free(work);
    }
    sim_list_init(list);
}

void sim_list_add(SimList *list, const char *what, SimRun *run, const void *args, size_t bytes)
{
    SimWork *work = (SimWork *)malloc(sizeof *work + bytes);

    if (work == NULL)
        sim_stop("%s: no memory to keep it for later", what);
    work->next = NULL;
    work->what = what;
    work->run = run;
    work->bytes = bytes;
    memcpy(work->args, args, bytes);
    *list->last = work;
    list->last = &work->next;
    list->n++;
}

static CUstream_st *new_stream(bool blocking)
{
    CUstream_st *stream = (CUstream_st *)calloc(1, sizeof *stream);

    if (stream == NULL)
        sim_stop("no memory for a stream");
    sim_list_init(&stream->queue);
    sim_list_init(&stream->recorded);
    stream->blocking = blocking;
    cudaGetDevice(&stream->device);
    return stream;
}

CUstream_st *sim_stream(cudaStream_t stream)
{
    static thread_local CUstream_st *of_thread; /* CUDA's is a device's; here a device is used by one thread at a time */

    if (stream != NULL)
        return stream;
    if (of_thread == NULL)
        of_thread = new_stream(true);
    return of_thread;
}

void sim_work_run(SimRun *run, const void *args)
{
    sim_faults_begin();
    run(args);
    sim_faults_end();
}

void sim_stream_run_first(CUstream_st *stream)
{
    SimWork *work = stream->queue.first;

    stream->queue.first = work->next;
    if (work->next == NULL)
        stream->queue.last = &stream->queue.first;
    stream->queue.n--;
    sim_work_run(work->run, work->args);
    free(work);
}

void sim_stream_drain(CUstream_st *stream)
{
    while (stream->queue.first != NULL)
        sim_stream_run_first(stream);
}

cudaError_t sim_stream_refuse(CUstream_st *stream)
{
    stream->spoiled = true;
    return sim_error(cudaErrorStreamCaptureUnsupported);
}

cudaError_t sim_enqueue(cudaStream_t handle, const char *what, SimRun *run, const void *args, size_t bytes)
{
    CUstream_st *stream = sim_stream(handle);

    sim_list_add(stream->recording ? &stream->recorded : &stream->queue, what, run, args, bytes);
    if (stream->queue.n >= LATEST)
        sim_stream_drain(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = new_stream(flags != cudaStreamNonBlocking);
    pthread_mutex_lock(&lock);
    (*stream)->next = streams;
    streams = *stream;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    if (stream == NULL)
        return sim_error(cudaErrorInvalidResourceHandle);
    sim_stream_drain(stream);
    sim_list_free(&stream->recorded);
    pthread_mutex_lock(&lock);
    CUstream_st **at = &streams;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    pthread_mutex_unlock(&lock);
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    CUstream_st *stream = sim_stream(handle);

    if (stream->recording)
        return sim_stream_refuse(stream);
    sim_stream_drain(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    CUstream_st *stream = sim_stream(handle);

    if (stream->recording)
        return sim_stream_refuse(stream);
    return stream->queue.first == NULL ? cudaSuccess : cudaErrorNotReady;
}

/* A stream of this device with something to do, or recording; NULL if there is none. */
static CUstream_st *busy_stream(int device, bool all)
{
    pthread_mutex_lock(&lock);
    CUstream_st *stream = streams;

    while (stream != NULL &&
           (stream->device != device || (!all && !stream->blocking) || (stream->queue.first == NULL && !stream->recording)))
        stream = stream->next;
    pthread_mutex_unlock(&lock);
    return stream;
}

/* Waits for the streams of the calling thread's device, which no other thread uses now; not all: for those that block. */
static cudaError_t drain_device(bool all)
{
    CUstream_st *stream;
    int device;

    cudaGetDevice(&device);
    sim_stream_drain(sim_stream(NULL));
    while ((stream = busy_stream(device, all)) != NULL) {
        if (stream->recording)
            return sim_stream_refuse(stream);
        sim_stream_drain(stream);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) { return drain_device(true); }
cudaError_t sim_stream_wait_blocking(void) { return drain_device(false); }
