/* A completion does not depend on what is generated beside it, on order, on how prompts are cut and shared, on having had to leave the cache, or on the
 * number of threads: ids and log-probabilities are compared to the bit with each request alone. */
#include "eval/engine/generate.h"

#include "core/mem.h"
#include "kernels/ops.h"
#include "model/kvcache.h"
#include "tests/check.h"
#include "tests/ref_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 120, N_GROUP = 16, MOST_SAMPLES = 5, MOST_PROMPT = 420, MOST_NEW = 90, MAX_LENGTH = 480, PREFIX = 300 };

typedef struct Item {
    Request request[MOST_SAMPLES];
    int32_t token[MOST_PROMPT];
    int32_t n_request;
} Item;

typedef struct Answer {
    int32_t id[MOST_NEW];
    float lp[MOST_NEW];
    int32_t n, n_input, n_truncated;
    Finish finish;
} Answer;

typedef struct Answers {
    Answer of[N_GROUP][MOST_SAMPLES];
    int n_group;
} Answers;

static Item items[N_GROUP];
static int n_group; /* of them in use: a simulated GPU takes its time */
static Answers want, got;
static const int32_t eos[] = {7, 31};

/* Prompts around the pages of 64 and splits of 256 positions; every third one begins with the same PREFIX tokens; one is too long. Greedy ones
 * beside all ways of sampling. */
static void make_items(void)
{
    static const int32_t length[] = {1, 5, 63, 64, 65, 130, 257, 20};
    TestRandom random = {99};
    int32_t prefix[PREFIX];

    for (int i = 0; i < PREFIX; i++)
        prefix[i] = (int32_t)(test_random(&random) % VOCABULARY);
    n_group = strcmp(test_device(), "cudasim") == 0 ? 7 : N_GROUP;
    for (int g = 0; g < n_group; g++) {
        Item *item = &items[g];
        const int32_t n_prefix = g % 3 == 1 ? PREFIX : 0, n_own = n_prefix > 0 ? 1 + length[g % 8] % 100 : length[g % 8];
        const int32_t n = g == 6 ? MOST_PROMPT : n_prefix + n_own;

        item->n_request = 1 + g % MOST_SAMPLES;
        for (int32_t i = 0; i < n; i++)
            item->token[i] = i < n_prefix ? prefix[i] : (int32_t)(test_random(&random) % VOCABULARY);
        for (int32_t r = 0; r < item->n_request; r++) {
            const Sampling how = {.temperature = g % 4 == 0 ? 0 : 0.5f + 0.2f * (float)(g % 5), .top_p = g % 3 == 0 ? 0.9f : 1,
                                  .top_k = g % 5 == 2 ? 12 : 0, .max_new = 10 + (g * 37 + r * 11) % (MOST_NEW - 10),
                                  .ignore_eos = g % 6 == 5, .seed = sampling_seed(5, item->token, n, r)};
            item->request[r] = (Request){.kind = REQUEST_GENERATE, .id = g * MOST_SAMPLES + r, .adapter = -1, .token = item->token, .n_token = n,
                                         .sampling = how};
            if (g % 2 == 1)
                item->request[r].sampling.max_new = item->request[0].sampling.max_new; /* same prompt after truncation: read once */
        }
    }
}

typedef struct Round {
    RequestGroup group[N_GROUP * MOST_SAMPLES];
    int n, next, delivered;
    Answers *answers;
} Round;

static Status ask(void *context, RequestGroup *group, bool *more)
{
    Round *round = context;

    *more = round->next < round->n;
    if (*more)
        *group = round->group[round->next++];
    return LT_OK;
}

static Status note(void *context, const RequestGroup *group, const Response *r)
{
    Round *round = context;

    assert_ptr_equal(group->request, round->group[round->delivered++].request); /* in the order given */
    for (int32_t i = 0; i < group->n_request; i++, r++) {
        Answer *a = &round->answers->of[r->id / MOST_SAMPLES][r->id % MOST_SAMPLES];

        assert_int_equal(r->id, group->request[i].id);
        *a = (Answer){.n = r->n_score, .n_input = r->n_input, .n_truncated = r->n_truncated, .finish = r->finish};
        memcpy(a->id, r->token, (size_t)r->n_score * sizeof *a->id);
        memcpy(a->lp, r->token_logprob, (size_t)r->n_score * sizeof *a->lp);
    }
    return LT_OK;
}

