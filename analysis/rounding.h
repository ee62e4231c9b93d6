/* How much of a change of stored weights is rounding.
 *
 * A weight that was rounded to its stored dtype is off by a uniform error of its unit in the last place: ulp^2 / 12 on average. The sum over a matrix
 * beside |delta|_F^2 is the share of the change's energy that is noise, and noise has a high rank. A rank at threshold tau counts the largest values
 * up to a share tau, so it is to be trusted only while the noise fits into what is left, 1 - tau. */
#ifndef LETHE_ANALYSIS_ROUNDING_H
#define LETHE_ANALYSIS_ROUNDING_H

#include "kernels/tensor.h"

/* The unit in the last place of x in F32, BF16 or F16, that of the smallest normal number below it; 0 for another dtype (F64: nothing was lost). */
double rounding_ulp(double x, DType dtype);
/* Sum of ulp(x)^2 / 12 over n values. */
double rounding_energy(const double *x, int64_t n, DType dtype);

typedef enum Verdict {
    VERDICT_OK,
    VERDICT_ROUNDING, /* not even the lowest threshold's rank is to be trusted */
    VERDICT_ZERO,     /* nothing has changed */
} Verdict;
/* "ok", "rounding", "zero". */
const char *verdict_name(Verdict v);

/* The largest of n thresholds (any order) that the noise's share of the energy allows, 0 if none; and the verdict on the matrix. fro2: |delta|_F^2. */
Verdict rounding_verdict(double noise, double fro2, const double *tau, int n, double *trusted_to);

#endif
