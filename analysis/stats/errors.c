#include "analysis/stats/errors.h"

#include "analysis/stats/special.h"

#include <math.h>

GroupMean group_mean(const uint64_t *size, const double *mean, const double *se, size_t n_task)
{
    double items = 0, weighted = 0, within = 0, plain = 0, squares = 0;

    for (size_t i = 0; i < n_task; i++) {
        const double n = (double)size[i];

        items += n;
        weighted += n * mean[i];
        within += (n - 1) * n * se[i] * se[i]; /* the task's sum of squared deviations */
        plain += mean[i];
        squares += se[i] * se[i];
    }
    const double tasks = (double)n_task;
    return (GroupMean){
        .weighted = weighted / items,
        .weighted_stderr = sqrt(within / (items - tasks) / items),
        .plain = plain / tasks,
        .plain_stderr = sqrt(squares) / tasks,
    };
}

double stderr_clustered(const double *x, const size_t *cluster, size_t n, double *sum, size_t n_cluster)
{
    const double mean = stat_mean(x, n);
    double squares = 0;

    for (size_t c = 0; c < n_cluster; c++)
        sum[c] = 0;
    for (size_t i = 0; i < n; i++)
        sum[cluster[i]] += x[i] - mean;
    for (size_t c = 0; c < n_cluster; c++)
        squares += sum[c] * sum[c];
    return sqrt(squares) / (double)n;
}

double detectable_effect(double se, double level, double power)
{
    return (normal_quantile(1 - level / 2) + normal_quantile(power)) * se;
}

PairedDifference paired_difference(const double *a, const double *b, size_t n, double *difference)
{
    for (size_t i = 0; i < n; i++)
        difference[i] = b[i] - a[i];
    const double se = stat_stderr(difference, n);
    return (PairedDifference){
        .mean = stat_mean(difference, n),
        .se = se,
        .se_unpaired = hypot(stat_stderr(a, n), stat_stderr(b, n)),
        .detectable = detectable_effect(se, 0.05, 0.8),
    };
}

SeedBand seed_band(const double *x, size_t n, double confidence)
{
    const double se = stat_stderr(x, n);
    SeedBand band = {.mean = stat_mean(x, n), .min = x[0], .max = x[0], .sd = se * sqrt((double)n), .t = {NAN, NAN}};

    for (size_t i = 1; i < n; i++) {
        band.min = fmin(band.min, x[i]);
        band.max = fmax(band.max, x[i]);
    }
    if (n > 1)
        band.t = stat_normal_interval(band.mean, se, t_quantile(confidence, (double)(n - 1)));
    return band;
}
