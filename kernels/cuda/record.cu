/* Recording as CUDA graphs. A launch costs the host 2 to 4 us and a decoding step has about 10 launches a layer; one graph launch replaces them
 * (expected: 0.7 to 1 ms of a 3 to 10 ms step for 32 layers). */
#include "kernels/cuda/transfer.h"

extern "C" {
#include "core/mem.h"
}

struct DeviceRecord {
    cudaGraphExec_t exec;
};

Status cuda_record_begin(Device *dev)
{
    CudaDevice *cuda = cuda_of(dev);

    TRY(cuda_may_wait(cuda, "a recording is begun"));
    TRY(cuda_select(cuda));
    CUDA_TRY(cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    cuda->capturing = true;
    return LT_OK;
}

Status cuda_record_end(Device *dev, Status recorded, DeviceRecord **out)
{
    CudaDevice *cuda = cuda_of(dev);
    cudaGraph_t graph = NULL;
    const cudaError_t ended = cudaStreamEndCapture(cuda->stream, &graph);
    DeviceRecord *record;
    Status st = recorded;

    cuda->capturing = false;
    if (st == LT_OK)
        st = cuda_check(ended, "recording");
    (void)cudaGetLastError(); /* a recording that failed has been reported */
    if (graph == NULL)
        return st;
    TRY_GOTO(st, st, done);
    record = (DeviceRecord *)mem_take(1, sizeof *record);
    if (record == NULL) {
        st = LT_E_NOMEM;
        goto done;
    }
    st = cuda_check(cudaGraphInstantiate(&record->exec, graph, 0), "recording");
    if (st == LT_OK)
        *out = record;
    else
        mem_free(record);
done:
    (void)cudaGraphDestroy(graph);
    return st;
}

Status cuda_replay(Device *dev, DeviceRecord *record)
{
    CudaDevice *cuda = cuda_of(dev);

    TRY(cuda_may_wait(cuda, "a recording is replayed"));
    TRY(cuda_select(cuda));
    return cuda_check(cudaGraphLaunch(record->exec, cuda->stream), "replay");
}

void cuda_record_free(Device *dev, DeviceRecord *record)
{
    (void)dev;
    (void)cudaGraphExecDestroy(record->exec);
    mem_free(record);
}
