/* Kernels and host code with one planted mistake each, for tests/test_cudasim.c: the simulator has to stop the program. */
#include "tests/cudasim/cases.h"

#include "kernels/cuda/block.h"

#include <stdlib.h>

/* ---- order ---- */

static __global__ void missing_barrier(int *out)
{
    SHARED(int, line, 64);

    line[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = line[63 - threadIdx.x];
}

static __global__ void missing_syncwarp(int *out)
{
    SHARED(int, line, 32);

    line[threadIdx.x] = threadIdx.x;
    __shfl_sync(FULL_WARP, 0, 0);
    out[threadIdx.x] = line[31 - threadIdx.x];
}

static __global__ void blocks_meet(int *out) { out[0] = blockIdx.x; }

static __global__ void last_thread_wins(int *out) { out[threadIdx.x / 2] = threadIdx.x; }

/* ---- threads that do not meet ---- */

static __global__ void barrier_without_one(int *out)
{
    if (threadIdx.x == 5)
        return;
    __syncthreads();
    out[threadIdx.x] = 0;
}

static __global__ void two_barriers(int *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 0;
}

static __global__ void half_a_warp(int *out)
{
    if (threadIdx.x < 16)
        out[threadIdx.x] = __shfl_sync(FULL_WARP, threadIdx.x, 0);
    __syncthreads();
}

static __global__ void two_shuffles(int *out)
{
    if (threadIdx.x % 2)
        out[threadIdx.x] = __shfl_sync(FULL_WARP, threadIdx.x, 0);
    else
        out[threadIdx.x] = __shfl_xor_sync(FULL_WARP, threadIdx.x, 2);
}

static __global__ void narrow_mask(int *out) { out[threadIdx.x] = __shfl_sync(0xffffu, threadIdx.x, 0); }

/* ---- memory ---- */

static __global__ void shared_overrun(int *out)
{
    SHARED(int, line, 32);

    line[threadIdx.x + 1] = 1;
    out[threadIdx.x] = 0;
}

static __global__ void shared_underrun(int *out)
{
    SHARED(int, line, 32);

    line[(int)threadIdx.x - 1] = 1;
    out[threadIdx.x] = 0;
}

static __global__ void dynamic_overrun(int *out)
{
    SHARED_DYN(int, line);

    out[threadIdx.x] = line[threadIdx.x];
}

static __global__ void device_overrun(int *out) { out[threadIdx.x + 64] = 1; }

static __global__ void too_many_arrays(int *out)
{
    SHARED(int, half, 6144);
    SHARED(int, other, 6145);

    half[0] = other[0] = 0;
    out[threadIdx.x] = 0;
}

static __global__ void write_one(int *out) { *out = 1; }

/* ---- alignment ---- */

static __global__ void load16_odd(int *out) { out[threadIdx.x] = (int)load16(out + 2).word[0]; }

static __global__ void load16_by_chance(int *out)
{
    SHARED(int, line, 32);

    line[threadIdx.x] = 1;
    out[threadIdx.x] = (int)load16(line).word[0];
}

static __global__ void copy_odd(int *out)
{
    SHARED(Pack16, line, 4);

    cp_async_16((char *)line + 8, out, true);
    cp_async_commit();
    cp_async_wait<0>();
}

static __global__ void copy_from_odd(int *out)
{
    SHARED(Pack16, line, 4);

    cp_async_8(line, out + 1, true);
    cp_async_commit();
    cp_async_wait<0>();
}

static __global__ void ldmatrix_odd(int *out)
{
    SHARED(Pack16, tile, 40);
    uint32_t r[4];

    ldmatrix_x4(r, (char *)tile + 16 * threadIdx.x + 2);
    out[threadIdx.x] = (int)r[0];
}

static __global__ void ldmatrix_of_device(int *out)
{
    uint32_t r[2];

    ldmatrix_x2(r, out);
    out[threadIdx.x] = (int)r[0];
}

static __global__ void copy_never_waited_for(int *out)
{
    SHARED(Pack16, line, 4);

    cp_async_16(line, out, true);
    cp_async_commit();
}

/* ---- which is which ---- */

typedef struct Kernel {
    const char *name;
    void (*kernel)(int *);
    unsigned blocks, threads;
    size_t smem;
} Kernel;

/* Each gets 64 ints of device memory. */
static const Kernel KERNELS[] = {
    {"missing barrier", missing_barrier, 1, 64, 0},
    {"missing syncwarp", missing_syncwarp, 1, 32, 0},
    {"blocks meet", blocks_meet, 2, 1, 0},
    {"last thread wins", last_thread_wins, 1, 64, 0},
    {"barrier without one", barrier_without_one, 1, 64, 0},
    {"two barriers", two_barriers, 1, 64, 0},
    {"half a warp", half_a_warp, 1, 32, 0},
    {"two shuffles", two_shuffles, 1, 32, 0},
    {"narrow mask", narrow_mask, 1, 32, 0},
    {"half a block", half_a_warp, 1, 16, 0},
    {"shared overrun", shared_overrun, 1, 32, 0},
    {"shared underrun", shared_underrun, 1, 32, 0},
    {"dynamic overrun", dynamic_overrun, 1, 32, 64},
    {"device overrun", device_overrun, 1, 32, 0},
    {"arrays and dynamic", missing_barrier, 1, 32, 48912},
    {"too many arrays", too_many_arrays, 1, 32, 0},
    {"load16 odd", load16_odd, 1, 1, 0},
    {"load16 by chance", load16_by_chance, 1, 1, 0},
    {"copy odd", copy_odd, 1, 1, 0},
    {"copy from odd", copy_from_odd, 1, 1, 0},
    {"ldmatrix odd", ldmatrix_odd, 1, 32, 0},
    {"ldmatrix of device", ldmatrix_of_device, 1, 32, 0},
    {"copy never waited for", copy_never_waited_for, 1, 1, 0},
};

static void launch_on_host_memory(int *)
{
    int *host = (int *)malloc(sizeof *host);

    LAUNCH(write_one, 1, 1, 0, NULL, host);
    cudaDeviceSynchronize();
    free(host);
}

static void launch_on_freed_memory(int *)
{
    int *block;

    cudaMalloc(&block, sizeof *block);
    LAUNCH(write_one, 1, 1, 0, NULL, block);
    cudaFree(block);
    LAUNCH(write_one, 1, 1, 0, NULL, block);
    cudaDeviceSynchronize();
}

static void copy_beyond(int *device)
{
    int host[65] = {0};

    cudaMemcpy(device, host, sizeof host, cudaMemcpyHostToDevice);
}

static void copy_wrong_way(int *device)
{
    int host[64] = {0};

    cudaMemcpy(device, host, sizeof host, cudaMemcpyDeviceToHost);
}

static void free_twice(int *)
{
    int *block;

    cudaMalloc(&block, sizeof *block);
    cudaFree(block);
    cudaFree(block);
}

typedef struct HostCode {
    const char *name;
    void (*run)(int *);
} HostCode;

static const HostCode HOST_CODE[] = {
    {"host memory", launch_on_host_memory}, {"freed memory", launch_on_freed_memory}, {"copy beyond", copy_beyond},
    {"copy wrong way", copy_wrong_way},     {"free twice", free_twice},
};

void sim_plant(const char *name)
{
    int *device;

    cudaMalloc(&device, 64 * sizeof *device);
    for (const Kernel &k : KERNELS)
        if (strcmp(k.name, name) == 0)
            LAUNCH(k.kernel, k.blocks, k.threads, k.smem, NULL, device);
    for (const HostCode &h : HOST_CODE)
        if (strcmp(h.name, name) == 0)
            h.run(device);
    cudaFree(device);
}
