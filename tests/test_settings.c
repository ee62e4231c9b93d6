#include "tests/check.h"

#include "cli/settings.h"

static void check_setting(const TaskSettings *s, size_t i, const char *task, const char *value)
{
    assert_true(i < s->count);
    if (task == NULL)
        assert_null(s->item[i].task);
    else
        assert_string_equal(s->item[i].task, task);
    assert_string_equal(s->item[i].value, value);
}

static void test_settings_one_value_for_all(void **state)
{
    TaskSettings s = {0};

    (void)state;
    CHECK_OK(settings_parse(&s, "shots", "5", SETTING_COUNT));
    assert_int_equal(s.count, 1);
    check_setting(&s, 0, NULL, "5");
    settings_release(&s);
}

static void test_settings_values_by_task(void **state)
{
    TaskSettings s = {0};

    (void)state;
    CHECK_OK(settings_parse(&s, "items", "hellaswag=0-9,winogrande=12-12", SETTING_RANGE));
    assert_int_equal(s.count, 2);
    check_setting(&s, 0, "hellaswag", "0-9");
    check_setting(&s, 1, "winogrande", "12-12");
    settings_release(&s);
    CHECK_OK(settings_parse(&s, "profile", NULL, SETTING_NAME));
    assert_int_equal(s.count, 0);
}

static void test_settings_refuse_misuse(void **state)
{
    static const struct {
        const char *text, *part;
        SettingKind kind;
    } cases[] = {
        {"hellswag=5", "option '--x': unknown task 'hellswag': did you mean 'hellaswag'?", SETTING_COUNT},
        {"five", "expected an integer of at least 0, found 'five'", SETTING_COUNT},
        {"-1", "found '-1'", SETTING_COUNT},
        {"5,", "is empty", SETTING_COUNT},
        {"hellaswag=", "the value of 'hellaswag=' is empty", SETTING_COUNT},
        {"hellaswag=1e3", "found '1e3'", SETTING_COUNT},
        {"9999999999", "found '9999999999'", SETTING_COUNT},
        {"0-9", "expected TASK=FIRST-LAST, found '0-9'", SETTING_RANGE},
        {"hellaswag=9-0", "expected FIRST-LAST, found '9-0'", SETTING_RANGE},
        {"hellaswag=9", "expected FIRST-LAST, found '9'", SETTING_RANGE},
        {"hellaswag=1-2-3", "found '1-2-3'", SETTING_RANGE},
        {"", "is empty", SETTING_NAME},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TaskSettings s = {0};
        CHECK_FAILS(settings_parse(&s, "x", cases[i].text, cases[i].kind), LT_E_USAGE, cases[i].part);
        settings_release(&s);
    }
}

static void test_settings_data_files_and_folder(void **state)
{
    TaskSettings files = {0};
    const char *folder = NULL;

    (void)state;
    CHECK_OK(settings_add_data(&files, &folder, "some/folder"));
    CHECK_OK(settings_add_data(&files, &folder, "winogrande=dev.jsonl"));
    CHECK_OK(settings_add_data(&files, &folder, "winogrande.train=train=xl.jsonl"));
    assert_string_equal(folder, "some/folder");
    check_setting(&files, 0, "winogrande", "dev.jsonl");
    check_setting(&files, 1, "winogrande.train", "train=xl.jsonl");
    CHECK_FAILS(settings_add_data(&files, &folder, "other"), LT_E_USAGE, "one folder expected, 'some/folder' and 'other' found");
    CHECK_FAILS(settings_add_data(&files, &folder, "winogrand=x"), LT_E_USAGE, "did you mean 'winogrande'?");
    CHECK_FAILS(settings_add_data(&files, &folder, "winogrande="), LT_E_USAGE, "the file of 'winogrande' is missing");
    settings_release(&files);
}

static void test_settings_lack_of_memory(void **state)
{
    const char *text = "hellaswag=1,winogrande=2";
    const uint64_t before = mem_count();
    TaskSettings s = {0};

    (void)state;
    CHECK_OK(settings_parse(&s, "shots", text, SETTING_COUNT));
    settings_release(&s);
    const uint64_t need = mem_count() - before;
    for (uint64_t n = 1; n <= need; n++) {
        const int64_t held = mem_held();
        mem_fail_at(n);
        CHECK_FAILS(settings_parse(&s, "shots", text, SETTING_COUNT), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        settings_release(&s);
        assert_int_equal(mem_held(), held);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_one_value_for_all),
        cmocka_unit_test(test_settings_values_by_task),
        cmocka_unit_test(test_settings_refuse_misuse),
        cmocka_unit_test(test_settings_data_files_and_folder),
        cmocka_unit_test(test_settings_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
