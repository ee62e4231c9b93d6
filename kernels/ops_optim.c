#include "kernels/ops.h"

#include "kernels/check_args.h"

Status op_sumsq(Device *dev, Tensor out, Tensor x)
{
    CHECK_SLOT(dev, sumsq);
    TRY(check_tensor("sumsq", "out", out, DT_F64, 1, 1));
    TRY(check_tensor("sumsq", "x", x, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    return is_empty(x) ? LT_OK : dev->table->sumsq(dev, out, x);
}

/* A master is F32, or the 16 bits of a BF16 weight and 16 more in `low`. */
static Status check_master(const char *op, const OptimArgs *o)
{
    const int64_t rows = o->grad.rows, cols = o->grad.cols;

    if (!tensor_is_set(o->low)) {
        TRY(check_tensor(op, "master", o->master, DT_F32, rows, cols));
        return check_optional(op, "weight", o->weight, DT_ACTIVATION, rows, cols);
    }
    if (tensor_is_set(o->master))
        return FAIL(LT_E_FAIL, "%s: both master and low are given, expected one", op);
    TRY(check_tensor(op, "low", o->low, DT_U16, rows, cols));
    return check_tensor(op, "weight", o->weight, DT_BF16, rows, cols);
}

static Status check_optim(const char *op, const OptimArgs *o)
{
    TRY(check_tensor(op, "grad", o->grad, DT_F32, ANY_SIZE, ANY_SIZE));
    TRY(check_master(op, o));
    TRY(check_tensor(op, "m", o->m, DT_TRAIN, o->grad.rows, o->grad.cols));
    if (o->step < 1)
        return FAIL(LT_E_FAIL, "%s: step is %lld, expected 1 or more", op, (long long)o->step);
    return LT_OK;
}

Status op_adamw(Device *dev, const OptimArgs *args)
{
    CHECK_SLOT(dev, adamw);
    TRY(check_optim("adamw", args));
    TRY(check_tensor("adamw", "v", args->v, DT_TRAIN, args->grad.rows, args->grad.cols));
    return is_empty(args->grad) ? LT_OK : dev->table->adamw(dev, args);
}

Status op_lion(Device *dev, const OptimArgs *args)
{
    CHECK_SLOT(dev, lion);
    TRY(check_optim("lion", args));
    return is_empty(args->grad) ? LT_OK : dev->table->lion(dev, args);
}
