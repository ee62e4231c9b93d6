/* The engine against a made-up model: this file defines the forward pass itself, so that the linker takes it instead of the real one.
 * The made-up log-probability is a hash of the tokens a row sees and their positions, so a row that sees anything else answers otherwise. */
#include "tests/check.h"

#include "core/mem.h"
#include "eval/engine/engine.h"

#include <string.h>

enum { VOCABULARY = 50, MAX_GROUPS = 600, MAX_REQUESTS = 8, MAX_TOKENS = 200 };

/* ---- the made-up model -------------------------------------------------------------------------------------------------- */

struct Workspace {
    BatchLimits limits;
};

static struct {
    int opened, passes, largest;
    int fail_at, stop_at; /* pass that fails, or during which a signal arrives; from 1, 0: never */
    int64_t long_from;    /* sequences longer than this rotate each by its own length; 0: all alike */
    bool ahead;           /* a device that is at work while the engine goes on */
    int running;          /* passes begun and not finished */
} fake;

int64_t rope_length_class(const ModelConfig *cfg, int64_t length)
{
    (void)cfg;
    return fake.long_from > 0 && length > fake.long_from ? length : fake.long_from;
}

/* What a token starts from: how its sequence rotates. */
static uint32_t seed_of(int64_t length)
{
    return 1 + (uint32_t)rope_length_class(NULL, length);
}

static uint32_t mix(uint32_t hash, int32_t id, int32_t position)
{
    hash = (hash ^ (uint32_t)id) * 0x01000193u;
    return (hash ^ (uint32_t)position) * 0x01000193u;
}

static float fake_lp(uint32_t seen, int32_t target)
{
    return -(float)(mix(seen, target, 7) % 10007u) / 640.0f;
}

static bool fake_greedy(uint32_t seen, int32_t target)
{
    return mix(seen, target, 9) % 4u != 0;
}

Status workspace_open(Workspace **out, const Model *model, const BatchLimits *limits)
{
    (void)model;
    fake.opened++;
    TRY(MEM_NEW(*out, 1));
    (*out)->limits = *limits;
    return LT_OK;
}

void workspace_close(Workspace *ws)
{
    mem_free(ws);
}

size_t workspace_bytes(const Model *model, const BatchLimits *limits)
{
    (void)model;
    return (size_t)limits->n_token * 100;
}

/* Hash of what each row sees. */
static void hash_rows(const Batch *b, uint32_t *seen)
{
    int32_t covered = 0;
    for (int32_t s = 0; s < b->n_segment; s++) {
        const AttnSegment *seg = &b->segment[s];
        const uint32_t seed = seed_of(b->length[seg->own_begin]);
        uint32_t hash = seed;
        for (int32_t i = 0; i < seg->ctx_len; i++) {
            assert_int_equal(seed_of(b->length[seg->ctx_begin + i]), seed);
            assert_int_equal(b->position[seg->ctx_begin + i], i);
            hash = mix(hash, b->id[seg->ctx_begin + i], i);
        }
        assert_int_equal(seg->q_begin, seg->own_begin);
        for (int32_t i = 0; i < seg->q_len; i++) {
            assert_int_equal(b->position[seg->own_begin + i], seg->ctx_len + i);
            assert_int_equal(seed_of(b->length[seg->own_begin + i]), seed);
            hash = mix(hash, b->id[seg->own_begin + i], seg->ctx_len + i);
            seen[seg->q_begin + i] = hash;
        }
        covered += seg->q_len;
    }
    assert_int_equal(covered, b->n_token);
}

bool device_runs_ahead(const Device *dev)
{
    (void)dev;
    return fake.ahead;
}

Status device_sync(Device *dev)
{
    (void)dev;
    fake.running = 0;
    return LT_OK;
}

Status forward_begin(const Model *model, Workspace *ws, const Batch *b)
{
    (void)model;
    if (++fake.passes == fake.fail_at)
        return FAIL(LT_E_DEVICE, "the device is on fire");
    if (fake.passes == fake.stop_at)
        engine_stop();
    assert_true(b->n_token <= ws->limits.n_token && b->n_segment <= ws->limits.n_segment && b->n_pair <= ws->limits.n_pair);
    assert_int_equal(fake.running++, 0);
    return LT_OK;
}

