/* Correct kernels and host code for tests/test_cudasim.c, whose results it compares with the definitions. */
#include "tests/cudasim/cases.h"

#include "kernels/cuda/block.h"

/* A buffer there and back around what runs on it. */
static void *to_device(const void *host, size_t bytes)
{
    void *device;

    cudaMalloc(&device, bytes);
    cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice);
    return device;
}

static void from_device(void *host, void *device, size_t bytes)
{
    cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost);
    cudaFree(device);
}

/* ---- warp primitives ---- */

static __global__ void shuffles(int *out)
{
    const int lane = threadIdx.x;

    out[lane] = __shfl_xor_sync(FULL_WARP, lane, 5);
    out[32 + lane] = __shfl_down_sync(FULL_WARP, lane, 3);
    out[64 + lane] = __shfl_up_sync(FULL_WARP, lane, 3);
    out[96 + lane] = (int)__shfl_sync(FULL_WARP, (double)lane, 7);
    out[128 + lane] = (int)__ballot_sync(FULL_WARP, lane % 3 == 0);
    out[160 + lane] = __any_sync(FULL_WARP, lane == 31) * 2 + __all_sync(FULL_WARP, lane < 31);
}

void sim_case_shuffles(int out[192])
{
    int *device = (int *)to_device(out, 192 * sizeof *out);

    LAUNCH(shuffles, 1, 32, 0, NULL, device);
    from_device(out, device, 192 * sizeof *out);
}

/* ---- tensor cores ---- */

/* Rows of the tile are 8 elements; matrix m is rows 8 m .. 8 m + 7. */
static __global__ void load_matrices(uint32_t *out, const uint16_t *tile)
{
    SHARED(Pack16, row, 32);
    uint32_t r[4];

    row[threadIdx.x] = load16(tile + 8 * threadIdx.x);
    __syncwarp();
    ldmatrix_x4(r, &row[threadIdx.x]);
    for (int i = 0; i < 4; i++)
        out[32 * i + threadIdx.x] = r[i];
    ldmatrix_x4_trans(r, &row[threadIdx.x]);
    for (int i = 0; i < 4; i++)
        out[32 * (4 + i) + threadIdx.x] = r[i];
    ldmatrix_x2(r, &row[threadIdx.x % 16]);
    for (int i = 0; i < 2; i++)
        out[32 * (8 + i) + threadIdx.x] = r[i];
    ldmatrix_x2_trans(r, &row[threadIdx.x % 16]);
    for (int i = 0; i < 2; i++)
        out[32 * (10 + i) + threadIdx.x] = r[i];
}

void sim_case_ldmatrix(uint32_t out[12 * 32], const uint16_t tile[32 * 8])
{
    uint16_t *device_tile = (uint16_t *)to_device(tile, 32 * 8 * sizeof *tile);
    uint32_t *device = (uint32_t *)to_device(out, 12 * 32 * sizeof *out);

    LAUNCH(load_matrices, 1, 32, 0, NULL, device, device_tile);
    from_device(out, device, 12 * 32 * sizeof *out);
    cudaFree(device_tile);
}

/* The fragments are put together by hand, as port.h documents them. */
template <typename T> static __global__ void multiply(float *d, const float *a, const float *b)
{
    const int g = threadIdx.x / 4, t = 2 * (threadIdx.x % 4);
    uint32_t fa[4], fb[2];
    float fd[4];
    T low, high;

    for (int i = 0; i < 4; i++) {
        from_f32(&low, a[(g + 8 * (i % 2)) * 16 + t + 8 * (i / 2)]);
        from_f32(&high, a[(g + 8 * (i % 2)) * 16 + t + 8 * (i / 2) + 1]);
        fa[i] = low.bits | (uint32_t)high.bits << 16;
        fd[i] = d[(g + 8 * (i / 2)) * 8 + t + i % 2];
    }
    for (int i = 0; i < 2; i++) {
        from_f32(&low, b[(t + 8 * i) * 8 + g]);
        from_f32(&high, b[(t + 8 * i + 1) * 8 + g]);
        fb[i] = low.bits | (uint32_t)high.bits << 16;
    }
    mma_16816(fd, fa, fb, T());
    for (int i = 0; i < 4; i++)
        d[(g + 8 * (i / 2)) * 8 + t + i % 2] = fd[i];
}

void sim_case_mma(float d[16 * 8], const float a[16 * 16], const float b[16 * 8], int half)
{
    float *device_d = (float *)to_device(d, 16 * 8 * sizeof *d), *device_a = (float *)to_device(a, 16 * 16 * sizeof *a),
          *device_b = (float *)to_device(b, 16 * 8 * sizeof *b);

    LAUNCH(half ? multiply<Half> : multiply<Bf16>, 1, 32, 0, NULL, device_d, device_a, device_b);
    from_device(d, device_d, 16 * 8 * sizeof *d);
    cudaFree(device_a);
    cudaFree(device_b);
}

/* ---- asynchronous copies ---- */

