#include "kernels/cuda/solver.h"
#include "kernels/cuda/transfer.h"

extern "C" {
#include "core/mem.h"
}

Status solver_check(cusolverStatus_t status, const char *what)
{
    if (status == CUSOLVER_STATUS_SUCCESS)
        return LT_OK;
    return FAIL(status == CUSOLVER_STATUS_ALLOC_FAILED ? LT_E_NOMEM : LT_E_DEVICE, "cuSOLVER: %s: status %d", what, (int)status);
}

static Status blas_check(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return LT_OK;
    return FAIL(status == CUBLAS_STATUS_ALLOC_FAILED ? LT_E_NOMEM : LT_E_DEVICE, "cuBLAS: %s: status %d", what, (int)status);
}

static Status open_all(struct CudaSolver *s, cudaStream_t stream)
{
    TRY(library_cusolver(&s->lib));
    TRY(library_cublas(&s->blas));
    TRY(solver_check(s->lib.create(&s->handle), "opening it"));
    TRY(solver_check(s->lib.set_stream(s->handle, stream), "its stream"));
    TRY(solver_check(s->lib.create_params(&s->params), "its parameters"));
    TRY(blas_check(s->blas.create(&s->blas_handle), "opening it"));
    return blas_check(s->blas.set_stream(s->blas_handle, stream), "its stream");
}

Status solver_of(Device *dev, struct CudaSolver **out)
{
    CudaDevice *cuda = cuda_of(dev);
    struct CudaSolver *s;
    Status st;

    TRY(cuda_may_wait(cuda, "a matrix is decomposed"));
    TRY(cuda_select(cuda));
    if (cuda->solver == NULL) {
        s = (struct CudaSolver *)mem_take(1, sizeof *s);
        if (s == NULL)
            return LT_E_NOMEM;
        st = open_all(s, cuda->stream);
        if (st != LT_OK) {
            solver_close(s);
            return st;
        }
        cuda->solver = s;
    }
    *out = cuda->solver;
    return LT_OK;
}

void solver_close(struct CudaSolver *s)
{
    if (s == NULL)
        return;
    if (s->blas_handle != NULL)
        (void)s->blas.destroy(s->blas_handle);
    if (s->params != NULL)
        (void)s->lib.destroy_params(s->params);
    if (s->handle != NULL)
        (void)s->lib.destroy(s->handle);
    mem_free(s);
}
