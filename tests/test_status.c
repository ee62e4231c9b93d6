#include "tests/check.h"

#include <string.h>

static Status inner(void) { return FAIL(LT_E_INPUT, "tensor '%s': shape [%d] expected, [%d] found", "w", 3, 4); }

static Status outer(void)
{
    TRY(inner());
    return LT_OK;
}

static void test_fail_records_text_and_place(void **state)
{
    (void)state;
    assert_int_equal(outer(), LT_E_INPUT);
    assert_string_equal(status_text(), "tensor 'w': shape [3] expected, [4] found");
    assert_non_null(strstr(status_place(), "test_status.c:"));
    status_clear();
    assert_string_equal(status_text(), "");
}

static void test_fail_keeps_the_first_text(void **state)
{
    (void)state;
    (void)FAIL(LT_E_INPUT, "first");
    assert_int_equal(FAIL(LT_E_IO, "second"), LT_E_IO);
    assert_string_equal(status_text(), "first");
    status_clear();
}

static void test_wrap_puts_context_in_front(void **state)
{
    (void)state;
    (void)FAIL(LT_E_INPUT, "no such key");
    assert_int_equal(status_wrap(LT_E_INPUT, "%s", "model/config.json"), LT_E_INPUT);
    assert_string_equal(status_text(), "model/config.json: no such key");
    status_clear();
}

static void test_text_too_long_is_cut_visibly(void **state)
{
    static char text[10000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    (void)FAIL(LT_E_FAIL, "%s", text);
    assert_true(strlen(status_text()) < sizeof text - 1);
    assert_non_null(strstr(status_text(), "x..."));
    (void)status_wrap(LT_E_FAIL, "%s", "who");
    assert_int_equal(strncmp(status_text(), "who: xxx", 8), 0);
    assert_non_null(strstr(status_text(), "x..."));
    status_clear();
}

static void test_exit_codes_are_those_of_the_contract(void **state)
{
    static const struct {
        Status st;
        int code;
    } want[] = {{LT_OK, 0},       {LT_E_FAIL, 1},    {LT_E_USAGE, 2},   {LT_E_INPUT, 3},       {LT_E_IO, 1},   {LT_E_NOMEM, 4},
                {LT_E_DEVICE, 4}, {LT_E_NUMERIC, 1}, {LT_E_GATE, 5}, {LT_E_UNSUPPORTED, 1}, {LT_E_INTERRUPTED, 130}};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(status_exit_code(want[i].st), want[i].code);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_records_text_and_place), cmocka_unit_test(test_fail_keeps_the_first_text),
        cmocka_unit_test(test_wrap_puts_context_in_front),  cmocka_unit_test(test_text_too_long_is_cut_visibly),
        cmocka_unit_test(test_exit_codes_are_those_of_the_contract),
    };

    return TEST_MAIN(tests);
}
