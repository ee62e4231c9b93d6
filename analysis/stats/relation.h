/* How two lists of numbers go together: correlations and least-squares fits. */
#ifndef LETHE_ANALYSIS_STATS_RELATION_H
#define LETHE_ANALYSIS_STATS_RELATION_H

#include "core/status.h"

#include <stddef.h>

/* r and its two-sided p by Student's t with n - 2 degrees of freedom; NaN where a list is constant, p also below 3 values. */
typedef struct Correlation {
    double r, p;
} Correlation;
Correlation pearson(const double *x, const double *y, size_t n);
Status spearman(Correlation *out, const double *x, const double *y, size_t n);
/* Ranks from 1; equal values share the mean of theirs. */
Status average_ranks(double *rank, const double *x, size_t n);

/* y = c[0] + c[1] x + c[2] x^2. */
typedef struct Fit {
    double c[3];
    double r2; /* share of y's variance that the fit explains; NaN for a constant y */
} Fit;
/* c[0] + c[1] x: forgetting against learning, loss against loss. Needs two different x, else NaN. */
Fit fit_line(const double *x, const double *y, size_t n);
/* Forgetting against KL to the base (arXiv 2509.04259). Needs three different x, else NaN. */
Fit fit_parabola(const double *x, const double *y, size_t n);

#endif
