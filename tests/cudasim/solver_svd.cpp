/* cuSOLVER's eigenvalues and singular values. */
#include "tests/cudasim/solver.h"

#include <lapacke.h>

#include <cfloat>
#include <cstdlib>

/* ---- Xsyevd ----------------------------------------------------------------------------------------------------------------- */

static void run_syevd(const void *args)
{
    const SolverCall *c = (const SolverCall *)args;
    const int n = (int)c->n;
    double *a, *values = solver_doubles(n);

    solver_begin(c);
    a = solver_read(c->a);
    *c->info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', c->uplo, n, a, n, values);
    for (int i = 0; i < n; i++)
        solver_set(c->values, c->type, i, values[i]);
    solver_write(c->a, NULL);
    free(a);
    free(values);
}

static SolverCall syevd_call(cublasFillMode_t uplo, int64_t n, cudaDataType type_a, const void *a, int64_t lda, cudaDataType compute)
{
    SolverCall c = {};

    c.type = compute;
    c.m = c.n = n;
    c.uplo = uplo == CUBLAS_FILL_MODE_LOWER ? 'L' : 'U';
    c.a = solver_matrix(a, type_a, n, n, lda);
    return c;
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, cublasFillMode_t uplo, int64_t n,
                                             cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_w, const void *w, cudaDataType compute,
                                             size_t *device_bytes, size_t *host_bytes)
{
    (void)w;
    if (jobz != CUSOLVER_EIG_MODE_NOVECTOR || type_w != compute)
        return CUSOLVER_STATUS_INVALID_VALUE;
    return solver_answer(handle, params, syevd_call(uplo, n, type_a, a, lda, compute), device_bytes, host_bytes);
}

cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, cublasFillMode_t uplo, int64_t n,
                                  cudaDataType type_a, void *a, int64_t lda, cudaDataType type_w, void *w, cudaDataType compute, void *device_room,
                                  size_t device_bytes, void *host_room, size_t host_bytes, int *info)
{
    SolverCall c = syevd_call(uplo, n, type_a, a, lda, compute);

    if (jobz != CUSOLVER_EIG_MODE_NOVECTOR || type_w != compute)
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.values = w;
    c.room = device_room;
    c.room_bytes = device_bytes;
    c.host = host_room;
    c.host_bytes = host_bytes;
    c.info = info;
    return solver_enqueue(handle, params, c, "cusolverDnXsyevd", run_syevd);
}

/* ---- Xgesvd, Xgesvdp -------------------------------------------------------------------------------------------------------- */

/* Near zero the real Xgesvdp adds to the values and says how much. */
static double shift_of(const SolverCall *c, const double *values)
{
    const double eps = c->type == CUDA_R_32F ? (double)FLT_EPSILON : DBL_EPSILON;

    return c->shifts && values[c->n - 1] <= eps * (double)c->m * values[0] ? 1e-6 * (1 + values[0]) : 0;
}

static void run_svd(const void *args)
{
    const SolverCall *c = (const SolverCall *)args;
    const int m = (int)c->m, n = (int)c->n;
    double *a, *values = solver_doubles(n), *u = solver_doubles(c->m * c->n), *vt = solver_doubles(c->n * c->n), shift;

    solver_begin(c);
    a = solver_read(c->a);
    *c->info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', m, n, a, m, values, u, m, vt, n);
    shift = shift_of(c, values);
    for (int i = 0; i < n; i++)
        solver_set(c->values, c->type, i, values[i] + shift);
    if (c->error != NULL)
        *c->error = shift;
    solver_write(c->a, NULL);
    if (c->u.data != NULL) {
        solver_write(c->u, u);
        for (int i = 0; i < n && !c->v_transposed; i++)
            for (int j = 0; j < i; j++) {
                const double kept = vt[i * n + j];

                vt[i * n + j] = vt[j * n + i];
                vt[j * n + i] = kept;
            }
        solver_write(c->v, vt);
    }
    free(a);
    free(values);
    free(u);
    free(vt);
}

static SolverCall svd_call(int64_t m, int64_t n, cudaDataType type_a, const void *a, int64_t lda, cudaDataType compute)
{
    SolverCall c = {};

    c.type = compute;
    c.m = m;
    c.n = n;
    c.a = solver_matrix(a, type_a, m, n, lda);
    return c;
}

