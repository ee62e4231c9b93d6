#include "eval/score.h"

#include "core/clock.h"
#include "core/file.h"
#include "eval/score/publish.h"
#include "eval/score/runfile.h"
#include "eval/score/subject.h"
#include "eval/score/table.h"

#include <stdio.h>

/* One command. */
typedef struct Session {
    Device *dev;
    const ScoreOptions *options;
    ModelShelf shelf;
    ScorePlan plan;
    CheckpointName *name; /* a checkpoint each */
    RecordStore records;
    StrBuf log_folder;
    RecordLog log;
    RunFile run;
    json_t *document;     /* --json: {"checkpoints": [..]} */
    size_t n_failed;
} Session;

static void result_release(ScoreResult *r)
{
    for (size_t i = 0; i < r->n_task; i++)
        task_result_release(&r->task[i]);
    mem_free(r->task);
    *r = (ScoreResult){0};
}

static Status print_result(Session *s, const ScoreResult *r)
{
    StrBuf text;
    json_t *entry;

    if (s->options->json) {
        TRY(table_json(&entry, r));
        return json_push(json_object_get(s->document, "checkpoints"), entry);
    }
    strbuf_init(&text);
    const Status st = table_console(&text, r);
    if (st == LT_OK)
        fputs(text.data, stdout);
    strbuf_release(&text);
    return st;
}

static Status score_opened(Session *s, Subject *subject, size_t i)
{
    const double start = clock_s();
    ScoreResult result = {0};
    bool done = false;
    Status st;

    if (subject_missing(subject, &s->records) > 0) {
        TRY(runfile_begin(&s->run, s->dev, s->options, &s->plan, s->name));
        TRY(subject_score(subject, &s->records, &s->log));
    }
    const Digest tokenizer = tokenizer_digest(subject->tokenizer);
    TRY(subject_result(subject, &s->records, clock_s() - start, &result));
    TRY_GOTO(publish_done(s->options->out, &result, &done), st, done);
    if (!done) {
        TRY_GOTO(runfile_begin(&s->run, s->dev, s->options, &s->plan, s->name), st, done);
        TRY_GOTO(publish_result(s->options->out, &result), st, done);
    }
    TRY_GOTO(runfile_checkpoint(&s->run, i, &result, &tokenizer), st, done);
    st = print_result(s, &result);
done:
    result_release(&result);
    return st;
}

static Status score_checkpoint(Session *s, size_t i)
{
    Subject subject;

    TRY(subject_open(&subject, s->dev, &s->shelf, s->options, &s->plan, &s->name[i], s->options->checkpoint[i]));
    const Status st = score_opened(s, &subject, i);
    subject_close(&subject);
    return st;
}

/* A checkpoint that cannot be scored is named and passed over. */
static Status report_failure(Session *s, size_t i)
{
    Status st = LT_OK;

    log_error("%s: %s", s->name[i].label, status_text());
    if (s->options->json)
        st = json_push(json_object_get(s->document, "checkpoints"),
                       json_pack("{s:s, s:s, s:s}", "label", s->name[i].label, "path", s->options->checkpoint[i], "error", status_text()));
    s->n_failed++;
    if (st == LT_OK)
        status_clear();
    return st;
}

static Status score_all(Session *s)
{
    const size_t n = s->options->n_checkpoint;

    for (size_t i = 0; i < n; i++) {
        const Status st = score_checkpoint(s, i);
        if (st == LT_OK)
            continue;
        if (n == 1 || st == LT_E_INTERRUPTED)
            return st;
        TRY(report_failure(s, i));
    }
    return s->n_failed == 0 ? LT_OK : FAIL(LT_E_FAIL, "%zu of %zu checkpoints could not be scored", s->n_failed, n);
}

static Status open_session(Session *s)
{
    const ScoreOptions *o = s->options;

    TRY(names_make(&s->name, o->checkpoint, o->n_checkpoint, o->manifest));
    TRY(plan_make(&s->plan, o, device_pool(s->dev)));
    if (o->show_prompts > 0)
        TRY(plan_show(&s->plan, o->show_prompts, o->json ? stderr : stdout)); /* one JSON document stays one */
    TRY(path_join(&s->log_folder, o->out, "log"));
    s->log.folder = s->log_folder.data;
    map_init(&s->records.index);
    if (!o->fresh)
        TRY(records_load(&s->records, s->log_folder.data));
    if (s->records.damaged > 0)
        log_warning("%s: skipped %llu damaged stretches; what they held is scored again", s->log_folder.data,
                    (unsigned long long)s->records.damaged);
    if (!o->json)
        return LT_OK;
    s->document = json_pack("{s:[]}", "checkpoints");
    return s->document != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory");
}

static Status print_document(const Session *s)
{
    StrBuf text;

    strbuf_init(&text);
    Status st = json_write(&text, s->document, (JsonStyle){.indent = 2});
    if (st == LT_OK)
        puts(text.data);
    strbuf_release(&text);
    return st;
}

/* The end of a command has several parts that may fail; the first failure counts, and each part is tried. */
static Status first_of(Status st, Status next)
{
    return st != LT_OK ? st : next;
}

/* A command that was killed at its very end left nothing to do but to say that all is done. */
static Status settle_run(Session *s)
{
    bool unfinished = false;

    if (s->run.root == NULL)
        TRY(runfile_unfinished(s->options->out, &unfinished));
    return unfinished ? runfile_begin(&s->run, s->dev, s->options, &s->plan, s->name) : LT_OK;
}

Status score_run(Device *dev, const ScoreOptions *options)
{
    Session s = {.dev = dev, .options = options};

    strbuf_init(&s.log_folder);
    Status st = open_session(&s);
    if (st == LT_OK)
        st = score_all(&s);
    if (st == LT_OK)
        st = settle_run(&s);
    shelf_clear(&s.shelf);
    st = first_of(st, record_log_close(&s.log));
    st = first_of(st, runfile_end(&s.run, st));
    if (s.document != NULL)
        st = first_of(st, print_document(&s));
    json_decref(s.document);
    records_release(&s.records);
    plan_release(&s.plan);
    names_free(s.name, options->n_checkpoint);
    strbuf_release(&s.log_folder);
    return st;
}
