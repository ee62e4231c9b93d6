#include "tests/check.h"

#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define Q1 "model.layers.1.self_attn.q_proj.weight"

static void test_checkpoint_refuses_nan_infinity_and_overflow(void **state)
{
    static const struct {
        float value;
        DType compute;
        const char *named;
    } cases[] = {{NAN, LT_F32, "nan"}, {INFINITY, LT_F32, "inf"}, {-INFINITY, LT_BF16, "inf"}, {70000, LT_F16, "70000"}};
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    float *q = params_find(&m->params, PARAM_Q, 1)->value.data, kept = q[3 * 20 + 7];
    SavedTensors t;

    (void)state;
    saved_collect(&t, m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Status st;

        q[3 * 20 + 7] = cases[i].value;
        saved_write(&t, folder, "model.safetensors");
        st = saved_load(&got, dev, folder, cases[i].compute);
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
    Device *dev = saved_device(1);
    Model *m, *got;
    const char *folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    static const double zeros[24 * 20];
    SavedTensors t;

    (void)state;
    saved_collect(&t, m);
    saved_item(&t, Q1)->name = "model.layers.1.self_attn.q.weight";
    saved_write(&t, folder, "model.safetensors");
    CHECK_FAILS(saved_load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "' is missing");
    saved_collect(&t, m);
    saved_item(&t, Q1)->shape[0] = 20;
    saved_item(&t, Q1)->shape[1] = 24;
    saved_write(&t, folder, "model.safetensors");
    CHECK_FAILS(saved_load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "': expected shape [24,20], found [20,24]");
    saved_collect(&t, m);
    saved_item(&t, Q1)->dtype = "F64";
    saved_item(&t, Q1)->data = zeros;
    saved_write(&t, folder, "model.safetensors");
    CHECK_FAILS(saved_load(&got, dev, folder, LT_F32), LT_E_INPUT, "'" Q1 "': expected dtype F32, BF16 or F16, found F64");
    saved_collect(&t, m);
    saved_item(&t, "model.norm.weight")->rank = 2; /* [20, 20] */
    saved_item(&t, "model.norm.weight")->data = zeros;
    t.count--; /* no lm_head */
    saved_write(&t, folder, "model.safetensors");
    CHECK_FAILS(saved_load(&got, dev, folder, LT_F32), LT_E_INPUT, "found [20,20]; tensor 'lm_head.weight' is missing");
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_counts_unknown_tensors(void **state)
{
    static const float data[6];
    ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    Checkpoint *ckpt;
    size_t unknown;
    Model *m, *got;
    const char *folder;
    SavedTensors t;

    (void)state;
    cfg.tie_word_embeddings = true;
    folder = saved_model(dev, &cfg, LT_F32, 5, &m);
    saved_collect(&t, m);
    t.item[t.count++] = (StWrite){.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = "F32", .rank = 1, .shape = {3}, .data = data};
    t.item[t.count++] = (StWrite){.name = "lm_head.weight", .dtype = "F32", .rank = 1, .shape = {2}, .data = data};
    t.item[t.count++] = (StWrite){.name = "model.vision.weight", .dtype = "I32", .rank = 1, .shape = {2}, .data = data};
    saved_write(&t, folder, "model.safetensors");
    CHECK_OK(checkpoint_open(&ckpt, folder));
    CHECK_OK(checkpoint_check(ckpt, &unknown));
    assert_int_equal(unknown, 1);
    checkpoint_close(ckpt);
    CHECK_OK(saved_load(&got, dev, folder, LT_F32));
    assert_true(saved_same(m, got));
    model_free(got);
    model_free(m);
    device_close(dev);
}

static void test_checkpoint_open_refuses_folders(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    Checkpoint *ckpt;
    Model *m;
    const char *empty = test_folder(), *model = saved_model(dev, &cfg, LT_F32, 1, &m), *adapter = test_folder();
    const char *pickle = test_folder(), *deepspeed = test_folder();
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
    test_file(pickle, "training_args.bin", "x", 1); /* of the Trainer of transformers; no weights */
    snprintf(name, sizeof name, "%s/pytorch_model.bin", pickle);
    assert_int_equal(remove(name), 0);
    CHECK_FAILS(checkpoint_open(&ckpt, pickle), LT_E_INPUT, "expected model.safetensors or model.safetensors.index.json, found neither");
    CHECK_OK(model_save(m, pickle));
    test_file(pickle, "pytorch_model.bin", "x", 1);
    snprintf(name, sizeof name, "%s/config.json", pickle);
    assert_int_equal(remove(name), 0);
    CHECK_FAILS(checkpoint_open(&ckpt, pickle), LT_E_INPUT, "config.json"); /* it has safetensors, so no word about converting */
    snprintf(name, sizeof name, "%s/global_step100", deepspeed);
    CHECK_OK(dir_make(name));
    CHECK_FAILS(checkpoint_open(&ckpt, deepspeed), LT_E_INPUT, "zero_to_fp32.py");
    test_file(model, "config.json", "{\"architectures\":[\"GPT2LMHeadModel\"]}", 37);
    CHECK_FAILS(checkpoint_open(&ckpt, model), LT_E_INPUT, "GPT2LMHeadModel");
    model_free(m);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_refuses_nan_infinity_and_overflow),
        cmocka_unit_test(test_checkpoint_refuses_tensors_that_do_not_fit),
        cmocka_unit_test(test_checkpoint_counts_unknown_tensors),
        cmocka_unit_test(test_checkpoint_open_refuses_folders),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
