#include "kernels/cuda/libraries.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The newest version that may be there, and the oldest: a library's calls keep their form from one to the other. */
typedef struct Library {
    const char *name;
    int newest, oldest;
} Library;

/* A function, and where its pointer stands in the table. */
typedef struct Function {
    const char *name;
    size_t at;
} Function;

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

#define CUBLASLT_ENTRY(ours, theirs) {#theirs, offsetof(Cublaslt, ours)},
#define CUBLAS_ENTRY(ours, theirs) {#theirs, offsetof(Cublas, ours)},
#define CUSOLVER_ENTRY(ours, theirs) {#theirs, offsetof(Cusolver, ours)},
static const Function CUBLASLT[] = {CUBLASLT_FUNCTIONS(CUBLASLT_ENTRY)};
static const Function CUBLAS[] = {CUBLAS_FUNCTIONS(CUBLAS_ENTRY)};
static const Function CUSOLVER[] = {CUSOLVER_FUNCTIONS(CUSOLVER_ENTRY)};

/* Where the loader looks, then where the CUDA lay that this was built with. */
static void *open_version(const char *name, int version)
{
    char file[512];
    void *library;

    snprintf(file, sizeof file, "lib%s.so.%d", name, version);
    library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        return library;
    snprintf(file, sizeof file, "%s/lib%s.so.%d", LETHE_CUDA_LIBRARIES, name, version);
    return dlopen(file, RTLD_NOW | RTLD_LOCAL);
}

static Status open_library(Library which, void **out)
{
    for (int version = which.newest; version >= which.oldest; version--) {
        *out = open_version(which.name, version);
        if (*out != NULL)
            return LT_OK;
    }
    return FAIL(LT_E_DEVICE, "cannot open 'lib%s.so', version %d or %d: %s", which.name, which.newest, which.oldest, dlerror());
}

static Status fill_table(void *table, Library which, const Function *function, int n)
{
    void *library, *address;

    TRY(open_library(which, &library));
    for (int i = 0; i < n; i++) {
        address = dlsym(library, function[i].name);
        if (address == NULL)
            return FAIL(LT_E_DEVICE, "library '%s' has no function '%s'", which.name, function[i].name);
        memcpy((char *)table + function[i].at, &address, sizeof address);
    }
    return LT_OK;
}

Status library_cublaslt(Cublaslt *out) { return fill_table(out, (Library){"cublasLt", 13, 12}, CUBLASLT, COUNT(CUBLASLT)); }
Status library_cublas(Cublas *out) { return fill_table(out, (Library){"cublas", 13, 12}, CUBLAS, COUNT(CUBLAS)); }
/* cuSOLVER counts one behind CUDA: 12 belongs to CUDA 13. */
Status library_cusolver(Cusolver *out) { return fill_table(out, (Library){"cusolver", 12, 11}, CUSOLVER, COUNT(CUSOLVER)); }
