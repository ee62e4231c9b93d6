#include "kernels/cpu/lapack.h"

#include "core/mem.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

static const char BLAS[] = "libopenblas.so.0", LAPACKE[] = "liblapacke.so.3";

/* Never unloaded once it is there: its threads run its code. */
static Status open_library(void **out, const char *name)
{
    *out = dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    return *out != NULL ? LT_OK : FAIL(LT_E_DEVICE, "cannot load '%s', which decompositions on the cpu need: %s", name, dlerror());
}

/* POSIX gives functions as void *; C has no cast for that. */
static Status find(void *library, const char *file, const char *name, void *function)
{
    void *const symbol = dlsym(library, name);

    if (symbol == NULL)
        return FAIL(LT_E_DEVICE, "'%s' has no function '%s'", file, name);
    memcpy(function, &symbol, sizeof symbol);
    return LT_OK;
}

/* Debian's OpenBLAS comes without LAPACKE, others bring it along. OpenBLAS is loaded first and for all to see, so that LAPACKE finds its LAPACK. */
static Status open_all(Lapack *l)
{
    void *with = NULL;
    const char *file = BLAS;

    TRY(open_library(&l->blas_library, BLAS));
    with = l->blas_library;
    if (dlsym(with, "LAPACKE_dgesdd_work") == NULL) {
        TRY(open_library(&l->lapacke_library, LAPACKE));
        with = l->lapacke_library;
        file = LAPACKE;
    }
    TRY(find(l->blas_library, BLAS, "openblas_set_num_threads", &l->set_num_threads));
    TRY(find(l->blas_library, BLAS, "cblas_dgemm", &l->dgemm));
    TRY(find(l->blas_library, BLAS, "cblas_dsyrk", &l->dsyrk));
    TRY(find(l->blas_library, BLAS, "cblas_dsymm", &l->dsymm));
    TRY(find(with, file, "LAPACKE_dsterf_work", &l->dsterf));
    TRY(find(with, file, "LAPACKE_dgeqrt_work", &l->dgeqrt));
    TRY(find(with, file, "LAPACKE_sgesdd_work", &l->sgesdd));
    TRY(find(with, file, "LAPACKE_dgesdd_work", &l->dgesdd));
    TRY(find(with, file, "LAPACKE_sgelqf_work", &l->sgelqf));
    TRY(find(with, file, "LAPACKE_dgelqf_work", &l->dgelqf));
    TRY(find(with, file, "LAPACKE_sorglq_work", &l->sorglq));
    return find(with, file, "LAPACKE_dorglq_work", &l->dorglq);
}

Status lapack_of(Device *dev, const Lapack **out)
{
    CpuDevice *cpu = cpu_of(dev);

    if (cpu->lapack == NULL) {
        Lapack *l;
        Status st;

        TRY(MEM_NEW(l, 1));
        st = open_all(l);
        if (st != LT_OK) {
            lapack_close(l);
            return st;
        }
        l->set_num_threads(1);
        cpu->lapack = l;
    }
    *out = cpu->lapack;
    return LT_OK;
}

void lapack_close(Lapack *l)
{
    if (l == NULL)
        return;
    if (l->lapacke_library != NULL)
        dlclose(l->lapacke_library);
    if (l->blas_library != NULL)
        dlclose(l->blas_library);
    mem_free(l);
}

Status lapack_size(lapack_int *out, const char *op, int64_t size)
{
    if (size > INT_MAX)
        return FAIL(LT_E_UNSUPPORTED, "%s: a size of %lld does not fit LAPACK's 32-bit integers", op, (long long)size);
    *out = (lapack_int)size;
    return LT_OK;
}

Status lapack_done(lapack_int info, const char *op, const char *function, Tensor a)
{
    BUG_IF(info < 0);
    if (info > 0)
        return FAIL(LT_E_NUMERIC, "%s of [%lld, %lld]: LAPACK's %s did not converge (info %d)", op, (long long)a.rows, (long long)a.cols, function,
                    (int)info);
    return LT_OK;
}
