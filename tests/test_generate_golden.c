/* Greedy generation against the golden ids, and stop strings against lm-eval's verdicts. */
#include "eval/engine/generate.h"

#include "model/checkpoint.h"
#include "tests/check.h"
#include "tests/rows.h"

#include <stdio.h>

enum { MOST_CASES = 16, MOST_IDS = 256 };

/* The cases of a file as one group a case, and what came back. */
typedef struct Golden {
    JsonAt cases;
    size_t n_case, asked, answered;
    int32_t prompt[MOST_CASES][MOST_IDS];
    Request request[MOST_CASES];
    const char *new_ids; /* key of the ids to be had */
} Golden;

static int32_t read_ids(int32_t *to, JsonAt array)
{
    size_t n = 0;

    CHECK_OK(json_to_array(array, &n));
    assert_true(n <= MOST_IDS);
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        CHECK_OK(json_to_int(json_element(&array, i), 0, INT32_MAX, &id));
        to[i] = (int32_t)id;
    }
    return (int32_t)n;
}

static Status ask(void *context, RequestGroup *group, bool *more)
{
    Golden *g = context;

    *more = g->asked < g->n_case;
    if (*more)
        *group = (RequestGroup){&g->request[g->asked++], 1};
    return LT_OK;
}

static Status mark(void *context, const RequestGroup *group, const Response *r)
{
    Golden *g = context;
    const JsonAt item = json_element(&g->cases, g->answered++);
    const JsonAt lp = json_member(&item, "logprob");
    int32_t want[MOST_IDS];
    const int32_t n = read_ids(want, json_member(&item, g->new_ids));

    (void)group;
    assert_int_equal(r->n_score, n);
    assert_int_equal(r->finish, FINISH_LENGTH);
    for (int32_t i = 0; i < n; i++)
        assert_int_equal(r->token[i], want[i]);
    for (int32_t i = 0; i < n && strcmp(g->new_ids, "new") == 0; i++) {
        double x = 0;
        CHECK_OK(json_to_double(json_element(&lp, (size_t)i), &x));
        /* the figure of scoring's goldens: log-probabilities agree with float64 to 1e-4 */
        check_close("log-probability", (double)r->token_logprob[i], x, 1e-4, 1e-5);
    }
    return LT_OK;
}

static void run_cases(Golden *g, const Model *model, const GeneratorOptions *options)
{
    Generator *generator;

    g->asked = g->answered = 0;
    CHECK_OK(generator_open(&generator, model, options));
    CHECK_OK(generator_run(generator, ask, g, mark, g));
    assert_int_equal(g->answered, g->n_case);
    generator_close(generator);
}

/* `new` where the whole sequence has one base; a cache of rotated keys gives new_with_kv_cache. */
static void check_model(const char *name, const char *new_ids)
{
    static Golden g;
    char path[96];
    Checkpoint *ckpt;
    Model *model;
    Device *dev;
    Str folder;
    int64_t n_new = 0;
    size_t n = 0;

    snprintf(path, sizeof path, "golden/generate/%s.json", name);
    json_t *document = json_shared(path);
    const JsonAt root = json_root(document, path, 0);
    g = (Golden){.new_ids = new_ids};
    CHECK_OK(json_get_str(&root, "model", &folder));
    CHECK_OK(json_get_int(&root, "new_tokens", 1, MOST_IDS, &n_new));
    snprintf(path, sizeof path, "%s" STR_FORMAT, str_starts(folder, str_of("models/")) ? "golden/" : "", STR_ARG(folder));
    CHECK_OK(device_open(&dev, test_device(), 2));
    CHECK_OK(checkpoint_open(&ckpt, test_data(path)));
    CHECK_OK(model_load(&model, dev, ckpt, &(LoadOptions){.dtype = LT_F32, .max_position = 256, .hash = FILEHASH_AGAIN}));
    g.cases = json_member(&root, "cases");
    CHECK_OK(json_to_array(g.cases, &n));
    assert_true(n > 0 && n <= MOST_CASES);
    g.n_case = n;
    for (size_t i = 0; i < n; i++) {
        const JsonAt item = json_element(&g.cases, i);
        g.request[i] = (Request){.kind = REQUEST_GENERATE, .id = (int64_t)i, .adapter = -1, .token = g.prompt[i],
                                 .n_token = read_ids(g.prompt[i], json_member(&item, "prompt")), .sampling = {.max_new = (int32_t)n_new}};
    }
    run_cases(&g, model, &(GeneratorOptions){.max_length = 256});
    run_cases(&g, model, &(GeneratorOptions){.max_length = 256, .max_rows = 1, .token_budget = 5});
    model_free(model);
    checkpoint_close(ckpt);
    device_close(dev);
    json_decref(document);
}

