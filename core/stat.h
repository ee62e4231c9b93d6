/* Statistics of scores. Every sum is F64 in index order. */
#ifndef LETHE_CORE_STAT_H
#define LETHE_CORE_STAT_H

#include <stddef.h>
#include <stdint.h>

double stat_mean(const double *x, size_t n);
/* Standard error of the mean as lm-eval computes it: sample standard deviation (n-1) / sqrt(n). NaN for n < 2. */
double stat_stderr(const double *x, size_t n);
/* The same for `hits` ones among n zeros and ones: sqrt(p (1-p) / (n-1)). */
double stat_stderr_binary(uint64_t hits, uint64_t n);

typedef struct Interval {
    double low, high;
} Interval;
/* Wilson score interval of a proportion; z = 1.959963984540054 for 95 %. */
Interval stat_wilson(uint64_t hits, uint64_t n, double z);
/* mean +- z se, for values that are no proportions. */
Interval stat_normal_interval(double mean, double se, double z);
/* Quantile of type 7 (linear between order statistics, numpy's default); `sorted` ascending, n >= 1, 0 <= p <= 1. */
double stat_quantile(const double *sorted, size_t n, double p);

/* pass@k of one problem, of whose n samples c are right: the share of k-subsets that hold a right one, 1 - C(n-c, k) / C(n, k), 1 <= k <= n, c <= n.
 * Source: Chen et al. 2021 (arXiv 2107.03374). */
double stat_pass_at_k(uint64_t n, uint64_t c, uint64_t k);

#define STAT_Z95 1.959963984540054

#endif
