#include "core/stat.h"

#include <math.h>

double stat_mean(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

double stat_stderr(const double *x, size_t n)
{
    const double mean = stat_mean(x, n);
    double squares = 0;

    if (n < 2)
        return NAN;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    return sqrt(squares / (double)(n - 1)) / sqrt((double)n);
}

double stat_stderr_binary(uint64_t hits, uint64_t n)
{
    const double p = (double)hits / (double)n;

    return n < 2 ? (double)NAN : sqrt(p * (1 - p) / (double)(n - 1));
}

/* Wilson (1927): the p for which the observed share is exactly z standard deviations away. */
Interval stat_wilson(uint64_t hits, uint64_t n, double z)
{
    const double count = (double)n, p = (double)hits / count, zz = z * z;
    const double centre = (p + zz / (2 * count)) / (1 + zz / count);
    const double half = z / (1 + zz / count) * sqrt(p * (1 - p) / count + zz / (4 * count * count));

    if (n == 0)
        return (Interval){0, 1};
    /* The two ends that are exact by the formula and would otherwise carry a rounding error. */
    return (Interval){hits == 0 ? 0 : centre - half, hits == n ? 1 : centre + half};
}

Interval stat_normal_interval(double mean, double se, double z) { return (Interval){mean - z * se, mean + z * se}; }

double stat_quantile(const double *sorted, size_t n, double p)
{
    const double h = (double)(n - 1) * p;
    const size_t low = (size_t)h;

    return low + 1 < n ? sorted[low] + (h - (double)low) * (sorted[low + 1] - sorted[low]) : sorted[n - 1];
}

double stat_pass_at_k(uint64_t n, uint64_t c, uint64_t k)
{
    double all_wrong = 1;

    if (n - c < k)
        return 1;
    for (uint64_t i = n - c + 1; i <= n; i++)
        all_wrong *= 1 - (double)k / (double)i;
    return 1 - all_wrong;
}