static GeneratorStats run_round(const Model *model, GeneratorOptions options, Round *round)
{
    Generator *g;
    GeneratorStats stats;

    options.rules = (EndRules){.eos = eos, .n_eos = 2};
    options.max_length = MAX_LENGTH;
    round->next = round->delivered = 0;
    CHECK_OK(generator_open(&g, model, &options));
    CHECK_OK(generator_run(g, ask, round, note, round));
    assert_int_equal(round->delivered, round->n);
    stats = *generator_stats(g);
    generator_close(g);
    return stats;
}

static void check_equal(const char *what)
{
    for (int g = 0; g < n_group; g++)
        for (int32_t r = 0; r < items[g].n_request; r++) {
            const Answer *a = &got.of[g][r], *b = &want.of[g][r];

            if (a->n != b->n || a->finish != b->finish || a->n_input != b->n_input || a->n_truncated != b->n_truncated)
                fail_msg("%s: prompt %d, sample %d: %d ids (%s), but %d (%s) alone", what, g, r, a->n, finish_name(a->finish), b->n,
                         finish_name(b->finish));
            for (int32_t i = 0; i < a->n; i++)
                if (a->id[i] != b->id[i] || memcmp(&a->lp[i], &b->lp[i], sizeof(float)) != 0)
                    fail_msg("%s: prompt %d, sample %d, new token %d: %d (%.9g), but %d (%.9g) alone", what, g, r, i, a->id[i], (double)a->lp[i],
                             b->id[i], (double)b->lp[i]);
        }
}

typedef enum Order { IN_ORDER, BACKWARDS } Order;

static GeneratorStats run_all(const Model *model, GeneratorOptions options, Order order, const char *what)
{
    static Round round;

    memset(&got, 0, sizeof got);
    round.answers = &got;
    round.n = 0;
    for (int i = 0; i < n_group; i++) {
        const Item *item = &items[order == IN_ORDER ? i : n_group - 1 - i];
        round.group[round.n++] = (RequestGroup){item->request, item->n_request};
    }
    const GeneratorStats stats = run_round(model, options, &round);
    check_equal(what);
    return stats;
}

/* Every request by itself, in a generator of its own. */
static void run_alone(const Model *model)
{
    static Round round;

    memset(&want, 0, sizeof want);
    for (int g = 0; g < n_group; g++)
        for (int32_t r = 0; r < items[g].n_request; r++) {
            round = (Round){.group = {{&items[g].request[r], 1}}, .n = 1, .answers = &want};
            run_round(model, (GeneratorOptions){.max_rows = 1}, &round);
        }
}

static ModelConfig config(void)
{
    ModelConfig cfg = ref_model_config();

    cfg.vocab_size = VOCABULARY;
    cfg.max_position_embeddings = MAX_LENGTH;
    cfg.initializer_range = 0.12; /* wide enough that ids hang on what was read */
    return cfg;
}

static Model *model_of(Device *dev, const ModelConfig *cfg, DType dtype)
{
    Model *m;

    CHECK_OK(model_random(&m, dev, cfg, dtype, 3));
    ref_model_disturb(m, 4);
    return m;
}

static void check_variety(void)
{
    int ended[4] = {0}, cut = 0;

    for (int g = 0; g < n_group; g++)
        for (int32_t r = 0; r < items[g].n_request; r++) {
            ended[want.of[g][r].finish]++;
            cut += want.of[g][r].n_truncated > 0;
        }
    assert_true(ended[FINISH_EOS] > 2 && ended[FINISH_LENGTH] > 2 && cut > 0);
}

static void check_four_threads(const ModelConfig *cfg, DType dtype, size_t page, size_t pages)
{
    Device *four;

    CHECK_OK(device_open(&four, test_device(), 4));
    Model *m = model_of(four, cfg, dtype);
    run_all(m, (GeneratorOptions){.max_rows = 64}, IN_ORDER, "4 threads");
    run_all(m, (GeneratorOptions){.max_rows = 16, .kv_bytes = (pages + 3) * page}, BACKWARDS, "4 threads, a small cache");
    model_free(m);
    device_close(four);
}

