/* How a change and a tuned matrix lie to their base, as rows of subspaces.tsv: a quantity, where it was taken, its value, and what chance gives.
 *
 * quantity         side        k                      index, epsilon     value
 * change_in_top    left right  vectors of the base    -                  share of the change's energy in the base's first k
 * change_in_bottom left right  vectors of the base    -                  the same of its last k of min(m, n)
 * overlap_change   left right  vectors of each        -                  phi of the base's and the change's first k
 * overlap_tuned    left right  vectors of each        -                  phi of the base's and the tuned matrix' first k
 * angle            left right  vectors of each        index of K         principal angle of the same spaces, radians
 * geodesic, chordal, projection, binet_cauchy         (likewise)         distances of the same spaces
 * amplification    -           vectors of the change  -                  |change| / |base seen through the change's first k|
 * nearest_cosine   left        -                      index of vector    how near the tuned vector comes to one of the base's
 * nearest_energy   left        -                      index of vector    its energy in the nearest four
 * intruders        left        vectors of the tuned   epsilon            how many of the first k come no nearer than epsilon
 *
 * Chance: of an angle the one whose squared cosine is the overlap by chance, of a distance that of k such angles. k goes 1, 4, 16, .. and ends
 * with what was asked for. Vectors behind the rank of a matrix are arbitrary, and are left out. */
#ifndef LETHE_ANALYSIS_SUBSPACE_REPORT_H
#define LETHE_ANALYSIS_SUBSPACE_REPORT_H

#include "analysis/subspace.h"

typedef struct SubspaceRow {
    const char *quantity, *side; /* static; side "" where there is none */
    int64_t k, index;            /* 0: none */
    double epsilon;              /* NaN: none */
    double value, chance;        /* chance NaN: not known */
} SubspaceRow;

typedef struct SubspaceRows {
    SubspaceRow *row;
    size_t count, cap;
} SubspaceRows;

/* Appends the rows of a base and its change, both [m,n] in host memory, for spaces of up to k vectors. change becomes the tuned matrix. Three full
 * decompositions, two of them held at a time. */
Status subspace_report(SubspaceRows *out, Device *dev, const double *base, double *change, int64_t m, int64_t n, int64_t k);
void subspace_rows_release(SubspaceRows *rows);

#endif
