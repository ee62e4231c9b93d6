#include "eval/engine/generate_state.h"

/* Where a pass over the prompts and one over the completions stop getting faster a token (benchmarks/bench_generate.c). */
enum { READ_TOKENS_CPU = 1024, READ_TOKENS_CUDA = 8192, ROWS_CPU = 64, ROWS_CUDA = 256 };
/* Samples of one prompt that are drawn from one pass; more are another prompt, of which nearly all is resident. */
enum { MOST_SAMPLES = 256 };

/* ---- open and close ----------------------------------------------------------------------------------------------------- */

static Status find_limits(Generator *g)
{
    const GeneratorOptions *o = &g->options;
    const bool cuda = strcmp(device_backend(g->model->dev), "cuda") == 0;
    const int32_t rows = o->max_rows > 0 ? o->max_rows : cuda ? ROWS_CUDA : ROWS_CPU;
    const int32_t budget = o->token_budget > 0 ? o->token_budget : cuda ? READ_TOKENS_CUDA : READ_TOKENS_CPU;
    const int64_t length = o->max_length > 0 ? o->max_length : g->model->cfg.max_position_embeddings;

    if (length > g->model->rope.n_position)
        return FAIL(LT_E_USAGE, "max length %lld: the model was loaded for at most %lld positions", (long long)length,
                    (long long)g->model->rope.n_position);
    g->options.max_length = (int32_t)length;
    g->limits = (DecodeLimits){.n_token = budget > rows ? budget : rows, .n_sequence = rows, .n_choice = rows > MOST_SAMPLES ? rows : MOST_SAMPLES,
                               .n_page = pages_of(length), .max_rank = o->adapter != NULL ? o->adapter->max_rank : 0};
    return LT_OK;
}

static Status open_cache(Generator *g)
{
    const size_t page = kvcache_page_bytes(g->model);
    const int64_t most = g->options.most_positions, by_rows = (int64_t)g->limits.n_page * g->limits.n_sequence;
    const int64_t useful = most > 0 && most < by_rows * KV_PAGE ? pages_of(most) : by_rows;
    size_t bytes = g->options.kv_bytes, free_bytes, total_bytes;
    int64_t n;

    if (bytes == 0) {
        TRY(device_memory(g->model->dev, &free_bytes, &total_bytes));
        bytes = free_bytes / 2;
    }
    n = (int64_t)(bytes / page);
    if (n == 0)
        return FAIL(LT_E_NOMEM, "%zu bytes for keys and values: a page of %d positions takes %zu", bytes, KV_PAGE, page);
    n = n < useful ? n : useful;
    return kvcache_open(&g->cache, g->model, n < INT32_MAX / KV_PAGE ? (int32_t)n : INT32_MAX / KV_PAGE);
}

/* A packed copy of the weights is worth it while it takes little of what the cache could have. */
static Status open_packed(Generator *g)
{
    const size_t bytes = packed_bytes(g->model);
    size_t free_bytes, total_bytes;

    TRY(device_memory(g->model->dev, &free_bytes, &total_bytes));
    return bytes == 0 || bytes > free_bytes / 4 ? LT_OK : packed_open(&g->packed, g->model);
}

static Status open_parts(Generator *g)
{
    TRY(find_limits(g));
    const DecodeLimits *l = &g->limits;
    TRY(open_packed(g));
    TRY(open_cache(g));
    TRY(decoder_open(&g->decoder, g->model, &g->cache, l));
    TRY(MEM_NEW(g->id, (size_t)l->n_token));
    TRY(MEM_NEW(g->sequence, (size_t)l->n_sequence));
    TRY(MEM_NEW(g->in_pass, (size_t)l->n_sequence));
    TRY(MEM_NEW(g->choice, (size_t)l->n_choice));
    TRY(MEM_NEW(g->drawn, (size_t)l->n_choice));
    return MEM_NEW(g->lp, (size_t)l->n_choice);
}

Status generator_open(Generator **out, const Model *model, const GeneratorOptions *options)
{
    Generator *g;

    TRY(MEM_NEW(g, 1));
    g->model = model;
    g->options = *options;
    const Status st = open_parts(g);
    if (st == LT_OK)
        *out = g;
    else
        generator_close(g);
    return st;
}