static void check_invariance(const char *level, DType dtype, ModelConfig cfg)
{
    const bool cpu = strcmp(test_device(), "cpu") == 0;
    Device *one;

    CHECK_OK(level != NULL ? (setenv("LETHE_CPU", level, 1), LT_OK) : LT_OK);
    CHECK_OK(device_open(&one, test_device(), 1));
    Model *m = model_of(one, &cfg, dtype);
    const size_t page = kvcache_page_bytes(m), pages = (MAX_LENGTH + KV_PAGE - 1) / KV_PAGE;

    run_alone(m);
    check_variety();
    const GeneratorStats all = run_all(m, (GeneratorOptions){.max_rows = 64}, IN_ORDER, "64 rows");
    assert_true(all.paged_out == 0 && all.tokens_read < all.tokens_asked * 7 / 10);
    run_all(m, (GeneratorOptions){.max_rows = 5, .token_budget = 7}, cpu ? IN_ORDER : BACKWARDS, "pieces of 7, 5 rows");
    const GeneratorStats small = run_all(m, (GeneratorOptions){.max_rows = 16, .kv_bytes = (pages + 1) * page}, IN_ORDER, "a small cache");
    assert_true(small.paged_out > 2);
    if (cpu) {
        run_all(m, (GeneratorOptions){.max_rows = 64}, BACKWARDS, "backwards");
        const GeneratorStats least = run_all(m, (GeneratorOptions){.max_rows = 64, .kv_bytes = pages * page}, BACKWARDS, "the smallest cache, backwards");
        assert_true(least.paged_out > 2);
        check_four_threads(&cfg, dtype, page, pages);
    }
    model_free(m);
    device_close(one);
    unsetenv("LETHE_CPU");
}

static void test_generate_does_not_depend_on_company(void **state)
{
    (void)state;
    make_items();
    check_invariance(NULL, LT_F32, config());
}

static void test_generate_does_not_depend_on_company_in_bf16(void **state)
{
    (void)state;
    make_items();
    check_invariance(NULL, LT_BF16, config());
}

static void test_generate_does_not_depend_on_company_with_avx2(void **state)
{
    (void)state;
    if (strcmp(test_device(), "cpu") != 0)
        test_skip("the device under test has no levels");
    make_items();
    check_invariance("avx2", LT_F32, config());
}

static void test_generate_does_not_depend_on_company_within_a_window(void **state)
{
    ModelConfig cfg = config();

    (void)state;
    make_items();
    cfg.sliding_window = 50;
    check_invariance(NULL, LT_F32, cfg);
}

/* ---- what is refused ---------------------------------------------------------------------------------------------------- */

static Status try_request(const Model *model, GeneratorOptions options, const Request *request)
{
    static Round round;
    Generator *g = NULL;

    round = (Round){.group = {{request, 1}}, .n = 1, .answers = &got};
    TRY(generator_open(&g, model, &options));
    const Status st = generator_run(g, ask, &round, note, &round);
    generator_close(g);
    return st;
}

static void test_generate_refuses_by_name(void **state)
{
    static const char *const stop[] = {"x", NULL};
    const ModelConfig cfg = config();
    const int32_t token[3] = {1, 2, 3}, wrong[2] = {1, VOCABULARY};
    const Request good = {.kind = REQUEST_GENERATE, .id = 1, .adapter = -1, .token = token, .n_token = 3, .sampling = {.max_new = 4}};
    Request r = good;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, test_device(), 1));
    Model *m = model_of(dev, &cfg, LT_F32);
    CHECK_OK(try_request(m, (GeneratorOptions){0}, &r));
    r.n_token = 0;
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &r), LT_E_INPUT, "empty prompt");
    r = good;
    r.token = wrong;
    r.n_token = 2;
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &r), LT_E_INPUT, "token 120 is not in the model's vocabulary");
    r = good;
    r.sampling.max_new = 0;
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &r), LT_E_USAGE, "found 0");
    r.sampling.max_new = 40;
    CHECK_FAILS(try_request(m, (GeneratorOptions){.max_length = 40}, &r), LT_E_USAGE, "1 to 39 new tokens");
    r.sampling.max_new = 400;
    CHECK_FAILS(try_request(m, (GeneratorOptions){.kv_bytes = 2 * kvcache_page_bytes(m)}, &r), LT_E_NOMEM, "7 pages of keys and values, the cache has 2");
    r = good;
    r.sampling.stop = stop;
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &r), LT_E_USAGE, "tokenizer");
    r = good;
    r.kind = REQUEST_LOGLIK;
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &r), LT_E_UNSUPPORTED, NULL);
    CHECK_FAILS(try_request(m, (GeneratorOptions){.kv_bytes = 100}, &good), LT_E_NOMEM, "a page of 64 positions takes");
    CHECK_FAILS(try_request(m, (GeneratorOptions){.max_length = MAX_LENGTH + 1}, &good), LT_E_USAGE, "positions");
    CHECK_OK(device_upload(dev, tensor_cols(m->norm, 3, 1), &(float){NAN}));
    CHECK_FAILS(try_request(m, (GeneratorOptions){0}, &good), LT_E_NUMERIC, "not numbers");
    model_free(m);
    device_close(dev);
}

