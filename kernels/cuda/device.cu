/* The CUDA device: opening and closing, memory, time, and the helpers of cuda.h. Transfers: transfer.cu. */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/solver.h"
#include "kernels/cuda/transfer.h"

extern "C" {
#include "core/mem.h"
}

#include <stdio.h>
#include <stdlib.h>

Status cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return LT_OK;
    (void)cudaGetLastError(); /* else the next launch would be blamed for it */
    return FAIL(error == cudaErrorMemoryAllocation ? LT_E_NOMEM : LT_E_DEVICE, "%s: %s (%s)", what, cudaGetErrorString(error),
                cudaGetErrorName(error));
}

Status cuda_launched(const char *op)
{
    const cudaError_t error = cudaGetLastError();

    return error == cudaSuccess ? LT_OK : FAIL(LT_E_DEVICE, "%s: the kernel was not launched: %s", op, cudaGetErrorString(error));
}

Status cuda_allow_shared(Device *dev, const void *kernel, size_t bytes, const char *op)
{
    const size_t limit = cuda_of(dev)->shared_max;

    if (bytes > limit)
        return FAIL(LT_E_UNSUPPORTED, "%s: %zu bytes of shared memory needed, a block of this GPU may have %zu", op, bytes, limit);
    return cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes), op);
}

Status cuda_may_wait(const CudaDevice *cuda, const char *what)
{
    return cuda->capturing ? FAIL(LT_E_FAIL, "%s while a graph is recorded", what) : LT_OK;
}

Status cuda_workspace(Device *dev, size_t bytes, void **out)
{
    CudaDevice *cuda = cuda_of(dev);
    const size_t twice = 2 * cuda->workspace_bytes, larger_bytes = bytes > twice ? bytes : twice;
    void *larger;

    if (bytes > cuda->workspace_bytes) {
        BUG_IF(cuda->n_outgrown == CUDA_OUTGROWN);
        TRY(cuda_alloc(dev, larger_bytes, &larger));
        cuda->outgrown[cuda->n_outgrown++] = cuda->workspace;
        cuda->workspace = larger;
        cuda->workspace_bytes = larger_bytes;
    }
    /* Its end, so that who writes behind what he asked for leaves the block, which the simulator and compute-sanitizer see. */
    *out = (char *)cuda->workspace + (cuda->workspace_bytes - bytes) / 256 * 256;
    return LT_OK;
}

/* ---- open and close --------------------------------------------------------------------------------------------------------- */

/* Without a driver, CUDA says that its version is too old. */
static Status count_devices(int *n)
{
    int driver = 0;
    cudaError_t error;

    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return FAIL(LT_E_DEVICE, "no GPU to be used: this machine has no NVIDIA driver");
    error = cudaGetDeviceCount(n);
    if (error == cudaSuccess && *n > 0)
        return LT_OK;
    (void)cudaGetLastError();
    return FAIL(LT_E_DEVICE, "no GPU to be used: %s", error == cudaSuccess ? "the driver shows none" : cudaGetErrorString(error));
}

static Status parse_ordinal(const char *index, int n, int *ordinal)
{
    char *end;
    const long value = strtol(index, &end, 10);

    if (*index < '0' || *index > '9' || *end != '\0')
        return FAIL(LT_E_USAGE, "device 'cuda:%s': expected cuda:N with the number of a GPU", index);
    if (value >= n)
        return FAIL(LT_E_DEVICE, "device 'cuda:%s': this machine shows %d GPU%s, numbered from 0", index, n, n == 1 ? "" : "s");
    *ordinal = (int)value;
    return LT_OK;
}

/* The GPU with most free memory; the first of equals. One that cannot be asked (taken exclusively by somebody) is passed over. */
static Status most_free_memory(int n, int *ordinal)
{
    size_t most = 0, free_bytes, total_bytes;

    *ordinal = -1;
    for (int i = 0; i < n; i++) {
        if (cudaSetDevice(i) != cudaSuccess || cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) {
            (void)cudaGetLastError();
            continue;
        }
        if (*ordinal < 0 || free_bytes > most) {
            most = free_bytes;
            *ordinal = i;
        }
    }
    return *ordinal >= 0 ? LT_OK : FAIL(LT_E_DEVICE, "none of %d GPU%s can be used", n, n == 1 ? "" : "s");
}

static Status attribute(int *value, cudaDeviceAttr which, int ordinal)
{
    return cuda_check(cudaDeviceGetAttribute(value, which, ordinal), "device attribute");
}

static Status describe(Device *dev, CudaDevice *cuda)
{
    int major, minor, shared, driver, runtime;
    size_t free_bytes, total_bytes;
    cudaDeviceProp properties;

    TRY(attribute(&major, cudaDevAttrComputeCapabilityMajor, cuda->ordinal));
    TRY(attribute(&minor, cudaDevAttrComputeCapabilityMinor, cuda->ordinal));
    TRY(attribute(&cuda->n_sm, cudaDevAttrMultiProcessorCount, cuda->ordinal));
    TRY(attribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, cuda->ordinal));
    cuda->compute = 10 * major + minor;
    cuda->shared_max = (size_t)shared;
    if (cuda->compute < 80)
        return FAIL(LT_E_DEVICE, "GPU %d has compute capability %d.%d, expected 8.0 or newer", cuda->ordinal, major, minor);
    CUDA_TRY(cudaGetDeviceProperties(&properties, cuda->ordinal));
    CUDA_TRY(cudaMemGetInfo(&free_bytes, &total_bytes));
    CUDA_TRY(cudaDriverGetVersion(&driver));
    CUDA_TRY(cudaRuntimeGetVersion(&runtime));
    snprintf(dev->class_name, sizeof dev->class_name, "sm_%d", cuda->compute);
    snprintf(dev->description, sizeof dev->description, "%.80s, %.1f GiB, %d multiprocessors, CUDA %d.%d, driver for %d.%d", properties.name,
             (double)total_bytes / (1 << 30), cuda->n_sm, runtime / 1000, runtime % 1000 / 10, driver / 1000, driver % 1000 / 10);
    return LT_OK;
}