/* The work is done as late as it may be: the batch has to be what it was. */
Status forward_finish(const Model *model, Workspace *ws, const Batch *b, float *lp, bool *greedy)
{
    static uint32_t seen[1 << 16];

    (void)model, (void)ws;
    assert_int_equal(fake.running--, 1);
    fake.largest = b->n_token > fake.largest ? b->n_token : fake.largest;
    hash_rows(b, seen);
    for (int32_t i = 0; i < b->n_pair; i++) {
        assert_true(i == 0 || b->pair[i - 1].row <= b->pair[i].row);
        lp[i] = fake_lp(seen[b->pair[i].row], b->pair[i].target);
        greedy[i] = fake_greedy(seen[b->pair[i].row], b->pair[i].target);
    }
    return LT_OK;
}

/* ---- questions and their right answers ---------------------------------------------------------------------------------- */

typedef struct Question {
    Request request[MAX_REQUESTS];
    int32_t token[MAX_REQUESTS][MAX_TOKENS];
    int32_t n_request;
} Question;

typedef struct Exam {
    Question *question;
    int n_question, asked, answered;
    int asked_running; /* questions asked for while the device was at work */
    int32_t max_length, position_limit;
    double loglik[MAX_GROUPS][MAX_REQUESTS];
} Exam;

static void add_request(Question *q, int64_t id, const int32_t *token, int32_t n_token, int32_t n_score)
{
    const int32_t r = q->n_request++;
    memcpy(q->token[r], token, (size_t)n_token * sizeof *token);
    q->request[r] = (Request){.kind = REQUEST_LOGLIK, .id = id, .adapter = -1, .token = q->token[r], .n_token = n_token, .n_score = n_score};
}

/* A common beginning of some length (none, too) and tails of some length, scored from anywhere: borders in the middle of the context too. */
static void make_question(Question *q, TestRandom *random, int64_t id)
{
    const int32_t n_common = (int32_t)(test_random(random) % 60), n = 1 + (int32_t)(test_random(random) % MAX_REQUESTS);
    int32_t token[MAX_TOKENS];

    q->n_request = 0;
    for (int32_t i = 0; i < n_common; i++)
        token[i] = (int32_t)(test_random(random) % VOCABULARY);
    for (int32_t r = 0; r < n; r++) {
        const int32_t n_token = n_common + 1 + (n_common == 0) + (int32_t)(test_random(random) % 30);
        for (int32_t i = n_common; i < n_token; i++)
            token[i] = (int32_t)(test_random(random) % 3); /* few ids: tails often begin alike */
        add_request(q, id * 100 + r, token, n_token, 1 + (int32_t)(test_random(random) % (uint64_t)(n_token - 1)));
    }
}

static Status ask(void *context, RequestGroup *group, bool *more)
{
    Exam *exam = context;
    *more = exam->asked < exam->n_question;
    if (*more) {
        const Question *q = &exam->question[exam->asked++];
        *group = (RequestGroup){q->request, q->n_request};
    }
    assert_true(exam->asked - exam->answered <= ENGINE_GROUPS_HELD);
    exam->asked_running += fake.running;
    return LT_OK;
}

static void check_response(const Exam *exam, const Request *q, const Response *r)
{
    const int32_t cut = q->n_token - 1 > exam->max_length ? q->n_token - 1 - exam->max_length : 0;
    const int32_t *token = q->token + cut, n = q->n_token - cut;
    uint32_t seen = seed_of(n - 1);
    double sum = 0.0;
    bool greedy = true;
    int32_t s = 0;

    for (int32_t i = 0; i + 1 < n; i++) {
        seen = mix(seen, token[i], i);
        if (i + 1 < n - q->n_score)
            continue;
        const float lp = fake_lp(seen, token[i + 1]);
        assert_true(r->token_logprob[s++] == lp);
        sum += (double)lp;
        greedy = greedy && fake_greedy(seen, token[i + 1]);
    }
    assert_int_equal(r->id, q->id);
    assert_int_equal(r->n_score, s);
    assert_int_equal(r->n_input, n - 1);
    assert_int_equal(r->n_truncated, cut);
    assert_true(r->loglik == sum);
    assert_int_equal(r->is_greedy, greedy);
}

static Status mark(void *context, const RequestGroup *group, const Response *response)
{
    Exam *exam = context;
    const Question *q = &exam->question[exam->answered];

    assert_ptr_equal(group->request, q->request); /* in the order given */
    for (int32_t r = 0; r < group->n_request; r++) {
        check_response(exam, &q->request[r], &response[r]);
        exam->loglik[exam->answered][r] = response[r].loglik;
    }
    exam->answered++;
    return LT_OK;
}

