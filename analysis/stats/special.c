#include "analysis/stats/special.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

/* lgamma writes the sign to a global. */
static double log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

static double log_beta(double a, double b) { return log_gamma(a) + log_gamma(b) - log_gamma(a + b); }

/* The x between low and high where a rising function takes a value, by halving until no number lies between: slower than Newton's way by
 * a factor nobody notices, and right in the last digit whatever the function looks like. */
typedef double (*Rising)(double x, const double *parameter);

static double where(Rising f, const double *parameter, double value, double low, double high)
{
    for (;;) {
        const double middle = low + (high - low) / 2;

        if (middle <= low || middle >= high)
            return middle;
        if (f(middle, parameter) < value)
            low = middle;
        else
            high = middle;
    }
}

/* ---- normal ------------------------------------------------------------------------------------------------------------- */

double normal_cdf(double z) { return erfc(-z * M_SQRT1_2) / 2; }

static double rising_normal(double z, const double *parameter)
{
    (void)parameter;
    return normal_cdf(z);
}

double normal_quantile(double p)
{
    if (p <= 0 || p >= 1)
        return p <= 0 ? -HUGE_VAL : HUGE_VAL;
    /* In the lower half, where the function keeps its digits; below -40 it is 0 in F64. */
    return p > 0.5 ? -where(rising_normal, NULL, 1 - p, -40, 0) : where(rising_normal, NULL, p, -40, 0);
}

/* ---- beta --------------------------------------------------------------------------------------------------------------- */

/* Coefficient d_i of the continued fraction 1 / (1 + d_1 / (1 + d_2 / (1 + ...))). */
static double fraction_coefficient(int i, double x, double a, double b)
{
    const double m = i / 2;

    if (i % 2 == 0)
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
}

/* The fraction from its front, as the quotient of consecutive numerators times that of denominators (Lentz). It takes some sqrt(max(a, b)) terms
 * for x on the near side of the mean. */
static double beta_fraction(double x, double a, double b)
{
    enum { MOST_TERMS = 1000000 };
    double up = 1, down = 0, value = 1;

    for (int i = 1; i < MOST_TERMS; i++) {
        const double d = fraction_coefficient(i, x, a, b);

        down = 1 + d * down;
        up = 1 + d / up;
        down = 1 / (fabs(down) < DBL_MIN ? DBL_MIN : down);
        up = fabs(up) < DBL_MIN ? DBL_MIN : up;
        value *= up * down;
        if (fabs(up * down - 1) < DBL_EPSILON)
            break;
    }
    return 1 / value;
}

static double beta_near(double x, double a, double b)
{
    return exp(a * log(x) + b * log1p(-x) - log_beta(a, b)) / a * beta_fraction(x, a, b);
}

double beta_cdf(double x, double a, double b)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    return x < (a + 1) / (a + b + 2) ? beta_near(x, a, b) : 1 - beta_near(1 - x, b, a);
}

static double rising_beta(double x, const double *parameter) { return beta_cdf(x, parameter[0], parameter[1]); }

double beta_quantile(double p, double a, double b)
{
    const double parameter[] = {a, b};

    return where(rising_beta, parameter, p, 0, 1);
}

/* ---- t and coins -------------------------------------------------------------------------------------------------------- */

double t_two_sided(double t, double df)
{
    return isinf(t) ? 0 : beta_cdf(df / (df + t * t), df / 2, 0.5);
}

double t_quantile(double confidence, double df)
{
    const double y = beta_quantile(confidence, 0.5, df / 2); /* t^2 / (df + t^2) */

    return sqrt(df * y / (1 - y));
}

double coin_cdf(uint64_t k, uint64_t n)
{
    return k >= n ? 1 : beta_cdf(0.5, (double)(n - k), (double)k + 1);
}

double coin_mass(uint64_t k, uint64_t n)
{
    const double count = (double)n, heads = (double)k;

    return k > n ? 0 : exp(log_gamma(count + 1) - log_gamma(heads + 1) - log_gamma(count - heads + 1) - count * M_LN2);
}
