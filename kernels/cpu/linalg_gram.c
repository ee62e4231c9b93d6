/* Eigenvalues of the smaller Gram matrix. For q = min(m, n) and k = max(m, n): k q^2 operations for the matrix, in tiles over the pool; 4/3 q^3 to
 * make it a band, 6 BAND q^2 to make that three diagonals, and about 30 q^2 in one thread for their eigenvalues. */
#include "kernels/cpu/linalg.h"

#include "core/mem.h"

#include <math.h>

/* A tile of the result and a step along the sum. One BLAS call a step: 2 TILE^2 DEPTH operations, and its operands stay in the second-level cache. */
enum { TILE = 256, DEPTH = 256 };

typedef struct GramRun {
    Device *dev;
    const Lapack *l;
    Tensor a;
    bool rows_short; /* m <= n: the matrix is a aT, else aT a */
    int64_t q, k;
    double *g;       /* [q, q], its upper triangle */
} GramRun;

typedef struct Operand {
    const double *data;
    int64_t ld;
} Operand;

/* Vectors i.. of the short side, steps p.. of the long one: where a is F64 as they lie, else widened into `room`. */
static Operand operand(const GramRun *r, int64_t i, int64_t n_i, int64_t p, int64_t n_p, double *room)
{
    const int64_t row = r->rows_short ? i : p, col = r->rows_short ? p : i, rows = r->rows_short ? n_i : n_p, cols = r->rows_short ? n_p : n_i;
    const int64_t at = row * r->a.stride + col;

    if (r->a.dtype == LT_F64)
        return (Operand){(const double *)r->a.data + at, r->a.stride};
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < cols; x++)
            room[y * cols + x] = (double)((const float *)r->a.data)[at + y * r->a.stride + x];
    return (Operand){room, cols};
}

/* Tile `index` of the upper triangle, counted column by column. */
static Status gram_tile(void *context, int64_t index, int thread)
{
    const GramRun *r = context;
    const int64_t col = (int64_t)((sqrt(8.0 * (double)index + 1.0) - 1.0) / 2.0), j = col * TILE, i = (index - col * (col + 1) / 2) * TILE;
    const int64_t n_i = r->q - i < TILE ? r->q - i : TILE, n_j = r->q - j < TILE ? r->q - j : TILE;
    const CBLAS_TRANSPOSE left = r->rows_short ? CblasNoTrans : CblasTrans, right = r->rows_short ? CblasTrans : CblasNoTrans;
    double *const g = r->g + i * r->q + j, *room = cpu_scratch(r->dev, thread, 2 * TILE * DEPTH * sizeof *room);

    if (room == NULL)
        return LT_E_NOMEM;
    for (int64_t p = 0; p < r->k; p += DEPTH) {
        const int64_t n_p = r->k - p < DEPTH ? r->k - p : DEPTH;
        const double beta = p == 0 ? 0.0 : 1.0;
        const Operand a = operand(r, i, n_i, p, n_p, room);

        if (i == j) {
            r->l->dsyrk(CblasRowMajor, CblasUpper, left, (int)n_i, (int)n_p, 1.0, a.data, (int)a.ld, beta, g, (int)r->q);
        } else {
            const Operand b = operand(r, j, n_j, p, n_p, room + TILE * DEPTH);

            r->l->dgemm(CblasRowMajor, left, right, (int)n_i, (int)n_j, (int)n_p, 1.0, a.data, (int)a.ld, b.data, (int)b.ld, beta, g, (int)r->q);
        }
    }
    return LT_OK;
}

/* The band times a power of two, which brings the largest element near 1: the squares on the way to three diagonals must not leave the range of
 * F64. The elements of a Gram matrix are no larger than the largest on the diagonal, and no similarity makes them so. */
static int scale_band(double *band, double largest, int64_t n)
{
    const int exponent = largest > 0 ? (int)logb(largest) : 0;

    for (int64_t i = 0; i < n * BAND_LD; i++)
        band[i] = ldexp(band[i], -exponent);
    return exponent;
}

/* Ascending. */
static Status eigenvalues(const GramRun *r, double *lambda)
{
    double *below, *band, largest = 0;
    Status st;
    int exponent;

    for (int64_t i = 0; i < r->q; i++)
        largest = fmax(largest, r->g[i * r->q + i]);
    TRY(MEM_NEW(below, (size_t)(r->q + (r->q + BAND_EXTRA) * BAND_LD)));
    band = below + r->q;
    TRY_GOTO(linalg_to_band(r->dev, r->l, band, r->g, r->q), st, done);
    exponent = scale_band(band, largest, r->q);
    TRY_GOTO(linalg_to_tridiagonal(r->dev, lambda, below, band, r->q), st, done);
    TRY_GOTO(lapack_done(r->l->dsterf((lapack_int)r->q, lambda, below), "gram_values", "dsterf", r->a), st, done);
    for (int64_t i = 0; i < r->q; i++)
        lambda[i] = ldexp(lambda[i], exponent);
done:
    mem_free(below);
    return st;
}

Status cpu_gram_values(Device *dev, double *lambda, Tensor a)
{
    const bool rows_short = a.rows <= a.cols;
    GramRun r = {.dev = dev, .a = a, .rows_short = rows_short, .q = rows_short ? a.rows : a.cols, .k = rows_short ? a.cols : a.rows};
    const int64_t tiles = (r.q + TILE - 1) / TILE;
    lapack_int q, size;
    Status st;

    TRY(lapack_of(dev, &r.l));
    TRY(lapack_size(&q, "gram_values", r.q));
    TRY(lapack_size(&size, "gram_values", a.stride));
    TRY((r.g = mem_resize(NULL, (size_t)(r.q * r.q), sizeof *r.g)) != NULL ? LT_OK : LT_E_NOMEM);
    TRY_GOTO(pool_run(dev->pool, tiles * (tiles + 1) / 2, gram_tile, &r), st, done);
    TRY_GOTO(eigenvalues(&r, lambda), st, done);
done:
    mem_free(r.g);
    return st;
}
