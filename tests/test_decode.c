/* The pass over a cache: a prompt read in it has the bits of scoring, in however many pieces, beside whatever else; decoding agrees with double
 * precision. */
#include "model/decode.h"

#include "model/forward.h"
#include "tests/adapters.h"
#include "tests/check.h"
#include "tests/ref_model.h"

enum { N = 90, V = 50, PAGES = 12 };

typedef struct World {
    Device *dev;
    Model *model;
    Adapter *adapter;
    KvCache cache;
    Decoder *decoder;
} World;

/* In place: the decoder points to the cache. */
static void world_open(World *w, const ModelConfig *cfg, DType dtype, const char *adapter)
{
    *w = (World){0};
    CHECK_OK(device_open(&w->dev, test_device(), 2));
    CHECK_OK(model_random(&w->model, w->dev, cfg, dtype, 21));
    ref_model_disturb(w->model, 22);
    if (adapter != NULL)
        w->adapter = adapter_of(w->model, adapter_random(adapter, cfg, 3));
    CHECK_OK(kvcache_open(&w->cache, w->model, PAGES));
    CHECK_OK(decoder_open(&w->decoder, w->model, &w->cache,
                          &(DecodeLimits){.n_token = 2 * N, .n_sequence = 4, .n_choice = 2 * N, .n_page = 3,
                                          .max_rank = w->adapter != NULL ? w->adapter->max_rank : 0}));
}

static void world_close(World *w)
{
    decoder_close(w->decoder);
    kvcache_close(&w->cache);
    adapter_free(w->adapter);
    model_free(w->model);
    device_close(w->dev);
}

static void make_ids(int32_t *id, uint64_t seed)
{
    TestRandom random = {seed};

    for (int i = 0; i < N; i++)
        id[i] = (int32_t)(test_random(&random) % V);
}

static KvSequence new_sequence(World *w, int n_page)
{
    KvSequence s;

    CHECK_OK(kvseq_open(&s, n_page));
    for (int i = 0; i < n_page; i++)
        assert_true(kvseq_grow(&w->cache, &s));
    return s;
}

/* What scoring says about each token being followed by `target`. */
static void score(const World *w, const int32_t *id, const int32_t *target, float *lp, bool *greedy)
{
    const AttnSegment segment = {.q_len = N};
    int32_t position[N], length[N];
    ScorePair pair[N];
    Workspace *ws;

    for (int i = 0; i < N; i++) {
        position[i] = i;
        length[i] = N;
        pair[i] = (ScorePair){i, target[i]};
    }
    const Batch batch = {.id = id, .position = position, .length = length, .n_token = N, .segment = &segment, .n_segment = 1, .pair = pair,
                         .n_pair = N, .adapter = w->adapter};
    CHECK_OK(workspace_open(&ws, w->model,
                            &(BatchLimits){.n_token = N, .n_segment = 1, .n_pair = N, .max_rank = w->adapter != NULL ? w->adapter->max_rank : 0}));
    CHECK_OK(forward_logprob(w->model, ws, &batch, lp, greedy));
    workspace_close(ws);
}

/* Reads `id` in pieces of at most `piece`, asking for the best id behind every token; another sequence travels along. */
static void read_in_pieces(World *w, const int32_t *id, int piece, int32_t *best, float *lp)
{
    KvSequence s = new_sequence(w, 2), other = new_sequence(w, 2);

    for (int at = 0; at < N; at += piece) {
        const int n = N - at < piece ? N - at : piece;
        const DecodeSequence sequence[2] = {{other.page, 0, 3, 3}, {s.page, at, n, N}};
        DecodeChoice choice[N] = {{0}};
        int32_t both[N + 3] = {7, 8, 9};

        memcpy(both + 3, id + at, (size_t)n * sizeof *id);
        for (int i = 0; i < n; i++)
            choice[i] = (DecodeChoice){.row = 3 + i, .params = {.top_p = 1}};
        CHECK_OK(decode_run(w->decoder, &(DecodeBatch){.phase = GEMM_WIDE, .id = both, .sequence = sequence, .choice = choice, .n_sequence = 2,
                                                       .n_choice = n, .adapter = w->adapter}, best + at, lp + at));
    }
    kvseq_close(&w->cache, &s);
    kvseq_close(&w->cache, &other);
}

static void check_reading(const ModelConfig *cfg, DType dtype, const char *adapter)
{
    static const int pieces[] = {N, 64, 65, 17, 1};
    int32_t id[N], best[N];
    float lp[N], want[N];
    bool greedy[N];
    World w;

    world_open(&w, cfg, dtype, adapter);
    make_ids(id, 5);
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        read_in_pieces(&w, id, pieces[p], best, lp);
        score(&w, id, best, want, greedy);
        for (int i = 0; i < N; i++) {
            assert_true(greedy[i]);
            if (memcmp(&lp[i], &want[i], sizeof lp[i]) != 0)
                fail_msg("pieces of %d, token %d: %.9g, but %.9g in scoring", pieces[p], i, (double)lp[i], (double)want[i]);
        }
    }
    world_close(&w);
}

static void test_decode_reads_as_scoring_does(void **state)
{
    ModelConfig cfg = ref_model_config();

    (void)state;
    check_reading(&cfg, LT_F32, NULL);
    check_reading(&cfg, LT_BF16, NULL);
    check_reading(&cfg, LT_F32, "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": \"all-linear\"}");
    cfg.sliding_window = 9;
    cfg.qkv_bias = cfg.qk_norm = true;
    check_reading(&cfg, LT_F32, NULL);
}

