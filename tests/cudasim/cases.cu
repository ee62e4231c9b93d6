/* Kernels for tests/test_cudasim.c. */
#include "tests/cudasim/cases.h"

#include "kernels/cuda/block.h"

#include <stdlib.h>

/* ---- the warp primitives against their definitions ---- */

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
    int *device;

    cudaMalloc(&device, 192 * sizeof *device);
    LAUNCH(shuffles, 1, 32, 0, NULL, device);
    cudaMemcpy(out, device, 192 * sizeof *device, cudaMemcpyDeviceToHost);
    cudaFree(device);
}
