#include "tests/program.h"

#include "cli/verbs.h"
#include "core/json.h"
#include "core/version.h"

/* One command and what has to come of it. Misuse is one line on stderr and nothing on stdout. */
typedef struct Case {
    const char *argument[8];
    int code;
    const char *out, *err; /* what stdout or stderr has to hold; NULL: it is empty */
} Case;

static void check_case(const Case *c)
{
    ProgramRun run;

    program_run(&run, "", c->argument);
    if (run.code != c->code || (c->out == NULL ? run.out.len > 0 : strstr(run.out.data, c->out) == NULL) ||
        (c->err == NULL ? run.err.len > 0 : strstr(run.err.data, c->err) == NULL || count_lines(&run.err) != 1)) {
        print_error("lethe %s %s: code %d (expected %d)\nstdout: %s\nstderr: %s\n", c->argument[0] != NULL ? c->argument[0] : "",
                    c->argument[0] != NULL && c->argument[1] != NULL ? c->argument[1] : "", run.code, c->code, run.out.data, run.err.data);
        fail();
    }
    program_release(&run);
}

static void test_cli_general_commands(void **state)
{
    static const Case cases[] = {
        {{"--version"}, 0, "lethe " LETHE_VERSION "\n", NULL},
        {{"--help"}, 0, "usage: lethe VERB", NULL},
        {{"help"}, 0, "usage: lethe VERB", NULL},
        {{"help", "tasks"}, 0, "usage: lethe tasks [--data DIR]\n", NULL},
        {{"tasks", "--help"}, 0, "usage: lethe tasks [--data DIR]\n", NULL},
        {{"tasks"}, 0, "hellaswag", NULL},
        {{NULL}, 2, NULL, "lethe: no verb given"},
        {{"tsaks"}, 2, NULL, "lethe: unknown verb 'tsaks': did you mean 'tasks'?\n"},
        {{"help", "tsaks"}, 2, NULL, "did you mean 'tasks'?"},
        {{"qqqqq"}, 2, NULL, "lethe: unknown verb 'qqqqq': 'lethe help' lists them\n"},
        {{"tasks", "--dta", "x"}, 2, NULL, "did you mean '--data'?"},
        {{"tasks", "x"}, 2, NULL, "'x' is one too many"},
        {{"tasks", "--data"}, 2, NULL, "option '--data' needs a value"},
        {{"tasks", "--dtype=f64"}, 2, NULL, "expected auto, f32, bf16 or f16, found 'f64'"},
        {{"tasks", "--data", "no/such\nfolder"}, 3, NULL, "lethe: 'no/such?folder' is not a folder\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

static void test_cli_every_verb_explains_itself(void **state)
{
    (void)state;
    for (const Verb *const *v = verbs; *v != NULL; v++) {
        StrBuf usage;
        strbuf_init(&usage);
        strbuf_addf(&usage, "usage: lethe %s ", (*v)->name);
        CHECK_OK(strbuf_status(&usage));
        check_case(&(Case){{(*v)->name, "--help"}, 0, usage.data, NULL});
        for (const Option *o = (*v)->option; o->name != NULL; o++) {
            assert_non_null(o->help);
            check_case(&(Case){{"help", (*v)->name}, 0, o->name, NULL});
        }
        strbuf_release(&usage);
    }
}

static void test_cli_json_is_one_document(void **state)
{
    json_t *document = NULL;
    ProgramRun run;

    (void)state;
    program_run(&run, "", ARGUMENTS("tasks", "--json"));
    assert_int_equal(run.code, 0);
    CHECK_OK(json_parse(&document, strbuf_str(&run.out), "stdout", 0));
    assert_true(json_array_size(json_object_get(document, "tasks")) >= 3);
    json_decref(document);
    program_release(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_general_commands),
        cmocka_unit_test(test_cli_every_verb_explains_itself),
        cmocka_unit_test(test_cli_json_is_one_document),
    };

    return TEST_MAIN(tests);
}
