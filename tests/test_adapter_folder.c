/* Adapter folders as they may be: tensors named with the adapter's name, and all that is wrong with files. */
#include "tests/check.h"

#include "model/factors.h"
#include "tests/adapters.h"
#include "tests/ref_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char QV[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\", \"v_proj\"],"
                         "\"base_model_name_or_path\": \"org/base\"}";
#define Q0_A "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
#define V1_B "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"

/* Random factors for QV, not yet written. */
static void make_tensors(AdapterTensors *t)
{
    const ModelConfig cfg = ref_model_config();
    ParamList params;

    params_init_factors(&params);
    for (int32_t layer = 0; layer < cfg.num_hidden_layers; layer++) {
        CHECK_OK(params_add_factors(&params, &cfg, PARAM_Q, layer, 2, 2));
        CHECK_OK(params_add_factors(&params, &cfg, PARAM_V, layer, 2, 2));
    }
    adapter_tensors_random(t, &params, 7);
    params_release(&params);
}

/* Opens the folder and reads its factors for the reference base. */
static Status read_folder(const char *path, Factors **out)
{
    const ModelConfig cfg = ref_model_config();
    AdapterFolder *folder;
    Factors *f = NULL;

    TRY(adapter_folder_open(&folder, path));
    Status st = factors_read(&f, folder, &cfg);
    if (st == LT_OK)
        st = factors_refuse_inert(f, folder->path);
    adapter_folder_close(folder);
    if (st == LT_OK && out != NULL)
        *out = f;
    else
        factors_free(f);
    return st;
}

static const char *write_folder(const AdapterTensors *t)
{
    const char *folder = test_folder();

    adapter_config_file(folder, QV);
    adapter_tensors_write(t, folder);
    return folder;
}

/* ---- names ---------------------------------------------------------------------------------------------------------------- */

static void test_folder_takes_the_adapters_own_name(void **state)
{
    static AdapterTensors t;
    Factors *plain, *named;

    (void)state;
    make_tensors(&t);
    CHECK_OK(read_folder(write_folder(&t), &plain));
    for (size_t i = 0; i < t.count; i++) {
        char *tail = strstr(t.name[i], ".weight");
        strcpy(tail, i % 2 == 0 ? ".default.weight" : ".my-own_name.weight");
    }
    CHECK_OK(read_folder(write_folder(&t), &named));
    assert_int_equal(named->params.count, 8);
    for (size_t i = 0; i < 8; i++) {
        const ParamEntry *a = &plain->params.entry[i], *b = &named->params.entry[i];
        assert_memory_equal(a->value.data, b->value.data, (size_t)(a->rows * a->cols) * sizeof(float));
    }
    factors_free(named);
    factors_free(plain);
    adapter_tensors_free(&t);
}

static void test_folder_refuses_one_tensor_under_two_names(void **state)
{
    static AdapterTensors t;

    (void)state;
    make_tensors(&t);
    t.item[t.count] = t.item[0];
    t.item[t.count].name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight";
    t.count++;
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "'" Q0_A "' is there twice");
    t.count--;
    adapter_tensors_free(&t);
}

/* ---- files that are wrong ------------------------------------------------------------------------------------------------- */

static void test_folder_refuses_missing_files(void **state)
{
    const char *empty = test_folder(), *bare = test_folder(), *pickle = test_folder();

    (void)state;
    CHECK_FAILS(read_folder("no/such/folder", NULL), LT_E_INPUT, "no/such/folder");
    CHECK_FAILS(read_folder(empty, NULL), LT_E_INPUT, "adapter_config.json");
    adapter_config_file(bare, QV);
    CHECK_FAILS(read_folder(bare, NULL), LT_E_INPUT, "expected adapter_model.safetensors, found none");
    adapter_config_file(pickle, QV);
    test_file(pickle, "adapter_model.bin", "x", 1);
    CHECK_FAILS(read_folder(pickle, NULL), LT_E_INPUT, "adapter_model.bin is a pickle");
}

static void test_folder_lists_what_does_not_fit(void **state)
{
    static AdapterTensors t;
    StWrite spare;

    (void)state;
    make_tensors(&t);
    spare = t.item[t.count - 1];
    t.count--;
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "tensor '" V1_B "' is missing");
    t.item[t.count++] = spare;

    adapter_tensors_find(&t, Q0_A)->shape[0] = 1;
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "tensor '" Q0_A "': expected shape [2,20], found [1,20]");
    adapter_tensors_find(&t, Q0_A)->rank = 1;
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "tensor '" Q0_A "': expected shape [2,20], found [1]");
    adapter_tensors_find(&t, Q0_A)->rank = 2;
    adapter_tensors_find(&t, Q0_A)->shape[0] = 2;

    adapter_tensors_find(&t, Q0_A)->dtype = "I32";
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "expected dtype F32, BF16 or F16, found I32");
    adapter_tensors_find(&t, Q0_A)->dtype = "F32";

    spare.name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector";
    t.item[t.count++] = spare;
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "q_proj.lora_magnitude_vector' is not expected");
    t.count--;
    adapter_tensors_free(&t);
}

