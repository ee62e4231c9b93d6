#include "kernels/linalg_check.h"

#include "core/mem.h"
#include "core/random.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* The mean over random signs of |e x|^2 is |e|^2 (Frobenius), so each probe is an estimate of the whole error at the price of one product with a
 * vector; four make a lucky one unlikely. */
enum { PROBES = 4 };

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* The bound on |e| for an a of this norm; see the header. */
static double bound(DType dtype, int64_t m, int64_t n, double norm)
{
    const double eps = dtype == LT_F32 ? (double)FLT_EPSILON : DBL_EPSILON, tiny = dtype == LT_F32 ? 0x1p-149 : 0x1p-1074;

    return (10 + (double)larger(m, n)) * (eps * norm + sqrt((double)m * (double)n) * tiny);
}

static double element(const void *row, DType dtype, int64_t i)
{
    return dtype == LT_F32 ? (double)((const float *)row)[i] : ((const double *)row)[i];
}

/* Some square or their sum is not finite: says which element is to blame. */
static Status name_culprit(Device *dev, const char *op, Tensor a)
{
    void *row = mem_take((size_t)a.cols, dtype_bytes(a.dtype));
    Status st = row != NULL ? LT_OK : LT_E_NOMEM;

    for (int64_t i = 0; i < a.rows && st == LT_OK; i++) {
        st = device_download(dev, row, tensor_rows(a, i, 1));
        for (int64_t j = 0; j < a.cols && st == LT_OK; j++)
            if (!isfinite(element(row, a.dtype, j)))
                st = FAIL(LT_E_NUMERIC, "%s: a[%lld, %lld] is %g, expected finite numbers", op, (long long)i, (long long)j,
                          element(row, a.dtype, j));
    }
    mem_free(row);
    TRY(st);
    return FAIL(LT_E_NUMERIC, "%s: the squares of a's elements sum up to more than an f64 can hold", op);
}

Status linalg_norm(Device *dev, const char *op, Tensor a, double *norm)
{
    TensorArena arena;
    Tensor out;
    double sum;
    Status st;

    tensor_arena_plan(&arena, dev);
    TRY(tensor_arena_take(&arena, &out, LT_F64, 1, 1));
    TRY(tensor_arena_open(&arena, dev, arena.used));
    TRY_GOTO(tensor_arena_take(&arena, &out, LT_F64, 1, 1), st, done);
    TRY_GOTO(device_fill_zero(dev, out), st, done);
    TRY_GOTO(op_sumsq(dev, out, a), st, done);
    TRY_GOTO(device_download(dev, &sum, out), st, done);
    if (!isfinite(sum))
        TRY_GOTO(name_culprit(dev, op, a), st, done);
    *norm = sqrt(sum);
done:
    tensor_arena_close(&arena);
    return st;
}

Status linalg_check_values(const char *op, const double *sigma, Tensor a, double norm)
{
    const int64_t q = a.rows < a.cols ? a.rows : a.cols;
    double sum = 0;

    for (int64_t i = 0; i < q; i++)
        sum += sigma[i] * sigma[i];
    if (!(fabs(sqrt(sum) - norm) <= bound(a.dtype, a.rows, a.cols, norm)))
        return FAIL(LT_E_NUMERIC, "%s of [%lld, %lld]: the values have the norm %.17g, the matrix %.17g", op, (long long)a.rows,
                    (long long)a.cols, sqrt(sum), norm);
    return LT_OK;
}

static Status take_all(LinalgCheck *c)
{
    const int64_t most = larger(c->m, c->n);

    TRY(tensor_arena_take(&c->arena, &c->signs, c->dtype, PROBES, c->n));
    TRY(tensor_arena_take(&c->arena, &c->image, c->dtype, PROBES, c->m));
    TRY(tensor_arena_take(&c->arena, &c->near, c->dtype, PROBES, most));
    return tensor_arena_take(&c->arena, &c->far, c->dtype, PROBES, most);
}

/* to[PROBES, cols] = from, as F64; and back. */
static Status fetch(LinalgCheck *c, double *to, Tensor from)
{
    TRY(device_download(c->dev, c->raw, from));
    for (int64_t i = 0; i < from.rows * from.cols; i++)
        to[i] = element(c->raw, from.dtype, i);
    return LT_OK;
}

static Status send(LinalgCheck *c, Tensor to, const double *from)
{
    for (int64_t i = 0; i < to.rows * to.cols; i++)
        if (to.dtype == LT_F32)
            ((float *)c->raw)[i] = (float)from[i];
        else
            ((double *)c->raw)[i] = from[i];
    return device_upload(c->dev, to, c->raw);
}

static Tensor columns(Tensor t, int64_t n) { return tensor_of(t.data, t.dtype, t.rows, n); }

