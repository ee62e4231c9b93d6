#include "tests/check.h"

#include "kernels/device.h"
#include "model/forward.h"
#include "tests/packed.h"
#include "tests/ref_model.h"

static Device *cpu(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, test_device(), n_thread));
    return dev;
}

static Model *random_model(Device *dev, const ModelConfig *cfg, DType dtype)
{
    Model *m;

    CHECK_OK(model_random(&m, dev, cfg, dtype, 11));
    ref_model_disturb(m, 12);
    return m;
}

/* ---- against double precision --------------------------------------------------------------------------------------------- */

/* Every architecture, and every switch of config.json that changes what is computed; sizes as in ref_model_config. */
static const char *const variants[] = {
    "\"architectures\":[\"LlamaForCausalLM\"]",
    "\"architectures\":[\"LlamaForCausalLM\"],\"tie_word_embeddings\":true",
    "\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":true",
    "\"architectures\":[\"LlamaForCausalLM\"],\"mlp_bias\":true",
    "\"architectures\":[\"LlamaForCausalLM\"],\"rope_scaling\":{\"type\":\"linear\",\"factor\":3}",
    "\"architectures\":[\"LlamaForCausalLM\"],\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
    "\"high_freq_factor\":4,\"original_max_position_embeddings\":32}",
    "\"architectures\":[\"LlamaForCausalLM\"],\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":4,"
    "\"original_max_position_embeddings\":32}",
    "\"architectures\":[\"LlamaForCausalLM\"],\"max_position_embeddings\":32,\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":2}",
    "\"architectures\":[\"LlamaForCausalLM\"],\"max_position_embeddings\":32,\"rope_parameters\":{\"rope_type\":\"longrope\",\"factor\":4,"
    "\"short_factor\":[1,1.5,2],\"long_factor\":[1,3,9]}",
    "\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":5",
    "\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":null",
    "\"architectures\":[\"Qwen2ForCausalLM\"]",
    "\"architectures\":[\"Qwen2ForCausalLM\"],\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":1",
    "\"architectures\":[\"Qwen3ForCausalLM\"],\"tie_word_embeddings\":true",
    "\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":true,\"sliding_window\":5,\"use_sliding_window\":true,"
    "\"layer_types\":[\"sliding_attention\",\"full_attention\"]",
};
enum { N_VARIANT = sizeof variants / sizeof *variants, DYNAMIC = 7 };

static ModelConfig variant(const char *members)
{
    ModelConfig cfg;
    StrBuf text;

    strbuf_init(&text);
    strbuf_addf(&text,
                "{\"vocab_size\":50,\"hidden_size\":20,\"intermediate_size\":28,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                "\"num_key_value_heads\":2,\"head_dim\":6,\"rms_norm_eps\":1e-5,\"initializer_range\":0.3,%s}",
                members);
    CHECK_OK(config_parse(&cfg, strbuf_str(&text), members));
    strbuf_release(&text);
    return cfg;
}

/* Tables that depend on the length go on beyond max_position_embeddings: there is nothing but this bound to raise. */
static void allow_positions(Model *m, int64_t n)
{
    if (rope_by_length(&m->cfg))
        m->rope.n_position = n;
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
    packed_random_ids(id, N, V, 1);
    for (int k = 0; k < N_VARIANT; k++) {
        const ModelConfig cfg = variant(variants[k]);
        Model *m = random_model(dev, &cfg, LT_F32);

        allow_positions(m, N);
        packed_start(&p);
        packed_want_successors(&p, packed_add(&p, id, N, 0, 0), id, N);
        ref_model_logits(m, id, N, want_logits);
        packed_logits(m, &p.batch, got);
        /* logits reach 10; F32 loses 2^-24 of a value in each of some ten roundings a layer, amplified by the sums of 20 to 28 terms */
        check_close_f32("logits", got, want_logits, N * V, 2e-5, 2e-5);
        packed_logprob(m, &p.batch, lp, greedy);
        for (int32_t i = 0; i + 1 < N; i++) {
            int64_t best = 0;

            check_close("logprob", (double)lp[i], ref_model_logprob(want_logits + i * V, V, id[i + 1]), 4e-5, 2e-5);
            for (int64_t v = 1; v < V; v++)
                best = got[i * V + v] > got[i * V + best] ? v : best;
            assert_int_equal(greedy[i], best == id[i + 1]);
        }
        model_free(m);
    }
    device_close(dev);
}

/* ---- the same bits, whatever travels along -------------------------------------------------------------------------------- */

static const DType dtypes[] = {LT_F32, LT_BF16, LT_F16};
enum { N_DTYPE = sizeof dtypes / sizeof *dtypes };

