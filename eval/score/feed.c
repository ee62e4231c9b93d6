#include "eval/score/feed.h"

#include "core/clock.h"
#include "eval/score/metrics.h"

#include <math.h>
#include <stdio.h>

/* A kill loses nothing that was written; this bounds what a power cut can take. */
static const double SYNC_EVERY_S = 10.0;

/* One document in the engine's hands. */
typedef struct FeedSlot {
    Ids ids; /* of all requests, one behind the other */
    Request request[TASK_MAX_CHOICES];
    int64_t doc;
} FeedSlot;

typedef struct Feed {
    FeedOptions o;
    Encoder *encoder;
    StrBuf prompt, line;
    FeedSlot slot[ENGINE_GROUPS_HELD];
    uint64_t n_given;
    int64_t next; /* document */
    uint64_t n_done, n_right;
} Feed;

Status record_log_close(RecordLog *log)
{
    if (!log->is_open)
        return LT_OK;
    log->is_open = false;
    return appendlog_close(&log->log);
}

static Status log_record(RecordLog *log, Str line)
{
    if (!log->is_open) {
        TRY(appendlog_create(&log->log, log->folder));
        log->is_open = true;
        log->synced_s = clock_s();
    }
    TRY(appendlog_add(&log->log, line));
    if (clock_s() - log->synced_s < SYNC_EVERY_S)
        return LT_OK;
    log->synced_s = clock_s();
    return appendlog_sync(&log->log);
}

int64_t feed_missing(const TaskPlan *plan, const RecordStore *records, const char *key)
{
    int64_t missing = 0;
    for (int64_t d = plan->first; d < plan->first + plan->count; d++)
        missing += records_find(records, key, d) == NULL;
    return missing;
}

static Status encode_doc(Feed *f, FeedSlot *slot)
{
    const TaskPlan *plan = f->o.plan;
    const Doc *doc = &plan->scored.doc[slot->doc];
    int shown = -1;

    slot->ids.count = 0;
    for (int i = 0; i < doc->n_choice; i++) {
        const size_t begin = slot->ids.count;
        const int which = plan_context_of(doc, i);
        int32_t n_context, n_continuation;
        if (which != shown) {
            strbuf_clear(&f->prompt);
            TRY(plan_prompt(&f->prompt, plan, slot->doc, which));
            shown = which;
        }
        TRY(encode_pair(f->encoder, f->o.tokenizer, plan->profile.bos, strbuf_str(&f->prompt), doc->continuation[i], &slot->ids, &n_context,
                        &n_continuation));
        if (n_continuation < 1 || n_context < 1)
            return FAIL(LT_E_INPUT, "choice %d has %d tokens behind %d of context, at least one each expected", i, n_continuation, n_context);
        slot->request[i] = (Request){.kind = REQUEST_LOGLIK, .id = slot->doc, .adapter = -1,
                                     .n_token = (int32_t)(slot->ids.count - begin), .n_score = n_continuation};
    }
    /* Only now do the ids stay where they are. */
    const int32_t *token = slot->ids.id;
    for (int i = 0; i < doc->n_choice; i++) {
        slot->request[i].token = token;
        token += slot->request[i].n_token;
    }
    return LT_OK;
}

static Status give_group(void *context, RequestGroup *group, bool *more)
{
    Feed *f = context;
    const TaskPlan *plan = f->o.plan;

    while (f->next < plan->first + plan->count && records_find(f->o.records, f->o.key, f->next) != NULL)
        f->next++;
    *more = f->next < plan->first + plan->count;
    if (!*more)
        return LT_OK;
    FeedSlot *slot = &f->slot[f->n_given++ % ENGINE_GROUPS_HELD];
    slot->doc = f->next++;
    const Status st = encode_doc(f, slot);
    if (st != LT_OK)
        return status_wrap(st, "%s: document %lld", plan->scored.path, (long long)slot->doc);
    *group = (RequestGroup){slot->request, plan->scored.doc[slot->doc].n_choice};
    return LT_OK;
}

static void show_progress(Feed *f, const Doc *doc, const ScoreRecord *r)
{
    const ChoiceScore s = choice_score(doc, r);
    const char *metric = f->o.plan->task->metric[0];
    char note[64];

    f->n_done++;
    f->n_right += choice_metric(&s, metric) == 1.0;
    snprintf(note, sizeof note, "%s %.4f", metric, (double)f->n_right / (double)f->n_done);
    progress_add(f->o.progress, 1, (uint64_t)r->tokens, note);
}

static Status take_group(void *context, const RequestGroup *group, const Response *response)
{
    Feed *f = context;
    const TaskPlan *plan = f->o.plan;
    const Doc *doc = &plan->scored.doc[group->request[0].id];
    ScoreRecord r = {.doc_id = doc->index, .n_choice = group->n_request};

    for (int i = 0; i < r.n_choice; i++) {
        if (!isfinite(response[i].loglik))
            return FAIL(LT_E_NUMERIC, "%s: document %lld: the model's log-likelihood of choice %d is %g; its numbers may be too large for this dtype",
                        plan->scored.path, (long long)doc->index, i, response[i].loglik);
        r.loglik[i] = response[i].loglik;
        r.greedy[i] = response[i].is_greedy;
        r.tokens += response[i].n_input;
        r.truncated += response[i].n_truncated > 0;
    }
    strbuf_clear(&f->line);
    TRY(record_write(&f->line, f->o.key, plan->task->name, &r));
    TRY(log_record(f->o.log, strbuf_str(&f->line)));
    TRY(records_add(f->o.records, f->o.key, &r));
    show_progress(f, doc, &r);
    return LT_OK;
}

Status feed_run(Engine *engine, const FeedOptions *options)
{
    Feed *f;
    Status st;

    TRY(MEM_NEW(f, 1));
    f->o = *options;
    f->next = options->plan->first;
    strbuf_init(&f->prompt);
    strbuf_init(&f->line);
    TRY_GOTO(encoder_create(&f->encoder, options->tokenizer), st, done);
    st = engine_run(engine, give_group, f, take_group, f);
done:
    for (int i = 0; i < ENGINE_GROUPS_HELD; i++)
        ids_release(&f->slot[i].ids);
    encoder_free(f->encoder);
    strbuf_release(&f->line);
    strbuf_release(&f->prompt);
    mem_free(f);
    return st;
}
