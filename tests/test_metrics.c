#include "tests/check.h"

#include "core/mem.h"
#include "eval/score/metrics.h"

#include <math.h>
#include <string.h>

static ChoiceScore score(const char *const *choice, const double *loglik, int n, int gold)
{
    Doc doc = {.n_choice = n, .gold = gold};
    ScoreRecord r = {.n_choice = n};
    for (int i = 0; i < n; i++) {
        doc.choice[i] = str_of(choice[i]);
        r.loglik[i] = loglik[i];
    }
    return choice_score(&doc, &r);
}

static void test_choice_first_maximum_wins(void **state)
{
    const ChoiceScore s = score((const char *[]){"a", "bb", "c"}, (double[]){-2.0, -1.0, -1.0}, 3, 1);

    (void)state;
    assert_int_equal(s.pred, 1);
    assert_true(s.acc == 1.0 && s.margin == 0.0);
    assert_int_equal(s.pred_norm, 1); /* -2, -0.5, -1 */
    assert_true(choice_metric(&s, "acc") == 1.0);
}

/* Two code points of two bytes each: by characters -3 / 2 loses against -4 / 3, by bytes -3 / 4 wins. */
static void test_choice_counts_characters_not_bytes(void **state)
{
    const ChoiceScore s = score((const char *[]){"\xc3\xa9\xc3\xa9", "abc"}, (double[]){-3.0, -4.0}, 2, 1);

    (void)state;
    assert_int_equal(s.pred, 0);
    assert_int_equal(s.pred_norm, 1);
    assert_int_equal(s.pred_bytes, 0);
    assert_true(choice_metric(&s, "acc") == 0.0);
    assert_true(choice_metric(&s, "acc_norm") == 1.0);
    assert_true(choice_metric(&s, "acc_bytes") == 0.0);
    check_close("margin", s.margin, 1.0, 0.0, 0.0);
}

static void test_choice_of_no_length_is_never_chosen_by_length(void **state)
{
    const ChoiceScore s = score((const char *[]){"", "ab"}, (double[]){-1.0, -4.0}, 2, 1);

    (void)state;
    assert_int_equal(s.pred, 0);
    assert_int_equal(s.pred_norm, 1);
    assert_int_equal(s.pred_bytes, 1);
}

/* Published scores of whole benchmarks: hits of n, value, standard error. */
static void test_summary_gives_published_errors(void **state)
{
    static const struct {
        size_t hits, n;
        double value, error;
    } known[] = {
        {286, 1172, 0.2440273037542662, 0.012551447627856151},
        {654, 1267, 0.516179952644041, 0.014045126130978674},
        {2486, 10042, 0.24756024696275641, 0.0043071285732849485},
    };

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        double *value;
        CHECK_OK(MEM_NEW(value, known[k].n));
        for (size_t i = 0; i < known[k].hits; i++)
            value[i * known[k].n / known[k].hits] = 1.0;
        const MetricSummary s = metric_summary("acc", value, known[k].n);
        assert_string_equal(s.metric, "acc");
        assert_int_equal(s.n, known[k].n);
        check_close("value", s.value, known[k].value, 1e-15, 0.0);
        check_close("stderr", s.stderr_mean, known[k].error, 1e-15, 0.0);
        assert_true(s.ci.low < s.value && s.value < s.ci.high);
        mem_free(value);
    }
}

static void test_summary_of_one_item_has_no_error(void **state)
{
    const MetricSummary s = metric_summary("acc", (double[]){1.0}, 1);

    (void)state;
    assert_true(s.value == 1.0);
    assert_true(isnan(s.stderr_mean));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice_first_maximum_wins),
        cmocka_unit_test(test_choice_counts_characters_not_bytes),
        cmocka_unit_test(test_choice_of_no_length_is_never_chosen_by_length),
        cmocka_unit_test(test_summary_gives_published_errors),
        cmocka_unit_test(test_summary_of_one_item_has_no_error),
    };
    return TEST_MAIN(tests);
}
