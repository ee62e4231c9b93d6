/* The files and tables of a score: against real ones of lm-eval where the shared data is, and by their own rules where it is not. */
#include "tests/check.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/tsv.h"
#include "eval/score/profile.h"
#include "eval/score/publish.h"
#include "eval/score/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOLDEN_ITEMS = 20, MAX_FILE = 64 << 20 };

static const char sample_rows[] =
    "{\"sentence\": \"The cup did not fit in the bag because the _ was big.\", \"option1\": \"cup\", \"option2\": \"bag\", \"answer\": \"1\"}\n"
    "{\"sentence\": \"Ana saw \\u00c9va but _ said nothing.\", \"option1\": \"Ana\", \"option2\": \"\\u00c9va\", \"answer\": \"2\"}\n"
    "{\"sentence\": \"I used the _ .\", \"option1\": \"pen\", \"option2\": \"ink\", \"answer\": \"1\"}\n";

static const char tokenizer_json[] =
    "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
    "\"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
    "\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}";

static const DigestHex key = {"a key"}, other = {"another key"};

/* One scored checkpoint, without a model. */
typedef struct Scene {
    ScoreOptions options;
    ScorePlan plan;
    CheckpointName *name;
    Tokenizer *tokenizer;
    ModelConfig cfg;
    RecordStore records;
    TaskResult task;
    ScoreResult result;
    const char *path;
} Scene;

static const ModelConfig *small_config(ModelConfig *cfg)
{
    CHECK_OK(config_parse(cfg, str_of("{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 40, \"hidden_size\": 8, "
                                      "\"intermediate_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                                      "\"num_key_value_heads\": 1, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5}"),
                          "config.json"));
    return cfg;
}

/* The plan and what stands around it; the records come from the caller. */
static void scene_open(Scene *s, const char *data, int64_t limit, const char *path)
{
    *s = (Scene){.options = {.tasks = "winogrande", .data = data, .limit = limit}, .path = path};
    CHECK_OK(plan_make(&s->plan, &s->options, NULL));
    CHECK_OK(names_make(&s->name, &s->path, 1, NULL));
    CHECK_OK(tokenizer_parse(&s->tokenizer, str_of(tokenizer_json), "tokenizer.json"));
    map_init(&s->records.index);
}

static void scene_score(Scene *s)
{
    CHECK_OK(task_result_make(&s->task, &s->plan.task[0], &s->records, &key));
    s->result = (ScoreResult){
        .name = s->name, .path = s->path, .cfg = small_config(&s->cfg), .tokenizer = s->tokenizer, .dtype = LT_F32,
        .device_class = "cpu-avx2", .device_name = "a processor", .device_kind = "cpu", .max_length = 64, .limit = s->options.limit,
        .seconds = 9.25, .task = &s->task, .n_task = 1,
    };
}

static void scene_close(Scene *s)
{
    task_result_release(&s->task);
    records_release(&s->records);
    tokenizer_free(s->tokenizer);
    names_free(s->name, 1);
    plan_release(&s->plan);
}

static void add_record(Scene *s, int64_t doc, double first, double second)
{
    const ScoreRecord r = {.doc_id = doc, .n_choice = 2, .loglik = {first, second}, .greedy = {false, true}, .tokens = 20, .truncated = doc == 1};
    CHECK_OK(records_add(&s->records, key.text, &r));
}

static void own_scene(Scene *s)
{
    StrBuf data;
    strbuf_init(&data);
    strbuf_addf(&data, "%s/data", test_folder());
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/winogrande", data.data);
    test_file(folder, "validation.jsonl", sample_rows, sizeof sample_rows - 1);
    scene_open(s, data.data, 0, "models/tiny");
    strbuf_release(&data);
    add_record(s, 0, -3.5, -4.0);
    add_record(s, 1, -1.0, -0.25);
    add_record(s, 2, -9.0, -8.0);
    scene_score(s);
}

/* ---- against lm-eval ---------------------------------------------------------------------------------------------------- */

/* The records lm-eval's own samples file tells of. */
static void read_golden_records(Scene *s)
{
    LineReader *reader;
    Str line;
    bool more;

    CHECK_OK(lines_open(&reader, test_data("golden/eval/results_example/winogrande/samples_winogrande_TIMESTAMP.jsonl")));
    for (int64_t doc = 0;; doc++) {
        json_t *row;
        CHECK_OK(lines_next(reader, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&row, line, "samples", 0));
        ScoreRecord r = {.doc_id = doc, .n_choice = 2};
        for (size_t i = 0; i < 2; i++) {
            const json_t *answer = json_array_get(json_object_get(row, "filtered_resps"), i);
            r.loglik[i] = strtod(json_string_value(json_array_get(answer, 0)), NULL);
            r.greedy[i] = strcmp(json_string_value(json_array_get(answer, 1)), "True") == 0;
        }
        CHECK_OK(records_add(&s->records, key.text, &r));
        json_decref(row);
    }
    lines_close(reader);
    assert_int_equal(s->records.count, GOLDEN_ITEMS);
}

