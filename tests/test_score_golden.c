/* Log-likelihoods, picks and scores against lm-eval's own, on real models and benchmarks. Without LETHE_TEST_FULL=1 a file's first documents
 * only: 40 of them, fewer where prompts are long.
 *
 * Tolerance 1e-4 + 1e-5 |loglik|: the reference stays within 0.41 of it against a float64 forward pass, and every margin between choices is
 * more than twice as large, so every pick must be equal. */
#include "tests/check.h"

#include "core/file.h"
#include "core/mem.h"
#include "eval/score/subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FEW_DOCUMENTS = 40, AT_LEAST = 5, FEW_TOKENS = 10000, MAX_FILE = 1 << 20 };

typedef struct GoldenFile {
    const char *model, *task, *name, *shots, *profile;
} GoldenFile;

/* The golden documents, in order. */
typedef struct GoldenRows {
    json_t **row;
    size_t count, cap;
    size_t in_file;
} GoldenRows;

static int64_t tokens_of(const json_t *row)
{
    int64_t tokens = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(row, "choices")); i++)
        tokens = json_integer_value(json_object_get(json_array_get(json_object_get(row, "choices"), i), "n_ctx")) + 20;
    return tokens; /* the context is read once */
}

static void read_rows(GoldenRows *rows, const char *path)
{
    const bool full = getenv("LETHE_TEST_FULL") != NULL;
    LineReader *reader;
    int64_t tokens = 0;
    Str line;
    bool more;

    CHECK_OK(lines_open(&reader, path));
    for (;;) {
        json_t *row;
        CHECK_OK(lines_next(reader, &line, &more));
        if (!more)
            break;
        rows->in_file++;
        if (!full && (rows->count >= FEW_DOCUMENTS || (tokens > FEW_TOKENS && rows->count >= AT_LEAST)))
            continue;
        CHECK_OK(json_parse(&row, line, path, 0));
        tokens += tokens_of(row);
        CHECK_OK(MEM_GROW(rows->row, rows->cap, rows->count + 1));
        rows->row[rows->count++] = row;
    }
    lines_close(reader);
}