/* 'N' or 'S' for both; the matrices of vectors only with 'S'. */
static bool take_job(SolverCall *c, signed char jobu, signed char jobvt, const SimMatrix &u, const SimMatrix &vt)
{
    if (jobu != jobvt || (jobu != 'N' && jobu != 'S'))
        return false;
    if (jobu == 'S') {
        c->u = u;
        c->v = vt;
    }
    c->v_transposed = true;
    return jobu == 'N' || (u.data != NULL && vt.data != NULL);
}

cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu, signed char jobvt, int64_t m, int64_t n,
                                             cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_s, const void *s, cudaDataType type_u,
                                             const void *u, int64_t ldu, cudaDataType type_vt, const void *vt, int64_t ldvt, cudaDataType compute,
                                             size_t *device_bytes, size_t *host_bytes)
{
    SolverCall c = svd_call(m, n, type_a, a, lda, compute);

    (void)s;
    if (type_s != compute || !take_job(&c, jobu, jobvt, solver_matrix(u, type_u, m, n, ldu), solver_matrix(vt, type_vt, n, n, ldvt)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    return solver_answer(handle, params, c, device_bytes, host_bytes);
}

cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu, signed char jobvt, int64_t m, int64_t n,
                                  cudaDataType type_a, void *a, int64_t lda, cudaDataType type_s, void *s, cudaDataType type_u, void *u, int64_t ldu,
                                  cudaDataType type_vt, void *vt, int64_t ldvt, cudaDataType compute, void *device_room, size_t device_bytes,
                                  void *host_room, size_t host_bytes, int *info)
{
    SolverCall c = svd_call(m, n, type_a, a, lda, compute);

    if (type_s != compute || !take_job(&c, jobu, jobvt, solver_matrix(u, type_u, m, n, ldu), solver_matrix(vt, type_vt, n, n, ldvt)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.values = s;
    c.room = device_room;
    c.room_bytes = device_bytes;
    c.host = host_room;
    c.host_bytes = host_bytes;
    c.info = info;
    return solver_enqueue(handle, params, c, "cusolverDnXgesvd", run_svd);
}

cusolverStatus_t cusolverDnXgesvdp_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, int econ, int64_t m, int64_t n,
                                              cudaDataType type_a, const void *a, int64_t lda, cudaDataType type_s, const void *s, cudaDataType type_u,
                                              const void *u, int64_t ldu, cudaDataType type_v, const void *v, int64_t ldv, cudaDataType compute,
                                              size_t *device_bytes, size_t *host_bytes)
{
    SolverCall c = svd_call(m, n, type_a, a, lda, compute);

    (void)s;
    c.u = solver_matrix(u, type_u, m, n, ldu);
    c.v = solver_matrix(v, type_v, n, n, ldv);
    if (jobz != CUSOLVER_EIG_MODE_VECTOR || econ != 1 || type_s != compute)
        return CUSOLVER_STATUS_INVALID_VALUE;
    return solver_answer(handle, params, c, device_bytes, host_bytes);
}

cusolverStatus_t cusolverDnXgesvdp(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz, int econ, int64_t m, int64_t n,
                                   cudaDataType type_a, void *a, int64_t lda, cudaDataType type_s, void *s, cudaDataType type_u, void *u, int64_t ldu,
                                   cudaDataType type_v, void *v, int64_t ldv, cudaDataType compute, void *device_room, size_t device_bytes,
                                   void *host_room, size_t host_bytes, int *info, double *error)
{
    SolverCall c = svd_call(m, n, type_a, a, lda, compute);

    c.u = solver_matrix(u, type_u, m, n, ldu);
    c.v = solver_matrix(v, type_v, n, n, ldv);
    if (jobz != CUSOLVER_EIG_MODE_VECTOR || econ != 1 || type_s != compute || u == NULL || v == NULL)
        return CUSOLVER_STATUS_INVALID_VALUE;
    c.values = s;
    c.room = device_room;
    c.room_bytes = device_bytes;
    c.host = host_room;
    c.host_bytes = host_bytes;
    c.info = info;
    c.shifts = true;
    c.error = error;
    return solver_enqueue(handle, params, c, "cusolverDnXgesvdp", run_svd);
}
