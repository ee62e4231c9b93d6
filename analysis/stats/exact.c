#include "analysis/stats/exact.h"

#include "analysis/stats/special.h"

#include <math.h>

Interval clopper_pearson(uint64_t hits, uint64_t n, double confidence)
{
    const double tail = (1 - confidence) / 2, k = (double)hits, misses = (double)(n - hits);

    return (Interval){
        hits == 0 ? 0 : beta_quantile(tail, k, misses + 1),
        hits == n ? 1 : 1 - beta_quantile(tail, misses, k + 1), /* the other tail, mirrored: both ends keep their digits */
    };
}

McNemar mcnemar(uint64_t b, uint64_t c)
{
    const uint64_t fewer = b < c ? b : c, n = b + c;
    const double both_tails = 2 * coin_cdf(fewer, n);

    return (McNemar){fmin(1, both_tails), fmin(1, both_tails - coin_mass(fewer, n))};
}
