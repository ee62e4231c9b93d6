#include "eval/engine/generate_state.h"

void resident_drop(Generator *g)
{
    kvseq_close(&g->cache, &g->resident.kv);
    g->resident.n_token = 0;
}

static Sample *youngest(const Generator *g, SampleState state, const Sample *but)
{
    for (int32_t i = g->n_active - 1; i >= 0; i--) {
        Sample *s = g->active[i];

        if (s->state == state && s != but && s->kv.n_here > 0)
            return s;
    }
    return NULL;
}

Status reclaim_pages(Generator *g, const Sample *for_whom, bool *any)
{
    Sample *out = youngest(g, SAMPLE_OUT, for_whom);

    *any = true;
    if (g->resident.kv.n_page > 0) {
        resident_drop(g);
        return LT_OK;
    }
    if (out != NULL)
        return kvseq_page_out(&g->cache, &out->kv, 0);
    *any = false;
    return LT_OK;
}

/* Pages that others hold too would free nothing: they stay, and are still shared when the sample comes back. */
static Status send_out(Generator *g, Sample *s)
{
    s->state = SAMPLE_OUT;
    g->n_live--;
    g->stats.paged_out++;
    return kvseq_page_out(&g->cache, &s->kv, kvseq_n_shared(&g->cache, &s->kv));
}

Status make_room(Generator *g, Sample *s)
{
    while (s->state == SAMPLE_LIVE && !kvseq_grow(&g->cache, &s->kv)) {
        bool any = true;

        if (g->resident.kv.n_page > 0)
            resident_drop(g);
        else if (g->n_live > 1)
            TRY(send_out(g, youngest(g, SAMPLE_LIVE, NULL)));
        else
            TRY(reclaim_pages(g, s, &any));
        BUG_IF(!any); /* no sample is held that the whole cache could not hold */
    }
    return LT_OK;
}

/* A page more than it needs, so that it does not have to leave again at once. */
static bool has_room(const Generator *g, const Sample *s)
{
    const int32_t need = s->kv.n_page - s->kv.n_here;

    return need == 0 || g->cache.n_free > need;
}

Status bring_back(Generator *g, bool *all)
{
    *all = false;
    for (int32_t i = 0; i < g->n_active; i++) {
        Sample *s = g->active[i];
        bool any = true;

        if (s->state != SAMPLE_OUT)
            continue;
        if (g->n_live >= g->limits.n_sequence || (g->n_live > 0 && !has_room(g, s)))
            return LT_OK;
        TRY(kvseq_page_in(&g->cache, &s->kv));
        while (!kvseq_is_here(&s->kv)) {
            TRY(reclaim_pages(g, s, &any));
            BUG_IF(!any);
            TRY(kvseq_page_in(&g->cache, &s->kv));
        }
        s->state = SAMPLE_LIVE;
        g->n_live++;
    }
    *all = true;
    return LT_OK;
}

/* ---- prompts ------------------------------------------------------------------------------------------------------------ */

/* Whole pages that the prompt has in common with the resident one. At least its last token is read, since the first choice comes from there. */
static int32_t common_pages(const Generator *g, const Sample *s)
{
    const Resident *r = &g->resident;
    const int32_t most = (r->n_token < s->n_prompt - 1 ? r->n_token : s->n_prompt - 1);
    int32_t n = 0;

    if (r->length_class != rope_length_class(&g->model->cfg, s->n_prompt))
        return 0;
    while (n < most && r->token[n] == s->token[n])
        n++;
    return n / KV_PAGE < r->kv.n_page ? n / KV_PAGE : r->kv.n_page;
}

static Status keep_prompt(Generator *g, const Sample *s)
{
    Resident *r = &g->resident;
    const int32_t n_page = s->n_prompt / KV_PAGE;

    resident_drop(g);
    if (n_page == 0)
        return LT_OK;
    TRY(MEM_GROW(r->token, r->token_cap, (size_t)s->n_prompt));
    TRY(kvseq_open(&r->kv, n_page));
    memcpy(r->token, s->token, (size_t)s->n_prompt * sizeof *s->token);
    kvseq_share(&g->cache, &r->kv, &s->kv, n_page);
    r->n_token = s->n_prompt;
    r->length_class = rope_length_class(&g->model->cfg, s->n_prompt);
    return LT_OK;
}

/* Free pages that a prompt should find: its own, a last one for each sample that forks, and some for those that are live, which grow: a prompt
 * that made one of them leave would have come too early. */
static int32_t pages_wanted(const Generator *g, const Sample *s, int32_t shared)
{
    const int32_t rows = g->limits.n_sequence - g->n_live, n_sample = 1 + s->n_follow;

    return pages_of(s->n_prompt) - shared + (n_sample < rows ? n_sample : rows) + g->n_live / 4;
}

Status start_prompt(Generator *g, Sample *s, bool *started)
{
    int32_t shared = common_pages(g, s);

    *started = false;
    while (pages_wanted(g, s, shared) > g->cache.n_free) {
        bool any = g->resident.kv.n_page > 0;

        if (any)
            resident_drop(g);
        else if (g->n_active > 0)
            return LT_OK;
        shared = 0;
        if (!any)
            break; /* alone it fits, though perhaps not all of its samples at once */
    }
    TRY(kvseq_open(&s->kv, pages_of((int64_t)s->n_prompt + s->request->sampling.max_new - 1)));
    kvseq_share(&g->cache, &s->kv, &g->resident.kv, shared);
    while (s->kv.n_page < pages_of(s->n_prompt))
        BUG_IF(!kvseq_grow(&g->cache, &s->kv));
    s->length = shared * KV_PAGE;
    s->state = SAMPLE_READING;
    *started = true;
    return keep_prompt(g, s);
}
