#include "eval/score/subject.h"

#include "eval/score/key.h"
#include "model/merge.h"

static Status load_weights(Subject *s)
{
    const LoadOptions load = {.dtype = s->options->dtype, .max_position = s->max_length, .hash = s->options->hash};
    Variant *v = &s->variant;

    if (v->model != NULL)
        return LT_OK;
    TRY(variant_load(v, s->shelf, s->dev, &load, s->options->merge ? ADAPTER_MERGED : ADAPTER_ON_TOP));
    if (v->model->lossy_cast)
        log_warning("%s: weights are stored as %s and do not all fit %s exactly", v->base.given, dtype_name(v->model->stored),
                    dtype_name(v->model->dtype));
    return LT_OK;
}

static Status find_digest(Subject *s)
{
    bool known = false;

    if (s->variant.folder != NULL)
        TRY(adapter_folder_digest(s->variant.folder, s->options->hash, &s->adapter));
    TRY(checkpoint_digest(s->variant.checkpoint, s->options->hash, &s->digest, &known));
    if (known)
        return LT_OK;
    TRY(load_weights(s)); /* hashes while it reads */
    s->digest = s->variant.model->digest;
    return LT_OK;
}

static Status make_keys(Subject *s)
{
    TRY(MEM_NEW(s->key, s->plan->n_task));
    for (size_t i = 0; i < s->plan->n_task; i++) {
        const TaskPlan *t = &s->plan->task[i];
        const ScoreKey key = {
            .checkpoint = s->digest,
            .adapter = s->variant.folder != NULL ? &s->adapter : NULL,
            .merged = s->options->merge,
            .tokenizer = tokenizer_digest(s->tokenizer),
            .data = t->scored.digest,
            .shot_data = t->pool.digest,
            .task = t->task->name,
            .version = t->profile.version,
            .split = t->split,
            .profile = t->profile.name,
            .bos = bos_name(t->profile.bos),
            .template_name = "none",
            .dtype = dtype_name(s->options->dtype),
            .device_class = device_class(s->dev),
            .shots = t->profile.shots,
            .draws_one_more = t->profile.draws_one_more,
            .max_length = s->max_length,
            .fewshot_seed = FEWSHOT_SEED,
        };
        TRY(score_key(&key, &s->key[i]));
    }
    return LT_OK;
}

/* The one to use, and a word where there is another: the checkpoint's own under --tokenizer, the base's beside an adapter's. */
static Status open_tokenizer(Subject *s)
{
    Variant *v = &s->variant;
    TokenizerPlace place;

    TRY(locate_tokenizer(&place, &v->memory, s->options->tokenizer, &v->place, v->folder != NULL ? &v->base : NULL, s->options->hash));
    if (place.other != NULL)
        log_warning("%s: tokenizer %.12s of '%s' is used, not %.12s of '%s'", s->path, digest_hex(&place.digest).text, place.folder,
                    digest_hex(&place.other_digest).text, place.other);
    return tokenizer_load(&s->tokenizer, place.folder);
}

static Status open_parts(Subject *s)
{
    size_t unknown = 0;

    TRY(variant_open(&s->variant, s->path, s->options->base, &unknown));
    if (unknown > 0)
        log_warning("%s: %zu tensors that the model has no place for are ignored", s->variant.base.given, unknown);
    TRY(open_tokenizer(s));
    s->max_length = s->options->max_length > 0 ? s->options->max_length : s->variant.checkpoint->cfg.max_position_embeddings;
    TRY(find_digest(s));
    return make_keys(s);
}

Status subject_open(Subject *s, Device *dev, ModelShelf *shelf, const ScoreOptions *options, const ScorePlan *plan, const CheckpointName *name,
                    const char *path)
{
    *s = (Subject){.options = options, .plan = plan, .name = name, .path = path, .dev = dev, .shelf = shelf};
    const Status st = open_parts(s);
    if (st != LT_OK)
        subject_close(s);
    return st;
}

void subject_close(Subject *s)
{
    variant_close(&s->variant);
    tokenizer_free(s->tokenizer);
    mem_free(s->key);
    *s = (Subject){0};
}

