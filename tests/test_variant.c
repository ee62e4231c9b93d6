/* A checkpoint argument: a model or an adapter with its base, and one base in memory for many adapters. */
#include "tests/check.h"

#include "model/variant.h"
#include "tests/adapters.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <stdio.h>
#include <stdlib.h>

static const char ALL[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": \"all-linear\"}";

static const LoadOptions plain = {.dtype = LT_F32};

static void open_and_load(Variant *v, ModelShelf *shelf, Device *dev, const char *argument, const char *base, AdapterUse use)
{
    size_t unknown;

    CHECK_OK(variant_open(v, argument, base, &unknown));
    assert_int_equal(unknown, 0);
    CHECK_OK(variant_load(v, shelf, dev, &plain, use));
}

static void test_variant_keeps_a_base_for_the_next(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const char *first = adapter_random(ALL, &cfg, 5), *second = adapter_random(ALL, &cfg, 6);
    Device *dev = saved_device(1);
    ModelShelf shelf = {0};
    Variant v;
    Model *m, *n;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m), *other = saved_model(dev, &cfg, LT_F32, 4, &n);
    open_and_load(&v, &shelf, dev, base, NULL, ADAPTER_ON_TOP);
    const Model *kept = v.model;
    assert_null(v.adapter);
    assert_null(v.folder);
    variant_close(&v);
    open_and_load(&v, &shelf, dev, first, base, ADAPTER_ON_TOP);
    assert_ptr_equal(v.model, kept);
    assert_non_null(v.adapter);
    variant_close(&v);
    open_and_load(&v, &shelf, dev, second, base, ADAPTER_ON_TOP);
    assert_ptr_equal(v.model, kept);
    assert_true(saved_same(v.model, m)); /* untouched by either */
    variant_close(&v);
    open_and_load(&v, &shelf, dev, second, other, ADAPTER_ON_TOP);
    assert_true(saved_same(v.model, n));
    variant_close(&v);
    shelf_clear(&shelf);
    model_free(n);
    model_free(m);
    device_close(dev);
}

/* A base goes by its files, not by its name: another one may have been written in its place, and records of the new one must not hold the
 * numbers of the old. */
static void test_variant_reloads_a_base_that_was_written_again(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    ModelShelf shelf = {0};
    char same[512];
    Variant v;
    Model *m, *n;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m);
    saved_model(dev, &cfg, LT_F32, 4, &n);
    open_and_load(&v, &shelf, dev, base, NULL, ADAPTER_ON_TOP);
    variant_close(&v);
    CHECK_OK(model_save(n, base));
    open_and_load(&v, &shelf, dev, base, NULL, ADAPTER_ON_TOP);
    assert_true(saved_same(v.model, n));
    v.model->lossy_cast = true; /* a mark that a new one would not have */
    variant_close(&v);
    snprintf(same, sizeof same, "%s/.", base); /* the same files by another way */
    open_and_load(&v, &shelf, dev, same, NULL, ADAPTER_ON_TOP);
    assert_true(v.model->lossy_cast);
    variant_close(&v);
    shelf_clear(&shelf);
    model_free(n);
    model_free(m);
    device_close(dev);
}

/* A merged model is nobody else's base. */
static void test_variant_does_not_keep_a_merged_model(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const char *adapter = adapter_random(ALL, &cfg, 5);
    Device *dev = saved_device(1);
    ModelShelf shelf = {0};
    Variant v;
    Model *m;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m);
    open_and_load(&v, &shelf, dev, adapter, base, ADAPTER_ON_TOP);
    variant_close(&v);
    open_and_load(&v, &shelf, dev, adapter, base, ADAPTER_MERGED);
    assert_null(v.adapter);
    assert_false(saved_same(v.model, m));
    variant_close(&v);
    open_and_load(&v, &shelf, dev, base, NULL, ADAPTER_MERGED); /* nothing to merge */
    assert_true(saved_same(v.model, m));
    variant_close(&v);
    shelf_clear(&shelf);
    model_free(m);
    device_close(dev);
}

