#include "tests/program.h"

#include "cli/verbs.h"
#include "core/file.h"
#include "core/json.h"
#include "core/version.h"
#include "model/safetensors.h"
#include "tests/world/world.h"

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

/* ---- on the made-up world ---- */

enum { PATH_BYTES = 1024, FILE_MAX = 64 << 20 };

static void join(char out[PATH_BYTES], const char *folder, const char *name)
{
    assert_true(snprintf(out, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
}

/* The world's model folder, made once. */
static const char *world_model(void)
{
    static char model[PATH_BYTES];

    if (*model == '\0') {
        const char *folder = test_folder();
        CHECK_OK(world_make(folder, 1));
        join(model, folder, "model");
    }
    return model;
}

/* The row of "tasks" with this task and split. */
static const json_t *find_row(const json_t *document, const char *task, const char *split)
{
    const json_t *rows = json_object_get(document, "tasks");
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
        if (strcmp(json_string_value(json_object_get(row, "task")), task) == 0 &&
            strcmp(json_string_value(json_object_get(row, "split")), split) == 0)
            return row;
    fail_msg("no row of %s, %s", task, split);
    return NULL;
}

static void test_tasks_says_what_of_the_data_is_there(void **state)
{
    char data[PATH_BYTES];
    json_t *document = NULL;
    ProgramRun run;

    (void)state;
    join(data, world_model(), "../data");
    program_run(&run, "", ARGUMENTS("tasks", "--json", "--data", data));
    assert_int_equal(run.code, 0);
    CHECK_OK(json_parse(&document, strbuf_str(&run.out), "stdout", 0));
    const json_t *known = find_row(document, "hellaswag", "validation"), *unknown = find_row(document, "winogrande", "validation");
    assert_int_equal(json_integer_value(json_object_get(known, "rows")), 80);
    assert_int_equal(json_string_length(json_object_get(known, "sha256")), 64);
    assert_true(json_is_false(json_object_get(known, "official")));
    /* No digest of this file was ever published: it may well be the official one. */
    assert_int_equal(json_integer_value(json_object_get(unknown, "rows")), 96);
    assert_true(json_is_null(json_object_get(unknown, "official")));
    json_decref(document);
    program_release(&run);
}

static void run_well(ProgramRun *run, const char *input, const char *const *argument)
{
    program_run(run, input, argument);
    if (run->code != 0 || run->err.len > 0)
        fail_msg("lethe %s: code %d: %s", argument[0], run->code, run->err.data);
}

static void test_tokenize_there_and_back(void **state)
{
    /* Quotes, line ends, NUL and letters outside ASCII come back as they went in. */
    static const char text[] = "{\"text\":\"The \\\"q\\\" é\\n😀 \\u0000.\"}\n{\"text\":\"\"}\n";
    ProgramRun there, back;

    (void)state;
    run_well(&there, text, ARGUMENTS("tokenize", world_model()));
    assert_int_equal(count_lines(&there.out), 2);
    assert_non_null(strstr(there.out.data, "\n{\"ids\":[]}\n"));
    run_well(&back, there.out.data, ARGUMENTS("tokenize", world_model(), "--decode"));
    check_str(strbuf_str(&back.out), text, sizeof text - 1);
    program_release(&there);
    program_release(&back);
}

static void test_tokenize_names_the_bad_line(void **state)
{
    static const struct {
        const char *input, *option, *part;
    } cases[] = {
        {"{\"text\": \"a\"}\n{\"txt\": \"a\"}\n", "--special", "lethe: stdin:2: text: expected a string, found nothing\n"},
        {"{\"text\": 1}\n", "--special", "lethe: stdin:1: text: expected a string, found 1\n"},
        {"[1]\n", "--special", "lethe: stdin:1: "},
        {"{\"ids\": [1, -1]}\n", "--decode", "lethe: stdin:1: ids[1]: expected an integer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ProgramRun run;
        program_run(&run, cases[i].input, ARGUMENTS("tokenize", world_model(), cases[i].option));
        if (run.code != 3 || strstr(run.err.data, cases[i].part) == NULL || count_lines(&run.err) != 1)
            fail_msg("'%s': code %d: %s", cases[i].input, run.code, run.err.data);
        program_release(&run);
    }
}

static void test_inspect_says_what_the_model_is(void **state)
{
    json_t *document = NULL;
    ProgramRun run;

    (void)state;
    run_well(&run, "", ARGUMENTS("inspect", world_model(), world_model(), "--json"));
    CHECK_OK(json_parse(&document, strbuf_str(&run.out), "stdout", 0));
    const json_t *all = json_object_get(document, "checkpoints"), *one = json_array_get(all, 1);
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(json_string_value(json_object_get(one, "architecture")), "LlamaForCausalLM");
    /* All weights of an F32 model with an untied head stand in its file once. */
    assert_int_equal(json_integer_value(json_object_get(one, "parameters")),
                     json_integer_value(json_object_get(json_object_get(one, "dtypes"), "F32")));
    assert_int_equal(json_array_size(json_object_get(one, "warnings")), 0);
    json_decref(document);
    program_release(&run);
    run_well(&run, "", ARGUMENTS("inspect", world_model()));
    assert_non_null(strstr(run.out.data, "\n  architecture  LlamaForCausalLM\n"));
    program_release(&run);
}

static void read_file(StrBuf *text, const char *path)
{
    strbuf_init(text);
    CHECK_OK(file_read(path, FILE_MAX, text));
}

static void test_forward_writes_rows_that_depend_on_nothing_else(void **state)
{
    static const char *const threads[] = {"1", "3"};
    /* The second row once behind the first and once alone: the same numbers. */
    static const char both[] = "[[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1]]", alone[] = "[[2, 7, 1]]";
    const char *folder = test_folder();
    const char *ids = test_file(folder, "both.json", both, sizeof both - 1), *ids_alone = test_file(folder, "alone.json", alone, sizeof alone - 1);
    char path[2][PATH_BYTES], path_alone[PATH_BYTES];
    float logprob[11], logprob_alone[3];
    StrBuf text[2];
    ProgramRun run;
    StFile file = {0}, file_alone = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        join(path[i], folder, threads[i]);
        run_well(&run, "", ARGUMENTS("forward", world_model(), "--ids", ids, "--out", path[i], "--threads", threads[i]));
        assert_int_equal(run.out.len, 0);
        program_release(&run);
        read_file(&text[i], path[i]);
    }
    assert_int_equal(text[0].len, text[1].len);
    assert_memory_equal(text[0].data, text[1].data, text[0].len);
    join(path_alone, folder, "alone");
    run_well(&run, "", ARGUMENTS("forward", world_model(), "--ids", ids_alone, "--out", path_alone));
    program_release(&run);
    CHECK_OK(st_open(&file, path[0]));
    CHECK_OK(st_open(&file_alone, path_alone));
    /* By size: logits first, then one log-probability an id. */
    assert_int_equal(file.n_tensor, 2);
    assert_string_equal(file.tensor[1].name.data, "logprob");
    CHECK_OK(st_read(&file, &file.tensor[1], 0, logprob, sizeof logprob));
    CHECK_OK(st_read(&file_alone, &file_alone.tensor[1], 0, logprob_alone, sizeof logprob_alone));
    assert_memory_equal(logprob + 8, logprob_alone, sizeof logprob_alone);
    assert_true(logprob[0] < 0 && logprob[7] == 0 && logprob[10] == 0);
    st_close(&file);
    st_close(&file_alone);
    strbuf_release(&text[0]);
    strbuf_release(&text[1]);
}

static void test_forward_refuses_bad_ids(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"[[1, 2], []]", "[1]: expected at least one token id, found []"},
        {"[]", "expected at least one row of token ids, found []"},
        {"[[1, 99999999]]", "[0][1]: expected an integer from 0 to "},
        {"[[1, 1.5]]", "[0][1]: expected an integer"},
        {"{\"ids\": []}", "expected an array"},
    };
    const char *folder = test_folder();
    char out[PATH_BYTES];

    (void)state;
    join(out, folder, "out.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ProgramRun run;
        const char *ids = test_file(folder, "ids.json", cases[i].text, strlen(cases[i].text));
        program_run(&run, "", ARGUMENTS("forward", world_model(), "--ids", ids, "--out", out));
        if (run.code != 3 || strstr(run.err.data, cases[i].part) == NULL || count_lines(&run.err) != 1)
            fail_msg("'%s': code %d: %s", cases[i].text, run.code, run.err.data);
        assert_false(file_exists(out));
        program_release(&run);
    }
    check_case(&(Case){{"forward", world_model(), "--out", "x"}, 2, NULL, "'lethe forward' needs --ids FILE.json"});
}

