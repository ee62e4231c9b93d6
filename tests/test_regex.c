#include "tests/check.h"

#include "core/regex.h"

#include "core/utf8.h"

#include <pthread.h>

static Regex *compiled(const char *pattern, unsigned flags)
{
    Regex *re;
    CHECK_OK(regex_compile(&re, str_of(pattern), flags));
    return re;
}

static void check_match(const char *pattern, unsigned flags, Str subject, size_t from, size_t begin, size_t end)
{
    Regex *re = compiled(pattern, flags);
    RegexMatch match;
    bool found;

    CHECK_OK(regex_find(re, subject, from, &match, &found));
    assert_int_equal(found, begin != SIZE_MAX);
    if (found) {
        assert_int_equal(match.begin[0], begin);
        assert_int_equal(match.end[0], end);
    }
    regex_free(re);
}

static void test_find_starts_at_from(void **state)
{
    (void)state;
    check_match("a+", 0, str_of("baac a"), 0, 1, 3);
    check_match("a+", 0, str_of("baac a"), 3, 5, 6);
    check_match("a+", 0, str_of("baac a"), 6, SIZE_MAX, 0);
    check_match("", 0, (Str){NULL, 0}, 0, 0, 0);
    check_match("b", 0, (Str){"a\0b", 3}, 0, 2, 3);
    /* What lies before `from` is still seen by look-behind. */
    check_match("(?<=b)a", 0, str_of("ba"), 1, 1, 2);
}

static void test_flags(void **state)
{
    (void)state;
    check_match("a.b", 0, str_of("a\nb"), 0, SIZE_MAX, 0);
    check_match("a.b", REGEX_DOTALL, str_of("a\nb"), 0, 0, 3);
    check_match("a$", 0, str_of("a\n"), 0, 0, 1);
    check_match("a$", REGEX_DOLLAR_END_ONLY, str_of("a\n"), 0, SIZE_MAX, 0);
    check_match("\xc3\xa9", REGEX_CASELESS, str_of("\xc3\x89"), 0, 0, 2);
}

static void test_classes_are_unicode(void **state)
{
    (void)state;
    check_match("\\p{L}+", 0, str_of("1\xc3\xa9\xce\xb1 "), 0, 1, 5);
    check_match("\\s", 0, str_of("a\xc2\xa0"), 0, 1, 3);
    check_match("\\w+", 0, str_of("-\xe4\xb8\xad"), 0, 1, 4);
    check_match("\\s+(?!\\S)", 0, str_of("a   b"), 0, 1, 3);
}

static void test_groups(void **state)
{
    Regex *re = compiled("(a)|(b)(c)?", 0);
    RegexMatch match;
    bool found;

    (void)state;
    CHECK_OK(regex_find(re, str_of("xb"), 0, &match, &found));
    assert_true(found);
    assert_int_equal(match.n_group, 3);
    assert_true(match.begin[1] == SIZE_MAX);
    assert_int_equal(match.begin[2], 1);
    assert_int_equal(match.end[2], 2);
    assert_true(match.begin[3] == SIZE_MAX && match.begin[REGEX_GROUPS - 1] == SIZE_MAX);
    regex_free(re);
    /* More groups than are kept: the first sixteen are right. */
    re = compiled("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)(m)(n)(o)(p)(q)", 0);
    CHECK_OK(regex_find(re, str_of("abcdefghijklmnopq"), 0, &match, &found));
    assert_true(found && match.n_group == REGEX_GROUPS && match.begin[15] == 14 && match.end[0] == 17);
    regex_free(re);
}

static void test_bad_patterns_are_input_errors(void **state)
{
    Regex *re;

    (void)state;
    CHECK_FAILS(regex_compile(&re, str_of("a(b"), 0), LT_E_INPUT, "'a(b': missing closing parenthesis at byte 3");
    CHECK_FAILS(regex_compile(&re, str_of("\xff"), 0), LT_E_INPUT, "UTF-8");
    /* Half a character is no match. */
    CHECK_FAILS(regex_compile(&re, str_of("a\\C"), 0), LT_E_INPUT, "\\C");
    regex_free(NULL);
}

