/* `lethe spectrum` as a user runs it: the golden deltas, what it leaves, what it refuses, and three of it at once with one killed. */
#include "tests/program.h"

#include "core/file.h"
#include "core/json.h"
#include "core/tsv.h"
#include "tests/made_factors.h"
#include "tests/made_tunes.h"
#include "tests/ref_model.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILE = 64 << 20 };

static char base[4096], full[4096], rounded[4096], lora[4096];
static Device *dev;

static int begin(void **state)
{
    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    return setenv("LETHE_CACHE", test_folder(), 1);
}

static int end(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

static void find_golden(void)
{
    snprintf(base, sizeof base, "%s", test_data("data/models/stories260K"));
    snprintf(full, sizeof full, "%s", test_data("golden/delta/stories260K_ft"));
    snprintf(rounded, sizeof rounded, "%s", test_data("golden/delta/stories260K_ft_bf16"));
    snprintf(lora, sizeof lora, "%s", test_data("golden/delta/stories260K_lora"));
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

/* ---- golden --------------------------------------------------------------------------------------------------------------- */

static void check_cell(const Tsv *t, size_t row, const char *column, const json_t *want, const char *key)
{
    const char *cell = tsv_get(t, row, column);

    assert_non_null(cell);
    check_close(column, strtod(cell, NULL), json_number_value(json_object_get(want, key)), 1e-12, 1e-9);
}

static void check_row(const Tsv *t, size_t row, const json_t *want)
{
    static const char *const same[][2] = {
        {"fro", "fro"}, {"spectral", "spectral"}, {"stable_rank", "stable_rank"}, {"effective_rank", "entropy_rank"}, {"energy_rank", "energy_entropy_rank"},
        {"participation", "participation_ratio"}, {"r50", "k50"}, {"r80", "k80"}, {"r90", "k90"}, {"r95", "k95"}, {"r99", "k99"},
    };
    const json_t *zero = json_object_get(want, "zero_entries"), *base_fro = json_object_get(want, "base_fro");
    const double entries = strtod(tsv_get(t, row, "m"), NULL) * strtod(tsv_get(t, row, "n"), NULL);

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        check_cell(t, row, same[i][0], want, same[i][1]);
    if (zero != NULL)
        check_close("zeros", strtod(tsv_get(t, row, "zero_share"), NULL) * entries, json_number_value(zero), 1e-9, 0);
    if (base_fro != NULL)
        check_close("relative", strtod(tsv_get(t, row, "relative"), NULL),
                    json_number_value(json_object_get(want, "fro")) / json_number_value(base_fro), 0, 1e-9);
    assert_string_equal(tsv_get(t, row, "base_cast"), "none");
    assert_string_equal(tsv_get(t, row, "verdict"), "ok");
}

/* The label's rows are the part's matrices, all of them, with the part's numbers. */
static void check_ranks(const Tsv *t, const char *label, const json_t *part)
{
    size_t seen = 0;

    for (size_t i = 0; i < t->n_row; i++) {
        if (strcmp(tsv_get(t, i, "label"), label) != 0)
            continue;
        const json_t *want = json_object_get(part, tsv_get(t, i, "name"));
        assert_non_null(want);
        check_row(t, i, want);
        seen++;
    }
    assert_int_equal(seen, json_object_size(part));
}

/* Squares: what the Gram matrix' values are good to. Behind the factors' rank there is nothing at all. */
static void check_spectra(const Tsv *t, const char *label, const json_t *part, bool factors)
{
    size_t seen = 0;

    for (size_t i = 0; i < t->n_row; i++) {
        if (strcmp(tsv_get(t, i, "label"), label) != 0)
            continue;
        const json_t *list = json_object_get(json_object_get(part, tsv_get(t, i, "name")), "singular_values");
        const size_t index = (size_t)strtoul(tsv_get(t, i, "index"), NULL, 10) - 1;
        const double first = json_real_value(json_array_get(list, 0)), got = strtod(tsv_get(t, i, "sigma"), NULL);

        assert_non_null(list);
        if (index >= json_array_size(list))
            assert_true(factors && got >= 0 && got <= 0);
        else
            check_close("sigma^2", got * got, json_real_value(json_array_get(list, index)) * json_real_value(json_array_get(list, index)),
                        (factors ? 1e-12 : 1e-11) * first * first, 0);
        seen++;
    }
    assert_true(seen > 0);
}

static void test_spectrum_of_golden_runs(void **state)
{
    const char *out = test_folder();
    json_t *golden;
    ProgramRun run;
    StFile values;
    Tsv t;

    (void)state;
    find_golden();
    CHECK_OK(json_load_path(&golden, test_data("golden/delta/spectra.json"), MAX_FILE));
    run_well(&run, ARGUMENTS("spectrum", base, full, rounded, lora, "--out", out));
    assert_non_null(strstr(run.out.data, "embed_tokens"));
    program_release(&run);
    CHECK_OK(tsv_read(&t, path_in(out, "ranks.tsv")));
    check_ranks(&t, "stories260K_ft", json_object_get(golden, "full_f32"));
    check_ranks(&t, "stories260K_ft_bf16", json_object_get(golden, "full_bf16"));
    check_ranks(&t, "stories260K_lora", json_object_get(golden, "lora"));
    tsv_release(&t);
    CHECK_OK(tsv_read(&t, path_in(out, "spectra.tsv")));
    check_spectra(&t, "stories260K_ft", json_object_get(golden, "full_f32"), false);
    check_spectra(&t, "stories260K_ft_bf16", json_object_get(golden, "full_bf16"), false);
    check_spectra(&t, "stories260K_lora", json_object_get(golden, "lora"), true);
    tsv_release(&t);
    CHECK_OK(st_open(&values, path_in(out, "spectra/stories260K_ft.safetensors")));
    assert_int_equal(values.n_tensor, json_object_size(json_object_get(golden, "full_f32")));
    st_close(&values);
    json_decref(golden);
}

/* ---- what it leaves ------------------------------------------------------------------------------------------------------- */

/* Everything that must not depend on how often, in how many pieces, and by how many the work was done. */
static void gather(StrBuf *all, const char *out, bool label_b)
{
    const char *const name[] = {"ranks.tsv", "spectra.tsv", "spectra/a.safetensors", label_b ? "spectra/b.safetensors" : NULL};
    StrBuf text;

    strbuf_init(&text);
    strbuf_init(all);
    for (int i = 0; i < 4 && name[i] != NULL; i++) {
        CHECK_OK(file_read(path_in(out, name[i]), MAX_FILE, &text));
        strbuf_add_str(all, strbuf_str(&text));
    }
    strbuf_release(&text);
}

static bool same_text(const StrBuf *a, const StrBuf *b) { return str_equal(strbuf_str(a), strbuf_str(b)); }

static void test_spectrum_again_does_nothing_else(void **state)
{
    const char *out = test_folder();
    ProgramRun first, again;
    StrBuf before, after;
    FileId a, b;
    MadeTunes made;

    (void)state;
    made_tunes(&made, dev);
    run_well(&first, ARGUMENTS("spectrum", made.base, made.a, made.b, "--out", out));
    gather(&before, out, true);
    CHECK_OK(file_id(path_in(out, "ranks.tsv"), &a));
    run_well(&again, ARGUMENTS("spectrum", made.base, made.a, made.b, "--out", out));
    CHECK_OK(file_id(path_in(out, "ranks.tsv"), &b));
    assert_true(same_text(&first.out, &again.out));
    assert_true(a.inode == b.inode && a.mtime_ns == b.mtime_ns);
    program_release(&again);
    run_well(&again, ARGUMENTS("spectrum", made.base, made.a, made.b, "--out", out, "--fresh", "--threads", "1"));
    program_release(&again);
    gather(&after, out, true);
    assert_true(same_text(&before, &after));

    /* One label, other thresholds: its rows are new, the others stay. */
    run_well(&again, ARGUMENTS("spectrum", made.base, made.b, "--out", out, "--thresholds", ".9,.999"));
    program_release(&again);
    Tsv t;
    CHECK_OK(tsv_read(&t, path_in(out, "ranks.tsv")));
    for (size_t i = 0; i < t.n_row; i++)
        assert_int_equal(tsv_get(&t, i, "r99.9")[0] != '\0', strcmp(tsv_get(&t, i, "label"), "b") == 0);
    tsv_release(&t);
    program_release(&first);
    strbuf_release(&after);
    strbuf_release(&before);
    model_free(made.model);
}

static void test_spectrum_marks_what_rounding_does_not_allow(void **state)
{
    const char *out = test_folder();
    ProgramRun run;
    json_t *root;
    MadeTunes made;

    (void)state;
    made_tunes(&made, dev);
    for (size_t i = 0; i < made.tensors.count; i++) /* a is b with its low bits gone, and so is the change */
        for (int64_t k = 0; k < made.tensors.item[i].shape[0] * (made.tensors.item[i].rank == 2 ? made.tensors.item[i].shape[1] : 1); k++) {
            uint32_t *bits = (uint32_t *)(uintptr_t)made.tensors.item[i].data + k;
            *bits &= 0xffff0000u;
        }
    SavedTensors narrow = made.tensors;
    uint16_t *kept[64] = {NULL};
    for (size_t i = 0; i < narrow.count; i++) {
        StWrite *t = &narrow.item[i];
        const int64_t n = t->shape[0] * (t->rank == 2 ? t->shape[1] : 1);

        kept[i] = mem_take((size_t)n, 2);
        assert_non_null(kept[i]);
        for (int64_t k = 0; k < n; k++)
            kept[i][k] = (uint16_t)(((const uint32_t *)t->data)[k] >> 16);
        t->data = kept[i];
        t->dtype = "BF16";
    }
    saved_write(&narrow, made.a, "model.safetensors");
    run_well(&run, ARGUMENTS("spectrum", made.b, made.a, "--out", out, "--base-cast", "none", "--modules", "q_proj|k_proj"));
    assert_non_null(strstr(run.out.data, "rounding"));
    assert_non_null(strstr(run.out.data, "("));
    program_release(&run);
    run_well(&run, ARGUMENTS("spectrum", made.b, made.a, "--out", out, "--base-cast", "none", "--stored", "exact", "--json"));
    CHECK_OK(json_parse(&root, strbuf_str(&run.out), "stdout", 0));
    const json_t *row = json_array_get(json_object_get(json_array_get(json_object_get(root, "checkpoints"), 0), "matrices"), 1);
    assert_string_equal(json_string_value(json_object_get(row, "verdict")), "ok");
    assert_true(json_number_value(json_object_get(row, "floor_share")) <= 0);
    json_decref(root);
    program_release(&run);
    for (size_t i = 0; i < narrow.count; i++)
        mem_free(kept[i]);
    model_free(made.model);
}

/* ---- bad input ------------------------------------------------------------------------------------------------------------ */

static void check_refused(int code, const char *part, const char *const *argument)
{
    ProgramRun run;

    program_run(&run, "", argument);
    if (run.code != code || strstr(run.err.data, part) == NULL || count_lines(&run.err) > 3)
        fail_msg("exit code %d expected, %d found; '%s' expected in: %s", code, run.code, part, run.err.data);
    program_release(&run);
}

static void test_spectrum_refuses_in_one_clear_line(void **state)
{
    const char *out = test_folder();
    ModelConfig wide = ref_model_config();
    char bad[1024], adapter[1024];
    Model *model;
    ProgramRun run;
    MadeTunes made;

    (void)state;
    made_tunes(&made, dev);
    float *x = (float *)(uintptr_t)saved_item(&made.tensors, "model.layers.0.mlp.down_proj.weight")->data, kept = x[0];
    x[0] = NAN;
    made_tunes_write(&made, bad, "bad", 0);
    x[0] = kept;
    wide.hidden_size *= 2;
    const char *other = saved_model(dev, &wide, LT_F32, 3, &model);
    Factors *factors = made_factors(&wide, MADE_PLAIN, 4);
    const AdapterOrigin origin = made_origin(MADE_PLAIN, other);
    snprintf(adapter, sizeof adapter, "%s/adapter", other);
    CHECK_OK(adapter_write(adapter, &factors->params, &wide, NULL, &origin));

#define SPECTRUM(...) ARGUMENTS("spectrum", "--quiet", "--out", out, made.base, __VA_ARGS__)
    check_refused(3, "'model.layers.0.mlp.down_proj.weight': element [0,0]: expected a finite number", SPECTRUM(bad));
    check_refused(3, "expected, as in the base", SPECTRUM(other));
    check_refused(3, "does not fit the base", SPECTRUM(adapter));
    check_refused(3, "nowhere", SPECTRUM("nowhere"));
    check_refused(3, "an adapter found", ARGUMENTS("spectrum", "--quiet", "--out", out, adapter, made.a));
    check_refused(2, "has one dimension", SPECTRUM(made.a, "--modules", "input_layernorm"));
    check_refused(2, "in no tensor's name", SPECTRUM(made.a, "--modules", "cross_attn"));
    check_refused(2, "--modules", SPECTRUM(made.a, "--modules", "("));
    check_refused(2, "above 0 and below 1", SPECTRUM(made.a, "--thresholds", ".5,1"));
    check_refused(2, "above 0 and below 1", SPECTRUM(made.a, "--thresholds", ".5,"));
    check_refused(2, "given twice", SPECTRUM(made.a, made.a));
    check_refused(1, "1 of 2", SPECTRUM(made.a, bad)); /* the other one is done */
    Tsv t;
    CHECK_OK(tsv_read(&t, path_in(out, "ranks.tsv")));
    assert_string_equal(tsv_get(&t, 0, "label"), "a");
    tsv_release(&t);

    run_well(&run, SPECTRUM("--modules", "_proj", made.base, "--json")); /* itself: nothing has changed */
    assert_non_null(strstr(run.out.data, "\"verdict\": \"zero\""));
    assert_null(strstr(run.out.data, "\"verdict\": \"ok\""));
    program_release(&run);
    factors_free(factors);
    model_free(model);
    model_free(made.model);
}

/* ---- three at once -------------------------------------------------------------------------------------------------------- */

static pid_t start(const MadeTunes *made, const char *out)
{
    const char *binary = getenv("LETHE_BINARY");
    const char *const *argument = ARGUMENTS("lethe", "spectrum", made->base, made->a, made->b, "--out", out, "--threads", "1", "--quiet");
    const pid_t child = fork();

    if (child == 0) {
        const int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        execv(binary != NULL && binary[0] != '\0' ? binary : "build/release/lethe", (char *const *)(uintptr_t)argument);
        _exit(126);
    }
    assert_true(child > 0);
    return child;
}

/* One of three is killed at a moment of its own; the two that are left leave what an undisturbed one leaves. */
static void test_spectrum_shares_its_work_and_survives_a_kill(void **state)
{
    const int rounds = getenv("LETHE_TEST_REDUCED") != NULL ? 2 : 6;
    const char *calm = test_folder();
    TestRandom random = {17};
    StrBuf want, got;
    ProgramRun run;
    int outcome;
    MadeTunes made;

    (void)state;
    made_tunes(&made, dev);
    run_well(&run, ARGUMENTS("spectrum", made.base, made.a, made.b, "--out", calm));
    program_release(&run);
    gather(&want, calm, true);
    for (int r = 0; r < rounds; r++) {
        const char *out = test_folder();
        pid_t child[3];

        for (int i = 0; i < 3; i++)
            child[i] = start(&made, out);
        nanosleep(&(struct timespec){0, (long)test_uniform(&random, 0, 60e6)}, NULL);
        kill(child[r % 3], SIGKILL);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(waitpid(child[i], &outcome, 0), child[i]);
            if (i != r % 3)
                assert_int_equal(outcome, 0);
        }
        gather(&got, out, true);
        assert_true(same_text(&want, &got));
        strbuf_release(&got);
    }
    strbuf_release(&want);
    model_free(made.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_spectrum_of_golden_runs, begin),
        cmocka_unit_test(test_spectrum_again_does_nothing_else),
        cmocka_unit_test(test_spectrum_marks_what_rounding_does_not_allow),
        cmocka_unit_test(test_spectrum_refuses_in_one_clear_line),
        cmocka_unit_test_teardown(test_spectrum_shares_its_work_and_survives_a_kill, end),
    };
    return TEST_MAIN(tests);
}
