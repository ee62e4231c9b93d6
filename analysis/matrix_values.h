/* Singular values, and the first vectors, of a matrix or of a product of factors, in F64, whichever the device. */
#ifndef LETHE_ANALYSIS_MATRIX_VALUES_H
#define LETHE_ANALYSIS_MATRIX_VALUES_H

#include "kernels/ops.h"
#include "model/params.h"

/* AUTO: from the Gram matrix, several times faster, and exact to what any share of energy can show. SVD: small values too, down to rounding. */
typedef enum ValueMethod { VALUES_AUTO, VALUES_GRAM, VALUES_SVD } ValueMethod;

/* sigma: min(m, n) values, descending. value: m x n in host memory, destroyed. A matrix of zeros gives zeros. */
Status matrix_values(Device *dev, double *sigma, double *value, int64_t m, int64_t n, ValueMethod method);

/* The largest k values, 1 <= k <= min(m, n), with their vectors: u[m,k], vt[k,n]. value is destroyed. Few of many are found by a randomised method with six
 * power iterations, whose product is as near to the matrix as makes no difference to its energy; else all are, exactly. */
Status matrix_top(Device *dev, double *u, double *sigma, double *vt, double *value, int64_t m, int64_t n, int64_t k);

/* product[m,n], host memory, = scale B A, multiplied out in F64. */
void matrix_product(double *product, const ParamEntry *a);

/* Of scale B A, for the A of the list (B is behind it) in host memory, F32: by QR of both factors and the values of the small core between them, so that
 * at most `rank` of the min(m, n) values are not zero, and none has seen the rounding of the product. */
Status matrix_product_values(Device *dev, double *sigma, const ParamEntry *a);

#endif
