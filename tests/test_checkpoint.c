#include "tests/check.h"

#include "core/clock.h"
#include "kernels/device.h"
#include "model/checkpoint.h"
#include "model/convert.h"
#include "tests/ref_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- helpers -------------------------------------------------------------------------------------------------------------- */

static Device *cpu(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

/* A random model, saved; the folder. */
static const char *saved_model(Device *dev, const ModelConfig *cfg, DType dtype, uint64_t seed, Model **model)
{
    const char *folder = test_folder();

    CHECK_OK(model_random(model, dev, cfg, dtype, seed));
    ref_model_disturb(*model, seed);
    CHECK_OK(model_save(*model, folder));
    return folder;
}

static Status load(Model **out, Device *dev, const char *folder, DType dtype)
{
    Checkpoint *ckpt;
    Status st;

    TRY(checkpoint_open(&ckpt, folder));
    st = model_load(out, dev, ckpt, &(LoadOptions){.dtype = dtype, .hash = FILEHASH_AGAIN});
    checkpoint_close(ckpt);
    return st;
}

static size_t value_bytes(const ParamEntry *e) { return (size_t)(e->rows * e->cols) * dtype_bytes(e->value.dtype); }

static bool same_weights(const Model *a, const Model *b)
{
    if (a->params.count != b->params.count)
        return false;
    for (size_t i = 0; i < a->params.count; i++)
        if (memcmp(a->params.entry[i].value.data, b->params.entry[i].value.data, value_bytes(&a->params.entry[i])) != 0)
            return false;
    return true;
}

/* The tensors of a model as the writer takes them, for tests that change one before writing. */
typedef struct Tensors {
    StWrite item[64];
    char name[64][96];
    size_t count;
} Tensors;

static void collect(Tensors *t, const Model *m)
{
    StrBuf name;

    strbuf_init(&name);
    t->count = m->params.count;
    assert_true(t->count <= 60);
    for (size_t i = 0; i < t->count; i++) {
        const ParamEntry *e = &m->params.entry[i];
        const int rank = e->row->rows == DIM_ONE ? 1 : 2;

        CHECK_OK(param_name(e, &name));
        snprintf(t->name[i], sizeof t->name[i], "%s", name.data);
        t->item[i] = (StWrite){.name = t->name[i], .dtype = st_dtype_name(m->dtype), .rank = rank, .data = e->value.data};
        t->item[i].shape[0] = rank == 1 ? e->cols : e->rows;
        t->item[i].shape[1] = e->cols;
    }
    strbuf_release(&name);
}

static StWrite *item(Tensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->item[i].name, name) == 0)
            return &t->item[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void write_tensors(const Tensors *t, const char *folder, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(st_write(path, t->item, t->count, NULL, 0));
}

#define Q1 "model.layers.1.self_attn.q_proj.weight"

/* ---- round trips ---------------------------------------------------------------------------------------------------------- */

static void test_checkpoint_round_trip_keeps_every_bit(void **state)
{
    static const DType dtypes[] = {LT_F32, LT_BF16, LT_F16};
    Device *dev = cpu(2);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int variant = 0; variant < 2; variant++) {
            ModelConfig cfg = ref_model_config();
            Model *a, *b;
            const char *folder;

            cfg.tie_word_embeddings = cfg.qkv_bias = cfg.o_bias = cfg.mlp_bias = variant == 1;
            folder = saved_model(dev, &cfg, dtypes[i], 5, &a);
            CHECK_OK(load(&b, dev, folder, dtypes[i]));
            assert_true(same_weights(a, b));
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
    Device *dev = cpu(1);
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
    Device *dev = cpu(1);
    Model *m;

    (void)state;
    CHECK_OK(model_random(&m, dev, &cfg, LT_BF16, 1));
    assert_int_equal(model_bytes(&cfg, dev, LT_BF16, 0), m->memory.bytes + m->rope.memory.bytes);
    assert_int_equal(m->memory.used, m->memory.bytes);
    assert_true(model_bytes(&cfg, dev, LT_BF16, 64) < model_bytes(&cfg, dev, LT_BF16, 0));
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_random_depends_on_seed_alone(void **state)
{
    ModelConfig cfg = ref_model_config();
    Device *one = cpu(1), *four = cpu(4);
    Model *a, *b, *c;
    const ParamEntry *e;
    double sum = 0, squares = 0;
    int64_t n;

    (void)state;
    cfg.vocab_size = 20000; /* several chunks of work */
    CHECK_OK(model_random(&a, one, &cfg, LT_F32, 7));
    CHECK_OK(model_random(&b, four, &cfg, LT_F32, 7));
    CHECK_OK(model_random(&c, one, &cfg, LT_F32, 8));
    assert_true(same_weights(a, b));
    assert_false(same_weights(a, c));
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
    Device *dev = cpu(2);
    Model *wide, *narrow, *got;
    const char *wide_folder = saved_model(dev, &cfg, LT_F32, 5, &wide), *narrow_folder = saved_model(dev, &cfg, LT_BF16, 5, &narrow);

    (void)state;
    CHECK_OK(load(&got, dev, wide_folder, LT_BF16));
    assert_true(got->lossy_cast);
    assert_int_equal(got->stored, LT_F32);
    for (size_t i = 0; i < got->params.count; i++) {
        const ParamEntry *e = &got->params.entry[i], *w = &wide->params.entry[i];

        for (int64_t k = 0; k < e->rows * e->cols; k++) /* half a unit in the last of eight bits */
            check_close("rounded", (double)weights_at(e->value.data, LT_BF16, k), (double)weights_at(w->value.data, LT_F32, k), 0, 0x1p-8);
    }
    model_free(got);
    CHECK_OK(load(&got, dev, narrow_folder, LT_F32));
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

/* ---- what is wrong with weights ------------------------------------------------------------------------------------------- */

static void test_checkpoint_refuses_nan_infinity_and_overflow(void **state)
{
    static const struct {
        float value;
        DType compute;
        const char *named;
    } cases[] = {{NAN, LT_F32, "nan"}, {INFINITY, LT_F32, "inf"}, {-INFINITY, LT_BF16, "inf"}, {70000, LT_F16, "70000"}};
    const ModelConfig cfg = ref_model_config();
    Device *dev = cpu(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    float *q = params_find(&m->params, PARAM_Q, 1)->value.data, kept = q[3 * 20 + 7];
    Tensors t;

    (void)state;
    collect(&t, m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Status st;

        q[3 * 20 + 7] = cases[i].value;
        write_tensors(&t, folder, "model.safetensors");
        st = load(&got, dev, folder, cases[i].compute);
        assert_non_null(strstr(status_text(), Q1));
        assert_non_null(strstr(status_text(), "[3,7]"));
        assert_non_null(strstr(status_text(), "model.safetensors"));
        check_status(st, LT_E_INPUT, cases[i].named, "load", __FILE__, __LINE__);
    }
    q[3 * 20 + 7] = kept;
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_refuses_tensors_that_do_not_fit(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = cpu(1);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    static const double zeros[24 * 20];
    Tensors t;

    (void)state;
    collect(&t, m);
    item(&t, Q1)->name = "model.layers.1.self_attn.q.weight";
    write_tensors(&t, folder, "model.safetensors");
    CHECK_FAILS(load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "' is missing");
    collect(&t, m);
    item(&t, Q1)->shape[0] = 20;
    item(&t, Q1)->shape[1] = 24;
    write_tensors(&t, folder, "model.safetensors");
    CHECK_FAILS(load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "': expected shape [24,20], found [20,24]");
    collect(&t, m);
    item(&t, Q1)->dtype = "F64";
    item(&t, Q1)->data = zeros;
    write_tensors(&t, folder, "model.safetensors");
    CHECK_FAILS(load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "': expected dtype F32, BF16 or F16, found F64");
    collect(&t, m);
    item(&t, "model.norm.weight")->rank = 2; /* [20, 20] */
    item(&t, "model.norm.weight")->data = zeros;
    t.count--; /* no lm_head */
    write_tensors(&t, folder, "model.safetensors");
    CHECK_FAILS(load(&got, dev, folder, LT_F32), LT_E_INPUT, "found [20,20]; tensor 'lm_head.weight' is missing");
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_counts_unknown_tensors(void **state)
{
    static const float data[6];
    ModelConfig cfg = ref_model_config();
    Device *dev = cpu(1);
    Checkpoint *ckpt;
    size_t unknown;
    Model *m, *got;
    const char *folder;
    Tensors t;

    (void)state;
    cfg.tie_word_embeddings = true;
    folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    collect(&t, m);
    t.item[t.count++] = (StWrite){.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = "F32", .rank = 1, .shape = {3}, .data = data};
    t.item[t.count++] = (StWrite){.name = "lm_head.weight", .dtype = "F32", .rank = 1, .shape = {2}, .data = data};
    t.item[t.count++] = (StWrite){.name = "model.vision.weight", .dtype = "I32", .rank = 1, .shape = {2}, .data = data};
    write_tensors(&t, folder, "model.safetensors");
    CHECK_OK(checkpoint_open(&ckpt, folder));
    CHECK_OK(checkpoint_check(ckpt, &unknown));
    assert_int_equal(unknown, 1);
    checkpoint_close(ckpt);
    CHECK_OK(load(&got, dev, folder, LT_F32));
    assert_true(same_weights(m, got));
    model_free(got);
    model_free(m);
    device_close(dev);
}

/* ---- folders and files ---------------------------------------------------------------------------------------------------- */

static void test_checkpoint_open_refuses_folders(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = cpu(1);
    Checkpoint *ckpt;
    Model *m;
    const char *empty = test_folder(), *model = saved_model(dev, &cfg, LT_F32, 1, &m), *adapter = test_folder(), *pickle = test_folder();
    char name[512];

    (void)state;
    CHECK_FAILS(checkpoint_open(&ckpt, "no/such/folder"), LT_E_INPUT, "no/such/folder");
    CHECK_FAILS(checkpoint_open(&ckpt, empty), LT_E_INPUT, "config.json");
    test_file(adapter, "adapter_config.json", "{}", 2);
    CHECK_FAILS(checkpoint_open(&ckpt, adapter), LT_E_INPUT, "adapter");
    test_file(pickle, "pytorch_model.bin", "x", 1);
    CHECK_OK(model_save(m, pickle));
    snprintf(name, sizeof name, "%s/model.safetensors", pickle);
    assert_int_equal(remove(name), 0);
    CHECK_FAILS(checkpoint_open(&ckpt, pickle), LT_E_INPUT, "save_pretrained");
    test_file(model, "config.json", "{\"architectures\":[\"GPT2LMHeadModel\"]}", 37);
    CHECK_FAILS(checkpoint_open(&ckpt, model), LT_E_INPUT, "GPT2LMHeadModel");
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_sharded_equals_single(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = cpu(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    char path[512], index[8192] = "{\"weight_map\":{";
    Tensors all, half;

    (void)state;
    collect(&all, m);
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
        write_tensors(&half, folder, shard);
    }
    strcat(index, "}}");
    test_file(folder, "model.safetensors.index.json", index, strlen(index));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(remove(path), 0);
    CHECK_OK(load(&got, dev, folder, LT_F32));
    assert_true(same_weights(m, got));
    model_free(got);
    model_free(m);
    device_close(dev);
}

/* The digest is SHA-256 over the digests of config and weights: known or computed, it is the same, and it sees every byte. */
static void test_checkpoint_digest_follows_the_files(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = cpu(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    Checkpoint *ckpt;
    Digest parts[2], want, cached;
    char path[512];
    bool known;
    Tensors t;

    (void)state;
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL); /* hashes of files younger than a tick of the clock are not kept */
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(filehash_get(path, FILEHASH_AGAIN, &parts[0]));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(filehash_get(path, FILEHASH_AGAIN, &parts[1]));
    CHECK_OK(sha256_of(parts, sizeof parts, &want));
    CHECK_OK(load(&got, dev, folder, LT_F32));
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
    collect(&t, m);
    write_tensors(&t, folder, "model.safetensors");
    CHECK_OK(load(&got, dev, folder, LT_F32));
    assert_memory_not_equal(&got->digest, &want, sizeof want);
    model_free(got);
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_load_survives_lack_of_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const LoadOptions options = {.dtype = LT_BF16, .hash = FILEHASH_AGAIN};
    Device *dev = cpu(1);
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
    Device *dev = cpu(2);
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
        cmocka_unit_test(test_checkpoint_random_depends_on_seed_alone),
        cmocka_unit_test(test_checkpoint_load_notes_lossy_casts),
        cmocka_unit_test(test_convert_agrees_with_itself),
        cmocka_unit_test(test_checkpoint_refuses_nan_infinity_and_overflow),
        cmocka_unit_test(test_checkpoint_refuses_tensors_that_do_not_fit),
        cmocka_unit_test(test_checkpoint_counts_unknown_tensors),
        cmocka_unit_test(test_checkpoint_open_refuses_folders),
        cmocka_unit_test(test_checkpoint_sharded_equals_single),
        cmocka_unit_test(test_checkpoint_digest_follows_the_files),
        cmocka_unit_test(test_checkpoint_load_survives_lack_of_memory),
        cmocka_unit_test(test_checkpoint_loads_a_real_model),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
