/* Private to kernels/cpu: eigenvalues of a symmetric matrix, in two stages: dense to band by matrix products (linalg_band.c), band to tridiagonal by chasing
 * bulges (linalg_chase.c); LAPACK does the rest. Half of LAPACK's own way, dsytrd, is products with a vector, bound by memory; here they
 * are products with BAND vectors. Bischof, Lang and Sun 2000; Haidar, Ltaief and Dongarra 2011.
 *
 * Tasks and their order depend on n only, so the bits do too. */
#ifndef LETHE_KERNELS_CPU_LINALG_H
#define LETHE_KERNELS_CPU_LINALG_H

#include "kernels/cpu/lapack.h"

enum {
    BAND = 48,             /* elements below the diagonal that the first stage leaves */
    BAND_LD = 2 * BAND,    /* a stored column: those, and as many for the bulges */
    BAND_EXTRA = 2 * BAND, /* columns of zeros behind the last, so that every block is a whole one */
};
/* Element (i, j) of a band, i >= j. Blocks of it are column-major matrices with a leading dimension of BAND_LD - 1. */
static inline double *band_at(double *band, int64_t i, int64_t j) { return band + j * BAND_LD + (i - j); }

/* g[n, n] symmetric, row-major, of which the upper triangle is read; destroyed. band [n + BAND_EXTRA, BAND_LD] = an orthogonal similarity of it. */
Status linalg_to_band(Device *dev, const Lapack *l, double *band, double *g, int64_t n);
/* diagonal [n] and below [n - 1] of a tridiagonal matrix similar to the band, which is destroyed. Its elements' squares must not overflow. */
Status linalg_to_tridiagonal(Device *dev, double *diagonal, double *below, double *band, int64_t n);

#endif
