#include "tests/check.h"

#include "core/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *parse(const char *text)
{
    json_t *value;
    CHECK_OK(json_parse(&value, str_of(text), "t.json", 0));
    return value;
}

static void check_refused(Str text, const char *part)
{
    json_t *value = NULL;
    CHECK_FAILS(json_parse(&value, text, "t.json", 0), LT_E_INPUT, part);
    assert_null(value);
}

static void test_parse_refuses_what_is_not_json(void **state)
{
    (void)state;
    check_refused(str_of(""), "t.json:1:");
    check_refused(str_of("{\"a\": 1,\n \"a\": 2}"), "t.json:2:");
    check_refused(str_of("[1] 2"), "end of file expected");
    check_refused(str_of("{\"a\": 1"), "t.json:1:7");
    check_refused(str_of("\"\xff\""), "unable to decode byte 0xff");
    check_refused(str_of("\"\\ud800\""), "t.json");
    check_refused(str_of("NaN"), "t.json");
    check_refused(str_of("1e999"), "overflow");
    check_refused((Str){"1\0", 2}, "t.json: zero byte at offset 1");
}

static void test_parse_bounds_depth(void **state)
{
    StrBuf deep;

    (void)state;
    strbuf_init(&deep);
    for (int i = 0; i < 100000; i++)
        strbuf_add_char(&deep, '[');
    check_refused(strbuf_str(&deep), "depth");
    strbuf_release(&deep);
}

static void test_parse_names_the_line_of_a_jsonl_file(void **state)
{
    json_t *value;

    (void)state;
    CHECK_FAILS(json_parse(&value, str_of("{\"a\" 1}"), "d.jsonl", 17), LT_E_INPUT, "d.jsonl:17: column ");
}

static void test_parse_needs_no_nul_and_keeps_nul(void **state)
{
    json_t *value;
    Str text;

    (void)state;
    CHECK_OK(json_parse(&value, (Str){"\"a\\u0000b\"tail", 10}, "t", 0));
    CHECK_OK(json_to_str(json_root(value, "t", 0), &text));
    check_str(text, "a\0b", 3);
    json_decref(value);
    CHECK_OK(json_parse(&value, str_of("12"), "t", 0));
    json_decref(value);
}

static void test_load_path_names_the_file(void **state)
{
    const char *path = test_file(test_folder(), "config.json", "{\"n\": 3}", 8);
    int64_t n = 0;
    json_t *value;

    (void)state;
    CHECK_OK(json_load_path(&value, path, 8));
    const JsonAt root = json_root(value, path, 0);
    CHECK_OK(json_get_int(&root, "n", 0, 10, &n));
    assert_int_equal(n, 3);
    json_decref(value);
    CHECK_FAILS(json_load_path(&value, path, 7), LT_E_INPUT, "config.json");
    CHECK_FAILS(json_load_path(&value, "nowhere/x.json", 8), LT_E_INPUT, "nowhere/x.json");
}

static void test_errors_name_the_way_and_the_value(void **state)
{
    json_t *value = parse("{\"rope\": {\"factor\": \"x\", \"list\": [1, [2, {\"k\": null}]]}, \"long\": "
                          "\"\xc3\xa9 0123456789012345678901234567890123456789012345678901234567890\"}");
    const JsonAt root = json_root(value, "c.json", 0), rope = json_member(&root, "rope");
    const JsonAt list = json_member(&rope, "list"), inner = json_element(&list, 1), object = json_element(&inner, 1);
    double number;
    int64_t whole;
    bool flag;
    Str text;

    (void)state;
    CHECK_FAILS(json_to_double(json_member(&rope, "factor"), &number), LT_E_INPUT,
                "c.json: rope.factor: expected a number, found \"x\"");
    CHECK_FAILS(json_to_str(json_member(&object, "k"), &text), LT_E_INPUT,
                "c.json: rope.list[1][1].k: expected a string, found null");
    CHECK_FAILS(json_to_bool(list, &flag), LT_E_INPUT, "expected true or false, found [1, [2, {\"k\": null}]]");
    CHECK_FAILS(json_get_int(&root, "absent", 0, 5, &whole), LT_E_INPUT, "c.json: absent: expected an integer from 0 to 5, found nothing");
    CHECK_FAILS(json_to_array(root, NULL), LT_E_INPUT, "c.json: expected an array, found {\"rope\"");
    CHECK_FAILS(json_to_object(json_element(&list, 0)), LT_E_INPUT, "c.json: rope.list[0]: expected an object, found 1");
    CHECK_FAILS(json_get_int(&root, "long", 0, 5, &whole), LT_E_INPUT, "found \"\xc3\xa9 012345678901234567890123456789012345...");
    CHECK_FAILS(json_fail(rope, "unknown %s", "thing"), LT_E_INPUT, "c.json: rope: unknown thing");
    CHECK_FAILS(json_fail(json_root(value, "d.jsonl", 9), "bad"), LT_E_INPUT, "d.jsonl:9: bad");
    json_decref(value);
}

