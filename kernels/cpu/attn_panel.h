/* Private to kernels/cpu: the small matrix product inside attention, for scores (queries by transposed keys), outputs (probabilities by
 * values) and their gradients: up to six rows of a against a tile of b that lies in the first-level cache.
 *
 * Every element of c is one chain of multiply-adds over the depth in ascending order, starting from zero or from c times the row's factor: its bits do not
 * depend on how many rows or columns are computed beside it, nor on how a chain is cut into calls. */
#ifndef LETHE_KERNELS_CPU_ATTN_PANEL_H
#define LETHE_KERNELS_CPU_ATTN_PANEL_H

#include "kernels/cpu/cpu.h"

enum { PANEL_ROWS = 6, PANEL_COLS = 16 };

/* c[rows, cols] = keep c + a[rows, depth] b[depth, cols]; cols a multiple of PANEL_COLS, ld: elements from row to row. step: of a, from one
 * element of a row to the next, so that a may lie transposed. */
typedef struct AttnPanel {
    float *c;
    const float *a, *b, *keep; /* keep[rows]; NULL: c is not read */
    int64_t ldc, lda, ldb, step;
    int rows, depth, cols;
} AttnPanel;

void attn_panel_generic(const AttnPanel *p);
void attn_panel_avx2(const AttnPanel *p);
void attn_panel_avx512(const AttnPanel *p);

#endif
