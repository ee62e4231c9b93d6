/* Singular values, SVD and QR by LAPACK, one thread a call: gesdd (bidiagonalisation, then divide and conquer), gelqf and orglq.
 * Operations for m >= n: values 4 m n^2 - 4/3 n^3 (half of it bound by memory), SVD about 14 m n^2 + 8 n^3, QR 4 m n^2 - 4/3 n^3. */
#include "kernels/cpu/lapack.h"

#include "core/mem.h"

#include <string.h>

typedef struct SvdCall {
    const char *op;
    char job; /* N: values only, S: economy */
    lapack_int m, n, lda, ldu, ldvt; /* of the column-major matrix: a's transpose */
    Tensor u, vt, a;
    void *sigma, *work; /* in a's dtype */
    lapack_int *iwork;
} SvdCall;

/* The left vectors of the transpose are the right ones of a, row by row: its u is our vt, its vt our u, as they lie. */
static lapack_int gesdd(const Lapack *l, const SvdCall *c, void *work, lapack_int n_work)
{
    if (c->a.dtype == LT_F32)
        return l->sgesdd(LAPACK_COL_MAJOR, c->job, c->m, c->n, c->a.data, c->lda, c->sigma, c->vt.data, c->ldu, c->u.data, c->ldvt, work, n_work,
                         c->iwork);
    return l->dgesdd(LAPACK_COL_MAJOR, c->job, c->m, c->n, c->a.data, c->lda, c->sigma, c->vt.data, c->ldu, c->u.data, c->ldvt, work, n_work,
                     c->iwork);
}

static double first_of(const void *values, DType dtype) { return dtype == LT_F32 ? (double)*(const float *)values : *(const double *)values; }

/* An F32 cannot hold every size: LAPACK rounds a few off, towards zero perhaps. */
static Status work_size(lapack_int *n_work, const char *op, DType dtype, const void *answer)
{
    const double asked = first_of(answer, dtype);

    return lapack_size(n_work, op, (int64_t)(asked * (dtype == LT_F32 ? 1 + 0x1p-23 : 1)) + 1);
}

