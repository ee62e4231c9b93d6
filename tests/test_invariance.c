/* A result does not depend on what else is in a pass, on the token budget, on the order of items, on sharing or on the number of threads:
 * every token's log-probability is compared to the bit. In the canary variant, whose matrix products are summed in an order that depends on
 * the number of rows, this test must fail. */
#include "tests/check.h"

#include "core/mem.h"
#include "eval/score/subject.h"

#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 199, N_GROUP = 18, MAX_REQUESTS = 5, MAX_TOKENS = 400, MAX_LENGTH = 330 };

typedef struct Item {
    Request request[MAX_REQUESTS];
    int32_t token[MAX_REQUESTS][MAX_TOKENS];
    int32_t n_request;
} Item;

/* Everything a run says, in the items' own order. */
typedef struct Answers {
    float lp[N_GROUP][MAX_REQUESTS][MAX_TOKENS];
    bool greedy[N_GROUP][MAX_REQUESTS];
    double loglik[N_GROUP][MAX_REQUESTS];
    int n_item;
} Answers;

static Item items[N_GROUP];
static int n_group; /* of them in use: a simulated GPU takes its time */
static Answers want, got;

/* Contexts of all lengths around the blocks of 64 and splits of 256 keys, none at all, and inputs that lose their beginning: items that can
 * share beside items that cannot. */
static void make_items(void)
{
    static const int32_t context[] = {0, 1, 5, 20, 63, 64, 65, 120, 255, 256, 257, 300};
    TestRandom random = {2024};

    n_group = strcmp(test_device(), "cudasim") == 0 ? 12 : N_GROUP;
    for (int g = 0; g < n_group; g++) {
        Item *item = &items[g];
        const int32_t n_context = context[g % (int)(sizeof context / sizeof *context)];
        int32_t shared[MAX_TOKENS];
        for (int32_t i = 0; i < n_context; i++)
            shared[i] = (int32_t)(test_random(&random) % VOCABULARY);
        item->n_request = 1 + (int32_t)(test_random(&random) % MAX_REQUESTS);
        for (int32_t r = 0; r < item->n_request; r++) {
            const int32_t n_own = 1 + (n_context == 0) + (int32_t)(test_random(&random) % (g % 5 == 0 ? 90 : 12));
            for (int32_t i = 0; i < n_context + n_own; i++)
                item->token[r][i] = i < n_context ? shared[i] : (int32_t)(test_random(&random) % VOCABULARY);
            const int32_t n_score = n_own - (n_context == 0);
            item->request[r] = (Request){.kind = REQUEST_LOGLIK, .id = g * MAX_REQUESTS + r, .adapter = -1, .token = item->token[r],
                                         .n_token = n_context + n_own, .n_score = n_score};
        }
    }
}

typedef struct Round {
    int order[N_GROUP];
    int n, next;
    const Request *only; /* this request instead of all of an item's */
    Answers *answers;
} Round;

static Status ask(void *context, RequestGroup *group, bool *more)
{
    Round *round = context;
    *more = round->next < round->n;
    if (*more) {
        const Item *item = &items[round->order[round->next++]];
        *group = round->only != NULL ? (RequestGroup){round->only, 1} : (RequestGroup){item->request, item->n_request};
    }
    return LT_OK;
}

static Status note(void *context, const RequestGroup *group, const Response *response)
{
    Round *round = context;
    for (int32_t i = 0; i < group->n_request; i++) {
        const int64_t g = response[i].id / MAX_REQUESTS, r = response[i].id % MAX_REQUESTS;
        memcpy(round->answers->lp[g][r], response[i].token_logprob, (size_t)response[i].n_score * sizeof(float));
        round->answers->greedy[g][r] = response[i].is_greedy;
        round->answers->loglik[g][r] = response[i].loglik;
    }
    round->answers->n_item++;
    return LT_OK;
}

