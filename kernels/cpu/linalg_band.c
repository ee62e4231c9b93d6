/* From a dense symmetric matrix to a band: 4/3 n^3 operations, all but the panels' QR in matrix products over the pool.
 *
 * For each panel of BAND columns: QR of what lies below its band, v with t; then from both sides, a -= v xT + x vT with x = w - v (tT vT w) / 2 and w = a v t, on
 * what is left of the matrix. In the library's words: a is column-major, its lower triangle. */
#include "kernels/cpu/linalg.h"

#include "core/mem.h"

#include <string.h>

/* Rows of a task. */
enum { ROWS = 192 };

typedef struct Reduction {
    const Lapack *l;
    double *g;
    int64_t n;
    /* of the current panel */
    double *a;      /* what is left of the matrix: [m, m] at g's stride */
    int64_t m, k;   /* k reflections */
    double *v;      /* [m, 3 k], column-major: v, x, v again, so that both products of the update are one */
    double *vt;     /* [m, k]: v t */
    double *t, *s;  /* [k, k] */
} Reduction;

static int64_t rows_of(const Reduction *r, int64_t from) { return r->m - from < ROWS ? r->m - from : ROWS; }

/* c[m,n] = alpha op(a) op(b) + beta c, column-major */
static void product(const Lapack *l, CBLAS_TRANSPOSE op_a, CBLAS_TRANSPOSE op_b, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                    const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    l->dgemm(CblasColMajor, op_a, op_b, (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/* Rows from.. of w = a (v t), into x's place: left of the diagonal block as they lie, below it transposed, and the block itself. */
static Status multiply_rows(void *context, int64_t index, int thread)
{
    const Reduction *r = context;
    const int64_t from = index * ROWS, rows = rows_of(r, from), behind = from + rows;
    double *w = r->v + r->k * r->m + from;

    (void)thread;
    r->l->dsymm(CblasColMajor, CblasLeft, CblasLower, (int)rows, (int)r->k, 1.0, r->a + from * r->n + from, (int)r->n, r->vt + from, (int)r->m, 0.0, w,
                (int)r->m);
    if (from > 0)
        product(r->l, CblasNoTrans, CblasNoTrans, rows, r->k, from, 1.0, r->a + from, r->n, r->vt, r->m, 1.0, w, r->m);
    if (behind < r->m)
        product(r->l, CblasTrans, CblasNoTrans, rows, r->k, r->m - behind, 1.0, r->a + from * r->n + behind, r->n, r->vt + behind, r->m, 1.0, w, r->m);
    return LT_OK;
}

/* Rows from.. of x = w - v s / 2. */
static Status correct_rows(void *context, int64_t index, int thread)
{
    const Reduction *r = context;
    const int64_t from = index * ROWS;

    (void)thread;
    product(r->l, CblasNoTrans, CblasNoTrans, rows_of(r, from), r->k, r->k, -0.5, r->v + from, r->m, r->s, r->k, 1.0, r->v + r->k * r->m + from, r->m);
    return LT_OK;
}

/* Rows from.. of a -= x vT + v xT, up to the diagonal block and all of it. The last rows have most to do and go first. */
static Status update_rows(void *context, int64_t index, int thread)
{
    const Reduction *r = context;
    const int64_t from = ((r->m - 1) / ROWS - index) * ROWS, rows = rows_of(r, from);

    (void)thread;
    product(r->l, CblasNoTrans, CblasTrans, rows, from + rows, 2 * r->k, -1.0, r->v + r->k * r->m + from, r->m, r->v, r->m, 1.0, r->a + from, r->n);
    return LT_OK;
}

/* v as a matrix of its own: ones on the diagonal, zeros above; twice. vt = v t. */
static void take_panel(const Reduction *r, const double *panel)
{
    for (int64_t j = 0; j < r->k; j++) {
        double *v = r->v + j * r->m;

        memset(v, 0, (size_t)j * sizeof *v);
        v[j] = 1;
        memcpy(v + j + 1, panel + j * r->n + j + 1, (size_t)(r->m - j - 1) * sizeof *v);
        memcpy(v + 2 * r->k * r->m, v, (size_t)r->m * sizeof *v);
    }
    product(r->l, CblasNoTrans, CblasNoTrans, r->m, r->k, r->k, 1.0, r->v, r->m, r->t, r->k, 0.0, r->vt, r->m);
}

/* One panel: columns j.. of the band are then done. work: BAND^2. */
static Status reduce_panel(Device *dev, Reduction *r, int64_t j, double *work)
{
    double *panel = r->g + j * r->n + j + BAND, *x;
    int64_t tasks;

    r->m = r->n - j - BAND;
    r->k = r->m < BAND ? r->m : BAND;
    r->a = panel + BAND * r->n;
    tasks = (r->m + ROWS - 1) / ROWS;
    x = r->v + r->k * r->m;
    memset(r->t, 0, (size_t)(r->k * r->k) * sizeof *r->t);
    BUG_IF(r->l->dgeqrt(LAPACK_COL_MAJOR, (lapack_int)r->m, BAND, (lapack_int)r->k, panel, (lapack_int)r->n, r->t, (lapack_int)r->k, work) != 0);
    take_panel(r, panel);
    TRY(pool_run(dev->pool, tasks, multiply_rows, r));
    product(r->l, CblasTrans, CblasNoTrans, r->k, r->k, r->m, 1.0, r->v, r->m, x, r->m, 0.0, work, r->k);
    product(r->l, CblasTrans, CblasNoTrans, r->k, r->k, r->k, 1.0, r->t, r->k, work, r->k, 0.0, r->s, r->k);
    TRY(pool_run(dev->pool, tasks, correct_rows, r));
    return pool_run(dev->pool, tasks, update_rows, r);
}

/* Below the band the panels hold their reflections, not zeros. */
static void take_band(double *band, const double *g, int64_t n)
{
    memset(band, 0, (size_t)((n + BAND_EXTRA) * BAND_LD) * sizeof *band);
    for (int64_t j = 0; j < n; j++)
        memcpy(band_at(band, j, j), g + j * n + j, (size_t)(n - j < BAND + 1 ? n - j : BAND + 1) * sizeof *band);
}

Status linalg_to_band(Device *dev, const Lapack *l, double *band, double *g, int64_t n)
{
    Reduction r = {.l = l, .g = g, .n = n};
    double *block;
    Status st = LT_OK;

    TRY(MEM_NEW(block, (size_t)(4 * n * BAND + 3 * BAND * BAND)));
    r.v = block;
    r.vt = r.v + 3 * n * BAND;
    r.t = r.vt + n * BAND;
    r.s = r.t + BAND * BAND;
    for (int64_t j = 0; j + BAND + 1 < n && st == LT_OK; j += BAND)
        st = reduce_panel(dev, &r, j, r.s + BAND * BAND);
    if (st == LT_OK)
        take_band(band, g, n);
    mem_free(block);
    return st;
}
