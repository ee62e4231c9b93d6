#include "tests/check.h"

#include "core/json.h"
#include "kernels/device.h"
#include "model/forward.h"
#include "tests/packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static Device *cpu(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

static const char *const golden[] = {
    "llama2_tiny",  "llama_bias_tiny", "llama3_tiny", "llama_linear_tiny", "llama_dynamic_tiny", "llama_yarn_tiny",
    "mistral_tiny", "qwen2_tiny",      "qwen3_tiny",  "llama3_tiny_bf16",  "qwen2_tiny_f16",
};
enum { N_GOLDEN = sizeof golden / sizeof *golden, LONGEST = 48 };

static Model *load_model(Device *dev, const char *path, DType dtype)
{
    LoadOptions options = {.dtype = dtype};
    Checkpoint *ckpt;
    Model *m;

    CHECK_OK(checkpoint_open(&ckpt, test_data(path)));
    if (ckpt->cfg.max_position_embeddings < LONGEST) /* llama_dynamic_tiny, which is made to go on */
        options.max_position = LONGEST;
    CHECK_OK(model_load(&m, dev, ckpt, &options));
    checkpoint_close(ckpt);
    return m;
}

/* A tensor of a golden file, whole; freed by mem_free. */
static void *read_tensor(const StFile *f, const char *name, int64_t *count)
{
    for (size_t i = 0; i < f->n_tensor; i++) {
        const StTensor *t = &f->tensor[i];
        void *data;

        if (!str_is(t->name, name))
            continue;
        data = mem_take((size_t)(t->end - t->begin), 1);
        assert_non_null(data);
        CHECK_OK(st_read(f, t, 0, data, (size_t)(t->end - t->begin)));
        *count = t->count;
        return data;
    }
    fail_msg("%s: no tensor %s", f->path, name);
    return NULL;
}

typedef struct Golden {
    int32_t *id, *target;
    float *logits, *logprob;
    int64_t n, n_logit;
} Golden;

static void golden_open(Golden *g, const char *part, const char *name)
{
    char path[256];
    StFile f;

    snprintf(path, sizeof path, "golden/%s/%s.safetensors", part, name);
    CHECK_OK(st_open(&f, test_data(path)));
    g->id = read_tensor(&f, "input_ids", &g->n);
    g->target = read_tensor(&f, "targets", &g->n);
    g->logits = read_tensor(&f, "logits", &g->n_logit);
    g->logprob = read_tensor(&f, "logprobs", &g->n);
    st_close(&f);
}

static void golden_close(Golden *g)
{
    mem_free(g->id);
    mem_free(g->target);
    mem_free(g->logits);
    mem_free(g->logprob);
}

typedef struct Deviation {
    double logits, logprob;
} Deviation;

/* Runs sequences of these lengths as one batch and compares everything the file has. */
static Deviation deviation(const Model *m, const Golden *g, const int32_t *len, int n_seq)
{
    static Packed p;
    static float lp[MAX_TOKENS];
    static bool greedy[MAX_TOKENS];
    float *logits = mem_take((size_t)g->n_logit, sizeof *logits);
    Deviation off = {0};
    int32_t at = 0;

    assert_non_null(logits);
    packed_start(&p);
    for (int s = 0; s < n_seq; s++)
        at = packed_add(&p, g->id + at, len[s], 0, 0) + len[s];
    assert_int_equal(at, g->n);
    for (int32_t i = 0; i < at; i++)
        if (g->target[i] >= 0)
            packed_want(&p, i, g->target[i]);
    packed_logits(m, &p.batch, logits);
    packed_logprob(m, &p.batch, lp, greedy);
    for (int64_t i = 0; i < g->n_logit; i++)
        off.logits = fmax(off.logits, fabs((double)logits[i] - (double)g->logits[i]));
    for (int32_t i = 0; i < p.batch.n_pair; i++)
        off.logprob = fmax(off.logprob, fabs((double)lp[i] - (double)g->logprob[p.pair[i].row]));
    mem_free(logits);
    return off;
}

static Deviation golden_deviation(Device *dev, const char *part, const char *name, DType dtype)
{
    static const int32_t rows[] = {48, 48}, packed[] = {29, 18};
    Deviation off;
    char path[256];
    Golden g;
    Model *m;

    snprintf(path, sizeof path, "golden/models/%s", name);
    m = load_model(dev, path, dtype);
    golden_open(&g, part, name);
    off = deviation(m, &g, strcmp(part, "packed") == 0 ? packed : rows, 2);
    golden_close(&g);
    model_free(m);
    print_message("%s/%s %s: logits off by %.2e, log-probabilities by %.2e\n", part, name, dtype_name(dtype), off.logits, off.logprob);
    return off;
}

/* Bounds: five times what stock F32 implementations deviate by (8e-6 in logits, 6e-6 in log-probabilities). */
static void test_forward_f32_agrees_with_golden_files(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        const Deviation off = golden_deviation(dev, "forward", golden[i], LT_F32);

        check_close("logits", off.logits, 0, 5 * 8e-6, 0);
        check_close("log-probabilities", off.logprob, 0, 5 * 6e-6, 0);
    }
    device_close(dev);
}

