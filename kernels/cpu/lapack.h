/* Private to kernels/cpu: OpenBLAS and LAPACKE, opened when a device first decomposes a matrix.
 *
 * Not linked: OpenBLAS starts its threads when it is loaded, and a program that never decomposes anything should not have them (the sandbox's
 * supervisor is cloned while there is one thread). Every call has one thread: with more, its results depend on their number.
 *
 * LAPACKE's _work functions are used with column-major order only, where they do nothing but call LAPACK. A row-major matrix [m, n] is the
 * column-major matrix [n, m], its transpose, with the row stride as leading dimension: so nothing is ever copied into another order. */
#ifndef LETHE_KERNELS_CPU_LAPACK_H
#define LETHE_KERNELS_CPU_LAPACK_H

#include "kernels/cpu/cpu.h"

#include <cblas.h>
#include <lapacke.h>

typedef struct Lapack {
    void *blas_library, *lapacke_library;
    __typeof__(openblas_set_num_threads) *set_num_threads;
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(cblas_dsyrk) *dsyrk;
    __typeof__(cblas_dsymm) *dsymm;
    __typeof__(LAPACKE_dsterf_work) *dsterf;
    __typeof__(LAPACKE_dgeqrt_work) *dgeqrt;
    __typeof__(LAPACKE_sgesdd_work) *sgesdd;
    __typeof__(LAPACKE_dgesdd_work) *dgesdd;
    __typeof__(LAPACKE_sgelqf_work) *sgelqf;
    __typeof__(LAPACKE_dgelqf_work) *dgelqf;
    __typeof__(LAPACKE_sorglq_work) *sorglq;
    __typeof__(LAPACKE_dorglq_work) *dorglq;
} Lapack;

/* The device's; LT_E_DEVICE names the library or the function that is missing. */
Status lapack_of(Device *dev, const Lapack **out);
void lapack_close(Lapack *lapack);

/* Sizes as LAPACK takes them: LT_E_UNSUPPORTED where one does not fit. */
Status lapack_size(lapack_int *out, const char *op, int64_t size);
/* info after a call: 0, or what did not converge (LT_E_NUMERIC). A negative one is a mistake of ours. */
Status lapack_done(lapack_int info, const char *op, const char *function, Tensor a);

#endif
