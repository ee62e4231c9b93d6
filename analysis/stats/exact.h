/* Tests and intervals for yes-or-no items that hold for any number of them. */
#ifndef LETHE_ANALYSIS_STATS_EXACT_H
#define LETHE_ANALYSIS_STATS_EXACT_H

#include "core/stat.h"

/* The proportions that a two-sided exact test does not refuse: never too narrow, unlike Wilson's. Source: Clopper and Pearson 1934. */
Interval clopper_pearson(uint64_t hits, uint64_t n, double confidence);

/* Whether two checkpoints differ, from the items that only one of them gets right (b only the first, c only the second). Source: McNemar 1947;
 * mid-p (the observed outcome counts half) as Fagerland, Lydersen and Laake 2013 recommend, since the exact test is too careful for few items. */
typedef struct McNemar {
    double p_exact, p_mid;
} McNemar;
McNemar mcnemar(uint64_t b, uint64_t c);

#endif
