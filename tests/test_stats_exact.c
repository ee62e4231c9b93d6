/* Distributions, standard errors, exact intervals and tests, adjusted p-values. */
#include "tests/check.h"

#include "analysis/stats/adjust.h"
#include "analysis/stats/errors.h"
#include "analysis/stats/exact.h"
#include "analysis/stats/special.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

enum { MOST = 2048 };

/* ---- distributions, where they have closed forms ------------------------------------------------------------------------ */

static void test_beta_has_its_closed_forms(void **state)
{
    (void)state;
    for (double x = 0.01; x < 1; x += 0.07) {
        check_close("I(1, b)", beta_cdf(x, 1, 7), -expm1(7 * log1p(-x)), 0, 1e-14);
        check_close("I(a, 1)", beta_cdf(x, 9, 1), pow(x, 9), 0, 1e-13);
        check_close("I(1/2, 1/2)", beta_cdf(x, 0.5, 0.5), M_2_PI * asin(sqrt(x)), 0, 1e-14);
        check_close("mirrored", beta_cdf(x, 3.5, 12) + beta_cdf(1 - x, 12, 3.5), 1, 1e-14, 0);
        check_close("inverse", beta_cdf(beta_quantile(x, 41, 124), 41, 124), x, 0, 1e-11);
    }
    check_close("middle", beta_cdf(0.5, 5e3, 5e3), 0.5, 0, 1e-10);
    assert_true(beta_cdf(0, 2, 3) == 0 && beta_cdf(1, 2, 3) == 1);
}

static void test_normal_and_t_have_theirs(void **state)
{
    (void)state;
    check_close("z", normal_quantile(0.975), STAT_Z95, 1e-14, 0);
    check_close("lower", normal_quantile(0.025), -STAT_Z95, 1e-14, 0);
    check_close("far", normal_quantile(1e-300), -37.0471, 1e-4, 0);
    assert_true(normal_quantile(0) == -HUGE_VAL && normal_quantile(1) == HUGE_VAL);
    for (double t = 0.1; t < 20; t *= 1.7) {
        check_close("Cauchy", t_two_sided(t, 1), 1 - M_2_PI * atan(t), 0, 1e-11);
        check_close("two", t_two_sided(-t, 2), 1 - t / sqrt(2 + t * t), 0, 1e-11);
        check_close("inverse", t_quantile(1 - t_two_sided(t, 7), 7), t, 0, 1e-9);
    }
    check_close("nearly normal", t_quantile(0.95, 1e7), STAT_Z95, 1e-6, 0);
    assert_true(t_two_sided(HUGE_VAL, 3) == 0);
}

static void test_coins_are_counted(void **state)
{
    double sum = 0;

    (void)state;
    for (uint64_t k = 0; k <= 9; k++) {
        static const double choose[] = {1, 9, 36, 84, 126, 126, 84, 36, 9, 1};

        sum += choose[k] / 512;
        check_close("mass", coin_mass(k, 9), choose[k] / 512, 0, 1e-13);
        check_close("cdf", coin_cdf(k, 9), sum, 0, 1e-13);
    }
    assert_true(coin_cdf(0, 0) == 1 && coin_mass(3, 2) == 0);
}

/* ---- golden files ------------------------------------------------------------------------------------------------------- */

static json_t *load(const char *name)
{
    char path[128];
    json_t *doc;

    snprintf(path, sizeof path, "golden/statistics/%s", name);
    CHECK_OK(json_load_path(&doc, test_data(path), 1 << 24));
    return doc;
}

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static uint64_t count(const json_t *object, const char *key) { return (uint64_t)json_integer_value(json_object_get(object, key)); }

static size_t numbers(double *out, const json_t *array)
{
    const size_t n = json_array_size(array);

    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++)
        out[i] = json_number_value(json_array_get(array, i));
    return n;
}

static void check_list(const char *what, const double *got, const json_t *want)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        check_close(what, got[i], json_number_value(json_array_get(want, i)), 1e-10, 0);
}

static void test_clopper_pearson_matches_the_golden(void **state)
{
    json_t *doc = load("intervals.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const json_t *want = json_object_get(row, "clopper_pearson");
        const Interval ci = clopper_pearson(count(row, "k"), count(row, "n"), number(row, "confidence"));

        check_close("low", ci.low, json_number_value(json_array_get(want, 0)), 1e-9, 0);
        check_close("high", ci.high, json_number_value(json_array_get(want, 1)), 1e-9, 0);
        check_close("z", normal_quantile((1 + number(row, "confidence")) / 2), number(row, "z"), 1e-12, 0);
    }
    assert_int_equal(i, 54);
    json_decref(doc);
}

