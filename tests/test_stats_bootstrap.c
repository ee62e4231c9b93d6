/* The bootstrap: CPython's draws to the last digit, our own within what chance allows; pass@k. */
#include "tests/check.h"

#include "analysis/stats/bootstrap.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>

enum { MOST_ITEMS = 2048, MOST_DRAWS = BOOTSTRAP_DRAWS };

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static double element(const json_t *array, size_t i) { return json_number_value(json_array_get(array, i)); }

static Pool *open_pool(int threads)
{
    Pool *pool;

    CHECK_OK(pool_create(&pool, threads));
    return pool;
}

/* b - a of two strings of 0 and 1. */
static size_t differences(double *d, const json_t *row)
{
    const char *a = json_string_value(json_object_get(row, "a")), *b = json_string_value(json_object_get(row, "b"));
    const size_t n = strlen(a);

    assert_true(n <= MOST_ITEMS);
    for (size_t i = 0; i < n; i++)
        d[i] = b[i] - a[i];
    return n;
}

/* Of the mean: leaving x out moves it by (mean - x) / (n - 1). */
static double acceleration_of_mean(const double *x, size_t n)
{
    double out[MOST_ITEMS], sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    for (size_t i = 0; i < n; i++)
        out[i] = (sum - x[i]) / (double)(n - 1);
    return bootstrap_acceleration(out, n);
}

static void check_python_case(const json_t *row)
{
    static double mean[MOST_DRAWS];
    const json_t *first = json_object_get(row, "first_replicates"), *percentile = json_object_get(row, "percentile_95"), *bca = json_object_get(row, "bca_95");
    const double theta = number(row, "theta");
    double d[MOST_ITEMS];
    Resampling r = {.value = d, .n_series = 1, .n_draw = (size_t)number(row, "B"), .seed = (uint64_t)number(row, "seed")};

    r.n_unit = differences(d, row);
    CHECK_OK(bootstrap_means_python(mean, &r, PYTHON_RANDRANGE));
    for (size_t i = 0; i < json_array_size(first); i++)
        assert_true(mean[i] == element(first, i));
    bootstrap_sorted(mean, mean, r.n_draw, 1, 0);
    const Interval ci = bootstrap_percentile(mean, r.n_draw, 0.95);
    const BootstrapTest test = bootstrap_test(mean, r.n_draw);
    const double acceleration = acceleration_of_mean(d, r.n_unit);
    const BcaInterval corrected = bootstrap_bca(mean, r.n_draw, theta, acceleration, 0.95);
    check_close("low", ci.low, element(percentile, 0), 1e-10, 0);
    check_close("high", ci.high, element(percentile, 1), 1e-10, 0);
    check_close("p", test.p, number(row, "p_value"), 1e-10, 0);
    check_close("at most 0", test.at_most_0, number(row, "p_le_0"), 1e-10, 0);
    check_close("at least 0", test.at_least_0, number(row, "p_ge_0"), 1e-10, 0);
    check_close("stderr", bootstrap_stderr(mean, r.n_draw), number(row, "stderr"), 1e-10, 0);
    check_close("z0", corrected.bias, number(row, "bca_z0"), 1e-10, 0);
    check_close("a", acceleration, number(row, "bca_a"), 1e-10, 0);
    check_close("BCa low", corrected.interval.low, element(bca, 0), 1e-10, 0);
    check_close("BCa high", corrected.interval.high, element(bca, 1), 1e-10, 0);
}

/* Four standard deviations of a share of n draws. */
static double chance(double p, size_t n) { return 4 * sqrt(p * (1 - p) / (double)n); }