static Status take_resources(Device *dev, CudaDevice *cuda)
{
    CUDA_TRY(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    for (int i = 0; i < CUDA_MARKS; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&cuda->mark[i], cudaEventDefault));
    TRY(cuda_transfers_open(cuda));
    TRY(cuda_alloc(dev, CUDA_WORKSPACE, &cuda->workspace));
    cuda->workspace_bytes = CUDA_WORKSPACE;
    return blas_open(&cuda->blas);
}

Status cuda_open(Device *dev, const char *index, int n_thread)
{
    CudaDevice *cuda;
    int n = 0, ordinal = 0;
    Status st;

    (void)n_thread;
    TRY(count_devices(&n));
    TRY(index != NULL ? parse_ordinal(index, n, &ordinal) : most_free_memory(n, &ordinal));
    cuda = (CudaDevice *)mem_take(1, sizeof *cuda);
    if (cuda == NULL)
        return LT_E_NOMEM;
    cuda->ordinal = ordinal;
    dev->impl = cuda;
    TRY_GOTO(cuda_check(cudaSetDevice(ordinal), "the GPU cannot be used"), st, fail);
    TRY_GOTO(describe(dev, cuda), st, fail);
    TRY_GOTO(take_resources(dev, cuda), st, fail);
    return LT_OK;
fail:
    cuda_close(dev);
    return st;
}

/* Serves a half-open device as well. What fails here fails because the device is lost, and then there is nothing to give back. */
void cuda_close(Device *dev)
{
    CudaDevice *cuda = cuda_of(dev);

    (void)cudaSetDevice(cuda->ordinal);
    if (cuda->stream != NULL)
        (void)cudaStreamSynchronize(cuda->stream);
    solver_close(cuda->solver);
    blas_close(cuda->blas);
    (void)cudaFree(cuda->workspace);
    for (int i = 0; i < cuda->n_outgrown; i++)
        (void)cudaFree(cuda->outgrown[i]);
    cuda_transfers_close(cuda);
    for (int i = 0; i < CUDA_MARKS; i++)
        if (cuda->mark[i] != NULL)
            (void)cudaEventDestroy(cuda->mark[i]);
    if (cuda->stream != NULL)
        (void)cudaStreamDestroy(cuda->stream);
    (void)cudaGetLastError();
    mem_free(cuda);
    dev->impl = NULL;
}

/* ---- memory and time -------------------------------------------------------------------------------------------------------- */

Status cuda_alloc(Device *dev, size_t bytes, void **out)
{
    CudaDevice *cuda = cuda_of(dev);
    size_t free_bytes = 0, total_bytes = 0;
    cudaError_t error;

    TRY(cuda_may_wait(cuda, "device memory is asked for"));
    TRY(cuda_select(cuda));
    error = cudaMalloc(out, bytes > 0 ? bytes : 1); /* an empty block has an address too */
    if (error != cudaErrorMemoryAllocation)
        return cuda_check(error, "device memory");
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&free_bytes, &total_bytes);
    return FAIL(LT_E_NOMEM, "out of memory: %zu bytes asked for on the GPU, %zu of %zu are free", bytes, free_bytes, total_bytes);
}

/* Waits for the device, as cudaFree does. */
void cuda_release(Device *dev, void *block)
{
    (void)dev;
    (void)cudaFree(block);
}

Status cuda_select(const CudaDevice *cuda) { return cuda_check(cudaSetDevice(cuda->ordinal), "the GPU cannot be used"); }

Status cuda_sync(Device *dev)
{
    CudaDevice *cuda = cuda_of(dev);

    TRY(cuda_may_wait(cuda, "the device is waited for"));
    TRY(cuda_select(cuda));
    return cuda_check(cudaStreamSynchronize(cuda->stream), "device work");
}

Status cuda_memory(Device *dev, size_t *free_bytes, size_t *total_bytes)
{
    TRY(cuda_select(cuda_of(dev)));
    return cuda_check(cudaMemGetInfo(free_bytes, total_bytes), "device memory");
}

Status cuda_mark(Device *dev, int slot)
{
    CudaDevice *cuda = cuda_of(dev);

    TRY(cuda_select(cuda));
    return cuda_check(cudaEventRecord(cuda->mark[slot], cuda->stream), "mark");
}

Status cuda_elapsed(Device *dev, int from, int to, double *seconds)
{
    CudaDevice *cuda = cuda_of(dev);
    float milliseconds;

    TRY(cuda_may_wait(cuda, "a mark is waited for"));
    CUDA_TRY(cudaEventSynchronize(cuda->mark[from]));
    CUDA_TRY(cudaEventSynchronize(cuda->mark[to]));
    CUDA_TRY(cudaEventElapsedTime(&milliseconds, cuda->mark[from], cuda->mark[to]));
    *seconds = (double)milliseconds / 1000.0;
    return LT_OK;
}