void generator_close(Generator *g)
{
    if (g == NULL)
        return;
    resident_drop(g);
    mem_free(g->resident.token);
    for (int32_t i = 0; i < ENGINE_GROUPS_HELD; i++) {
        mem_free(g->held[i].sample);
        mem_free(g->held[i].response);
    }
    decoder_close(g->decoder);
    kvcache_close(&g->cache);
    packed_close(&g->packed);
    mem_free(g->active);
    mem_free(g->id);
    mem_free(g->sequence);
    mem_free(g->in_pass);
    mem_free(g->choice);
    mem_free(g->drawn);
    mem_free(g->lp);
    mem_free(g);
}

GeneratorPlan generator_plan(const Generator *g)
{
    return (GeneratorPlan){.kv_bytes = (size_t)g->cache.n_page * kvcache_page_bytes(g->model), .pass_bytes = decoder_bytes(g->model, &g->limits),
                           .packed_bytes = g->packed.memory.bytes, .n_position = (int64_t)g->cache.n_page * KV_PAGE, .max_rows = g->limits.n_sequence};
}

const GeneratorStats *generator_stats(const Generator *g) { return &g->stats; }

/* ---- groups come -------------------------------------------------------------------------------------------------------- */

static Status check_request(const Generator *g, const Request *r)
{
    const Sampling *how = &r->sampling;
    const long long id = (long long)r->id;

    if (r->kind != REQUEST_GENERATE || r->adapter != -1)
        return FAIL(LT_E_UNSUPPORTED, "request %lld: expected a text to go on with, by the loaded model", id);
    if (r->n_token < 1)
        return FAIL(LT_E_INPUT, "request %lld: an empty prompt; a model needs at least one token to go on from", id);
    if (how->max_new < 1 || how->max_new >= g->options.max_length)
        return FAIL(LT_E_USAGE, "request %lld: expected 1 to %d new tokens (max length is %d), found %d", id, g->options.max_length - 1,
                    g->options.max_length, how->max_new);
    if (how->stop != NULL && how->stop[0] != NULL && g->options.rules.tokenizer == NULL)
        return FAIL(LT_E_USAGE, "request %lld: stop strings need a tokenizer", id);
    for (int32_t i = 0; i < r->n_token; i++)
        if (r->token[i] < 0 || r->token[i] >= g->model->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "request %lld: token %d is not in the model's vocabulary of %lld; is this the model's tokenizer?", id,
                        r->token[i], (long long)g->model->cfg.vocab_size);
    return LT_OK;
}

static Status init_sample(const Generator *g, Sample *s, const Request *r, HeldGroup *group)
{
    const int32_t most = g->options.max_length - r->sampling.max_new, n_cut = r->n_token > most ? r->n_token - most : 0;

    *s = (Sample){.request = r, .group = group, .token = r->token + n_cut, .n_prompt = r->n_token - n_cut, .n_cut = n_cut};
    const int32_t need = pages_of((int64_t)s->n_prompt + r->sampling.max_new - 1);
    if (need > g->cache.n_page)
        return FAIL(LT_E_NOMEM, "request %lld: %d tokens of prompt and %d new ones take %d pages of keys and values, the cache has %d",
                    (long long)r->id, s->n_prompt, r->sampling.max_new, need, g->cache.n_page);
    return completion_open(&s->completion, &g->options.rules, &r->sampling);
}

static bool same_prompt(const Sample *a, const Sample *b)
{
    return a->n_prompt == b->n_prompt && a->request->sampling.max_new == b->request->sampling.max_new &&
           memcmp(a->token, b->token, (size_t)a->n_prompt * sizeof *a->token) == 0;
}

static Status hold_group(Generator *g, const RequestGroup *group)
{
    HeldGroup *h = &g->held[(g->first_held + g->n_held) % ENGINE_GROUPS_HELD];
    Sample *first = NULL;

    for (int32_t i = 0; i < group->n_request; i++)
        TRY(check_request(g, &group->request[i]));
    TRY(MEM_GROW(h->sample, h->sample_cap, (size_t)group->n_request));
    TRY(MEM_GROW(h->response, h->response_cap, (size_t)group->n_request));
    h->group = *group;
    h->n_sample = h->n_started = h->n_done = 0;
    g->n_held++;
    for (int32_t i = 0; i < group->n_request; i++) {
        Sample *s = &h->sample[i];

        TRY(init_sample(g, s, &group->request[h->n_sample++], h));
        g->stats.tokens_asked += (uint64_t)s->n_prompt;
        if (first != NULL && first->n_follow + 1 < MOST_SAMPLES && same_prompt(first, s)) {
            first->n_follow++;
            s->n_follow = -1;
        } else {
            first = s;
        }
    }
    return LT_OK;
}

