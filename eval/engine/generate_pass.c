#include "core/clock.h"
#include "eval/engine/generate_state.h"

/* ---- what a choice does to a sample --------------------------------------------------------------------------------------- */

static SampleParams params_of(const Sample *s)
{
    const Sampling *how = &s->request->sampling;

    return (SampleParams){.temperature = how->temperature, .top_p = how->top_p, .top_k = how->top_k, .seed_low = (uint32_t)how->seed,
                          .seed_high = (uint32_t)(how->seed >> 32), .step = (uint32_t)s->completion.ids.count};
}

static Status show_text(const Generator *g, Sample *s)
{
    const Str text = completion_settled(&s->completion);

    if (g->options.on_text == NULL || text.len <= s->n_shown)
        return LT_OK;
    TRY(g->options.on_text(g->options.text_context, s->request, str_slice(text, s->n_shown, text.len)));
    s->n_shown = text.len;
    return LT_OK;
}

static Status take_choice(Generator *g, Sample *s, int32_t id, float lp)
{
    if (lp != lp)
        return FAIL(LT_E_NUMERIC, "request %lld: after %zu new tokens the model's logits are not numbers", (long long)s->request->id,
                    s->completion.ids.count);
    TRY(completion_add(&s->completion, id, lp));
    g->stats.tokens_drawn++;
    return show_text(g, s);
}

static void finish_sample(Generator *g, Sample *s)
{
    kvseq_close(&g->cache, &s->kv);
    s->state = SAMPLE_DONE;
    s->group->n_done++;
    g->stats.completions++;
}

static void drop_done(Generator *g)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < g->n_active; i++)
        if (g->active[i]->state != SAMPLE_DONE)
            g->active[kept++] = g->active[i];
    g->n_active = kept;
}

/* ---- reading prompts ------------------------------------------------------------------------------------------------------ */

typedef struct ReadPass {
    int32_t n_token, n_sequence, n_choice;
} ReadPass;

/* As much of the sample's prompt as fits; false if that is nothing. */
static bool add_piece(Generator *g, ReadPass *pass, Sample *s)
{
    const int32_t left = s->n_prompt - s->length, room = g->limits.n_token - pass->n_token, n = left < room ? left : room;
    const int32_t n_choice = n == left ? 1 + s->n_follow : 0;

    if (n == 0 || pass->n_sequence == g->limits.n_sequence || pass->n_choice + n_choice > g->limits.n_choice)
        return false;
    memcpy(g->id + pass->n_token, s->token + s->length, (size_t)n * sizeof *g->id);
    g->in_pass[pass->n_sequence] = s;
    g->sequence[pass->n_sequence++] = (DecodeSequence){s->kv.page, s->length, n, s->n_prompt};
    pass->n_token += n;
    for (int32_t i = 0; i < n_choice; i++)
        g->choice[pass->n_choice++] = (DecodeChoice){pass->n_token - 1, params_of(&s[i])};
    return true;
}

static Status insert_active(Generator *g, Sample *s, const Sample *behind)
{
    int32_t at = g->n_active;

    TRY(MEM_GROW(g->active, g->active_cap, (size_t)g->n_active + 1));
    for (; g->active[at - 1] != behind; at--)
        g->active[at] = g->active[at - 1];
    g->active[at] = s;
    g->n_active++;
    return LT_OK;
}

/* A sample with the prompt of `from` and a first id of its own. */
static Status fork_sample(Generator *g, Sample *s, const Sample *from, const Sample *behind)
{
    TRY(kvseq_open(&s->kv, from->kv.cap));
    TRY(kvseq_fork(&g->cache, &s->kv, &from->kv, s->n_prompt));
    s->length = s->n_prompt;
    s->state = SAMPLE_OUT;
    TRY(insert_active(g, s, behind));
    if (kvseq_is_here(&s->kv) && g->n_live < g->limits.n_sequence) {
        s->state = SAMPLE_LIVE;
        g->n_live++;
    }
    return LT_OK;
}