int64_t subject_missing(const Subject *s, const RecordStore *records)
{
    int64_t missing = 0;
    for (size_t i = 0; i < s->plan->n_task; i++)
        missing += feed_missing(&s->plan->task[i], records, s->key[i].text);
    return missing;
}

static Status run_tasks(Subject *s, Engine *engine, RecordStore *records, RecordLog *log, Progress *progress)
{
    for (size_t i = 0; i < s->plan->n_task; i++) {
        const FeedOptions feed = {.plan = &s->plan->task[i], .tokenizer = s->tokenizer, .key = s->key[i].text, .records = records, .log = log,
                                  .progress = progress};
        const Status st = feed_run(engine, &feed);
        if (st != LT_OK)
            return status_wrap(st, "%s on %s", s->plan->task[i].task->name, s->path);
    }
    return LT_OK;
}

static void note_memory(const Subject *s, const Engine *engine)
{
    const double mib = 1024.0 * 1024.0;
    const Model *m = s->variant.model;
    const size_t adapter = s->variant.adapter != NULL ? s->variant.adapter->memory.bytes : 0;
    const double weights = (double)(model_bytes(&m->cfg, s->dev, m->dtype, s->max_length) + adapter) / mib;
    const double pass = (double)engine_bytes(engine) / mib;

    log_note("%s: %s on %s; memory: weights %.1f MiB + a pass %.1f MiB = %.1f MiB", s->name->label, dtype_name(m->dtype),
             device_description(s->dev), weights, pass, weights + pass);
}

/* What sharing saved, and how much of the time was the model's. */
static void note_work(const Subject *s, const EngineStats *e)
{
    if (e->tokens_asked > 0)
        log_note("%s: read %llu of %llu tokens in %llu passes, contexts shared; %.1f s in the model", s->name->label,
                 (unsigned long long)e->tokens_read, (unsigned long long)e->tokens_asked, (unsigned long long)e->passes, e->forward_s);
}

Status subject_score(Subject *s, RecordStore *records, RecordLog *log)
{
    EngineOptions options = {.token_budget = s->options->token_budget, .max_length = (int32_t)s->max_length};
    Engine *engine = NULL;
    Progress progress = {0};

    TRY(load_weights(s));
    options.adapter = s->variant.adapter;
    TRY(engine_open(&engine, s->variant.model, &options));
    note_memory(s, engine);
    progress_start(&progress, s->name->label, (uint64_t)subject_missing(s, records));
    const Status st = run_tasks(s, engine, records, log, &progress);
    progress_end(&progress);
    note_work(s, engine_stats(engine));
    engine_close(engine);
    return st;
}

Status subject_result(const Subject *s, const RecordStore *records, double seconds, ScoreResult *out)
{
    Status st;

    *out = (ScoreResult){
        .name = s->name,
        .path = s->path,
        .base = s->variant.folder != NULL ? s->variant.base.given : NULL,
        .cfg = &s->variant.checkpoint->cfg,
        .tokenizer = s->tokenizer,
        .checkpoint = s->digest,
        .adapter = s->adapter,
        .merged = s->options->merge,
        .dtype = s->options->dtype,
        .device_class = device_class(s->dev),
        .device_name = device_description(s->dev),
        .device_kind = device_backend(s->dev),
        .max_length = s->max_length,
        .limit = s->options->limit,
        .seconds = seconds,
    };
    TRY(checkpoint_stored_dtype(s->variant.checkpoint, &out->stored));
    TRY(MEM_NEW(out->task, s->plan->n_task));
    for (size_t i = 0; i < s->plan->n_task; i++) {
        st = task_result_make(&out->task[i], &s->plan->task[i], records, &s->key[i]);
        if (st != LT_OK)
            goto failed;
        out->n_task++;
    }
    return LT_OK;
failed:
    while (out->n_task > 0)
        task_result_release(&out->task[--out->n_task]);
    mem_free(out->task);
    *out = (ScoreResult){0};
    return st;
}
