#include "tests/rows.h"

#include "core/file.h"
#include "eval/tasks/encode.h"
#include "eval/tasks/prompt.h"
#include "model/checkpoint.h"
#include "tests/world/bpe.h"
#include "tests/world/world.h"

#include <stdio.h>

static const char *const files[] = {
    "data/hellaswag/hellaswag_train.jsonl",
    "data/hellaswag/hellaswag_val.jsonl",
    "data/arc_challenge/ARC-Challenge-Train.jsonl",
    "data/arc_challenge/ARC-Challenge-Test.jsonl",
    "data/arc_challenge/validation.jsonl",
    "data/winogrande/train_xl.jsonl",
    "data/winogrande/dev.jsonl",
    "data/gsm8k/train.jsonl",
    "data/gsm8k/test.jsonl",
    "model/config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
};
enum { N_FILE = sizeof files / sizeof *files };

static Digest file_digest(const char *folder, const char *name)
{
    StrBuf path, text;
    Digest digest;
    strbuf_init(&path);
    strbuf_init(&text);
    CHECK_OK(path_join(&path, folder, name));
    CHECK_OK(file_read(path.data, (size_t)1 << 24, &text));
    assert_true(text.len > 0);
    CHECK_OK(sha256_of(text.data, text.len, &digest));
    strbuf_release(&path);
    strbuf_release(&text);
    return digest;
}

static void test_same_seed_makes_the_same_bytes(void **state)
{
    (void)state;
    const char *folder[3] = {test_folder(), test_folder(), test_folder()};
    CHECK_OK(world_make(folder[0], 7));
    CHECK_OK(world_make(folder[1], 7));
    CHECK_OK(world_make(folder[2], 8));
    for (int i = 0; i < N_FILE; i++) {
        const Digest a = file_digest(folder[0], files[i]), b = file_digest(folder[1], files[i]), c = file_digest(folder[2], files[i]);
        assert_memory_equal(&a, &b, sizeof a);
        /* Sizes and names of special tokens do not depend on the seed. */
        const bool settings = strstr(files[i], "config.json") != NULL;
        assert_int_equal(memcmp(&a, &c, sizeof a) == 0, settings);
    }
}

static void open_split(DataSet *set, const Task *task, const char *split, const char *folder)
{
    StrBuf path, data;
    strbuf_init(&path);
    strbuf_init(&data);
    CHECK_OK(path_join(&data, folder, "data"));
    CHECK_OK(dataset_find(&path, task, split, data.data, NULL));
    CHECK_OK(dataset_open(set, task, path.data));
    strbuf_release(&path);
    strbuf_release(&data);
}

static void test_rows_are_found_and_read(void **state)
{
    (void)state;
    const char *folder = test_folder();
    CHECK_OK(world_make_data(folder, 3));
    for (size_t i = 0; tasks[i] != NULL; i++) {
        DataSet scored, pool;
        int seen[6] = {0};
        open_split(&scored, tasks[i], tasks[i]->score_split, folder);
        open_split(&pool, tasks[i], tasks[i]->shot_split, folder);
        assert_true(scored.n_doc >= 60 && pool.n_doc > scored.n_doc);
        for (size_t k = 0; k < scored.n_doc; k++) {
            assert_in_range(scored.doc[k].n_choice, 0, 5);
            seen[scored.doc[k].n_choice]++;
        }
        if (tasks[i] == &task_arc_challenge)
            assert_true(seen[3] > 0 && seen[4] > 0 && seen[5] > 0);
        dataset_close(&scored);
        dataset_close(&pool);
    }
    DataSet hub;
    open_split(&hub, &task_arc_challenge, "validation", folder);
    assert_int_equal(hub.n_doc, 40);
    dataset_close(&hub);
}

/* What the rows are for: each of these must occur, or the tests that run on the world miss a case. */
static void test_rows_are_nasty(void **state)
{
    (void)state;
    const char *folder = test_folder();
    DataSet hella, wino, pool;
    int brackets = 0, spaces = 0, foreign = 0, punctuation = 0, shared = 0;
    CHECK_OK(world_make_data(folder, 3));
    open_split(&hella, &task_hellaswag, "validation", folder);
    open_split(&wino, &task_winogrande, "validation", folder);
    open_split(&pool, &task_winogrande, "train", folder);
    for (size_t i = 0; i < hella.n_doc; i++) {
        const Doc *doc = &hella.doc[i];
        const char *raw = json_string_value(json_object_get(doc->row, "ctx_a"));
        brackets += strstr(raw, "] stays]") != NULL;
        spaces += strstr(raw, "  ") != NULL;
        for (size_t k = 0; k < doc->shot.len; k++)
            foreign += (unsigned char)doc->shot.data[k] >= 0x80;
    }
    for (size_t i = 0; i < wino.n_doc; i++) {
        punctuation += wino.doc[i].continuation[0].data[1] == ',';
        for (size_t k = 0; k < pool.n_doc; k++)
            shared += json_equal(wino.doc[i].row, pool.doc[k].row);
    }
    assert_true(brackets > 0 && spaces > 0 && foreign > 0 && punctuation > 0);
    assert_true(shared >= 4);
    dataset_close(&hella);
    dataset_close(&wino);
    dataset_close(&pool);
}

