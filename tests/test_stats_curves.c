/* Fronts, curves along a run, correlations and fits. */
#include "tests/check.h"

#include "analysis/stats/front.h"
#include "analysis/stats/learning.h"
#include "analysis/stats/relation.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

enum { MOST = 512 };

static json_t *load(const char *name)
{
    char path[128];
    json_t *doc;

    snprintf(path, sizeof path, "golden/statistics/%s", name);
    CHECK_OK(json_load_path(&doc, test_data(path), 1 << 24));
    return doc;
}

/* null: NaN. */
static double value_of(const json_t *value) { return json_is_number(value) ? json_number_value(value) : (double)NAN; }

static double number(const json_t *object, const char *key) { return value_of(json_object_get(object, key)); }

static size_t numbers(double *out, const json_t *array)
{
    const size_t n = json_array_size(array);

    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++)
        out[i] = json_number_value(json_array_get(array, i));
    return n;
}

static void check_number(const char *what, double got, double want)
{
    if (isnan(want))
        assert_true(isnan(got));
    else
        check_close(what, got, want, 1e-10, 0);
}

static void check_list(const char *what, const double *got, const json_t *want)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        check_close(what, got[i], json_number_value(json_array_get(want, i)), 1e-10, 0);
}

/* ---- fronts ------------------------------------------------------------------------------------------------------------- */

static void check_front(const json_t *row)
{
    const json_t *points = json_object_get(row, "points"), *want = json_object_get(row, "front"), *members = json_object_get(row, "nondominated");
    const json_t *reference = json_object_get(row, "reference");
    const size_t n = json_array_size(points);
    double x[MOST], y[MOST];
    size_t front[MOST], member = 0;
    bool on[MOST];

    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++) {
        x[i] = json_number_value(json_array_get(json_array_get(points, i), 0));
        y[i] = json_number_value(json_array_get(json_array_get(points, i), 1));
    }
    assert_int_equal(front_sweep(front, x, y, n), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++)
        assert_int_equal(front[i], json_integer_value(json_array_get(want, i)));
    front_members(on, x, y, n, front);
    for (size_t i = 0; i < n; i++)
        if (on[i])
            assert_int_equal(i, json_integer_value(json_array_get(members, member++)));
    assert_int_equal(member, json_array_size(members));
    const double hv = front_hypervolume(x, y, n, value_of(json_array_get(reference, 0)), value_of(json_array_get(reference, 1)), front);
    check_close("hypervolume", hv, number(row, "hypervolume"), 1e-10, 0);
}

static void test_fronts_match_the_golden(void **state)
{
    json_t *doc = load("pareto.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
        check_front(row);
    assert_int_equal(i, 12);
    json_decref(doc);
}

static bool is_beaten(const double *x, const double *y, size_t n, size_t i)
{
    for (size_t j = 0; j < n; j++)
        if (x[j] >= x[i] && y[j] >= y[i] && (x[j] > x[i] || y[j] > y[i]))
            return true;
    return false;
}

/* On a grid, where the area is a count of the cells below some point and above the reference. */
static void test_fronts_agree_with_the_definition(void **state)
{
    enum { POINTS = 12, SIDE = 6, LOW = 1 };
    TestRandom random = {21};

    (void)state;
    for (int round = 0; round < 300; round++) {
        double x[POINTS], y[POINTS];
        size_t front[POINTS];
        bool on[POINTS];
        int cells = 0;

        for (int i = 0; i < POINTS; i++) {
            x[i] = (double)(test_random(&random) % (SIDE + 1));
            y[i] = (double)(test_random(&random) % (SIDE + 1));
        }
        front_members(on, x, y, POINTS, front);
        for (size_t i = 0; i < POINTS; i++)
            assert_true(on[i] == !is_beaten(x, y, POINTS, i));
        for (int cx = LOW; cx < SIDE; cx++)
            for (int cy = LOW; cy < SIDE; cy++) {
                bool covered = false;
                for (int i = 0; i < POINTS; i++)
                    covered = covered || (x[i] > cx && y[i] > cy);
                cells += covered;
            }
        check_close("cells", front_hypervolume(x, y, POINTS, LOW, LOW, front), cells, 0, 0);
    }
}

/* ---- along a run -------------------------------------------------------------------------------------------------------- */

static void test_curves_match_the_golden(void **state)
{
    json_t *doc = load("curves.json"), *row;
    double tokens[MOST], score[MOST];
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "curves"), i, row)
    {
        const size_t n = numbers(tokens, json_object_get(row, "tokens"));

        numbers(score, json_object_get(row, "score"));
        check_number("target", tokens_to_target(tokens, score, n, number(row, "target")), number(row, "tokens_to_target"));
        check_number("area", area_log2(tokens, score, n), number(row, "area_log2"));
        check_number("per octave", area_per_octave(tokens, score, n), number(row, "area_per_octave"));
    }
    assert_int_equal(i, 5);
    json_array_foreach(json_object_get(doc, "forgetting"), i, row)
    {
        const size_t n = numbers(score, json_object_get(row, "scores"));
        double absolute[MOST], relative[MOST], drop[MOST];

        for (size_t j = 0; j < n; j++) {
            absolute[j] = forgetting_absolute(number(row, "base"), score[j]);
            relative[j] = forgetting_relative(number(row, "base"), number(row, "chance"), score[j]);
        }
        forgetting_from_best(drop, score, n);
        check_list("absolute", absolute, json_object_get(row, "absolute"));
        check_list("relative", relative, json_object_get(row, "relative"));
        check_list("from best", drop, json_object_get(row, "drop_from_best"));
    }
    assert_int_equal(i, 2);
    json_decref(doc);
}

