/* Adapters written: what is read back, what the configuration says, and what is left behind when it cannot be written. */
#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"
#include "tests/adapters.h"
#include "tests/made_factors.h"
#include "tests/packed.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 20, V = 50 };

static Arena paths; /* kept to the end, like the folders they lead to */

static const char *inside(const char *folder, const char *name)
{
    char *path = arena_take(&paths, strlen(folder) + strlen(name) + 2, 1);

    assert_non_null(path);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

static Factors *read_back(const char *folder, const ModelConfig *cfg)
{
    AdapterFolder *opened;
    Factors *f;

    CHECK_OK(adapter_folder_open(&opened, folder));
    CHECK_OK(factors_read(&f, opened, cfg));
    adapter_folder_close(opened);
    return f;
}

static void check_same(const Factors *got, const Factors *want)
{
    assert_int_equal(got->params.count, want->params.count);
    for (size_t i = 0; i < got->params.count; i++) {
        const ParamEntry *x = &got->params.entry[i], *y = &want->params.entry[i];

        assert_ptr_equal(x->row, y->row);
        assert_int_equal(x->layer, y->layer);
        assert_int_equal(x->part, y->part);
        assert_int_equal(x->rows, y->rows);
        assert_int_equal(x->cols, y->cols);
        assert_memory_equal(&x->scale, &y->scale, sizeof x->scale);
        assert_memory_equal(x->value.data, y->value.data, (size_t)(x->rows * x->cols) * sizeof(float));
    }
}

static size_t count_names(const char *folder)
{
    FileList list;

    CHECK_OK(dir_list(folder, &list));
    const size_t n = list.count;
    file_list_release(&list);
    return n;
}

static void check_bytes(const char *path, const char *other)
{
    StrBuf a, b;

    strbuf_init(&a);
    strbuf_init(&b);
    CHECK_OK(file_read(path, 1 << 24, &a));
    CHECK_OK(file_read(other, 1 << 24, &b));
    check_str(strbuf_str(&a), b.data, b.len);
    strbuf_release(&a);
    strbuf_release(&b);
}

/* ---- what comes back ------------------------------------------------------------------------------------------------------ */

static void test_adapter_write_reads_back_bit_equal(void **state)
{
    const ModelConfig cfg = ref_model_config();

    (void)state;
    for (int shape = 0; shape < MADE_SHAPES; shape++) {
        const char *parent = test_folder(), *folder = inside(parent, "new/folders/a/");
        const AdapterOrigin origin = made_origin((MadeShape)shape, "some/base");
        Factors *made = made_factors(&cfg, (MadeShape)shape, 7);

        CHECK_OK(adapter_write(folder, &made->params, &cfg, NULL, &origin));
        Factors *got = read_back(folder, &cfg);
        check_same(got, made);
        assert_int_equal(count_names(folder), 2);
        assert_int_equal(count_names(inside(parent, "new/folders")), 1);
        factors_free(got);
        factors_free(made);
    }
}

static void logits_of(float *out, const Model *m, const Adapter *a, const int32_t *id)
{
    static Packed p;

    packed_start(&p);
    packed_add(&p, id, N, 0, 0);
    p.batch.adapter = a;
    packed_logits(m, &p.batch, out);
}

static void merge_in_memory(Model *m, const Factors *made)
{
    for (size_t i = 0; i < m->params.count; i++) {
        ParamEntry *w = &m->params.entry[i];

        if (factors_touch(made, w))
            factors_add(made, w, 0, w->value.data, w->rows * w->cols);
    }
}

/* The logits of what is in memory, merged, and of the written folder, on top: sums in another order, 5e-6 apart on models like this one. And the same
 * bytes from a device, where rows of B are padded. */
static void check_logits(Device *dev, MadeShape shape)
{
    static float memory[N * V], written[N * V], base[N * V];
    static double want[N * V];
    const ModelConfig cfg = ref_model_config();
    const char *folder = inside(test_folder(), "host"), *other = test_folder();
    const AdapterOrigin origin = made_origin(shape, NULL);
    Factors *made = made_factors(&cfg, shape, 7);
    int32_t id[N];
    Model *m;

    CHECK_OK(model_random(&m, dev, &cfg, LT_F32, 3));
    packed_random_ids(id, N, V, 1);
    logits_of(base, m, NULL, id);
    CHECK_OK(adapter_write(folder, &made->params, &cfg, NULL, &origin));
    Adapter *a = adapter_of(m, folder);
    logits_of(written, m, a, id);
    CHECK_OK(adapter_write(other, &a->params, &cfg, dev, &origin));
    check_bytes(inside(other, "adapter_model.safetensors"), inside(folder, "adapter_model.safetensors"));
    check_bytes(inside(other, "adapter_config.json"), inside(folder, "adapter_config.json"));
    merge_in_memory(m, made);
    logits_of(memory, m, NULL, id);
    for (int i = 0; i < N * V; i++)
        want[i] = (double)memory[i];
    check_close_f32("logits", written, want, N * V, 5e-5, 0);
    double effect = 0;
    for (int i = 0; i < N * V; i++)
        effect = fmax(effect, fabs((double)written[i] - (double)base[i]));
    assert_true(effect > 0.05);
    adapter_free(a);
    model_free(m);
    factors_free(made);
}

static void test_adapter_write_keeps_logits_and_reads_devices(void **state)
{
    Device *dev = saved_device(2);

    (void)state;
    for (int shape = 0; shape < MADE_SHAPES; shape++)
        check_logits(dev, (MadeShape)shape);
    device_close(dev);
}

/* alpha / rank for whole alphas, and for one that is no short number. */
static void test_adapter_write_keeps_every_scale(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const char *parent = test_folder();

    (void)state;
    for (int64_t rank = 1; rank <= 49; rank += 3)
        for (int rslora = 0; rslora <= 1; rslora++) {
            const AdapterOrigin origin = {.rslora = rslora};
            AdapterFolder *opened;
            double scale[2];
            int64_t got_rank;
            ParamList list;

            params_init_factors(&list);
            for (int layer = 0; layer < 2; layer++) {
                scale[layer] = (layer == 0 ? (double)(2 * rank - 1) : 0.1 + 1.0 / 3) / (rslora ? sqrt((double)rank) : (double)rank);
                CHECK_OK(params_add_factors(&list, &cfg, PARAM_Q, layer, rank, scale[layer]));
            }
            float *zeros = mem_take((size_t)(rank * 24), sizeof *zeros);
            for (size_t i = 0; i < list.count; i++)
                list.entry[i].value = tensor_of(zeros, LT_F32, list.entry[i].rows, list.entry[i].cols);
            CHECK_OK(adapter_write_files(parent, &list, &cfg, NULL, &origin));
            CHECK_OK(adapter_folder_open(&opened, parent));
            for (int layer = 0; layer < 2; layer++) {
                double got;

                CHECK_OK(adapter_config_scale(&opened->cfg, str_of(layer == 0 ? "model.layers.0.self_attn.q_proj" : "model.layers.1.self_attn.q_proj"),
                                              &got_rank, &got));
                assert_int_equal(got_rank, rank);
                assert_memory_equal(&got, &scale[layer], sizeof got);
            }
            adapter_folder_close(opened);
            params_release(&list);
            mem_free(zeros);
        }
}

/* ---- the configuration ---------------------------------------------------------------------------------------------------- */

static void test_adapter_write_configuration_is_pefts(void **state)
{
    static const char WANT[] =
        "{\n  \"alpha_pattern\": {\n    \"model.layers.0.mlp.gate_proj\": 7.5,\n    \"model.layers.1.mlp.gate_proj\": 7.5\n  },\n"
        "  \"auto_mapping\": null,\n  \"base_model_name_or_path\": \"org/base\",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n"
        "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n  \"layers_pattern\": null,\n  \"layers_to_transform\": null,\n"
        "  \"lora_alpha\": 11,\n  \"lora_dropout\": 0.05,\n  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n  \"r\": 5,\n"
        "  \"rank_pattern\": {\n    \"model.layers.0.self_attn.v_proj\": 3,\n    \"model.layers.1.self_attn.q_proj\": 6,\n"
        "    \"model.layers.1.self_attn.k_proj\": 6,\n    \"model.layers.1.self_attn.v_proj\": 3,\n    \"model.layers.1.self_attn.o_proj\": 6,\n"
        "    \"model.layers.1.mlp.gate_proj\": 6,\n    \"model.layers.1.mlp.up_proj\": 6\n  },\n  \"revision\": null,\n"
        "  \"target_modules\": [\n    \"q_proj\",\n    \"k_proj\",\n    \"v_proj\",\n    \"gate_proj\",\n    \"up_proj\",\n"
        "    \"model.layers.1.self_attn.o_proj\"\n  ],\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_rslora\": false\n}\n";
    const ModelConfig cfg = ref_model_config();
    const AdapterOrigin origin = made_origin(MADE_PATTERNS, "org/base");
    const char *folder = inside(test_folder(), "a");
    Factors *made = made_factors(&cfg, MADE_PATTERNS, 7);
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    CHECK_OK(adapter_write(folder, &made->params, &cfg, NULL, &origin));
    CHECK_OK(file_read(inside(folder, "adapter_config.json"), 1 << 16, &text));
    check_str(strbuf_str(&text), WANT, sizeof WANT - 1);
    strbuf_release(&text);
    factors_free(made);
}

/* PEFT's own folders, read and written: the same tensors under the same names, and no key that PEFT does not write. */
static void test_adapter_write_repeats_what_peft_wrote(void **state)
{
    static const char *const name[] = {"llama3_tiny.all_linear", "llama3_tiny.patterns", "llama3_tiny.rslora",     "llama3_tiny.layers_to_transform",
                                       "qwen2_tiny.all_r4",      "qwen3_tiny.patterns",  "qwen3_tiny.rslora_patterns"};
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const char *folder = inside(test_folder(), "a"), *key;
        char path[256], base[256];
        json_t *theirs, *ours, *value;
        AdapterFolder *opened;
        Digest digest;
        ModelConfig cfg;
        Factors *first;

        snprintf(path, sizeof path, "golden/adapters/%s", name[i]);
        snprintf(base, sizeof base, "golden/models/%.*s", (int)strcspn(name[i], "."), name[i]);
        CHECK_OK(config_load(&cfg, &digest, test_data(base)));
        CHECK_OK(adapter_folder_open(&opened, test_data(path)));
        CHECK_OK(factors_read(&first, opened, &cfg));
        const AdapterOrigin origin = {.base = base, .rslora = opened->cfg.rslora};
        CHECK_OK(adapter_write(folder, &first->params, &cfg, NULL, &origin));
        Factors *second = read_back(folder, &cfg);
        check_same(second, first);
        check_bytes(inside(folder, "adapter_model.safetensors"), inside(opened->path, "adapter_model.safetensors"));
        CHECK_OK(json_load_path(&theirs, inside(opened->path, "adapter_config.json"), 1 << 20));
        CHECK_OK(json_load_path(&ours, inside(folder, "adapter_config.json"), 1 << 20));
        json_object_foreach(ours, key, value)
            if (json_object_get(theirs, key) == NULL)
                fail_msg("%s: PEFT writes no key '%s'", name[i], key);
        json_decref(ours);
        json_decref(theirs);
        factors_free(second);
        factors_free(first);
        adapter_folder_close(opened);
    }
}

