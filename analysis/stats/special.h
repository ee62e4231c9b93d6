/* The distributions behind intervals and p-values: normal, Student's t, beta and binomial.
 * Relative error: a few units in the last place of the largest log-gamma involved, so below 1e-10 up to ten thousand items. */
#ifndef LETHE_ANALYSIS_STATS_SPECIAL_H
#define LETHE_ANALYSIS_STATS_SPECIAL_H

#include <stdint.h>

double normal_cdf(double z);
/* -HUGE_VAL at 0, HUGE_VAL at 1. */
double normal_quantile(double p);

/* I_x(a, b), the distribution function of Beta(a, b), a and b > 0. Source: DLMF 8.17.22. */
double beta_cdf(double x, double a, double b);
double beta_quantile(double p, double a, double b);

/* P(|T| >= |t|) with df degrees of freedom. */
double t_two_sided(double t, double df);
/* The t with P(|T| <= t) = confidence. */
double t_quantile(double confidence, double df);

/* Of n fair coins: P(X <= k) and P(X = k). */
double coin_cdf(uint64_t k, uint64_t n);
double coin_mass(uint64_t k, uint64_t n);

#endif
