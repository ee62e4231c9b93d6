#include "tests/check.h"

#include "core/nearest.h"

#include "cli/options.h"

static const char *const size_choices[] = {"small", "medium", "large", NULL};

typedef struct TestOptions {
    CommonOptions common;
    int64_t count;
    double share;
    const char *out;
    int size;
    bool fresh;
    OptionList data;
} TestOptions;

static const Option test_options[] = {
    {.name = "count", .kind = OPTION_INT, .value = "N", .offset = offsetof(TestOptions, count), .min = 1, .max = 100, .group = "Numbers",
     .help = "how many of the things that this long explanation is about are wanted, which does not fit a line"},
    {.name = "share", .kind = OPTION_REAL, .value = "X", .offset = offsetof(TestOptions, share), .min = 0, .max = 1, .help = "a share"},
    {.name = "out", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(TestOptions, out), .group = "Files", .help = "where to"},
    {.name = "size", .kind = OPTION_CHOICE, .offset = offsetof(TestOptions, size), .choices = size_choices, .help = "how large"},
    {.name = "fresh", .kind = OPTION_FLAG, .offset = offsetof(TestOptions, fresh), .help = "anew"},
    {.name = "data", .kind = OPTION_LIST, .value = "DIR", .offset = offsetof(TestOptions, data), .help = "where from, several times"},
    {0},
};

static void test_defaults(void *options)
{
    TestOptions *o = options;

    o->count = 7;
    o->size = 1;
}

static const Verb verb = {
    .name = "try",
    .arguments = "THING...",
    .summary = "try things",
    .option = test_options,
    .options_bytes = sizeof(TestOptions),
    .defaults = test_defaults,
    .min_arguments = 1,
    .max_arguments = 2,
    .examples = "  lethe try this\n",
};

typedef struct Parsed {
    TestOptions options;
    OptionList arguments;
} Parsed;

/* Parses words given as one NULL-terminated list. */
static Status parse(Parsed *p, const char *const *word)
{
    char *argv[16] = {NULL};
    int argc = 0;

    for (; word[argc] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)word[argc];
    p->arguments = (OptionList){0};
    return options_parse(&verb, argc, argv, &p->options, &p->arguments);
}

static void release(Parsed *p)
{
    options_release(&verb, &p->options);
    option_list_release(&p->arguments);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_parse_takes_both_forms(void **state)
{
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("a", "--count", "12", "--out=x=y", "--fresh", "--size", "large", "--share=0.25", "--data=d", "--data", "e", "b")));
    assert_int_equal(p.options.count, 12);
    assert_string_equal(p.options.out, "x=y");
    assert_true(p.options.fresh);
    assert_int_equal(p.options.size, 2);
    check_close("share", p.options.share, 0.25, 0, 0);
    assert_int_equal(p.options.data.count, 2);
    assert_string_equal(p.options.data.item[1], "e");
    assert_int_equal(p.arguments.count, 2);
    assert_string_equal(p.arguments.item[0], "a");
    assert_string_equal(p.arguments.item[1], "b");
    release(&p);
}

static void test_parse_fills_defaults(void **state)
{
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("a")));
    assert_int_equal(p.options.count, 7);
    assert_int_equal(p.options.size, 1);
    assert_null(p.options.out);
    assert_string_equal(p.options.common.device, "auto");
    assert_int_equal(p.options.common.dtype, 0);
    release(&p);
}

static void test_parse_last_value_counts(void **state)
{
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("a", "--count=3", "--count=4")));
    assert_int_equal(p.options.count, 4);
    release(&p);
}

static void test_parse_dashes_end_options(void **state)
{
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("--fresh", "--", "--count", "-")));
    assert_true(p.options.fresh);
    assert_string_equal(p.arguments.item[0], "--count");
    assert_string_equal(p.arguments.item[1], "-");
    release(&p);
}

static void test_parse_help_needs_no_arguments(void **state)
{
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("--help")));
    assert_true(p.options.common.help);
    release(&p);
}

