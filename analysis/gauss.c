#include "analysis/gauss.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* theta - sin(theta) cos(theta) = pi tau, by halving: the left side grows with theta. */
static double energy_angle(double tau)
{
    double low = 0, high = PI;

    for (int i = 0; i < 64; i++) {
        const double middle = low + (high - low) / 2;

        if (middle - sin(middle) * cos(middle) < PI * tau)
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}

double gauss_rank_fraction(int64_t m, int64_t n, double tau)
{
    const double y = m < n ? (double)m / (double)n : (double)n / (double)m, root = sqrt(y), theta = energy_angle(tau);

    if (m == n)
        return (theta - sin(theta)) / PI;
    return 2 / PI * ((1 + y) * theta / (4 * y) - sin(theta) / (2 * root) - (1 - y) / (2 * y) * atan((1 - root) / (1 + root) * tan(theta / 2)));
}

double gauss_rank(int64_t m, int64_t n, double tau)
{
    return gauss_rank_fraction(m, n, tau) * (double)(m < n ? m : n);
}