/* y = x op(b) */
static Status multiply(LinalgCheck *c, Tensor y, Tensor x, Tensor b, GemmOp op_b)
{
    return op_gemm(c->dev, &(GemmArgs){.c = y, .a = x, .b = b, .op_b = op_b});
}

/* Always the same ones. */
static Status send_signs(LinalgCheck *c)
{
    const uint32_t key[2] = {0};

    for (int64_t i = 0; i < PROBES * c->n; i++) {
        const uint32_t counter[4] = {(uint32_t)i};
        uint32_t word[4];

        philox4x32(counter, key, word);
        c->got[i] = (word[0] & 1) != 0 ? c->unit : -c->unit;
    }
    return send(c, c->signs, c->got);
}

Status linalg_check_open(LinalgCheck *c, Device *dev, const char *op, Tensor a)
{
    const size_t most = (size_t)(PROBES * larger(a.rows, a.cols));

    *c = (LinalgCheck){.dev = dev, .op = op, .dtype = a.dtype, .m = a.rows, .n = a.cols};
    TRY(linalg_norm(dev, op, a, &c->norm));
    /* Within what an F32 holds even after a sum over a row. */
    c->unit = c->norm > 0 ? ldexp(1.0, -(int)fmax(-100, fmin(100, logb(c->norm)))) : 1.0;
    TRY((c->raw = mem_take(most, sizeof(double))) != NULL ? LT_OK : LT_E_NOMEM);
    TRY(MEM_NEW(c->got, most));
    TRY(MEM_NEW(c->want, most));
    tensor_arena_plan(&c->arena, dev);
    TRY(take_all(c));
    TRY(tensor_arena_open(&c->arena, dev, c->arena.used));
    TRY(take_all(c));
    TRY(send_signs(c));
    return multiply(c, c->image, c->signs, a, GEMM_T);
}

void linalg_check_close(LinalgCheck *c)
{
    if (c->arena.base != NULL)
        tensor_arena_close(&c->arena);
    mem_free(c->raw);
    mem_free(c->got);
    mem_free(c->want);
    *c = (LinalgCheck){0};
}

/* |got - want| over all probes, against the bound for one. */
static Status compare(LinalgCheck *c, const char *what, Tensor got, Tensor want, double limit)
{
    double error = 0;

    TRY(fetch(c, c->got, got));
    TRY(fetch(c, c->want, want));
    for (int64_t i = 0; i < got.rows * got.cols; i++)
        error += (c->got[i] - c->want[i]) * (c->got[i] - c->want[i]);
    error = sqrt(error / PROBES);
    if (!(error <= limit))
        return FAIL(LT_E_NUMERIC, "%s of [%lld, %lld]: %s is off by %.3g, expected at most %.3g", c->op, (long long)c->m, (long long)c->n, what,
                    error, limit);
    return LT_OK;
}

/* near[PROBES, r] = signs rightT diag(scale) */
static Status signs_through(LinalgCheck *c, const double *scale, Tensor right)
{
    const int64_t r = right.rows;
    const Tensor y = columns(c->near, r);

    TRY(multiply(c, y, c->signs, right, GEMM_T));
    if (scale == NULL)
        return LT_OK;
    TRY(fetch(c, c->got, y));
    for (int64_t i = 0; i < PROBES * r; i++)
        c->got[i] *= scale[i % r];
    return send(c, y, c->got);
}

Status linalg_check_product(LinalgCheck *c, Tensor left, const double *scale, Tensor right)
{
    const Tensor y = columns(c->far, c->m);

    TRY(signs_through(c, scale, right));
    TRY(multiply(c, y, columns(c->near, right.rows), left, GEMM_T));
    return compare(c, "the product of the factors", y, c->image, c->unit * bound(c->dtype, c->m, c->n, c->norm));
}

Status linalg_check_projection(LinalgCheck *c, Tensor left, const double *scale, Tensor right)
{
    const Tensor y = columns(c->far, right.rows);

    TRY(signs_through(c, scale, right));
    TRY(multiply(c, y, c->image, left, GEMM_N));
    return compare(c, "the matrix seen through the left vectors", y, columns(c->near, right.rows), c->unit * bound(c->dtype, c->m, c->n, c->norm));
}

Status linalg_check_orthonormal(LinalgCheck *c, const char *name, Tensor t, GemmOp op_t)
{
    const int64_t r = op_t == GEMM_N ? t.cols : t.rows, length = op_t == GEMM_N ? t.rows : t.cols;
    const Tensor x = tensor_cols(c->signs, 0, r), y = columns(c->near, length), back = columns(c->far, r);
    char what[48];

    snprintf(what, sizeof what, "orthogonality of %s", name);
    TRY(multiply(c, y, x, t, op_t == GEMM_N ? GEMM_T : GEMM_N));
    TRY(multiply(c, back, y, t, op_t));
    return compare(c, what, back, x, c->unit * bound(c->dtype, c->m, c->n, sqrt((double)r)));
}
