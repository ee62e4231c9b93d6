/* p-values of several tests at once, adjusted so that each can be read against the level by itself. */
#ifndef LETHE_ANALYSIS_STATS_ADJUST_H
#define LETHE_ANALYSIS_STATS_ADJUST_H

#include "core/status.h"

#include <stddef.h>

/* Each takes n values in any order and gives the adjusted ones in the same order. `adjusted` may be `p`. */
Status adjust_holm(double *adjusted, const double *p, size_t n);              /* chance of any false find: Holm 1979 */
Status adjust_benjamini_hochberg(double *adjusted, const double *p, size_t n); /* share of false finds: Benjamini and Hochberg 1995 */
void adjust_bonferroni(double *adjusted, const double *p, size_t n);

#endif