static void golden_scene(Scene *s)
{
    scene_open(s, test_data("data/benchmarks"), GOLDEN_ITEMS, "MODELS/minimind2-small");
    read_golden_records(s);
    scene_score(s);
}

static void test_samples_equal_lm_eval_to_the_byte(void **state)
{
    char path[4096];
    DigestHex hash;
    StrBuf got, want;
    Scene s;

    (void)state;
    golden_scene(&s);
    snprintf(path, sizeof path, "%s/samples.jsonl", test_folder());
    CHECK_OK(samples_write(path, &s.task, &hash));
    strbuf_init(&got);
    strbuf_init(&want);
    CHECK_OK(file_read(path, MAX_FILE, &got));
    CHECK_OK(file_read(test_data("golden/eval/results_example/winogrande/samples_winogrande_TIMESTAMP.jsonl"), MAX_FILE, &want));
    check_str(strbuf_str(&got), want.data, want.len);
    assert_string_equal(hash.text, "091164ff759c30081c5b63bef65ed15adc6b94207377e295618ef83e8c4728e2");
    strbuf_release(&want);
    strbuf_release(&got);
    scene_close(&s);
}

static void check_same_json(json_t *got, json_t *want, const char *member)
{
    if (json_equal(json_object_get(got, member), json_object_get(want, member)))
        return;
    char *text = json_dumps(json_object_get(got, member), JSON_INDENT(1));
    fail_msg("'%s' differs, found %s", member, text);
}

static void test_document_has_the_keys_of_lm_eval_in_order(void **state)
{
    static const char *const equal[] = {"results", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "lm_eval_version",
                                        "upper_git_hash", "task_hashes", "model_name", "model_name_sanitized", "system_instruction", "chat_template"};
    DigestHex hash;
    json_t *got, *want;
    Scene s;

    (void)state;
    golden_scene(&s);
    memcpy(hash.text, "091164ff759c30081c5b63bef65ed15adc6b94207377e295618ef83e8c4728e2", sizeof hash.text);
    CHECK_OK(results_document(&got, &s.result, &hash));
    CHECK_OK(json_load_path(&want, test_data("golden/eval/results_example/winogrande/results_TIMESTAMP.json"), MAX_FILE));
    void *mine = json_object_iter(got);
    for (void *theirs = json_object_iter(want); theirs != NULL; theirs = json_object_iter_next(want, theirs)) {
        assert_string_equal(json_object_iter_key(mine), json_object_iter_key(theirs));
        mine = json_object_iter_next(got, mine);
    }
    assert_string_equal(json_object_iter_key(mine), "lethe");
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++)
        check_same_json(got, want, equal[i]);
    json_t *config = json_object_get(got, "config");
    for (void *theirs = json_object_iter(json_object_get(want, "config")); theirs != NULL;
         theirs = json_object_iter_next(json_object_get(want, "config"), theirs))
        assert_non_null(json_object_get(config, json_object_iter_key(theirs)));
    json_decref(want);
    json_decref(got);
    scene_close(&s);
}

static void test_console_equals_lm_eval(void **state)
{
    StrBuf got, want;
    Scene s;

    (void)state;
    golden_scene(&s);
    strbuf_init(&got);
    strbuf_init(&want);
    CHECK_OK(table_console(&got, &s.result));
    CHECK_OK(file_read(test_data("golden/eval/results_example/winogrande/console.txt"), MAX_FILE, &want));
    const char *mine = strchr(got.data, '\n'), *theirs = strchr(want.data, '\n'); /* behind the line that names the program */
    check_str(str_of(mine), theirs, strlen(theirs));
    strbuf_release(&want);
    strbuf_release(&got);
    scene_close(&s);
}

/* ---- by our own rules --------------------------------------------------------------------------------------------------- */

