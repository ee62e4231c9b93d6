/* The stand-in for cuBLAS. */
#include "tests/cudasim/product.h"

#include <stdlib.h>

struct cublasContext {
    cudaStream_t stream;
};

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    *handle = (cublasHandle_t)calloc(1, sizeof **handle);
    return *handle != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

/* Needed by the library's own kernels only; what it asks of the address holds here too. */
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    return (uintptr_t)workspace % 256 == 0 || bytes == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

static SimMatrix matrix(const double *data, cublasOperation_t op, int rows, int cols, int ld)
{
    return op == CUBLAS_OP_N ? SimMatrix{data, CUDA_R_64F, (uint64_t)rows, (uint64_t)cols, ld}
                             : SimMatrix{data, CUDA_R_64F, (uint64_t)cols, (uint64_t)rows, ld};
}

static bool fits(const SimMatrix &m) { return m.ld >= 1 && (uint64_t)m.ld >= m.rows; }

cublasStatus_t cublasDgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const double *alpha,
                              const double *a, int lda, const double *b, int ldb, const double *beta, double *c, int ldc)
{
    SimProduct s = {};

    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    s.a = matrix(a, op_a, m, k, lda);
    s.b = matrix(b, op_b, k, n, ldb);
    s.d = matrix(c, CUBLAS_OP_N, m, n, ldc);
    if (!fits(s.a) || !fits(s.b) || !fits(s.d))
        return CUBLAS_STATUS_INVALID_VALUE;
    s.op_a = op_a;
    s.op_b = op_b;
    s.alpha = *alpha;
    s.beta = *beta;
    return sim_multiply(&s, handle->stream);
}

cublasStatus_t cublasDsyrk_v2(cublasHandle_t handle, cublasFillMode_t uplo, cublasOperation_t op, int n, int k, const double *alpha, const double *a,
                              int lda, const double *beta, double *c, int ldc)
{
    SimProduct s = {};

    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (n < 0 || k < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    s.a = s.b = matrix(a, op, n, k, lda);
    s.d = matrix(c, CUBLAS_OP_N, n, n, ldc);
    if (!fits(s.a) || !fits(s.d))
        return CUBLAS_STATUS_INVALID_VALUE;
    s.op_a = op;
    s.op_b = op == CUBLAS_OP_N ? CUBLAS_OP_T : CUBLAS_OP_N;
    s.alpha = *alpha;
    s.beta = *beta;
    s.lower = uplo == CUBLAS_FILL_MODE_LOWER;
    s.upper = uplo == CUBLAS_FILL_MODE_UPPER;
    return sim_multiply(&s, handle->stream);
}
