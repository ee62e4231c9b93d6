/* cuSOLVER's QR. */
#include "tests/cudasim/solver.h"

#include <lapacke.h>

#include <cstdlib>

static SolverCall qr_call(int64_t m, int64_t n, cudaDataType type_a, const void *a, int64_t lda, cudaDataType type)
{
    SolverCall c = {};

    c.type = type;
    c.m = m;
    c.n = n;
    c.a = solver_matrix(a, type_a, m, n, lda);
    return c;
}

/* The reflections overwrite the matrix, their factors are the call's values. */
static void run_geqrf(const void *args)
{
    const SolverCall *c = (const SolverCall *)args;
    const int m = (int)c->m, n = (int)c->n;
    double *a, *tau = solver_doubles(n);

    solver_begin(c);
    a = solver_read(c->a);
    *c->info = LAPACKE_dgeqrf(LAPACK_COL_MAJOR, m, n, a, m, tau);
    solver_write(c->a, a);
    for (int i = 0; i < n; i++)
        solver_set(c->values, c->type, i, tau[i]);
    free(a);
    free(tau);
}

static void run_orgqr(const void *args)
{
    const SolverCall *c = (const SolverCall *)args;
    const int m = (int)c->m, n = (int)c->n;
    double *a, *tau;

    solver_begin(c);
    a = solver_read(c->a);
    tau = solver_read(solver_matrix(c->values, c->type, n, 1, n));
    *c->info = LAPACKE_dorgqr(LAPACK_COL_MAJOR, m, n, n, a, m, tau);
    solver_write(c->a, a);
    free(a);
    free(tau);
}

cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n, cudaDataType type_a, const void *a,
                                             int64_t lda, cudaDataType type_tau, const void *tau, cudaDataType compute, size_t *device_bytes,
                                             size_t *host_bytes)
{
    (void)tau;
    if (type_tau != compute)
        return CUSOLVER_STATUS_INVALID_VALUE;
    return solver_answer(handle, params, qr_call(m, n, type_a, a, lda, compute), device_bytes, host_bytes);
}

cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n, cudaDataType type_a, void *a, int64_t lda,
                                  cudaDataType type_tau, void *tau, cudaDataType compute, void *device_room, size_t device_bytes, void *host_room,
                                  size_t host_bytes, int *info)
{
    SolverCall c = qr_call(m, n, type_a, a, lda, compute);

    if (type_tau != compute)
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.values = tau;
    c.room = device_room;
    c.room_bytes = device_bytes;
    c.host = host_room;
    c.host_bytes = host_bytes;
    c.info = info;
    return solver_enqueue(handle, params, c, "cusolverDnXgeqrf", run_geqrf);
}

/* Only q of a's own shape is made. */
static cusolverStatus_t orgqr_size(cusolverDnHandle_t handle, int m, int n, int k, const void *a, int lda, cudaDataType type, int *elements)
{
    SolverCall c = qr_call(m, n, type, a, lda, type);
    size_t device_bytes, host_bytes;
    cusolverStatus_t status;

    if (k != n)
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.old = true;
    status = solver_answer(handle, NULL, c, &device_bytes, &host_bytes);
    *elements = (int)(device_bytes / sim_type_bytes(type));
    return status;
}

static cusolverStatus_t orgqr(cusolverDnHandle_t handle, int m, int n, int k, void *a, int lda, const void *tau, cudaDataType type, void *room,
                              int elements, int *info)
{
    SolverCall c = qr_call(m, n, type, a, lda, type);

    if (k != n)
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.old = true;
    c.values = (void *)tau;
    c.room = room;
    c.room_bytes = (size_t)elements * sim_type_bytes(type);
    c.info = info;
    return solver_enqueue(handle, NULL, c, "cusolverDn<t>orgqr", run_orgqr);
}

cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const float *a, int lda, const float *tau, int *elements)
{
    (void)tau;
    return orgqr_size(handle, m, n, k, a, lda, CUDA_R_32F, elements);
}

cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda, const float *tau, float *room, int elements, int *info)
{
    return orgqr(handle, m, n, k, a, lda, tau, CUDA_R_32F, room, elements, info);
}

cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const double *a, int lda, const double *tau, int *elements)
{
    (void)tau;
    return orgqr_size(handle, m, n, k, a, lda, CUDA_R_64F, elements);
}

cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a, int lda, const double *tau, double *room, int elements,
                                  int *info)
{
    return orgqr(handle, m, n, k, a, lda, tau, CUDA_R_64F, room, elements, info);
}