/* One token at a time, and several choices from one row. */
static void test_decode_agrees_with_double_precision(void **state)
{
    const ModelConfig cfg = ref_model_config();
    static double logits[N * V];
    int32_t id[N], got[3];
    float lp[3];
    World w;

    (void)state;
    world_open(&w, &cfg, LT_F32, NULL);
    KvSequence s = new_sequence(&w, 2);
    make_ids(id, 6);
    ref_model_logits(w.model, id, N, logits);
    for (int i = 0; i < N; i++) {
        const DecodeSequence sequence = {s.page, i, 1, i + 1};
        const DecodeChoice choice[3] = {{0, {.top_p = 1}}, {0, {.temperature = 1, .top_p = 1, .step = (uint32_t)i}}, {0, {.top_p = 1}}};

        CHECK_OK(decode_run(w.decoder, &(DecodeBatch){.phase = GEMM_NARROW, .id = &id[i], .sequence = &sequence, .choice = choice,
                                                      .n_sequence = 1, .n_choice = 3}, got, lp));
        assert_true(got[0] == got[2] && lp[0] == lp[2]);
        for (int k = 0; k < 2; k++) /* the bound of test_forward's log-probabilities */
            check_close("log-probability", (double)lp[k], ref_model_logprob(logits + i * V, V, got[k]), 4e-5, 2e-5);
    }
    kvseq_close(&w.cache, &s);
    world_close(&w);
}

/* Decodes N tokens one by one; the log-probability of the best id behind each. */
static void decode_all(World *w, const int32_t *id, const PackedWeights *packed, float *lp)
{
    KvSequence s = new_sequence(w, 2);

    for (int i = 0; i < N; i++) {
        const DecodeSequence sequence = {s.page, i, 1, i + 1};
        const DecodeChoice choice = {0, {.top_p = 1}};
        int32_t best;

        CHECK_OK(decode_run(w->decoder, &(DecodeBatch){.phase = GEMM_NARROW, .id = &id[i], .sequence = &sequence, .choice = &choice,
                                                       .n_sequence = 1, .n_choice = 1, .packed = packed}, &best, &lp[i]));
    }
    kvseq_close(&w->cache, &s);
}

static void test_packed_weights_change_no_bit(void **state)
{
    ModelConfig cfg = ref_model_config();

    (void)state;
    cfg.qkv_bias = true;
    for (DType dtype = LT_F32; dtype <= LT_BF16; dtype++) {
        PackedWeights packed = {.matrix = NULL};
        int32_t id[N];
        float plain[N], fast[N];
        World w;

        world_open(&w, &cfg, dtype, NULL);
        if (packed_bytes(w.model) == 0) {
            world_close(&w);
            test_skip("packing does not help on this device");
        }
        make_ids(id, 9);
        CHECK_OK(packed_open(&packed, w.model));
        decode_all(&w, id, NULL, plain);
        decode_all(&w, id, &packed, fast);
        assert_memory_equal(fast, plain, sizeof plain);
        /* The copy is what is read: with its head wiped, the answers change. */
        CHECK_OK(device_fill_zero(w.dev, packed.head));
        decode_all(&w, id, &packed, fast);
        assert_memory_not_equal(fast, plain, sizeof plain);
        packed_close(&packed);
        world_close(&w);
    }
}

/* No choice: only keys are written, and they are the ones that reading in one go writes. */
static void test_decode_without_choices_fills_the_cache(void **state)
{
    const ModelConfig cfg = ref_model_config();
    World w;

    (void)state;
    world_open(&w, &cfg, LT_F32, NULL);
    KvSequence s = new_sequence(&w, 2);
    const DecodeSequence first = {s.page, 0, N - 1, N}, last = {s.page, N - 1, 1, N};
    const DecodeChoice choice = {0, {.top_p = 1}};
    int32_t id[N], best[N], got;
    float lp[N], got_lp;

    make_ids(id, 8);
    read_in_pieces(&w, id, N, best, lp);
    CHECK_OK(decode_run(w.decoder, &(DecodeBatch){.id = id, .sequence = &first, .n_sequence = 1}, NULL, NULL));
    CHECK_OK(decode_run(w.decoder, &(DecodeBatch){.id = id + N - 1, .sequence = &last, .choice = &choice, .n_sequence = 1, .n_choice = 1}, &got,
                        &got_lp));
    assert_true(got == best[N - 1] && got_lp == lp[N - 1]);
    kvseq_close(&w.cache, &s);
    world_close(&w);
}

static void test_decode_open_survives_lack_of_memory(void **state)
{
    const ModelConfig cfg = ref_model_config();
    World w;
    Status st = LT_E_NOMEM;

    (void)state;
    world_open(&w, &cfg, LT_F32, NULL);
    for (uint64_t n = 1; st != LT_OK; n++) {
        const int64_t held = mem_held();
        Decoder *d;

        mem_fail_at(n);
        st = decoder_open(&d, w.model, &w.cache, &(DecodeLimits){.n_token = 8, .n_sequence = 2, .n_choice = 2, .n_page = 2});
        mem_fail_at(0);
        if (st == LT_OK)
            decoder_close(d);
        else
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_reads_as_scoring_does),
        cmocka_unit_test(test_decode_agrees_with_double_precision),
        cmocka_unit_test(test_decode_without_choices_fills_the_cache),
        cmocka_unit_test(test_packed_weights_change_no_bit),
        cmocka_unit_test(test_decode_open_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