/* All of a longer base's tensors are there, and more. */
static void test_folder_refuses_an_adapter_of_a_deeper_base(void **state)
{
    static AdapterTensors t;
    ModelConfig shallow = ref_model_config();
    AdapterFolder *folder;
    ParamList params;

    (void)state;
    shallow.num_hidden_layers = 1;
    make_tensors(&t);
    CHECK_OK(adapter_folder_open(&folder, write_folder(&t)));
    CHECK_FAILS(adapter_folder_params(&params, folder, &shallow), LT_E_INPUT, "'" V1_B "' is not expected");
    adapter_folder_close(folder);
    adapter_tensors_free(&t);
}

static void test_folder_refuses_targets_it_cannot_apply(void **state)
{
    static const char *const cases[][2] = {
        {"[\"q_proj\", \"lm_head\"]", "target_modules: 'lm_head' is not a matrix of a block"},
        {"[\"input_layernorm\"]", "'model.layers.0.input_layernorm'"},
        {"[\"embed_tokens\"]", "'model.embed_tokens'"},
        {"[\"c_attn\"]", "no module of the base, of 2 layers, is named by it"},
    };
    static AdapterTensors t;
    ModelConfig cfg = ref_model_config();
    AdapterFolder *folder;
    ParamList params;

    (void)state;
    make_tensors(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int tied = 0; tied < 2; tied++) { /* a tied head is a module all the same */
            const char *path = write_folder(&t);
            char json[256];

            snprintf(json, sizeof json, "{\"peft_type\": \"LORA\", \"target_modules\": %s}", cases[i][0]);
            adapter_config_file(path, json);
            cfg.tie_word_embeddings = tied;
            CHECK_OK(adapter_folder_open(&folder, path));
            CHECK_FAILS(adapter_folder_params(&params, folder, &cfg), LT_E_INPUT, cases[i][1]);
            adapter_folder_close(folder);
        }
    adapter_tensors_free(&t);
}

/* ---- values that are wrong ------------------------------------------------------------------------------------------------ */

static void test_factors_refuse_what_is_not_finite(void **state)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    static AdapterTensors t;

    (void)state;
    make_tensors(&t);
    float *value = (float *)(uintptr_t)adapter_tensors_find(&t, Q0_A)->data;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value[23] = bad[i];
        CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "tensor '" Q0_A "': element [1,3]: expected a finite number");
    }
    adapter_tensors_free(&t);
}

static void zero(AdapterTensors *t, const char *part)
{
    for (size_t i = 0; i < t->count; i++)
        if (strstr(t->name[i], part) != NULL)
            memset((void *)(uintptr_t)t->item[i].data, 0, (size_t)(t->item[i].shape[0] * t->item[i].shape[1]) * sizeof(float));
}

/* Every pair must be inert, by one factor or the other; a single live one is an adapter. */
static void test_factors_refuse_an_inert_adapter(void **state)
{
    static AdapterTensors t;

    (void)state;
    make_tensors(&t);
    zero(&t, "layers.0.self_attn.q_proj.lora_B");
    zero(&t, "layers.0.self_attn.v_proj.lora_A");
    zero(&t, "layers.1.self_attn.q_proj.lora_B");
    CHECK_OK(read_folder(write_folder(&t), NULL));
    zero(&t, "layers.1.self_attn.v_proj.lora_B");
    CHECK_FAILS(read_folder(write_folder(&t), NULL), LT_E_INPUT, "the adapter changes nothing: lora_A or lora_B is zero in every matrix");
    adapter_tensors_free(&t);

    make_tensors(&t);
    const char *path = write_folder(&t);
    adapter_config_file(path, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 0, \"target_modules\": [\"q_proj\", \"v_proj\"]}");
    CHECK_FAILS(read_folder(path, NULL), LT_E_INPUT, "the adapter changes nothing: lora_alpha is 0");
    adapter_tensors_free(&t);
}

/* ---- digest --------------------------------------------------------------------------------------------------------------- */

static Digest digest_of(const char *path)
{
    AdapterFolder *folder;
    Digest digest;

    CHECK_OK(adapter_folder_open(&folder, path));
    CHECK_OK(adapter_folder_digest(folder, FILEHASH_AGAIN, &digest));
    adapter_folder_close(folder);
    return digest;
}

static void test_folder_digest_covers_both_files(void **state)
{
    static AdapterTensors t;

    (void)state;
    make_tensors(&t);
    const char *one = write_folder(&t), *same = write_folder(&t), *scaled = write_folder(&t);
    adapter_config_file(scaled, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\", \"v_proj\"]}");
    zero(&t, "layers.1.self_attn.v_proj.lora_B");
    const char *changed = write_folder(&t);
    const Digest a = digest_of(one), b = digest_of(same), c = digest_of(scaled), d = digest_of(changed);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    assert_memory_not_equal(&a, &d, sizeof a);
    adapter_tensors_free(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_takes_the_adapters_own_name),
        cmocka_unit_test(test_folder_refuses_one_tensor_under_two_names),
        cmocka_unit_test(test_folder_refuses_missing_files),
        cmocka_unit_test(test_folder_lists_what_does_not_fit),
        cmocka_unit_test(test_folder_refuses_an_adapter_of_a_deeper_base),
        cmocka_unit_test(test_folder_refuses_targets_it_cannot_apply),
        cmocka_unit_test(test_factors_refuse_what_is_not_finite),
        cmocka_unit_test(test_factors_refuse_an_inert_adapter),
        cmocka_unit_test(test_folder_digest_covers_both_files),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
