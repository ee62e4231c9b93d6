#include "kernels/ops.h"

#include "kernels/check_args.h"
#include "kernels/linalg_check.h"

#include <float.h>
#include <math.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Ascending eigenvalues become descending ones that are never negative.
 * Bound: a diagonal element of the Gram matrix is a sum of k products (k u each); the eigenvalues are those of the Gram matrix plus e with |e| <= q eps |G|,
 * whose trace is at most sqrt(q) |e|. The norm |G| is at most the trace, so both come to (k + q sqrt(q)) eps trace. */
static Status finish_gram(double *lambda, Tensor a, double norm)
{
    const int64_t q = smaller(a.rows, a.cols), k = a.rows + a.cols - q;
    const double trace = norm * norm, limit = (10 + (double)k + (double)q * sqrt((double)q)) * DBL_EPSILON * trace;
    double sum = 0;

    for (int64_t i = 0; i < q / 2; i++) {
        const double kept = lambda[i];

        lambda[i] = lambda[q - 1 - i];
        lambda[q - 1 - i] = kept;
    }
    for (int64_t i = 0; i < q; i++)
        sum += lambda[i];
    if (!(fabs(sum - trace) <= limit) || !(lambda[q - 1] >= -limit))
        return FAIL(LT_E_NUMERIC, "gram_values of [%lld, %lld]: the values sum up to %.17g, the squares of the elements to %.17g; the smallest value is %.3g",
                    (long long)a.rows, (long long)a.cols, sum, trace, lambda[q - 1]);
    for (int64_t i = q - 1; i >= 0 && lambda[i] < 0; i--)
        lambda[i] = 0;
    return LT_OK;
}

Status op_gram_values(Device *dev, double *lambda, Tensor a)
{
    double norm;

    CHECK_SLOT(dev, gram_values);
    TRY(check_tensor("gram_values", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (is_empty(a))
        return LT_OK;
    TRY(linalg_norm(dev, "gram_values", a, &norm));
    TRY(dev->table->gram_values(dev, lambda, a));
    return finish_gram(lambda, a, norm);
}

Status op_svd_values(Device *dev, double *sigma, Tensor a)
{
    double norm;

    CHECK_SLOT(dev, svd_values);
    TRY(check_tensor("svd_values", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (is_empty(a))
        return LT_OK;
    TRY(linalg_norm(dev, "svd_values", a, &norm));
    TRY(dev->table->svd_values(dev, sigma, a));
    return linalg_check_values("svd_values", sigma, a, norm);
}

Status op_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    LinalgCheck check = {0};
    Status st;

    CHECK_SLOT(dev, svd);
    TRY(check_tensor("svd", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("svd", "u", u, same_dtype(a), a.rows, smaller(a.rows, a.cols)));
    TRY(check_tensor("svd", "vt", vt, same_dtype(a), smaller(a.rows, a.cols), a.cols));
    if (is_empty(a))
        return LT_OK;
    TRY_GOTO(linalg_check_open(&check, dev, "svd", a), st, done);
    TRY_GOTO(dev->table->svd(dev, u, sigma, vt, a), st, done);
    TRY_GOTO(linalg_check_values("svd", sigma, a, check.norm), st, done);
    TRY_GOTO(linalg_check_product(&check, u, sigma, vt), st, done);
    TRY_GOTO(linalg_check_orthonormal(&check, "u", u, GEMM_N), st, done);
    TRY_GOTO(linalg_check_orthonormal(&check, "vt", vt, GEMM_T), st, done);
done:
    linalg_check_close(&check);
    return st;
}

Status op_qr(Device *dev, Tensor q, Tensor r, Tensor a)
{
    LinalgCheck check = {0};
    Status st;

    CHECK_SLOT(dev, qr);
    TRY(check_tensor("qr", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (a.rows < a.cols)
        return FAIL(LT_E_FAIL, "qr: a is [%lld, %lld], expected at least as many rows as columns", (long long)a.rows, (long long)a.cols);
    TRY(check_tensor("qr", "q", q, same_dtype(a), a.rows, a.cols));
    TRY(check_tensor("qr", "r", r, same_dtype(a), a.cols, a.cols));
    if (is_empty(a))
        return LT_OK;
    TRY_GOTO(linalg_check_open(&check, dev, "qr", a), st, done);
    TRY_GOTO(dev->table->qr(dev, q, r, a), st, done);
    TRY_GOTO(linalg_check_product(&check, q, NULL, r), st, done);
    TRY_GOTO(linalg_check_orthonormal(&check, "q", q, GEMM_N), st, done);
done:
    linalg_check_close(&check);
    return st;
}
