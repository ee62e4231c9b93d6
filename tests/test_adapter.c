/* Adapters on made-up models: what they compute, and on what it does not depend. */
#include "tests/check.h"

#include "model/convert.h"
#include "tests/adapters.h"
#include "tests/packed.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdlib.h>

enum { N = 70, V = 50 };

/* Ranks on both sides of multiples of 8, different ones within a joined matrix, a layer and modules left out, and a factor of 0. */
static const char MIXED[] = "{\"peft_type\": \"LORA\", \"r\": 5, \"lora_alpha\": 7,"
                            "\"target_modules\": [\"q_proj\", \"v_proj\", \"o_proj\", \"up_proj\", \"down_proj\"],"
                            "\"exclude_modules\": [\"layers.1.self_attn.v_proj\"],"
                            "\"rank_pattern\": {\"v_proj\": 9, \"layers.0.mlp.up_proj\": 8, \"o_proj\": 1},"
                            "\"alpha_pattern\": {\"layers.1.mlp.down_proj\": 0, \"o_proj\": -0.5}}";
static const char ALL[] = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"use_rslora\": true, \"target_modules\": \"all-linear\"}";

static Model *random_model(Device *dev, const ModelConfig *cfg, DType dtype)
{
    Model *m;

    CHECK_OK(model_random(&m, dev, cfg, dtype, 11));
    ref_model_disturb(m, 12);
    return m;
}

static void logits_of(float *logits, const Model *m, const Adapter *a, const int32_t *id, int32_t n)
{
    static Packed p;

    packed_start(&p);
    packed_add(&p, id, n, 0, 0);
    p.batch.adapter = a;
    packed_logits(m, &p.batch, logits);
}

/* ---- against double precision --------------------------------------------------------------------------------------------- */

static ModelConfig variant(int k)
{
    ModelConfig cfg = ref_model_config();

    if (k == 1)
        cfg.qkv_bias = cfg.o_bias = cfg.mlp_bias = true;
    if (k == 2)
        cfg.qk_norm = cfg.tie_word_embeddings = true;
    return cfg;
}

/* Against the double-precision pass over weights with the delta in them. Those weights are F32, so they are off by 2^-24 of themselves, as
 * are the adapter's products; the bound is the one of the models alone, times two. */
static void check_against_double(Device *dev, int k, const char *json)
{
    static float got[N * V];
    static double want[N * V];
    const ModelConfig cfg = variant(k);
    Model *m = random_model(dev, &cfg, LT_F32), *merged = random_model(dev, &cfg, LT_F32);
    Adapter *a = adapter_of(m, adapter_random(json, &cfg, 5));
    int32_t id[N];

    packed_random_ids(id, N, V, 1);
    adapter_merge_by_hand(merged, a);
    ref_model_logits(merged, id, N, want);
    logits_of(got, m, a, id, N);
    check_close_f32("logits", got, want, N * V, 4e-5, 4e-5);
    adapter_free(a);
    model_free(merged);
    model_free(m);
}

static void test_adapter_agrees_with_double_precision(void **state)
{
    Device *dev = saved_device(2);

    (void)state;
    for (int k = 0; k < 3; k++) {
        check_against_double(dev, k, MIXED);
        check_against_double(dev, k, ALL);
    }
    device_close(dev);
}

static double share_of_error(const float *got, const double *want)
{
    double error = 0, power = 0;

    for (int i = 0; i < N * V; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += want[i] * want[i];
    }
    return error / power;
}

/* In BF16 every stored number is off by up to 2^-9 of itself, with the adapter's products as with all others. So the adapter on top may err about as
 * much as the same model with the delta in its weights, which rounds as often but for those products: twice the mean square is allowed. */
static void test_adapter_bf16_errs_like_a_merged_model(void **state)
{
    static float on_top[N * V], merged[N * V];
    static double want[N * V];
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *narrow = random_model(dev, &cfg, LT_BF16), *wide = random_model(dev, &cfg, LT_F32);
    const char *folder = adapter_random(ALL, &cfg, 5);
    Adapter *a = adapter_of(narrow, folder), *exact = adapter_of(wide, folder);
    bool lossy = false;
    int32_t id[N];

    (void)state;
    packed_random_ids(id, N, V, 1);
    adapter_merge_by_hand(wide, exact);
    ref_model_logits(wide, id, N, want);
    logits_of(on_top, narrow, a, id, N);
    for (size_t i = 0; i < wide->params.count; i++) {
        const ParamEntry *e = &wide->params.entry[i];

        weights_convert(narrow->params.entry[i].value.data, LT_BF16, e->value.data, LT_F32, e->rows * e->cols, &lossy);
    }
    logits_of(merged, narrow, NULL, id, N);
    const double error = share_of_error(on_top, want), usual = share_of_error(merged, want);
    print_message("bf16: normalised mean squared error %.2e on top, %.2e merged\n", error, usual);
    check_close("error", error, 0, 2 * usual, 0);
    check_close("usual error", usual, 0, 0.01, 0);
    adapter_free(exact);
    adapter_free(a);
    model_free(wide);
    model_free(narrow);
    device_close(dev);
}

