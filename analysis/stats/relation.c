#include "analysis/stats/relation.h"

#include "analysis/stats/special.h"
#include "core/mem.h"
#include "core/stat.h"

#include <math.h>
#include <stdlib.h>

/* By the values: their deviations from a rounded mean need not be 0. */
static bool is_constant(const double *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

Correlation pearson(const double *x, const double *y, size_t n)
{
    Correlation c = {NAN, NAN};

    if (n < 2 || is_constant(x, n) || is_constant(y, n))
        return c;
    const double mean_x = stat_mean(x, n), mean_y = stat_mean(y, n);
    double xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        const double dx = x[i] - mean_x, dy = y[i] - mean_y;

        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    c.r = fmax(-1, fmin(1, xy / sqrt(xx * yy)));
    /* t = r sqrt(df / (1 - r^2)), so the beta function's argument df / (df + t^2) is 1 - r^2. */
    if (n > 2)
        c.p = beta_cdf((1 - c.r) * (1 + c.r), (double)(n - 2) / 2, 0.5);
    return c;
}

/* ---- ranks -------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b, void *values)
{
    const double *x = values, p = x[*(const size_t *)a], q = x[*(const size_t *)b];
    return (p > q) - (p < q);
}

Status average_ranks(double *rank, const double *x, size_t n)
{
    size_t *order;

    TRY(MEM_NEW(order, n));
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, by_value, (void *)x);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && x[order[to]] == x[order[from]];)
            to++;
        for (size_t i = from; i < to; i++)
            rank[order[i]] = (double)(from + to + 1) / 2;
    }
    mem_free(order);
    return LT_OK;
}

Status spearman(Correlation *out, const double *x, const double *y, size_t n)
{
    double *rank;
    Status st;

    TRY(MEM_NEW(rank, 2 * n));
    TRY_GOTO(average_ranks(rank, x, n), st, done);
    TRY_GOTO(average_ranks(rank + n, y, n), st, done);
    *out = pearson(rank, rank + n, n);
done:
    mem_free(rank);
    return st;
}

/* ---- fits --------------------------------------------------------------------------------------------------------------- */

/* Least squares in polynomials that are orthogonal on these x (Forsythe 1957): p0 = 1, p1 = x - a0, p2 = (x - a1) p1 - b. The usual equations in powers
 * of x would square a condition that is bad already where all x lie far from 0. */
typedef struct Basis {
    double a0, a1, b;
} Basis;

static double basis_value(const Basis *basis, int degree, double x)
{
    const double p1 = x - basis->a0;

    return degree == 0 ? 1 : degree == 1 ? p1 : (x - basis->a1) * p1 - basis->b;
}

static Basis basis_make(const double *x, size_t n)
{
    Basis basis = {.a0 = stat_mean(x, n)};
    double square = 0, moment = 0;

    for (size_t i = 0; i < n; i++) {
        const double p1 = x[i] - basis.a0;

        square += p1 * p1;
        moment += p1 * p1 * p1;
    }
    basis.a1 = basis.a0 + moment / square;
    basis.b = square / (double)n;
    return basis;
}

/* The share of p_degree in the residual y - (what the lower ones explain). */
static double basis_project(const Basis *basis, int degree, const double *x, const double *y, size_t n)
{
    double product = 0, square = 0;

    for (size_t i = 0; i < n; i++) {
        const double p = basis_value(basis, degree, x[i]);

        product += p * y[i];
        square += p * p;
    }
    return product / square;
}

static double explained(const double *x, const double *y, size_t n, const Basis *basis, const double *d)
{
    const double mean = stat_mean(y, n);
    double left = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        const double fitted = d[0] + d[1] * basis_value(basis, 1, x[i]) + d[2] * basis_value(basis, 2, x[i]);

        left += (y[i] - fitted) * (y[i] - fitted);
        all += (y[i] - mean) * (y[i] - mean);
    }
    return is_constant(y, n) ? (double)NAN : 1 - left / all;
}

static bool has_distinct(const double *x, size_t n, int wanted)
{
    double seen[3];
    int distinct = 0;

    for (size_t i = 0; i < n && distinct < wanted; i++) {
        bool fresh = true;
        for (int j = 0; j < distinct; j++)
            fresh = fresh && x[i] != seen[j];
        if (fresh)
            seen[distinct++] = x[i];
    }
    return distinct == wanted;
}

static Fit fit_polynomial(const double *x, const double *y, size_t n, int degree)
{
    if (!has_distinct(x, n, degree + 1))
        return (Fit){{NAN, NAN, NAN}, NAN};
    const Basis basis = basis_make(x, n);
    double d[3] = {0};
    for (int i = 0; i <= degree; i++)
        d[i] = basis_project(&basis, i, x, y, n);
    return (Fit){
        .c = {d[0] - d[1] * basis.a0 + d[2] * (basis.a0 * basis.a1 - basis.b), d[1] - d[2] * (basis.a0 + basis.a1), d[2]},
        .r2 = explained(x, y, n, &basis, d),
    };
}

Fit fit_line(const double *x, const double *y, size_t n) { return fit_polynomial(x, y, n, 1); }

Fit fit_parabola(const double *x, const double *y, size_t n) { return fit_polynomial(x, y, n, 2); }
