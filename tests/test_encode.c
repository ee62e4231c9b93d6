#include "tests/rows.h"

#include "core/file.h"
#include "eval/tasks/encode.h"
#include "eval/tasks/prompt.h"
#include "tests/world/world.h"

#include <stdio.h>

/* A tokenizer and its encoder. */
typedef struct Words {
    Tokenizer *t;
    Encoder *e;
} Words;

static void words_open(Words *w, const char *folder)
{
    CHECK_OK(tokenizer_load(&w->t, folder));
    CHECK_OK(encoder_create(&w->e, w->t));
}

static void words_close(Words *w)
{
    encoder_free(w->e);
    tokenizer_free(w->t);
}

static const char *world_model(void)
{
    static char model[512];
    const char *folder = test_folder();
    CHECK_OK(world_make_data(folder, 1));
    CHECK_OK(world_make_tokenizer(folder));
    snprintf(model, sizeof model, "%s/model", folder);
    return model;
}

static Ids encoded(Words *w, const char *text, bool special)
{
    Ids ids = {0};
    CHECK_OK(encoder_encode(w->e, str_of(text), special, &ids));
    return ids;
}

/* The pair's ids are those of `left` and, from the left's length on, those of `whole`. */
static void check_pair(Words *w, BosRule bos, const char *context, const char *continuation, Ids left, Ids whole)
{
    Ids got = {0};
    int32_t n_context, n_continuation;
    CHECK_OK(ids_add(&got, 77)); /* what is there stays */
    CHECK_OK(encode_pair(w->e, w->t, bos, str_of(context), str_of(continuation), &got, &n_context, &n_continuation));
    assert_int_equal(n_context, left.count);
    assert_int_equal(n_context + n_continuation, whole.count);
    assert_int_equal(got.count, whole.count + 1);
    assert_int_equal(got.id[0], 77);
    assert_memory_equal(got.id + 1, left.id, left.count * sizeof *left.id);
    assert_memory_equal(got.id + 1 + left.count, whole.id + left.count, (whole.count - left.count) * sizeof *whole.id);
    ids_release(&got);
    ids_release(&left);
    ids_release(&whole);
}

static void check_refused(Words *w, BosRule bos, const char *context, const char *continuation, const char *part)
{
    Ids got = {0};
    int32_t n_context, n_continuation;
    CHECK_OK(ids_add(&got, 77));
    CHECK_FAILS(encode_pair(w->e, w->t, bos, str_of(context), str_of(continuation), &got, &n_context, &n_continuation), LT_E_INPUT, part);
    assert_int_equal(got.count, 1);
    ids_release(&got);
}

static void test_pair_is_context_and_rest_of_whole(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    check_pair(&w, BOS_AUTO, "the house", " of things", encoded(&w, "the house", true), encoded(&w, "the house of things", true));
    check_pair(&w, BOS_NO, "the house", " of things", encoded(&w, "the house", false), encoded(&w, "the house of things", false));
    check_pair(&w, BOS_YES, "the house", " of things", encoded(&w, "the house", true), encoded(&w, "the house of things", true));
    assert_int_equal(tokenizer_bos(w.t), 0);
    words_close(&w);
}

static void test_pair_moves_trailing_space_to_the_continuation(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    check_pair(&w, BOS_AUTO, "Question: \n", "the", encoded(&w, "Question:", true), encoded(&w, "Question: \nthe", true));
    check_pair(&w, BOS_AUTO, "a\xc2\xa0", "b", encoded(&w, "a", true),
               encoded(&w,
                       "a\xc2\xa0"
                       "b",
                       true));
    /* All of it moves: BOS alone is left. */
    check_pair(&w, BOS_AUTO, " ", "the", encoded(&w, "", true), encoded(&w, " the", true));
    words_close(&w);
}

/* "ou" and "st" were merged early in training: cut inside one, the context reads as it would alone. */
static void test_pair_keeps_the_context_where_a_merge_crosses(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    Ids apart = encoded(&w, "o", false), joined = encoded(&w, "oust", false);
    assert_int_equal(apart.count, 1);
    assert_true(joined.count < 4 && joined.id[0] != apart.id[0]);
    ids_release(&apart);
    ids_release(&joined);
    check_pair(&w, BOS_NO, "o", "ust", encoded(&w, "o", false), encoded(&w, "oust", false));
    check_refused(&w, BOS_NO, "o", "u", "no token of its own");
    words_close(&w);
}

static void test_pair_adds_no_second_bos(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    for (BosRule rule = BOS_AUTO; rule <= BOS_NO; rule++) {
        Ids left = encoded(&w, "<s>the", false);
        assert_int_equal(left.id[0], 0);
        assert_int_not_equal(left.id[1], 0);
        check_pair(&w, rule, "<s>the", " house", left, encoded(&w, "<s>the house", false));
    }
    words_close(&w);
}