/* The next prompt that nobody has read; NULL if all groups that may be held are held, or there are no more. */
static Status next_prompt(Generator *g, GroupSource source, void *context, Sample **out)
{
    *out = NULL;
    for (int32_t i = 0;; i++) {
        RequestGroup group = {0};
        bool more = false;

        if (i == ENGINE_GROUPS_HELD)
            return LT_OK;
        if (i == g->n_held) {
            if (!g->source_is_empty)
                TRY(source(context, &group, &more));
            g->source_is_empty = !more;
            if (!more)
                return LT_OK;
            TRY(hold_group(g, &group));
        }
        HeldGroup *h = &g->held[(g->first_held + i) % ENGINE_GROUPS_HELD];
        if (h->n_started < h->n_sample) {
            *out = &h->sample[h->n_started];
            return LT_OK;
        }
    }
}

/* Samples that are live, and those that will be when the prompts being read are read. */
static int32_t rows_spoken_for(const Generator *g)
{
    int64_t n = 0;

    for (int32_t i = 0; i < g->n_active; i++)
        n += g->active[i]->state == SAMPLE_LIVE ? 1 : g->active[i]->state == SAMPLE_READING ? 1 + g->active[i]->n_follow : 0;
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

static Status start_prompts(Generator *g, GroupSource source, void *context)
{
    bool all;

    TRY(bring_back(g, &all));
    while (all && rows_spoken_for(g) < g->limits.n_sequence) {
        bool started;
        Sample *s;

        TRY(next_prompt(g, source, context, &s));
        if (s == NULL)
            break;
        TRY(MEM_GROW(g->active, g->active_cap, (size_t)g->n_active + 1));
        TRY(start_prompt(g, s, &started));
        if (!started)
            break;
        g->active[g->n_active++] = s;
        s->group->n_started += 1 + s->n_follow;
    }
    return LT_OK;
}

/* ---- and go ------------------------------------------------------------------------------------------------------------- */

static Response response_of(const Sample *s)
{
    const Completion *c = &s->completion;
    Response r = {.id = s->request->id, .token_logprob = c->lp, .n_score = (int32_t)c->ids.count, .n_input = s->n_prompt,
                  .n_truncated = s->n_cut, .token = c->ids.id, .text = strbuf_str(&c->text), .finish = c->finish};

    for (size_t i = 0; i < c->ids.count; i++)
        r.loglik += (double)c->lp[i];
    return r;
}

/* Frees what the group's samples hold. */
static void release_group(Generator *g, HeldGroup *h)
{
    for (int32_t i = 0; i < h->n_sample; i++) {
        kvseq_close(&g->cache, &h->sample[i].kv);
        completion_close(&h->sample[i].completion);
    }
    g->first_held = (g->first_held + 1) % ENGINE_GROUPS_HELD;
    g->n_held--;
}

static Status deliver(Generator *g, ResponseSink sink, void *context)
{
    while (g->n_held > 0) {
        HeldGroup *h = &g->held[g->first_held];

        if (h->n_done < h->n_sample)
            return LT_OK;
        for (int32_t i = 0; i < h->n_sample; i++)
            h->response[i] = response_of(&h->sample[i]);
        TRY(sink(context, &h->group, h->response));
        release_group(g, h);
    }
    return LT_OK;
}

static bool is_reading(const Generator *g)
{
    for (int32_t i = 0; i < g->n_active; i++)
        if (g->active[i]->state == SAMPLE_READING)
            return true;
    return false;
}

Status generator_run(Generator *g, GroupSource source, void *source_context, ResponseSink sink, void *sink_context)
{
    Status st;

    g->source_is_empty = false;
    for (;;) {
        if (engine_stop_taken())
            TRY_GOTO(FAIL(LT_E_INTERRUPTED, "interrupted; what was completed so far is kept"), st, done);
        TRY_GOTO(start_prompts(g, source, source_context), st, done);
        if (g->n_active > 0)
            TRY_GOTO(is_reading(g) ? read_prompts(g) : decode_step(g), st, done);
        TRY_GOTO(deliver(g, sink, sink_context), st, done);
        if (g->n_active == 0 && g->n_held == 0 && g->source_is_empty)
            break;
    }
done:
    g->n_active = g->n_live = 0;
    while (g->n_held > 0)
        release_group(g, &g->held[g->first_held]);
    resident_drop(g);
    return st;
}
