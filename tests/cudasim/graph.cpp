/* Graphs: the work that a stream was given while it recorded, run again at every launch. */
#include "tests/cudasim/stream.h"

#include <stdlib.h>

struct CUgraph_st {
    SimList work;
};
struct CUgraphExec_st {
    SimList work;
};

static void copy_list(SimList *to, const SimList *from)
{
    sim_list_init(to);
    for (const SimWork *work = from->first; work != NULL; work = work->next)
        sim_list_add(to, work->what, work->run, work->args, work->bytes);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode)
{
    CUstream_st *stream = sim_stream(handle);

    if (handle == NULL || stream->recording)
        return sim_error(cudaErrorStreamCaptureUnsupported);
    stream->recording = true;
    stream->spoiled = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    CUstream_st *stream = sim_stream(handle);

    *graph = NULL;
    if (!stream->recording)
        return sim_error(cudaErrorInvalidValue);
    stream->recording = false;
    if (stream->spoiled) {
        sim_list_free(&stream->recorded);
        return sim_error(cudaErrorStreamCaptureInvalidated);
    }
    *graph = (cudaGraph_t)malloc(sizeof **graph);
    if (*graph == NULL)
        sim_stop("no memory for a graph");
    copy_list(&(*graph)->work, &stream->recorded);
    sim_list_free(&stream->recorded);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    *exec = (cudaGraphExec_t)malloc(sizeof **exec);
    if (*exec == NULL)
        sim_stop("no memory for a graph");
    copy_list(&(*exec)->work, &graph->work);
    return cudaSuccess;
}

/* The same work in the same order, only its arguments differ; else the graph has to be made anew. */
static bool same_shape(const SimList *a, const SimList *b)
{
    const SimWork *x = a->first, *y = b->first;

    for (; x != NULL && y != NULL; x = x->next, y = y->next)
        if (x->run != y->run || x->bytes != y->bytes || strcmp(x->what, y->what) != 0)
            return false;
    return x == NULL && y == NULL;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *info)
{
    info->result = same_shape(&exec->work, &graph->work) ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateError;
    if (info->result != cudaGraphExecUpdateSuccess)
        return sim_error(cudaErrorGraphExecUpdateFailure);
    sim_list_free(&exec->work);
    copy_list(&exec->work, &graph->work);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    for (const SimWork *work = exec->work.first; work != NULL; work = work->next)
        sim_enqueue(stream, work->what, work->run, work->args, work->bytes);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    sim_list_free(&graph->work);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    sim_list_free(&exec->work);
    free(exec);
    return cudaSuccess;
}