static void run_round(const Model *model, int32_t budget, Round *round)
{
    const EngineOptions options = {.token_budget = budget, .max_length = MAX_LENGTH};
    Engine *engine;

    round->next = 0;
    CHECK_OK(engine_open(&engine, model, &options));
    CHECK_OK(engine_run(engine, ask, round, note, round));
    engine_close(engine);
}

static void check_equal(const char *what)
{
    assert_int_equal(got.n_item, n_group);
    for (int g = 0; g < n_group; g++)
        for (int32_t r = 0; r < items[g].n_request; r++) {
            for (int32_t s = 0; s < items[g].request[r].n_score; s++)
                if (memcmp(&got.lp[g][r][s], &want.lp[g][r][s], sizeof(float)) != 0)
                    fail_msg("%s: item %d, request %d, token %d: %.9g, but %.9g alone", what, g, r, s, (double)got.lp[g][r][s],
                             (double)want.lp[g][r][s]);
            assert_int_equal(got.greedy[g][r], want.greedy[g][r]);
            assert_true(got.loglik[g][r] == want.loglik[g][r]);
        }
}

static void run_in_order(const Model *model, int32_t budget, const char *what)
{
    Round round = {.n = n_group, .answers = &got};

    for (int g = 0; g < n_group; g++)
        round.order[g] = g;
    got.n_item = 0;
    run_round(model, budget, &round);
    check_equal(what);
}

static void run_in_other_orders(const Model *model)
{
    TestRandom random = {7};
    Round round = {.n = n_group, .answers = &got};

    for (int g = 0; g < n_group; g++)
        round.order[g] = n_group - 1 - g;
    got.n_item = 0;
    run_round(model, 511, &round);
    check_equal("backwards");
    for (int g = n_group - 1; g > 0; g--) {
        const int other = (int)(test_random(&random) % (uint64_t)(g + 1)), spare = round.order[g];
        round.order[g] = round.order[other];
        round.order[other] = spare;
    }
    got.n_item = 0;
    run_round(model, 511, &round);
    check_equal("shuffled");
}

/* What every other way of asking is compared with: one request a run, nothing shared, one thread. A budget of 1 would not do: the
 * engine reads siblings along with a request that is beyond the budget anyway. */
static void run_alone(const Model *model)
{
    Round round = {.n = 1, .answers = &want};

    want.n_item = 0;
    for (int g = 0; g < n_group; g++)
        for (int32_t r = 0; r < items[g].n_request; r++) {
            round.order[0] = g;
            round.only = &items[g].request[r];
            run_round(model, 1, &round);
        }
}

static void open_model(Model **model, Device **dev, const char *config, DType dtype, int n_thread)
{
    ModelConfig cfg;

    CHECK_OK(config_parse(&cfg, str_of(config), "config.json"));
    CHECK_OK(device_open(dev, test_device(), n_thread));
    CHECK_OK(model_random(model, *dev, &cfg, dtype, 5));
    if (rope_by_length(&cfg))
        (*model)->rope.n_position = MAX_LENGTH; /* as if it had been loaded for more positions than it was trained for */
}

static void check_model(const char *config, DType dtype)
{
    const bool cpu = strcmp(test_device(), "cpu") == 0;
    Device *dev;
    Model *model;

    make_items();
    for (int n_thread = 1; n_thread <= (cpu ? 4 : 1); n_thread *= 2) {
        open_model(&model, &dev, config, dtype, n_thread);
        if (n_thread == 1)
            run_alone(model);
        run_in_order(model, 64, "budget 64");
        run_in_order(model, 8192, "budget 8192");
        if (cpu)
            run_in_order(model, 511, "budget 511");
        if (n_thread == (cpu ? 2 : 1))
            run_in_other_orders(model);
        model_free(model);
        device_close(dev);
    }
}

/* Initialisation that is wide enough for logits that differ: with 0.02 all choices of a model this small look alike. The second has an
 * intermediate size that takes several blocks of a matrix product's inner loop. */