/* One context with three endings, scored as one batch that shares the context, and as three sequences. */
static void check_sharing(Device *dev, const ModelConfig *cfg, DType dtype)
{
    enum { CTX = 67, END = 9 };
    static Packed shared, alone;
    int32_t id[CTX + 3 * END], sequence[CTX + END];
    float lp_shared[3 * END], lp_alone[END];
    bool greedy[3 * END];
    Model *m = random_model(dev, cfg, dtype);

    allow_positions(m, CTX + END);
    packed_random_ids(id, CTX + 3 * END, cfg->vocab_size, 2);
    packed_start(&shared);
    packed_add(&shared, id, CTX, 0, 0);
    for (int e = 0; e < 3; e++) /* first tokens of all endings hang on the context's last row */
        packed_want(&shared, CTX - 1, id[CTX + e * END]);
    for (int e = 0; e < 3; e++) {
        const int32_t *ending = id + CTX + e * END;

        packed_want_successors(&shared, packed_add(&shared, ending, END, 0, CTX), ending, END);
    }
    packed_logprob(m, &shared.batch, lp_shared, greedy);
    for (int e = 0; e < 3; e++) {
        memcpy(sequence, id, CTX * sizeof *id);
        memcpy(sequence + CTX, id + CTX + e * END, END * sizeof *id);
        packed_start(&alone);
        packed_add(&alone, sequence, CTX + END, 0, 0);
        for (int i = 0; i < END; i++)
            packed_want(&alone, CTX - 1 + i, sequence[CTX + i]);
        packed_logprob(m, &alone.batch, lp_alone, greedy);
        assert_memory_equal(&lp_alone[0], &lp_shared[e], sizeof *lp_alone);
        assert_memory_equal(&lp_alone[1], &lp_shared[3 + e * (END - 1)], (END - 1) * sizeof *lp_alone);
    }
    model_free(m);
}

static void test_forward_shared_context_changes_no_bit(void **state)
{
    Device *dev = cpu(2);

    (void)state;
    for (int k = 0; k < N_VARIANT; k++)
        for (int d = 0; d < N_DTYPE; d++) {
            const ModelConfig cfg = variant(variants[k]);

            check_sharing(dev, &cfg, dtypes[d]);
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
    ModelConfig cfg = ref_model_config();
    int32_t id[LEN];
    float first[LEN];
    bool first_greedy[LEN];

    (void)state;
    packed_random_ids(id, LEN, cfg.vocab_size, 3);
    for (int d = 0; d < N_DTYPE; d++) {
        Model *m = random_model(dev, &cfg, dtypes[d]);

        packed_start(&p);
        packed_want_successors(&p, packed_add(&p, id, LEN, 0, 0), id, LEN);
        packed_logprob(m, &p.batch, first, first_greedy);
        packed_start(&p);
        for (int s = 0; s < N_SEQ; s++)
            packed_want_successors(&p, packed_add(&p, id, LEN, 0, 0), id, LEN);
        packed_logprob(m, &p.batch, lp, greedy);
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
    const ModelConfig cfg = ref_model_config();
    Model *m = random_model(dev, &cfg, LT_F32);

    (void)state;
    packed_random_ids(id, N, cfg.vocab_size, 4);
    packed_start(&p);
    packed_want_successors(&p, packed_add(&p, id, N, 0, 0), id, N);
    packed_logprob(m, &p.batch, all, greedy);
    p.batch.n_pair = 0;
    for (int32_t row = 3; row < N - 1; row += 7) {
        packed_want(&p, row, id[row + 1]);
        packed_want(&p, row, (id[row + 1] + 1) % 50);
        packed_want(&p, row, id[row + 1]);
    }
    packed_logprob(m, &p.batch, some, greedy);
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
    const ModelConfig cfg = ref_model_config();

    (void)state;
    packed_random_ids(id, LEN, cfg.vocab_size, 5);
    for (int d = 0; d < N_DTYPE; d++) {
        for (int t = 0; t < 3; t++) {
            Device *dev = cpu(threads[t]);
            Model *m = random_model(dev, &cfg, dtypes[d]);

            packed_start(&p);
            for (int s = 0; s < N_SEQ; s++)
                packed_want_successors(&p, packed_add(&p, id, LEN - 7 * s, 0, 0), id, LEN - 7 * s);
            packed_logprob(m, &p.batch, lp[t], greedy);
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
    const ModelConfig cfg = ref_model_config();
    Model *m = random_model(dev, &cfg, LT_F32);
    const BatchLimits limits = {.n_token = 3, .n_segment = 1, .n_pair = 3};
    Workspace *ws;

    (void)state;
    CHECK_OK(workspace_open(&ws, m, &limits));
    packed_start(&p);
    packed_want_successors(&p, packed_add(&p, id, 3, 0, 0), id, 3);
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

static void check_starved(const Model *m, const BatchLimits *limits)
{
    const uint64_t before = mem_count();
    Workspace *ws;

    CHECK_OK(workspace_open(&ws, m, limits));
    workspace_close(ws);
    const uint64_t all = mem_count() - before;
    for (uint64_t n = 1; n <= all; n++) {
        const int64_t held = mem_held();

        mem_fail_at(n);
        CHECK_FAILS(workspace_open(&ws, m, limits), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
    }
}

static void test_workspace_plan_is_what_it_takes(void **state)
{
    Device *dev = cpu(1);
    const ModelConfig cfg = ref_model_config();
    Model *m = random_model(dev, &cfg, LT_BF16);
    const BatchLimits small = {.n_token = 10, .n_segment = 2, .n_pair = 3}, large = {.n_token = 1000, .n_segment = 20, .n_pair = 300}, none = {0};
    Workspace *ws;

    (void)state;
    assert_true(workspace_bytes(m, &small) < workspace_bytes(m, &large));
    /* activations of a token: x, h, and attention's 2 (8 + 4) 6 or the MLP's 3 x 28 columns, two bytes each */
    assert_true(workspace_bytes(m, &large) > 1000 * 2 * (20 + 20 + 84) + 1000 * 50 * 4);
    CHECK_OK(workspace_open(&ws, m, &none));
    workspace_close(ws);
    check_starved(m, &small);
    model_free(m);
    const ModelConfig by_length = variant(variants[DYNAMIC]);
    m = random_model(dev, &by_length, LT_BF16);
    check_starved(m, &small);
    model_free(m);
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
    };
    return TEST_MAIN(tests);
}