/* What infinitely many draws would give. A quantile is off by what its share is off, over the density there (the normal one), and by a step of the lattice. */
static void check_own_draws(const json_t *row, Pool *pool)
{
    static double mean[MOST_DRAWS];
    const json_t *limit = json_object_get(row, "limit"), *quantile = json_object_get(limit, "quantiles");
    double d[MOST_ITEMS];
    Resampling r = {.value = d, .n_series = 1, .n_draw = MOST_DRAWS, .seed = 1};

    r.n_unit = differences(d, row);
    CHECK_OK(bootstrap_means(mean, &r, pool));
    bootstrap_sorted(mean, mean, r.n_draw, 1, 0);
    const Interval ci = bootstrap_percentile(mean, r.n_draw, 0.95);
    const BootstrapTest test = bootstrap_test(mean, r.n_draw);
    const double se = number(limit, "stderr"), density = exp(-STAT_Z95 * STAT_Z95 / 2) / sqrt(2 * M_PI) / se;
    const double reach = 1 / (double)r.n_unit + chance(0.025, r.n_draw) / density;
    check_close("at most 0", test.at_most_0, number(limit, "p_le_0"), chance(number(limit, "p_le_0"), r.n_draw), 0);
    check_close("at least 0", test.at_least_0, number(limit, "p_ge_0"), chance(number(limit, "p_ge_0"), r.n_draw), 0);
    check_close("low", ci.low, element(quantile, 0), reach, 0);
    check_close("high", ci.high, element(quantile, 1), reach, 0);
    check_close("stderr", bootstrap_stderr(mean, r.n_draw), se, 0, 4 / sqrt(2.0 * MOST_DRAWS));
}

static void test_paired_bootstrap_matches_the_golden(void **state)
{
    json_t *doc, *row;
    Pool *pool;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&doc, test_data("golden/statistics/paired_bootstrap.json"), 1 << 24));
    pool = open_pool(2);
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        check_python_case(row);
        check_own_draws(row, pool);
    }
    assert_int_equal(i, 3);
    pool_free(pool);
    json_decref(doc);
}

static void check_problems(const json_t *row, Pool *pool)
{
    static double mean[MOST_DRAWS];
    const json_t *c = json_object_get(row, "c"), *python = json_object_get(row, "bootstrap"), *first = json_object_get(python, "first_replicates");
    double value[MOST_ITEMS];
    Resampling r = {.value = value, .n_unit = json_array_size(c), .n_series = 1, .n_draw = (size_t)number(python, "B"), .seed = (uint64_t)number(python, "seed")};

    for (size_t i = 0; i < r.n_unit; i++)
        value[i] = stat_pass_at_k((uint64_t)number(row, "n"), (uint64_t)element(c, i), (uint64_t)number(row, "k"));
    check_close("mean", stat_mean(value, r.n_unit), number(row, "mean"), 1e-10, 0);
    check_close("stderr", stat_stderr(value, r.n_unit), number(row, "stderr"), 1e-10, 0);

    CHECK_OK(bootstrap_means_python(mean, &r, PYTHON_RANDRANGE));
    for (size_t i = 0; i < json_array_size(first); i++)
        check_close("replicate", mean[i], element(first, i), 1e-10, 0);
    bootstrap_sorted(mean, mean, r.n_draw, 1, 0);
    const Interval ci = bootstrap_percentile(mean, r.n_draw, 0.95);
    check_close("bootstrap", bootstrap_stderr(mean, r.n_draw), number(python, "stderr"), 1e-10, 0);
    check_close("low", ci.low, element(json_object_get(python, "percentile_95"), 0), 1e-10, 0);
    check_close("high", ci.high, element(json_object_get(python, "percentile_95"), 1), 1e-10, 0);

    r.n_draw = 1000, r.seed = 0;
    CHECK_OK(bootstrap_means_python(mean, &r, PYTHON_CHOICES));
    bootstrap_sorted(mean, mean, r.n_draw, 1, 0);
    check_close("lm-eval's", bootstrap_stderr(mean, r.n_draw), number(row, "bootstrap_lm_eval_scheme_1000"), 1e-10, 0);

    r.n_draw = MOST_DRAWS;
    CHECK_OK(bootstrap_means(mean, &r, pool));
    bootstrap_sorted(mean, mean, r.n_draw, 1, 0);
    check_close("own", bootstrap_stderr(mean, r.n_draw), number(row, "bootstrap_stderr_limit"), 0, 4 / sqrt(2.0 * MOST_DRAWS));
}