typedef struct GoldenModel {
    const char *name, *new_ids;
} GoldenModel;

static void test_generate_golden(void **state)
{
    const GoldenModel *m = *state;
    check_model(m->name, m->new_ids);
}

/* ---- stop strings ------------------------------------------------------------------------------------------------------- */

enum { MOST_STOPS = 8 };

/* One line of stops.jsonl: the ids one by one, until the completion says that it has ended. */
static void check_stops(JsonAt line, const EndRules *rules)
{
    const JsonAt until = json_member(&line, "until_with_eos");
    const char *stop[MOST_STOPS + 1] = {NULL};
    Sampling sampling = {.max_new = MOST_IDS + 1, .stop = stop};
    int32_t id[MOST_IDS], n = read_ids(id, json_member(&line, "ids")), used = 0;
    int64_t end = 0;
    Completion c;
    size_t n_stop = 0;
    Str want;

    CHECK_OK(json_to_array(until, &n_stop));
    assert_true(n_stop <= MOST_STOPS);
    for (size_t i = 0; i < n_stop; i++)
        stop[i] = json_string_value(json_element(&until, i).value);
    CHECK_OK(json_get_int(&line, "generation_would_end_after", 0, MOST_IDS, &end));
    if (end == 0)
        sampling.max_new = n > 0 ? n : 1;
    CHECK_OK(completion_open(&c, rules, &sampling));
    while (used < n && c.finish == FINISH_NONE)
        CHECK_OK(completion_add(&c, id[used++], 0));
    CHECK_OK(json_get_str(&line, end > 0 ? "out_if_ended_there" : "out_generate_until", &want));
    if (end > 0 && used != (int32_t)end)
        fail_msg("line %d: ended after %d ids, lm-eval after %d", (int)line.line, used, (int)end);
    if (!str_equal(strbuf_str(&c.text), want))
        fail_msg("line %d: text '" STR_FORMAT "', expected '" STR_FORMAT "'", (int)line.line, STR_ARG(strbuf_str(&c.text)), STR_ARG(want));
    assert_true(n == 0 || c.finish != FINISH_NONE);
    completion_close(&c);
}

static void test_generate_stops_where_lm_eval_does(void **state)
{
    const char *path = test_data("golden/eval/stops.jsonl");
    const int32_t eos = 2;
    Tokenizer *tokenizer;
    LineReader *reader;
    json_t *document;
    bool more = true;
    Str text;
    int n = 0;

    (void)state;
    CHECK_OK(tokenizer_load(&tokenizer, test_data("data/models/minimind2-small")));
    const EndRules rules = {.tokenizer = tokenizer, .eos = &eos, .n_eos = 1};
    CHECK_OK(lines_open(&reader, path));
    for (CHECK_OK(lines_next(reader, &text, &more)); more; n++) {
        CHECK_OK(json_parse(&document, text, path, lines_number(reader)));
        check_stops(json_root(document, path, lines_number(reader)), &rules);
        json_decref(document);
        CHECK_OK(lines_next(reader, &text, &more));
    }
    assert_true(n > 50);
    lines_close(reader);
    tokenizer_free(tokenizer);
}

int main(void)
{
    static GoldenModel model[] = {
        {"llama2_tiny", "new"},       {"llama3_tiny", "new"},     {"llama_bias_tiny", "new"},
        {"llama_linear_tiny", "new"}, {"llama_yarn_tiny", "new"}, {"llama_dynamic_tiny", "new_with_kv_cache"},
        {"mistral_tiny", "new"},      {"qwen2_tiny", "new"},      {"qwen3_tiny", "new"},
        {"stories260K", "new"},       {"minimind2-small", "new"},
    };
    enum { N_MODEL = sizeof model / sizeof *model };
    struct CMUnitTest tests[N_MODEL + 1];

    for (int i = 0; i < N_MODEL; i++)
        tests[i] = (struct CMUnitTest){model[i].name, test_generate_golden, NULL, NULL, &model[i]};
    tests[N_MODEL] = (struct CMUnitTest)cmocka_unit_test(test_generate_stops_where_lm_eval_does);
    return TEST_MAIN(tests);
}
