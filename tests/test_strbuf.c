#include "tests/check.h"

static void test_str_find_and_ends(void **state)
{
    const Str s = {"a\0bc\0b", 6};

    (void)state;
    assert_int_equal(str_find(s, (Str){"\0b", 2}, 0), 1);
    assert_int_equal(str_find(s, (Str){"\0b", 2}, 2), 4);
    assert_int_equal(str_find(s, str_of("x"), 0), SIZE_MAX);
    assert_int_equal(str_find(s, str_of(""), 6), 6);
    assert_int_equal(str_find(s, str_of("a"), 7), SIZE_MAX);
    assert_true(str_starts(s, str_of("a")));
    assert_false(str_starts(str_of("a"), str_of("ab")));
    assert_true(str_ends(s, (Str){"\0b", 2}));
    assert_true(str_ends(s, str_of("")));
}

static void test_add_builds_text(void **state)
{
    StrBuf b;

    (void)state;
    strbuf_init(&b);
    check_str(strbuf_str(&b), "", 0);
    strbuf_add(&b, "x\0y", 3);
    strbuf_add_char(&b, '-');
    strbuf_addf(&b, "%d:%s", 42, "end");
    strbuf_add_text(&b, "");
    CHECK_OK(strbuf_status(&b));
    check_str(strbuf_str(&b), "x\0y-42:end", 10);
    assert_int_equal(b.data[b.len], 0);
    strbuf_clear(&b);
    check_str(strbuf_str(&b), "", 0);
    strbuf_release(&b);
}

static void test_failure_is_remembered(void **state)
{
    StrBuf b;

    (void)state;
    strbuf_init(&b);
    strbuf_add_text(&b, "kept");
    mem_fail_at(1);
    strbuf_addf(&b, "%1000d", 1);
    strbuf_add_text(&b, "lost");
    check_str(strbuf_str(&b), "kept", 4);
    CHECK_FAILS(strbuf_status(&b), LT_E_NOMEM, NULL);
    assert_null(strbuf_steal(&b, NULL));
    strbuf_release(&b);
}

static void test_steal_hands_over(void **state)
{
    StrBuf b;
    size_t len;
    char *text;

    (void)state;
    strbuf_init(&b);
    text = strbuf_steal(&b, &len);
    assert_string_equal(text, "");
    assert_int_equal(len, 0);
    mem_free(text);
    strbuf_add_text(&b, "abc");
    text = strbuf_steal(&b, &len);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
    mem_free(text);
    strbuf_release(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_find_and_ends),
        cmocka_unit_test(test_add_builds_text),
        cmocka_unit_test(test_failure_is_remembered),
        cmocka_unit_test(test_steal_hands_over),
    };

    return TEST_MAIN(tests);
}
