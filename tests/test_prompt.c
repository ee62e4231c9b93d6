#include "tests/rows.h"

#include "core/file.h"
#include "core/random.h"
#include "eval/tasks/prompt.h"

#include <stdio.h>

static void check_hex(const Digest *got, const char *want)
{
    assert_string_equal(digest_hex(got).text, want);
}

/* Pool rows "q0", "q1", ...; `same` of them at the end equal row 0. */
static void make_pool(DataSet *set, size_t n, size_t same)
{
    StrBuf text;
    strbuf_init(&text);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&text, "{\"question\": \"q%zu\", \"answer\": \"a%zu\"}\n", i + same < n ? i : 0, i + same < n ? i : 0);
    CHECK_OK(strbuf_status(&text));
    CHECK_OK(rows_from_text(set, &task_gsm8k, strbuf_str(&text)));
    strbuf_release(&text);
}

static void test_draw_is_one_stream_over_the_rows(void **state)
{
    (void)state;
    DataSet pool;
    Shots shots;
    PyRandom random;
    uint64_t want[3];
    make_pool(&pool, 30, 0);
    CHECK_OK(shots_draw(&shots, &pool, &pool, 3, false, 7));
    assert_int_equal(shots.n_doc, 30);
    pyrandom_seed(&random, 7);
    for (size_t i = 0; i < shots.n_doc; i++) {
        CHECK_OK(pyrandom_sample(&random, 30, 3, want));
        for (int k = 0; k < 3; k++)
            assert_int_equal(shots.row[i * 3 + (size_t)k], want[k]);
    }
    shots_release(&shots);
    dataset_close(&pool);
}

static void test_draw_drops_the_scored_row(void **state)
{
    (void)state;
    DataSet pool;
    Shots shots;
    PyRandom random;
    uint64_t drawn[4];
    bool dropped = false;
    make_pool(&pool, 12, 0);
    CHECK_OK(shots_draw(&shots, &pool, &pool, 3, true, 1));
    pyrandom_seed(&random, 1);
    for (size_t i = 0; i < 12; i++) {
        int kept = 0;
        CHECK_OK(pyrandom_sample(&random, 12, 4, drawn));
        for (int k = 0; k < 4 && kept < 3; k++) {
            if (drawn[k] == i)
                dropped = true;
            else
                assert_int_equal(shots.row[i * 3 + (size_t)kept++], drawn[k]);
        }
        assert_int_equal(kept, 3);
    }
    assert_true(dropped);
    shots_release(&shots);
    dataset_close(&pool);
}

/* 6 of 10 rows are equal. Row 0 often loses two of its four draws and is drawn again from the 4 others; the stream has then moved on, so the
 * whole is replayed beside it. */
static void test_draw_again_where_duplicates_leave_too_few(void **state)
{
    (void)state;
    DataSet pool;
    Shots shots;
    int again = 0;
    make_pool(&pool, 10, 5);
    for (uint64_t seed = 0; seed < 20; seed++) {
        PyRandom random;
        CHECK_OK(shots_draw(&shots, &pool, &pool, 3, true, seed));
        pyrandom_seed(&random, seed);
        for (size_t i = 0; i < 10; i++) {
            uint64_t drawn[4], rest[10];
            int32_t want[3];
            int kept = 0, n_rest = 0;
            CHECK_OK(pyrandom_sample(&random, 10, 4, drawn));
            for (int k = 0; k < 4 && kept < 3; k++)
                if (!json_equal(pool.doc[drawn[k]].row, pool.doc[i].row))
                    want[kept++] = (int32_t)drawn[k];
            if (kept < 3) {
                again++;
                for (uint64_t r = 0; r < 10; r++)
                    if (!json_equal(pool.doc[r].row, pool.doc[i].row))
                        rest[n_rest++] = r;
                CHECK_OK(pyrandom_sample(&random, (uint64_t)n_rest, 3, drawn));
                for (int k = 0; k < 3; k++)
                    want[k] = (int32_t)rest[drawn[k]];
            }
            assert_memory_equal(shots.row + i * 3, want, sizeof want);
        }
        shots_release(&shots);
    }
    assert_true(again > 20);
    dataset_close(&pool);
}