/* Longer tables of rotations are another model to whoever needs them. */
static void test_variant_reloads_for_more_positions(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const LoadOptions longer = {.dtype = LT_F32, .max_position = 500}, narrow = {.dtype = LT_BF16, .max_position = 500};
    Device *dev = saved_device(1);
    ModelShelf shelf = {0};
    size_t unknown;
    Variant v;
    Model *m;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m);
    open_and_load(&v, &shelf, dev, base, NULL, ADAPTER_ON_TOP);
    CHECK_OK(variant_load(&v, &shelf, dev, &longer, ADAPTER_ON_TOP));
    assert_int_equal(v.model->rope.n_position, 500);
    CHECK_OK(variant_load(&v, &shelf, dev, &narrow, ADAPTER_ON_TOP));
    assert_int_equal(v.model->dtype, LT_BF16);
    variant_close(&v);
    CHECK_FAILS(variant_open(&v, "no/such", NULL, &unknown), LT_E_INPUT, "no/such");
    shelf_clear(&shelf);
    model_free(m);
    device_close(dev);
}

static void test_variant_finds_the_base_an_adapter_names(void **state)
{
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    size_t unknown;
    char json[8192];
    Variant v;
    Model *m;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m);
    const char *adapter = adapter_random(ALL, &cfg, 5);
    CHECK_FAILS(variant_open(&v, adapter, NULL, &unknown), LT_E_INPUT, "base_model_name_or_path");
    CHECK_FAILS(variant_open(&v, adapter, adapter, &unknown), LT_E_INPUT, "found another adapter");
    snprintf(json, sizeof json, "{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": \"all-linear\", \"base_model_name_or_path\": \"%s\"}", base);
    adapter_config_file(adapter, json);
    CHECK_OK(variant_open(&v, adapter, NULL, &unknown));
    assert_string_equal(v.base.path, base);
    assert_string_equal(v.place.path, adapter);
    variant_close(&v);
    model_free(m);
    device_close(dev);
}

static void test_variant_names_the_base_that_does_not_fit(void **state)
{
    const ModelConfig cfg = ref_model_config();
    ModelConfig wide = ref_model_config();
    Device *dev = saved_device(1);
    size_t unknown;
    Variant v;
    Model *m;

    (void)state;
    wide.intermediate_size = 36;
    const char *base = saved_model(dev, &wide, LT_F32, 3, &m);
    const char *adapter = adapter_random(ALL, &cfg, 5);
    CHECK_FAILS(variant_open(&v, adapter, base, &unknown), LT_E_INPUT, base);
    CHECK_FAILS(variant_open(&v, adapter, base, &unknown), LT_E_INPUT, "gate_proj.lora_B.weight': expected shape [36,3], found [28,3]");
    model_free(m);
    device_close(dev);
}

/* What scoring calls again and again in one process. */
static void test_variant_refuses_an_inert_adapter_either_way(void **state)
{
    static const char INERT[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 0, \"target_modules\": \"all-linear\"}";
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(1);
    ModelShelf shelf = {0};
    size_t unknown;
    Variant v;
    Model *m;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &m);
    CHECK_OK(variant_open(&v, adapter_random(INERT, &cfg, 5), base, &unknown));
    CHECK_FAILS(variant_load(&v, &shelf, dev, &plain, ADAPTER_ON_TOP), LT_E_INPUT, "changes nothing");
    CHECK_FAILS(variant_load(&v, &shelf, dev, &plain, ADAPTER_MERGED), LT_E_INPUT, "changes nothing");
    variant_close(&v);
    shelf_clear(&shelf);
    model_free(m);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variant_keeps_a_base_for_the_next),
        cmocka_unit_test(test_variant_reloads_a_base_that_was_written_again),
        cmocka_unit_test(test_variant_does_not_keep_a_merged_model),
        cmocka_unit_test(test_variant_reloads_for_more_positions),
        cmocka_unit_test(test_variant_finds_the_base_an_adapter_names),
        cmocka_unit_test(test_variant_names_the_base_that_does_not_fit),
        cmocka_unit_test(test_variant_refuses_an_inert_adapter_either_way),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