static void test_mcnemar_matches_the_golden(void **state)
{
    json_t *doc = load("mcnemar.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const McNemar m = mcnemar(count(row, "b"), count(row, "c"));

        check_close("exact", m.p_exact, number(row, "p_exact"), 1e-10, 0);
        check_close("mid", m.p_mid, number(row, "p_mid"), 1e-10, 0);
    }
    assert_int_equal(i, 12);
    json_decref(doc);
}

static void check_pooled(const json_t *rows)
{
    uint64_t size[8];
    double mean[8], se[8];
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const size_t n = numbers(mean, json_object_get(row, "means"));

        numbers(se, json_object_get(row, "stderrs"));
        for (size_t j = 0; j < n; j++)
            size[j] = (uint64_t)json_integer_value(json_array_get(json_object_get(row, "sizes"), j));
        const GroupMean g = group_mean(size, mean, se, n);
        check_close("weighted", g.weighted, number(row, "weighted_mean"), 1e-10, 0);
        check_close("pooled", g.weighted_stderr, number(row, "pooled_stderr_lm_eval"), 1e-10, 0);
        check_close("plain", g.plain, number(row, "plain_mean"), 1e-10, 0);
        check_close("plain stderr", g.plain_stderr, number(row, "plain_mean_stderr"), 1e-10, 0);
    }
    assert_int_equal(i, 4);
}

static void check_clustered(const json_t *rows)
{
    double x[MOST], sum[MOST];
    size_t cluster[MOST], i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        const size_t n = numbers(x, json_object_get(row, "x"));

        for (size_t j = 0; j < n; j++)
            cluster[j] = (size_t)json_integer_value(json_array_get(json_object_get(row, "cluster"), j));
        check_close("clustered", stderr_clustered(x, cluster, n, sum, MOST), number(row, "stderr_clustered"), 1e-10, 0);
        check_close("iid", stat_stderr(x, n), number(row, "stderr_iid"), 1e-10, 0);
    }
    assert_int_equal(i, 6);
}

static size_t bits(double *out, const json_t *string)
{
    const char *text = json_string_value(string);
    const size_t n = strlen(text);

    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++)
        out[i] = text[i] - '0';
    return n;
}

static void check_paired(const json_t *rows)
{
    double a[MOST], b[MOST], difference[MOST];
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const size_t n = bits(a, json_object_get(row, "a"));

        assert_int_equal(bits(b, json_object_get(row, "b")), n);
        const PairedDifference d = paired_difference(a, b, n, difference);
        check_close("difference", d.mean, number(row, "mean_difference"), 1e-10, 0);
        check_close("paired", d.se, number(row, "stderr_paired"), 1e-10, 0);
        check_close("unpaired", d.se_unpaired, number(row, "stderr_unpaired"), 1e-10, 0);
        check_close("detectable", d.detectable, number(row, "mde_05_80"), 1e-10, 0);
    }
    assert_int_equal(i, 4);
}

static void test_standard_errors_match_the_golden(void **state)
{
    json_t *doc = load("standard_errors.json"), *row;
    double x[MOST];
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "mean"), i, row)
    {
        const json_t *list = json_object_get(row, "x");
        const size_t n = numbers(x, list);
        const double se = list != NULL ? stat_stderr(x, n) : stat_stderr_binary(count(row, "successes"), count(row, "n"));

        check_close("stderr", se, number(row, "stderr"), 1e-10, 0);
    }
    assert_int_equal(i, 14);
    check_pooled(json_object_get(doc, "pooled"));
    check_clustered(json_object_get(doc, "clustered"));
    check_paired(json_object_get(doc, "paired"));
    json_decref(doc);
}

static void test_seed_bands_match_the_golden(void **state)
{
    json_t *doc = load("bands.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const json_t *runs = json_object_get(row, "runs");
        const size_t n_seed = json_array_size(runs), n_x = json_array_size(json_array_get(runs, 0));
        double mean[8], min[8], max[8], sd[8], low[8], high[8];

        for (size_t x = 0; x < n_x; x++) {
            double seeds[8];
            for (size_t s = 0; s < n_seed; s++)
                seeds[s] = json_number_value(json_array_get(json_array_get(runs, s), x));
            const SeedBand band = seed_band(seeds, n_seed, 0.95);
            mean[x] = band.mean, min[x] = band.min, max[x] = band.max;
            sd[x] = band.sd, low[x] = band.t.low, high[x] = band.t.high;
        }
        check_list("mean", mean, json_object_get(row, "mean"));
        check_list("min", min, json_object_get(row, "min"));
        check_list("max", max, json_object_get(row, "max"));
        check_list("sd", sd, json_object_get(row, "sd"));
        check_list("low", low, json_object_get(row, "t95_low"));
        check_list("high", high, json_object_get(row, "t95_high"));
        assert_true(n_seed > 1 || (isnan(sd[0]) && isnan(low[0])));
    }
    assert_int_equal(i, 4);
    json_decref(doc);
}

