/* The bootstrap: what would have come out of other items of the same kind.
 *
 * Items are drawn with replacement, the same ones for every series (checkpoint, metric), so that what the series have in common cancels in their
 * differences, and whole curves of replicates belong together. Items that come in clusters are drawn by cluster: a unit is then the sum over its
 * items, and its weight their number. A mean over several tasks is drawn within each: one call a task with a stratum of its own, then the mean.
 * Sources: Efron and Tibshirani 1993, chapters 13 and 14; Miller 2024 (arXiv 2411.00640). */
#ifndef LETHE_ANALYSIS_STATS_BOOTSTRAP_H
#define LETHE_ANALYSIS_STATS_BOOTSTRAP_H

#include "core/pool.h"
#include "core/stat.h"

enum { BOOTSTRAP_DRAWS = 10000 };

typedef struct Resampling {
    const double *value;  /* [n_unit][n_series] */
    const double *weight; /* [n_unit]; NULL: 1 each */
    size_t n_unit, n_series, n_draw;
    uint64_t seed;
    uint32_t stratum;     /* draws of different strata are independent */
} Resampling;

/* mean: [n_draw][n_series]. The draws come from counters (core/random.h), so that they do not depend on the number of threads. */
Status bootstrap_means(double *mean, const Resampling *r, Pool *pool);

/* The same with Random(seed) of Python, to repeat what other programs did: a randrange for each item, or choices() for each draw (lm-eval's standard error of
 * scores that are no means: seed 0, 1000 draws). One generator for all draws, hence one thread. */
typedef enum PythonDraws { PYTHON_RANDRANGE, PYTHON_CHOICES } PythonDraws;
Status bootstrap_means_python(double *mean, const Resampling *r, PythonDraws how);

/* The replicates of one series, ascending: what all that follows take. */
void bootstrap_sorted(double *sorted, const double *mean, size_t n_draw, size_t n_series, size_t series);

/* Standard deviation of the replicates. */
double bootstrap_stderr(const double *sorted, size_t n_draw);
Interval bootstrap_percentile(const double *sorted, size_t n_draw, double confidence);

/* Two-sided test that the true value is 0. A p of 0 means "below 2 / n_draw". */
typedef struct BootstrapTest {
    double at_most_0, at_least_0, p; /* shares of the replicates */
} BootstrapTest;
BootstrapTest bootstrap_test(const double *sorted, size_t n_draw);

/* The percentile interval moved for the bias and the skewness of the replicates. NaN where all of them lie on one side of the estimate. */
typedef struct BcaInterval {
    double bias; /* z0 */
    Interval interval;
} BcaInterval;
BcaInterval bootstrap_bca(const double *sorted, size_t n_draw, double estimate, double acceleration, double confidence);
/* From the estimates that leave out one unit each; 0 where they are all the same. */
double bootstrap_acceleration(const double *leave_one_out, size_t n);

#endif