static void test_member_of_no_object_is_absent(void **state)
{
    json_t *value = parse("[1]");
    const JsonAt root = json_root(value, "t", 0), member = json_member(&root, "a"), nested = json_member(&member, "b");

    (void)state;
    assert_false(json_here(member));
    assert_false(json_here(nested));
    assert_false(json_here(json_element(&root, 1)));
    assert_true(json_here(json_element(&root, 0)));
    json_decref(value);
}

static void test_integers_are_checked(void **state)
{
    json_t *value = parse("[8.0, 8.5, 9223372036854775807, -9223372036854775808, 1e19, true, 5, -9223372036854775808.0]");
    const JsonAt root = json_root(value, "t", 0);
    int64_t n = 0;

    (void)state;
    CHECK_OK(json_to_int(json_element(&root, 0), 8, 8, &n));
    assert_int_equal(n, 8);
    CHECK_FAILS(json_to_int(json_element(&root, 1), INT64_MIN, INT64_MAX, &n), LT_E_INPUT, "expected an integer, found 8.5");
    CHECK_OK(json_to_int(json_element(&root, 2), INT64_MIN, INT64_MAX, &n));
    assert_true(n == INT64_MAX);
    CHECK_OK(json_to_int(json_element(&root, 3), INT64_MIN, INT64_MAX, &n));
    assert_true(n == INT64_MIN);
    CHECK_FAILS(json_to_int(json_element(&root, 4), INT64_MIN, INT64_MAX, &n), LT_E_INPUT, "found 1e+19");
    CHECK_FAILS(json_to_int(json_element(&root, 5), 0, 10, &n), LT_E_INPUT, "found true");
    CHECK_FAILS(json_to_int(json_element(&root, 6), 6, INT64_MAX, &n), LT_E_INPUT, "an integer of at least 6, found 5");
    CHECK_FAILS(json_to_int(json_element(&root, 6), 0, 4, &n), LT_E_INPUT, "from 0 to 4, found 5");
    CHECK_OK(json_to_int(json_element(&root, 7), INT64_MIN, 0, &n));
    assert_true(n == INT64_MIN);
    json_decref(value);
}

static void test_optional_members_keep_their_default(void **state)
{
    json_t *value = parse("{\"null\": null, \"i\": 4, \"d\": 2, \"b\": true, \"s\": \"x\"}");
    const JsonAt root = json_root(value, "t", 0);
    int64_t i = 7;
    double d = 0.5;
    bool b = false;
    Str s = str_of("default");

    (void)state;
    CHECK_OK(json_opt_int(&root, "null", 0, 9, &i));
    CHECK_OK(json_opt_double(&root, "absent", &d));
    CHECK_OK(json_opt_bool(&root, "null", &b));
    CHECK_OK(json_opt_str(&root, "absent", &s));
    assert_true(i == 7 && d == 0.5 && !b && str_is(s, "default"));
    CHECK_OK(json_opt_int(&root, "i", 0, 9, &i));
    CHECK_OK(json_opt_double(&root, "d", &d));
    CHECK_OK(json_opt_bool(&root, "b", &b));
    CHECK_OK(json_opt_str(&root, "s", &s));
    assert_true(i == 4 && d == 2.0 && b && str_is(s, "x"));
    CHECK_FAILS(json_opt_bool(&root, "i", &b), LT_E_INPUT, "t: i: expected true or false, found 4");
    json_decref(value);
}

