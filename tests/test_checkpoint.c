#include "tests/check.h"

#include "core/clock.h"
#include "kernels/backend.h"
#include "model/convert.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- round trips ---------------------------------------------------------------------------------------------------------- */

static void test_checkpoint_round_trip_keeps_every_bit(void **state)
{
    static const DType dtypes[] = {LT_F32, LT_BF16, LT_F16};
    Device *dev = saved_device(2);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int variant = 0; variant < 2; variant++) {
            ModelConfig cfg = ref_model_config();
            Model *a, *b;
            const char *folder;

            cfg.tie_word_embeddings = cfg.qkv_bias = cfg.o_bias = cfg.mlp_bias = variant == 1;
            folder = saved_model(dev, &cfg, dtypes[i], 5, &a);
            CHECK_OK(saved_load(&b, dev, folder, dtypes[i]));
            assert_true(saved_same(a, b));
            assert_int_equal(b->stored, dtypes[i]);
            assert_false(b->lossy_cast);
            assert_int_equal(b->cfg.torch_dtype, dtypes[i]);
            assert_int_equal(b->cfg.tie_word_embeddings, variant == 1);
            assert_int_equal(b->cfg.o_bias, variant == 1);
            assert_ptr_equal(b->head.data == b->embed.data, variant == 1);
            model_free(a);
            model_free(b);
        }
    device_close(dev);
}

static void test_checkpoint_joined_views_cover_their_parts(void **state)
{
    ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    Model *m;

    (void)state;
    cfg.qkv_bias = true;
    CHECK_OK(model_random(&m, dev, &cfg, LT_F32, 1));
    assert_int_equal(m->layer[1].qkv.rows, (4 + 2 * 2) * 6);
    assert_int_equal(m->layer[1].qkv.cols, 20);
    assert_int_equal(m->layer[1].qkv_bias.cols, (4 + 2 * 2) * 6);
    assert_int_equal(m->layer[1].gate_up.rows, 2 * 28);
    assert_ptr_equal(tensor_rows(m->layer[1].qkv, 4 * 6, 1).data, params_find(&m->params, PARAM_K, 1)->value.data);
    assert_ptr_equal(tensor_rows(m->layer[1].gate_up, 28, 1).data, params_find(&m->params, PARAM_UP, 1)->value.data);
    assert_false(tensor_is_set(m->layer[1].o_bias));
    assert_false(tensor_is_set(m->layer[1].q_norm));
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_plan_is_exact(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    Model *m;

    (void)state;
    CHECK_OK(model_random(&m, dev, &cfg, LT_BF16, 1));
    assert_int_equal(model_bytes(&cfg, dev, LT_BF16, 0), m->memory.bytes + m->rope.memory.bytes);
    assert_int_equal(m->memory.used, m->memory.bytes);
    assert_true(model_bytes(&cfg, dev, LT_BF16, 64) < model_bytes(&cfg, dev, LT_BF16, 0));
    model_free(m);
    device_close(dev);
}

/* What cannot be planned is too large for every device, and leaves no text that a later failure would be reported with. */
static void check_beyond_plan(const ModelConfig *cfg, int64_t max_position)
{
    Device *dev = saved_device(1);

    assert_true(model_bytes(cfg, dev, LT_BF16, max_position) == SIZE_MAX);
    assert_string_equal(status_text(), "");
    device_close(dev);
}

static void test_checkpoint_plan_beyond_the_address_space(void **state)
{
    ModelConfig cfg = ref_model_config();

    (void)state;
    check_beyond_plan(&cfg, INT64_MAX / 2);
    cfg.vocab_size = (int64_t)1 << 60;
    check_beyond_plan(&cfg, 0);
}

static void test_checkpoint_random_depends_on_seed_alone(void **state)
{
    ModelConfig cfg = ref_model_config();
    Device *one = saved_device(1), *four = saved_device(4);
    Model *a, *b, *c;
    const ParamEntry *e;
    double sum = 0, squares = 0;
    int64_t n;

    (void)state;
    cfg.vocab_size = 20000; /* several chunks of work */
    CHECK_OK(model_random(&a, one, &cfg, LT_F32, 7));
    CHECK_OK(model_random(&b, four, &cfg, LT_F32, 7));
    CHECK_OK(model_random(&c, one, &cfg, LT_F32, 8));
    assert_true(saved_same(a, b));
    assert_false(saved_same(a, c));
    e = params_find(&a->params, PARAM_EMBED, -1);
    n = e->rows * e->cols;
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)e->value.data)[i];

        sum += x;
        squares += x * x;
    }
    /* 400000 draws: mean within 5 of 0.3 / 632, the relative error of the variance within 5 of sqrt(2 / 400000) */
    check_close("mean", sum / (double)n, 0, 5 * 0.3 / sqrt((double)n), 0);
    check_close("variance", squares / (double)n, 0.09, 0, 5 * sqrt(2 / (double)n));
    check_close("norm weight", (double)((const float *)a->norm.data)[3], 1, 0, 0);
    model_free(a);
    model_free(b);
    model_free(c);
    device_close(one);
    device_close(four);
}

