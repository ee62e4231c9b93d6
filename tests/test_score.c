/* `lethe score` through the library on the made-up world: what is written, what is printed, and that nothing is done twice. */
#include "tests/check.h"

#include "core/appendlog.h"
#include "core/file.h"
#include "core/tsv.h"
#include "eval/score.h"
#include "eval/score/record.h"
#include "tests/world/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 16 << 20, LIMIT = 6 };

/* The world is made once. */
static char data_path[4096], model_path[4096], cache_path[4096], stdout_path[4096];

static int make_world(void **state)
{
    const char *folder = test_folder();

    (void)state;
    snprintf(data_path, sizeof data_path, "%s/data", folder);
    snprintf(model_path, sizeof model_path, "%s/model", folder);
    snprintf(cache_path, sizeof cache_path, "%s/cache", folder);
    snprintf(stdout_path, sizeof stdout_path, "%s/stdout", folder);
    setenv("LETHE_CACHE", cache_path, 1);
    CHECK_OK(world_make(folder, 5));
    return 0;
}

static const char *const model_list[] = {model_path};

static ScoreOptions sample_options(const char *out)
{
    return (ScoreOptions){.checkpoint = model_list, .n_checkpoint = 1, .tasks = "winogrande,hellaswag", .data = data_path, .out = out,
                          .limit = LIMIT, .dtype = LT_F32, .command_line = "lethe score"};
}

/* Allocation of the next run that fails, 0: none; and how many the last run made. */
static uint64_t starve_at, n_allocation;

/* Runs the command; what it printed is kept in `printed`. */
static Status run_score(const ScoreOptions *options, StrBuf *printed)
{
    const int64_t held = mem_held();
    Device *dev;

    CHECK_OK(device_open(&dev, test_device(), 1));
    fflush(stdout);
    const int terminal = dup(STDOUT_FILENO);
    assert_non_null(freopen(stdout_path, "w", stdout));
    const uint64_t before = mem_count();
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    mem_fail_at(starve_at);
    const Status st = score_run(dev, options);
    mem_fail_at(0);
    json_use_mem();
    n_allocation = mem_count() - before;
    fflush(stdout);
    dup2(terminal, STDOUT_FILENO);
    close(terminal);
    device_close(dev);
    assert_int_equal(mem_held(), held);
    strbuf_clear(printed);
    if (st == LT_OK) {
        status_clear();
        CHECK_OK(file_read(stdout_path, MAX_FILE, printed));
    }
    return st;
}

/* Everything a listing of a folder tells of its files, times and inodes too. */
static void describe_tree(StrBuf *out, const char *folder)
{
    FileList list = {0};
    StrBuf path;

    strbuf_init(&path);
    CHECK_OK(dir_list(folder, &list));
    for (size_t i = 0; i < list.count; i++) {
        struct stat s;
        CHECK_OK(path_join(&path, folder, list.name[i]));
        assert_int_equal(stat(path.data, &s), 0);
        strbuf_addf(out, "%s %lld %lld %lld.%09lld\n", path.data, (long long)s.st_ino, (long long)s.st_size, (long long)s.st_mtim.tv_sec,
                    (long long)s.st_mtim.tv_nsec);
        if (S_ISDIR(s.st_mode))
            describe_tree(out, path.data);
    }
    file_list_release(&list);
    strbuf_release(&path);
}