/* ---- what it does not depend on ------------------------------------------------------------------------------------------- */

static void write_padded(const AdapterTensors *t, const char *folder, const ParamList *params, int64_t rank)
{
    static AdapterTensors padded;

    padded = *t;
    for (size_t i = 0; i < t->count; i++) {
        const ParamEntry *e = &params->entry[i];
        const int64_t rows = e->part == PART_A ? rank : e->rows, cols = e->part == PART_B ? rank : e->cols;
        float *data = mem_take((size_t)(rows * cols), sizeof *data);

        assert_non_null(data);
        for (int64_t r = 0; r < e->rows; r++)
            memcpy(data + r * cols, (const float *)t->item[i].data + r * e->cols, (size_t)e->cols * sizeof *data);
        padded.item[i].name = padded.name[i];
        padded.item[i].shape[0] = rows;
        padded.item[i].shape[1] = cols;
        padded.item[i].data = data;
    }
    adapter_tensors_write(&padded, folder);
    adapter_tensors_free(&padded);
}

/* Zeros in the file instead of zeros in memory: rank 5 with alpha 10 and rank 8 with alpha 16 are the same adapter. */
static void test_adapter_padding_changes_no_bit(void **state)
{
    static const char SHORT[] = "{\"peft_type\": \"LORA\", \"r\": 5, \"lora_alpha\": 10, \"target_modules\": \"all-linear\"}";
    static const char LONG[] = "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": \"all-linear\"}";
    static AdapterTensors tensors;
    static float first[N * V], second[N * V];
    static const DType dtype[] = {LT_F32, LT_BF16, LT_F16};
    const ModelConfig cfg = ref_model_config();
    const char *one = test_folder(), *two = test_folder();
    Device *dev = saved_device(2);
    ParamList params;
    int32_t id[N];

    (void)state;
    params_init_factors(&params);
    for (int32_t layer = 0; layer < cfg.num_hidden_layers; layer++)
        for (int p = 0; p < PARAM_KINDS; p++)
            if (param_rows[p].lora_target)
                CHECK_OK(params_add_factors(&params, &cfg, (ParamId)p, layer, 5, 2));
    adapter_tensors_random(&tensors, &params, 3);
    adapter_config_file(one, SHORT);
    adapter_tensors_write(&tensors, one);
    adapter_config_file(two, LONG);
    write_padded(&tensors, two, &params, 8);
    packed_random_ids(id, N, V, 1);
    for (size_t d = 0; d < sizeof dtype / sizeof *dtype; d++) {
        Model *m = random_model(dev, &cfg, dtype[d]);
        Adapter *a = adapter_of(m, one), *b = adapter_of(m, two);

        logits_of(first, m, a, id, N);
        logits_of(second, m, b, id, N);
        assert_memory_equal(first, second, sizeof first);
        adapter_free(b);
        adapter_free(a);
        model_free(m);
    }
    adapter_tensors_free(&tensors);
    params_release(&params);
    device_close(dev);
}

/* A sequence alone on one thread, against the same one as the second of three, and as a context with an ending, on three threads. */
static void check_company(DType dtype, const char *json)
{
    static Packed p;
    static float alone[N * V], together[3 * N * V];
    const ModelConfig cfg = ref_model_config();
    const char *folder = adapter_random(json, &cfg, 5);
    int32_t id[N], other[N];

    packed_random_ids(id, N, V, 1);
    packed_random_ids(other, N, V, 2);
    for (int n_thread = 1; n_thread <= 3; n_thread += 2) {
        Device *dev = saved_device(n_thread);
        Model *m = random_model(dev, &cfg, dtype);
        Adapter *a = adapter_of(m, folder);

        if (n_thread == 1)
            logits_of(alone, m, a, id, N);
        packed_start(&p);
        packed_add(&p, other, 13, 0, 0);
        const int32_t context = packed_add(&p, id, N - 9, 0, 0);
        packed_add(&p, other, 40, 0, 0);
        const int32_t ending = packed_add(&p, id + N - 9, 9, context, N - 9);
        p.batch.adapter = a;
        packed_logits(m, &p.batch, together);
        assert_memory_equal(together + context * V, alone, (N - 9) * V * sizeof *alone);
        assert_memory_equal(together + ending * V, alone + (N - 9) * V, 9 * V * sizeof *alone);
        adapter_free(a);
        model_free(m);
        device_close(dev);
    }
}

