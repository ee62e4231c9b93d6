/* Private to kernels/cuda: matrix products by cuBLASLt, with the algorithm settled before the first product of a kind. */
#ifndef LETHE_KERNELS_CUDA_BLAS_H
#define LETHE_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"

/* cuBLASLt counts columns first: our row-major C[m,n] = op(A) op(B) is its column-major Ct[n,m] = op(B)t op(A)t, over the same memory. */
struct CudaBlas {
    Cublaslt lt;
    cublasLtHandle_t handle;
    struct BlasPlan *plan; /* BLAS_PLANS of them */
    int n_plan, oldest;    /* once all are taken, the oldest makes room */
};
enum { BLAS_PLANS = 256 };

/* Opened with the device: without cuBLASLt no model runs. close takes a half-open one and NULL. */
Status blas_open(struct CudaBlas **out);
void blas_close(struct CudaBlas *blas);

/* g as a slot gets it, with a bias only in c's dtype, at a multiple of 16 bytes, and none for F64. workspace: the bytes that `reserve`
 * bytes leave free at its front. */
Status blas_gemm(Device *dev, const GemmArgs *g, const void *bias, size_t reserve);

#endif
