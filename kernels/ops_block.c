#include "kernels/ops.h"

#include "kernels/check_args.h"

/* x[N, G D] against w[D]: x is made of whole groups. */
static Status check_groups(const char *op, Tensor x, Tensor w)
{
    TRY(check_tensor(op, "w", w, same_dtype(x) | DT_F32, 1, ANY_SIZE));
    if (w.cols == 0 || x.cols % w.cols != 0)
        return FAIL(LT_E_FAIL, "%s: x has %lld columns, expected a multiple of the %lld of w", op, (long long)x.cols, (long long)w.cols);
    return LT_OK;
}

Status op_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps)
{
    CHECK_SLOT(dev, rmsnorm);
    TRY(check_tensor("rmsnorm", "x", x, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("rmsnorm", "y", y, same_dtype(x), x.rows, x.cols));
    TRY(check_groups("rmsnorm", x, w));
    TRY(check_optional("rmsnorm", "rstd", rstd, DT_F32, x.rows, x.cols / w.cols));
    if (!(eps >= 0.0f))
        return FAIL(LT_E_FAIL, "rmsnorm: eps is %g, expected 0 or more", (double)eps);
    return is_empty(x) ? LT_OK : dev->table->rmsnorm(dev, y, rstd, x, w, eps);
}

Status op_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta)
{
    CHECK_SLOT(dev, rmsnorm_grad);
    TRY(check_tensor("rmsnorm_grad", "x", x, DT_TRAIN, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("rmsnorm_grad", "dy", dy, same_dtype(x), x.rows, x.cols));
    TRY(check_tensor("rmsnorm_grad", "dx", dx, same_dtype(x), x.rows, x.cols));
    TRY(check_groups("rmsnorm_grad", x, w));
    TRY(check_optional("rmsnorm_grad", "dw", dw, DT_F32, 1, w.cols));
    TRY(check_tensor("rmsnorm_grad", "rstd", rstd, DT_F32, x.rows, x.cols / w.cols));
    if (beta < 0.0f || (beta > 0.0f && beta < 1.0f) || !(beta <= 1.0f))
        return FAIL(LT_E_FAIL, "rmsnorm_grad: beta is %g, expected 0 or 1", (double)beta);
    return is_empty(x) ? LT_OK : dev->table->rmsnorm_grad(dev, dx, dw, dy, x, w, rstd, beta);
}

Status op_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction)
{
    CHECK_SLOT(dev, rope);
    TRY(check_tensor("rope", "x", x, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("rope", "cos", cos, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("rope", "sin", sin, DT_F32, cos.rows, cos.cols));
    TRY(check_tensor("rope", "row", row, DT_I32, 1, x.rows));
    if (cos.cols == 0 || x.cols % (2 * cos.cols) != 0)
        return FAIL(LT_E_FAIL, "rope: x has %lld columns, expected whole heads of twice the %lld columns of cos", (long long)x.cols,
                    (long long)cos.cols);
    if (direction != 1 && direction != -1)
        return FAIL(LT_E_FAIL, "rope: direction is %d, expected 1 or -1", direction);
    return is_empty(x) ? LT_OK : dev->table->rope(dev, x, cos, sin, row, direction);
}

Status op_swiglu(Device *dev, Tensor y, Tensor gate_up)
{
    CHECK_SLOT(dev, swiglu);
    TRY(check_tensor("swiglu", "y", y, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("swiglu", "gate_up", gate_up, same_dtype(y), y.rows, 2 * y.cols));
    return is_empty(y) ? LT_OK : dev->table->swiglu(dev, y, gate_up);
}

Status op_swiglu_grad(Device *dev, Tensor dgate_up, Tensor dy, Tensor gate_up)
{
    CHECK_SLOT(dev, swiglu_grad);
    TRY(check_tensor("swiglu_grad", "dy", dy, DT_TRAIN, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("swiglu_grad", "gate_up", gate_up, same_dtype(dy), dy.rows, 2 * dy.cols));
    TRY(check_tensor("swiglu_grad", "dgate_up", dgate_up, same_dtype(dy), dy.rows, 2 * dy.cols));
    return is_empty(dy) ? LT_OK : dev->table->swiglu_grad(dev, dgate_up, dy, gate_up);
}

Status op_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key)
{
    CHECK_SLOT(dev, dropout);
    TRY(check_tensor("dropout", "x", x, DT_TRAIN, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("dropout", "y", y, same_dtype(x), x.rows, x.cols));
    if (!(p >= 0.0f && p < 1.0f))
        return FAIL(LT_E_FAIL, "dropout: p is %g, expected 0 <= p < 1", (double)p);
    return is_empty(x) ? LT_OK : dev->table->dropout(dev, y, x, p, key);
}

Status op_axpy(Device *dev, Tensor y, Tensor x, float alpha)
{
    CHECK_SLOT(dev, axpy);
    TRY(check_tensor("axpy", "y", y, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("axpy", "x", x, DT_ACTIVATION | DT_F64, y.rows, y.cols));
    return is_empty(y) ? LT_OK : dev->table->axpy(dev, y, x, alpha);
}

Status op_sub(Device *dev, Tensor y, Tensor a, Tensor b)
{
    CHECK_SLOT(dev, sub);
    TRY(check_tensor("sub", "y", y, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("sub", "a", a, DT_ACTIVATION | DT_F64, y.rows, y.cols));
    TRY(check_tensor("sub", "b", b, DT_ACTIVATION | DT_F64, y.rows, y.cols));
    return is_empty(y) ? LT_OK : dev->table->sub(dev, y, a, b);
}

Status op_scale(Device *dev, Tensor y, float alpha)
{
    CHECK_SLOT(dev, scale);
    TRY(check_tensor("scale", "y", y, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    return is_empty(y) ? LT_OK : dev->table->scale(dev, y, alpha);
}

Status op_cast(Device *dev, Tensor y, Tensor x)
{
    CHECK_SLOT(dev, cast);
    TRY(check_tensor("cast", "y", y, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("cast", "x", x, DT_ACTIVATION | DT_F64, y.rows, y.cols));
    return is_empty(y) ? LT_OK : dev->table->cast(dev, y, x);
}
