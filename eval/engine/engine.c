#include "eval/engine/engine.h"

#include "core/clock.h"
#include "core/mem.h"
#include "eval/engine/pack.h"

#include <signal.h>

/* Rows of one pass when nobody says otherwise. TOKEN_BUDGET_CPU is where a pass stops getting faster a token (benchmarks/). */
enum { TOKEN_BUDGET_CPU = 1024, TOKEN_BUDGET_CUDA = 16384 };
/* The first pass takes an eighth of the budget, so that whoever watches sees an answer, or a mistake, at once. */
enum { FIRST_PASS_SHARE = 8 };

/* A group between its arrival and its delivery. Its arrays keep their memory for the next group in the slot. */
typedef struct Held {
    RequestGroup group;
    Input *input;
    Response *response;
    float *lp; /* all scored tokens of the group, request after request */
    bool *greedy;
    size_t input_cap, response_cap, lp_cap, greedy_cap;
} Held;

struct Engine {
    const Model *model;
    const Adapter *adapter;
    int32_t token_budget, max_length;
    Workspace *ws;
    Pack pack;                     /* what is being filled */
    Pack running;                  /* what the device is at; empty: nothing */
    Held held[ENGINE_GROUPS_HELD]; /* in the order given */
    int32_t n_held;
    int32_t n_placed; /* groups of which every request has been packed */
    int32_t n_due;    /* those that are complete once `running` is */
    EngineStats stats;
};

/* A handler knows no engine, so the wish to stop is the process's. */
static volatile sig_atomic_t stop_wanted;

void engine_stop(void)
{
    stop_wanted = 1;
}

bool engine_stop_taken(void)
{
    const bool wanted = stop_wanted != 0;

    stop_wanted = 0;
    return wanted;
}

/* Pairs can outnumber tokens where continuations share rows. */
static BatchLimits limits_for(int32_t n_token, int32_t n_pair, const Adapter *adapter)
{
    const int32_t usual = n_token < INT32_MAX / 2 ? 2 * n_token : INT32_MAX;
    return (BatchLimits){.n_token = n_token, .n_segment = n_token, .n_pair = n_pair > usual ? n_pair : usual,
                         .max_rank = adapter != NULL ? adapter->max_rank : 0};
}

static void close_passes(Engine *e)
{
    workspace_close(e->ws);
    e->ws = NULL;
    pack_release(&e->pack);
    pack_release(&e->running);
}

static Status open_passes(Engine *e, const BatchLimits *limits)
{
    TRY(pack_init(&e->pack, limits));
    if (device_runs_ahead(e->model->dev))
        TRY(pack_init(&e->running, limits));
    return workspace_open(&e->ws, e->model, limits);
}

Status engine_open(Engine **out, const Model *model, const EngineOptions *options)
{
    const int64_t own_length = model->cfg.max_position_embeddings;
    const int64_t max_length = options->max_length > 0 ? options->max_length : own_length;
    const BatchLimits limits = limits_for(options->token_budget > 0 ? options->token_budget
                                          : device_runs_ahead(model->dev) ? TOKEN_BUDGET_CUDA
                                                                          : TOKEN_BUDGET_CPU, 0, options->adapter);
    Engine *e;
    Status st;

    if (max_length > model->rope.n_position)
        return FAIL(LT_E_USAGE, "max length %lld: the model was loaded for at most %lld positions", (long long)max_length,
                    (long long)model->rope.n_position);
    TRY(MEM_NEW(e, 1));
    e->model = model;
    e->adapter = options->adapter;
    e->token_budget = limits.n_token;
    e->max_length = (int32_t)max_length;
    TRY_GOTO(open_passes(e, &limits), st, failed);
    *out = e;
    return LT_OK;
failed:
    engine_close(e);
    return st;
}

void engine_close(Engine *e)
{
    if (e == NULL)
        return;
    for (int32_t i = 0; i < ENGINE_GROUPS_HELD; i++) {
        mem_free(e->held[i].input);
        mem_free(e->held[i].response);
        mem_free(e->held[i].lp);
        mem_free(e->held[i].greedy);
    }
    close_passes(e);
    mem_free(e);
}

size_t engine_bytes(const Engine *e)
{
    return workspace_bytes(e->model, &e->pack.limits);
}

const EngineStats *engine_stats(const Engine *e)
{
    return &e->stats;
}

