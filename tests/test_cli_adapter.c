/* Adapters through the program: scored beside their base, merged, run and inspected, on the made-up world. */
#include "tests/program.h"

#include "core/file.h"
#include "core/json.h"
#include "core/tsv.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "tests/adapters.h"
#include "tests/world/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char ALL[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": \"all-linear\"}";
static const char INERT[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 0, \"target_modules\": [\"q_proj\"]}";

static char data[4096], model[4096];
static const char *first, *second, *inert;

static int make_world(void **state)
{
    const char *folder = test_folder();
    ModelConfig cfg;
    Digest digest;

    (void)state;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(model, sizeof model, "%s/model", folder);
    CHECK_OK(world_make(folder, 5));
    CHECK_OK(config_load(&cfg, &digest, model));
    first = adapter_random(ALL, &cfg, 1);
    second = adapter_random(ALL, &cfg, 2);
    inert = adapter_random(INERT, &cfg, 3);
    return setenv("LETHE_CACHE", test_folder(), 1);
}

static void run(const char *const *argument, int want_code, const char *part)
{
    ProgramRun r;

    program_run(&r, "", argument);
    if (r.code != want_code || (part != NULL && str_find(strbuf_str(&r.err), str_of(part), 0) == SIZE_MAX))
        fail_msg("exit code %d, expected %d with '%s':\n%s", r.code, want_code, part != NULL ? part : "", r.err.data);
    program_release(&r);
}

/* ---- score ---------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 4 };

static void read_table(Tsv *t, const char *out)
{
    StrBuf path;

    strbuf_init(&path);
    CHECK_OK(path_join(&path, out, "results.tsv"));
    CHECK_OK(tsv_read(t, path.data));
    strbuf_release(&path);
}

#define SCORE(...) ARGUMENTS("score", __VA_ARGS__, "--base", model, "--tokenizer", model, "--tasks", "winogrande", "--limit", "8", "--data", data, "--out", out)

static void test_score_keeps_base_and_adapters_apart(void **state)
{
    const char *out = test_folder();
    Tsv t;

    (void)state;
    run(SCORE(model, first, second), 0, NULL);
    run(SCORE(first, "--merge"), 0, NULL);
    read_table(&t, out);
    assert_int_equal(t.n_row, ROWS);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(tsv_get(&t, i, "key"), tsv_get(&t, j, "key"));
    assert_string_equal(tsv_get(&t, 0, "base"), "");
    for (size_t i = 1; i < ROWS; i++)
        assert_string_equal(tsv_get(&t, i, "base"), model);
    assert_string_equal(tsv_get(&t, 1, "path"), first);
    assert_string_equal(tsv_get(&t, 0, "method"), "");
    assert_string_equal(tsv_get(&t, 1, "method"), "lora");
    assert_string_equal(tsv_get(&t, 1, "rank"), "3");
    assert_string_equal(tsv_get(&t, 1, "alpha"), "6");
    assert_string_equal(tsv_get(&t, 1, "targets"), "all");
    tsv_release(&t);
}

/* Whatever stands beside it in the command, an adapter has one key; and once scored, it is not scored again. */
static void test_score_finds_adapters_again(void **state)
{
    const char *out = test_folder();
    char before[65];
    ProgramRun r;
    Tsv t;

    (void)state;
    run(SCORE(first), 0, "8 items");
    read_table(&t, out);
    snprintf(before, sizeof before, "%s", tsv_get(&t, 0, "key"));
    tsv_release(&t);
    run(SCORE(second, first, model), 0, NULL);
    read_table(&t, out);
    assert_int_equal(t.n_row, 3);
    assert_string_equal(tsv_get(&t, 0, "key"), before);
    tsv_release(&t);
    program_run(&r, "", SCORE(first, second, model));
    assert_int_equal(r.code, 0);
    assert_int_equal(r.err.len, 0);
    program_release(&r);
}

static void test_score_names_a_bad_adapter_and_goes_on(void **state)
{
    const char *out = test_folder();
    Tsv t;

    (void)state;
    run(SCORE(inert, first), 1, "the adapter changes nothing");
    read_table(&t, out);
    assert_int_equal(t.n_row, 1);
    tsv_release(&t);
    run(SCORE(inert), 3, "the adapter changes nothing");
    run(SCORE(inert, "--merge"), 3, "the adapter changes nothing");
}

/* ---- merge and forward ---------------------------------------------------------------------------------------------------- */

static float *read_logits(const char *path, int64_t *n)
{
    StFile f;
    float *logits = NULL;

    CHECK_OK(st_open(&f, path));
    for (size_t i = 0; i < f.n_tensor; i++)
        if (str_is(f.tensor[i].name, "logits")) {
            *n = f.tensor[i].count;
            logits = mem_take((size_t)*n, sizeof *logits);
            assert_non_null(logits);
            CHECK_OK(st_read(&f, &f.tensor[i], 0, logits, (size_t)*n * sizeof *logits));
        }
    st_close(&f);
    assert_non_null(logits);
    return logits;
}

static double largest_difference(const float *a, const float *b, int64_t n)
{
    double worst = 0;

    for (int64_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* The merged folder and --merge are the same weights; on top differs by rounding; the base by more than that. */
static void test_forward_on_top_merged_and_from_a_merged_folder(void **state)
{
    const char *folder = test_folder(), *ids = test_file(folder, "ids.json", "[[1, 5, 9, 30], [7, 2]]", 23);
    char out[4][4096], merged[4096];
    float *logits[4];
    int64_t n[4];

    (void)state;
    snprintf(merged, sizeof merged, "%s/merged", folder);
    for (int i = 0; i < 4; i++)
        snprintf(out[i], sizeof out[i], "%s/%d.safetensors", folder, i);
    run(ARGUMENTS("merge", model, first, "--out", merged), 0, NULL);
    run(ARGUMENTS("forward", merged, "--ids", ids, "--out", out[0]), 0, NULL);
    run(ARGUMENTS("forward", first, "--base", model, "--merge", "--ids", ids, "--out", out[1]), 0, NULL);
    run(ARGUMENTS("forward", first, "--base", model, "--ids", ids, "--out", out[2]), 0, NULL);
    run(ARGUMENTS("forward", model, "--ids", ids, "--out", out[3]), 0, NULL);
    for (int i = 0; i < 4; i++)
        logits[i] = read_logits(out[i], &n[i]);
    assert_true(n[0] == n[1] && n[1] == n[2] && n[2] == n[3]);
    assert_memory_equal(logits[0], logits[1], (size_t)n[0] * sizeof **logits);
    check_close("on top and merged", largest_difference(logits[0], logits[2], n[0]), 0, 1e-4, 0);
    assert_true(largest_difference(logits[0], logits[3], n[0]) > 0.01);
    for (int i = 0; i < 4; i++)
        mem_free(logits[i]);
    run(ARGUMENTS("tokenize", merged), 0, NULL); /* the tokenizer came along */
}

static void test_merge_refuses_misuse(void **state)
{
    const char *out = test_folder();

    (void)state;
    run(ARGUMENTS("merge", model, "--out", out), 2, NULL);
    run(ARGUMENTS("merge", model, first), 2, "--out");
    run(ARGUMENTS("merge", model, model, "--out", out), 3, "expected an adapter behind the base");
    run(ARGUMENTS("merge", first, first, "--out", out), 3, "found another adapter");
    run(ARGUMENTS("merge", model, inert, "--out", out), 3, "changes nothing");
    run(ARGUMENTS("merge", model, first, "--out", model), 2, "another folder");
}

/* ---- inspect -------------------------------------------------------------------------------------------------------------- */

static void test_inspect_describes_an_adapter(void **state)
{
    ProgramRun r;
    json_t *root;

    (void)state;
    program_run(&r, "", ARGUMENTS("inspect", first, "--base", model, "--json"));
    assert_int_equal(r.code, 0);
    CHECK_OK(json_parse(&root, strbuf_str(&r.out), "stdout", 0));
    const json_t *one = json_array_get(json_object_get(root, "checkpoints"), 0);
    assert_int_equal(json_integer_value(json_object_get(one, "rank")), 3);
    check_close("alpha", json_real_value(json_object_get(one, "alpha")), 6, 0, 0);
    assert_int_equal(json_object_size(json_object_get(one, "modules")), 7);
    assert_int_equal(json_array_size(json_object_get(one, "warnings")), 0);
    json_decref(root);
    program_release(&r);

    program_run(&r, "", ARGUMENTS("inspect", first, "--json")); /* says nothing of its base: all but the check is there */
    assert_int_equal(r.code, 0);
    CHECK_OK(json_parse(&root, strbuf_str(&r.out), "stdout", 0));
    one = json_array_get(json_object_get(root, "checkpoints"), 0);
    assert_null(json_object_get(one, "modules"));
    assert_int_equal(json_array_size(json_object_get(one, "warnings")), 1);
    json_decref(root);
    program_release(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_score_keeps_base_and_adapters_apart, make_world),
        cmocka_unit_test(test_score_finds_adapters_again),
        cmocka_unit_test(test_score_names_a_bad_adapter_and_goes_on),
        cmocka_unit_test(test_forward_on_top_merged_and_from_a_merged_folder),
        cmocka_unit_test(test_merge_refuses_misuse),
        cmocka_unit_test(test_inspect_describes_an_adapter),
    };

    return TEST_MAIN(tests);
}