static void test_pass_at_k_matches_the_golden(void **state)
{
    json_t *doc, *row;
    Pool *pool;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&doc, test_data("golden/statistics/pass_at_k.json"), 1 << 24));
    pool = open_pool(2);
    json_array_foreach(json_object_get(doc, "single"), i, row)
        check_close("pass@k", stat_pass_at_k((uint64_t)number(row, "n"), (uint64_t)number(row, "c"), (uint64_t)number(row, "k")), number(row, "value"), 1e-10, 0);
    assert_int_equal(i, 73);
    json_array_foreach(json_object_get(doc, "problems"), i, row)
        check_problems(row, pool);
    assert_int_equal(i, 3);
    pool_free(pool);
    json_decref(doc);
}

/* ---- without data ------------------------------------------------------------------------------------------------------- */

enum { UNITS = 37, SERIES = 3, DRAWS = 2000 };

static void made_values(double value[UNITS * SERIES])
{
    TestRandom random = {11};

    for (size_t i = 0; i < UNITS; i++) {
        value[i * SERIES] = test_random(&random) % 2 == 0;
        value[i * SERIES + 1] = value[i * SERIES] + 1;
        value[i * SERIES + 2] = test_normal(&random);
    }
}

static void test_draws_do_not_depend_on_threads(void **state)
{
    static double one[DRAWS * SERIES], many[DRAWS * SERIES];
    double value[UNITS * SERIES];
    const Resampling r = {.value = value, .n_unit = UNITS, .n_series = SERIES, .n_draw = DRAWS - 3, .seed = 5};

    (void)state;
    made_values(value);
    for (int threads = 1; threads <= 4; threads++) {
        Pool *pool = open_pool(threads);
        double *mean = threads == 1 ? one : many;
        mean[r.n_draw * SERIES] = 7;
        CHECK_OK(bootstrap_means(mean, &r, pool));
        assert_true(mean[r.n_draw * SERIES] == 7); /* the last task ends with the draws */
        assert_true(threads == 1 || memcmp(one, many, r.n_draw * SERIES * sizeof *one) == 0);
        pool_free(pool);
    }
}

static void test_all_series_see_the_same_items(void **state)
{
    static double mean[DRAWS * SERIES], other[DRAWS * SERIES];
    double value[UNITS * SERIES];
    Resampling r = {.value = value, .n_unit = UNITS, .n_series = SERIES, .n_draw = DRAWS, .seed = 5};
    Pool *pool = open_pool(1);
    int differ = 0;

    (void)state;
    made_values(value);
    CHECK_OK(bootstrap_means(mean, &r, pool));
    for (size_t i = 0; i < DRAWS; i++)
        check_close("shifted series", mean[i * SERIES + 1] - mean[i * SERIES], 1, 1e-15, 0);
    r.stratum = 1;
    CHECK_OK(bootstrap_means(other, &r, pool));
    for (size_t i = 0; i < DRAWS; i++)
        differ += mean[i * SERIES + 2] != other[i * SERIES + 2];
    assert_int_equal(differ, DRAWS);
    CHECK_OK(bootstrap_means_python(other, &r, PYTHON_RANDRANGE));
    bootstrap_sorted(mean, other, DRAWS, SERIES, 0);
    bootstrap_sorted(mean + DRAWS, other, DRAWS, SERIES, 1);
    for (size_t i = 0; i < DRAWS; i++)
        check_close("shifted in Python's draws", mean[DRAWS + i] - mean[i], 1, 1e-15, 0);
    pool_free(pool);
}

