/* The golden adapters, made by PEFT: ranks and factors of every module, logits with the adapter on, one merged weight each, and the ones that are
 * to be refused. */
#include "tests/check.h"

#include "core/json.h"
#include "tests/adapters.h"
#include "tests/packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Logits: five times what stock F32 implementations deviate by, which is 6e-6 on tiny models and 2e-5 on stories260K, whose logits reach 30. */
static const double TINY = 5 * 6e-6, STORIES = 5 * 2e-5;

static const char *const accepted[] = {
    "llama3_tiny.all_linear", "llama3_tiny.all_r4", "llama3_tiny.attn_r4", "llama3_tiny.default_bias_none", "llama3_tiny.layers_to_transform",
    "llama3_tiny.mlp_r4", "llama3_tiny.patterns", "llama3_tiny.regex_layer1", "llama3_tiny.rslora", "qwen2_tiny.all_r4", "qwen3_tiny.all_r4",
    "qwen3_tiny.patterns", "qwen3_tiny.rslora_patterns", "stories260K.all_r4", "stories260K.attn_r4", "stories260K.mlp_r4", "stories260K.rslora",
};
enum { N_ACCEPTED = sizeof accepted / sizeof *accepted };

/* One case: its folder, its JSON, its tensors, its base. */
typedef struct Case {
    const char *folder;
    json_t *json;
    StFile tensors;
    Checkpoint *base;
} Case;

static void case_close(Case *c)
{
    checkpoint_close(c->base);
    st_close(&c->tensors);
    json_decref(c->json);
}

/* False where Lethe cannot run the base's architecture: then there is nothing to compare, and all else about the base is another test's. */
static bool case_open(Case *c, const char *name)
{
    char path[256], base[256];
    Str of;

    snprintf(path, sizeof path, "golden/adapters/%s", name);
    c->folder = test_data(path);
    snprintf(path, sizeof path, "golden/adapters/%s.golden.json", name);
    CHECK_OK(json_load_path(&c->json, test_data(path), 1 << 24));
    snprintf(path, sizeof path, "golden/adapters/%s.golden.safetensors", name);
    CHECK_OK(st_open(&c->tensors, test_data(path)));
    const JsonAt root = json_root(c->json, path, 0);
    CHECK_OK(json_get_str(&root, "base", &of));
    snprintf(base, sizeof base, "%s" STR_FORMAT, str_starts(of, str_of("models/")) ? "golden/" : "", STR_ARG(of));
    const Status st = checkpoint_open(&c->base, test_data(base));
    if (st == LT_OK)
        return true;
    CHECK_FAILS(st, LT_E_INPUT, "is not supported; supported:");
    c->base = NULL;
    case_close(c);
    return false;
}

static void *read_tensor(const StFile *f, const StTensor *t)
{
    void *data = mem_take((size_t)(t->end - t->begin), 1);

    assert_non_null(data);
    CHECK_OK(st_read(f, t, 0, data, (size_t)(t->end - t->begin)));
    return data;
}

static const StTensor *find_tensor(const StFile *f, const char *start, const char *end)
{
    for (size_t i = 0; i < f->n_tensor; i++)
        if (str_starts(f->tensor[i].name, str_of(start)) && str_ends(f->tensor[i].name, str_of(end)))
            return &f->tensor[i];
    fail_msg("%s: no tensor %s...%s", f->path, start, end);
    return NULL;
}

static Model *load_base(Device *dev, const Case *c, DType dtype, const Factors *merge)
{
    Model *m;

    CHECK_OK(model_load(&m, dev, c->base, &(LoadOptions){.dtype = dtype, .merge = merge}));
    return m;
}

/* ---- ranks and factors ---------------------------------------------------------------------------------------------------- */

static void check_module(const JsonAt *root, const char *what, const char *module, double got)
{
    const JsonAt object = json_member(root, what), at = json_member(&object, module);
    double want;

    CHECK_OK(json_to_double(at, &want));
    check_close(module, got, want, 0, 1e-15);
}

static void check_factors(const char *name)
{
    Case c;
    ParamList params;
    AdapterFolder *folder;
    StrBuf module;

    if (!case_open(&c, name))
        return;
    CHECK_OK(adapter_folder_open(&folder, c.folder));
    CHECK_OK(adapter_folder_params(&params, folder, &c.base->cfg));
    strbuf_init(&module);
    const JsonAt root = json_root(c.json, name, 0);
    assert_int_equal(params.count, 2 * json_object_size(json_object_get(c.json, "scale")));
    for (size_t i = 0; i < params.count; i += 2) {
        CHECK_OK(param_module(&params.entry[i], &module));
        check_module(&root, "scale", module.data, params.entry[i].scale);
        check_module(&root, "rank", module.data, (double)params.entry[i].rows);
    }
    strbuf_release(&module);
    params_release(&params);
    adapter_folder_close(folder);
    case_close(&c);
}

