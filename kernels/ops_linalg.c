#include "kernels/ops.h"

#include "kernels/check_args.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

Status op_gram_values(Device *dev, double *lambda, Tensor a)
{
    CHECK_SLOT(dev, gram_values);
    TRY(check_tensor("gram_values", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    return is_empty(a) ? LT_OK : dev->table->gram_values(dev, lambda, a);
}

Status op_svd_values(Device *dev, double *sigma, Tensor a)
{
    CHECK_SLOT(dev, svd_values);
    TRY(check_tensor("svd_values", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    return is_empty(a) ? LT_OK : dev->table->svd_values(dev, sigma, a);
}

Status op_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    CHECK_SLOT(dev, svd);
    TRY(check_tensor("svd", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("svd", "u", u, same_dtype(a), a.rows, smaller(a.rows, a.cols)));
    TRY(check_tensor("svd", "vt", vt, same_dtype(a), smaller(a.rows, a.cols), a.cols));
    return is_empty(a) ? LT_OK : dev->table->svd(dev, u, sigma, vt, a);
}

Status op_svd_topk(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a, const TopkArgs *args)
{
    CHECK_SLOT(dev, svd_topk);
    TRY(check_tensor("svd_topk", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (args->k < 1 || args->k > smaller(a.rows, a.cols) || args->oversample < 0 || args->power_iterations < 0)
        return FAIL(LT_E_FAIL, "svd_topk: k is %d, oversample %d, power_iterations %d for [%lld, %lld]", args->k, args->oversample,
                    args->power_iterations, (long long)a.rows, (long long)a.cols);
    TRY(check_tensor("svd_topk", "u", u, same_dtype(a), a.rows, args->k));
    TRY(check_tensor("svd_topk", "vt", vt, same_dtype(a), args->k, a.cols));
    return dev->table->svd_topk(dev, u, sigma, vt, a, args);
}

Status op_qr(Device *dev, Tensor q, Tensor r, Tensor a)
{
    CHECK_SLOT(dev, qr);
    TRY(check_tensor("qr", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (a.rows < a.cols)
        return FAIL(LT_E_FAIL, "qr: a is [%lld, %lld], expected at least as many rows as columns", (long long)a.rows, (long long)a.cols);
    TRY(check_tensor("qr", "q", q, same_dtype(a), a.rows, a.cols));
    TRY(check_tensor("qr", "r", r, same_dtype(a), a.cols, a.cols));
    return is_empty(a) ? LT_OK : dev->table->qr(dev, q, r, a);
}