/* The first ids of a prompt's samples are there. Those that go on fork before the first one may leave. */
static Status end_prompt(Generator *g, Sample *first, const int32_t *id, const float *lp)
{
    const Sample *behind = first;

    g->stats.prompts++;
    for (int32_t i = 0; i <= first->n_follow; i++)
        TRY(take_choice(g, &first[i], id[i], lp[i]));
    first->state = SAMPLE_LIVE;
    g->n_live++;
    for (int32_t i = 1; i <= first->n_follow; i++) {
        if (first[i].completion.finish != FINISH_NONE) {
            finish_sample(g, &first[i]);
            continue;
        }
        TRY(fork_sample(g, &first[i], first, behind));
        behind = &first[i];
    }
    if (first->completion.finish != FINISH_NONE) {
        finish_sample(g, first);
        g->n_live--;
    }
    return LT_OK;
}

Status read_prompts(Generator *g)
{
    const double start = clock_s();
    ReadPass pass = {0};

    for (int32_t i = 0; i < g->n_active; i++)
        if (g->active[i]->state == SAMPLE_READING && !add_piece(g, &pass, g->active[i]))
            break;
    const DecodeBatch batch = {.phase = GEMM_WIDE, .id = g->id, .sequence = g->sequence, .choice = g->choice, .n_sequence = pass.n_sequence,
                               .n_choice = pass.n_choice, .adapter = g->options.adapter, .packed = g->packed.matrix != NULL ? &g->packed : NULL};
    TRY(decode_run(g->decoder, &batch, g->drawn, g->lp));
    for (int32_t i = 0, at = 0; i < pass.n_sequence; i++) {
        Sample *s = g->in_pass[i];

        s->length += g->sequence[i].n_token;
        if (s->length < s->n_prompt)
            continue;
        TRY(end_prompt(g, s, g->drawn + at, g->lp + at));
        at += 1 + s->n_follow;
    }
    drop_done(g);
    g->stats.tokens_read += (uint64_t)pass.n_token;
    g->stats.read_passes++;
    g->stats.read_s += clock_s() - start;
    return LT_OK;
}

/* ---- a token for everyone ------------------------------------------------------------------------------------------------- */

static int32_t gather_live(Generator *g)
{
    int32_t n = 0;

    for (int32_t i = 0; i < g->n_active; i++) {
        Sample *s = g->active[i];

        if (s->state != SAMPLE_LIVE)
            continue;
        g->in_pass[n] = s;
        g->id[n] = s->completion.ids.id[s->completion.ids.count - 1];
        g->sequence[n] = (DecodeSequence){s->kv.page, s->length, 1, s->length + 1};
        g->choice[n] = (DecodeChoice){n, params_of(s)};
        n++;
    }
    return n;
}

Status decode_step(Generator *g)
{
    const double start = clock_s();

    /* From the oldest on: whoever has to leave comes later in the list, or is the one that asks. */
    for (int32_t i = 0; i < g->n_active; i++) {
        Sample *s = g->active[i];

        if (s->state == SAMPLE_LIVE && s->length == s->kv.n_page * KV_PAGE)
            TRY(make_room(g, s));
    }
    const int32_t n = gather_live(g);
    const DecodeBatch batch = {.phase = GEMM_NARROW, .id = g->id, .sequence = g->sequence, .choice = g->choice, .n_sequence = n, .n_choice = n,
                               .adapter = g->options.adapter, .packed = g->packed.matrix != NULL ? &g->packed : NULL};
    TRY(decode_run(g->decoder, &batch, g->drawn, g->lp));
    for (int32_t i = 0; i < n; i++) {
        Sample *s = g->in_pass[i];

        s->length++;
        TRY(take_choice(g, s, g->drawn[i], g->lp[i]));
        if (s->completion.finish != FINISH_NONE) {
            finish_sample(g, s);
            g->n_live--;
        }
    }
    drop_done(g);
    g->stats.decode_passes++;
    g->stats.decode_s += clock_s() - start;
    return LT_OK;
}
