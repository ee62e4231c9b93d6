/* Private to kernels/cpu: how op_gemm is done on the CPU.
 *
 * C is cut into tiles of fixed size, one pool task each. A task lays its rows of A out once (and keeps them for its next
 * tiles of the same rows), multiplies into a tile of F32 sums in its own scratch memory, and finishes the tile: alpha, beta, bias,
 * one rounding. Two engines multiply: oneDNN (gemm_onednn.h) where it is exact about its order, else our micro-kernels
 * (gemm_micro.h). In both, a sum runs over k in ascending order in one F32 accumulator, so it cannot depend on m, on the
 * row's place, on its neighbours or on the threads; tests/test_gemm.c holds both to that, bit for bit.
 * Decoding has an engine and tasks of its own where AVX-512 is (gemm_narrow.h). */
#ifndef LETHE_KERNELS_CPU_GEMM_H
#define LETHE_KERNELS_CPU_GEMM_H

#include "kernels/cpu/cpu.h"

typedef struct GemmState GemmState;

Status gemm_open(GemmState **out, CpuLevel level, int n_thread);
void gemm_close(GemmState *state); /* takes NULL */

/* "oneDNN 2.6.3", for the device's description. */
void gemm_library_name(char *out, size_t bytes);

/* One side of a product: `outer` rows of A or columns of B, each a sum's worth of k. */
typedef struct GemmSide {
    const void *data;
    DType dtype;
    int64_t outer, k;
    int64_t stride;    /* elements between rows as they lie */
    bool k_contiguous; /* the rows that lie are the outer ones (A not transposed, B transposed) */
} GemmSide;

/* Element (outer o, k 0) as bytes. */
static inline const char *gemm_side_at(const GemmSide *s, int64_t o)
{
    return (const char *)s->data + (size_t)(s->k_contiguous ? o * s->stride : o) * dtype_bytes(s->dtype);
}

enum { GEMM_TILE_COLS = 64 };

/* Rows [i, i + rows) and columns [j, j + cols) of C, cols <= GEMM_TILE_COLS: alpha sums + c + bias, rounded once. The rows of sums lie
 * `sums_stride` apart. */
void gemm_finish(CpuLevel level, const GemmArgs *g, const float *sums, int64_t sums_stride, int64_t i, int64_t rows, int64_t j, int64_t cols);

/* to[outer][k] = the transpose of from[k][outer], elements of 2 or 4 bytes; from_stride in elements. Needs AVX2. */
void gemm_transpose(char *to, const char *from, int64_t from_stride, size_t size, int64_t k, int64_t outer);

/* F64: a blocked loop, no packing of A. Same arguments as the slot. */
Status gemm_f64(Device *dev, const GemmArgs *g);

#endif
