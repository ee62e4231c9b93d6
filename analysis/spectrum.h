/* What the singular values of a matrix say: sizes, ranks and shares of energy, as ranks.tsv has them.
 *
 * sigma: q = min(m, n) singular values, F64, descending, none negative. Energy is sigma^2. Sums run over sigma / sigma[0], so that neither
 * very large nor very small values leave the range of F64. A matrix of zeros has rank 0 at every threshold, and quantities that are ratios are NaN. */
#ifndef LETHE_ANALYSIS_SPECTRUM_H
#define LETHE_ANALYSIS_SPECTRUM_H

#include "core/status.h"

#include <stdint.h>

typedef struct SpectrumStats {
    double fro, spectral, nuclear; /* |A|_F, |A|_2, sum of sigma */
    double stable_rank;            /* |A|_F^2 / |A|_2^2 */
    double nuclear_rank;           /* sum sigma / sigma_1 */
    double effective_rank;         /* exp of the entropy of sigma / sum sigma (Roy and Vetterli 2007) */
    double energy_rank;            /* the same of sigma^2 / sum sigma^2 */
    double participation;          /* (sum sigma^2)^2 / sum sigma^4 */
} SpectrumStats;
/* stable_rank <= participation <= energy_rank <= q, whatever the values. */
SpectrumStats spectrum_stats(const double *sigma, int64_t q);

/* Share of the energy in the first k values (k > q: all of it). NaN without energy. */
double spectrum_share(const double *sigma, int64_t q, int64_t k);

/* The least k whose share is at least tau; a share that misses it by 1e-12 counts. */
typedef struct ThresholdRank {
    int64_t k;
    double share_before, share_at; /* of k - 1 and of k values */
    bool tie; /* a share within 1e-9 of tau: another method may find k - 1 or k + 1 */
} ThresholdRank;
ThresholdRank spectrum_threshold(const double *sigma, int64_t q, double tau);

/* Values above sigma[0] max(m, n) eps, eps being that of the dtype the matrix was stored in (2^-23 for F32). */
int64_t spectrum_numerical_rank(const double *sigma, int64_t m, int64_t n, double eps);

/* sqrt of the energy left behind the first k: the relative error of the best matrix of rank k (Eckart and Young 1936). NaN without energy. */
double spectrum_rest(const double *sigma, int64_t q, int64_t k);

#endif