static __global__ void copy_async(float *out, const float *in)
{
    SHARED(Pack16, line, 3);
    const float *const got = (const float *)line;

    cp_async_16(&line[0], in, true);
    cp_async_commit();
    cp_async_16(&line[1], in + 4, true);
    cp_async_commit();
    cp_async_16(&line[2], in + 8, false);
    out[0] = got[0];
    cp_async_wait<1>();
    out[1] = got[0];
    out[2] = got[4];
    cp_async_wait<0>();
    out[3] = got[4];
    out[4] = got[8];
    cp_async_commit();
    cp_async_wait<0>();
    out[5] = got[8];
}

void sim_case_copy_async(float out[6], const float in[12])
{
    float *device = (float *)to_device(out, 6 * sizeof *out), *device_in = (float *)to_device(in, 12 * sizeof *in);

    LAUNCH(copy_async, 1, 1, 0, NULL, device, device_in);
    from_device(out, device, 6 * sizeof *out);
    cudaFree(device_in);
}

/* ---- shared memory and launches ---- */

static __global__ void read_fresh(uint32_t *out)
{
    SHARED(uint32_t, line, 1);
    SHARED_DYN(uint32_t, dynamic);

    if (out != NULL) {
        out[2 * blockIdx.x] = line[0];
        out[2 * blockIdx.x + 1] = dynamic[0];
    }
    line[0] = dynamic[0] = 0;
}

void sim_case_fresh(uint32_t out[5])
{
    uint32_t *device;

    cudaMalloc(&device, 5 * sizeof *out);
    LAUNCH(read_fresh, 2, 1, 16, NULL, device);
    from_device(out, device, 5 * sizeof *out);
}

static int launch_error(dim3 grid, dim3 block, size_t smem)
{
    cudaGetLastError(); /* what earlier calls left */
    LAUNCH(read_fresh, grid, block, smem, NULL, NULL);
    return (int)cudaGetLastError();
}

void sim_case_limits(int out[8])
{
    out[0] = launch_error(1, 1, (48 << 10) - 16);
    out[1] = launch_error(1, 1, (48 << 10) + 1);
    out[2] = (int)cudaFuncSetAttribute(read_fresh, cudaFuncAttributeMaxDynamicSharedMemorySize, (227 << 10) + 1);
    out[3] = (int)cudaFuncSetAttribute(read_fresh, cudaFuncAttributeMaxDynamicSharedMemorySize, 226 << 10);
    out[4] = launch_error(1, 1, 226 << 10);
    out[5] = launch_error(1, 1025, 16);
    out[6] = launch_error(dim3(1, 65536), 1, 16);
    out[7] = launch_error(0, 1, 16);
    cudaFuncSetAttribute(read_fresh, cudaFuncAttributeMaxDynamicSharedMemorySize, 48 << 10);
    cudaDeviceSynchronize();
}

/* ---- streams and graphs ---- */

static __global__ void add(int *x, int n) { *x += n; }

void sim_case_stream(int out[3])
{
    cudaStream_t stream;
    int *device, *pinned;

    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaMalloc(&device, sizeof *device);
    cudaMallocHost(&pinned, sizeof *pinned);
    cudaMemsetAsync(device, 0, sizeof *device, stream);
    LAUNCH(add, 1, 1, 0, stream, device, 7);
    cudaMemcpyAsync(pinned, device, sizeof *device, cudaMemcpyDeviceToHost, stream);
    out[0] = *pinned;
    out[1] = (int)cudaStreamQuery(stream);
    cudaStreamSynchronize(stream);
    out[2] = *pinned;
    cudaFree(device);
    cudaFreeHost(pinned);
    cudaStreamDestroy(stream);
}

static cudaGraph_t record(cudaStream_t stream, int *device, int n, int n_add)
{
    cudaGraph_t graph;

    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    for (int i = 0; i < n_add; i++)
        LAUNCH(add, 1, 1, 0, stream, device, n);
    cudaStreamEndCapture(stream, &graph);
    return graph;
}

void sim_case_graph(int out[6])
{
    int zero = 0, *device = (int *)to_device(&zero, sizeof zero);
    cudaGraphExecUpdateResultInfo info;
    cudaGraphExec_t exec;
    cudaGraph_t graph, once;
    cudaStream_t stream;

    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    graph = record(stream, device, 1, 2);
    cudaMemcpy(&out[0], device, sizeof zero, cudaMemcpyDeviceToHost);
    cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    cudaGraphLaunch(exec, stream);
    cudaGraphLaunch(exec, stream);
    cudaStreamSynchronize(stream);
    cudaMemcpy(&out[1], device, sizeof zero, cudaMemcpyDeviceToHost);

    graph = record(stream, device, 10, 2);
    out[2] = (int)cudaGraphExecUpdate(exec, graph, &info);
    cudaGraphDestroy(graph);
    once = record(stream, device, 10, 1);
    out[3] = (int)cudaGraphExecUpdate(exec, once, &info);
    cudaGraphDestroy(once);
    cudaGraphLaunch(exec, stream);
    cudaStreamSynchronize(stream);
    cudaMemcpy(&out[4], device, sizeof zero, cudaMemcpyDeviceToHost);

    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaStreamSynchronize(stream);
    out[5] = (int)cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
    cudaFree(device);
}
