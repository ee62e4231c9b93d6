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

    CHECK_OK(device_open(&dev, test_device(), n_thread));
    return dev;
}

static const char *const golden[] = {
    "llama2_tiny",  "llama_bias_tiny", "llama3_tiny", "llama_linear_tiny", "llama_dynamic_tiny", "llama_yarn_tiny",
    "mistral_tiny", "qwen2_tiny",      "qwen3_tiny",  "llama3_tiny_bf16",  "qwen2_tiny_f16",
};
/* The last two are stored in BF16 and F16; they have files of their own under forward/ only. */
enum { N_GOLDEN = sizeof golden / sizeof *golden, N_WHOLE = N_GOLDEN - 2, LONGEST = 48 };

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

static Deviation golden_deviation(Device *dev, const char *part, const char *name, const char *model, DType dtype)
{
    static const int32_t rows[] = {48, 48}, packed[] = {29, 18};
    Deviation off;
    char path[256];
    Golden g;
    Model *m;

    snprintf(path, sizeof path, "golden/models/%s", model);
    m = load_model(dev, path, dtype);
    golden_open(&g, part, name);
    off = deviation(m, &g, strcmp(part, "packed") == 0 ? packed : rows, 2);
    golden_close(&g);
    model_free(m);
    print_message("%s/%s %s: logits off by %.2e, log-probabilities by %.2e\n", part, model, dtype_name(dtype), off.logits, off.logprob);
    return off;
}

/* Bounds: five times what stock F32 implementations deviate by (8e-6 in logits, 6e-6 in log-probabilities). */
static void test_forward_f32_agrees_with_golden_files(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        const Deviation off = golden_deviation(dev, "forward", golden[i], golden[i], LT_F32);

        check_close("logits", off.logits, 0, 5 * 8e-6, 0);
        check_close("log-probabilities", off.logprob, 0, 5 * 6e-6, 0);
    }
    device_close(dev);
}

static void test_forward_reads_shards_as_one_file(void **state)
{
    Device *dev = cpu(2);
    const Deviation whole = golden_deviation(dev, "forward", "mistral_tiny", "mistral_tiny", LT_F32);
    const Deviation sharded = golden_deviation(dev, "forward", "mistral_tiny", "mistral_tiny_sharded", LT_F32);

    (void)state;
    assert_true(whole.logits == sharded.logits && whole.logprob == sharded.logprob);
    device_close(dev);
}

static void test_forward_f32_agrees_with_packed_golden_files(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_WHOLE; i++) {
        const Deviation off = golden_deviation(dev, "packed", golden[i], golden[i], LT_F32);

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
            const Deviation off = golden_deviation(dev, "forward", golden[i], golden[i], narrow[d].dtype);

            check_close("logits", off.logits, 0, narrow[d].bound, 0);
            check_close("log-probabilities", off.logprob, 0, narrow[d].bound, 0);
        }
    device_close(dev);
}

/* ---- continuations -------------------------------------------------------------------------------------------------------- */

/* A case of generate/NAME.json. */
typedef struct Case {
    int32_t id[MAX_TOKENS]; /* prompt, then what was generated */
    double logprob[MAX_TOKENS]; /* of the generated ones */
    int32_t n_prompt, n_new;
} Case;

/* `key` names the continuation; only that of "new" has log-probabilities. */
static void read_case(Case *c, const JsonAt *at, const char *key)
{
    const JsonAt prompt = json_member(at, "prompt"), fresh = json_member(at, key), logprob = json_member(at, "logprob");
    size_t n_prompt, n_new;

    CHECK_OK(json_to_array(prompt, &n_prompt));
    CHECK_OK(json_to_array(fresh, &n_new));
    assert_true(n_prompt + n_new <= MAX_TOKENS);
    for (size_t i = 0; i < n_prompt + n_new; i++) {
        int64_t value;

        CHECK_OK(json_to_int(i < n_prompt ? json_element(&prompt, i) : json_element(&fresh, i - n_prompt), 0, INT32_MAX, &value));
        c->id[i] = (int32_t)value;
    }
    for (size_t i = 0; i < n_new; i++)
        CHECK_OK(json_to_double(json_element(&logprob, i), &c->logprob[i]));
    c->n_prompt = (int32_t)n_prompt;
    c->n_new = (int32_t)n_new;
}

/* The whole sequence is read anew for every token, as the files were made: under "dynamic" RoPE each step has a base of its own. The
 * deviation of log-probabilities. */
static double recompute(const Model *m, const Case *c)
{
    static Packed p;
    const int64_t vocab = m->cfg.vocab_size;
    float *logits = mem_take((size_t)(MAX_TOKENS * vocab), sizeof *logits);
    double worst = 0;

    assert_non_null(logits);
    for (int32_t n = c->n_prompt; n < c->n_prompt + c->n_new; n++) {
        const float *last = logits + (n - 1) * vocab;
        int32_t best = 0;
        float lp;
        bool greedy;

        packed_start(&p);
        packed_add(&p, c->id, n, 0, 0);
        packed_want(&p, n - 1, c->id[n]);
        packed_logits(m, &p.batch, logits);
        packed_logprob(m, &p.batch, &lp, &greedy);
        for (int32_t v = 1; v < vocab; v++)
            best = last[v] > last[best] ? v : best;
        assert_int_equal(best, c->id[n]);
        assert_true(greedy);
        worst = fmax(worst, fabs((double)lp - c->logprob[n - c->n_prompt]));
    }
    mem_free(logits);
    return worst;
}