static Status ask_then_stop(void *context, RequestGroup *group, bool *more)
{
    engine_stop();
    return ask(context, group, more);
}

static void test_generate_ends_on_a_signal_and_runs_again(void **state)
{
    static Round round;
    const ModelConfig cfg = config();
    Generator *g;
    Device *dev;

    (void)state;
    make_items();
    round = (Round){.group = {{items[1].request, items[1].n_request}}, .n = 1, .answers = &got};
    CHECK_OK(device_open(&dev, test_device(), 1));
    Model *m = model_of(dev, &cfg, LT_F32);
    CHECK_OK(generator_open(&g, m, &(GeneratorOptions){0}));
    CHECK_FAILS(generator_run(g, ask_then_stop, &round, note, &round), LT_E_INTERRUPTED, "interrupted");
    assert_int_equal(round.delivered, 0);
    round.next = 0;
    CHECK_OK(generator_run(g, ask, &round, note, &round));
    assert_int_equal(round.delivered, 1);
    generator_close(g);
    model_free(m);
    device_close(dev);
}

static Status run_starved(const Model *m, Round *round)
{
    const size_t page = kvcache_page_bytes(m);
    const GeneratorOptions options = {.max_length = MAX_LENGTH, .kv_bytes = 8 * page, .max_rows = 8, .token_budget = 64};
    Generator *g = NULL;

    round->next = round->delivered = 0;
    TRY(generator_open(&g, m, &options));
    const Status st = generator_run(g, ask, round, note, round);
    generator_close(g);
    return st;
}

static void test_generate_survives_lack_of_memory(void **state)
{
    static Round round;
    const ModelConfig cfg = config();
    Device *dev;
    Status st = LT_E_NOMEM;

    (void)state;
    make_items();
    round = (Round){.group = {{items[8].request, items[8].n_request}, {items[9].request, items[9].n_request}}, .n = 2, .answers = &got};
    CHECK_OK(device_open(&dev, test_device(), 1));
    Model *m = model_of(dev, &cfg, LT_F32);
    CHECK_OK(run_starved(m, &round)); /* the device has its scratch now */
    const int64_t held = mem_held();
    const uint64_t before = mem_count();
    CHECK_OK(run_starved(m, &round));
    const uint64_t total = mem_count() - before;
    assert_int_equal(mem_held(), held);
    for (uint64_t n = 1; n <= total; n += n < 150 ? 1 : 97) { /* the later ones are the same few places again */
        mem_fail_at(n);
        st = run_starved(m, &round);
        mem_fail_at(0);
        if (st != LT_E_NOMEM)
            fail_msg("allocation %d of %d: %s", (int)n, (int)total, status_name(st));
        status_clear();
        assert_int_equal(mem_held(), held);
    }
    model_free(m);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_does_not_depend_on_company),
        cmocka_unit_test(test_generate_does_not_depend_on_company_in_bf16),
        cmocka_unit_test(test_generate_does_not_depend_on_company_with_avx2),
        cmocka_unit_test(test_generate_does_not_depend_on_company_within_a_window),
        cmocka_unit_test(test_generate_refuses_by_name),
        cmocka_unit_test(test_generate_ends_on_a_signal_and_runs_again),
        cmocka_unit_test(test_generate_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
