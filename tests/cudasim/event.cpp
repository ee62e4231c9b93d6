/* Events: a record is work like any other, and counts when its stream gets there. */
#include "tests/cudasim/stream.h"

#include <stdlib.h>
#include <time.h>

struct CUevent_st {
    CUstream_st *stream;  /* of the last record; NULL: none yet */
    uint64_t asked, done; /* records */
    double when_ms;       /* the last record that is done */
};

typedef struct Wait {
    cudaEvent_t event;
    uint64_t asked;
} Wait;

static void wait_for(cudaEvent_t event, uint64_t asked)
{
    while (event->done < asked) {
        if (event->stream->queue.first == NULL)
            sim_stop("an event waits for a record that its stream does not have");
        sim_stream_run_first(event->stream);
    }
}

static void run_record(const void *args)
{
    const cudaEvent_t event = *(const cudaEvent_t *)args;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    event->when_ms = 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
    event->done++;
}

static void run_wait(const void *args)
{
    const Wait *wait = (const Wait *)args;

    wait_for(wait->event, wait->asked);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = (cudaEvent_t)calloc(1, sizeof **event);
    if (*event == NULL)
        sim_stop("no memory for an event");
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    wait_for(event, event->asked);
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    CUstream_st *stream = sim_stream(handle);

    if (stream->recording)
        return sim_stream_refuse(stream);
    wait_for(event, event->asked); /* a record that another one replaces is not waited for on a card; here it is only early */
    event->stream = stream;
    event->asked++;
    return sim_enqueue(handle, "cudaEventRecord", run_record, &event, sizeof event);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    wait_for(event, event->asked);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return event->done < event->asked ? cudaErrorNotReady : cudaSuccess; }

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned)
{
    const Wait wait = {event, event->asked};
    CUstream_st *stream = sim_stream(handle);

    if (stream->recording)
        return sim_stream_refuse(stream);
    return sim_enqueue(handle, "cudaStreamWaitEvent", run_wait, &wait, sizeof wait);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    if (from->asked == 0 || to->asked == 0)
        return sim_error(cudaErrorInvalidResourceHandle);
    if (from->done < from->asked || to->done < to->asked)
        return sim_error(cudaErrorNotReady);
    *milliseconds = (float)(to->when_ms - from->when_ms);
    return cudaSuccess;
}