static const char *path_in(const char *folder, const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static size_t count_records(const char *out)
{
    RecordStore store;
    CHECK_OK(records_load(&store, path_in(out, "log")));
    const size_t n = store.count;
    records_release(&store);
    return n;
}

static Status count_line(void *context, Str payload, const char *path)
{
    (void)payload;
    (void)path;
    ++*(size_t *)context;
    return LT_OK;
}

/* Those that were written, the same one twice too. */
static size_t count_written(const char *out)
{
    AppendLogCount count = {0};
    size_t n = 0;
    CHECK_OK(appendlog_read_folder(path_in(out, "log"), count_line, &n, &count));
    return n;
}

static json_t *load_run_file(const char *out)
{
    json_t *run;
    CHECK_OK(json_load_path(&run, path_in(out, "run.json"), MAX_FILE));
    return run;
}

static void test_score_writes_once_and_prints_again(void **state)
{
    const char *out = test_folder();
    const ScoreOptions options = sample_options(out);
    StrBuf first, second, before, after;
    Tsv table;

    (void)state;
    strbuf_init(&first);
    strbuf_init(&second);
    strbuf_init(&before);
    strbuf_init(&after);
    CHECK_OK(run_score(&options, &first));
    assert_int_equal(count_records(out), 2 * LIMIT);
    CHECK_OK(tsv_read(&table, path_in(out, "results.tsv")));
    assert_int_equal(table.n_row, 4); /* acc; acc, acc_norm and our acc_bytes */
    tsv_release(&table);
    json_t *run = load_run_file(out);
    assert_string_equal(json_string_value(json_object_get(run, "status")), "done");
    assert_true(json_real_value(json_object_get(run, "seconds")) > 0.0);
    assert_true(json_integer_value(json_object_get(run, "peak_memory_bytes")) > 1 << 20);
    json_decref(run);

    describe_tree(&before, out);
    CHECK_OK(run_score(&options, &second));
    describe_tree(&after, out);
    check_str(strbuf_str(&second), first.data, first.len);
    check_str(strbuf_str(&after), before.data, before.len);
    assert_non_null(strstr(first.data, "|hellaswag "));
    strbuf_release(&after);
    strbuf_release(&before);
    strbuf_release(&second);
    strbuf_release(&first);
}

/* The first line of the only samples file of a task; json_decref. */
static json_t *load_sample(const char *folder, const char *prefix)
{
    FileList list = {0};
    LineReader *reader;
    json_t *sample = NULL;
    Str line;
    bool more;

    CHECK_OK(dir_list(folder, &list));
    for (size_t i = 0; i < list.count; i++) {
        if (!str_starts(str_of(list.name[i]), str_of(prefix)))
            continue;
        CHECK_OK(lines_open(&reader, path_in(folder, list.name[i])));
        CHECK_OK(lines_next(reader, &line, &more));
        CHECK_OK(json_parse(&sample, line, list.name[i], 0));
        lines_close(reader);
    }
    file_list_release(&list);
    assert_non_null(sample);
    return sample;
}

/* lm-eval puts what it made of a HellaSwag row behind the row's columns, and hashes them together. */
static void test_samples_of_hellaswag_hold_the_processed_row(void **state)
{
    const char *out = test_folder();
    const ScoreOptions options = sample_options(out);
    StrBuf text, folder;

    (void)state;
    strbuf_init(&text);
    strbuf_init(&folder);
    CHECK_OK(run_score(&options, &text));
    CHECK_OK(path_join(&folder, out, "model"));
    json_t *sample = load_sample(folder.data, "samples_hellaswag_");
    const json_t *doc = json_object_get(sample, "doc"), *first = json_object_get(json_object_get(sample, "arguments"), "gen_args_0");
    assert_string_equal(json_string_value(json_object_get(doc, "query")), json_string_value(json_object_get(first, "arg_0")));
    const char *choice = json_string_value(json_array_get(json_object_get(doc, "choices"), 0));
    assert_string_equal(choice, json_string_value(json_object_get(first, "arg_1")) + 1);
    assert_int_equal(json_integer_value(json_object_get(doc, "gold")), atoi(json_string_value(json_object_get(sample, "target"))));
    json_decref(sample);
    strbuf_release(&folder);
    strbuf_release(&text);
}

static void test_score_does_only_what_is_missing(void **state)
{
    const char *out = test_folder(), *whole = test_folder();
    ScoreOptions options = sample_options(out);
    TaskSetting range = {(char[]){"winogrande"}, (char[]){"2-3"}};
    StrBuf parts, once;

    (void)state;
    strbuf_init(&parts);
    strbuf_init(&once);
    options.tasks = "winogrande";
    options.items = (TaskSettings){&range, 1, 1};
    CHECK_OK(run_score(&options, &parts));
    assert_int_equal(count_written(out), 2);
    options.items = (TaskSettings){0};
    CHECK_OK(run_score(&options, &parts));
    assert_int_equal(count_written(out), LIMIT);

    options.out = whole;
    CHECK_OK(run_score(&options, &once));
    check_str(strbuf_str(&parts), once.data, once.len);
    options.fresh = true;
    CHECK_OK(run_score(&options, &once));
    assert_int_equal(count_written(whole), 2 * LIMIT);
    assert_int_equal(count_records(whole), LIMIT); /* and they agree */
    strbuf_release(&once);
    strbuf_release(&parts);
}

static void test_score_goes_on_after_an_interruption(void **state)
{
    const char *out = test_folder();
    const ScoreOptions options = sample_options(out);
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    engine_stop();
    CHECK_FAILS(run_score(&options, &text), LT_E_INTERRUPTED, "interrupted");
    json_t *run = load_run_file(out);
    assert_string_equal(json_string_value(json_object_get(run, "status")), "interrupted");
    json_decref(run);
    assert_false(file_exists(path_in(out, "results.tsv")));
    CHECK_OK(run_score(&options, &text));
    assert_int_equal(count_written(out), 2 * LIMIT);
    strbuf_release(&text);
}

/* Names and contents of all files of a folder; of those that hold times only the names. */
static void gather_files(StrBuf *out, const char *folder)
{
    FileList list = {0};
    StrBuf path, text;

    strbuf_init(&path);
    strbuf_init(&text);
    CHECK_OK(dir_list(folder, &list));
    for (size_t i = 0; i < list.count; i++) {
        const Str name = str_of(list.name[i]);
        CHECK_OK(path_join(&path, folder, list.name[i]));
        strbuf_addf(out, "%s\n", path.data);
        if (dir_exists(path.data)) {
            gather_files(out, path.data);
        } else if (!str_ends(name, str_of(".json"))) {
            CHECK_OK(file_read(path.data, MAX_FILE, &text));
            strbuf_add_str(out, strbuf_str(&text));
        }
    }
    strbuf_release(&text);
    strbuf_release(&path);
    file_list_release(&list);
}

static void remove_files(const char *folder, const char *prefix)
{
    FileList list = {0};

    CHECK_OK(dir_list(folder, &list));
    for (size_t i = 0; i < list.count; i++)
        if (str_starts(str_of(list.name[i]), str_of(prefix)))
            assert_int_equal(unlink(path_in(folder, list.name[i])), 0);
    file_list_release(&list);
}

/* What is there after a kill at each step of the end, last step first, half-written files included: started again, all is as if nothing had happened. */
static void test_score_ends_the_same_wherever_it_was_killed(void **state)
{
    static const char *const lost[] = {"run.json", "results.tsv", "results_", "samples_winogrande_", "samples_hellaswag_"};
    static const char open_run[] = "{\"status\": \"running\"}";
    const char *out = test_folder();
    const ScoreOptions options = sample_options(out);
    char folder[4096], logs[4096];
    StrBuf text, want, got;

    (void)state;
    strbuf_init(&text);
    strbuf_init(&want);
    strbuf_init(&got);
    snprintf(folder, sizeof folder, "%s/model", out);
    snprintf(logs, sizeof logs, "%s/log", out);
    CHECK_OK(run_score(&options, &text));
    gather_files(&want, out);
    for (size_t last = 0; last < sizeof lost / sizeof *lost; last++) {
        for (size_t i = 0; i <= last; i++)
            remove_files(i < 2 ? out : folder, lost[i]);
        test_file(out, "run.json", open_run, sizeof open_run - 1);
        test_file(out, ".results.tsv.77.0123456789abcdef.tmp", "la", 2);
        if (last > 1)
            test_file(folder, ".results_x.json.77.0123456789abcdef.tmp", "{", 1);
        if (last > 2)
            test_file(logs, ".time.77.0123456789abcdef.tmp", "2", 1);
        CHECK_OK(run_score(&options, &text));
        strbuf_clear(&got);
        gather_files(&got, out);
        check_str(strbuf_str(&got), want.data, want.len);
        json_t *run = load_run_file(out);
        assert_string_equal(json_string_value(json_object_get(run, "status")), "done");
        json_decref(run);
    }
    strbuf_release(&got);
    strbuf_release(&want);
    strbuf_release(&text);
}

static void test_score_goes_past_a_bad_checkpoint(void **state)
{
    const char *out = test_folder(), *bad = test_folder();
    const char *const both[] = {bad, model_path};
    ScoreOptions options = sample_options(out);
    StrBuf text;
    Tsv table;

    (void)state;
    strbuf_init(&text);
    options.checkpoint = both;
    options.n_checkpoint = 2;
    CHECK_FAILS(run_score(&options, &text), LT_E_FAIL, "1 of 2 checkpoints");
    CHECK_OK(tsv_read(&table, path_in(out, "results.tsv")));
    assert_int_equal(table.n_row, 4);
    assert_string_equal(tsv_get(&table, 0, "label"), "model");
    tsv_release(&table);

    options.n_checkpoint = 1; /* alone, its own trouble is the answer */
    CHECK_FAILS(run_score(&options, &text), LT_E_INPUT, "model.safetensors");
    strbuf_release(&text);
}

static void test_score_prints_one_json_document(void **state)
{
    ScoreOptions options = sample_options(test_folder());
    StrBuf text;
    json_t *root;

    (void)state;
    strbuf_init(&text);
    options.json = true;
    CHECK_OK(run_score(&options, &text));
    CHECK_OK(json_parse(&root, strbuf_str(&text), "stdout", 0));
    const json_t *checkpoint = json_array_get(json_object_get(root, "checkpoints"), 0);
    const json_t *acc = json_object_get(json_object_get(json_object_get(checkpoint, "results"), "hellaswag"), "acc_norm");
    assert_int_equal(json_integer_value(json_object_get(acc, "n")), LIMIT);
    assert_true(json_is_real(json_object_get(acc, "ci_low")));
    json_decref(root);
    strbuf_release(&text);
}

static void test_score_shows_prompts_as_they_are_asked(void **state)
{
    ScoreOptions options = sample_options(test_folder());
    TaskSetting shots = {.value = (char[]){"2"}};
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    options.shots = (TaskSettings){&shots, 1, 1};
    options.limit = 2;
    options.show_prompts = 1;
    CHECK_OK(run_score(&options, &text));
    const char *shown = strstr(text.data, "===== winogrande, document 0, 2 shots");
    assert_non_null(shown);
    assert_non_null(strstr(shown, "\n\n"));
    assert_non_null(strstr(shown, "----- choice 1 -----| "));
    assert_null(strstr(text.data, "document 1,"));
    strbuf_release(&text);
}

static void test_score_refuses_what_makes_no_sense(void **state)
{
    static const struct {
        const char *tasks, *option, *task, *value, *part;
        Status status;
    } bad[] = {
        {"hellaswg", NULL, NULL, NULL, "'hellaswag'", LT_E_USAGE},
        {"", NULL, NULL, NULL, "no tasks", LT_E_USAGE},
        {"hellaswag,hellaswag", NULL, NULL, NULL, "given twice", LT_E_USAGE},
        {"gsm8k", NULL, NULL, NULL, "generated text", LT_E_UNSUPPORTED},
        {"hellaswag", "items", "hellaswag", "3-2", "FIRST-LAST", LT_E_USAGE},
        {"hellaswag", "items", "hellaswag", "0-99999", "documents 0 to", LT_E_USAGE},
        {"hellaswag", "items", "winogrande", "0-1", "not among the tasks", LT_E_USAGE},
        {"hellaswag", "shots", NULL, "x", "'x'", LT_E_USAGE},
        {"hellaswag", "profile", NULL, "gauntlet", "not available yet", LT_E_USAGE},
        {"hellaswag", "split", "hellaswag", "nowhere", "nowhere", LT_E_USAGE},
    };
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TaskSetting setting = {(char *)(uintptr_t)bad[i].task, (char *)(uintptr_t)bad[i].value};
        const TaskSettings settings = {&setting, 1, 1};
        ScoreOptions options = sample_options(test_folder());
        options.tasks = bad[i].tasks;
        if (bad[i].option != NULL)
            *(strcmp(bad[i].option, "items") == 0     ? &options.items
              : strcmp(bad[i].option, "shots") == 0   ? &options.shots
              : strcmp(bad[i].option, "profile") == 0 ? &options.profile
                                                      : &options.split) = settings;
        CHECK_FAILS(run_score(&options, &text), bad[i].status, bad[i].part);
        assert_false(file_exists(path_in(options.out, "run.json")));
    }
    strbuf_release(&text);
}

