/* Decoding's matrix product: y[m,n] = x[m,k] W[n,k]^T for few rows, where all of W comes from memory for one step. AVX-512 only; the
 * levels below leave it to the micro-kernels.
 *
 * Floor: bytes(W) / bandwidth until 2 m n k / peak rules. W is taken 16 rows at a time, a panel: 16 columns of y. A block of 16 words
 * of each (a word: one F32, or two BF16 where the processor multiplies pairs) is turned in registers, so that a vector holds one
 * word of each row, and multiplied with the first rows of x right there; for the other rows the turned words are kept in a
 * panel-sized buffer, in cache. op_gemm_pack keeps them for good: one stream instead of 16, and no shuffles.
 * Tried for W as it lies: vectors along k, eight rows at a time, with a tree of lanes at the end: no faster at m = 1, and the trees cost a third
 * of m = 16 at k = 512. The next panel is asked for in the order of memory and
 * into L2: row by row, or into L1, whose misses are few at a time, takes 1.1 and 1.5 times as long.
 * Shares of the floor: benchmarks/NOTES.md.
 *
 * Order of a sum, the same for every m, packed or not: one accumulator, words in ascending order of k, filled up with zeros to whole
 * blocks. */
#ifndef LETHE_KERNELS_CPU_GEMM_NARROW_H
#define LETHE_KERNELS_CPU_GEMM_NARROW_H

#include "kernels/cpu/gemm.h"

/* A panel is 16 rows of W, a block 16 words of each; x moves NARROW_ROWS rows at a time. */
enum { NARROW_COLS = 16, NARROW_BLOCK = 16, NARROW_ROWS = 8, NARROW_WORD = 4 };

/* What stands in W, and what a word of x and of the panel is. */
typedef enum NarrowKind {
    NARROW_F32,
    NARROW_BF16,  /* widened: words are F32 */
    NARROW_F16,   /* widened: words are F32 */
    NARROW_PAIRS, /* BF16: words are two of them */
} NarrowKind;

typedef struct NarrowPanel {
    const char *w; /* its first row */
    size_t w_step; /* bytes to the next */
    int64_t k;     /* elements of a row */
    int64_t words; /* of a row, whole blocks */
    int cols;      /* rows of W that are there, 1..16 */
    bool is_followed; /* the 16 rows behind it will be wanted next */
} NarrowPanel;

/* sums[rows][16] = x W^T. */
typedef struct NarrowTask {
    float *sums;
    int64_t sums_stride;
    const char *x;   /* as words, zeros up to whole blocks */
    size_t x_step;   /* bytes to the next row */
    int rows;        /* 8, 4, 2 or 1 */
    const NarrowPanel *panel;
    char *turned;    /* the panel as words[panel->words][16] */
    size_t ahead;    /* how many bytes ahead to ask for `turned`; 0: it is in cache */
} NarrowTask;

/* From W itself; fills `turned` on the way unless it is NULL. */
void narrow_turn_multiply(NarrowKind kind, const NarrowTask *t);
/* From `turned`. */
void narrow_multiply(NarrowKind kind, const NarrowTask *t);
/* Only turns; F32 or pairs. */
void narrow_turn(NarrowKind kind, const NarrowPanel *p, char *turned);

/* True for the products this serves: {N, T} of the class NARROW, any dtype but F64, from AVX-512 on. */
bool gemm_narrow_takes(CpuLevel level, const GemmArgs *g);
Status gemm_narrow(Device *dev, const GemmArgs *g);

/* op_gemm_pack: all panels, turned; 0 bytes for what would have to be widened. */
size_t gemm_narrow_pack_bytes(CpuLevel level, Tensor w);
Status gemm_narrow_pack(Device *dev, Tensor packed, Tensor w);

#endif