static void test_adapter_ranks_and_scales_are_those_of_peft(void **state)
{
    (void)state;
    for (int i = 0; i < N_ACCEPTED; i++)
        check_factors(accepted[i]);
}

/* ---- logits --------------------------------------------------------------------------------------------------------------- */

typedef struct Deviation {
    double logits, loss;
} Deviation;

static Deviation deviation(const Model *m, const Adapter *a, const Case *c)
{
    static Packed p;
    static float lp[MAX_TOKENS];
    static bool greedy[MAX_TOKENS];
    const StTensor *shape = find_tensor(&c->tensors, "input_ids", "");
    int32_t *id = read_tensor(&c->tensors, shape), *target = read_tensor(&c->tensors, find_tensor(&c->tensors, "targets", ""));
    float *want = read_tensor(&c->tensors, find_tensor(&c->tensors, "logits", ""));
    const int32_t n_row = (int32_t)shape->shape[0], n = (int32_t)shape->shape[1];
    const int64_t n_logit = n_row * n * m->cfg.vocab_size;
    float *got = mem_take((size_t)n_logit, sizeof *got);
    double loss = 0, want_loss;
    Deviation off = {0};

    assert_non_null(got);
    packed_start(&p);
    for (int32_t r = 0; r < n_row; r++)
        packed_add(&p, id + r * n, n, 0, 0);
    for (int32_t i = 0; i < n_row * n; i++)
        if (target[i] >= 0)
            packed_want(&p, i, target[i]);
    p.batch.adapter = a;
    packed_logits(m, &p.batch, got);
    packed_logprob(m, &p.batch, lp, greedy);
    for (int64_t i = 0; i < n_logit; i++)
        off.logits = fmax(off.logits, fabs((double)got[i] - (double)want[i]));
    for (int32_t i = 0; i < p.batch.n_pair; i++)
        loss -= (double)lp[i] / p.batch.n_pair;
    want_loss = json_real_value(json_object_get(c->json, "loss"));
    off.loss = fabs(loss - want_loss);
    mem_free(got);
    mem_free(want);
    mem_free(target);
    mem_free(id);
    return off;
}

static Deviation adapter_deviation(Device *dev, const char *name, DType dtype)
{
    Case c;
    Deviation off = {0};

    if (!case_open(&c, name))
        return off;
    Model *m = load_base(dev, &c, dtype, NULL);
    Adapter *a = adapter_of(m, c.folder);
    off = deviation(m, a, &c);
    adapter_free(a);
    model_free(m);
    case_close(&c);
    return off;
}

static Device *cpu(void)
{
    Device *dev;

    CHECK_OK(device_open(&dev, test_device(), 2));
    return dev;
}

static bool is_tiny(const char *name) { return strncmp(name, "stories", 7) != 0; }

static void test_adapter_f32_logits_agree_with_golden_files(void **state)
{
    Device *dev = cpu();
    double worst[2] = {0};

    (void)state;
    for (int i = 0; i < N_ACCEPTED; i++) {
        const Deviation off = adapter_deviation(dev, accepted[i], LT_F32);
        const bool tiny = is_tiny(accepted[i]);

        worst[tiny] = fmax(worst[tiny], off.logits);
        check_close(accepted[i], off.logits, 0, tiny ? TINY : STORIES, 0);
        check_close(accepted[i], off.loss, 0, 5 * 1e-6, 0);
    }
    print_message("logits off by %.2e on tiny models, %.2e on stories260K\n", worst[1], worst[0]);
    device_close(dev);
}

/* The bounds of test_forward_golden.c: the adapter adds two roundings a matrix to the twenty or so that a logit has behind it. stories260K has
 * logits four times as large. */
static void test_adapter_narrow_dtypes_stay_near_golden_files(void **state)
{
    static const struct {
        DType dtype;
        double bound;
    } narrow[] = {{LT_BF16, 0.3}, {LT_F16, 0.3 / 8}};
    Device *dev = cpu();

    (void)state;
    for (size_t d = 0; d < sizeof narrow / sizeof *narrow; d++) {
        double worst[2] = {0};

        for (int i = 0; i < N_ACCEPTED; i++) {
            const Deviation off = adapter_deviation(dev, accepted[i], narrow[d].dtype);
            const bool tiny = is_tiny(accepted[i]);

            worst[tiny] = fmax(worst[tiny], off.logits);
            check_close(accepted[i], off.logits, 0, tiny ? narrow[d].bound : 4 * narrow[d].bound, 0);
        }
        print_message("%s: logits off by %.2e on tiny models, %.2e on stories260K\n", dtype_name(narrow[d].dtype), worst[1], worst[0]);
    }
    device_close(dev);
}