static void release_rows(GoldenRows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        json_decref(rows->row[i]);
    mem_free(rows->row);
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void check_choice(const json_t *choice, const ScoreRecord *r, int i, double *worst)
{
    const double want = number_of(choice, "loglik"), bound = 1e-4 + 1e-5 * fabs(want);
    const double share = fabs(r->loglik[i] - want) / bound;

    if (!(share <= 1.0))
        fail_msg("document %lld, choice %d: log-likelihood %.9g expected, %.9g found", (long long)r->doc_id, i, want, r->loglik[i]);
    *worst = share > *worst ? share : *worst;
    assert_int_equal(r->greedy[i], json_is_true(json_object_get(choice, "is_greedy")));
}

static void check_document(const json_t *row, const Doc *doc, const ScoreRecord *r, double *worst)
{
    const json_t *choices = json_object_get(row, "choices");
    int truncated = 0;

    assert_int_equal(json_integer_value(json_object_get(row, "doc_id")), doc->index);
    assert_int_equal(json_array_size(choices), r->n_choice);
    for (int i = 0; i < r->n_choice; i++) {
        const json_t *choice = json_array_get(choices, (size_t)i);
        check_choice(choice, r, i, worst);
        truncated += number_of(choice, "truncated") > 0.0;
    }
    assert_int_equal(r->truncated, truncated);
    const ChoiceScore s = choice_score(doc, r);
    assert_int_equal(s.pred, json_integer_value(json_object_get(row, "pred")));
    assert_int_equal(s.pred_norm, json_integer_value(json_object_get(row, "pred_norm")));
    assert_int_equal(s.pred_bytes, json_integer_value(json_object_get(row, "pred_bytes")));
    assert_true(s.acc == number_of(row, "acc"));
    if (json_object_get(row, "acc_norm") != NULL)
        assert_true(s.acc_norm == number_of(row, "acc_norm"));
}

/* A file that was scored as a whole has lm-eval's scores and errors. */
static void check_scores(const GoldenFile *file, const TaskResult *result)
{
    char key[128];
    json_t *scores;

    CHECK_OK(json_load_path(&scores, test_data("golden/eval/loglikelihood/scores.json"), MAX_FILE));
    snprintf(key, sizeof key, "%s/%s", file->model, file->name);
    const json_t *want = json_object_get(json_object_get(scores, "scores"), key);
    assert_non_null(want);
    for (int m = 0; m < result->n_metric; m++) {
        check_close(key, result->metric[m].value, number_of(want, result->metric[m].metric), 1e-12, 0.0);
        snprintf(key, sizeof key, "%s_stderr", result->metric[m].metric);
        check_close(key, result->metric[m].stderr_mean, number_of(want, key), 1e-12, 0.0);
    }
    json_decref(scores);
}

static void score_file(const GoldenFile *file, const GoldenRows *rows, const ScoreOptions *options)
{
    const char *const path = options->checkpoint[0];
    CheckpointName *name;
    ScorePlan plan;
    ModelShelf shelf = {0};
    Subject subject;
    RecordStore records = {0};
    RecordLog log = {.folder = test_folder()};
    ScoreResult result;
    Device *dev;
    double worst = 0.0;

    CHECK_OK(device_open(&dev, test_device(), 0));
    CHECK_OK(plan_make(&plan, options, NULL));
    CHECK_OK(names_make(&name, &path, 1, NULL));
    CHECK_OK(subject_open(&subject, dev, &shelf, options, &plan, name, path));
    map_init(&records.index);
    CHECK_OK(subject_score(&subject, &records, &log));
    CHECK_OK(record_log_close(&log));
    for (size_t i = 0; i < rows->count; i++) {
        const ScoreRecord *r = records_find(&records, subject.key[0].text, (int64_t)i);
        assert_non_null(r);
        check_document(rows->row[i], &plan.task[0].scored.doc[i], r, &worst);
    }
    CHECK_OK(subject_result(&subject, &records, 1.0, &result));
    if (rows->count == rows->in_file)
        check_scores(file, &result.task[0]);
    print_message("%s/%s: %zu of %zu documents, largest deviation %.3f of the tolerance\n", file->model, file->name, rows->count, rows->in_file,
                  worst);
    task_result_release(&result.task[0]);
    mem_free(result.task);
    records_release(&records);
    subject_close(&subject);
    shelf_clear(&shelf);
    names_free(name, 1);
    plan_release(&plan);
    device_close(dev);
}

static void check_file(const GoldenFile *file)
{
    const bool stories = strcmp(file->model, "stories260K") == 0;
    char golden[256], model[128];
    GoldenRows rows = {0};

    snprintf(golden, sizeof golden, "golden/eval/loglikelihood/%s/%s.jsonl.gz", file->model, file->name);
    snprintf(model, sizeof model, "data/models/%s", file->model);
    const char *const path = test_data(model);
    const char *data = test_data("data/benchmarks"), *tokenizer = test_data("golden/eval/tokenizer_stories260K");
    read_rows(&rows, test_data(golden));
    TaskSetting shots = {.value = (char *)(uintptr_t)file->shots}, profile = {.value = (char *)(uintptr_t)file->profile};
    TaskSetting split = {.task = (char[]){"arc_challenge"}, .value = (char[]){"validation"}};
    const ScoreOptions options = {
        .checkpoint = &path, .n_checkpoint = 1, .tasks = file->task, .data = data, .tokenizer = stories ? tokenizer : NULL,
        .shots = {&shots, 1, 1}, .profile = {&profile, 1, 1}, .split = {&split, strcmp(file->task, "arc_challenge") == 0, 1},
        .limit = (int64_t)rows.count, .max_length = stories ? 512 : 0, .dtype = LT_F32,
    };
    score_file(file, &rows, &options);
    release_rows(&rows);
}

#define GOLDEN(model, task, shots, suffix, profile) {model, task, task "_" shots "shot" suffix, shots, profile}

static void test_score_minimind(void **state)
{
    static const GoldenFile files[] = {
        GOLDEN("minimind2-small", "hellaswag", "0", "", "lm-eval"),
        GOLDEN("minimind2-small", "hellaswag", "10", "", "lm-eval"),
        GOLDEN("minimind2-small", "arc_challenge", "0", "", "lm-eval"),
        GOLDEN("minimind2-small", "arc_challenge", "25", "", "lm-eval"),
        GOLDEN("minimind2-small", "winogrande", "0", "", "lm-eval"),
        GOLDEN("minimind2-small", "winogrande", "5", "", "lm-eval"),
        GOLDEN("minimind2-small", "winogrande", "5", "_fewshot_split_train", "openllm"),
    };

    (void)state;
    if (strcmp(test_device(), "cudasim") == 0)
        test_skip("a simulated GPU takes a minute for a dozen documents of this model");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        check_file(&files[i]);
}

/* BOS by the tokenizer, and prompts that are cut on the left: BOS goes first. */
static void test_score_stories(void **state)
{
    static const GoldenFile files[] = {
        GOLDEN("stories260K", "hellaswag", "0", "", "lm-eval"),
        GOLDEN("stories260K", "hellaswag", "10", "", "lm-eval"),
        GOLDEN("stories260K", "arc_challenge", "0", "", "lm-eval"),
        GOLDEN("stories260K", "winogrande", "0", "", "lm-eval"),
        GOLDEN("stories260K", "winogrande", "5", "", "lm-eval"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        check_file(&files[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score_minimind),
        cmocka_unit_test(test_score_stories),
    };
    return TEST_MAIN(tests);
}