/* Every kind of misuse, and the words its message has to hold. */
static void test_parse_refuses_misuse(void **state)
{
    static const struct {
        const char *word[5];
        const char *part;
    } cases[] = {
        {{"a", "--count", "12x"}, "option '--count': expected an integer from 1 to 100, found '12x'"},
        {{"a", "--count="}, "option '--count': the value is empty"},
        {{"a", "--count", " 1"}, "found ' 1'"},
        {{"a", "--count", "+1"}, "found '+1'"},
        {{"a", "--count", "0x10"}, "found '0x10'"},
        {{"a", "--count", "1.0"}, "found '1.0'"},
        {{"a", "--count", "0"}, "from 1 to 100, found '0'"},
        {{"a", "--count", "101"}, "from 1 to 100, found '101'"},
        {{"a", "--count", "99999999999999999999"}, "found '99999999999999999999'"},
        {{"a", "--count"}, "option '--count' needs a value"},
        {{"a", "--count", "--fresh"}, "option '--count' needs a value, option '--fresh' found"},
        {{"a", "--seed", "-1"}, "an integer of at least 0, found '-1'"},
        {{"a", "--share", "nan"}, "a number from 0 to 1, found 'nan'"},
        {{"a", "--share", "inf"}, "found 'inf'"},
        {{"a", "--share", "0.5.1"}, "found '0.5.1'"},
        {{"a", "--share", "1e999"}, "found '1e999'"},
        {{"a", "--size", "lrage"}, "expected small, medium or large, found 'lrage': did you mean 'large'?"},
        {{"a", "--size", "zzz"}, "expected small, medium or large, found 'zzz'"},
        {{"a", "--fresh=yes"}, "option '--fresh' takes no value, 'yes' found"},
        {{"a", "--cuont", "1"}, "unknown option '--cuont' of 'lethe try': did you mean '--count'?"},
        {{"a", "--thread=1"}, "did you mean '--threads'?"},
        {{"a", "--frobnicate"}, "unknown option '--frobnicate' of 'lethe try': 'lethe help try' lists its options"},
        {{"a", "-x"}, "unknown option '-x': options are long"},
        {{"--fresh"}, "needs at least 1 argument, 0 given: lethe try THING..."},
        {{"a", "b", "c"}, "takes at most 2 arguments, 'c' is one too many"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Parsed p;
        CHECK_FAILS(parse(&p, cases[i].word), LT_E_USAGE, cases[i].part);
        release(&p);
    }
}

static void test_parse_reports_lack_of_memory(void **state)
{
    const uint64_t before = mem_count();
    Parsed p;

    (void)state;
    CHECK_OK(parse(&p, WORDS("a", "--data=d", "b")));
    release(&p);
    const uint64_t need = mem_count() - before;
    assert_true(need >= 2);
    for (uint64_t n = 1; n <= need; n++) {
        const int64_t held = mem_held();
        mem_fail_at(n);
        CHECK_FAILS(parse(&p, WORDS("a", "--data=d", "b")), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        release(&p);
        assert_int_equal(mem_held(), held);
    }
}

static void test_nearest_counts_edits(void **state)
{
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"score", "score"},    {"scroe", "score"},  {"scor", "score"}, {"SCORE", "score"}, {"batch_tokens", "batch-tokens"}, {"insp", "inspect"},
        {"tokenise", "tokenize"}, {"x", NULL},       {"", NULL},        {"xyzzy", NULL},
    };
    static const char *const names[] = {"score", "inspect", "tokenize", "batch-tokens", NULL};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *near = nearest_name(str_of(cases[i].word), names);
        if (cases[i].nearest == NULL)
            assert_null(near);
        else
            assert_string_equal(near, cases[i].nearest);
    }
}

static void test_help_lists_every_option(void **state)
{
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    CHECK_OK(options_help(&verb, &text));
    assert_non_null(strstr(text.data, "usage: lethe try THING...\n"));
    assert_non_null(strstr(text.data, "\nNumbers\n  --count N "));
    assert_non_null(strstr(text.data, "--size small|medium|large"));
    assert_non_null(strstr(text.data, "\nExamples\n  lethe try this\n"));
    for (const Option *o = common_options; o->name != NULL; o++)
        assert_non_null(strstr(text.data, o->name));
    /* Explanations are wrapped, words stay whole. */
    assert_non_null(strstr(text.data, "explanation"));
    for (const char *line = text.data; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    strbuf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_takes_both_forms),
        cmocka_unit_test(test_parse_fills_defaults),
        cmocka_unit_test(test_parse_last_value_counts),
        cmocka_unit_test(test_parse_dashes_end_options),
        cmocka_unit_test(test_parse_help_needs_no_arguments),
        cmocka_unit_test(test_parse_refuses_misuse),
        cmocka_unit_test(test_parse_reports_lack_of_memory),
        cmocka_unit_test(test_nearest_counts_edits),
        cmocka_unit_test(test_help_lists_every_option),
    };

    return TEST_MAIN(tests);
}
