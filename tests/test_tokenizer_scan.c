/* The patterns known by heart against PCRE2: the same cuts in random texts, in every neighbourhood of odd characters, and in the reference's texts. */
#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"
#include "model/tokenizer_private.h"

#include <stdlib.h>

static const char *const texts[] = {
    [SCAN_GPT2] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    [SCAN_LLAMA3] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                    "\\s+(?!\\S)|\\s+",
    [SCAN_QWEN2] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                   "\\s+(?!\\S)|\\s+",
};

typedef struct Patterns {
    Pattern pattern[SCAN_QWEN2 + 1];
} Patterns;

static void open_patterns(Patterns *p)
{
    *p = (Patterns){0};
    for (int scan = SCAN_GPT2; scan <= SCAN_QWEN2; scan++) {
        CHECK_OK(pattern_compile(&p->pattern[scan], str_of(texts[scan])));
        assert_int_equal(p->pattern[scan].scan, scan);
    }
}

static void close_patterns(Patterns *p)
{
    for (int scan = SCAN_GPT2; scan <= SCAN_QWEN2; scan++)
        pattern_release(&p->pattern[scan]);
}

static void fail_at(int scan, Str text, size_t at, size_t got, size_t want)
{
    StrBuf shown;

    strbuf_init(&shown);
    json_write_str(&shown, text, true);
    fail_msg("pattern %d in %.200s: the match at byte %zu ends at %zu, expected %zu", scan, shown.data, at, got, want);
}

static void compare(const Patterns *p, Str text)
{
    for (int scan = SCAN_GPT2; scan <= SCAN_QWEN2; scan++) {
        PatternWalk walk = {.pattern = &p->pattern[scan], .text = text, .last_end = SIZE_MAX};
        size_t begin, end, at = 0;
        bool found;

        for (;; at = end) {
            CHECK_OK(pattern_next(&walk, &begin, &end, &found));
            if (!found)
                break;
            assert_int_equal(begin, at);
            const size_t got = scan_next((PatternScan)scan, text, at);
            if (got != end)
                fail_at(scan, text, at, got, end);
        }
        assert_int_equal(at, text.len);
    }
}

/* What the patterns tell apart, and what is easily mistaken for it. */
static const uint32_t odd[] = {'a',    'S',    's',    't',   'r',    'e',    'E',    'v',     'l',     'L',     'm',     'd',     '\'',
                               ' ',    ' ',    '\n',   '\r',  '\t',   '\v',   0x1c,   '0',     '7',     '.',     '!',     '_',     0,
                               0x7f,   0x85,   0xa0,   0xb2,  0xe9,   0x17f,  0x212a, 0x301,   0x180e,  0x200b,  0x200d,  0x2019,  0x2028,
                               0x3000, 0x4e2d, 0xfeff, 0x660, 0x2160, 0xffff, 0x1c89, 0x1f600, 0x10d40, 0x10d4a, 0x2ebf0, 0x10ffff};
enum { N_ODD = sizeof odd / sizeof *odd };

static void add_code(StrBuf *out, uint32_t code)
{
    char text[4];

    strbuf_add(out, text, utf8_put(text, code));
}

static void test_scan_cuts_every_triple_as_pcre2(void **state)
{
    Patterns p;
    StrBuf text;

    (void)state;
    open_patterns(&p);
    strbuf_init(&text);
    for (int i = 0; i < N_ODD * N_ODD * N_ODD; i++) {
        strbuf_clear(&text);
        add_code(&text, odd[i % N_ODD]);
        add_code(&text, odd[i / N_ODD % N_ODD]);
        add_code(&text, odd[i / N_ODD / N_ODD]);
        compare(&p, strbuf_str(&text));
    }
    strbuf_release(&text);
    close_patterns(&p);
}

static void test_scan_cuts_random_texts_as_pcre2(void **state)
{
    TestRandom random = {11};
    Patterns p;
    StrBuf text;

    (void)state;
    open_patterns(&p);
    strbuf_init(&text);
    for (int round = 0; round < 4000; round++) {
        strbuf_clear(&text);
        for (uint64_t n = test_random(&random) % 60; n > 0; n--) {
            uint32_t code = odd[test_random(&random) % N_ODD];
            if (test_random(&random) % 8 == 0)
                code = (uint32_t)(test_random(&random) % 0x110000);
            if (code < 0xd800 || code > 0xdfff)
                add_code(&text, code);
        }
        compare(&p, strbuf_str(&text));
    }
    strbuf_release(&text);
    close_patterns(&p);
}

/* All of Unicode, each character by itself. */
static void check_class(CharClass class, const char *pattern)
{
    Pattern compiled = {0};
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(pattern_compile(&compiled, str_of(pattern)));
    for (uint32_t code = 0; code < 0x110000; code++) {
        RegexMatch match;
        bool found;
        if (code >= 0xd800 && code <= 0xdfff)
            continue;
        strbuf_clear(&text);
        add_code(&text, code);
        CHECK_OK(regex_find(compiled.regex, strbuf_str(&text), 0, &match, &found));
        if (found != (scan_class(code) == class))
            fail_msg("U+%04X: class %d, which PCRE2 sees otherwise", (unsigned)code, (int)scan_class(code));
    }
    strbuf_release(&text);
    pattern_release(&compiled);
}

static void test_scan_classes_are_those_of_the_patterns(void **state)
{
    (void)state;
    check_class(CHAR_LETTER, "\\p{L}");
    check_class(CHAR_NUMBER, "\\p{N}");
    check_class(CHAR_SPACE, "\\s");
}

static void test_scan_knows_exact_texts_only(void **state)
{
    (void)state;
    assert_int_equal(scan_recognise(str_of("")), SCAN_NONE);
    assert_int_equal(scan_recognise(str_of("\\p{L}+")), SCAN_NONE);
    assert_int_equal(scan_recognise(str_slice(str_of(texts[SCAN_GPT2]), 0, 60)), SCAN_NONE);
}

static void test_golden_texts(void **state)
{
    static const char *const files[] = {"golden/tokenizer/gpt2.jsonl.gz", "golden/tokenizer/llama3.jsonl.gz",
                                        "golden/tokenizer/qwen2.5.jsonl.gz"};
    Patterns p;

    (void)state;
    open_patterns(&p);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        LineReader *lines;
        json_t *document;
        bool more;
        Str line, text;
        CHECK_OK(lines_open(&lines, test_data(files[i])));
        for (;;) {
            CHECK_OK(lines_next(lines, &line, &more));
            if (!more)
                break;
            CHECK_OK(json_parse(&document, line, files[i], lines_number(lines)));
            const JsonAt row = json_root(document, files[i], lines_number(lines));
            CHECK_OK(json_get_str(&row, "text", &text));
            compare(&p, text);
            json_decref(document);
        }
        lines_close(lines);
    }
    close_patterns(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_cuts_every_triple_as_pcre2),
        cmocka_unit_test(test_scan_cuts_random_texts_as_pcre2),
        cmocka_unit_test(test_scan_classes_are_those_of_the_patterns),
        cmocka_unit_test(test_scan_knows_exact_texts_only),
        cmocka_unit_test(test_golden_texts),
    };
    return TEST_MAIN(tests);
}
