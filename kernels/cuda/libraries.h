/* Private to kernels/cuda: NVIDIA's libraries as tables of the functions that we call.
 *
 * A table is filled when its library is first wanted: a program that was built with CUDA also starts, and computes on the CPU, where no library
 * and no driver is. Types and prototypes are those of the headers; tests/cudasim fills the same tables from its stand-ins.
 * An open library stays open until the program ends: it has threads and exit handlers of its own. */
#ifndef LETHE_KERNELS_CUDA_LIBRARIES_H
#define LETHE_KERNELS_CUDA_LIBRARIES_H

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cusolverDn.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "core/status.h"

/* Each list: our name of the function, the library's. */
#define CUBLASLT_FUNCTIONS(X)                                                                                                              \
    X(create, cublasLtCreate)                                                                                                              \
    X(destroy, cublasLtDestroy)                                                                                                            \
    X(desc_create, cublasLtMatmulDescCreate)                                                                                               \
    X(desc_destroy, cublasLtMatmulDescDestroy)                                                                                             \
    X(desc_set, cublasLtMatmulDescSetAttribute)                                                                                            \
    X(layout_create, cublasLtMatrixLayoutCreate)                                                                                           \
    X(layout_destroy, cublasLtMatrixLayoutDestroy)                                                                                         \
    X(preference_create, cublasLtMatmulPreferenceCreate)                                                                                   \
    X(preference_destroy, cublasLtMatmulPreferenceDestroy)                                                                                 \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute)                                                                                \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic)                                                                                           \
    X(algo_get, cublasLtMatmulAlgoConfigGetAttribute)                                                                                      \
    X(matmul, cublasLtMatmul)

/* F64 only: Gram matrices. */
#define CUBLAS_FUNCTIONS(X)                                                                                                                \
    X(create, cublasCreate_v2)                                                                                                             \
    X(destroy, cublasDestroy_v2)                                                                                                           \
    X(set_stream, cublasSetStream_v2)                                                                                                      \
    X(set_workspace, cublasSetWorkspace_v2)                                                                                                \
    X(dgemm, cublasDgemm_v2)                                                                                                               \
    X(dsyrk, cublasDsyrk_v2)

/* _size: how much room the call wants. */
#define CUSOLVER_FUNCTIONS(X)                                                                                                              \
    X(create, cusolverDnCreate)                                                                                                            \
    X(destroy, cusolverDnDestroy)                                                                                                          \
    X(set_stream, cusolverDnSetStream)                                                                                                     \
    X(create_params, cusolverDnCreateParams)                                                                                               \
    X(destroy_params, cusolverDnDestroyParams)                                                                                             \
    X(syevd_size, cusolverDnXsyevd_bufferSize)                                                                                             \
    X(syevd, cusolverDnXsyevd)                                                                                                             \
    X(gesvd_size, cusolverDnXgesvd_bufferSize)                                                                                             \
    X(gesvd, cusolverDnXgesvd)                                                                                                             \
    X(gesvdp_size, cusolverDnXgesvdp_bufferSize)                                                                                           \
    X(gesvdp, cusolverDnXgesvdp)                                                                                                           \
    X(geqrf_size, cusolverDnXgeqrf_bufferSize)                                                                                             \
    X(geqrf, cusolverDnXgeqrf)                                                                                                             \
    X(sorgqr_size, cusolverDnSorgqr_bufferSize)                                                                                            \
    X(sorgqr, cusolverDnSorgqr)                                                                                                            \
    X(dorgqr_size, cusolverDnDorgqr_bufferSize)                                                                                            \
    X(dorgqr, cusolverDnDorgqr)

#define LIBRARY_FUNCTION(ours, theirs) __typeof__(theirs) *ours;
typedef struct Cublaslt {
    CUBLASLT_FUNCTIONS(LIBRARY_FUNCTION)
} Cublaslt;
typedef struct Cublas {
    CUBLAS_FUNCTIONS(LIBRARY_FUNCTION)
} Cublas;
typedef struct Cusolver {
    CUSOLVER_FUNCTIONS(LIBRARY_FUNCTION)
} Cusolver;

/* LT_E_DEVICE, with the files that were looked for or the function that is not there. */
Status library_cublaslt(Cublaslt *out);
Status library_cublas(Cublas *out);
Status library_cusolver(Cusolver *out);

#ifdef __cplusplus
}
#endif

#endif
