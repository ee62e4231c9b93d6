/* The rank that pure noise of a shape would have: the reference beside every threshold rank.
 *
 * For independent entries of one variance the squares of the singular values follow the law of Marchenko and Pastur (1967), whose only parameter is the aspect
 * ratio y = min(m, n) / max(m, n). The values that hold a share tau of the energy are those above 1 + y + 2 sqrt(y) cos(theta), where theta - sin(theta)
 * cos(theta) = pi tau whatever the shape; how many they are is an integral with a closed form. */
#ifndef LETHE_ANALYSIS_GAUSS_H
#define LETHE_ANALYSIS_GAUSS_H

#include <stdint.h>

/* Share of the q = min(m, n) values that hold a share tau of the energy, 0 < tau < 1. */
double gauss_rank_fraction(int64_t m, int64_t n, double tau);
/* The same as a number of values, not rounded: a measured rank is an integer whose mean lies half a step above. */
double gauss_rank(int64_t m, int64_t n, double tau);

#endif
