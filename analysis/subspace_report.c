#include "analysis/subspace_report.h"

#include "analysis/spectrum.h"
#include "core/mem.h"

#include <float.h>
#include <math.h>

static const char *const SIDE_NAME[] = {"left", "right"};
static const double EPSILON[] = {0.3, 0.4, 0.5, 0.6, 0.7};
enum { N_EPSILON = sizeof EPSILON / sizeof *EPSILON };

typedef struct Report {
    Device *dev;
    SubspaceRows *out;
    const Svd *base, *other; /* other: of the change, or of the tuned matrix */
    int64_t asked;           /* vectors of the base */
    int64_t common;          /* of them and of the other, where both have a meaning */
} Report;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* 1, 4, 16, .. last; 0 behind it. */
static int64_t next_k(int64_t k, int64_t last) { return k == 0 ? smaller(1, last) : k == last ? 0 : smaller(4 * k, last); }

static int64_t rank_of(const Svd *s) { return spectrum_numerical_rank(s->sigma, s->m, s->n, DBL_EPSILON); }

static int64_t dim_of(const Svd *s, Side side) { return side == SIDE_LEFT ? s->m : s->n; }

static double fro_of(const Svd *s) { return spectrum_stats(s->sigma, s->q).fro; }

static Status add(const Report *r, SubspaceRow row)
{
    TRY(MEM_GROW(r->out->row, r->out->cap, r->out->count + 1));
    r->out->row[r->out->count++] = row;
    return LT_OK;
}

static Status add_plain(const Report *r, const char *quantity, const char *side, int64_t k, double value, double chance)
{
    return add(r, (SubspaceRow){.quantity = quantity, .side = side, .k = k, .epsilon = NAN, .value = value, .chance = chance});
}

/* Cosines of vectors [from, from + rows) of the base by the first cols of the other; mem_free. */
static Status take_cosines(double **out, const Report *r, Side side, int64_t from, int64_t rows, int64_t cols)
{
    double *cosine;

    TRY(MEM_NEW(cosine, (size_t)(rows * cols)));
    const Status st = subspace_cosines(r->dev, cosine, svd_space(r->base, side, from, rows), svd_space(r->other, side, 0, cols));
    if (st == LT_OK)
        *out = cosine;
    else
        mem_free(cosine);
    return st;
}

/* ---- the change ----------------------------------------------------------------------------------------------------------- */

static Status add_alignment(const Report *r, Side side)
{
    const int64_t q = r->base->q, dim = dim_of(r->base, side);
    double *top = NULL, *bottom = NULL;
    Status st;

    TRY_GOTO(take_cosines(&top, r, side, 0, r->asked, q), st, done);
    TRY_GOTO(take_cosines(&bottom, r, side, q - r->asked, r->asked, q), st, done);
    for (int64_t k = 0; (k = next_k(k, r->asked)) > 0;) {
        const double *last = bottom + (r->asked - k) * q, chance = (double)k / (double)dim;

        TRY_GOTO(add_plain(r, "change_in_top", SIDE_NAME[side], k, subspace_alignment(top, k, r->other->sigma, q), chance), st, done);
        TRY_GOTO(add_plain(r, "change_in_bottom", SIDE_NAME[side], k, subspace_alignment(last, k, r->other->sigma, q), chance), st, done);
    }
    for (int64_t k = 0; (k = next_k(k, r->common)) > 0;)
        TRY_GOTO(add_plain(r, "overlap_change", SIDE_NAME[side], k, subspace_overlap(top, q, k, k), subspace_overlap_chance(k, k, dim)), st, done);
done:
    mem_free(top);
    mem_free(bottom);
    return st;
}

static Status add_amplification(const Report *r)
{
    const int64_t q = r->base->q;
    const double fro = fro_of(r->other), root = sqrt((double)r->base->m * (double)r->base->n), base_fro = fro_of(r->base);
    double *left = NULL, *right = NULL;
    Status st;

    TRY_GOTO(take_cosines(&left, r, SIDE_LEFT, 0, q, r->common), st, done);
    TRY_GOTO(take_cosines(&right, r, SIDE_RIGHT, 0, q, r->common), st, done);
    for (int64_t k = 0; (k = next_k(k, r->common)) > 0;)
        TRY_GOTO(add_plain(r, "amplification", "", k, subspace_amplification(left, right, r->common, r->base->sigma, q, k, fro),
                           fro * root / ((double)k * base_fro)), st, done);
done:
    mem_free(left);
    mem_free(right);
    return st;
}

static Status report_change(Report *r, const double *change)
{
    Svd svd;
    Status st = LT_OK;

    TRY(svd_open(&svd, r->dev, change, r->base->m, r->base->n));
    r->other = &svd;
    r->common = smaller(r->asked, rank_of(&svd));
    if (r->common > 0) { /* else nothing has changed */
        TRY_GOTO(add_alignment(r, SIDE_LEFT), st, done);
        TRY_GOTO(add_alignment(r, SIDE_RIGHT), st, done);
        st = add_amplification(r);
    }
done:
    svd_close(&svd);
    return st;
}