/* Prompt and continuation scored as one sequence, which is the same thing unless the length decides. Narrow dtypes may prefer another
 * token where two are close. */
static double score_once(const Model *m, const Case *c)
{
    static Packed p;
    static float lp[MAX_TOKENS];
    static bool greedy[MAX_TOKENS];
    double worst = 0;

    packed_start(&p);
    packed_add(&p, c->id, c->n_prompt + c->n_new, 0, 0);
    for (int32_t i = 0; i < c->n_new; i++)
        packed_want(&p, c->n_prompt + i - 1, c->id[c->n_prompt + i]);
    packed_logprob(m, &p.batch, lp, greedy);
    for (int32_t i = 0; i < c->n_new; i++) {
        assert_true(greedy[i] || m->dtype != LT_F32);
        worst = fmax(worst, fabs((double)lp[i] - c->logprob[i]));
    }
    return worst;
}

/* As generation with a cache sees it: keys stay as they were rotated, the prompt's by its length, each later one by the length so far. */
static double as_cached(const Model *m, const Case *c)
{
    static Packed p;
    static float lp[MAX_TOKENS];
    static bool greedy[MAX_TOKENS];

    packed_start(&p);
    packed_add(&p, c->id, c->n_prompt + c->n_new, 0, 0);
    for (int32_t i = 0; i < p.batch.n_token; i++)
        p.length[i] = i < c->n_prompt ? c->n_prompt : i + 1;
    for (int32_t i = 0; i < c->n_new; i++)
        packed_want(&p, c->n_prompt + i - 1, c->id[c->n_prompt + i]);
    packed_logprob(m, &p.batch, lp, greedy);
    for (int32_t i = 0; i < c->n_new; i++)
        assert_true(greedy[i]);
    return 0;
}

/* The worst deviation of all cases; `key` names the continuation in them. */
static double continuations(Device *dev, const char *folder, const char *name, DType dtype, const char *key, double (*run)(const Model *, const Case *))
{
    static Case one;
    char path[256];
    json_t *document;
    double worst = 0;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    Model *m = load_model(dev, path, dtype);
    snprintf(path, sizeof path, "golden/generate/%s.json", name);
    CHECK_OK(json_load_path(&document, test_data(path), 1 << 24));
    const JsonAt root = json_root(document, path, 0), cases = json_member(&root, "cases");
    CHECK_OK(json_to_array(cases, &n));
    assert_true(n > 0);
    for (size_t k = 0; k < n; k++) {
        const JsonAt at = json_element(&cases, k);

        read_case(&one, &at, key);
        worst = fmax(worst, run(m, &one));
    }
    json_decref(document);
    model_free(m);
    return worst;
}

static void check_continuations(Device *dev, const char *folder, const char *name, DType dtype, double bound,
                                double (*run)(const Model *, const Case *))
{
    const double off = continuations(dev, folder, name, dtype, "new", run);

    print_message("generate/%s %s: log-probabilities off by %.2e\n", name, dtype_name(dtype), off);
    check_close("log-probabilities", off, 0, bound, 0);
}

static void test_forward_f32_makes_the_greedy_continuations(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_WHOLE; i++)
        check_continuations(dev, "golden/models", golden[i], LT_F32, 5 * 6e-6, recompute);
    device_close(dev);
}

static void test_forward_f32_makes_dynamic_continuations_of_a_cache(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    continuations(dev, "golden/models", "llama_dynamic_tiny", LT_F32, "new_with_kv_cache", as_cached);
    device_close(dev);
}

/* Real weights make logits up to 30, so F32 is off by more than on the tiny models: the bound is the one the golden files suggest. What is
 * asked for are the tokens the model is sure of, so narrow dtypes stay within the bounds of the tiny models. */
static void test_forward_agrees_with_continuations_of_trained_models(void **state)
{
    static const char *const names[] = {"stories260K", "minimind2-small"};
    static const struct {
        DType dtype;
        double bound;
    } computed[] = {{LT_F32, 1e-4}, {LT_BF16, 0.25}, {LT_F16, 0.25 / 8}};
    Device *dev = cpu(2);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t d = 0; d < sizeof computed / sizeof *computed; d++)
            check_continuations(dev, "data/models", names[i], computed[d].dtype, computed[d].bound, score_once);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_f32_agrees_with_golden_files),
        cmocka_unit_test(test_forward_reads_shards_as_one_file),
        cmocka_unit_test(test_forward_f32_agrees_with_packed_golden_files),
        cmocka_unit_test(test_forward_narrow_dtypes_stay_near_golden_files),
        cmocka_unit_test(test_forward_f32_makes_the_greedy_continuations),
        cmocka_unit_test(test_forward_f32_makes_dynamic_continuations_of_a_cache),
        cmocka_unit_test(test_forward_agrees_with_continuations_of_trained_models),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
