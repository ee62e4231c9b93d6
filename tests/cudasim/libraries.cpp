/* kernels/cuda/libraries.h over the stand-ins: the same tables, filled by the linker. */
#include "kernels/cuda/libraries.h"

#define TAKE(ours, theirs) out->ours = theirs;

extern "C" Status library_cublaslt(Cublaslt *out)
{
    CUBLASLT_FUNCTIONS(TAKE)
    return LT_OK;
}

extern "C" Status library_cublas(Cublas *out)
{
    CUBLAS_FUNCTIONS(TAKE)
    return LT_OK;
}

extern "C" Status library_cusolver(Cusolver *out)
{
    CUSOLVER_FUNCTIONS(TAKE)
    return LT_OK;
}
