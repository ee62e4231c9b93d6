/* Adapters made part of their base: the sums, the rounding, the folder that is written. */
#include "tests/check.h"

#include "model/convert.h"
#include "model/merge.h"
#include "model/runinfo.h"
#include "tests/adapters.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <stdio.h>
#include <stdlib.h>

static const char SOME[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": [\"q_proj\", \"o_proj\", \"up_proj\"],"
                           "\"layers_to_transform\": [1]}";

/* Opens an adapter on a base and writes the merged model. */
static Status merge(Device *dev, const char *base, const char *adapter, DType dtype, const char *out)
{
    Variant v = {0};
    size_t unknown;

    TRY(variant_open(&v, adapter, base, &unknown));
    const Status st = merge_write(&v, dev, dtype, out);
    variant_close(&v);
    return st;
}

/* ---- values --------------------------------------------------------------------------------------------------------------- */

/* In F32 the same bits as plain loops, which sum in the same order; in BF16 those rounded once, from an F32 base and from a BF16 base. */
static void check_values(DType stored, DType dtype)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    const char *out = test_folder(), *adapter = adapter_random(SOME, &cfg, 5);
    Model *base, *wide, *got;
    bool lossy = false;

    const char *folder = saved_model(dev, &cfg, stored, 3, &base);
    CHECK_OK(merge(dev, folder, adapter, dtype, out));
    CHECK_OK(saved_load(&got, dev, out, dtype));
    CHECK_OK(saved_load(&wide, dev, folder, LT_F32));
    Adapter *a = adapter_of(wide, adapter);
    adapter_merge_by_hand(wide, a);
    assert_int_equal(got->stored, dtype);
    for (size_t i = 0; i < got->params.count; i++) {
        const ParamEntry *x = &got->params.entry[i], *y = &wide->params.entry[i];
        float want[1024]; /* room for any dtype */

        assert_true(y->rows * y->cols <= 1024);
        weights_convert(want, dtype, y->value.data, LT_F32, y->rows * y->cols, &lossy);
        assert_memory_equal(x->value.data, want, (size_t)(x->rows * x->cols) * dtype_bytes(dtype));
    }
    adapter_free(a);
    model_free(wide);
    model_free(got);
    model_free(base);
    device_close(dev);
}

static void test_merge_rounds_once(void **state)
{
    (void)state;
    check_values(LT_F32, LT_F32);
    check_values(LT_F32, LT_BF16);
    check_values(LT_BF16, LT_BF16);
    check_values(LT_BF16, LT_F32);
    check_values(LT_F16, LT_F16);
}

/* Weights arrive in chunks that begin and end anywhere. */
static void test_factors_add_in_any_pieces(void **state)
{
    enum { ROWS = 24, COLS = 20, TOTAL = ROWS * COLS };
    const ModelConfig cfg = ref_model_config(); /* q_proj is [24, 20] */
    AdapterFolder *folder;
    Factors *factors;
    ParamList weights;
    float whole[TOTAL], pieces[TOTAL];
    TestRandom random = {3};

    (void)state;
    CHECK_OK(adapter_folder_open(&folder, adapter_random(SOME, &cfg, 5)));
    CHECK_OK(factors_read(&factors, folder, &cfg));
    CHECK_OK(params_build(&weights, &cfg));
    const ParamEntry *w = params_find(&weights, PARAM_Q, 1);
    assert_int_equal(w->rows * w->cols, TOTAL);
    assert_true(factors_touch(factors, w));
    assert_false(factors_touch(factors, params_find(&weights, PARAM_Q, 0)));
    assert_false(factors_touch(factors, params_find(&weights, PARAM_K, 1)));
    for (int i = 0; i < TOTAL; i++)
        whole[i] = pieces[i] = (float)test_normal(&random);
    factors_add(factors, w, 0, whole, TOTAL);
    for (int64_t from = 0, n; from < TOTAL; from += n) {
        n = 1 + (int64_t)(test_random(&random) % 47);
        n = n < TOTAL - from ? n : TOTAL - from;
        factors_add(factors, w, from, pieces + from, n);
    }
    assert_memory_equal(whole, pieces, sizeof whole);
    params_release(&weights);
    factors_free(factors);
    adapter_folder_close(folder);
}

