#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"

#define S(literal) ((Str){(literal), sizeof(literal) - 1})

static void check_capitalize(Str in, Str want)
{
    StrBuf out;

    strbuf_init(&out);
    py_capitalize(&out, in);
    CHECK_OK(strbuf_status(&out));
    check_str(strbuf_str(&out), want.data, want.len);
    strbuf_release(&out);
}

static void check_lower(Str in, Str want)
{
    StrBuf out;

    strbuf_init(&out);
    py_lower(&out, in);
    CHECK_OK(strbuf_status(&out));
    check_str(strbuf_str(&out), want.data, want.len);
    strbuf_release(&out);
}

static void test_valid_prefix_stops_at_the_first_bad_byte(void **state)
{
    static const struct {
        Str text;
        size_t valid;
    } cases[] = {
        {S(""), 0},
        {S("plain ASCII, longer than a word"), 31},
        {S("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), 25},
        {S("12345678\x80"), 8},                 /* continuation without a lead */
        {S("a\xc1\xbf"), 1},                    /* overlong */
        {S("\xe0\x9f\xbf"), 0},                 /* overlong */
        {S("\xf0\x8f\xbf\xbf"), 0},             /* overlong */
        {S("ab\xed\xa0\x80"), 2},               /* surrogate */
        {S("\xf4\x90\x80\x80"), 0},             /* beyond U+10FFFF */
        {S("\xf5\x80\x80\x80"), 0},
        {S("\xff"), 0},
        {S("\xc3\xa9\xe2\x82"), 2},             /* cut off */
        {S("\xe2\x28\xa1"), 0},
        {S("\xe2\x82\x28"), 0},
        {S("a\0b"), 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_valid_prefix(cases[i].text), cases[i].valid);
}

static void test_every_scalar_value_survives(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        char bytes[4];
        uint32_t back;

        if (code == 0xd800)
            code = 0xe000;
        const size_t n = utf8_put(bytes, code);
        const Str s = {bytes, n};
        assert_int_equal(utf8_valid_prefix(s), n);
        assert_int_equal(utf8_next(s, 0, &back), n);
        assert_int_equal(back, code);
        assert_int_equal(utf8_before(s, n, &back), 0);
        assert_int_equal(back, code);
    }
    assert_int_equal(utf8_count(S("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
    assert_int_equal(utf8_count(S("")), 0);
}

static void test_strip_takes_python_white_space(void **state)
{
    const Str stripped = py_strip(S(" \t\x1c\xc2\x85\xe3\x80\x80 x y\xe2\x80\xa8\n "));
    const Str right = py_rstrip(S(" x\xc2\xa0"));

    (void)state;
    check_str(stripped, "x y", 3);
    check_str(right, " x", 2);
    assert_int_equal(py_strip(S(" \n")).len, 0);
    assert_int_equal(py_strip(S("")).len, 0);
    /* U+200B is no white space, nor is U+180E since Unicode 6.3. */
    assert_int_equal(py_strip(S("\xe2\x80\x8b\xe1\xa0\x8e")).len, 6);
}

static void test_capitalize_uses_full_mappings(void **state)
{
    (void)state;
    check_capitalize(S(""), S(""));
    check_capitalize(S("IBM USA"), S("Ibm usa"));
    check_capitalize(S("\xc3\x9f is"), S("Ss is"));
    check_capitalize(S("\xc7\x86"), S("\xc7\x85"));                     /* dz with caron has a title form */
    check_capitalize(S("\xef\xac\x83X"), S("Ffix"));                    /* ligature ffi */
    check_capitalize(S("\xc5\x89"), S("\xca\xbcN"));
    check_capitalize(S("\xe1\xbe\xb7"), S("\xce\x91\xcd\x82\xcd\x85")); /* three characters */
    check_capitalize(S("a\xc4\xb0"), S("Ai\xcc\x87"));                  /* dotted capital I */
    check_capitalize(S(" abC"), S(" abc"));
    check_capitalize(S("a\0B"), S("A\0b"));
}

static void test_lower_knows_final_sigma(void **state)
{
    (void)state;
    check_lower(S("\xce\xa3"), S("\xcf\x83"));                                 /* alone: not final */
    check_lower(S("A\xce\xa3"), S("a\xcf\x82"));
    check_lower(S("A\xce\xa3 B"), S("a\xcf\x82 b"));
    check_lower(S("A\xce\xa3" "B"), S("a\xcf\x83" "b"));
    check_lower(S("A\xce\xa3.\xcc\x81" "B"), S("a\xcf\x83.\xcc\x81" "b"));     /* stop and accent are stepped over */
    check_lower(S("A'\xce\xa3'"), S("a'\xcf\x82'"));
    check_lower(S("1\xce\xa3"), S("1\xcf\x83"));
    check_lower(S("\xe2\x85\xa0\xce\xa3"), S("\xe2\x85\xb0\xcf\x82"));         /* a Roman numeral is cased */
    /* What was capitalised before still counts for the sigma behind it. */
    check_capitalize(S("a\xce\xa3"), S("A\xcf\x82"));
}

static void test_capitalize_matches_golden(void **state)
{
    const char *path = test_data("golden/eval/preprocess.jsonl");
    LineReader *lines;
    size_t n = 0;
    Str line;
    bool more;

    (void)state;
    CHECK_OK(lines_open(&lines, path));
    for (;;) {
        Str fn, in, out;
        json_t *row;

        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&row, line, path, lines_number(lines)));
        const JsonAt root = json_root(row, path, lines_number(lines));
        CHECK_OK(json_get_str(&root, "fn", &fn));
        if (str_is(fn, "capitalize")) {
            CHECK_OK(json_get_str(&root, "in", &in));
            CHECK_OK(json_get_str(&root, "out", &out));
            check_capitalize(in, out);
            n++;
        }
        json_decref(row);
    }
    lines_close(lines);
    assert_true(n > 100);
}

static void test_replace_makes_one_pass(void **state)
{
    StrBuf out;

    (void)state;
    strbuf_init(&out);
    py_replace(&out, S("a   b    c"), S("  "), S(" "));
    check_str(strbuf_str(&out), "a  b  c", 7);
    strbuf_clear(&out);
    py_replace(&out, S(" [title] x [title]"), S(" [title]"), S(". "));
    check_str(strbuf_str(&out), ".  x. ", 6);
    strbuf_clear(&out);
    py_replace(&out, S("aaa"), S("b"), S("c"));
    check_str(strbuf_str(&out), "aaa", 3);
    strbuf_release(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_prefix_stops_at_the_first_bad_byte),
        cmocka_unit_test(test_every_scalar_value_survives),
        cmocka_unit_test(test_strip_takes_python_white_space),
        cmocka_unit_test(test_capitalize_uses_full_mappings),
        cmocka_unit_test(test_lower_knows_final_sigma),
        cmocka_unit_test(test_capitalize_matches_golden),
        cmocka_unit_test(test_replace_makes_one_pass),
    };
    return TEST_MAIN(tests);
}