static Status sit(Exam *exam, int32_t budget, EngineStats *stats)
{
    Model model = {.cfg = {.vocab_size = VOCABULARY, .max_position_embeddings = exam->max_length}, .rope = {.n_position = exam->position_limit}};
    const EngineOptions options = {.token_budget = budget};
    Engine *engine = NULL;

    exam->asked = exam->answered = exam->asked_running = 0;
    fake.opened = fake.passes = fake.largest = 0;
    TRY(engine_open(&engine, &model, &options));
    const Status st = engine_run(engine, ask, exam, mark, exam);
    assert_int_equal(fake.running, 0);
    *stats = *engine_stats(engine);
    engine_close(engine);
    return st;
}

/* ---- tests -------------------------------------------------------------------------------------------------------------- */

static Exam exam;
static Question questions[MAX_GROUPS];

static void make_exam(int n, uint64_t seed, int32_t max_length)
{
    TestRandom random = {seed};
    exam = (Exam){.question = questions, .n_question = n, .max_length = max_length, .position_limit = max_length};
    for (int i = 0; i < n; i++)
        make_question(&questions[i], &random, i);
}

static void test_run_answers_every_request_at_any_budget(void **state)
{
    static const int32_t budget[] = {1, 7, 64, 511, 8192};
    EngineStats stats;

    (void)state;
    make_exam(MAX_GROUPS, 11, 1000);
    for (size_t i = 0; i < sizeof budget / sizeof *budget; i++) {
        CHECK_OK(sit(&exam, budget[i], &stats));
        assert_int_equal(exam.answered, MAX_GROUPS);
        assert_int_equal(stats.groups, MAX_GROUPS);
        assert_int_equal(stats.passes, fake.passes);
        assert_true(stats.tokens_read <= stats.tokens_asked);
    }
    assert_true(stats.tokens_read < stats.tokens_asked * 7 / 10); /* contexts were shared */
    CHECK_OK(sit(&exam, 512, &stats));
    assert_true(fake.ahead ? exam.asked_running > MAX_GROUPS / 2 : exam.asked_running == 0);
}

static void test_run_cuts_on_the_left(void **state)
{
    EngineStats stats;

    (void)state;
    make_exam(100, 12, 35);
    for (int i = 0; i < exam.n_question; i++)
        for (int32_t r = 0; r < questions[i].n_request; r++)
            if (questions[i].request[r].n_score > exam.max_length)
                questions[i].request[r].n_score = exam.max_length;
    CHECK_OK(sit(&exam, 64, &stats));
    assert_int_equal(exam.answered, 100);
}

static void test_run_reads_what_is_common_once(void **state)
{
    static const int32_t token[] = {5, 6, 7, 8, 9};
    EngineStats stats;

    (void)state;
    exam = (Exam){.question = questions, .n_question = 1, .max_length = 100, .position_limit = 100};
    questions[0].n_request = 0;
    for (int i = 0; i < 4; i++) { /* answers of one token: all that is read is the context */
        const int32_t ending[] = {5, 6, 7, 8, 10 + i};
        add_request(&questions[0], i, ending, 5, 1);
    }
    CHECK_OK(sit(&exam, 64, &stats));
    assert_int_equal(stats.tokens_read, 4);
    assert_int_equal(stats.tokens_asked, 16);

    questions[0].n_request = 0; /* equal requests, scored from different places */
    add_request(&questions[0], 0, token, 5, 1);
    add_request(&questions[0], 1, token, 5, 4);
    CHECK_OK(sit(&exam, 64, &stats));
    assert_int_equal(stats.tokens_read, 4);
}

/* Endings whose sequences rotate alike share, the others do not, and each is answered as if it were alone. */
static void test_run_shares_only_what_rotates_alike(void **state)
{
    EngineStats stats;
    int32_t token[MAX_TOKENS] = {0};

    (void)state;
    make_exam(200, 18, 1000);
    fake.long_from = 40;
    for (int32_t budget = 16; budget <= 4096; budget *= 16) {
        CHECK_OK(sit(&exam, budget, &stats));
        assert_int_equal(exam.answered, 200);
    }
    exam.n_question = 1;
    questions[0].n_request = 0;
    for (int32_t i = 0; i < 4; i++) /* 39, 40, 41 and 41 tokens are read, all zeros */
        add_request(&questions[0], i, token, i < 3 ? 40 + i : 42, 1);
    CHECK_OK(sit(&exam, 512, &stats));
    fake.long_from = 0;
    assert_int_equal(stats.tokens_read, 40 + 41);
    CHECK_OK(sit(&exam, 512, &stats));
    assert_int_equal(stats.tokens_read, 39 + 1 + 2 + 2);
}