/* A delta may leave the range of a dtype that base and factors fit. */
static void test_merge_refuses_an_overflow(void **state)
{
    static AdapterTensors t;
    const ModelConfig cfg = ref_model_config();
    const char *folder = test_folder(), *out = test_folder();
    Device *dev = saved_device(1);
    ParamList params;
    Model *base;

    (void)state;
    const char *model = saved_model(dev, &cfg, LT_F16, 3, &base);
    params_init_factors(&params);
    CHECK_OK(params_add_factors(&params, &cfg, PARAM_Q, 0, 1, 1));
    CHECK_OK(params_add_factors(&params, &cfg, PARAM_Q, 1, 1, 1));
    adapter_tensors_random(&t, &params, 1);
    for (size_t i = 0; i < t.count; i++)
        *(float *)(uintptr_t)t.item[i].data = 1000;
    adapter_config_file(folder, "{\"peft_type\": \"LORA\", \"r\": 1, \"lora_alpha\": 1, \"target_modules\": [\"q_proj\"]}");
    adapter_tensors_write(&t, folder);
    CHECK_FAILS(merge(dev, model, folder, LT_F16, out), LT_E_INPUT, "element [0,0]: expected a merged weight in the range of its dtype, found 1");
    CHECK_OK(merge(dev, model, folder, LT_BF16, out));
    adapter_tensors_free(&t);
    params_release(&params);
    model_free(base);
    device_close(dev);
}

/* ---- folders -------------------------------------------------------------------------------------------------------------- */

static void check_content(const char *folder, const char *name, const char *want)
{
    StrBuf path, text;

    strbuf_init(&path);
    strbuf_init(&text);
    CHECK_OK(path_join(&path, folder, name));
    assert_int_equal(file_exists(path.data), want != NULL);
    if (want != NULL) {
        CHECK_OK(file_read(path.data, 1000, &text));
        check_str(strbuf_str(&text), want, strlen(want));
    }
    strbuf_release(&text);
    strbuf_release(&path);
}

static void test_merge_copies_the_tokenizer_as_one(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    const char *adapter = adapter_random(SOME, &cfg, 5), *first = test_folder(), *second = test_folder();
    Model *base;

    (void)state;
    const char *model = saved_model(dev, &cfg, LT_F32, 3, &base);
    test_file(model, "tokenizer.json", "base's", 6);
    test_file(model, "special_tokens_map.json", "base's map", 10);
    test_file(model, "generation_config.json", "generation", 10);
    test_file(model, "README.md", "about the base", 14);
    CHECK_OK(merge(dev, model, adapter, LT_F32, first));
    check_content(first, "tokenizer.json", "base's");
    check_content(first, "special_tokens_map.json", "base's map");
    check_content(first, "generation_config.json", "generation");
    check_content(first, "README.md", NULL);
    test_file(adapter, "tokenizer.json", "adapter's", 9);
    CHECK_OK(merge(dev, model, adapter, LT_F32, second));
    check_content(second, "tokenizer.json", "adapter's");
    check_content(second, "special_tokens_map.json", NULL); /* of another tokenizer */
    check_content(second, "generation_config.json", "generation");
    model_free(base);
    device_close(dev);
}