static const char grouped[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 199, \"hidden_size\": 96, \"intermediate_size\": 160, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 6, \"num_key_value_heads\": 2, \"head_dim\": 16, \"max_position_embeddings\": 512, "
    "\"rms_norm_eps\": 1e-5, \"initializer_range\": 0.2, \"tie_word_embeddings\": true}";
static const char long_sums[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 199, \"hidden_size\": 64, \"intermediate_size\": 1100, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, "
    "\"initializer_range\": 0.2, \"tie_word_embeddings\": false, \"attention_bias\": true, \"mlp_bias\": true}";

/* Rotations by the length of a sequence, which changes within items, and a window in one layer of two. */
static const char by_length[] =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", \"vocab_size\": 199, \"hidden_size\": 64, \"intermediate_size\": 96, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 24, \"max_position_embeddings\": 66, "
    "\"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": 2}, \"sliding_window\": 50, \"use_sliding_window\": true, "
    "\"max_window_layers\": 1, \"initializer_range\": 0.2}";

static void test_scores_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    check_model(grouped, LT_F32);
    check_model(long_sums, LT_F32);
    check_model(by_length, LT_F32);
}

static void test_bf16_scores_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    check_model(long_sums, LT_BF16);
}

static void test_lower_processors_keep_the_promise_too(void **state)
{
    static const char *const level[] = {"generic", "avx2", "avx512"};

    (void)state;
    if (strcmp(test_device(), "cpu") != 0)
        test_skip("the device under test has no levels");
    for (size_t i = 0; i < sizeof level / sizeof *level; i++) {
        setenv("LETHE_CPU", level[i], 1);
        check_model(grouped, LT_F32);
    }
    unsetenv("LETHE_CPU");
}

/* ---- real items, real weights ------------------------------------------------------------------------------------------- */

static void score_real(const char *model, const char *data, int32_t budget, int n_thread, RecordStore *records)
{
    TaskSetting range[] = {{(char[]){"hellaswag"}, (char[]){"100-103"}}, {(char[]){"winogrande"}, (char[]){"200-205"}}};
    const ScoreOptions options = {.checkpoint = &model, .n_checkpoint = 1, .tasks = "hellaswag,winogrande", .data = data, .dtype = LT_F32,
                                  .items = {range, 2, 2}, .token_budget = budget};
    RecordLog log = {.folder = test_folder()};
    CheckpointName *name;
    ScorePlan plan;
    ModelShelf shelf = {0};
    Subject subject;
    Device *dev;

    CHECK_OK(device_open(&dev, test_device(), n_thread));
    CHECK_OK(plan_make(&plan, &options, NULL));
    CHECK_OK(names_make(&name, &model, 1, NULL));
    CHECK_OK(subject_open(&subject, dev, &shelf, &options, &plan, name, model));
    map_init(&records->index);
    CHECK_OK(subject_score(&subject, records, &log));
    CHECK_OK(record_log_close(&log));
    subject_close(&subject);
    shelf_clear(&shelf);
    names_free(name, 1);
    plan_release(&plan);
    device_close(dev);
}

static void test_real_items_do_not_depend_on_the_batch(void **state)
{
    const char *model = test_data("data/models/minimind2-small"), *data = test_data("data/benchmarks");
    static const int32_t budget[] = {64, 511, 8192};
    RecordStore alone = {0};

    (void)state;
    score_real(model, data, 1, 1, &alone);
    assert_int_equal(alone.count, 4 + 6);
    for (size_t b = 0; b < sizeof budget / sizeof *budget; b++) {
        RecordStore records = {0};
        score_real(model, data, budget[b], 1 << b, &records);
        assert_int_equal(records.count, alone.count);
        for (size_t i = 0; i < records.count; i++)
            assert_memory_equal(&records.record[i], &alone.record[i], sizeof(ScoreRecord));
        records_release(&records);
    }
    records_release(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_do_not_depend_on_the_batch),
        cmocka_unit_test(test_bf16_scores_do_not_depend_on_the_batch),
        cmocka_unit_test(test_lower_processors_keep_the_promise_too),
        cmocka_unit_test(test_real_items_do_not_depend_on_the_batch),
    };
    return TEST_MAIN(tests);
}