static void test_draw_refuses_a_small_pool(void **state)
{
    (void)state;
    DataSet pool, same;
    Shots shots;
    make_pool(&pool, 5, 0);
    CHECK_OK(shots_draw(&shots, &pool, &pool, 5, false, 1));
    shots_release(&shots);
    CHECK_FAILS(shots_draw(&shots, &pool, &pool, 5, true, 1), LT_E_INPUT, "at least 6 rows, found 5");
    CHECK_FAILS(shots_draw(&shots, &pool, &pool, 6, false, 1), LT_E_INPUT, "rows.jsonl");
    CHECK_OK(shots_draw(&shots, &pool, NULL, 0, true, 1));
    assert_int_equal(shots.n, 0);
    shots_release(&shots);
    dataset_close(&pool);
    make_pool(&same, 5, 4);
    CHECK_FAILS(shots_draw(&shots, &same, &same, 3, true, 1), LT_E_INPUT, "3 other rows");
    dataset_close(&same);
}

static void test_draw_survives_failed_allocations(void **state)
{
    (void)state;
    DataSet pool;
    Shots shots;
    make_pool(&pool, 8, 3);
    const int64_t held = mem_held();
    const uint64_t before = mem_count();
    CHECK_OK(shots_draw(&shots, &pool, &pool, 3, true, 1));
    const uint64_t n_take = mem_count() - before;
    shots_release(&shots);
    for (uint64_t n = 1; n <= n_take; n++) {
        mem_fail_at(n);
        const Status st = shots_draw(&shots, &pool, &pool, 3, true, 1);
        mem_fail_at(0);
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    dataset_close(&pool);
}

static void test_prompt_joins_shots_and_context(void **state)
{
    (void)state;
    DataSet pool;
    StrBuf out;
    make_pool(&pool, 3, 0);
    int32_t row[] = {0, 0, 2, 1, 1, 2};
    const Shots shots = {.n = 2, .n_doc = 3, .row = row};
    strbuf_init(&out);
    CHECK_OK(prompt_build(&out, &pool.doc[1], 0, &pool, &shots));
    static const char want[] = "Question: q2\nAnswer: a2\n\nQuestion: q1\nAnswer: a1\n\nQuestion: q1\nAnswer:";
    check_str(strbuf_str(&out), want, sizeof want - 1);
    strbuf_release(&out);
    dataset_close(&pool);
}

/* evaluation.md 1.3: drawn by the harness's own sampler with seed 1234. */
typedef struct Vector {
    const Task *task;
    const char *pool;
    int32_t n;
    bool one_more;
    int n_row;
    int32_t row[3][25];
} Vector;

static void test_draws_equal_the_harness(void **state)
{
    static const Vector vector[] = {
        {&task_gsm8k,
         "gsm8k/train.jsonl",
         5,
         false,
         3,
         {{6374, 3610, 957, 61, 742}, {7462, 6610, 4769, 286, 5501}, {5677, 687, 806, 6279, 2905}}},
        {&task_arc_challenge,
         "arc_challenge/train.jsonl",
         25,
         false,
         2,
         {{902, 239, 15, 185, 71, 171, 201, 726, 484, 35, 63, 32, 708, 991, 949, 304, 186, 374, 234, 29, 1030, 996, 511, 132, 1108},
          {954, 140, 182, 1054, 94, 552, 129, 619, 985, 727, 545, 510, 409, 928, 1085, 39, 1040, 144, 11, 683, 294, 968, 772, 342, 110}}},
        {&task_winogrande,
         "winogrande/train_xl.jsonl",
         5,
         true,
         3,
         {{28883, 7657, 490, 5940, 38156}, {5500, 6450, 23241, 15519, 1142}, {1038, 22681, 31735, 40358, 30379}}},
        {&task_winogrande, "winogrande/train_xl.jsonl", 5, false, 2, {{28883, 7657, 490, 5940, 38156}, {2288, 5500, 6450, 23241, 15519}}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        const Vector *v = &vector[i];
        DataSet pool;
        Shots shots;
        rows_shared(&pool, v->task, v->pool);
        assert_int_equal(v->task->draws_one_more, i == 3 ? true : v->one_more);
        CHECK_OK(shots_draw(&shots, &pool, &pool, v->n, v->one_more, FEWSHOT_SEED));
        for (int r = 0; r < v->n_row; r++)
            assert_memory_equal(shots.row + r * v->n, v->row[r], (size_t)v->n * sizeof(int32_t));
        shots_release(&shots);
        dataset_close(&pool);
    }
}

/* Running digests of one file of golden/eval/prompts. */
typedef struct Sums {
    Sha256 contexts, requests, shots;
} Sums;

static void add_doc(Sums *sums, const Task *task, const Doc *doc, const DataSet *pool, const Shots *shots, char first16[17])
{
    static const char separator[] = "\x1e";
    StrBuf prompt;
    strbuf_init(&prompt);
    const int n_request = task->kind == TASK_GENERATE ? 1 : doc->n_choice;
    for (int i = 0; i < n_request; i++) {
        if (i < doc->n_context) {
            strbuf_clear(&prompt);
            CHECK_OK(prompt_build(&prompt, doc, i, pool, shots));
            sha256_add(&sums->contexts, prompt.data, prompt.len);
        }
        if (i == 0) {
            Digest d;
            CHECK_OK(sha256_of(prompt.data, prompt.len, &d));
            snprintf(first16, 17, "%.16s", digest_hex(&d).text);
        }
        const Str continuation = task->kind == TASK_GENERATE ? str_of("") : doc->continuation[i];
        sha256_add(&sums->requests, prompt.data, prompt.len);
        sha256_add(&sums->requests, separator, 1);
        sha256_add(&sums->requests, continuation.data, continuation.len);
        sha256_add(&sums->requests, "\n", 1);
    }
    strbuf_clear(&prompt);
    for (int32_t k = 0; k < shots->n; k++)
        strbuf_addf(&prompt, "%s%d", k > 0 ? "," : doc->index > 0 ? ",[" : "[[", shots->row[doc->index * shots->n + k]);
    strbuf_add_text(&prompt, (size_t)doc->index + 1 == shots->n_doc ? "]]" : "]");
    sha256_add(&sums->shots, prompt.data, prompt.len);
    strbuf_release(&prompt);
}

/* The first documents, written out. */
static void check_documents(const char *name, const DataSet *scored, const DataSet *pool, const Shots *shots)
{
    char file[96];
    snprintf(file, sizeof file, "golden/eval/prompts/%s.jsonl", name);
    StrBuf text;
    strbuf_init(&text);
    CHECK_OK(file_read(test_data(file), (size_t)1 << 22, &text));
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        const size_t end = str_find(strbuf_str(&text), str_of("\n"), at);
        json_t *row;
        CHECK_OK(json_parse(&row, str_slice(strbuf_str(&text), at, end), file, (uint64_t)i + 1));
        at = end + 1;
        const Doc *doc = &scored->doc[i];
        for (int c = 0; c < doc->n_context; c++) {
            const json_t *want =
                doc->n_context == 1 ? json_object_get(row, "context") : json_array_get(json_object_get(row, "contexts"), (size_t)c);
            StrBuf prompt;
            strbuf_init(&prompt);
            CHECK_OK(prompt_build(&prompt, doc, c, pool, shots));
            check_str(strbuf_str(&prompt), json_string_value(want), json_string_length(want));
            strbuf_release(&prompt);
        }
        const json_t *continuations = json_object_get(row, "continuations");
        assert_int_equal(json_array_size(continuations), doc->n_choice);
        for (size_t c = 0; c < json_array_size(continuations); c++) {
            const json_t *want = json_array_get(continuations, c);
            check_str(doc->continuation[c], json_string_value(want), json_string_length(want));
        }
        const json_t *until = json_object_get(json_object_get(row, "generation_kwargs"), "until");
        for (size_t k = 0; k < json_array_size(until); k++)
            assert_string_equal(scored->task->until[k], json_string_value(json_array_get(until, k)));
        json_decref(row);
    }
    strbuf_release(&text);
}

static void check_summary(const json_t *want, const char *name, const DataSet *scored, const DataSet *pool, int32_t n, bool one_more)
{
    const json_t *entry = json_object_get(want, name);
    const json_t *heads = json_object_get(entry, "per_doc_context_sha256_first_16hex");
    const size_t step = (size_t)json_integer_value(json_object_get(entry, "per_doc_step"));
    Shots shots;
    Sums sums;
    assert_non_null(entry);
    assert_int_equal(scored->n_doc, json_integer_value(json_object_get(entry, "docs")));
    assert_int_equal(pool->n_doc, json_integer_value(json_object_get(entry, "pool")));
    CHECK_OK(shots_draw(&shots, scored, pool, n, one_more, FEWSHOT_SEED));
    CHECK_OK(sha256_init(&sums.contexts));
    CHECK_OK(sha256_init(&sums.requests));
    CHECK_OK(sha256_init(&sums.shots));
    for (size_t i = 0; i < scored->n_doc; i++) {
        char first16[17] = "";
        add_doc(&sums, scored->task, &scored->doc[i], pool, &shots, first16);
        if (i % step == 0)
            assert_string_equal(first16, json_string_value(json_array_get(heads, i / step)));
    }
    const Digest contexts = sha256_end(&sums.contexts), requests = sha256_end(&sums.requests), drawn = sha256_end(&sums.shots);
    check_hex(&contexts, json_string_value(json_object_get(entry, "all_contexts_concatenated_sha256")));
    check_hex(&requests, json_string_value(json_object_get(entry, "all_requests_sha256")));
    if (n > 0)
        check_hex(&drawn, json_string_value(json_object_get(entry, "shots_all_sha256")));
    check_documents(name, scored, pool, &shots);
    shots_release(&shots);
}

static void check_task(const Task *task, const char *scored_file, const char *pool_file, const char *plain, const char *shot, int32_t n,
                       const char *openllm)
{
    json_t *want = json_shared("golden/eval/prompts/summary.json");
    DataSet scored, pool;
    rows_shared(&scored, task, scored_file);
    rows_shared(&pool, task, pool_file);
    check_summary(want, plain, &scored, &pool, 0, task->draws_one_more);
    check_summary(want, shot, &scored, &pool, n, task->draws_one_more);
    if (openllm != NULL)
        check_summary(want, openllm, &scored, &pool, n, false);
    dataset_close(&scored);
    dataset_close(&pool);
    json_decref(want);
}

static void test_hellaswag_prompts_equal_the_harness(void **state)
{
    (void)state;
    check_task(&task_hellaswag, "hellaswag/validation.jsonl", "hellaswag/train.jsonl", "hellaswag_0shot", "hellaswag_10shot", 10,
               "hellaswag_10shot_fewshot_split_train");
}

static void test_arc_prompts_equal_the_harness(void **state)
{
    (void)state;
    check_task(&task_arc_challenge, "arc_challenge/validation.jsonl", "arc_challenge/train.jsonl", "arc_challenge_0shot",
               "arc_challenge_25shot", 25, NULL);
}

static void test_winogrande_prompts_equal_the_harness(void **state)
{
    (void)state;
    check_task(&task_winogrande, "winogrande/dev.jsonl", "winogrande/train_xl.jsonl", "winogrande_0shot", "winogrande_5shot", 5,
               "winogrande_5shot_fewshot_split_train");
}

/* The totals of evaluation.md 1.7 are those of summary.json. */
static void test_gsm8k_prompts_equal_the_harness(void **state)
{
    (void)state;
    check_task(&task_gsm8k, "gsm8k/test.jsonl", "gsm8k/train.jsonl", "gsm8k_0shot", "gsm8k_5shot", 5, NULL);
}

/* evaluation.md 1.13, dataset order: "context continuation\n". */
static void test_winogrande_requests_equal_the_published_digest(void **state)
{
    (void)state;
    DataSet set;
    Sha256 sum;
    rows_shared(&set, &task_winogrande, "winogrande/dev.jsonl");
    CHECK_OK(sha256_init(&sum));
    for (size_t i = 0; i < set.n_doc; i++)
        for (int c = 0; c < 2; c++) {
            sha256_add(&sum, set.doc[i].context[c].data, set.doc[i].context[c].len);
            sha256_add(&sum, set.doc[i].continuation[c].data, set.doc[i].continuation[c].len);
            sha256_add(&sum, "\n", 1);
        }
    const Digest got = sha256_end(&sum);
    check_hex(&got, "bce48eba743dccf303a182e8cb7731f5d48f42adcc76bdd54a4ceb72be6decd6");
    dataset_close(&set);
}

/* evaluation.md 1.13: SHA-256 of json.dumps([[context, continuation], ...]), documents shuffled by Random(42). */
static void test_shuffled_requests_equal_the_harness_test_data(void **state)
{
    (void)state;
    DataSet set;
    StrBuf text;
    Digest got;
    rows_shared(&set, &task_winogrande, "winogrande/dev.jsonl");
    uint64_t *order;
    CHECK_OK(MEM_NEW(order, set.n_doc));
    for (size_t i = 0; i < set.n_doc; i++)
        order[i] = i;
    PyRandom random;
    pyrandom_seed(&random, 42);
    pyrandom_shuffle(&random, order, set.n_doc);
    strbuf_init(&text);
    for (size_t i = 0; i < set.n_doc; i++)
        for (int c = 0; c < 2; c++) {
            strbuf_add_text(&text, i + (size_t)c == 0 ? "[[" : ", [");
            json_write_str(&text, set.doc[order[i]].context[c], true);
            strbuf_add_text(&text, ", ");
            json_write_str(&text, set.doc[order[i]].continuation[c], true);
            strbuf_add_text(&text, "]");
        }
    strbuf_add_text(&text, "]");
    CHECK_OK(sha256_of(text.data, text.len, &got));
    check_hex(&got, "90a3eff49de9173964d46f5ed57bcf9a78a72dd1bfe0e5323b25cebb40b49ea9");
    mem_free(order);
    strbuf_release(&text);
    dataset_close(&set);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_draw_is_one_stream_over_the_rows),
        cmocka_unit_test(test_draw_drops_the_scored_row),
        cmocka_unit_test(test_draw_again_where_duplicates_leave_too_few),
        cmocka_unit_test(test_draw_refuses_a_small_pool),
        cmocka_unit_test(test_draw_survives_failed_allocations),
        cmocka_unit_test(test_prompt_joins_shots_and_context),
        cmocka_unit_test(test_draws_equal_the_harness),
        cmocka_unit_test(test_hellaswag_prompts_equal_the_harness),
        cmocka_unit_test(test_arc_prompts_equal_the_harness),
        cmocka_unit_test(test_winogrande_prompts_equal_the_harness),
        cmocka_unit_test(test_gsm8k_prompts_equal_the_harness),
        cmocka_unit_test(test_winogrande_requests_equal_the_published_digest),
        cmocka_unit_test(test_shuffled_requests_equal_the_harness_test_data),
    };
    return TEST_MAIN(all);
}