static void test_run_grows_only_for_longer_requests(void **state)
{
    EngineStats stats;
    TestRandom random = {13};

    (void)state;
    make_exam(20, 13, 1000);
    CHECK_OK(sit(&exam, 128, &stats));
    assert_int_equal(fake.opened, 1);
    assert_true(fake.largest <= 128);

    questions[7].n_request = 0; /* 150 tokens and four endings of five, at a budget of 128: read together */
    int32_t token[MAX_TOKENS];
    for (int32_t i = 0; i < MAX_TOKENS; i++)
        token[i] = (int32_t)(test_random(&random) % VOCABULARY);
    for (int r = 0; r < 4; r++) {
        token[150] = r;
        add_request(&questions[7], 700 + r, token, 156, 5);
    }
    CHECK_OK(sit(&exam, 128, &stats));
    assert_int_equal(fake.opened, 2);
    assert_int_equal(fake.largest, 150 + 4 * 5);
    assert_int_equal(exam.answered, 20);
}

static void test_run_stops_between_passes(void **state)
{
    EngineStats stats;

    (void)state;
    make_exam(100, 14, 1000);
    fake.stop_at = 3;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_INTERRUPTED, "interrupted");
    fake.stop_at = 0;
    assert_int_equal(fake.passes, 3);
    assert_true(exam.answered > 0 && exam.answered < 100);
    CHECK_OK(sit(&exam, 128, &stats)); /* the wish to stop was used up */
    assert_int_equal(exam.answered, 100);
}

static void test_run_hands_on_failures(void **state)
{
    EngineStats stats;

    (void)state;
    make_exam(50, 15, 1000);
    fake.fail_at = 2;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_DEVICE, "on fire");
    fake.fail_at = 0;

    questions[3].request[0].kind = REQUEST_GENERATE;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_UNSUPPORTED, "300");
    questions[3].request[0].kind = REQUEST_LOGLIK;
    questions[3].request[0].adapter = 0;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_UNSUPPORTED, "adapter");
    questions[3].request[0].adapter = -1;
    questions[3].token[0][0] = VOCABULARY;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_INPUT, "token 50");
    questions[3].token[0][0] = -1;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_INPUT, "token -1");
}

static void test_open_checks_max_length(void **state)
{
    EngineStats stats;

    (void)state;
    make_exam(1, 16, 1000);
    exam.position_limit = 999;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_USAGE, "1000");
    exam.position_limit = 1000;
    questions[0].n_request = 0;
    const int32_t token[6] = {1, 2, 3, 4, 5, 6};
    add_request(&questions[0], 0, token, 6, 4);
    exam.max_length = 3;
    CHECK_FAILS(sit(&exam, 128, &stats), LT_E_INPUT, "at most 3");
}

static void test_run_survives_without_memory(void **state)
{
    EngineStats stats;
    const int64_t held = mem_held();

    (void)state;
    make_exam(20, 17, 1000);
    const uint64_t before = mem_count();
    CHECK_OK(sit(&exam, 16, &stats));
    const uint64_t n = mem_count() - before;
    assert_true(n > 20);
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        CHECK_FAILS(sit(&exam, 16, &stats), LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    mem_fail_at(0);
}

static int on_a_cpu(void **state)
{
    (void)state;
    fake.ahead = false;
    return 0;
}

static int on_a_gpu(void **state)
{
    (void)state;
    fake.ahead = true;
    return 0;
}

#define ON_BOTH(test) {#test, test, on_a_cpu, NULL, NULL}, {#test "_ahead", test, on_a_gpu, NULL, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_run_answers_every_request_at_any_budget),
        ON_BOTH(test_run_cuts_on_the_left),
        ON_BOTH(test_run_reads_what_is_common_once),
        ON_BOTH(test_run_shares_only_what_rotates_alike),
        ON_BOTH(test_run_grows_only_for_longer_requests),
        ON_BOTH(test_run_stops_between_passes),
        ON_BOTH(test_run_hands_on_failures),
        ON_BOTH(test_open_checks_max_length),
        ON_BOTH(test_run_survives_without_memory),
    };
    return TEST_MAIN(tests);
}