static void check_written(const char *text, JsonStyle style, const char *want)
{
    json_t *value = parse(text);
    StrBuf out;

    strbuf_init(&out);
    CHECK_OK(json_write(&out, value, style));
    check_str(strbuf_str(&out), want, strlen(want));
    strbuf_release(&out);
    json_decref(value);
}

/* Expected texts: json.dumps(x), json.dumps(x, indent=2), json.dumps(x, separators=(",", ":")), ensure_ascii both ways. */
static void test_write_is_python_json_dumps(void **state)
{
    static const char text[] = "{\"b\":[1,[],{}, {\"x\":-0.0}],\"a\":null,\"t\":true,\"f\":false,\"i\":-9223372036854775808}";

    (void)state;
    check_written(text, (JsonStyle){.indent = -1},
                  "{\"b\": [1, [], {}, {\"x\": -0.0}], \"a\": null, \"t\": true, \"f\": false, \"i\": -9223372036854775808}");
    check_written(text, (JsonStyle){.indent = -1, .compact = true},
                  "{\"b\":[1,[],{},{\"x\":-0.0}],\"a\":null,\"t\":true,\"f\":false,\"i\":-9223372036854775808}");
    check_written(text, (JsonStyle){.indent = 2},
                  "{\n  \"b\": [\n    1,\n    [],\n    {},\n    {\n      \"x\": -0.0\n    }\n  ],\n  \"a\": null,\n"
                  "  \"t\": true,\n  \"f\": false,\n  \"i\": -9223372036854775808\n}");
    check_written("[]", (JsonStyle){.indent = 2}, "[]");
    check_written("[1]", (JsonStyle){.indent = 0}, "[\n1\n]");
}