/* ---- casts ---------------------------------------------------------------------------------------------------------------- */

static void test_checkpoint_load_notes_lossy_casts(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *wide, *narrow, *got;
    const char *wide_folder = saved_model(dev, &cfg, LT_F32, 5, &wide), *narrow_folder = saved_model(dev, &cfg, LT_BF16, 5, &narrow);

    (void)state;
    CHECK_OK(saved_load(&got, dev, wide_folder, LT_BF16));
    assert_true(got->lossy_cast);
    assert_int_equal(got->stored, LT_F32);
    for (size_t i = 0; i < got->params.count; i++) {
        const ParamEntry *e = &got->params.entry[i], *w = &wide->params.entry[i];

        for (int64_t k = 0; k < e->rows * e->cols; k++) /* half a unit in the last of eight bits */
            check_close("rounded", (double)weights_at(e->value.data, LT_BF16, k), (double)weights_at(w->value.data, LT_F32, k), 0, 0x1p-8);
    }
    model_free(got);
    CHECK_OK(saved_load(&got, dev, narrow_folder, LT_F32));
    assert_false(got->lossy_cast);
    assert_int_equal(got->stored, LT_BF16);
    for (int64_t k = 0; k < 20; k++)
        assert_true(weights_at(got->embed.data, LT_F32, k) == weights_at(narrow->embed.data, LT_BF16, k));
    model_free(got);
    model_free(wide);
    model_free(narrow);
    device_close(dev);
}

static void test_convert_agrees_with_itself(void **state)
{
    static const DType dtypes[] = {LT_BF16, LT_F16};

    (void)state;
    for (size_t d = 0; d < 2; d++)
        for (uint32_t bits = 0; bits < 0x10000; bits++) {
            uint16_t half = (uint16_t)bits, back;
            bool lossy = false;
            float wide;

            if (weights_first_bad(&half, dtypes[d], 1) >= 0)
                continue;
            weights_convert(&wide, LT_F32, &half, dtypes[d], 1, &lossy);
            weights_convert(&back, dtypes[d], &wide, LT_F32, 1, &lossy);
            assert_int_equal(back, half);
            assert_false(lossy);
        }
}

/* ---- folders and files ---------------------------------------------------------------------------------------------------- */

static void test_checkpoint_sharded_equals_single(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    char path[512], index[8192] = "{\"weight_map\":{";
    SavedTensors all, half;

    (void)state;
    saved_collect(&all, m);
    for (int s = 0; s < 2; s++) {
        char shard[64];

        snprintf(shard, sizeof shard, "model-0000%d-of-00002.safetensors", s + 1);
        half.count = 0;
        for (size_t i = 0; i < all.count; i++)
            if ((int)(i % 3 == 0) == s) {
                const size_t len = strlen(index);

                snprintf(index + len, sizeof index - len, "%s\"%s\":\"%s\"", index[len - 1] == '{' ? "" : ",", all.item[i].name, shard);
                half.item[half.count++] = all.item[i];
            }
        saved_write(&half, folder, shard);
    }
    strcat(index, "}}");
    test_file(folder, "model.safetensors.index.json", index, strlen(index));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(remove(path), 0);
    CHECK_OK(saved_load(&got, dev, folder, LT_F32));
    assert_true(saved_same(m, got));
    model_free(got);
    model_free(m);
    device_close(dev);
}

/* A device whose memory host code may not touch goes another way: staged in waves, uploaded, downloaded to save. Nine layers are more
 * chunks than one wave holds. */
static void test_checkpoint_staging_changes_nothing(void **state)
{
    ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    const Backend *const plain = dev->table;
    Backend staged = *plain;
    Model *direct, *m, *got;
    const char *folder;

    (void)state;
    cfg.num_hidden_layers = 9;
    cfg.vocab_size = 30000; /* and chunks of full size */
    CHECK_OK(model_random(&direct, dev, &cfg, LT_BF16, 5));
    staged.name = "staged";
    dev->table = &staged;
    CHECK_OK(model_random(&m, dev, &cfg, LT_BF16, 5));
    assert_true(saved_same(m, direct));
    folder = test_folder();
    CHECK_OK(model_save(m, folder));
    CHECK_OK(saved_load(&got, dev, folder, LT_BF16));
    assert_true(saved_same(got, direct));
    dev->table = plain;
    model_free(m);
    CHECK_OK(saved_load(&m, dev, folder, LT_BF16));
    assert_memory_equal(&m->digest, &got->digest, sizeof m->digest);
    model_free(direct);
    model_free(m);
    model_free(got);
    device_close(dev);
}

