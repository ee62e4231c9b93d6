/* Spaces of singular vectors, and how two of them lie to one another: overlap, principal angles, intruders, alignment.
 *
 * All of it follows from cosines between vectors, which the device multiplies out in F64, and from singular values. Two spaces of i and j dimensions in
 * dim dimensions have p = min(i, j) principal angles. "Chance" is what spaces drawn at random would give.
 * Sources: Bjorck and Golub 1973 (angles, sines for the small ones), Hu et al. 2021 section 7 (overlap, amplification), Shuttleworth et al. 2024
 * (intruder dimensions). */
#ifndef LETHE_ANALYSIS_SUBSPACE_H
#define LETHE_ANALYSIS_SUBSPACE_H

#include "kernels/ops.h"

/* value[m,n] = u diag(sigma) vt, economy, F64, on a device. */
typedef struct Svd {
    Device *dev;
    TensorArena arena;
    Tensor u, vt;
    double *sigma; /* q = min(m, n), descending, in host memory */
    int64_t m, n, q;
} Svd;
/* value: host memory, kept. LT_E_NUMERIC as op_svd. */
Status svd_open(Svd *svd, Device *dev, const double *value, int64_t m, int64_t n);
/* A zeroed struct is allowed. */
void svd_close(Svd *svd);

typedef enum Side { SIDE_LEFT, SIDE_RIGHT } Side;
/* Orthonormal vectors on a device: columns on the left, rows on the right. */
typedef struct Space {
    Tensor t;
    Side side;
} Space;
/* Vectors [from, from + n) of a decomposition. */
Space svd_space(const Svd *svd, Side side, int64_t from, int64_t n);
static inline int64_t space_count(Space s) { return s.side == SIDE_LEFT ? s.t.cols : s.t.rows; }
static inline int64_t space_dim(Space s) { return s.side == SIDE_LEFT ? s.t.rows : s.t.cols; }

/* cosine[i, j] = a_i b_j, in host memory, rows contiguous. Both of one side and dimension. */
Status subspace_cosines(Device *dev, double *cosine, Space a, Space b);

/* ---- overlap and angles --------------------------------------------------------------------------------------------------- */

/* Mean squared cosine of the principal angles between the first i and the first j vectors: |first i x j cosines|_F^2 / min(i, j), from 0 to 1. */
double subspace_overlap(const double *cosine, int64_t stride, int64_t i, int64_t j);
double subspace_overlap_chance(int64_t i, int64_t j, int64_t dim);

/* The p angles, ascending, in radians, each within a few units of F64's last place of 1: large ones by their cosines, small ones by their sines. */
Status subspace_angles(Device *dev, double *theta, Space a, Space b);

typedef struct SubspaceDistance {
    double geodesic;     /* |theta| (Grassmann) */
    double chordal;      /* |sin theta| */
    double projection;   /* sin of the largest: the 2-norm of the difference of the projections */
    double binet_cauchy; /* sqrt(1 - prod cos^2 theta) */
} SubspaceDistance;
SubspaceDistance subspace_distance(const double *theta, int64_t p);
/* The angle whose squared cosine is the overlap by chance. Random spaces have angles around it, and their chordal distance is that of p such. */
double subspace_angle_chance(int64_t i, int64_t j, int64_t dim);

/* ---- intruders ------------------------------------------------------------------------------------------------------------ */

/* How near a tuned vector comes to any of the base's. Where the base's values lie close together its single vectors are arbitrary, their span is not:
 * hence the energy of the nearest few. */
typedef struct Nearest {
    double cosine; /* the largest |cosine| */
    double energy; /* sum of the SUBSPACE_NEAREST largest squares */
} Nearest;
enum { SUBSPACE_NEAREST = 4 };
/* cosine[rows, cols]: all vectors of the base by the tuned ones; out[cols]. */
void subspace_nearest(Nearest *out, const double *cosine, int64_t rows, int64_t cols);

/* Of the first k tuned vectors, those whose nearest base vector is not within epsilon; margin: the least distance of one of them from epsilon. */
int64_t subspace_intruders(const Nearest *nearest, int64_t k, double epsilon, double *margin);
/* How many of k random vectors would be intruders among q orthonormal ones: their cosines taken as independent normal numbers of variance 1 / dim. */
double subspace_intruders_chance(int64_t k, double epsilon, int64_t q, int64_t dim);

/* value[m,n], host memory, += (factor - 1) sigma u vT for each intruder of the first k: what is learned against the base's grain, turned down. */
Status subspace_mitigate(double *value, const Svd *tuned, const Nearest *nearest, int64_t k, double epsilon, double factor);

/* ---- a change beside its base --------------------------------------------------------------------------------------------- */

/* Share of the change's energy inside a space: |spaceT change|_F^2 / |change|_F^2. cosine[rows, q]: the space's vectors by the change's on the same
 * side; sigma[q]: the change's. NaN without energy. By chance rows / dim. */
double subspace_alignment(const double *cosine, int64_t rows, const double *sigma, int64_t q);

/* |change|_F / |UT base V|_F for the first k vectors U, V of the change: how much stronger the change is than the base in the change's own directions.
 * left[q, k], right[q, k]: the base's vectors by the change's; sigma[q]: the base's; fro: |change|_F. By chance fro sqrt(m n) / (k |base|_F). */
double subspace_amplification(const double *left, const double *right, int64_t stride, const double *sigma, int64_t q, int64_t k, double fro);

#endif