static void test_forward_f32_agrees_with_packed_golden_files(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        if (strcmp(golden[i], "llama3_tiny_bf16") == 0 || strcmp(golden[i], "qwen2_tiny_f16") == 0) /* have no packed file */
            continue;
        const Deviation off = golden_deviation(dev, "packed", golden[i], LT_F32);

        check_close("logits", off.logits, 0, 5 * 8e-6, 0);
        check_close("log-probabilities", off.logprob, 0, 5 * 6e-6, 0);
    }
    device_close(dev);
}

/* BF16 keeps 8 bits, F16 keeps 11: a stored value is off by up to 2^-9 or 2^-12 of itself, and of some twenty such roundings in a row
 * a few end up in the same logit. Logits here reach 7. */
static void test_forward_narrow_dtypes_stay_near_golden_files(void **state)
{
    static const struct {
        DType dtype;
        double bound;
    } narrow[] = {{LT_BF16, 0.25}, {LT_F16, 0.25 / 8}};
    Device *dev = cpu(2);

    (void)state;
    for (size_t d = 0; d < sizeof narrow / sizeof *narrow; d++)
        for (int i = 0; i < N_GOLDEN; i++) {
            const Deviation off = golden_deviation(dev, "forward", golden[i], narrow[d].dtype);

            check_close("logits", off.logits, 0, narrow[d].bound, 0);
            check_close("log-probabilities", off.logprob, 0, narrow[d].bound, 0);
        }
    device_close(dev);
}

/* ---- continuations -------------------------------------------------------------------------------------------------------- */

/* Prompt and continuation of one case, scored as one sequence: every new token is the most probable one, with the log-probability the
 * file says. */
static double check_case(const Model *m, const JsonAt *at)
{
    static Packed p;
    static float lp[MAX_TOKENS];
    static bool greedy[MAX_TOKENS];
    const JsonAt prompt = json_member(at, "prompt"), fresh = json_member(at, "new"), logprob = json_member(at, "logprob");
    int32_t id[MAX_TOKENS];
    size_t n_prompt, n_new;
    double worst = 0;

    CHECK_OK(json_to_array(prompt, &n_prompt));
    CHECK_OK(json_to_array(fresh, &n_new));
    assert_true(n_prompt + n_new <= MAX_TOKENS);
    for (size_t i = 0; i < n_prompt + n_new; i++) {
        int64_t value;

        CHECK_OK(json_to_int(i < n_prompt ? json_element(&prompt, i) : json_element(&fresh, i - n_prompt), 0, INT32_MAX, &value));
        id[i] = (int32_t)value;
    }
    packed_start(&p);
    packed_add(&p, id, (int32_t)(n_prompt + n_new), 0, 0);
    for (size_t i = n_prompt; i < n_prompt + n_new; i++)
        packed_want(&p, (int32_t)i - 1, id[i]);
    packed_logprob(m, &p.batch, lp, greedy);
    for (size_t i = 0; i < n_new; i++) {
        double expected;

        CHECK_OK(json_to_double(json_element(&logprob, i), &expected));
        assert_true(greedy[i]);
        worst = fmax(worst, fabs((double)lp[i] - expected));
    }
    return worst;
}

/* Real weights make logits up to 30, so F32 is off by more than on the tiny models: the bound is the one the golden files suggest. */
static void test_forward_f32_agrees_with_greedy_continuations(void **state)
{
    static const char *const models[][2] = {
        {"golden/models/llama2_tiny", "golden/generate/llama2_tiny.json"},
        {"golden/models/llama_yarn_tiny", "golden/generate/llama_yarn_tiny.json"},
        {"data/models/stories260K", "golden/generate/stories260K.json"},
        {"data/models/minimind2-small", "golden/generate/minimind2-small.json"},
    };
    Device *dev = cpu(2);

    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        Model *m = load_model(dev, models[i][0], LT_F32);
        json_t *document;
        JsonAt root, cases;
        double worst = 0;
        size_t n;

        CHECK_OK(json_load_path(&document, test_data(models[i][1]), 1 << 24));
        root = json_root(document, models[i][1], 0);
        cases = json_member(&root, "cases");
        CHECK_OK(json_to_array(cases, &n));
        assert_true(n > 0);
        for (size_t k = 0; k < n; k++) {
            const JsonAt one = json_element(&cases, k);

            worst = fmax(worst, check_case(m, &one));
        }
        print_message("%s: log-probabilities of %zu continuations off by %.2e\n", models[i][0], n, worst);
        check_close("log-probabilities", worst, 0, 1e-4, 0);
        json_decref(document);
        model_free(m);
    }
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_f32_agrees_with_golden_files),
        cmocka_unit_test(test_forward_f32_agrees_with_packed_golden_files),
        cmocka_unit_test(test_forward_narrow_dtypes_stay_near_golden_files),
        cmocka_unit_test(test_forward_f32_agrees_with_greedy_continuations),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