static void test_console_lines_up_and_shows_what_is_missing(void **state)
{
    const char want[] = "lethe (pretrained=models/tiny,dtype=f32), device: cpu-avx2, limit: None\n"
                        "|  Tasks   |Version|Filter|n-shot|Metric|   |Value |   |Stderr|\n"
                        "|----------|------:|------|-----:|------|---|-----:|---|-----:|\n"
                        "|winogrande|      1|none  |     0|acc   |\xe2\x86\x91  |0.6667|\xc2\xb1  |0.3333|\n\n";
    StrBuf got;
    Scene s;

    (void)state;
    own_scene(&s);
    strbuf_init(&got);
    CHECK_OK(table_console(&got, &s.result));
    check_str(strbuf_str(&got), want, sizeof want - 1);
    scene_close(&s);

    own_scene(&s); /* one item: no error */
    task_result_release(&s.task);
    s.plan.task[0].count = 1;
    scene_score(&s);
    strbuf_clear(&got);
    CHECK_OK(table_console(&got, &s.result));
    assert_non_null(strstr(got.data, "|    1|\xc2\xb1  |   N/A|"));
    strbuf_release(&got);
    scene_close(&s);
}

static void test_task_result_needs_every_record(void **state)
{
    TaskResult r;
    Scene s;

    (void)state;
    own_scene(&s);
    assert_int_equal(s.task.n_truncated, 1);
    CHECK_FAILS(task_result_make(&r, &s.plan.task[0], &s.records, &other), LT_E_FAIL, "document 0");
    scene_close(&s);
}

static void test_results_are_found_again_by_what_they_hold(void **state)
{
    const char *folder = test_folder();
    DigestHex identity, changed;
    StrBuf written, found;
    Scene s;

    (void)state;
    own_scene(&s);
    strbuf_init(&written);
    strbuf_init(&found);
    CHECK_OK(results_identity(&s.result, &identity));
    test_file(folder, "results_broken.json", "{", 1);
    CHECK_OK(results_find(&found, folder, &identity));
    assert_int_equal(found.len, 0);
    CHECK_OK(results_write(&written, folder, "2026-11-25T02-30-00.123456", &s.result));
    CHECK_OK(results_find(&found, folder, &identity));
    assert_string_equal(found.data, written.data);

    s.task.key.text[0] ^= 1;
    CHECK_OK(results_identity(&s.result, &changed));
    CHECK_OK(results_find(&found, folder, &changed));
    assert_int_equal(found.len, 0);
    strbuf_release(&found);
    strbuf_release(&written);
    scene_close(&s);
}

static void test_table_replaces_its_rows_and_keeps_the_others(void **state)
{
    char path[4096];
    struct stat before, after;
    Tsv t;
    Scene s;

    (void)state;
    own_scene(&s);
    snprintf(path, sizeof path, "%s/results.tsv", test_folder());
    CHECK_OK(table_update(path, &s.result));
    assert_int_equal(stat(path, &before), 0);
    CHECK_OK(table_update(path, &s.result));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* not written again */

    s.task.metric[0].value = 0.5;
    CHECK_OK(table_update(path, &s.result));
    s.task.key.text[0] = 'k';
    CHECK_OK(table_update(path, &s.result));
    CHECK_OK(tsv_read(&t, path));
    assert_int_equal(t.n_row, 2);
    assert_int_equal(t.n_column, 36);
    assert_string_equal(tsv_get(&t, 0, "value"), "0.5");
    assert_string_equal(tsv_get(&t, 0, "label"), "tiny");
    assert_string_equal(tsv_get(&t, 0, "path"), "models/tiny");
    assert_string_equal(tsv_get(&t, 0, "task"), "winogrande");
    assert_string_equal(tsv_get(&t, 0, "n"), "3");
    assert_string_equal(tsv_get(&t, 0, "truncated"), "1");
    assert_string_equal(tsv_get(&t, 1, "shots"), "0");
    assert_int_equal(tsv_get(&t, 1, "key")[0], 'k');
    tsv_release(&t);
    scene_close(&s);
}

/* A table of before a column was added keeps its rows. */
static void test_table_gains_the_columns_it_lacks(void **state)
{
    static const char old[] = "label\ttask\tkey\nelder\tarc\t12\n";
    const char *path = test_file(test_folder(), "results.tsv", old, sizeof old - 1);
    Tsv t;
    Scene s;

    (void)state;
    own_scene(&s);
    s.result.stored = LT_F32;
    s.result.dtype = LT_BF16;
    CHECK_OK(table_update(path, &s.result));
    CHECK_OK(tsv_read(&t, path));
    assert_int_equal(t.n_row, 2);
    assert_string_equal(tsv_get(&t, 0, "label"), "elder");
    assert_string_equal(tsv_get(&t, 0, "key"), "12");
    assert_string_equal(tsv_get(&t, 0, "cast"), "");
    assert_string_equal(tsv_get(&t, 1, "label"), "tiny");
    assert_string_equal(tsv_get(&t, 1, "cast"), "f32>bf16");
    assert_string_equal(t.column[t.n_column - 1], "cast");
    tsv_release(&t);
    scene_close(&s);
}

