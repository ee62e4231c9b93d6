/* What checkpoints are called, and what is known of how they were made. */
#include "tests/check.h"

#include "eval/score/label.h"

static void test_names_are_the_shortest_distinct_tails(void **state)
{
    const char *const path[] = {"runs/a/step-10", "runs/b/step-10/", "models/base", "/other/top"};
    CheckpointName *name;

    (void)state;
    CHECK_OK(names_make(&name, path, 4, NULL));
    assert_string_equal(name[0].label, "a/step-10");
    assert_string_equal(name[0].folder, "a__step-10");
    assert_string_equal(name[1].label, "b/step-10");
    assert_string_equal(name[2].label, "base");
    assert_string_equal(name[3].label, "top");
    assert_string_equal(name[3].origin[0], "");
    names_free(name, 4);
    CHECK_FAILS(names_make(&name, (const char *[]){"a/b", "a/b/"}, 2, NULL), LT_E_USAGE, "given twice");
}

static void test_names_follow_lethe_json(void **state)
{
    const char *folder = test_folder();
    const char text[] = "{\"label\": \"r16: math\", \"method\": \"lora\", \"rank\": 16, \"targets\": [\"q_proj\", \"v_proj\"], \"lr\": 0.0002, \"run\": null}";
    CheckpointName *name;

    (void)state;
    test_file(folder, "lethe.json", text, sizeof text - 1);
    CHECK_OK(names_make(&name, &folder, 1, NULL));
    assert_string_equal(name->label, "r16: math");
    assert_string_equal(name->folder, "r16__ math");
    for (int i = 0; i < ORIGIN_FIELDS; i++) {
        const char *field = origin_field[i], *got = name->origin[i];
        const char *want = strcmp(field, "method") == 0    ? "lora"
                           : strcmp(field, "rank") == 0    ? "16"
                           : strcmp(field, "targets") == 0 ? "q_proj,v_proj"
                           : strcmp(field, "lr") == 0      ? "0.0002"
                           : strcmp(field, "label") == 0   ? "r16: math"
                                                           : "";
        assert_string_equal(got, want);
    }
    names_free(name, 1);
    test_file(folder, "lethe.json", "[]", 2);
    CHECK_FAILS(names_make(&name, &folder, 1, NULL), LT_E_INPUT, "lethe.json");
}

static void test_names_follow_the_manifest(void **state)
{
    static const char own[] = "{\"label\": \"mine\", \"method\": \"lora\", \"rank\": 16}";
    const char *folder = test_folder(), *elsewhere = "runs/not there";
    const char *const path[] = {folder, elsewhere};
    StrBuf text;
    CheckpointName *name;

    (void)state;
    test_file(folder, "lethe.json", own, sizeof own - 1);
    strbuf_init(&text);
    strbuf_addf(&text, "path\tlabel\trank\tcondition\n%s\ttheirs\t\tmath\n%s\t\t4\t\n", folder, elsewhere);
    const char *file = test_file(test_folder(), "manifest.tsv", text.data, text.len);
    CHECK_OK(names_make(&name, path, 2, file));
    assert_string_equal(name[0].label, "theirs");
    assert_string_equal(name[0].folder, "theirs");
    assert_string_equal(name[1].label, "not there");
    for (int i = 0; i < ORIGIN_FIELDS; i++) {
        const bool is_rank = strcmp(origin_field[i], "rank") == 0, is_condition = strcmp(origin_field[i], "condition") == 0;
        assert_true(!is_rank || strcmp(name[0].origin[i], "16") == 0); /* an empty cell says nothing */
        assert_true(!is_rank || strcmp(name[1].origin[i], "4") == 0);
        assert_true(!is_condition || strcmp(name[0].origin[i], "math") == 0);
    }
    names_free(name, 2);
    strbuf_release(&text);
    CHECK_FAILS(names_make(&name, path, 2, "nowhere.tsv"), LT_E_INPUT, "nowhere.tsv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_the_shortest_distinct_tails),
        cmocka_unit_test(test_names_follow_lethe_json),
        cmocka_unit_test(test_names_follow_the_manifest),
    };
    return TEST_MAIN(tests);
}
