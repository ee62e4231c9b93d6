/* Private to kernels/cuda: cuSOLVER and cuBLAS for decompositions, opened when a device first decomposes a matrix. */
#ifndef LETHE_KERNELS_CUDA_SOLVER_H
#define LETHE_KERNELS_CUDA_SOLVER_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"

struct CudaSolver {
    Cusolver lib;
    Cublas blas;
    cusolverDnHandle_t handle;
    cusolverDnParams_t params;
    cublasHandle_t blas_handle;
};

/* The device's, on its stream. LT_E_DEVICE where a library is missing; LT_E_FAIL while a graph is recorded, since every decomposition waits. */
Status solver_of(Device *dev, struct CudaSolver **out);
void solver_close(struct CudaSolver *solver);

/* what: the call, for the message. */
Status solver_check(cusolverStatus_t status, const char *what);
#define SOLVER_TRY(what, call) TRY(solver_check((call), (what)))

#endif