/* The digest is SHA-256 over the digests of config and weights: known or computed, it is the same, and it sees every byte. */
static void test_checkpoint_digest_follows_the_files(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    Checkpoint *ckpt;
    Digest parts[2], want, cached;
    char path[512];
    bool known;
    SavedTensors t;

    (void)state;
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL); /* hashes of files younger than a tick of the clock are not kept */
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(filehash_get(path, FILEHASH_AGAIN, &parts[0]));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(filehash_get(path, FILEHASH_AGAIN, &parts[1]));
    CHECK_OK(sha256_of(parts, sizeof parts, &want));
    CHECK_OK(saved_load(&got, dev, folder, LT_F32));
    assert_memory_equal(&got->digest, &want, sizeof want);
    model_free(got);
    CHECK_OK(checkpoint_open(&ckpt, folder));
    CHECK_OK(model_load(&got, dev, ckpt, &(LoadOptions){.dtype = LT_BF16, .hash = FILEHASH_CACHED}));
    assert_memory_equal(&got->digest, &want, sizeof want);
    CHECK_OK(checkpoint_digest(ckpt, FILEHASH_CACHED, &cached, &known));
    assert_true(known);
    assert_memory_equal(&cached, &want, sizeof want);
    CHECK_OK(checkpoint_digest(ckpt, FILEHASH_AGAIN, &cached, &known));
    assert_false(known);
    checkpoint_close(ckpt);
    model_free(got);
    ((float *)m->norm.data)[0] += 1;
    saved_collect(&t, m);
    saved_write(&t, folder, "model.safetensors");
    CHECK_OK(saved_load(&got, dev, folder, LT_F32));
    assert_memory_not_equal(&got->digest, &want, sizeof want);
    model_free(got);
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_load_survives_lack_of_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const LoadOptions options = {.dtype = LT_BF16, .hash = FILEHASH_AGAIN};
    Device *dev = saved_device(1);
    Checkpoint *ckpt;
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    uint64_t before, all;

    (void)state;
    CHECK_OK(checkpoint_open(&ckpt, folder));
    before = mem_count();
    CHECK_OK(model_load(&got, dev, ckpt, &options));
    model_free(got);
    all = mem_count() - before;
    for (uint64_t n = 1; n <= all; n++) {
        const int64_t held = mem_held();
        Status st;

        mem_fail_at(n);
        st = model_load(&got, dev, ckpt, &options);
        mem_fail_at(0);
        if (st == LT_OK) /* a hash that cannot be remembered is no error */
            model_free(got);
        else
            check_status(st, LT_E_NOMEM, NULL, "model_load", __FILE__, __LINE__);
        assert_int_equal(mem_held(), held);
    }
    checkpoint_close(ckpt);
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_loads_a_real_model(void **state)
{
    const char *folder = test_data("data/models/minimind2-small");
    Device *dev = saved_device(2);
    Checkpoint *ckpt;
    Model *m;
    double start;

    (void)state;
    CHECK_OK(checkpoint_open(&ckpt, folder));
    for (int i = 0; i < 2; i++) {
        start = clock_s();
        CHECK_OK(model_load(&m, dev, ckpt, &(LoadOptions){.dtype = LT_F32, .max_position = 2048, .hash = i == 0 ? FILEHASH_AGAIN : FILEHASH_CACHED}));
        print_message("minimind2-small, %s: %.3f s\n", i == 0 ? "hashed" : "hash known", clock_s() - start);
        assert_int_equal(m->params.count, 8 * 9 + 2);
        model_free(m);
    }
    checkpoint_close(ckpt);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_round_trip_keeps_every_bit),
        cmocka_unit_test(test_checkpoint_joined_views_cover_their_parts),
        cmocka_unit_test(test_checkpoint_plan_is_exact),
        cmocka_unit_test(test_checkpoint_plan_beyond_the_address_space),
        cmocka_unit_test(test_checkpoint_random_depends_on_seed_alone),
        cmocka_unit_test(test_checkpoint_load_notes_lossy_casts),
        cmocka_unit_test(test_convert_agrees_with_itself),
        cmocka_unit_test(test_checkpoint_sharded_equals_single),
        cmocka_unit_test(test_checkpoint_staging_changes_nothing),
        cmocka_unit_test(test_checkpoint_digest_follows_the_files),
        cmocka_unit_test(test_checkpoint_load_survives_lack_of_memory),
        cmocka_unit_test(test_checkpoint_loads_a_real_model),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