/* A table of merged models knows ranks and bases as one of adapters does. */
static void test_merge_keeps_how_the_adapter_was_made(void **state)
{
    static const char OWN[] = "{\"label\": \"mine\", \"run\": \"r\", \"method\": \"lora\"}";
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    const char *adapter = adapter_random(SOME, &cfg, 5), *first = test_folder(), *second = test_folder(), *third = test_folder();
    RunInfo info;
    Arena memory;
    Model *base;

    (void)state;
    arena_init(&memory);
    const char *model = saved_model(dev, &cfg, LT_F32, 3, &base);
    CHECK_OK(merge(dev, model, adapter, LT_F32, first));
    CHECK_OK(runinfo_read(&info, &memory, first));
    assert_string_equal(info.method, "lora");
    assert_string_equal(info.base, model);
    assert_string_equal(info.label, "");
    assert_int_equal(info.rank, 3);
    test_file(adapter, "lethe.json", OWN, sizeof OWN - 1);
    CHECK_OK(merge(dev, model, adapter, LT_F32, second));
    CHECK_OK(runinfo_read(&info, &memory, second));
    assert_string_equal(info.label, "");
    assert_string_equal(info.run, "r");
    test_file(adapter, "lethe.json", "[]", 2); /* no reason not to merge */
    CHECK_OK(merge(dev, model, adapter, LT_F32, third));
    check_content(third, "lethe.json", NULL);
    arena_release(&memory);
    model_free(base);
    device_close(dev);
}

static void test_merge_spares_what_it_reads(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    const char *adapter = adapter_random(SOME, &cfg, 5);
    char same[4096];
    Model *base;

    (void)state;
    const char *model = saved_model(dev, &cfg, LT_F32, 3, &base);
    snprintf(same, sizeof same, "%s/.", model);
    CHECK_FAILS(merge(dev, model, adapter, LT_F32, same), LT_E_USAGE, "another folder");
    CHECK_FAILS(merge(dev, model, adapter, LT_F32, adapter), LT_E_USAGE, "another folder");
    model_free(base);
    device_close(dev);
}

/* What --dtype auto writes. */
static DType stored_in(const char *model)
{
    DType dtype = LT_DTYPES;
    Checkpoint *ckpt;

    CHECK_OK(checkpoint_open(&ckpt, model));
    CHECK_OK(checkpoint_stored_dtype(ckpt, &dtype));
    checkpoint_close(ckpt);
    return dtype;
}

static void test_merge_keeps_the_stored_dtype(void **state)
{
    static const DType dtype[] = {LT_F32, LT_BF16, LT_F16};
    static const float table[3];
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    SavedTensors t;
    Model *base;

    (void)state;
    for (size_t d = 0; d < sizeof dtype / sizeof *dtype; d++) {
        const char *model = saved_model(dev, &cfg, dtype[d], 3, &base);

        assert_int_equal(stored_in(model), dtype[d]);
        saved_collect(&t, base);
        t.item[t.count++] = (StWrite){.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = "F32", .rank = 1, .shape = {3}, .data = table};
        saved_write(&t, model, "model.safetensors");
        assert_int_equal(stored_in(model), dtype[d]); /* older files hold it; it is no weight, so it has no say */
        if (dtype[d] != LT_F32) { /* a weight of another dtype of the same width */
            t.item[3].dtype = dtype[d] == LT_BF16 ? "F16" : "BF16";
            saved_write(&t, model, "model.safetensors");
            assert_int_equal(stored_in(model), LT_F32);
        }
        model_free(base);
    }
    device_close(dev);
}

static void test_merge_survives_without_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    const char *adapter = adapter_random(SOME, &cfg, 5), *out = test_folder();
    Model *base;

    (void)state;
    const char *model = saved_model(dev, &cfg, LT_F32, 3, &base);
    const int64_t held = mem_held();
    Status st = LT_E_NOMEM;
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = merge(dev, model, adapter, LT_F32, out);
        mem_fail_at(0);
        if (st != LT_OK)
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
        assert_true(n < 5000);
    }
    json_use_mem();
    model_free(base);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_rounds_once),
        cmocka_unit_test(test_factors_add_in_any_pieces),
        cmocka_unit_test(test_merge_refuses_an_overflow),
        cmocka_unit_test(test_merge_copies_the_tokenizer_as_one),
        cmocka_unit_test(test_merge_keeps_how_the_adapter_was_made),
        cmocka_unit_test(test_merge_spares_what_it_reads),
        cmocka_unit_test(test_merge_keeps_the_stored_dtype),
        cmocka_unit_test(test_merge_survives_without_memory),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
