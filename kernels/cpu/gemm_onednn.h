/* oneDNN as an engine for tiles: the only file that knows the library, 2.6 and 3.x.
 *
 * A plan multiplies one tile of fixed size: sums[m][n] F32 = A[m][k] B, all three dense. It is made once per size and kept; a few
 * dozen serve a model. Only implementations of the library's brgemm family with AVX-512 are taken: they were measured to sum a
 * row in the same order whatever m is. The wide tiles of AMX do not, hence the cap on instructions at open. */
#ifndef LETHE_KERNELS_CPU_GEMM_ONEDNN_H
#define LETHE_KERNELS_CPU_GEMM_ONEDNN_H

#include "kernels/cpu/gemm.h"

typedef struct OneDnn OneDnn;
typedef struct OneDnnPlan OneDnnPlan;

typedef struct OneDnnKey {
    int64_t m, n, k;
    DType dtype;     /* F32 or BF16 */
    bool b_k_contiguous; /* B lies as [n][k], else as [k][n] */
    int n_thread;        /* of the library's own: 1 in op_gemm, whose pool shares the tiles out; more when a benchmark asks for its best */
} OneDnnKey;

/* *out NULL: this level or machine has no use for the library. */
Status onednn_open(OneDnn **out, CpuLevel level, int n_thread);
void onednn_close(OneDnn *lib);
void onednn_name(char *out, size_t bytes);

/* The plan for a key, made on first use; not for use inside pool_run. *out NULL: the library has no brgemm kernel for it.
 * Valid until a good many others have been asked for: hold it for one op only. */
Status onednn_plan(OneDnn *lib, const OneDnnKey *key, OneDnnPlan **out);
size_t onednn_scratch_bytes(const OneDnnPlan *plan);
/* From any pool thread. scratch: 64-byte aligned. */
Status onednn_run(OneDnn *lib, OneDnnPlan *plan, int thread, float *sums, const void *a, const void *b, void *scratch);

#endif
