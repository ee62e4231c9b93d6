/* A score along a run: points in the order of their tokens (> 0), x is log2 tokens. */
#ifndef LETHE_ANALYSIS_STATS_LEARNING_H
#define LETHE_ANALYSIS_STATS_LEARNING_H

#include <stddef.h>

/* Where the best score so far first reaches the target, linear between points; NaN if it never does. */
double tokens_to_target(const double *tokens, const double *score, size_t n, double target);
/* Another quantity of the run at that place: the forgetting at matched learning. */
double value_at_target(const double *score, const double *value, size_t n, double target);
/* Trapezoids under the curve; per octave: divided by its width, NaN for less than two points. */
double area_log2(const double *tokens, const double *score, size_t n);
double area_per_octave(const double *tokens, const double *score, size_t n);

double forgetting_absolute(double base, double score);
/* Of what the base could lose. */
double forgetting_relative(double base, double chance, double score);
/* From the best so far: drop[i] of score[0..i]. */
void forgetting_from_best(double *drop, const double *score, size_t n);
/* Points forgotten for each point learned; NaN where nothing was learned. */
double exchange_rate(double base_learning, double learning, double base_source, double source);

/* A sweep over learning rates. Diverged runs have score NaN. */
typedef struct LrOptimum {
    double lr, score;       /* the best; of equal ones the lowest rate. NaN if none */
    size_t near_best;       /* others with at least 90 % of the best score */
    double near_low, near_high; /* the lowest and highest rate among them and the best */
} LrOptimum;
LrOptimum lr_optimum(const double *lr, const double *score, size_t n);
/* How many times higher the best rate of one method is than that of another. */
double lr_optimum_ratio(const LrOptimum *lora, const LrOptimum *full);

#endif
