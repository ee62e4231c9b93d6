/* Our own matrix multiplication, for what oneDNN is not used for: all of it below AVX-512, F16 everywhere, BF16 without BF16
 * instructions.
 *
 * Both sides are laid out as F32 panels: MR rows of A, NR columns of B, element by element along k, so the kernel reads both
 * as streams. The kernel holds an MR x NR block of sums in registers over a block of k and continues from the sums in memory at
 * the next block: one chain per element, in ascending k, fused where the level has FMA. Blocks only move data: they change no bit.
 * Registers: AVX-512 12 x 32 (24 of 32 for sums), AVX2 6 x 16 (12 of 16), generic 4 x 8.
 * Source: the layering of Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication". */
#ifndef LETHE_KERNELS_CPU_GEMM_MICRO_H
#define LETHE_KERNELS_CPU_GEMM_MICRO_H

#include "kernels/cpu/gemm.h"

enum {
    MICRO_ROWS = 192, /* rows of a tile: a multiple of every MR */
    MICRO_K = 256,    /* block of k: an NR panel of it stays in L1, a tile's worth of B in L2 */
};

/* Lays out `outer` rows (columns of B) from `from` on, k in [k0, k0 + k), as panels of `width`, the last one filled up with zeros:
 * to[panel][k][width]. */
typedef void MicroPack(float *to, const GemmSide *side, int64_t from, int64_t outer, int64_t k0, int64_t k);
/* c[rows][nr] (+)= a b over k steps; rows <= mr. `first`: start from zero. */
typedef void MicroKernel(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first);

typedef struct MicroLevel {
    int mr, nr;
    MicroPack *pack_a, *pack_b;
    MicroKernel *kernel;
} MicroLevel;

extern const MicroLevel micro_generic, micro_avx2, micro_avx512;
const MicroLevel *micro_level(CpuLevel level);

/* Bytes for the rows of A of one tile of a product with `rows` rows, and for the part of B that is laid out at a time. */
size_t micro_a_bytes(const MicroLevel *l, int64_t rows, int64_t k);
size_t micro_b_bytes(void);
/* Rows [from, from + rows) of A, all of k. n_thread, here and below, is for the canary build only. */
void micro_pack_rows(const MicroLevel *l, float *to, const GemmSide *a, int64_t from, int64_t rows, int n_thread);
/* sums[rows][GEMM_TILE_COLS] = A B^T for columns [from, from + cols) of B. `sums` has room for whole mr x nr blocks. */
void micro_multiply(const MicroLevel *l, float *sums, const float *a, int64_t rows, const GemmSide *b, int64_t from, int64_t cols, float *b_room,
                    int n_thread);

#endif
