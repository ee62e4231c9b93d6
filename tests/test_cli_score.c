/* `lethe score` as a user starts and stops it, on the made-up world. */
#include "tests/program.h"

#include "core/file.h"
#include "core/json.h"
#include "core/tsv.h"
#include "tests/world/world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILE = 16 << 20, PATIENCE_MS = 20000 };

static char data[4096], model[4096];

static int make_world(void **state)
{
    const char *folder = test_folder();

    (void)state;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(model, sizeof model, "%s/model", folder);
    CHECK_OK(world_make(folder, 5));
    return setenv("LETHE_CACHE", test_folder(), 1);
}

static const char *path_in(const char *folder, const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void run_well(ProgramRun *run, const char *const *argument)
{
    program_run(run, "", argument);
    if (run->code != 0)
        fail_msg("exit code %d: %s", run->code, run->err.data);
}

static void read_table(Tsv *t, const char *out)
{
    CHECK_OK(tsv_read(t, path_in(out, "results.tsv")));
    assert_true(t->n_row > 0);
}

#define SCORE(...) ARGUMENTS("score", model, "--tasks", "winogrande", "--data", data, "--out", out, __VA_ARGS__)

/* What inspect prints is a manifest; what is written into it stands in the table. */
static void test_score_takes_the_manifest_that_inspect_prints(void **state)
{
    const char *out = test_folder();
    ProgramRun run;
    Tsv t;

    (void)state;
    run_well(&run, ARGUMENTS("inspect", model, "--manifest"));
    const char *file = test_file(out, "manifest.tsv", run.out.data, run.out.len);
    program_release(&run);
    CHECK_OK(tsv_read(&t, file));
    assert_int_equal(t.n_row, 1);
    assert_string_equal(tsv_get(&t, 0, "path"), model);
    CHECK_OK(tsv_set(&t, 0, "label", str_of("mine")));
    CHECK_OK(tsv_set(&t, 0, "method", str_of("full")));
    CHECK_OK(tsv_set(&t, 0, "lr", str_of("0.0002")));
    CHECK_OK(tsv_write(&t, file));
    tsv_release(&t);
    run_well(&run, SCORE("--limit", "4", "--manifest", file));
    program_release(&run);
    read_table(&t, out);
    assert_string_equal(tsv_get(&t, 0, "label"), "mine");
    assert_string_equal(tsv_get(&t, 0, "method"), "full");
    assert_string_equal(tsv_get(&t, 0, "lr"), "0.0002");
    assert_true(dir_exists(path_in(out, "mine")));
    tsv_release(&t);

    program_run(&run, "", ARGUMENTS("inspect", model, "--manifest", "--json"));
    assert_int_equal(run.code, 2);
    program_release(&run);
    program_run(&run, "", SCORE("--manifest", "nowhere.tsv"));
    assert_int_equal(run.code, 3);
    assert_non_null(strstr(run.err.data, "nowhere.tsv"));
    program_release(&run);
}

static void test_score_says_once_that_weights_lost_bits(void **state)
{
    const char *out = test_folder();
    ProgramRun run;
    Tsv t;

    (void)state;
    run_well(&run, SCORE("--limit", "4"));
    program_release(&run);
    run_well(&run, SCORE("--limit", "4", "--dtype", "bf16"));
    const char *warning = strstr(run.err.data, "weights are stored as f32");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "weights are stored"));
    program_release(&run);
    read_table(&t, out);
    for (size_t i = 0; i < t.n_row; i++)
        assert_string_equal(tsv_get(&t, i, "cast"), strcmp(tsv_get(&t, i, "dtype"), "bf16") == 0 ? "f32>bf16" : "");
    tsv_release(&t);
}

/* ---- signals ------------------------------------------------------------------------------------------------------------ */

/* In passes of a few tokens, so that there is a middle to be stopped in. */
static pid_t start_slow_score(const char *out)
{
    const char *binary = getenv("LETHE_BINARY");
    const char *const *argument = SCORE("--batch-tokens", "1", "--threads", "1", "--quiet");
    char *argv[32] = {(char[]){"lethe"}};

    for (int i = 0; argument[i] != NULL; i++)
        argv[i + 1] = (char *)(uintptr_t)argument[i];
    const pid_t child = fork();
    if (child == 0) {
        const int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        execv(binary != NULL && binary[0] != '\0' ? binary : "build/release/lethe", argv);
        _exit(126);
    }
    assert_true(child > 0);
    return child;
}

/* Records are being written, so the signals are caught. */
static void wait_for_log(const char *out)
{
    const char *folder = path_in(out, "log");
    const struct timespec pause = {0, 1000000};

    for (int waited = 0; !dir_exists(folder); waited++) {
        assert_true(waited < PATIENCE_MS);
        nanosleep(&pause, NULL);
    }
}

static void check_stops_on(int number)
{
    for (int attempt = 0; attempt < 5; attempt++) { /* one that had come to its end before the signal says nothing */
        const char *out = test_folder();
        ProgramRun run;
        json_t *root;
        int outcome;

        const pid_t child = start_slow_score(out);
        wait_for_log(out);
        kill(child, number);
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFEXITED(outcome));
        if (WEXITSTATUS(outcome) == 0)
            continue;
        assert_int_equal(WEXITSTATUS(outcome), 130);
        CHECK_OK(json_load_path(&root, path_in(out, "run.json"), MAX_FILE));
        assert_string_equal(json_string_value(json_object_get(root, "status")), "interrupted");
        json_decref(root);
        assert_false(file_exists(path_in(out, "results.tsv")));
        run_well(&run, SCORE("--quiet"));
        program_release(&run);
        assert_true(file_exists(path_in(out, "results.tsv")));
        return;
    }
    fail_msg("signal %d always came too late", number);
}

static void test_score_saves_and_stops_on_signals(void **state)
{
    (void)state;
    check_stops_on(SIGINT);
    check_stops_on(SIGTERM);
}

/* Its notes go into a pipe that nobody reads; the work is done all the same. */
static void test_score_outlives_the_reader_of_its_notes(void **state)
{
    const char *binary = getenv("LETHE_BINARY"), *out = test_folder();
    char command[20000];
    StrBuf code;

    (void)state;
    snprintf(command, sizeof command,
             "(sleep 0.2; '%s' score '%s' --tasks winogrande --data '%s' --out '%s' --limit 4 >'%s/table'; echo $? >'%s/code') 2>&1 | true; sleep 0.2; "
             "while [ ! -s '%s/code' ]; do sleep 0.05; done",
             binary != NULL ? binary : "build/release/lethe", model, data, out, out, out, out);
    assert_int_equal(system(command), 0);
    strbuf_init(&code);
    CHECK_OK(file_read(path_in(out, "code"), 16, &code));
    assert_string_equal(code.data, "0\n");
    strbuf_release(&code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_score_takes_the_manifest_that_inspect_prints, make_world),
        cmocka_unit_test(test_score_says_once_that_weights_lost_bits),
        cmocka_unit_test(test_score_saves_and_stops_on_signals),
        cmocka_unit_test(test_score_outlives_the_reader_of_its_notes),
    };
    return TEST_MAIN(tests);
}