/* ---- the tuned matrix ----------------------------------------------------------------------------------------------------- */

static Status add_overlap(const Report *r, Side side)
{
    const int64_t dim = dim_of(r->base, side), p = r->common;
    double *cosine;
    Status st = LT_OK;

    TRY(take_cosines(&cosine, r, side, 0, p, p));
    for (int64_t k = 0; (k = next_k(k, p)) > 0;)
        TRY_GOTO(add_plain(r, "overlap_tuned", SIDE_NAME[side], k, subspace_overlap(cosine, p, k, k), subspace_overlap_chance(k, k, dim)), st, done);
done:
    mem_free(cosine);
    return st;
}

static Status add_distances(const Report *r, Side side, const double *theta, const double *by_chance)
{
    const SubspaceDistance d = subspace_distance(theta, r->common), c = subspace_distance(by_chance, r->common);
    const char *name = SIDE_NAME[side];

    TRY(add_plain(r, "geodesic", name, r->common, d.geodesic, c.geodesic));
    TRY(add_plain(r, "chordal", name, r->common, d.chordal, c.chordal));
    TRY(add_plain(r, "projection", name, r->common, d.projection, c.projection));
    return add_plain(r, "binet_cauchy", name, r->common, d.binet_cauchy, c.binet_cauchy);
}

static Status add_angles(const Report *r, Side side)
{
    const int64_t p = r->common;
    double *theta, *by_chance;
    Status st;

    TRY(MEM_NEW(theta, (size_t)(2 * p)));
    by_chance = theta + p;
    TRY_GOTO(subspace_angles(r->dev, theta, svd_space(r->base, side, 0, p), svd_space(r->other, side, 0, p)), st, done);
    for (int64_t i = 0; i < p; i++) {
        by_chance[i] = subspace_angle_chance(p, p, dim_of(r->base, side));
        TRY_GOTO(add(r, (SubspaceRow){.quantity = "angle", .side = SIDE_NAME[side], .k = p, .index = i + 1, .epsilon = NAN, .value = theta[i],
                                      .chance = by_chance[i]}), st, done);
    }
    st = add_distances(r, side, theta, by_chance);
done:
    mem_free(theta);
    return st;
}

static Status add_nearest(const Report *r, const Nearest *nearest)
{
    for (int64_t j = 0; j < r->common; j++) {
        SubspaceRow row = {.quantity = "nearest_cosine", .side = "left", .index = j + 1, .epsilon = NAN, .value = nearest[j].cosine, .chance = NAN};

        TRY(add(r, row));
        row.quantity = "nearest_energy";
        row.value = nearest[j].energy;
        TRY(add(r, row));
    }
    return LT_OK;
}

static Status add_intruders(const Report *r)
{
    const int64_t q = r->base->q, m = r->base->m;
    double *cosine = NULL, margin;
    Nearest *nearest = NULL;
    Status st;

    TRY_GOTO(MEM_NEW(nearest, (size_t)r->common), st, done);
    TRY_GOTO(take_cosines(&cosine, r, SIDE_LEFT, 0, q, r->common), st, done);
    subspace_nearest(nearest, cosine, q, r->common);
    TRY_GOTO(add_nearest(r, nearest), st, done);
    for (int64_t k = 0; (k = next_k(k, r->common)) > 0;)
        for (int e = 0; e < N_EPSILON; e++)
            TRY_GOTO(add(r, (SubspaceRow){.quantity = "intruders", .side = "left", .k = k, .epsilon = EPSILON[e],
                                          .value = (double)subspace_intruders(nearest, k, EPSILON[e], &margin),
                                          .chance = subspace_intruders_chance(k, EPSILON[e], q, m)}), st, done);
done:
    mem_free(cosine);
    mem_free(nearest);
    return st;
}

static Status report_tuned(Report *r, const double *tuned)
{
    Svd svd;
    Status st = LT_OK;

    TRY(svd_open(&svd, r->dev, tuned, r->base->m, r->base->n));
    r->other = &svd;
    r->common = smaller(r->asked, rank_of(&svd));
    for (int side = 0; side < 2 && r->common > 0; side++) {
        TRY_GOTO(add_overlap(r, (Side)side), st, done);
        TRY_GOTO(add_angles(r, (Side)side), st, done);
    }
    if (r->common > 0)
        st = add_intruders(r);
done:
    svd_close(&svd);
    return st;
}

Status subspace_report(SubspaceRows *out, Device *dev, const double *base, double *change, int64_t m, int64_t n, int64_t k)
{
    Svd svd;
    Status st;

    TRY(svd_open(&svd, dev, base, m, n));
    Report r = {.dev = dev, .out = out, .base = &svd, .asked = smaller(k, rank_of(&svd))};
    TRY_GOTO(report_change(&r, change), st, done);
    for (int64_t i = 0; i < m * n; i++)
        change[i] += base[i];
    st = report_tuned(&r, change);
done:
    svd_close(&svd);
    return st;
}

void subspace_rows_release(SubspaceRows *rows)
{
    mem_free(rows->row);
    *rows = (SubspaceRows){0};
}