/* Three items, each a series of its own: how often each was drawn, in all and beside the item before. */
static void test_items_are_drawn_alike(void **state)
{
    static double mean[DRAWS * 3];
    const double value[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    const Resampling r = {.value = value, .n_unit = 3, .n_series = 3, .n_draw = DRAWS};
    double share[3] = {0}, all_alike = 0;
    Pool *pool = open_pool(1);

    (void)state;
    CHECK_OK(bootstrap_means(mean, &r, pool));
    for (size_t i = 0; i < DRAWS; i++)
        for (int k = 0; k < 3; k++) {
            share[k] += mean[i * 3 + (size_t)k] / DRAWS;
            all_alike += mean[i * 3 + (size_t)k] == 1 ? 1.0 / DRAWS : 0;
        }
    for (int k = 0; k < 3; k++)
        check_close("share", share[k], 1.0 / 3, chance(1.0 / 3, 3 * DRAWS), 0);
    check_close("three times the same", all_alike, 1.0 / 9, chance(1.0 / 9, DRAWS), 0);
    pool_free(pool);
}

/* Clusters of 1 and 9 items: the mean is of items, so its denominator changes from draw to draw. */
static void test_clusters_are_drawn_whole(void **state)
{
    static double mean[DRAWS];
    const double sum[] = {1, 0}, size[] = {1, 9};
    const Resampling r = {.value = sum, .weight = size, .n_unit = 2, .n_series = 1, .n_draw = DRAWS};
    int n[3] = {0};
    Pool *pool = open_pool(1);

    (void)state;
    CHECK_OK(bootstrap_means(mean, &r, pool));
    for (size_t i = 0; i < DRAWS; i++)
        n[mean[i] == 1 ? 0 : mean[i] == 0.1 ? 1 : 2] += mean[i] == 1 || mean[i] == 0.1 || mean[i] == 0;
    assert_int_equal(n[0] + n[1] + n[2], DRAWS);
    check_close("both", (double)n[1] / DRAWS, 0.5, chance(0.5, DRAWS), 0);
    pool_free(pool);
}

static void test_bootstrap_takes_the_ends(void **state)
{
    const double same[] = {0.5, 0.5, 0.5}, above[] = {1, 2, 3};
    double mean[4];
    const Resampling none = {.value = same, .n_series = 1, .n_draw = 4};
    Pool *pool = open_pool(1);

    (void)state;
    CHECK_FAILS(bootstrap_means(mean, &none, pool), LT_E_INPUT, "expected 1 to 4294967295 items, found 0");
    CHECK_FAILS(bootstrap_means_python(mean, &none, PYTHON_CHOICES), LT_E_INPUT, "found 0");
    check_close("no skewness", bootstrap_acceleration(same, 3), 0, 0, 0);
    check_close("no spread", bootstrap_bca(same, 3, 0.5, 0, 0.95).interval.high, 0.5, 0, 0);
    assert_true(isnan(bootstrap_bca(above, 3, 0, 0, 0.95).interval.low));
    check_close("no replicate below 0", bootstrap_test(above, 3).p, 0, 0, 0);
    check_close("all at 0.5", bootstrap_test(same, 3).at_least_0, 1, 0, 0);
    pool_free(pool);
}

static void test_pass_at_k_counts_subsets(void **state)
{
    (void)state;
    check_close("2 of 4 in pairs", stat_pass_at_k(4, 2, 2), 5.0 / 6, 1e-15, 0);
    check_close("at 1 the share", stat_pass_at_k(50, 7, 1), 7.0 / 50, 1e-15, 0);
    assert_true(stat_pass_at_k(5, 0, 3) == 0 && stat_pass_at_k(5, 3, 3) == 1 && stat_pass_at_k(5, 5, 1) == 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paired_bootstrap_matches_the_golden),
        cmocka_unit_test(test_pass_at_k_matches_the_golden),
        cmocka_unit_test(test_draws_do_not_depend_on_threads),
        cmocka_unit_test(test_all_series_see_the_same_items),
        cmocka_unit_test(test_items_are_drawn_alike),
        cmocka_unit_test(test_clusters_are_drawn_whole),
        cmocka_unit_test(test_bootstrap_takes_the_ends),
        cmocka_unit_test(test_pass_at_k_counts_subsets),
    };

    return TEST_MAIN(tests);
}
