/* What the parts of cuSOLVER's stand-in share. */
#ifndef CUDASIM_SOLVER_H
#define CUDASIM_SOLVER_H

#include "tests/cudasim/product.h"
#include "tests/cudasim/sim.h"

#include <cusolverDn.h>

/* What any of the calls may need; one that runs finds it all here. */
typedef struct SolverCall {
    cudaDataType type;
    int64_t m, n;
    char uplo;
    SimMatrix a, u, v; /* u, v: data NULL for values only */
    bool v_transposed; /* v holds the transpose */
    void *values;      /* or tau */
    void *room, *host;
    size_t room_bytes, host_bytes;
    int *info;
    bool old;    /* a call that knows no parameters and no room on the host */
    bool shifts; /* as Xgesvdp does near zero */
    double *error;
} SolverCall;

SimMatrix solver_matrix(const void *data, cudaDataType type, int64_t rows, int64_t cols, int64_t ld);

/* Checks a call, and says what room it wants. */
cusolverStatus_t solver_answer(cusolverDnHandle_t handle, cusolverDnParams_t params, const SolverCall &c, size_t *device_bytes, size_t *host_bytes);
/* Checks a call and its room, and queues run(&c). */
cusolverStatus_t solver_enqueue(cusolverDnHandle_t handle, cusolverDnParams_t params, const SolverCall &c, const char *what, SimRun *run);
/* What `run` begins with: looks at all memory of the call, and spoils its room. */
void solver_begin(const SolverCall *c);

/* Matrices as F64, columns together; free() what is read. write with NULL: the matrix is destroyed. */
double *solver_doubles(int64_t n);
double *solver_read(const SimMatrix &m);
void solver_write(const SimMatrix &m, const double *from);
void solver_set(void *data, cudaDataType type, int64_t i, double value);

#endif
