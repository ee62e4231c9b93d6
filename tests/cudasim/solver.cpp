/* The stand-in for cuSOLVER: LAPACK at work in the queue of the handle's stream (solver_svd.cpp, solver_qr.cpp). It asks for room on both sides and writes
 * over all of it, destroys what the real calls destroy, and touches a matrix only inside its columns. */
#include "tests/cudasim/solver.h"

#include <cblas.h>

#include <cstdlib>
#include <cstring>

struct cusolverDnContext {
    cudaStream_t stream;
};
struct cusolverDnParams {
    int unused;
};

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle)
{
    openblas_set_num_threads(1);
    *handle = (cusolverDnHandle_t)calloc(1, sizeof **handle);
    return *handle != NULL ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle)
{
    free(handle);
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    if (handle == NULL)
        return CUSOLVER_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params)
{
    *params = (cusolverDnParams_t)calloc(1, sizeof **params);
    return *params != NULL ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params)
{
    free(params);
    return CUSOLVER_STATUS_SUCCESS;
}

/* ---- checks that the calls share -------------------------------------------------------------------------------------------- */

SimMatrix solver_matrix(const void *data, cudaDataType type, int64_t rows, int64_t cols, int64_t ld)
{
    return SimMatrix{data, type, (uint64_t)rows, (uint64_t)cols, ld};
}

/* A matrix that is left out (data NULL) fits. */
static bool fits(const SimMatrix &m, cudaDataType type)
{
    return m.data == NULL || (m.type == type && m.ld >= 1 && (uint64_t)m.ld >= m.rows && (uintptr_t)m.data % sim_type_bytes(type) == 0);
}

/* An odd number of elements more than the matrix has: nobody guesses it. */
static size_t room_for(int64_t m, int64_t n, cudaDataType type) { return (size_t)(m * n + 3 * m + 77) * sim_type_bytes(type); }
static size_t host_room_for(int64_t n) { return (size_t)n * 8 + 24; }

static cusolverStatus_t check(cusolverDnHandle_t handle, cusolverDnParams_t params, const SolverCall &c)
{
    if (handle == NULL)
        return CUSOLVER_STATUS_NOT_INITIALIZED;
    if ((params == NULL && !c.old) || (c.type != CUDA_R_32F && c.type != CUDA_R_64F) || c.m < 1 || c.n < 1 || c.m < c.n)
        return CUSOLVER_STATUS_INVALID_VALUE;
    return fits(c.a, c.type) && fits(c.u, c.type) && fits(c.v, c.type) ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_INVALID_VALUE;
}

cusolverStatus_t solver_answer(cusolverDnHandle_t handle, cusolverDnParams_t params, const SolverCall &c, size_t *device_bytes, size_t *host_bytes)
{
    const cusolverStatus_t status = check(handle, params, c);

    *device_bytes = status == CUSOLVER_STATUS_SUCCESS ? room_for(c.m, c.n, c.type) : 0;
    *host_bytes = status == CUSOLVER_STATUS_SUCCESS ? host_room_for(c.n) : 0;
    return status;
}

cusolverStatus_t solver_enqueue(cusolverDnHandle_t handle, cusolverDnParams_t params, const SolverCall &c, const char *what, SimRun *run)
{
    const cusolverStatus_t status = check(handle, params, c);

    if (status != CUSOLVER_STATUS_SUCCESS)
        return status;
    if (c.room_bytes < room_for(c.m, c.n, c.type) || (!c.old && (c.host_bytes < host_room_for(c.n) || c.host == NULL)))
        return CUSOLVER_STATUS_INVALID_VALUE;
    if (!c.old)
        memset(c.host, SIM_POISON, c.host_bytes);
    return sim_enqueue(handle->stream, what, run, &c, sizeof c) == cudaSuccess ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_INTERNAL_ERROR;
}

static void touch(const char *what, const SimMatrix &m)
{
    if (m.data != NULL)
        sim_check_device(what, m.data, sim_matrix_bytes(&m));
}

/* At the call's turn in the queue. */
void solver_begin(const SolverCall *c)
{
    touch("cuSOLVER: matrix", c->a);
    touch("cuSOLVER: left vectors", c->u);
    touch("cuSOLVER: right vectors", c->v);
    sim_check_device("cuSOLVER: values", c->values, (size_t)c->n * sim_type_bytes(c->type));
    sim_check_device("cuSOLVER: info", c->info, sizeof *c->info);
    sim_check_device("cuSOLVER: workspace", c->room, c->room_bytes);
    memset(c->room, SIM_POISON, c->room_bytes);
}

/* ---- matrices as F64, columns together -------------------------------------------------------------------------------------- */

double *solver_doubles(int64_t n) { return (double *)calloc((size_t)n, sizeof(double)); }

static double get(const void *data, cudaDataType type, int64_t i) { return type == CUDA_R_32F ? (double)((const float *)data)[i] : ((const double *)data)[i]; }

void solver_set(void *data, cudaDataType type, int64_t i, double value)
{
    if (type == CUDA_R_32F)
        ((float *)data)[i] = (float)value;
    else
        ((double *)data)[i] = value;
}

double *solver_read(const SimMatrix &m)
{
    double *to = solver_doubles((int64_t)(m.rows * m.cols));

    for (int64_t j = 0; j < (int64_t)m.cols; j++)
        for (int64_t i = 0; i < (int64_t)m.rows; i++)
            to[j * (int64_t)m.rows + i] = get(m.data, m.type, j * m.ld + i);
    return to;
}

/* NULL: destroyed. */
void solver_write(const SimMatrix &m, const double *from)
{
    for (int64_t j = 0; j < (int64_t)m.cols; j++)
        for (int64_t i = 0; i < (int64_t)m.rows; i++)
            if (from != NULL)
                solver_set((void *)m.data, m.type, j * m.ld + i, from[j * (int64_t)m.rows + i]);
            else
                memset((char *)m.data + (size_t)(j * m.ld + i) * sim_type_bytes(m.type), SIM_POISON, sim_type_bytes(m.type));
}