/* Wherever memory runs out, the command fails cleanly, and started again it ends as if nothing had happened. */
static void test_score_survives_without_memory(void **state)
{
    const char *whole = test_folder(), *out = test_folder();
    ScoreOptions options = sample_options(whole);
    StrBuf want, text;

    (void)state;
    strbuf_init(&want);
    strbuf_init(&text);
    CHECK_OK(run_score(&options, &want));
    const uint64_t n = n_allocation;
    options.out = out;
    for (uint64_t i = 1; i <= n; i += 1 + n / 60) {
        starve_at = i;
        const Status st = run_score(&options, &text);
        /* The cache of hashes gets over some. */
        assert_true(st == LT_OK || st == LT_E_NOMEM);
        status_clear();
    }
    starve_at = 0;
    CHECK_OK(run_score(&options, &text));
    check_str(strbuf_str(&text), want.data, want.len);
    strbuf_release(&text);
    strbuf_release(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_score_writes_once_and_prints_again, make_world),
        cmocka_unit_test(test_samples_of_hellaswag_hold_the_processed_row),
        cmocka_unit_test(test_score_does_only_what_is_missing),
        cmocka_unit_test(test_score_goes_on_after_an_interruption),
        cmocka_unit_test(test_score_ends_the_same_wherever_it_was_killed),
        cmocka_unit_test(test_score_goes_past_a_bad_checkpoint),
        cmocka_unit_test(test_score_prints_one_json_document),
        cmocka_unit_test(test_score_shows_prompts_as_they_are_asked),
        cmocka_unit_test(test_score_refuses_what_makes_no_sense),
        cmocka_unit_test(test_score_survives_without_memory),
    };
    return TEST_MAIN(tests);
}
