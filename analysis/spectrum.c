#include "analysis/spectrum.h"

#include <math.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sums of the first k values relative to the largest, to the power of 1, 2 and 4. */
typedef struct Sums {
    double one, two, four;
} Sums;

static Sums sums_of(const double *sigma, int64_t from, int64_t to)
{
    Sums s = {0};

    for (int64_t i = to - 1; i >= from; i--) { /* small ones first */
        const double x = sigma[i] / sigma[0];

        s.one += x;
        s.two += x * x;
        s.four += x * x * x * x;
    }
    return s;
}

/* exp(-sum p ln p) for p = (sigma / sigma_1)^power / sum. */
static double entropy_rank(const double *sigma, int64_t q, int power, double sum)
{
    double entropy = 0;

    for (int64_t i = q - 1; i >= 0; i--) {
        const double x = sigma[i] / sigma[0], p = (power == 1 ? x : x * x) / sum;

        if (p > 0)
            entropy -= p * log(p);
    }
    return exp(entropy);
}

static bool has_energy(const double *sigma, int64_t q) { return q > 0 && sigma[0] > 0; }

SpectrumStats spectrum_stats(const double *sigma, int64_t q)
{
    if (!has_energy(sigma, q))
        return (SpectrumStats){0, 0, 0, NAN, NAN, NAN, NAN, NAN};
    const Sums s = sums_of(sigma, 0, q);

    return (SpectrumStats){
        .fro = sigma[0] * sqrt(s.two),
        .spectral = sigma[0],
        .nuclear = sigma[0] * s.one,
        .stable_rank = s.two,
        .nuclear_rank = s.one,
        .effective_rank = entropy_rank(sigma, q, 1, s.one),
        .energy_rank = entropy_rank(sigma, q, 2, s.two),
        .participation = s.two * s.two / s.four,
    };
}

double spectrum_share(const double *sigma, int64_t q, int64_t k)
{
    k = smaller(k, q);
    if (!has_energy(sigma, q))
        return NAN;
    const double first = sums_of(sigma, 0, k).two, rest = sums_of(sigma, k, q).two;

    return first / (first + rest);
}

double spectrum_rest(const double *sigma, int64_t q, int64_t k)
{
    k = smaller(k, q);
    if (!has_energy(sigma, q))
        return NAN;
    const double first = sums_of(sigma, 0, k).two, rest = sums_of(sigma, k, q).two;

    return sqrt(rest / (first + rest));
}

ThresholdRank spectrum_threshold(const double *sigma, int64_t q, double tau)
{
    static const double slack = 1e-12, close = 1e-9;
    ThresholdRank r = {0};
    double sum = 0, share = 0;
    bool found = false;

    if (!has_energy(sigma, q))
        return r;
    const double all = sums_of(sigma, 0, q).two;

    for (int64_t i = 0; i < q; i++) {
        const double x = sigma[i] / sigma[0], before = share;

        sum += x * x;
        share = i + 1 < q ? sum / all : 1;
        r.tie = r.tie || fabs(share - tau) < close;
        if (!found && share >= tau - slack) {
            r.k = i + 1;
            r.share_before = before;
            r.share_at = share;
            found = true;
        }
    }
    return r;
}

int64_t spectrum_numerical_rank(const double *sigma, int64_t m, int64_t n, double eps)
{
    const int64_t q = smaller(m, n);
    int64_t k = 0;

    if (!has_energy(sigma, q))
        return 0;
    while (k < q && sigma[k] / sigma[0] > (double)(m > n ? m : n) * eps)
        k++;
    return k;
}
