/* The card and its errors, and what a launch may ask for. */
#include "tests/cudasim/sim.h"

#include "kernels/cuda/port.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- errors ---- */

static thread_local cudaError_t last_error;

cudaError_t sim_error(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

cudaError_t cudaPeekAtLastError(void) { return last_error; }

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

typedef struct ErrorText {
    cudaError_t error;
    const char *name, *text;
} ErrorText;

static const ErrorText ERRORS[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
     "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update"},
};

static const ErrorText *find_error(cudaError_t error)
{
    static const ErrorText UNKNOWN = {cudaErrorInvalidValue, "unrecognized error code", "unrecognized error code"};

    for (const ErrorText &e : ERRORS)
        if (e.error == error)
            return &e;
    return &UNKNOWN;
}

const char *cudaGetErrorString(cudaError_t error) { return find_error(error)->text; }
const char *cudaGetErrorName(cudaError_t error) { return find_error(error)->name; }

/* ---- the card ---- */

static thread_local int device_of_thread;

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = SIM_N_DEVICE;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= SIM_N_DEVICE)
        return sim_error(cudaErrorInvalidDevice);
    device_of_thread = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = device_of_thread;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    size_t free_bytes;

    if (device < 0 || device >= SIM_N_DEVICE)
        return sim_error(cudaErrorInvalidDevice);
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "cudasim");
    cudaMemGetInfo(&free_bytes, &prop->totalGlobalMem);
    prop->sharedMemPerBlock = SIM_SHARED_DEFAULT;
    prop->sharedMemPerBlockOptin = SIM_SHARED_OPTIN;
    prop->major = 9;
    prop->minor = 0;
    prop->multiProcessorCount = SIM_N_SM;
    prop->warpSize = SIM_WARP;
    prop->maxThreadsPerBlock = SIM_MAX_THREADS;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
    if (device < 0 || device >= SIM_N_DEVICE)
        return sim_error(cudaErrorInvalidDevice);
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = SIM_MAX_THREADS;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = SIM_SHARED_DEFAULT;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *value = SIM_N_SM;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = SIM_SHARED_OPTIN;
        return cudaSuccess;
    }
    return sim_error(cudaErrorInvalidValue);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) { return cudaRuntimeGetVersion(version); }

/* ---- launches ---- */

typedef struct Allowance {
    struct Allowance *next;
    const void *kernel;
    size_t bytes;
} Allowance;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Allowance *allowances;

/* Bytes of dynamic shared memory that this kernel may ask for. */
static size_t shared_allowed(const void *kernel)
{
    size_t bytes = SIM_SHARED_DEFAULT;

    pthread_mutex_lock(&lock);
    for (const Allowance *a = allowances; a != NULL; a = a->next)
        if (a->kernel == kernel) {
            bytes = a->bytes;
            break; /* the newest one comes first */
        }
    pthread_mutex_unlock(&lock);
    return bytes;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attr, int value)
{
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value < 0 || value > SIM_SHARED_OPTIN)
        return sim_error(cudaErrorInvalidValue);
    if (shared_allowed(kernel) == (size_t)value)
        return cudaSuccess;
    Allowance *a = (Allowance *)malloc(sizeof *a);

    if (a == NULL)
        sim_stop("cudaFuncSetAttribute: no memory");
    pthread_mutex_lock(&lock);
    *a = {allowances, kernel, (size_t)value};
    allowances = a;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

enum { MAX_BLOCK_Z = 64, MAX_GRID_Y = 65535 };

static cudaError_t check_launch(const void *kernel, dim3 grid, dim3 block, size_t smem)
{
    const uint64_t n_thread = (uint64_t)block.x * block.y * block.z;

    if (n_thread == 0 || n_thread > SIM_MAX_THREADS || block.x > SIM_MAX_THREADS || block.y > SIM_MAX_THREADS || block.z > MAX_BLOCK_Z)
        return cudaErrorInvalidConfiguration;
    if (grid.x == 0 || grid.x > INT32_MAX || grid.y == 0 || grid.y > MAX_GRID_Y || grid.z == 0 || grid.z > MAX_GRID_Y)
        return cudaErrorInvalidConfiguration;
    return smem > shared_allowed(kernel) ? cudaErrorInvalidValue : cudaSuccess;
}

typedef struct Queued {
    SimLaunch launch;
    alignas(16) char closure[SIM_MAX_PARAMETERS];
} Queued;

static void run_launch(const void *args)
{
    const Queued *queued = (const Queued *)args;
    SimLaunch launch = queued->launch;

    launch.closure = queued->closure;
    sim_run(&launch);
}

void sim_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, SimBody *body,
                const void *closure, size_t closure_bytes)
{
    Queued queued;

    if (sim_error(check_launch(kernel, grid, block, smem)) != cudaSuccess)
        return;
    if (closure_bytes > SIM_MAX_PARAMETERS)
        sim_stop("kernel %s: %zu bytes of parameters, at most %d", name, closure_bytes, SIM_MAX_PARAMETERS);
    queued.launch = {name, kernel, grid, block, smem, body, NULL, closure_bytes, SIM_SHARED_DEFAULT};
    if (shared_allowed(kernel) > SIM_SHARED_DEFAULT)
        queued.launch.shared_limit = SIM_SHARED_OPTIN;
    memcpy(queued.closure, closure, closure_bytes);
    sim_enqueue(stream, name, run_launch, &queued, offsetof(Queued, closure) + closure_bytes);
}
