#include "analysis/matrix_values.h"

#include "analysis/matrix_device.h"

#include <math.h>

static bool all_zero(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] >= 0 && x[i] <= 0)) /* NaN is the op's to refuse */
            return false;
    return true;
}

Status matrix_values(Device *dev, double *sigma, double *value, int64_t m, int64_t n, ValueMethod method)
{
    const int64_t q = m < n ? m : n;
    OnDevice a;
    Status st;

    if (all_zero(value, m * n)) {
        memset(sigma, 0, (size_t)q * sizeof *sigma);
        return LT_OK;
    }
    TRY_GOTO(on_device_put(&a, dev, value, m, n), st, done);
    if (method == VALUES_SVD) {
        st = op_svd_values(dev, sigma, a.t);
    } else {
        st = op_gram_values(dev, sigma, a.t);
        for (int64_t i = 0; st == LT_OK && i < q; i++)
            sigma[i] = sqrt(sigma[i]);
    }
done:
    on_device_drop(&a, dev);
    return st;
}

/* ---- vectors -------------------------------------------------------------------------------------------------------------- */

/* Where all of a matrix is taken apart for k of its values; and how near to the best the random way comes: see op_svd_topk. */
enum { SMALL = 512, FEW = 4, OVERSAMPLE = 32, POWER_ITERATIONS = 6 };

static Status top_by_svd(Device *dev, double *u, double *sigma, double *vt, OnDevice *a, int64_t k)
{
    const int64_t m = a->t.rows, n = a->t.cols, q = m < n ? m : n;
    OnDevice left = {0}, right = {0};
    double *all;
    Status st;

    TRY(MEM_NEW(all, (size_t)((m + n + 1) * q)));
    TRY_GOTO(on_device_put(&left, dev, all, m, q), st, done);
    TRY_GOTO(on_device_put(&right, dev, all + m * q, q, n), st, done);
    TRY_GOTO(op_svd(dev, left.t, all + (m + n) * q, right.t, a->t), st, done);
    TRY_GOTO(on_device_get(&left, dev), st, done);
    TRY_GOTO(on_device_get(&right, dev), st, done);
    for (int64_t i = 0; i < m; i++)
        memcpy(u + i * k, all + i * q, (size_t)k * sizeof *u);
    memcpy(vt, all + m * q, (size_t)(k * n) * sizeof *vt);
    memcpy(sigma, all + (m + n) * q, (size_t)k * sizeof *sigma);
done:
    on_device_drop(&right, dev);
    on_device_drop(&left, dev);
    mem_free(all);
    return st;
}

static Status top_by_chance(Device *dev, double *u, double *sigma, double *vt, OnDevice *a, int64_t k)
{
    const TopkArgs args = {.k = (int32_t)k, .oversample = OVERSAMPLE, .power_iterations = POWER_ITERATIONS};
    OnDevice left, right = {0};
    Status st;

    TRY_GOTO(on_device_put(&left, dev, u, a->t.rows, k), st, done);
    TRY_GOTO(on_device_put(&right, dev, vt, k, a->t.cols), st, done);
    TRY_GOTO(op_svd_topk(dev, left.t, sigma, right.t, a->t, &args), st, done);
    TRY_GOTO(on_device_get(&left, dev), st, done);
    st = on_device_get(&right, dev);
done:
    on_device_drop(&right, dev);
    on_device_drop(&left, dev);
    return st;
}

Status matrix_top(Device *dev, double *u, double *sigma, double *vt, double *value, int64_t m, int64_t n, int64_t k)
{
    const int64_t q = m < n ? m : n;
    OnDevice a;

    Status st = on_device_put(&a, dev, value, m, n);
    if (st == LT_OK)
        st = q <= SMALL || FEW * (k + OVERSAMPLE) > q ? top_by_svd(dev, u, sigma, vt, &a, k) : top_by_chance(dev, u, sigma, vt, &a, k);
    on_device_drop(&a, dev);
    return st;
}

/* ---- products ------------------------------------------------------------------------------------------------------------- */

/* r[k,k]: the triangle of a[rows,k], which is destroyed. */
static Status triangle(Device *dev, double *r, double *a, int64_t rows, int64_t k)
{
    OnDevice tall, small = {0};
    Status st;

    TRY_GOTO(on_device_put(&tall, dev, a, rows, k), st, done);
    TRY_GOTO(on_device_put(&small, dev, r, k, k), st, done);
    TRY_GOTO(op_qr(dev, tall.t, small.t, tall.t), st, done);
    st = on_device_get(&small, dev);
done:
    on_device_drop(&small, dev);
    on_device_drop(&tall, dev);
    return st;
}

/* core = scale rb raT, both upper triangular [k,k]. */
static void multiply_triangles(double *core, const double *rb, const double *ra, int64_t k, double scale)
{
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            double sum = 0;

            for (int64_t l = i > j ? i : j; l < k; l++)
                sum += rb[i * k + l] * ra[j * k + l];
            core[i * k + j] = scale * sum;
        }
}

static Status thin_product(Device *dev, double *sigma, const ParamEntry *a)
{
    const int64_t k = a->rows, n = a->cols, m = a[1].rows, longest = m > n ? m : n;
    const float *fa = a->value.data, *fb = a[1].value.data;
    double *tall, *rb, *ra, *core;
    Status st;

    TRY(MEM_NEW(tall, (size_t)(longest * k + 3 * k * k)));
    rb = tall + longest * k;
    ra = rb + k * k;
    core = ra + k * k;
    for (int64_t i = 0; i < m * k; i++)
        tall[i] = (double)fb[i];
    TRY_GOTO(triangle(dev, rb, tall, m, k), st, done);
    for (int64_t j = 0; j < n; j++)
        for (int64_t l = 0; l < k; l++)
            tall[j * k + l] = (double)fa[l * n + j];
    TRY_GOTO(triangle(dev, ra, tall, n, k), st, done);
    multiply_triangles(core, rb, ra, k, a->scale);
    st = matrix_values(dev, sigma, core, k, k, VALUES_SVD);
done:
    mem_free(tall);
    return st;
}

void matrix_product(double *product, const ParamEntry *a)
{
    const int64_t k = a->rows, n = a->cols, m = a[1].rows;
    const float *fa = a->value.data, *fb = a[1].value.data;

    memset(product, 0, (size_t)(m * n) * sizeof *product);
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++)
            for (int64_t j = 0; j < n; j++)
                product[i * n + j] += a->scale * (double)fb[i * k + l] * (double)fa[l * n + j];
}

/* A rank that no matrix of the shape can have: the factors save nothing. */
static Status thick_product(Device *dev, double *sigma, const ParamEntry *a)
{
    const int64_t n = a->cols, m = a[1].rows;
    double *product;

    TRY(MEM_NEW(product, (size_t)(m * n)));
    matrix_product(product, a);
    const Status st = matrix_values(dev, sigma, product, m, n, VALUES_SVD);
    mem_free(product);
    return st;
}

Status matrix_product_values(Device *dev, double *sigma, const ParamEntry *a)
{
    const int64_t m = a[1].rows, n = a->cols, q = m < n ? m : n;

    memset(sigma, 0, (size_t)q * sizeof *sigma);
    return a->rows <= q ? thin_product(dev, sigma, a) : thick_product(dev, sigma, a);
}