static void test_adapter_rows_do_not_depend_on_company(void **state)
{
    (void)state;
    check_company(LT_F32, MIXED);
    check_company(LT_F32, ALL);
    check_company(LT_BF16, MIXED);
}

/* The last layer runs only on rows that are asked for; the adapter must be added to those, too. */
static void test_adapter_scores_as_its_logits_say(void **state)
{
    static Packed p;
    static float logits[N * V], lp[N];
    static bool greedy[N];
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *m = random_model(dev, &cfg, LT_F32);
    Adapter *a = adapter_of(m, adapter_random(MIXED, &cfg, 5));
    double row[V];
    int32_t id[N];

    (void)state;
    packed_random_ids(id, N, V, 1);
    logits_of(logits, m, a, id, N);
    packed_start(&p);
    packed_add(&p, id, N, 0, 0);
    for (int32_t i = 3; i < N; i += 7)
        packed_want(&p, i, i % V);
    p.batch.adapter = a;
    packed_logprob(m, &p.batch, lp, greedy);
    for (int32_t i = 0; i < p.batch.n_pair; i++) {
        for (int v = 0; v < V; v++)
            row[v] = (double)logits[p.pair[i].row * V + v];
        check_close("log-probability", (double)lp[i], ref_model_logprob(row, V, p.pair[i].target), 2e-6, 1e-6);
    }
    adapter_free(a);
    model_free(m);
    device_close(dev);
}

/* One base, two adapters, in turn: each as if it were alone, and the base as if there were none. */
static void test_adapters_take_turns_on_one_base(void **state)
{
    static float base[N * V], first[N * V], again[N * V];
    const ModelConfig cfg = ref_model_config();
    Device *dev = saved_device(2);
    Model *m = random_model(dev, &cfg, LT_F32);
    int32_t id[N];

    (void)state;
    packed_random_ids(id, N, V, 1);
    logits_of(base, m, NULL, id, N);
    Adapter *a = adapter_of(m, adapter_random(ALL, &cfg, 5)), *b = adapter_of(m, adapter_random(MIXED, &cfg, 6));
    logits_of(first, m, a, id, N);
    assert_memory_not_equal(first, base, sizeof base);
    logits_of(again, m, b, id, N);
    assert_memory_not_equal(again, first, sizeof base);
    logits_of(again, m, a, id, N);
    assert_memory_equal(again, first, sizeof base);
    logits_of(again, m, NULL, id, N);
    assert_memory_equal(again, base, sizeof base);
    adapter_free(b);
    adapter_free(a);
    model_free(m);
    device_close(dev);
}

static void test_adapter_survives_without_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    const char *path = adapter_random(MIXED, &cfg, 5);
    Device *dev = saved_device(1);
    Model *m = random_model(dev, &cfg, LT_BF16);
    const int64_t held = mem_held();
    AdapterFolder *folder = NULL;
    Adapter *a = NULL;
    Status st = LT_E_NOMEM;

    (void)state;
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = adapter_folder_open(&folder, path);
        if (st == LT_OK)
            st = adapter_load(&a, m, folder);
        mem_fail_at(0);
        adapter_folder_close(folder);
        folder = NULL;
        if (st != LT_OK) {
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
            assert_int_equal(mem_held(), held);
        }
        assert_true(n < 5000);
    }
    adapter_free(a);
    json_use_mem();
    assert_int_equal(mem_held(), held);
    model_free(m);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter_agrees_with_double_precision),
        cmocka_unit_test(test_adapter_bf16_errs_like_a_merged_model),
        cmocka_unit_test(test_adapter_padding_changes_no_bit),
        cmocka_unit_test(test_adapter_rows_do_not_depend_on_company),
        cmocka_unit_test(test_adapter_scores_as_its_logits_say),
        cmocka_unit_test(test_adapters_take_turns_on_one_base),
        cmocka_unit_test(test_adapter_survives_without_memory),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
