#include "analysis/stats/learning.h"

#include <math.h>

/* ---- tokens to a target ------------------------------------------------------------------------------------------------- */

/* A place on a curve: `share` of the way from point i - 1 to point i, in log2 tokens. */
typedef struct Place {
    size_t i;
    double share;
} Place;

/* i == n: never. The first point has none before it and is its own place. */
static Place first_crossing(const double *score, size_t n, double target)
{
    double best = -HUGE_VAL;

    for (size_t i = 0; i < n; i++) {
        if (score[i] >= target)
            return (Place){i, i == 0 ? 1 : (target - best) / (score[i] - best)};
        best = fmax(best, score[i]);
    }
    return (Place){n, 0};
}

static double between(double before, double after, double share) { return before + (after - before) * share; }

double tokens_to_target(const double *tokens, const double *score, size_t n, double target)
{
    const Place p = first_crossing(score, n, target);

    if (p.i == n)
        return NAN;
    if (p.share == 1) /* at a point: its own tokens, to the last digit */
        return tokens[p.i];
    return exp2(between(log2(tokens[p.i - 1]), log2(tokens[p.i]), p.share));
}

double value_at_target(const double *score, const double *value, size_t n, double target)
{
    const Place p = first_crossing(score, n, target);

    if (p.i == n)
        return NAN;
    return p.share == 1 ? value[p.i] : between(value[p.i - 1], value[p.i], p.share);
}

/* ---- areas -------------------------------------------------------------------------------------------------------------- */

double area_log2(const double *tokens, const double *score, size_t n)
{
    double area = 0;

    for (size_t i = 1; i < n; i++)
        area += (score[i - 1] + score[i]) / 2 * (log2(tokens[i]) - log2(tokens[i - 1]));
    return area;
}

double area_per_octave(const double *tokens, const double *score, size_t n)
{
    return n < 2 ? (double)NAN : area_log2(tokens, score, n) / (log2(tokens[n - 1]) - log2(tokens[0]));
}

/* ---- forgetting --------------------------------------------------------------------------------------------------------- */

double forgetting_absolute(double base, double score) { return base - score; }

double forgetting_relative(double base, double chance, double score) { return (base - score) / (base - chance); }

void forgetting_from_best(double *drop, const double *score, size_t n)
{
    double best = -HUGE_VAL;

    for (size_t i = 0; i < n; i++) {
        best = fmax(best, score[i]);
        drop[i] = best - score[i];
    }
}

double exchange_rate(double base_learning, double learning, double base_source, double source)
{
    const double learned = learning - base_learning;

    return learned > 0 ? (base_source - source) / learned : (double)NAN;
}

/* ---- learning rates ----------------------------------------------------------------------------------------------------- */

static const double NEAR_BEST = 0.9; /* the paper's criterion for an alternative (its appendix B) */

LrOptimum lr_optimum(const double *lr, const double *score, size_t n)
{
    LrOptimum best = {.lr = NAN, .score = NAN};

    for (size_t i = 0; i < n; i++)
        if (!isnan(score[i]) && (isnan(best.score) || score[i] > best.score || (score[i] == best.score && lr[i] < best.lr))) {
            best.lr = lr[i];
            best.score = score[i];
        }
    best.near_low = best.near_high = best.lr;
    for (size_t i = 0; i < n; i++)
        if (lr[i] != best.lr && score[i] >= NEAR_BEST * best.score) {
            best.near_best++;
            best.near_low = fmin(best.near_low, lr[i]);
            best.near_high = fmax(best.near_high, lr[i]);
        }
    return best;
}

double lr_optimum_ratio(const LrOptimum *lora, const LrOptimum *full) { return lora->lr / full->lr; }