static void test_pair_stands_on_one_prefix_token_without_context(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    for (BosRule rule = BOS_AUTO; rule <= BOS_NO; rule++) {
        Ids bos = {0};
        CHECK_OK(ids_add(&bos, tokenizer_bos(w.t)));
        check_pair(&w, rule, "", " the house", bos, encoded(&w, "<s> the house", false));
        bos = (Ids){0};
        CHECK_OK(ids_add(&bos, tokenizer_bos(w.t)));
        check_pair(&w, rule, "", "<s> the house", bos, encoded(&w, "<s> the house", false));
    }
    check_refused(&w, BOS_AUTO, "", "", "no token of its own");
    words_close(&w);
}

static void test_pair_refuses_what_cannot_be_scored(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    check_refused(&w, BOS_NO, " \n", "the", "context ' \n' has no token");
    check_refused(&w, BOS_AUTO, "the", "", "no token of its own");
    check_refused(&w, BOS_AUTO, "the", "\xff", "UTF-8");
    words_close(&w);
}

/* The world's tokenizer without a post-processor, and with or without names for its special tokens. */
static const char *bare_tokenizer(const char *config)
{
    char path[600];
    json_t *root;
    StrBuf text;
    const char *folder = test_folder();
    snprintf(path, sizeof path, "%s/tokenizer.json", world_model());
    CHECK_OK(json_load_path(&root, path, (size_t)1 << 24));
    json_object_set_new(root, "post_processor", json_null());
    strbuf_init(&text);
    CHECK_OK(json_write(&text, root, (JsonStyle){.indent = -1}));
    test_file(folder, "tokenizer.json", text.data, text.len);
    test_file(folder, "tokenizer_config.json", config, strlen(config));
    json_decref(root);
    strbuf_release(&text);
    return folder;
}

static void test_bos_rules_for_a_tokenizer_that_adds_none(void **state)
{
    (void)state;
    Words w;
    words_open(&w, bare_tokenizer("{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}"));
    check_pair(&w, BOS_AUTO, "the", " house", encoded(&w, "the", false), encoded(&w, "the house", false));
    check_pair(&w, BOS_NO, "the", " house", encoded(&w, "the", false), encoded(&w, "the house", false));
    check_pair(&w, BOS_YES, "the", " house", encoded(&w, "<s>the", false), encoded(&w, "<s>the house", false));
    check_pair(&w, BOS_YES, "<s>the", " house", encoded(&w, "<s>the", false), encoded(&w, "<s>the house", false));
    words_close(&w);
}

static void test_bos_rules_without_a_bos(void **state)
{
    (void)state;
    Words w;
    words_open(&w, bare_tokenizer("{\"eos_token\": \"</s>\"}"));
    Ids eos = {0};
    CHECK_OK(ids_add(&eos, 1));
    check_pair(&w, BOS_AUTO, "", " house", eos, encoded(&w, "</s> house", false));
    check_refused(&w, BOS_YES, "the", " house", "bos_token");
    words_close(&w);
    words_open(&w, bare_tokenizer("{}"));
    check_refused(&w, BOS_AUTO, "", " house", "bos_token");
    check_pair(&w, BOS_AUTO, "the", " house", encoded(&w, "the", false), encoded(&w, "the house", false));
    words_close(&w);
}

static void test_pair_survives_failed_allocations(void **state)
{
    (void)state;
    Words w;
    words_open(&w, world_model());
    for (int empty = 0; empty < 2; empty++) {
        uint64_t n = 0;
        for (Status st = LT_E_NOMEM; st != LT_OK;) {
            Ids got = {0};
            int32_t n_context = -1, n_continuation;
            mem_fail_at(++n);
            st = encode_pair(w.e, w.t, BOS_AUTO, str_of(empty ? "" : "a small house"), str_of(" of many things"), &got, &n_context,
                             &n_continuation);
            mem_fail_at(0);
            if (st != LT_OK) {
                CHECK_FAILS(st, LT_E_NOMEM, NULL);
                assert_int_equal(got.count, 0);
                assert_int_equal(n_context, -1);
            }
            ids_release(&got);
        }
        assert_true(n > 1);
    }
    words_close(&w);
}

/* ---- against the harness ---- */

static void check_ids(const int32_t *got, size_t n, const json_t *want)
{
    assert_int_equal(n, json_array_size(want));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got[i], json_integer_value(json_array_get(want, i)));
}

static void check_choice(Words *w, const Doc *doc, int i, const DataSet *pool, const Shots *shots, const json_t *want)
{
    StrBuf prompt;
    Ids ids = {0};
    Digest digest;
    int32_t n_context, n_continuation;
    strbuf_init(&prompt);
    CHECK_OK(prompt_build(&prompt, doc, doc->n_context > 1 ? i : 0, pool, shots));
    CHECK_OK(sha256_of(prompt.data, prompt.len, &digest));
    assert_string_equal(digest_hex(&digest).text, json_string_value(json_object_get(want, "context_sha256")));
    const json_t *continuation = json_object_get(want, "continuation");
    check_str(doc->continuation[i], json_string_value(continuation), json_string_length(continuation));
    CHECK_OK(encode_pair(w->e, w->t, BOS_AUTO, strbuf_str(&prompt), doc->continuation[i], &ids, &n_context, &n_continuation));
    assert_int_equal(n_context, json_integer_value(json_object_get(want, "n_ctx")));
    assert_int_equal(n_continuation, json_integer_value(json_object_get(want, "n_cont")));
    check_ids(ids.id + n_context, (size_t)n_continuation, json_object_get(want, "cont_ids"));
    if (json_object_get(want, "ids") != NULL)
        check_ids(ids.id, ids.count, json_object_get(want, "ids"));
    ids_release(&ids);
    strbuf_release(&prompt);
}

