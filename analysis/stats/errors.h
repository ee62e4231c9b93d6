/* Standard errors that are more than one mean's (core/stat has those): groups of tasks, clusters of items, pairs, seeds.
 * Source: Miller 2024 (arXiv 2411.00640); the pooled form is lm-eval's. */
#ifndef LETHE_ANALYSIS_STATS_ERRORS_H
#define LETHE_ANALYSIS_STATS_ERRORS_H

#include "core/stat.h"

/* A group of tasks, each with its items, mean and standard error. */
typedef struct GroupMean {
    double weighted, weighted_stderr; /* by items: lm-eval's group score */
    double plain, plain_stderr;       /* each task alike: the paper's forgetting score */
} GroupMean;
GroupMean group_mean(const uint64_t *size, const double *mean, const double *se, size_t n_task);

/* Standard error of the mean of items that come in clusters (questions on one text): sqrt(sum over clusters of (sum of deviations)^2) / n, without
 * a factor for few clusters. cluster[i]: any number, 0 <= cluster < n_cluster; sum: scratch of n_cluster. */
double stderr_clustered(const double *x, const size_t *cluster, size_t n, double *sum, size_t n_cluster);

/* b - a over the same items. */
typedef struct PairedDifference {
    double mean, se, se_unpaired;
    double detectable; /* at the 5 % level with a power of 80 % */
} PairedDifference;
/* difference: scratch of n. */
PairedDifference paired_difference(const double *a, const double *b, size_t n, double *difference);
/* The smallest true difference that a two-sided test at `level` finds with probability `power`. */
double detectable_effect(double se, double level, double power);

/* The same run from several seeds. sd and the interval are NaN for one. */
typedef struct SeedBand {
    double mean, min, max, sd;
    Interval t; /* of the mean, by Student's t */
} SeedBand;
SeedBand seed_band(const double *x, size_t n, double confidence);

#endif