static void test_adjusted_p_match_the_golden(void **state)
{
    json_t *doc = load("multiplicity.json"), *row;
    double p[MOST], adjusted[MOST];
    size_t i;

    (void)state;
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const size_t n = numbers(p, json_object_get(row, "p"));

        CHECK_OK(adjust_holm(adjusted, p, n));
        check_list("Holm", adjusted, json_object_get(row, "holm"));
        CHECK_OK(adjust_benjamini_hochberg(adjusted, p, n));
        check_list("Benjamini-Hochberg", adjusted, json_object_get(row, "benjamini_hochberg"));
        adjust_bonferroni(adjusted, p, n);
        check_list("Bonferroni", adjusted, json_object_get(row, "bonferroni"));
    }
    assert_int_equal(i, 7);
    json_decref(doc);
}

/* ---- without data ------------------------------------------------------------------------------------------------------- */

static void test_singletons_cluster_to_the_plain_error(void **state)
{
    const double x[] = {0, 1, 1, 0, 1, 0.5, 0.25};
    const size_t alone[] = {0, 1, 2, 3, 4, 5, 6}, together[] = {0, 0, 0, 0, 0, 0, 0};
    double sum[7];

    (void)state;
    check_close("alone", stderr_clustered(x, alone, 7, sum, 7), sqrt(6.0 / 7) * stat_stderr(x, 7), 0, 1e-14);
    check_close("together", stderr_clustered(x, together, 7, sum, 1), 0, 1e-16, 0);
}

static void test_exact_intervals_end_at_the_ends(void **state)
{
    (void)state;
    assert_true(clopper_pearson(0, 20, 0.95).low == 0 && clopper_pearson(20, 20, 0.95).high == 1);
    check_close("none of n", clopper_pearson(0, 20, 0.95).high, 1 - pow(0.025, 1 / 20.0), 0, 1e-13);
    check_close("all of n", clopper_pearson(20, 20, 0.95).low, pow(0.025, 1 / 20.0), 0, 1e-13);
    check_close("certain", mcnemar(0, 0).p_exact, 1, 0, 0);
    check_close("six to none", mcnemar(0, 6).p_exact, 2.0 / 64, 0, 1e-13);
    check_close("six to none, mid", mcnemar(6, 0).p_mid, 1.0 / 64, 0, 1e-13);
}

static void test_adjusting_keeps_order_and_stays_below_one(void **state)
{
    double p[] = {0.04, 0.9, 0.001, 0.03}, holm[4], bh[4];

    (void)state;
    CHECK_OK(adjust_holm(holm, p, 4));
    CHECK_OK(adjust_benjamini_hochberg(bh, p, 4));
    check_close("Holm of the second", holm[3], 0.09, 1e-15, 0);
    check_close("Holm of the third is no smaller", holm[0], 0.09, 1e-15, 0);
    check_close("BH of the second is no larger", bh[3], 0.04 * 4 / 3, 1e-15, 0);
    check_close("largest", bh[1], 0.9, 1e-15, 0);
    assert_true(holm[1] <= 1);
    mem_fail_at(1);
    CHECK_FAILS(adjust_holm(holm, p, 4), LT_E_NOMEM, NULL);
}

static void test_detectable_effect_is_the_textbook_one(void **state)
{
    (void)state;
    check_close("5 %, 80 %", detectable_effect(1, 0.05, 0.8), 1.959963984540054 + 0.8416212335729143, 1e-13, 0);
    check_close("scales", detectable_effect(0.01, 0.05, 0.5), 0.01959963984540054, 1e-15, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beta_has_its_closed_forms),
        cmocka_unit_test(test_normal_and_t_have_theirs),
        cmocka_unit_test(test_coins_are_counted),
        cmocka_unit_test(test_clopper_pearson_matches_the_golden),
        cmocka_unit_test(test_mcnemar_matches_the_golden),
        cmocka_unit_test(test_standard_errors_match_the_golden),
        cmocka_unit_test(test_seed_bands_match_the_golden),
        cmocka_unit_test(test_adjusted_p_match_the_golden),
        cmocka_unit_test(test_singletons_cluster_to_the_plain_error),
        cmocka_unit_test(test_exact_intervals_end_at_the_ends),
        cmocka_unit_test(test_adjusting_keeps_order_and_stays_below_one),
        cmocka_unit_test(test_detectable_effect_is_the_textbook_one),
    };

    return TEST_MAIN(tests);
}