/* A match that ends before it begins, or begins before the search did, would make pieces of negative length. */
static void test_bug_moved_start_of_a_match(void **state)
{
    static const struct {
        const char *pattern;
        size_t from;
    } cases[] = {{"(?(DEFINE)(?<k>l\\K))(?=(?&k))", 0}, {"(?(DEFINE)(?<k>\\K))(?<=(?&k)a)b", 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Regex *re;
        RegexMatch match;
        bool found;

        CHECK_OK(regex_compile(&re, str_of(cases[i].pattern), 0));
        CHECK_FAILS(regex_find(re, str_of("lab"), cases[i].from, &match, &found), LT_E_INPUT, "when searching from");
        regex_free(re);
    }
}

static void test_exploding_pattern_ends_with_an_error(void **state)
{
    Regex *re = compiled("^(a+)+$", 0);
    RegexMatch match;
    StrBuf text;
    bool found;

    (void)state;
    strbuf_init(&text);
    for (int i = 0; i < 60; i++)
        strbuf_add_char(&text, 'a');
    CHECK_OK(regex_find(re, strbuf_str(&text), 0, &match, &found));
    assert_true(found);
    strbuf_add_char(&text, '!');
    CHECK_FAILS(regex_find(re, strbuf_str(&text), 0, &match, &found), LT_E_INPUT, "steps");
    strbuf_release(&text);
    regex_free(re);
}

/* Backtracking too deep for the JIT's stack goes on in the interpreter. */
static void test_deep_backtracking_still_matches(void **state)
{
    enum { N = 200000 };
    Regex *re = compiled("^(?:(a)|b)*c", 0);
    RegexMatch match;
    StrBuf text;
    bool found;

    (void)state;
    strbuf_init(&text);
    for (int i = 0; i < N; i++)
        strbuf_add_char(&text, i % 3 ? 'a' : 'b');
    strbuf_add_char(&text, 'c');
    CHECK_OK(regex_find(re, strbuf_str(&text), 0, &match, &found));
    assert_true(found && match.end[0] == N + 1);
    strbuf_release(&text);
    regex_free(re);
}

/* GPT-2's pattern cuts 1 MB into pieces that tile it. Checking the subject again at every call would take minutes. */
static void test_pieces_tile_a_long_text(void **state)
{
    Regex *re = compiled("'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", 0);
    StrBuf text;
    size_t at = 0, n = 0;

    (void)state;
    strbuf_init(&text);
    for (int i = 0; i < 40000; i++)
        strbuf_add_text(&text, "It's 12 \xe2\x82\xac,  na\xc3\xafve\n");
    const Str all = strbuf_str(&text);
    assert_int_equal(utf8_valid_prefix(all), all.len);
    while (at < all.len) {
        RegexMatch match;
        bool found;

        CHECK_OK(regex_find(re, all, at, &match, &found));
        assert_true(found && match.begin[0] == at && match.end[0] > at);
        at = match.end[0];
        n++;
    }
    /* "It" "'s" " 12" " EUR," " " " naive" "\n", then the same */
    assert_int_equal(n, 40000 * 7);
    strbuf_release(&text);
    regex_free(re);
}

static void *match_often(void *context)
{
    const Regex *re = context;
    uintptr_t wrong = 0;

    for (int i = 0; i < 3000; i++) {
        RegexMatch match;
        bool found;
        if (regex_find(re, str_of("xx abc123 yy"), (size_t)i % 3, &match, &found) != LT_OK || !found ||
            match.begin[1] != 3 || match.end[1] != 6 || match.begin[2] != 6 || match.end[2] != 9)
            wrong++;
    }
    return (void *)wrong;
}

static void test_threads_share_one_pattern(void **state)
{
    enum { THREADS = 4 };
    Regex *re = compiled("([a-w]+)(\\d+)", 0);
    pthread_t thread[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, match_often, re), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
    regex_free(re);
}

static Status compile_and_find(void)
{
    RegexMatch match;
    Regex *re;
    bool found;

    TRY(regex_compile(&re, str_of("(a|b)+c"), 0));
    const Status st = regex_find(re, str_of("abc"), 0, &match, &found);
    regex_free(re);
    return st;
}

static void test_lack_of_memory_is_reported(void **state)
{
    const int64_t held = mem_held();
    const uint64_t before = mem_count();

    (void)state;
    CHECK_OK(compile_and_find());
    const uint64_t taken = mem_count() - before;
    assert_true(taken > 4);
    /* Some of the allocations are the JIT's, which is allowed to do without. */
    size_t failed = 0;
    for (uint64_t n = 1; n <= taken; n++) {
        mem_fail_at(n);
        const Status st = compile_and_find();
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
        failed += st != LT_OK;
        CHECK_FAILS(st, st == LT_OK ? LT_OK : LT_E_NOMEM, NULL);
    }
    assert_true(failed >= 4);
}

static void test_version_names_unicode(void **state)
{
    (void)state;
    assert_non_null(strstr(regex_version(), "Unicode "));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_starts_at_from),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_classes_are_unicode),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_bad_patterns_are_input_errors),
        cmocka_unit_test(test_bug_moved_start_of_a_match),
        cmocka_unit_test(test_exploding_pattern_ends_with_an_error),
        cmocka_unit_test(test_deep_backtracking_still_matches),
        cmocka_unit_test(test_pieces_tile_a_long_text),
        cmocka_unit_test(test_threads_share_one_pattern),
        cmocka_unit_test(test_lack_of_memory_is_reported),
        cmocka_unit_test(test_version_names_unicode),
    };
    return TEST_MAIN(tests);
}