static void test_golds_are_spread_over_the_choices(void **state)
{
    (void)state;
    const char *folder = test_folder();
    CHECK_OK(world_make_data(folder, 3));
    static const Task *const choice[] = {&task_hellaswag, &task_arc_challenge, &task_winogrande};
    for (int i = 0; i < 3; i++) {
        DataSet set;
        int seen[5] = {0};
        open_split(&set, choice[i], choice[i]->score_split, folder);
        for (size_t k = 0; k < set.n_doc; k++)
            seen[set.doc[k].gold]++;
        for (int g = 0; g < (choice[i] == &task_winogrande ? 2 : 4); g++)
            assert_true(seen[g] > (int)set.n_doc / 10);
        dataset_close(&set);
    }
}

static void test_bpe_learns_the_frequent_pair_first(void **state)
{
    (void)state;
    Bpe bpe;
    CHECK_OK(bpe_train(&bpe, str_of("abab abab cd cd cd")));
    const int a = BPE_BYTES + 'a', b = BPE_BYTES + 'b', ab = BPE_BYTES + 256;
    assert_int_equal(bpe.left[0], a);
    assert_int_equal(bpe.right[0], b);
    /* "c d" three times, then "ab ab" twice. */
    assert_int_equal(bpe.left[1], BPE_BYTES + ' ');
    assert_int_equal(bpe.right[1], BPE_BYTES + 'c');
    bool doubled = false;
    for (int i = 0; i < bpe.n_merge; i++)
        doubled = doubled || (bpe.left[i] == ab && bpe.right[i] == ab);
    assert_true(doubled);
    CHECK_OK(bpe_train(&bpe, str_of("")));
    assert_int_equal(bpe.n_merge, 0);
}

static void test_tokenizer_reads_its_own_language(void **state)
{
    (void)state;
    char model[512];
    const char *folder = test_folder();
    Tokenizer *t;
    Encoder *e;
    DataSet set;
    size_t n_token = 0, n_byte = 0;
    CHECK_OK(world_make_data(folder, 5));
    CHECK_OK(world_make_tokenizer(folder));
    snprintf(model, sizeof model, "%s/model", folder);
    CHECK_OK(tokenizer_load(&t, model));
    CHECK_OK(encoder_create(&e, t));
    assert_int_equal(tokenizer_size(t), BPE_VOCAB);
    assert_int_equal(tokenizer_bos(t), BPE_BOS);
    assert_int_equal(tokenizer_eos(t), BPE_EOS);
    assert_int_equal(tokenizer_pad(t), BPE_PAD);
    assert_int_equal(tokenizer_max_length(t), WORLD_MAX_LENGTH);
    open_split(&set, &task_hellaswag, "validation", folder);
    for (size_t i = 0; i < set.n_doc; i++) {
        Ids ids = {0};
        StrBuf back;
        strbuf_init(&back);
        CHECK_OK(encoder_encode(e, set.doc[i].shot, true, &ids));
        assert_int_equal(ids.id[0], BPE_BOS);
        CHECK_OK(tokenizer_decode(t, ids.id, ids.count, true, &back));
        check_str(strbuf_str(&back), set.doc[i].shot.data, set.doc[i].shot.len);
        n_token += ids.count;
        n_byte += set.doc[i].shot.len;
        ids_release(&ids);
        strbuf_release(&back);
    }
    /* Learned merges, not bytes: the language has few words. */
    assert_true(n_byte > 2 * n_token);
    dataset_close(&set);
    encoder_free(e);
    tokenizer_free(t);
}

static void test_model_opens_and_fits_the_prompts(void **state)
{
    (void)state;
    char model[512];
    const char *folder = test_folder();
    Checkpoint *ckpt;
    size_t unknown;
    CHECK_OK(world_make(folder, 5));
    snprintf(model, sizeof model, "%s/model", folder);
    CHECK_OK(checkpoint_open(&ckpt, model));
    CHECK_OK(checkpoint_check(ckpt, &unknown));
    assert_int_equal(unknown, 0);
    assert_int_equal(ckpt->cfg.vocab_size, BPE_VOCAB);
    assert_int_equal(ckpt->cfg.max_position_embeddings, WORLD_MAX_LENGTH);
    checkpoint_close(ckpt);
}

static void test_world_names_a_folder_it_cannot_make(void **state)
{
    (void)state;
    const char *file = test_file(test_folder(), "taken", "x", 1);
    CHECK_FAILS(world_make(file, 1), LT_E_IO, "taken");
    CHECK_FAILS(world_make_tokenizer("/nowhere"), LT_E_INPUT, "/nowhere");
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_same_seed_makes_the_same_bytes),
        cmocka_unit_test(test_rows_are_found_and_read),
        cmocka_unit_test(test_rows_are_nasty),
        cmocka_unit_test(test_golds_are_spread_over_the_choices),
        cmocka_unit_test(test_bpe_learns_the_frequent_pair_first),
        cmocka_unit_test(test_tokenizer_reads_its_own_language),
        cmocka_unit_test(test_model_opens_and_fits_the_prompts),
        cmocka_unit_test(test_world_names_a_folder_it_cannot_make),
    };
    return TEST_MAIN(all);
}
