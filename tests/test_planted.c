/* A planted world: how much of a change is rounding, and what its rank is, is known, because the change is. */
#include "tests/planted.h"

#include "analysis/matrix_values.h"
#include "analysis/rounding.h"
#include "analysis/spectrum.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static const double tau[] = {.5, .8, .9, .95, .99};
enum { TAUS = sizeof tau / sizeof *tau };

static Device *dev;

static int begin(void **state)
{
    (void)state;
    setenv("LETHE_CACHE", test_folder(), 1);
    CHECK_OK(device_open(&dev, test_device(), 0));
    return 0;
}

static int end(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

/* ---- the table that says what BF16 does to a change of rank 16 -------------------------------------------------------------- */

typedef struct TableRow {
    double rms, noise, r90, r99, effective;
} TableRow;

/* Weights N(0, 0.02^2), 1536 x 1536: noise share, ranks and effective rank of bf16(W + D) - W, where W is in BF16. The table has one other draw, to two or
 * three digits; a rank of 16 x 1e6 entries varies by far less than those. */
static void test_rounding_raises_ranks_as_told(void **state)
{
    static const TableRow table[] = {{1e-3, .001, 14, 16, 68}, {3e-4, .012, 15, 84, 251}, {1e-4, .10, 16, 773, 671}, {3e-5, .54, 512, 1038, 1010}};
    const int first = getenv("LETHE_TEST_REDUCED") != NULL ? 3 : 0; /* the hardest alone */
    enum { N = 1536 };
    double *d = mem_take((size_t)N * N + N, sizeof *d), *sigma = d + N * N;

    (void)state;
    assert_non_null(d);
    for (int r = first; r < 4; r++) {
        TestRandom random = {7};
        double noise = 0, energy = 0;

        planted_change(d, N, N, table[r].rms, 1);
        for (int64_t i = 0; i < (int64_t)N * N; i++) {
            const double w = planted_round(0.02 * test_normal(&random), LT_BF16), change = planted_round(w + d[i], LT_BF16) - w;

            noise += (change - d[i]) * (change - d[i]);
            energy += change * change;
            d[i] = change;
        }
        CHECK_OK(matrix_values(dev, sigma, d, N, N, VALUES_GRAM));
        check_close("noise", noise / energy, table[r].noise, 5e-4, .05);
        check_close("r90", (double)spectrum_threshold(sigma, N, .9).k, table[r].r90, 0, .01);
        check_close("r99", (double)spectrum_threshold(sigma, N, .99).k, table[r].r99, 0, .01);
        check_close("effective rank", spectrum_stats(sigma, N).effective_rank, table[r].effective, .5, .01);
    }
    mem_free(d);
}

/* ---- every combination of stored types ------------------------------------------------------------------------------------ */

/* What was foretold of a cell, what is true of it, and the spectra of what was read and of what was planted. */
typedef struct Result {
    DeltaFacts facts;
    double noise, energy, foretold_to, true_to; /* noise: of the difference between read and planted */
    Verdict foretold, truth;
    double sigma[PLANTED_SIDE], planted[PLANTED_SIDE];
} Result;

static void fail_cell(const PlantedCell *c, const Result *r, const char *what)
{
    fail_msg("base %s%s, tuned %s%s, begun at the %s%s, rms %g, spread %g: %s; %s, %g with a noise of %g expected; %s, %g with %g (base cast: %s) found",
             dtype_name(c->base), c->base_masters ? " and masters" : "", dtype_name(c->tuned), c->masters ? " and masters" : "",
             c->from_masters ? "masters" : "stored", c->cast ? " cast" : "", c->rms, c->spread, what, verdict_name(r->truth), r->true_to,
             r->noise / r->energy, verdict_name(r->foretold), r->foretold_to, r->facts.noise / r->energy, delta_cast_name(r->facts.cast));
}

static void run_cell(Planted *p, const PlantedCell *c, Result *r)
{
    *r = (Result){0};
    planted_run(p, c, &r->facts);
    for (int i = 0; i < PLANTED_ENTRIES; i++) {
        r->noise += (p->value[i] - p->d[i]) * (p->value[i] - p->d[i]);
        r->energy += p->value[i] * p->value[i];
    }
    r->foretold = rounding_verdict(r->facts.noise, r->energy, tau, TAUS, &r->foretold_to);
    r->truth = rounding_verdict(r->noise, r->energy, tau, TAUS, &r->true_to);
    CHECK_OK(matrix_values(dev, r->sigma, p->value, PLANTED_SIDE, PLANTED_SIDE, VALUES_AUTO));
    CHECK_OK(matrix_values(dev, r->planted, p->d, PLANTED_SIDE, PLANTED_SIDE, VALUES_AUTO));
}

/* The least k that leaves at most `rest` of the energy's root behind. */
static int64_t rank_leaving(const double *sigma, double rest)
{
    const double fro = spectrum_stats(sigma, PLANTED_SIDE).fro;
    int64_t k = 0;

    while (k < PLANTED_SIDE && spectrum_rest(sigma, PLANTED_SIDE, k) * fro > rest)
        k++;
    return k;
}

/* A rank that is trusted says something of the planted change: what the best matrix of rank k leaves behind differs between two matrices by at most their
 * distance, so a noise e moves a rank no further than to where the planted change leaves e more or e less. A planted rank of 16 is then never exceeded;
 * and where there is twice the noise that a threshold allows, it is, so that not to trust it was right: 16 of 128 directions hold a quarter of noise. */
static void check_ranks(const PlantedCell *c, const Result *r)
{
    for (int t = 0; t < TAUS; t++) {
        const int64_t k = spectrum_threshold(r->sigma, PLANTED_SIDE, tau[t]).k;
        const double rest = sqrt((1 - tau[t]) * r->energy), e = sqrt(r->noise);
        const bool trusted = tau[t] <= r->foretold_to;

        if (trusted && (k < rank_leaving(r->planted, rest + e) || k > rank_leaving(r->planted, rest - e)))
            fail_cell(c, r, "a trusted rank is not the planted change's");
        if (c->spread <= 0 && trusted && k > PLANTED_RANK)
            fail_cell(c, r, "a trusted rank is above the planted one");
        if (c->spread <= 0 && r->noise > 2 * (1 - tau[t]) * r->energy && k <= PLANTED_RANK)
            fail_cell(c, r, "a rank that noise must have raised is not raised");
    }
}

/* What is told from the stored weights is what the planted change says. Levels are far enough from the thresholds for the noise foretold, which is off by up
 * to a half where a change is of the size of a unit in the last place, to be on the right side. */
static void check_cell(Planted *p, const PlantedCell *c)
{
    Result r;

    run_cell(p, c, &r);
    if (r.foretold != r.truth || r.foretold_to < r.true_to || r.foretold_to > r.true_to || (c->rms <= 0 && r.foretold != VERDICT_ZERO))
        fail_cell(c, &r, "another verdict");
    if (r.foretold == VERDICT_OK)
        check_ranks(c, &r);
}

static const DType types[] = {LT_F32, LT_BF16, LT_F16};
static const double levels[] = {0, 1.5e-5, 5e-5, 2e-4, 1e-2};
enum { LEVELS = sizeof levels / sizeof *levels };

static void test_every_pair_of_types_is_trusted_as_far_as_it_should_be(void **state)
{
    Planted *p = planted_open(dev);

    (void)state;
    for (int b = 0; b < 3; b++)
        for (int t = 0; t < 3; t++)
            for (int way = 0; way < 8; way++) {
                PlantedCell c = {.base = types[b], .tuned = types[t], .cast = (way & 1) != 0, .masters = (way & 2) != 0, .spread = (way & 4) != 0 ? 0.2 : 0};

                if (t == 0 && (way & 3) != 0) /* nothing narrower to be cast or rounded to */
                    continue;
                for (int l = 0; l < LEVELS; l++) {
                    c.rms = levels[l];
                    check_cell(p, &c);
                }
            }
    planted_close(p);
}

/* Bases that kept their masters: whether training began at those or at what was stored shows in the energy. */
static void test_bases_with_masters_show_where_training_began(void **state)
{
    Planted *p = planted_open(dev);

    (void)state;
    for (int b = 1; b < 3; b++)
        for (int t = 0; t < 3; t++)
            for (int way = 0; way < 6; way++) {
                PlantedCell c = {.base = types[b], .tuned = types[t], .base_masters = true, .from_masters = way / 2 == 1, .cast = way / 2 == 2,
                                 .masters = way % 2 == 1};

                if (t == 0 && (c.cast || c.masters))
                    continue;
                for (int l = 0; l < LEVELS; l++) {
                    c.rms = levels[l];
                    check_cell(p, &c);
                }
            }
    planted_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rounding_raises_ranks_as_told, begin),
        cmocka_unit_test(test_every_pair_of_types_is_trusted_as_far_as_it_should_be),
        cmocka_unit_test_teardown(test_bases_with_masters_show_where_training_began, end),
    };
    return TEST_MAIN(tests);
}
