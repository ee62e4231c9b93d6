/* Private to kernels/cuda: the CUDA device, its checks and its workspace. Slots are declared in slots.h. */
#ifndef LETHE_KERNELS_CUDA_CUDA_H
#define LETHE_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/port.h"
#include "kernels/cuda/slots.h"

enum { CUDA_MARKS = 8, CUDA_SLICES = 16, CUDA_SLICE_BYTES = 1 << 20, CUDA_OUTGROWN = 24 };

typedef struct CudaDevice {
    int ordinal;
    int compute;           /* 90 for sm_90 */
    int n_sm;              /* multiprocessors */
    size_t shared_max;     /* bytes of shared memory that one block may ask for */
    cudaStream_t stream;   /* every op of the device runs here, in order */
    cudaEvent_t mark[CUDA_MARKS];
    void *staging;         /* pinned host memory for transfers, a ring of CUDA_SLICES slices: transfer.h */
    cudaEvent_t slice_done[CUDA_SLICES];
    int next_slice;
    void *workspace;       /* see cuda_workspace */
    size_t workspace_bytes;
    void *outgrown[CUDA_OUTGROWN]; /* earlier workspaces: ops that run, and recordings, still write there */
    int n_outgrown;
    bool capturing;        /* a graph is being recorded: nothing may wait, allocate or copy from pageable memory */
    struct CudaBlas *blas;       /* cuBLASLt, kernels/cuda/blas.h */
    struct CudaSolver *solver;   /* cuSOLVER and cuBLAS, kernels/cuda/solver.h; opened by its first use */
} CudaDevice;

static inline CudaDevice *cuda_of(const Device *dev) { return (CudaDevice *)dev->impl; }

/* LT_E_DEVICE (LT_E_NOMEM for memory) with CUDA's own words where `error` is one. */
Status cuda_check(cudaError_t error, const char *what);
#define CUDA_TRY(call) TRY(cuda_check((call), #call))

/* After a LAUNCH: what the launch itself refused. op: the name for the message. */
Status cuda_launched(const char *op);
/* Lets `kernel` have `bytes` of dynamic shared memory; LT_E_UNSUPPORTED names op, asked and allowed where the card has less. */
Status cuda_allow_shared(Device *dev, const void *kernel, size_t bytes, const char *op);

/* Device memory for the duration of one op, 256-byte aligned: the next op's call may give the same block. Taken at open (CUDA_WORKSPACE bytes) and grown
 * on demand, at least to twice its size; while a graph is recorded growing is LT_E_FAIL, so run the op once before. Its contents are undefined. */
enum { CUDA_WORKSPACE = 32 << 20 };
Status cuda_workspace(Device *dev, size_t bytes, void **out);

/* Blocks of `block` that cover n. */
static inline unsigned cuda_blocks(int64_t n, int64_t block) { return (unsigned)((n + block - 1) / block); }

#endif
