#include "tests/check.h"

#include "core/json.h"
#include "core/stat.h"

#include <math.h>

static void test_stderr_matches_published_scores(void **state)
{
    /* evaluation: 286 of 1172, 654 of 1267, 2486 of 10042 */
    (void)state;
    check_close("arc", stat_stderr_binary(286, 1172), 0.012551447627856151, 1e-17, 0);
    check_close("winogrande", stat_stderr_binary(654, 1267), 0.014045126130978674, 1e-17, 0);
    check_close("hellaswag", stat_stderr_binary(2486, 10042), 0.0043071285732849485, 1e-17, 0);
    assert_true(isnan(stat_stderr_binary(1, 1)));
}

static void test_stderr_of_a_list_agrees_with_the_binary_form(void **state)
{
    double x[37];

    (void)state;
    for (int i = 0; i < 37; i++)
        x[i] = i % 3 == 0;
    check_close("list", stat_stderr(x, 37), stat_stderr_binary(13, 37), 1e-15, 0);
    check_close("mean", stat_mean(x, 37), 13.0 / 37, 1e-15, 0);
    assert_true(isnan(stat_stderr(x, 1)));
}

static void test_wilson_matches_the_golden(void **state)
{
    const char *path = test_data("golden/statistics/intervals.json");
    json_t *doc, *row;
    size_t i, n = 0;

    (void)state;
    CHECK_OK(json_load_path(&doc, path, 1 << 24));
    json_array_foreach(json_object_get(doc, "cases"), i, row)
    {
        const double z = json_number_value(json_object_get(row, "z"));
        const json_t *w = json_object_get(row, "wilson");
        const Interval ci = stat_wilson((uint64_t)json_integer_value(json_object_get(row, "k")),
                                        (uint64_t)json_integer_value(json_object_get(row, "n")), z);

        check_close("low", ci.low, json_number_value(json_array_get(w, 0)), 1e-12, 0);
        check_close("high", ci.high, json_number_value(json_array_get(w, 1)), 1e-12, 0);
        n++;
    }
    assert_true(n > 10);
    json_decref(doc);
}

static void test_wilson_ends_are_exact(void **state)
{
    (void)state;
    assert_true(stat_wilson(0, 20, STAT_Z95).low == 0);
    assert_true(stat_wilson(20, 20, STAT_Z95).high == 1);
    check_close("symmetric", stat_wilson(3, 10, STAT_Z95).low, 1 - stat_wilson(7, 10, STAT_Z95).high, 1e-15, 0);
    assert_true(stat_wilson(0, 0, STAT_Z95).high == 1);
}

static void test_quantile_is_linear_between_order_statistics(void **state)
{
    const double x[] = {1, 2, 4, 8};

    (void)state;
    check_close("0", stat_quantile(x, 4, 0), 1, 0, 0);
    check_close("1", stat_quantile(x, 4, 1), 8, 0, 0);
    check_close("half", stat_quantile(x, 4, 0.5), 3, 1e-15, 0);
    check_close("0.9", stat_quantile(x, 4, 0.9), 6.8, 1e-14, 0);
    check_close("one", stat_quantile(x, 1, 0.3), 1, 0, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stderr_matches_published_scores),
        cmocka_unit_test(test_stderr_of_a_list_agrees_with_the_binary_form),
        cmocka_unit_test(test_wilson_matches_the_golden),
        cmocka_unit_test(test_wilson_ends_are_exact),
        cmocka_unit_test(test_quantile_is_linear_between_order_statistics),
    };

    return TEST_MAIN(tests);
}