static void test_write_escapes_as_python(void **state)
{
    static const char text[] = "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"";

    (void)state;
    check_written(text, (JsonStyle){.indent = -1},
                  "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"");
    check_written(text, (JsonStyle){.indent = -1, .ascii = true},
                  "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\\u007f\\u00e9\\u2028\\ud83d\\ude00\"");
}

static void check_double(double x, const char *want)
{
    StrBuf out;

    strbuf_init(&out);
    json_write_double(&out, x);
    check_str(strbuf_str(&out), want, strlen(want));
    strbuf_release(&out);
}

static void test_doubles_are_python_repr(void **state)
{
    static const struct {
        double x;
        const char *text;
    } cases[] = {
        {0.0, "0.0"}, {-0.0, "-0.0"}, {1.0, "1.0"}, {0.1, "0.1"}, {-1.5, "-1.5"}, {100.0, "100.0"}, {1e15, "1000000000000000.0"},
        {1e16, "1e+16"}, {9999999999999998.0, "9999999999999998.0"}, {0.0001, "0.0001"}, {1e-5, "1e-05"},
        {0.00012345, "0.00012345"}, {1.2345e-5, "1.2345e-05"}, {5e-324, "5e-324"}, {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"}, {1e22, "1e+22"}, {1e23, "1e+23"}, {1e100, "1e+100"}, {0.30000000000000004, "0.30000000000000004"},
        {2.0 / 3.0, "0.6666666666666666"}, {9007199254740993.0, "9007199254740992.0"}, {123456.789, "123456.789"},
        /* Rounding the sixteenth digit down is nearer but reads back as the neighbour. */
        {0x1p-44, "5.684341886080802e-14"},
        {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"}, {(double)NAN, "NaN"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_double(cases[i].x, cases[i].text);
}

/* Any double: the text reads back as the same number, and no %.*g of fewer digits does. */
static void test_doubles_read_back_and_are_shortest(void **state)
{
    TestRandom random = {2};
    StrBuf out;

    (void)state;
    strbuf_init(&out);
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = test_random(&random);
        size_t digits = 0;
        char shorter[40];
        double x;

        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x))
            continue;
        strbuf_clear(&out);
        json_write_double(&out, x);
        assert_true(strtod(out.data, NULL) == x);
        for (const char *c = out.data; *c != '\0' && *c != 'e'; c++)
            digits += *c >= '0' && *c <= '9' && (digits > 0 || *c != '0');
        if (digits > 1) {
            snprintf(shorter, sizeof shorter, "%.*e", (int)digits - 2, x);
            assert_true(strtod(shorter, NULL) != x || out.data[strlen(out.data) - 1] == '0');
        }
    }
    strbuf_release(&out);
}

static void test_put_push_and_from_str_build_documents(void **state)
{
    json_t *object = json_object(), *array = json_array();

    (void)state;
    CHECK_OK(json_push(array, json_from_str((Str){"a\0b", 3})));
    CHECK_OK(json_push(array, json_from_str((Str){NULL, 0})));
    CHECK_OK(json_put(object, "list", array));
    CHECK_FAILS(json_put(object, "bad", json_from_str(str_of("\xff"))), LT_E_NOMEM, "bad");
    CHECK_FAILS(json_push(array, NULL), LT_E_NOMEM, NULL);
    assert_int_equal(json_string_length(json_array_get(array, 0)), 3);
    json_decref(object);
}

/* Jansson takes its memory from core/mem: every failing allocation gives LT_E_NOMEM and leaks nothing. */
static void test_parse_survives_lack_of_memory(void **state)
{
    static const char text[] = "{\"key\": [1, 2.5, \"a rather long string that has to grow the buffer of the lexer ...\", "
                               "{\"x\": null, \"y\": [true, false], \"z\": \"\"}], \"other\": {\"a\": 1, \"b\": 2, \"c\": 3}}";
    const int64_t held = mem_held();
    json_t *value = NULL;
    uint64_t n = 1;

    (void)state;
    for (;; n++) {
        mem_fail_at(n);
        const Status st = json_parse(&value, str_of(text), "t", 0);
        mem_fail_at(0);
        if (st == LT_OK)
            break;
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    assert_true(n > 20);
    json_decref(value);
    assert_int_equal(mem_held(), held);
}

/* A quote that fell to a failed allocation made the parser read and write far behind the string. */
static void test_bug_quote_lost_for_lack_of_memory(void **state)
{
    const int64_t held = mem_held();
    char text[80];

    (void)state;
    for (size_t len = 0; len + 2 < sizeof text; len++) {
        json_t *value = NULL;
        Status st = LT_E_NOMEM;

        memset(text, 'x', sizeof text);
        text[0] = text[len + 1] = '"';
        for (uint64_t n = 1; st != LT_OK; n++) {
            mem_fail_at(n);
            st = json_parse(&value, (Str){text, len + 2}, "t", 0);
            mem_fail_at(0);
            if (st != LT_OK)
                CHECK_FAILS(st, LT_E_NOMEM, NULL);
        }
        assert_int_equal(json_string_length(value), len);
        json_decref(value);
    }
    assert_int_equal(mem_held(), held);
}

static void test_write_survives_lack_of_memory(void **state)
{
    json_t *value = parse("{\"a\": [1, 2, 3]}");
    StrBuf out;

    (void)state;
    strbuf_init(&out);
    mem_fail_at(1);
    CHECK_FAILS(json_write(&out, value, (JsonStyle){.indent = 2}), LT_E_NOMEM, NULL);
    strbuf_release(&out);
    mem_fail_at(1);
    CHECK_FAILS(json_expected(json_root(value, "t", 0), "a string"), LT_E_NOMEM, NULL);
    mem_fail_at(0);
    json_decref(value);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_refuses_what_is_not_json),
        cmocka_unit_test(test_parse_bounds_depth),
        cmocka_unit_test(test_parse_names_the_line_of_a_jsonl_file),
        cmocka_unit_test(test_parse_needs_no_nul_and_keeps_nul),
        cmocka_unit_test(test_load_path_names_the_file),
        cmocka_unit_test(test_errors_name_the_way_and_the_value),
        cmocka_unit_test(test_member_of_no_object_is_absent),
        cmocka_unit_test(test_integers_are_checked),
        cmocka_unit_test(test_optional_members_keep_their_default),
        cmocka_unit_test(test_write_is_python_json_dumps),
        cmocka_unit_test(test_write_escapes_as_python),
        cmocka_unit_test(test_doubles_are_python_repr),
        cmocka_unit_test(test_doubles_read_back_and_are_shortest),
        cmocka_unit_test(test_put_push_and_from_str_build_documents),
        cmocka_unit_test(test_parse_survives_lack_of_memory),
        cmocka_unit_test(test_bug_quote_lost_for_lack_of_memory),
        cmocka_unit_test(test_write_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
