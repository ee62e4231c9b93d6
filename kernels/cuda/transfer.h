/* Private to kernels/cuda: transfers between host and device through pinned memory, and when a device may be waited for.
 *
 * The pinned memory is a ring of slices. A transfer takes the next slices in turn; an event a slice tells when the device is done with it. So an
 * upload returns as soon as its data lie in the ring, without waiting for the work in front of it, until the ring has gone round. */
#ifndef LETHE_KERNELS_CUDA_TRANSFER_H
#define LETHE_KERNELS_CUDA_TRANSFER_H

#include "kernels/cuda/cuda.h"

/* The ring of `cuda`, whose stream is there; close serves a ring that was never opened. */
Status cuda_transfers_open(CudaDevice *cuda);
void cuda_transfers_close(CudaDevice *cuda);

/* LT_E_FAIL while a graph is recorded: waiting, allocating and copying from pageable memory would break it. */
Status cuda_may_wait(const CudaDevice *cuda, const char *what);

/* Makes the GPU the calling thread's. CUDA keeps this per thread; a thread that takes a device over begins with a transfer or an allocation, so
 * these select, and the ops do not. */
Status cuda_select(const CudaDevice *cuda);

#endif