/* ---- merged --------------------------------------------------------------------------------------------------------------- */

/* W + s B A is rounded once, so it is off by half a unit of its own last place, and of the file's. */
static void check_merged_weight(const Model *m, const Case *c)
{
    const StTensor *t = find_tensor(&c->tensors, "merged.", "");
    float *want = read_tensor(&c->tensors, t);
    const Str name = str_slice(t->name, strlen("merged."), t->name.len);
    StrBuf own;
    bool found = false;

    strbuf_init(&own);
    for (size_t i = 0; i < m->params.count; i++) {
        const ParamEntry *e = &m->params.entry[i];
        const float *got = e->value.data;

        CHECK_OK(param_name(e, &own));
        if (!str_equal(strbuf_str(&own), name))
            continue;
        found = true;
        assert_int_equal(e->rows * e->cols, t->count);
        for (int64_t k = 0; k < t->count; k++)
            check_close(own.data, (double)got[k], (double)want[k], 0, 0x1p-23);
    }
    assert_true(found);
    strbuf_release(&own);
    mem_free(want);
}

static void test_merge_agrees_with_golden_files(void **state)
{
    Device *dev = cpu();
    double worst[2] = {0};

    (void)state;
    for (int i = 0; i < N_ACCEPTED; i++) {
        AdapterFolder *folder;
        Factors *factors;
        Case c;

        if (!case_open(&c, accepted[i]))
            continue;
        CHECK_OK(adapter_folder_open(&folder, c.folder));
        CHECK_OK(factors_read(&factors, folder, &c.base->cfg));
        Model *m = load_base(dev, &c, LT_F32, factors);
        const Deviation off = deviation(m, NULL, &c);
        const bool tiny = is_tiny(accepted[i]);

        worst[tiny] = fmax(worst[tiny], off.logits);
        check_close(accepted[i], off.logits, 0, tiny ? TINY : STORIES, 0);
        check_merged_weight(m, &c);
        model_free(m);
        factors_free(factors);
        adapter_folder_close(folder);
        case_close(&c);
    }
    print_message("merged: logits off by %.2e on tiny models, %.2e on stories260K\n", worst[1], worst[0]);
    device_close(dev);
}

/* ---- refused -------------------------------------------------------------------------------------------------------------- */

static void test_adapter_refuses_what_is_not_plain_lora(void **state)
{
    static const char *const refused[][2] = {
        {"llama3_tiny.dora", "adapter_config.json: use_dora: expected"},
        {"qwen3_tiny.modules_to_save", "adapter_config.json: modules_to_save: expected"},
        {"llama_bias_tiny.bias_lora_only", "adapter_config.json: bias: expected"},
    };
    char path[256];

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        AdapterFolder *folder;

        snprintf(path, sizeof path, "golden/adapters/%s", refused[i][0]);
        CHECK_FAILS(adapter_folder_open(&folder, test_data(path)), LT_E_INPUT, refused[i][1]);
    }
}

/* Which modules a name means depends on the base, so this one is found only there. */
static void test_adapter_refuses_embeddings(void **state)
{
    AdapterFolder *folder;
    ParamList params;
    Case c;

    (void)state;
    assert_true(case_open(&c, "llama3_tiny.embed_target"));
    CHECK_OK(adapter_folder_open(&folder, c.folder));
    CHECK_FAILS(adapter_folder_params(&params, folder, &c.base->cfg), LT_E_INPUT, "target_modules: 'model.embed_tokens' is not a matrix of a block");
    adapter_folder_close(folder);
    case_close(&c);
}

static void test_adapter_refuses_another_base(void **state)
{
    AdapterFolder *folder;
    Checkpoint *other;
    ParamList params;
    Case c;

    (void)state;
    assert_true(case_open(&c, "llama3_tiny.all_r4"));
    CHECK_OK(adapter_folder_open(&folder, c.folder));
    CHECK_OK(checkpoint_open(&other, test_data("golden/models/llama2_tiny")));
    CHECK_FAILS(adapter_folder_params(&params, folder, &other->cfg), LT_E_INPUT,
                "tensor 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight': expected shape [64,4], found [96,4]");
    checkpoint_close(other);
    adapter_folder_close(folder);
    case_close(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter_ranks_and_scales_are_those_of_peft),
        cmocka_unit_test(test_adapter_f32_logits_agree_with_golden_files),
        cmocka_unit_test(test_adapter_narrow_dtypes_stay_near_golden_files),
        cmocka_unit_test(test_merge_agrees_with_golden_files),
        cmocka_unit_test(test_adapter_refuses_what_is_not_plain_lora),
        cmocka_unit_test(test_adapter_refuses_embeddings),
        cmocka_unit_test(test_adapter_refuses_another_base),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