static Status check_request(const Engine *e, const Request *r)
{
    if (r->kind != REQUEST_LOGLIK)
        return FAIL(LT_E_UNSUPPORTED, "request %lld asks for generated text, which this engine does not do", (long long)r->id);
    if (r->adapter != -1)
        return FAIL(LT_E_UNSUPPORTED, "request %lld asks for adapter %d, none is loaded", (long long)r->id, r->adapter);
    BUG_IF(r->n_score < 1 || r->n_score >= r->n_token);
    if (r->n_score > e->max_length)
        return FAIL(LT_E_INPUT, "request %lld: a continuation of %d tokens, at most %d (max length) can be scored", (long long)r->id,
                    r->n_score, e->max_length);
    /* The device reads rows of the embedding by these numbers without looking. */
    for (int32_t i = 0; i < r->n_token; i++)
        if (r->token[i] < 0 || r->token[i] >= e->model->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "request %lld: token %d is not in the model's vocabulary of %lld; is this the model's tokenizer?",
                        (long long)r->id, r->token[i], (long long)e->model->cfg.vocab_size);
    return LT_OK;
}

/* Takes a group into the next slot: checks it, cuts it to max_length and gives its answers a place. */
static Status hold_group(Engine *e, const RequestGroup *group)
{
    Held *h = &e->held[e->n_held];
    const size_t n = (size_t)group->n_request;
    size_t n_score = 0;

    for (size_t i = 0; i < n; i++) {
        TRY(check_request(e, &group->request[i]));
        n_score += (size_t)group->request[i].n_score;
    }
    TRY(MEM_GROW(h->input, h->input_cap, n));
    TRY(MEM_GROW(h->response, h->response_cap, n));
    TRY(MEM_GROW(h->lp, h->lp_cap, n_score));
    TRY(MEM_GROW(h->greedy, h->greedy_cap, n_score));
    h->group = *group;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const Request *r = &group->request[i];
        const int32_t n_cut = r->n_token - 1 > e->max_length ? r->n_token - 1 - e->max_length : 0;
        const int32_t n_read = r->n_token - 1 - n_cut;
        h->input[i] = (Input){.token = r->token + n_cut, .n_read = n_read, .n_score = r->n_score, .n_cut = n_cut,
                              .length_class = rope_length_class(&e->model->cfg, n_read), .lp = h->lp + at, .greedy = h->greedy + at};
        at += (size_t)r->n_score;
        e->stats.tokens_asked += (uint64_t)h->input[i].n_read;
    }
    e->stats.groups++;
    e->stats.requests += n;
    e->n_held++;
    return LT_OK;
}

static Status deliver_group(Held *h, ResponseSink sink, void *context)
{
    for (int32_t i = 0; i < h->group.n_request; i++) {
        const Input *in = &h->input[i];
        Response r = {.id = h->group.request[i].id, .is_greedy = true, .token_logprob = in->lp, .n_score = in->n_score,
                      .n_input = in->n_read, .n_truncated = in->n_cut};
        for (int32_t s = 0; s < in->n_score; s++) {
            r.loglik += (double)in->lp[s];
            r.is_greedy = r.is_greedy && in->greedy[s];
        }
        h->response[i] = r;
    }
    return sink(context, &h->group, h->response);
}

/* Forgets the first n groups held; those that are still waited for or being packed move to the front with their answers. */
static void drop_groups(Engine *e, int32_t n)
{
    for (int32_t i = n; i < e->n_held; i++) {
        const Held spare = e->held[i - n];
        e->held[i - n] = e->held[i];
        e->held[i] = spare;
    }
    e->n_held -= n;
    e->n_placed -= n;
    e->n_due -= n;
}

static Status begin_pass(Engine *e, Pack *pack)
{
    Batch batch = pack_batch(pack);
    const double start = clock_s();

    batch.adapter = e->adapter;
    TRY(forward_begin(e->model, e->ws, &batch));
    e->stats.forward_s += clock_s() - start;
    e->stats.tokens_read += (uint64_t)batch.n_token;
    e->stats.passes++;
    return LT_OK;
}

static Status finish_pass(Engine *e, Pack *pack)
{
    const Batch batch = pack_batch(pack);
    const double start = clock_s();

    if (pack->n_token == 0)
        return LT_OK;
    TRY(forward_finish(e->model, e->ws, &batch, pack->lp, pack->greedy));
    e->stats.forward_s += clock_s() - start;
    pack_deliver(pack);
    return LT_OK;
}

/* The first n groups are complete. */
static Status deliver_groups(Engine *e, int32_t n, ResponseSink sink, void *context)
{
    for (int32_t i = 0; i < n; i++)
        TRY(deliver_group(&e->held[i], sink, context));
    drop_groups(e, n);
    return LT_OK;
}

