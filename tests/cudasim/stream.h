/* Streams as lists of work: closures that run when somebody waits for them, or when a graph they were recorded in is launched. */
#ifndef CUDASIM_STREAM_H
#define CUDASIM_STREAM_H

#include "tests/cudasim/sim.h"

typedef struct SimWork {
    struct SimWork *next;
    const char *what;
    SimRun *run;
    size_t bytes;
    alignas(16) char args[];
} SimWork;

typedef struct SimList {
    SimWork *first, **last;
    int n;
} SimList;

void sim_list_init(SimList *list);
void sim_list_free(SimList *list);
void sim_list_add(SimList *list, const char *what, SimRun *run, const void *args, size_t bytes);

/* Runs it now. */
void sim_work_run(SimRun *run, const void *args);

struct CUstream_st {
    struct CUstream_st *next; /* of all streams */
    SimList queue;
    SimList recorded; /* between cudaStreamBeginCapture and cudaStreamEndCapture */
    bool recording, spoiled;
    bool blocking; /* waits for the default stream, and is waited for by it */
    int device;
};

CUstream_st *sim_stream(cudaStream_t stream); /* the default one for NULL */
/* Runs all of the stream's work. */
void sim_stream_drain(CUstream_st *stream);
void sim_stream_run_first(CUstream_st *stream);
/* Waits for the default stream and those that block on it, as a synchronous copy does. */
cudaError_t sim_stream_wait_blocking(void);
/* For what may not be called while the stream records: spoils the recording. */
cudaError_t sim_stream_refuse(CUstream_st *stream);

#endif