/* One file of golden/eval/loglikelihood: MODEL/TASK_Nshot[_fewshot_split_train]. */
typedef struct GoldenFile {
    const char *name;
    const Task *task;
    const char *scored, *pool;
    int32_t n;
    bool one_more;
} GoldenFile;

static void check_file(Words *w, const char *model, const GoldenFile *g)
{
    char name[160];
    DataSet scored, pool;
    Shots shots;
    LineReader *reader;
    Str line;
    bool more;
    snprintf(name, sizeof name, "golden/eval/loglikelihood/%s/%s.jsonl.gz", model, g->name);
    const char *path = test_data(name);
    rows_shared(&scored, g->task, g->scored);
    rows_shared(&pool, g->task, g->pool);
    CHECK_OK(shots_draw(&shots, &scored, &pool, g->n, g->one_more, FEWSHOT_SEED));
    CHECK_OK(lines_open(&reader, path));
    size_t seen = 0;
    for (;;) {
        json_t *row;
        CHECK_OK(lines_next(reader, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&row, line, path, lines_number(reader)));
        const Doc *doc = &scored.doc[json_integer_value(json_object_get(row, "doc_id"))];
        const json_t *choices = json_object_get(row, "choices");
        assert_int_equal(doc->gold, json_integer_value(json_object_get(row, "gold")));
        assert_int_equal(doc->n_choice, json_array_size(choices));
        for (int i = 0; i < doc->n_choice; i++)
            check_choice(w, doc, i, &pool, &shots, json_array_get(choices, (size_t)i));
        json_decref(row);
        seen++;
    }
    assert_true(seen >= 10);
    lines_close(reader);
    shots_release(&shots);
    dataset_close(&scored);
    dataset_close(&pool);
}

static const GoldenFile golden[] = {
    {"hellaswag_0shot", &task_hellaswag, "hellaswag/validation.jsonl", "hellaswag/train.jsonl", 0, true},
    {"hellaswag_10shot", &task_hellaswag, "hellaswag/validation.jsonl", "hellaswag/train.jsonl", 10, true},
    {"arc_challenge_0shot", &task_arc_challenge, "arc_challenge/validation.jsonl", "arc_challenge/train.jsonl", 0, false},
    {"winogrande_0shot", &task_winogrande, "winogrande/dev.jsonl", "winogrande/train_xl.jsonl", 0, true},
    {"winogrande_5shot", &task_winogrande, "winogrande/dev.jsonl", "winogrande/train_xl.jsonl", 5, true},
    {"arc_challenge_25shot", &task_arc_challenge, "arc_challenge/validation.jsonl", "arc_challenge/train.jsonl", 25, false},
    {"winogrande_5shot_fewshot_split_train", &task_winogrande, "winogrande/dev.jsonl", "winogrande/train_xl.jsonl", 5, false},
};

static void test_minimind_ids_equal_the_harness(void **state)
{
    (void)state;
    Words w;
    test_data("data/models/minimind2-small/tokenizer.json");
    words_open(&w, test_data("data/models/minimind2-small"));
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++)
        check_file(&w, "minimind2-small", &golden[i]);
    words_close(&w);
}

/* Adds BOS. The last two files were made with the other model only. */
static void test_stories_ids_equal_the_harness(void **state)
{
    (void)state;
    Words w;
    test_data("golden/eval/tokenizer_stories260K/tokenizer.json");
    words_open(&w, test_data("golden/eval/tokenizer_stories260K"));
    for (size_t i = 0; i + 2 < sizeof golden / sizeof *golden; i++)
        check_file(&w, "stories260K", &golden[i]);
    words_close(&w);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_pair_is_context_and_rest_of_whole),
        cmocka_unit_test(test_pair_moves_trailing_space_to_the_continuation),
        cmocka_unit_test(test_pair_keeps_the_context_where_a_merge_crosses),
        cmocka_unit_test(test_pair_adds_no_second_bos),
        cmocka_unit_test(test_pair_stands_on_one_prefix_token_without_context),
        cmocka_unit_test(test_pair_refuses_what_cannot_be_scored),
        cmocka_unit_test(test_bos_rules_for_a_tokenizer_that_adds_none),
        cmocka_unit_test(test_bos_rules_without_a_bos),
        cmocka_unit_test(test_pair_survives_failed_allocations),
        cmocka_unit_test(test_minimind_ids_equal_the_harness),
        cmocka_unit_test(test_stories_ids_equal_the_harness),
    };
    return TEST_MAIN(all);
}