static void test_the_running_maximum_is_what_crosses(void **state)
{
    const double tokens[] = {1, 2, 4, 8, 16}, score[] = {0.2, 0.4, 0.1, 0.3, 0.8}, forgotten[] = {0, 1, 2, 3, 7};

    (void)state;
    /* From the 0.4 that was reached at 2 tokens, not from the 0.3 at 8. */
    check_close("after a dip", tokens_to_target(tokens, score, 5, 0.6), 8 * sqrt(2), 1e-14, 0);
    check_close("matched", value_at_target(score, forgotten, 5, 0.6), 5, 1e-14, 0);
    assert_true(tokens_to_target(tokens, score, 5, 0.4) == 2 && value_at_target(score, forgotten, 5, 0.4) == 1);
    assert_true(tokens_to_target(tokens, score, 5, 0.05) == 1 && value_at_target(score, forgotten, 5, 0.05) == 0);
    assert_true(isnan(tokens_to_target(tokens, score, 5, 0.81)) && isnan(value_at_target(score, forgotten, 5, 0.81)));
    assert_true(isnan(area_per_octave(tokens, score, 1)) && area_log2(tokens, score, 1) == 0);
}

static void test_exchange_rate_needs_learning(void **state)
{
    (void)state;
    check_close("rate", exchange_rate(0.1, 0.3, 0.6, 0.55), 0.25, 1e-14, 0);
    assert_true(isnan(exchange_rate(0.1, 0.1, 0.6, 0.5)) && isnan(exchange_rate(0.1, 0.05, 0.6, 0.5)));
}

static void test_learning_rates_have_an_optimum(void **state)
{
    const double lr[] = {1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3}, full[] = {0.28, 0.3, 0.29, 0.2, NAN, NAN}, lora[] = {0.1, 0.15, 0.2, 0.25, 0.3, NAN};
    const double none[] = {NAN, NAN}, equal[] = {0.3, 0.3};
    const LrOptimum f = lr_optimum(lr, full, 6), l = lr_optimum(lr, lora, 6), n = lr_optimum(lr, none, 2), e = lr_optimum(lr + 1, equal, 2);

    (void)state;
    assert_true(f.lr == 5e-5 && f.score == 0.3 && f.near_best == 2 && f.near_low == 1e-5 && f.near_high == 1e-4);
    assert_true(l.lr == 5e-4 && l.near_best == 0 && l.near_low == 5e-4 && l.near_high == 5e-4);
    check_close("ratio", lr_optimum_ratio(&l, &f), 10, 1e-14, 0);
    assert_true(isnan(n.lr) && isnan(n.score) && n.near_best == 0 && isnan(lr_optimum_ratio(&n, &f)));
    assert_true(lr_optimum((const double[]){1e-4, 5e-5}, equal, 2).lr == 5e-5); /* the lower one in any order */
    assert_true(lr_optimum((const double[]){1e-4, 1e-5}, (const double[]){1, 0.9}, 2).lr == 1e-4);
    assert_int_equal(lr_optimum(lr, (const double[]){1, 0.9, 0.89}, 3).near_best, 1);
    assert_true(e.lr == 5e-5 && e.near_best == 1 && e.near_high == 1e-4);
}

/* ---- relations ---------------------------------------------------------------------------------------------------------- */

static void test_correlations_match_the_golden(void **state)
{
    json_t *doc = load("correlation.json"), *row;
    double x[MOST], y[MOST], rank[MOST];
    Correlation s;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const size_t n = numbers(x, json_object_get(row, "x"));

        numbers(y, json_object_get(row, "y"));
        const Correlation p = pearson(x, y, n);
        CHECK_OK(spearman(&s, x, y, n));
        check_number("Pearson", p.r, number(row, "pearson"));
        check_number("Pearson p", p.p, number(row, "pearson_p"));
        check_number("Spearman", s.r, number(row, "spearman"));
        check_number("Spearman p", s.p, number(row, "spearman_p"));
        CHECK_OK(average_ranks(rank, x, n));
        check_list("ranks of x", rank, json_object_get(row, "ranks_x"));
        CHECK_OK(average_ranks(rank, y, n));
        check_list("ranks of y", rank, json_object_get(row, "ranks_y"));
    }
    assert_int_equal(i, 7);
    json_decref(doc);
}