/* ---- trouble -------------------------------------------------------------------------------------------------------------- */

static void test_adapter_write_spares_what_is_there(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const AdapterOrigin origin = made_origin(MADE_PLAIN, NULL);
    const char *parent = test_folder(), *empty = test_folder(), *full = inside(parent, "full");
    Factors *made = made_factors(&cfg, MADE_PLAIN, 7);

    (void)state;
    CHECK_OK(adapter_write(empty, &made->params, &cfg, NULL, &origin));
    assert_int_equal(count_names(empty), 2);
    test_file(full, "notes", "mine", 4);
    CHECK_FAILS(adapter_write(full, &made->params, &cfg, NULL, &origin), LT_E_IO, "must be new or empty");
    CHECK_FAILS(adapter_write(inside(full, "notes/a"), &made->params, &cfg, NULL, &origin), LT_E_IO, "notes");
    assert_int_equal(count_names(full), 1);
    assert_int_equal(count_names(parent), 1);
    factors_free(made);
}

static void test_adapter_write_refuses_what_cannot_be_read(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const AdapterOrigin origin = made_origin(MADE_PLAIN, NULL);
    const char *parent = test_folder();
    Factors *made = made_factors(&cfg, MADE_PLAIN, 7);

    (void)state;
    ((float *)made->params.entry[3].value.data)[9] = NAN; /* k_proj's B, [12, 8] */
    CHECK_FAILS(adapter_write(inside(parent, "a"), &made->params, &cfg, NULL, &origin), LT_E_NUMERIC,
                "tensor 'base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight': element [1,1]: expected a finite number to write, found");
    assert_int_equal(count_names(parent), 0);
    factors_free(made);
}

