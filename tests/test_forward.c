#include "tests/check.h"

#include "kernels/device.h"
#include "model/forward.h"
#include "tests/ref_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- batches -------------------------------------------------------------------------------------------------------------- */

enum { MAX_TOKENS = 2400, MAX_SEGMENTS = 64 };

typedef struct Packed {
    int32_t id[MAX_TOKENS], position[MAX_TOKENS];
    AttnSegment segment[MAX_SEGMENTS];
    ScorePair pair[2 * MAX_TOKENS];
    Batch batch;
} Packed;

static void pack_start(Packed *p)
{
    p->batch = (Batch){.id = p->id, .position = p->position, .segment = p->segment, .pair = p->pair};
}

/* Appends n tokens that see the ctx_len tokens from row ctx_begin and themselves; the row they begin at. */
static int32_t pack(Packed *p, const int32_t *id, int32_t n, int32_t ctx_begin, int32_t ctx_len)
{
    const int32_t begin = p->batch.n_token;

    assert_true(begin + n <= MAX_TOKENS && p->batch.n_segment < MAX_SEGMENTS);
    for (int32_t i = 0; i < n; i++) {
        p->id[begin + i] = id[i];
        p->position[begin + i] = ctx_len + i;
    }
    p->segment[p->batch.n_segment++] = (AttnSegment){begin, n, ctx_begin, ctx_len, begin};
    p->batch.n_token += n;
    return begin;
}

static void want(Packed *p, int32_t row, int32_t target) { p->pair[p->batch.n_pair++] = (ScorePair){row, target}; }

/* Every token of a plain sequence but the last predicts its successor. */
static void want_successors(Packed *p, int32_t begin, const int32_t *id, int32_t n)
{
    for (int32_t i = 0; i + 1 < n; i++)
        want(p, begin + i, id[i + 1]);
}

static BatchLimits limits_of(const Batch *b) { return (BatchLimits){b->n_token, b->n_segment, b->n_pair}; }

static void run_logprob(const Model *m, const Batch *b, float *lp, bool *greedy)
{
    const BatchLimits limits = limits_of(b);
    Workspace *ws;

    CHECK_OK(workspace_open(&ws, m, &limits));
    CHECK_OK(forward_logprob(m, ws, b, lp, greedy));
    workspace_close(ws);
}

static void run_logits(const Model *m, const Batch *b, float *logits)
{
    const BatchLimits limits = limits_of(b);
    Workspace *ws;

    CHECK_OK(workspace_open(&ws, m, &limits));
    CHECK_OK(forward_logits(m, ws, b, logits));
    workspace_close(ws);
}

static void random_ids(int32_t *id, int32_t n, int64_t vocab, uint64_t seed)
{
    TestRandom random = {seed};

    for (int32_t i = 0; i < n; i++)
        id[i] = (int32_t)(test_random(&random) % (uint64_t)vocab);
}