static void test_correlation_takes_the_ends(void **state)
{
    const double x[] = {1, 2, 3, 4}, y[] = {-2, -4, -6, -8}, same[] = {0.1, 0.1, 0.1, 0.1};
    Correlation s;

    (void)state;
    assert_true(pearson(x, y, 4).r == -1 && pearson(x, y, 4).p == 0);
    assert_true(pearson(x, y, 2).r == -1 && isnan(pearson(x, y, 2).p));
    assert_true(isnan(pearson(x, same, 4).r) && isnan(pearson(x, y, 1).r));
    mem_fail_at(1);
    CHECK_FAILS(spearman(&s, x, y, 4), LT_E_NOMEM, NULL);
    mem_fail_at(2);
    CHECK_FAILS(spearman(&s, x, y, 4), LT_E_NOMEM, NULL);
}

/* Far from 0, where powers of x are nearly the same list. */
static void test_fits_find_what_was_planted(void **state)
{
    double x[20], line[20], parabola[20];

    (void)state;
    for (int i = 0; i < 20; i++) {
        x[i] = 1000 + i;
        line[i] = 3 - 0.5 * x[i];
        parabola[i] = 7 + 2 * x[i] - 0.25 * x[i] * x[i];
    }
    const Fit l = fit_line(x, line, 20), p = fit_parabola(x, parabola, 20);
    check_close("line 0", l.c[0], 3, 1e-9, 0);
    check_close("line 1", l.c[1], -0.5, 1e-12, 0);
    assert_true(l.c[2] == 0);
    check_close("line r2", l.r2, 1, 1e-14, 0);
    /* Twenty products of some 60 * 2.5e5 are summed with an error of at most 20^2 of their last places, 2e-9 each, and divided by squares that sum up to
     * 2e4: 4e-11 for x^2, of which 2000 times go into x and 1e6 times into the constant. */
    check_close("parabola 2", p.c[2], -0.25, 4e-11, 0);
    check_close("parabola 1", p.c[1], 2, 8e-8, 0);
    check_close("parabola 0", p.c[0], 7, 4e-5, 0);
    check_close("parabola r2", p.r2, 1, 1e-13, 0);
}

/* Uneven places: the polynomials are no longer even and odd. */
static void test_fits_take_uneven_places(void **state)
{
    const double x[] = {0, 1, 3, 7, 20}, y[] = {1, 2, 16, 92, 781}; /* 1 - x + 2 x^2 */
    const Fit p = fit_parabola(x, y, 5);

    (void)state;
    check_close("2", p.c[2], 2, 1e-13, 0);
    check_close("1", p.c[1], -1, 1e-11, 0);
    check_close("0", p.c[0], 1, 1e-10, 0);
}

static void test_fits_measure_what_they_leave(void **state)
{
    const double x[] = {-1, 0, 1, -1, 0, 1}, y[] = {2, 1, 2, 0, -1, 0}, few[] = {1, 1, 2, 2, 1, 2}, flat[] = {4, 4, 4, 4, 4, 4};
    const Fit line = fit_line(x, y, 6), parabola = fit_parabola(x, y, 6);

    (void)state;
    /* x^2 +- 1 has the mean 2/3 and, of squares 10 - 6 (2/3)^2 = 22/3, leaves 6 to any parabola and all to a line. */
    check_close("slope", line.c[1], 0, 1e-15, 0);
    check_close("line r2", line.r2, 0, 1e-15, 0);
    check_close("c2", parabola.c[2], 1, 1e-15, 0);
    check_close("c0", parabola.c[0], 0, 1e-15, 0);
    check_close("parabola r2", parabola.r2, 1 - 6 / (22.0 / 3), 1e-15, 0);
    assert_true(isnan(fit_parabola(few, y, 6).c[0]) && isnan(fit_line(flat, y, 6).c[1]));
    assert_true(!isnan(fit_line(few, y, 6).r2) && isnan(fit_line(x, flat, 6).r2) && fit_line(x, flat, 6).c[0] == 4);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fronts_match_the_golden),
        cmocka_unit_test(test_fronts_agree_with_the_definition),
        cmocka_unit_test(test_curves_match_the_golden),
        cmocka_unit_test(test_the_running_maximum_is_what_crosses),
        cmocka_unit_test(test_exchange_rate_needs_learning),
        cmocka_unit_test(test_learning_rates_have_an_optimum),
        cmocka_unit_test(test_correlations_match_the_golden),
        cmocka_unit_test(test_correlation_takes_the_ends),
        cmocka_unit_test(test_fits_find_what_was_planted),
        cmocka_unit_test(test_fits_take_uneven_places),
        cmocka_unit_test(test_fits_measure_what_they_leave),
    };

    return TEST_MAIN(tests);
}
