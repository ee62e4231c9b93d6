/* Private to the front doors of the decompositions: what their input must be, and proof of their results, for every backend.
 *
 * Bounds. Householder methods are backward stable: the computed factors are those of a + e with |e| <= p eps |a| (Frobenius), p growing modestly with the
 * sizes. LAPACK's own tests take max(m, n) for p, and so do we, plus 10 for the smallest. A sum of squares or a product with the
 * factors that is further off is wrong, not rounded. Below the normal numbers an element's own error is the smallest number there is. */
#ifndef LETHE_KERNELS_LINALG_CHECK_H
#define LETHE_KERNELS_LINALG_CHECK_H

#include "kernels/ops.h"

typedef struct LinalgCheck {
    Device *dev;
    const char *op;
    DType dtype;
    int64_t m, n;
    double norm;  /* of a, Frobenius */
    double unit;  /* of the signs: the power of two that brings their products with a near 1 */
    TensorArena arena;
    Tensor signs; /* [PROBES, n], +-unit */
    Tensor image; /* [PROBES, m] = signs aT, from before a was destroyed */
    Tensor near, far; /* [PROBES, max(m, n)] for products on the way */
    void *raw;        /* one of those on the host, in a's dtype */
    double *got, *want; /* and as F64 */
} LinalgCheck;

/* sqrt(sum of squares of a). LT_E_NUMERIC with the place of the first element that is no finite number, or where the sum overflows. */
Status linalg_norm(Device *dev, const char *op, Tensor a, double *norm);
/* sqrt(sum of sigma^2) is the norm of the a [m,n] of that dtype. */
Status linalg_check_values(const char *op, const double *sigma, Tensor a, double norm);

/* For factors: measures a and takes its image. Close it whatever happens (zero-initialised: allowed). */
Status linalg_check_open(LinalgCheck *c, Device *dev, const char *op, Tensor a);
void linalg_check_close(LinalgCheck *c);
/* a = left[m,r] diag(scale) right[r,n]; scale NULL: ones. */
Status linalg_check_product(LinalgCheck *c, Tensor left, const double *scale, Tensor right);
/* leftT a = diag(scale) right: all that holds where left and right are only a part of a. */
Status linalg_check_projection(LinalgCheck *c, Tensor left, const double *scale, Tensor right);
/* The columns of t[m,r] (GEMM_N) or the rows of t[r,n] (GEMM_T) are orthonormal. name: "u". */
Status linalg_check_orthonormal(LinalgCheck *c, const char *name, Tensor t, GemmOp op_t);

#endif
