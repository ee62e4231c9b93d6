#include "tests/check.h"

#include "core/file.h"
#include "core/tsv.h"

#include <math.h>

static const char *const COLUMNS[] = {"step", "name", "loss"};

static Tsv table_of_two(void)
{
    Tsv t;

    CHECK_OK(tsv_init(&t, COLUMNS, 3));
    CHECK_OK(tsv_row(&t));
    CHECK_OK(tsv_set_int(&t, 0, "step", INT64_MIN));
    CHECK_OK(tsv_set(&t, 0, "name", str_of("na\xc3\xafve \"x\"")));
    CHECK_OK(tsv_set_double(&t, 0, "loss", 0.1));
    CHECK_OK(tsv_row(&t));
    CHECK_OK(tsv_set_double(&t, 1, "loss", (double)NAN));
    return t;
}

static void test_table_reads_back_as_written(void **state)
{
    static const char want[] = "step\tname\tloss\n-9223372036854775808\tna\xc3\xafve \"x\"\t0.1\n\t\t\n";
    const char *path = test_file(test_folder(), "t.tsv", "", 0);
    Tsv t = table_of_two(), back;
    StrBuf text;

    (void)state;
    CHECK_OK(tsv_write(&t, path));
    tsv_release(&t);
    strbuf_init(&text);
    CHECK_OK(file_read(path, 1000, &text));
    check_str(strbuf_str(&text), want, sizeof want - 1);
    strbuf_release(&text);

    CHECK_OK(tsv_read(&back, path));
    assert_int_equal(back.n_row, 2);
    assert_int_equal(back.n_column, 3);
    assert_string_equal(back.column[2], "loss");
    assert_string_equal(tsv_get(&back, 0, "step"), "-9223372036854775808");
    assert_string_equal(tsv_get(&back, 0, "loss"), "0.1");
    assert_string_equal(tsv_get(&back, 1, "name"), "");
    assert_null(tsv_get(&back, 0, "absent"));
    tsv_release(&back);
}

static void test_cells_can_be_replaced(void **state)
{
    Tsv t = table_of_two();

    (void)state;
    CHECK_OK(tsv_set(&t, 0, "name", str_of("other")));
    assert_string_equal(tsv_get(&t, 0, "name"), "other");
    CHECK_OK(tsv_set(&t, 0, "name", str_of("")));
    assert_string_equal(tsv_get(&t, 0, "name"), "");
    CHECK_FAILS(tsv_set(&t, 0, "name", str_of("a\tb")), LT_E_INPUT, "column 'name'");
    CHECK_FAILS(tsv_set(&t, 0, "name", str_of("a\n")), LT_E_INPUT, "column 'name'");
    CHECK_FAILS(tsv_set(&t, 0, "name", str_of("\r")), LT_E_INPUT, "column 'name'");
    tsv_release(&t);
}

static void check_refused(const char *text, const char *part)
{
    const char *path = test_file(test_folder(), "t.tsv", text, strlen(text));
    Tsv t;
    CHECK_FAILS(tsv_read(&t, path), LT_E_INPUT, part);
}

static void test_read_refuses_odd_files(void **state)
{
    Tsv t;

    (void)state;
    check_refused("", "expected a line with the names of the columns");
    check_refused("a\tb\n1\t2\n1\n", "line 3: expected 2 cells, found 1");
    check_refused("a\tb\n1\t2\t3\n", "line 2: expected 2 cells, found 3");
    check_refused("a\tb\ta\n", "two columns 'a'");
    check_refused("a\tb\n1\tx\ry\n", "line 2");
    CHECK_FAILS(tsv_read(&t, "nowhere/t.tsv"), LT_E_INPUT, "nowhere/t.tsv");
}

static Status build_and_read(const char *path)
{
    Tsv t = {0}, back = {0};
    Status st;

    TRY(tsv_init(&t, COLUMNS, 3));
    TRY_GOTO(tsv_row(&t), st, done);
    TRY_GOTO(tsv_set_double(&t, 0, "loss", 0.5), st, done);
    TRY_GOTO(tsv_write(&t, path), st, done);
    TRY_GOTO(tsv_read(&back, path), st, done);
done:
    tsv_release(&t);
    tsv_release(&back);
    return st;
}

static void test_table_survives_lack_of_memory(void **state)
{
    const char *path = test_file(test_folder(), "t.tsv", "", 0);
    const int64_t held = mem_held();
    uint64_t n = 1;

    (void)state;
    for (;; n++) {
        mem_fail_at(n);
        const Status st = build_and_read(path);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
        if (st == LT_OK)
            break;
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
    }
    assert_true(n > 8);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_reads_back_as_written),
        cmocka_unit_test(test_cells_can_be_replaced),
        cmocka_unit_test(test_read_refuses_odd_files),
        cmocka_unit_test(test_table_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