/* Waits for the pass that runs, starts the one that is packed, and delivers the former's groups meanwhile. */
static Status start_pass(Engine *e, ResponseSink sink, void *context)
{
    const int32_t n = e->n_due;
    Status begun = LT_OK;

    TRY(finish_pass(e, &e->running));
    if (engine_stop_taken())
        begun = FAIL(LT_E_INTERRUPTED, "interrupted; what was scored so far is kept");
    else if (e->pack.n_token > 0)
        begun = begin_pass(e, &e->pack);
    if (begun == LT_OK) {
        const Pack idle = e->running;

        e->running = e->pack;
        e->pack = idle;
        e->n_due = e->n_placed;
    }
    TRY(deliver_groups(e, n, sink, context));
    return begun;
}

/* One forward pass over what is packed, then the delivery of every group that is complete. */
static Status run_pass(Engine *e, ResponseSink sink, void *context)
{
    if (device_runs_ahead(e->model->dev))
        return start_pass(e, sink, context);
    if (engine_stop_taken())
        return FAIL(LT_E_INTERRUPTED, "interrupted; what was scored so far is kept");
    if (e->pack.n_token > 0) {
        TRY(begin_pass(e, &e->pack));
        TRY(finish_pass(e, &e->pack));
    }
    return deliver_groups(e, e->n_placed, sink, context);
}

/* A longer span than any before: the workspace and the packs (empty, once nothing runs) are taken anew. */
static Status make_room(Engine *e, const Span *span)
{
    const int32_t n_token = span->n_token > e->pack.limits.n_token ? span->n_token : e->pack.limits.n_token;
    const BatchLimits limits = limits_for(n_token, span->n_pair, e->adapter);

    close_passes(e);
    return open_passes(e, &limits);
}

/* What a span of this group may take. A request beyond the budget has to be read all the same; then its siblings, which mostly add an
 * ending to the same context, come along up to a quarter more instead of having all of it read again. */
static BatchLimits span_limits(const Engine *e, const Held *h)
{
    int32_t longest = 0;
    for (int32_t i = 0; i < h->group.n_request; i++)
        longest = h->input[i].n_read > longest ? h->input[i].n_read : longest;
    return limits_for(longest > e->token_budget ? longest + longest / 4 : e->token_budget, 0, e->adapter);
}

static Status place_group(Engine *e, ResponseSink sink, void *context)
{
    int32_t first = 0;
    const RequestGroup group = e->held[e->n_held - 1].group;
    const BatchLimits limits = span_limits(e, &e->held[e->n_held - 1]);

    while (first < group.n_request) {
        /* The slot is looked up each time: a pass moves the group to the front. */
        const Input *input = e->held[e->n_held - 1].input + first;
        const Span span = span_take(input, group.n_request - first, &limits);
        if (!pack_has_room(&e->pack, &span) && e->pack.n_token + e->running.n_token > 0) {
            TRY(run_pass(e, sink, context));
            continue;
        }
        if (!pack_has_room(&e->pack, &span))
            TRY(make_room(e, &span));
        pack_add(&e->pack, input, &span);
        first += span.n_input;
    }
    e->n_placed = e->n_held;
    return LT_OK;
}

Status engine_run(Engine *e, GroupSource source, void *source_context, ResponseSink sink, void *sink_context)
{
    Status st = LT_OK;

    for (;;) {
        RequestGroup group = {0};
        bool more = false;
        TRY_GOTO(source(source_context, &group, &more), st, done);
        if (!more)
            break;
        TRY_GOTO(hold_group(e, &group), st, done);
        TRY_GOTO(place_group(e, sink, sink_context), st, done);
        if (e->stats.passes == 0 && e->pack.n_token >= e->token_budget / FIRST_PASS_SHARE)
            TRY_GOTO(run_pass(e, sink, sink_context), st, done);
        while (e->n_held == ENGINE_GROUPS_HELD)
            TRY_GOTO(run_pass(e, sink, sink_context), st, done);
    }
    do
        TRY_GOTO(run_pass(e, sink, sink_context), st, done);
    while (e->n_held > 0);
done:
    if (e->running.n_token > 0)
        (void)device_sync(e->model->dev); /* what failed has been said */
    pack_clear(&e->pack);
    pack_clear(&e->running);
    e->n_held = e->n_placed = e->n_due = 0;
    return st;
}