static void test_forward_says_when_bits_are_lost(void **state)
{
    const char *folder = test_folder(), *ids = test_file(folder, "ids.json", "[[1, 2, 3]]", 11);
    char out[PATH_BYTES];
    ProgramRun run;

    (void)state;
    join(out, folder, "out.safetensors");
    program_run(&run, "", ARGUMENTS("forward", world_model(), "--ids", ids, "--out", out, "--dtype", "bf16"));
    assert_int_equal(run.code, 0);
    assert_int_equal(count_lines(&run.err), 1);
    assert_non_null(strstr(run.err.data, "weights stored as f32 lost bits in bf16"));
    program_release(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_general_commands),
        cmocka_unit_test(test_cli_every_verb_explains_itself),
        cmocka_unit_test(test_cli_json_is_one_document),
        cmocka_unit_test(test_tasks_says_what_of_the_data_is_there),
        cmocka_unit_test(test_tokenize_there_and_back),
        cmocka_unit_test(test_tokenize_names_the_bad_line),
        cmocka_unit_test(test_inspect_says_what_the_model_is),
        cmocka_unit_test(test_forward_writes_rows_that_depend_on_nothing_else),
        cmocka_unit_test(test_forward_refuses_bad_ids),
        cmocka_unit_test(test_forward_says_when_bits_are_lost),
    };

    return TEST_MAIN(tests);
}