static Status run_svd(const Lapack *l, SvdCall *c, double *sigma)
{
    const int64_t q = c->m < c->n ? c->m : c->n;
    const size_t size = dtype_bytes(c->a.dtype);
    lapack_int n_work;
    double answer;

    BUG_IF(gesdd(l, c, &answer, -1) != 0);
    TRY(work_size(&n_work, c->op, c->a.dtype, &answer));
    TRY((c->work = mem_resize(NULL, (size_t)n_work, size)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY((c->sigma = mem_take((size_t)q, size)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY(MEM_NEW(c->iwork, (size_t)(8 * q)));
    TRY(lapack_done(gesdd(l, c, c->work, n_work), c->op, c->a.dtype == LT_F32 ? "sgesdd" : "dgesdd", c->a));
    for (int64_t i = 0; i < q; i++)
        sigma[i] = c->a.dtype == LT_F32 ? (double)((const float *)c->sigma)[i] : ((const double *)c->sigma)[i];
    return LT_OK;
}

static Status svd(Device *dev, SvdCall *c, double *sigma)
{
    const Lapack *l;
    Status st;

    TRY(lapack_of(dev, &l));
    TRY(lapack_size(&c->m, c->op, c->a.cols));
    TRY(lapack_size(&c->n, c->op, c->a.rows));
    TRY(lapack_size(&c->lda, c->op, c->a.stride));
    TRY(lapack_size(&c->ldu, c->op, c->vt.stride));
    TRY(lapack_size(&c->ldvt, c->op, c->u.stride));
    st = run_svd(l, c, sigma);
    mem_free(c->work);
    mem_free(c->sigma);
    mem_free(c->iwork);
    return st;
}

Status cpu_svd_values(Device *dev, double *sigma, Tensor a)
{
    const Tensor none = {.stride = 1}; /* a leading dimension of 0 is none */

    return svd(dev, &(SvdCall){.op = "svd_values", .job = 'N', .u = none, .vt = none, .a = a}, sigma);
}

Status cpu_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    return svd(dev, &(SvdCall){.op = "svd", .job = 'S', .u = u, .vt = vt, .a = a}, sigma);
}

typedef struct QrCall {
    lapack_int m, n, ld; /* of q: rows, columns, stride */
    Tensor q;
    void *tau, *work;
} QrCall;

/* a = q r is, column-major, aT = rT qT: a lower triangle times orthonormal rows. */
static lapack_int gelqf(const Lapack *l, const QrCall *c, void *work, lapack_int n_work)
{
    return c->q.dtype == LT_F32 ? l->sgelqf(LAPACK_COL_MAJOR, c->n, c->m, c->q.data, c->ld, c->tau, work, n_work)
                                : l->dgelqf(LAPACK_COL_MAJOR, c->n, c->m, c->q.data, c->ld, c->tau, work, n_work);
}

static lapack_int orglq(const Lapack *l, const QrCall *c, void *work, lapack_int n_work)
{
    return c->q.dtype == LT_F32 ? l->sorglq(LAPACK_COL_MAJOR, c->n, c->m, c->n, c->q.data, c->ld, c->tau, work, n_work)
                                : l->dorglq(LAPACK_COL_MAJOR, c->n, c->m, c->n, c->q.data, c->ld, c->tau, work, n_work);
}

static char *at(Tensor t, int64_t row, int64_t col) { return (char *)t.data + (size_t)(row * t.stride + col) * dtype_bytes(t.dtype); }

/* The triangle of the factorised matrix; zeros below. */
static void take_triangle(Tensor r, Tensor from)
{
    const size_t size = dtype_bytes(r.dtype);

    for (int64_t i = 0; i < r.rows; i++) {
        memset(at(r, i, 0), 0, (size_t)i * size);
        memcpy(at(r, i, i), at(from, i, i), (size_t)(r.cols - i) * size);
    }
}

static void negate(void *element, DType dtype)
{
    if (dtype == LT_F32)
        *(float *)element = -*(float *)element;
    else
        *(double *)element = -*(double *)element;
}

/* Rows of r whose diagonal is negative change their sign, and the columns of q with them. */
static void make_diagonal_positive(Tensor q, Tensor r)
{
    for (int64_t i = 0; i < r.rows; i++) {
        if (!(first_of(at(r, i, i), r.dtype) < 0))
            continue;
        for (int64_t j = i; j < r.cols; j++)
            negate(at(r, i, j), r.dtype);
        for (int64_t row = 0; row < q.rows; row++)
            negate(at(q, row, i), q.dtype);
    }
}

static Status run_qr(const Lapack *l, QrCall *c, Tensor r)
{
    const size_t size = dtype_bytes(r.dtype);
    const bool single = r.dtype == LT_F32;
    lapack_int n_work, n_other;
    double answer;

    BUG_IF(gelqf(l, c, &answer, -1) != 0);
    TRY(work_size(&n_work, "qr", r.dtype, &answer));
    BUG_IF(orglq(l, c, &answer, -1) != 0);
    TRY(work_size(&n_other, "qr", r.dtype, &answer));
    n_work = n_work > n_other ? n_work : n_other;
    TRY((c->work = mem_resize(NULL, (size_t)n_work, size)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY((c->tau = mem_take((size_t)c->n, size)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY(lapack_done(gelqf(l, c, c->work, n_work), "qr", single ? "sgelqf" : "dgelqf", c->q));
    take_triangle(r, c->q);
    TRY(lapack_done(orglq(l, c, c->work, n_work), "qr", single ? "sorglq" : "dorglq", c->q));
    make_diagonal_positive(c->q, r);
    return LT_OK;
}

Status cpu_qr(Device *dev, Tensor q, Tensor r, Tensor a)
{
    QrCall c = {.q = q};
    const Lapack *l;
    Status st;

    TRY(lapack_of(dev, &l));
    TRY(lapack_size(&c.m, "qr", q.rows));
    TRY(lapack_size(&c.n, "qr", q.cols));
    TRY(lapack_size(&c.ld, "qr", q.stride));
    if (q.data != a.data)
        TRY(device_copy(dev, q, a));
    st = run_qr(l, &c, r);
    mem_free(c.work);
    mem_free(c.tau);
    return st;
}