enum { N_PROCESS = 2, N_EACH = 10 };

/* What one process of several adds to a folder. */
static void publish_several(Scene *s, const char *out, int process)
{
    for (int i = 0; i < N_EACH; i++) {
        char label[32];
        bool done = false;
        snprintf(label, sizeof label, "p%d-%d", process, i);
        CheckpointName name = {.label = label, .folder = label};
        for (int f = 0; f < ORIGIN_FIELDS; f++)
            name.origin[f] = s->name->origin[f];
        s->result.name = &name;
        if (publish_result(out, &s->result) != LT_OK || publish_done(out, &s->result, &done) != LT_OK || !done)
            _exit(1);
    }
    _exit(0);
}

static void test_publish_loses_no_row_to_another_process(void **state)
{
    const char *out = test_folder();
    char path[4096];
    int outcome;
    Tsv t;
    Scene s;

    (void)state;
    own_scene(&s);
    for (int p = 0; p < N_PROCESS; p++) {
        const pid_t child = fork();
        if (child == 0)
            publish_several(&s, out, p);
        assert_true(child > 0);
    }
    for (int p = 0; p < N_PROCESS; p++) {
        assert_true(wait(&outcome) > 0);
        assert_true(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0);
    }
    snprintf(path, sizeof path, "%s/results.tsv", out);
    CHECK_OK(tsv_read(&t, path));
    assert_int_equal(t.n_row, N_PROCESS * N_EACH);
    tsv_release(&t);
    scene_close(&s);
}

static void test_profiles_settle_shots_and_bos(void **state)
{
    Profile p;

    (void)state;
    CHECK_OK(profile_resolve(&p, "lm-eval", &task_hellaswag));
    assert_true(p.bos == BOS_AUTO && p.shots == 0 && p.draws_one_more);
    CHECK_OK(profile_resolve(&p, "lm-eval@0.4.9.1", &task_hellaswag));
    assert_int_equal(p.bos, BOS_NO);
    CHECK_OK(profile_resolve(&p, "lm-eval@0.4.9.2", &task_hellaswag));
    assert_int_equal(p.bos, BOS_AUTO);
    CHECK_OK(profile_resolve(&p, "lm-eval@0.4.13", &task_gsm8k));
    assert_string_equal(p.version, task_gsm8k.version);
    CHECK_OK(profile_resolve(&p, "lm-eval@0.4.0", &task_gsm8k));
    assert_string_equal(p.version, "1.0");
    CHECK_OK(profile_resolve(&p, "openllm", &task_hellaswag));
    assert_true(p.shots == 10 && !p.draws_one_more);
    assert_string_equal(p.name, "openllm");
    CHECK_FAILS(profile_resolve(&p, "gauntlet", &task_hellaswag), LT_E_USAGE, "not available yet; available: lm-eval");
    CHECK_FAILS(profile_resolve(&p, "lmeval", &task_hellaswag), LT_E_USAGE, "unknown profile 'lmeval'");
    CHECK_FAILS(profile_resolve(&p, "lm-eval@0.4x", &task_hellaswag), LT_E_USAGE, "0.4x");
    CHECK_FAILS(profile_resolve(&p, "lm-eval@0.3.0", &task_hellaswag), LT_E_USAGE, "0.4.0");
    Task unlisted = task_hellaswag;
    unlisted.name = "mmlu";
    CHECK_FAILS(profile_resolve(&p, "openllm", &unlisted), LT_E_USAGE, "'mmlu'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_equal_lm_eval_to_the_byte),
        cmocka_unit_test(test_document_has_the_keys_of_lm_eval_in_order),
        cmocka_unit_test(test_console_equals_lm_eval),
        cmocka_unit_test(test_console_lines_up_and_shows_what_is_missing),
        cmocka_unit_test(test_task_result_needs_every_record),
        cmocka_unit_test(test_results_are_found_again_by_what_they_hold),
        cmocka_unit_test(test_table_replaces_its_rows_and_keeps_the_others),
        cmocka_unit_test(test_table_gains_the_columns_it_lacks),
        cmocka_unit_test(test_publish_loses_no_row_to_another_process),
        cmocka_unit_test(test_profiles_settle_shots_and_bos),
    };
    return TEST_MAIN(tests);
}
