/* The simulator's cuSOLVER: names and values as NVIDIA documents them, only what Lethe uses. Behind them stands solver.cpp. */
#ifndef CUDASIM_CUSOLVERDN_H
#define CUDASIM_CUSOLVERDN_H

#include <cublas_v2.h>

typedef enum cusolverStatus_t {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_NOT_INITIALIZED = 1,
    CUSOLVER_STATUS_ALLOC_FAILED = 2,
    CUSOLVER_STATUS_INVALID_VALUE = 3,
    CUSOLVER_STATUS_INTERNAL_ERROR = 7,
} cusolverStatus_t;

typedef enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR = 0, CUSOLVER_EIG_MODE_VECTOR = 1 } cusolverEigMode_t;

typedef struct cusolverDnContext *cusolverDnHandle_t;
typedef struct cusolverDnParams *cusolverDnParams_t;

extern "C" {
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params);
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params);

/* Eigenvalues of a symmetric matrix, ascending; a is destroyed. */
cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, cublasFillMode_t uplo, int64_t n,
                                             cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_w, const void *w, cudaDataType compute,
                                             size_t *device_bytes, size_t *host_bytes);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, cublasFillMode_t uplo, int64_t n,
                                  cudaDataType type_a, void *a, int64_t lda, cudaDataType type_w, void *w, cudaDataType compute, void *device_room,
                                  size_t device_bytes, void *host_room, size_t host_bytes, int *info);

/* SVD of a matrix with m >= n by QR iteration; a is destroyed. */
cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu, signed char jobvt, int64_t m, int64_t n,
                                             cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_s, const void *s, cudaDataType type_u,
                                             const void *u, int64_t ldu, cudaDataType type_vt, const void *vt, int64_t ldvt, cudaDataType compute,
                                             size_t *device_bytes, size_t *host_bytes);
cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu, signed char jobvt, int64_t m, int64_t n,
                                  cudaDataType type_a, void *a, int64_t lda, cudaDataType type_s, void *s, cudaDataType type_u, void *u, int64_t ldu,
                                  cudaDataType type_vt, void *vt, int64_t ldvt, cudaDataType compute, void *device_room, size_t device_bytes,
                                  void *host_room, size_t host_bytes, int *info);

/* SVD by polar decomposition: v, not its transpose. Shifts the values by *error where one is near zero. */
cusolverStatus_t cusolverDnXgesvdp_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, int econ, int64_t m, int64_t n,
                                              cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_s, const void *s, cudaDataType type_u,
                                              const void *u, int64_t ldu, cudaDataType type_v, const void *v, int64_t ldv, cudaDataType compute,
                                              size_t *device_bytes, size_t *host_bytes);
cusolverStatus_t cusolverDnXgesvdp(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, int econ, int64_t m, int64_t n,
                                   cudaDataType type_a, void *a, int64_t lda, cudaDataType type_s, void *s, cudaDataType type_u, void *u, int64_t ldu,
                                   cudaDataType type_v, void *v, int64_t ldv, cudaDataType compute, void *device_room, size_t device_bytes,
                                   void *host_room, size_t host_bytes, int *info, double *error);

/* QR: reflections below r; then the first k of them multiplied out to m rows and n columns of q. */
cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n, cudaDataType type_a, const void *a,
                                             int64_t lda, cudaDataType type_tau, const void *tau, cudaDataType compute, size_t *device_bytes,
                                             size_t *host_bytes);
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n, cudaDataType type_a, void *a, int64_t lda,
                                  cudaDataType type_tau, void *tau, cudaDataType compute, void *device_room, size_t device_bytes, void *host_room,
                                  size_t host_bytes, int *info);
cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const float *a, int lda, const float *tau, int *elements);
cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda, const float *tau, float *room, int elements, int *info);
cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const double *a, int lda, const double *tau, int *elements);
cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a, int lda, const double *tau, double *room, int elements,
                                  int *info);
}

#endif
