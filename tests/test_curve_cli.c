/* lethe curve as a user runs it. */
#include "tests/program.h"

#include "core/file.h"
#include "core/json.h"

#include <stdio.h>

static void test_curve_prints_a_row_a_line(void **state)
{
    char out[4096];
    ProgramRun run;

    (void)state;
    snprintf(out, sizeof out, "%s/paper.tsv", test_folder());
    program_run(&run, "", ARGUMENTS("curve", "--results", "recipes/paper", "--source", "forgetting:mean", "--out", out));
    assert_int_equal(run.code, 0);
    assert_int_equal(count_lines(&run.out), 1 + 4 * 5);
    assert_non_null(strstr(run.out.data, "0.090076"));
    assert_null(strstr(run.out.data, "0.0900759")); /* what the same number is in full */
    assert_int_equal(run.err.len, 0);
    assert_true(file_exists(out));
    program_release(&run);
}

static void test_curve_speaks_json(void **state)
{
    char out[4096];
    json_t *root, *line;
    ProgramRun run;

    (void)state;
    snprintf(out, sizeof out, "%s/paper.tsv", test_folder());
    program_run(&run, "", ARGUMENTS("curve", "--results", "recipes/paper", "--source=forgetting:mean", "--out", out, "--json", "--learning",
                                    "math_ift=gsm8k:exact_match"));
    assert_int_equal(run.code, 0);
    CHECK_OK(json_parse(&root, strbuf_str(&run.out), "stdout", 0));
    assert_int_equal(json_array_size(json_object_get(root, "lines")), 5); /* the other conditions were not asked for */
    line = json_array_get(json_object_get(root, "lines"), 3);
    assert_string_equal(json_string_value(json_object_get(line, "method")), "full");
    check_close("hypervolume above 0.55", json_number_value(json_object_get(line, "hypervolume")), 0.049 * 0.496 + 0.04 * 0.001, 1e-15, 0);
    json_decref(root);
    program_release(&run);
}

static void check_refusal(const char *const *argument, int code, const char *message)
{
    ProgramRun run;

    program_run(&run, "", argument);
    assert_int_equal(run.code, code);
    assert_int_equal(run.out.len, 0);
    assert_int_equal(count_lines(&run.err), 1);
    if (strstr(run.err.data, message) == NULL)
        fail_msg("expected '%s' in: %s", message, run.err.data);
    program_release(&run);
}

static void test_curve_refuses_in_one_line(void **state)
{
    (void)state;
    check_refusal(ARGUMENTS("curve", "--out", "x.tsv"), 2, "'lethe curve' needs --results DIR");
    check_refusal(ARGUMENTS("curve", "--results", "no/such", "--out", "x.tsv"), 3, "no/such/results.tsv");
    check_refusal(ARGUMENTS("curve", "--results", "recipes/paper", "--out", "x.tsv"), 3, "found none with hellaswag:acc");
    check_refusal(ARGUMENTS("curve", "--results", "recipes/paper", "--out", "x.tsv", "--x", "time"), 2, "expected auto, tokens, epochs or step");
    check_refusal(ARGUMENTS("curve", "--results", "recipes/paper", "--out", "x.tsv", "--target", "maths_ift=0.5"), 2, "has no such condition");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve_prints_a_row_a_line),
        cmocka_unit_test(test_curve_speaks_json),
        cmocka_unit_test(test_curve_refuses_in_one_line),
    };

    return TEST_MAIN(tests);
}