static void test_adapter_write_survives_without_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const AdapterOrigin origin = made_origin(MADE_PATTERNS, "base");
    const char *parent = test_folder(), *folder = inside(parent, "a");
    Factors *made = made_factors(&cfg, MADE_PATTERNS, 7);
    const int64_t held = mem_held();
    Status st = LT_E_NOMEM;

    (void)state;
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = adapter_write(folder, &made->params, &cfg, NULL, &origin);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
        if (st != LT_OK) {
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
            assert_int_equal(count_names(parent), 0);
        }
        assert_true(n < 1000);
    }
    json_use_mem();
    assert_int_equal(count_names(parent), 1);
    factors_free(made);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter_write_reads_back_bit_equal),
        cmocka_unit_test(test_adapter_write_keeps_logits_and_reads_devices),
        cmocka_unit_test(test_adapter_write_keeps_every_scale),
        cmocka_unit_test(test_adapter_write_configuration_is_pefts),
        cmocka_unit_test(test_adapter_write_repeats_what_peft_wrote),
        cmocka_unit_test(test_adapter_write_spares_what_is_there),
        cmocka_unit_test(test_adapter_write_refuses_what_cannot_be_read),
        cmocka_unit_test(test_adapter_write_survives_without_memory),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    arena_init(&paths);
    const int failed = TEST_MAIN(tests);
    arena_release(&paths);
    return failed;
}