static Device *cpu(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

static Model *random_model(Device *dev, const ModelConfig *cfg, DType dtype)
{
    Model *m;

    CHECK_OK(model_random(&m, dev, cfg, dtype, 11));
    ref_disturb(m, 12);
    return m;
}

/* ---- against double precision --------------------------------------------------------------------------------------------- */

/* The variants of a model, one change each. */
enum { N_VARIANT = 9 };
static ModelConfig variant(int k)
{
    ModelConfig cfg = ref_config();
    RopeConfig *rope = &cfg.rope;

    switch (k) {
    case 1: cfg.tie_word_embeddings = true; break;
    case 2: cfg.qkv_bias = cfg.o_bias = true; break;
    case 3: cfg.mlp_bias = true; break;
    case 4: rope->type = ROPE_LINEAR, rope->factor = 3; break;
    case 5: rope->type = ROPE_LLAMA3, rope->factor = 8, rope->low_freq_factor = 1, rope->high_freq_factor = 4, rope->original_max_position = 32; break;
    case 6: rope->type = ROPE_YARN, rope->factor = 4, rope->beta_fast = 4, rope->beta_slow = 1, rope->truncate = true, rope->original_max_position = 32; break;
    case 7: cfg.sliding_window = 5; break;
    case 8: cfg.qk_norm = true; break;
    default: break;
    }
    return cfg;
}

static void test_forward_agrees_with_double_precision(void **state)
{
    enum { N = 70, V = 50 };
    static Packed p;
    static float got[N * V], lp[N];
    static double want_logits[N * V];
    static bool greedy[N];
    Device *dev = cpu(2);
    int32_t id[N];

    (void)state;
    random_ids(id, N, V, 1);
    for (int k = 0; k < N_VARIANT; k++) {
        const ModelConfig cfg = variant(k);
        Model *m = random_model(dev, &cfg, LT_F32);

        pack_start(&p);
        want_successors(&p, pack(&p, id, N, 0, 0), id, N);
        ref_logits(m, id, N, want_logits);
        run_logits(m, &p.batch, got);
        /* logits reach 10; F32 loses 2^-24 of a value in each of some ten roundings a layer, amplified by the sums of 20 to 28 terms */
        check_close_f32("logits", got, want_logits, N * V, 2e-5, 2e-5);
        run_logprob(m, &p.batch, lp, greedy);
        for (int32_t i = 0; i + 1 < N; i++) {
            int64_t best = 0;

            check_close("logprob", (double)lp[i], ref_logprob(want_logits + i * V, V, id[i + 1]), 4e-5, 2e-5);
            for (int64_t v = 1; v < V; v++)
                best = got[i * V + v] > got[i * V + best] ? v : best;
            assert_int_equal(greedy[i], best == id[i + 1]);
        }
        model_free(m);
    }
    device_close(dev);
}

/* ---- the same bits, whatever travels along -------------------------------------------------------------------------------- */

static const DType dtypes[] = {LT_F32, LT_BF16};

/* One context with three endings, scored as one batch that shares the context, and as three sequences. */
static void test_forward_shared_context_changes_no_bit(void **state)
{
    enum { CTX = 67, END = 9 };
    static Packed shared, alone;
    int32_t id[CTX + 3 * END], sequence[CTX + END];
    float lp_shared[3 * END], lp_alone[END];
    bool greedy[3 * END];
    Device *dev = cpu(2);
    const ModelConfig cfg = ref_config();

    (void)state;
    random_ids(id, CTX + 3 * END, cfg.vocab_size, 2);
    for (int d = 0; d < 2; d++) {
        Model *m = random_model(dev, &cfg, dtypes[d]);

        pack_start(&shared);
        pack(&shared, id, CTX, 0, 0);
        for (int e = 0; e < 3; e++) /* first tokens of all endings hang on the context's last row */
            want(&shared, CTX - 1, id[CTX + e * END]);
        for (int e = 0; e < 3; e++) {
            const int32_t *ending = id + CTX + e * END;

            want_successors(&shared, pack(&shared, ending, END, 0, CTX), ending, END);
        }
        run_logprob(m, &shared.batch, lp_shared, greedy);
        for (int e = 0; e < 3; e++) {
            memcpy(sequence, id, CTX * sizeof *id);
            memcpy(sequence + CTX, id + CTX + e * END, END * sizeof *id);
            pack_start(&alone);
            pack(&alone, sequence, CTX + END, 0, 0);
            for (int i = 0; i < END; i++)
                want(&alone, CTX - 1 + i, sequence[CTX + i]);
            run_logprob(m, &alone.batch, lp_alone, greedy);
            assert_memory_equal(&lp_alone[0], &lp_shared[e], sizeof *lp_alone);
            assert_memory_equal(&lp_alone[1], &lp_shared[3 + e * (END - 1)], (END - 1) * sizeof *lp_alone);
        }
        model_free(m);
    }
    device_close(dev);
}

/* More rows than one chunk of logits holds, many sequences: each as if it were alone, and in any order. */
static void test_forward_batch_and_chunks_change_no_bit(void **state)
{
    enum { N_SEQ = 24, LEN = 99 };
    static Packed p;
    static float lp[N_SEQ * LEN];
    static bool greedy[N_SEQ * LEN];
    Device *dev = cpu(2);
    ModelConfig cfg = ref_config();
    int32_t id[LEN];
    float first[LEN];
    bool first_greedy[LEN];

    (void)state;
    random_ids(id, LEN, cfg.vocab_size, 3);
    for (int d = 0; d < 2; d++) {
        Model *m = random_model(dev, &cfg, dtypes[d]);

        pack_start(&p);
        want_successors(&p, pack(&p, id, LEN, 0, 0), id, LEN);
        run_logprob(m, &p.batch, first, first_greedy);
        pack_start(&p);
        for (int s = 0; s < N_SEQ; s++)
            want_successors(&p, pack(&p, id, LEN, 0, 0), id, LEN);
        run_logprob(m, &p.batch, lp, greedy);
        for (int s = 0; s < N_SEQ; s++) {
            assert_memory_equal(lp + s * (LEN - 1), first, (LEN - 1) * sizeof *lp);
            assert_memory_equal(greedy + s * (LEN - 1), first_greedy, (LEN - 1) * sizeof *greedy);
        }
        model_free(m);
    }
    device_close(dev);
}

/* Rows left out, and several pairs on one row, change nothing for the others. */
static void test_forward_pairs_change_no_bit(void **state)
{
    enum { N = 40 };
    static Packed p;
    int32_t id[N];
    float all[N], some[N];
    bool greedy[N];
    Device *dev = cpu(2);
    const ModelConfig cfg = ref_config();
    Model *m = random_model(dev, &cfg, LT_F32);

    (void)state;
    random_ids(id, N, cfg.vocab_size, 4);
    pack_start(&p);
    want_successors(&p, pack(&p, id, N, 0, 0), id, N);
    run_logprob(m, &p.batch, all, greedy);
    p.batch.n_pair = 0;
    for (int32_t row = 3; row < N - 1; row += 7) {
        want(&p, row, id[row + 1]);
        want(&p, row, (id[row + 1] + 1) % 50);
        want(&p, row, id[row + 1]);
    }
    run_logprob(m, &p.batch, some, greedy);
    for (int32_t i = 0; i < p.batch.n_pair; i++)
        if (i % 3 != 1)
            assert_true(some[i] == all[p.pair[i].row]);
        else
            assert_true(some[i] != all[p.pair[i].row]);
    model_free(m);
    device_close(dev);
}

static void test_forward_threads_change_no_bit(void **state)
{
    enum { LEN = 90, N_SEQ = 5 };
    static const int threads[] = {1, 2, 4};
    static Packed p;
    static float lp[3][N_SEQ * LEN];
    static bool greedy[N_SEQ * LEN];
    int32_t id[LEN];
    const ModelConfig cfg = ref_config();

    (void)state;
    random_ids(id, LEN, cfg.vocab_size, 5);
    for (int d = 0; d < 2; d++) {
        for (int t = 0; t < 3; t++) {
            Device *dev = cpu(threads[t]);
            Model *m = random_model(dev, &cfg, dtypes[d]);

            pack_start(&p);
            for (int s = 0; s < N_SEQ; s++)
                want_successors(&p, pack(&p, id, LEN - 7 * s, 0, 0), id, LEN - 7 * s);
            run_logprob(m, &p.batch, lp[t], greedy);
            model_free(m);
            device_close(dev);
        }
        assert_memory_equal(lp[0], lp[1], (size_t)p.batch.n_pair * sizeof(float));
        assert_memory_equal(lp[0], lp[2], (size_t)p.batch.n_pair * sizeof(float));
    }
}

/* ---- workspace and bad batches -------------------------------------------------------------------------------------------- */

static void test_forward_refuses_bad_tokens(void **state)
{
    static Packed p;
    int32_t id[3] = {1, 2, 3};
    float lp[3];
    bool greedy[3];
    Device *dev = cpu(1);
    const ModelConfig cfg = ref_config();
    Model *m = random_model(dev, &cfg, LT_F32);
    const BatchLimits limits = {3, 1, 3};
    Workspace *ws;

    (void)state;
    CHECK_OK(workspace_open(&ws, m, &limits));
    pack_start(&p);
    want_successors(&p, pack(&p, id, 3, 0, 0), id, 3);
    p.id[1] = 50;
    CHECK_FAILS(forward_logprob(m, ws, &p.batch, lp, greedy), LT_E_INPUT, "vocab_size 50, found 50");
    p.id[1] = -1;
    CHECK_FAILS(forward_logprob(m, ws, &p.batch, lp, greedy), LT_E_INPUT, "found -1");
    p.id[1] = 2;
    p.pair[0].target = 50;
    CHECK_FAILS(forward_logprob(m, ws, &p.batch, lp, greedy), LT_E_INPUT, "target 0");
    p.pair[0].target = 2;
    p.position[2] = 128;
    CHECK_FAILS(forward_logprob(m, ws, &p.batch, lp, greedy), LT_E_INPUT, "position below 128");
    p.position[2] = 2;
    CHECK_OK(forward_logprob(m, ws, &p.batch, lp, greedy));
    p.batch.n_pair = 0;
    CHECK_OK(forward_logprob(m, ws, &p.batch, lp, greedy));
    workspace_close(ws);
    model_free(m);
    device_close(dev);
}

static void test_workspace_plan_is_what_it_takes(void **state)
{
    Device *dev = cpu(1);
    const ModelConfig cfg = ref_config();
    Model *m = random_model(dev, &cfg, LT_BF16);
    const BatchLimits small = {10, 2, 3}, large = {1000, 20, 300}, none = {0, 0, 0};
    uint64_t before, all;
    Workspace *ws;

    (void)state;
    assert_true(workspace_bytes(m, &small) < workspace_bytes(m, &large));
    /* activations of a token: x, h, and attention's 2 (8 + 4) 6 or the MLP's 3 x 28 columns, two bytes each */
    assert_true(workspace_bytes(m, &large) > 1000 * 2 * (20 + 20 + 84) + 1000 * 50 * 4);
    CHECK_OK(workspace_open(&ws, m, &none));
    workspace_close(ws);
    before = mem_count();
    CHECK_OK(workspace_open(&ws, m, &small));
    workspace_close(ws);
    all = mem_count() - before;
    for (uint64_t n = 1; n <= all; n++) {
        const int64_t held = mem_held();

        mem_fail_at(n);
        CHECK_FAILS(workspace_open(&ws, m, &small), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
    }
    model_free(m);
    device_close(dev);
}

/* ---- golden files --------------------------------------------------------------------------------------------------------- */

static const char *const golden[] = {"llama2_tiny", "llama_bias_tiny", "llama3_tiny", "llama_linear_tiny", "llama_yarn_tiny", "llama3_tiny_bf16"};
enum { N_GOLDEN = sizeof golden / sizeof *golden };

static Model *golden_model(Device *dev, const char *name, DType dtype)
{
    Checkpoint *ckpt;
    char path[256];
    Model *m;

    snprintf(path, sizeof path, "golden/models/%s", name);
    CHECK_OK(checkpoint_open(&ckpt, test_data(path)));
    CHECK_OK(model_load(&m, dev, ckpt, &(LoadOptions){.dtype = dtype}));
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
    pack_start(&p);
    for (int s = 0; s < n_seq; s++)
        at = pack(&p, g->id + at, len[s], 0, 0) + len[s];
    assert_int_equal(at, g->n);
    for (int32_t i = 0; i < at; i++)
        if (g->target[i] >= 0)
            want(&p, i, g->target[i]);
    run_logits(m, &p.batch, logits);
    run_logprob(m, &p.batch, lp, greedy);
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
    Model *m = golden_model(dev, name, dtype);
    Deviation off;
    Golden g;

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
        if (strcmp(golden[i], "llama3_tiny_bf16") == 0) /* has no packed file */
            continue;
        const Deviation off = golden_deviation(dev, "packed", golden[i], LT_F32);

        check_close("logits", off.logits, 0, 5 * 8e-6, 0);
        check_close("log-probabilities", off.logprob, 0, 5 * 6e-6, 0);
    }
    device_close(dev);
}

/* BF16 keeps 8 bits: a stored value is off by up to 2^-9 of itself, some twenty of them in a row a token; logits here reach 5. */
static void test_forward_bf16_stays_near_golden_files(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        const Deviation off = golden_deviation(dev, "forward", golden[i], LT_BF16);

        check_close("logits", off.logits, 0, 0.25, 0);
        check_close("log-probabilities", off.logprob, 0, 0.25, 0);
    }
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_agrees_with_double_precision),
        cmocka_unit_test(test_forward_shared_context_changes_no_bit),
        cmocka_unit_test(test_forward_batch_and_chunks_change_no_bit),
        cmocka_unit_test(test_forward_pairs_change_no_bit),
        cmocka_unit_test(test_forward_threads_change_no_bit),
        cmocka_unit_test(test_forward_refuses_bad_tokens),
        cmocka_unit_test(test_workspace_plan_is_what_it_takes),
        cmocka_unit_test(test_forward_f32_agrees_with_golden_files),
        cmocka_unit_test(test_forward_f32_agrees_with_packed_golden_files),
        cmocka_unit_test(test_forward_bf16_stays_near_golden_files),
    };

    if (setenv("LETHE_CACHE", test_folder(), 1) != 0) /* hashes of test files stay out of the user's cache */
        return 1;
    return TEST_MAIN(tests);
}
