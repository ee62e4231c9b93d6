#include "analysis/run.h"

#include "analysis/run_file.h"
#include "analysis/run_units.h"

#include <stdio.h>

/* One command. */
typedef struct Session {
    RunShared shared;
    MatrixFolder base;
    ParamList list;
    const ParamEntry **entry; /* the selected matrices */
    size_t n_entry;
    SpectraFile file;
    json_t *document;         /* --json: {"checkpoints": [..]} */
    size_t n_failed;
} Session;

static Status print_result(Session *s, const RunResult *r, const Tsv *ranks)
{
    json_t *entry;
    StrBuf text;

    if (s->document != NULL) {
        TRY(run_table_json(&entry, r, ranks));
        return json_push(json_object_get(s->document, "checkpoints"), entry);
    }
    strbuf_init(&text);
    const Status st = run_table_console(&text, r, ranks);
    if (st == LT_OK)
        fputs(text.data, stdout);
    strbuf_release(&text);
    return st;
}

static Status finish_tuned(Session *s, const RunResult *r)
{
    bool done = false;
    Tsv ranks;
    Status st;

    TRY(run_ranks(&ranks, r));
    TRY_GOTO(run_published(r, &ranks, &done), st, finish);
    if (!done) {
        TRY_GOTO(spectra_file_begin(&s->file, s->shared.dev, s->shared.options, &s->base), st, finish);
        TRY_GOTO(run_publish(r, &ranks), st, finish);
    }
    st = print_result(s, r, &ranks);
finish:
    tsv_release(&ranks);
    return st;
}

static Status take_apart(Session *s, const DeltaPair *pair, size_t i, const RunMatrix *matrix, size_t n)
{
    const SpectraOptions *o = s->shared.options;
    const RunResult r = {.options = o, .name = &o->tuned[i], .matrix = matrix, .n_matrix = n, .records = &s->shared.records};

    if (run_missing(&s->shared, matrix, n) > 0) {
        TRY(spectra_file_begin(&s->file, s->shared.dev, o, &s->base));
        TRY(run_units(&s->shared, pair, matrix, n, o->tuned[i].label));
    }
    TRY(finish_tuned(s, &r));
    return spectra_file_tuned(&s->file, i, pair, o->hash);
}

static Status do_tuned(Session *s, size_t i)
{
    const SpectraOptions *o = s->shared.options;
    RunMatrix *matrix = NULL;
    size_t n = 0;
    DeltaPair pair;
    Status st;

    TRY(delta_open(&pair, &s->base, o->tuned[i].path, &o->delta));
    TRY_GOTO(delta_check(&pair, s->entry, s->n_entry), st, done);
    TRY_GOTO(run_matrices(&matrix, &n, &s->shared, &pair, s->entry, s->n_entry), st, done);
    st = take_apart(s, &pair, i, matrix, n);
done:
    run_matrices_free(matrix, n);
    delta_close(&pair);
    return st;
}

/* A checkpoint that cannot be taken apart is named and passed over. */
static Status report_failure(Session *s, size_t i)
{
    const RunName *name = &s->shared.options->tuned[i];
    Status st = LT_OK;

    log_error("%s: %s", name->label, status_text());
    if (s->document != NULL)
        st = json_push(json_object_get(s->document, "checkpoints"),
                       json_pack("{s:s, s:s, s:s}", "label", name->label, "path", name->path, "error", status_text()));
    s->n_failed++;
    if (st == LT_OK)
        status_clear();
    return st;
}

static Status do_all(Session *s)
{
    const size_t n = s->shared.options->n_tuned;

    for (size_t i = 0; i < n; i++) {
        const Status st = do_tuned(s, i);
        if (st == LT_OK)
            continue;
        if (n == 1 || st == LT_E_INTERRUPTED)
            return st;
        TRY(report_failure(s, i));
    }
    return s->n_failed == 0 ? LT_OK : FAIL(LT_E_FAIL, "%zu of %zu checkpoints could not be taken apart", s->n_failed, n);
}

/* A command that was killed at its very end left nothing to do but to say that all is done. */
static Status settle_file(Session *s)
{
    const SpectraOptions *o = s->shared.options;
    bool unfinished = false;

    if (s->file.root == NULL)
        TRY(spectra_file_unfinished(o->out, &unfinished));
    return unfinished ? spectra_file_begin(&s->file, s->shared.dev, o, &s->base) : LT_OK;
}

static Status open_session(Session *s)
{
    const SpectraOptions *o = s->shared.options;
    RunRecords *records = &s->shared.records;

    TRY(matrix_folder_open(&s->base, o->base, NULL));
    if (s->base.variant.folder != NULL)
        return FAIL(LT_E_INPUT, "%s: a model expected as the base, an adapter found", o->base);
    TRY(params_build(&s->list, &s->base.variant.checkpoint->cfg));
    TRY(run_select(&s->entry, &s->n_entry, &s->list, o->modules));
    TRY(path_join(&s->shared.log_folder, o->out, "log"));
    TRY(path_join(&s->shared.claim_folder, o->out, "claims"));
    run_records_init(records);
    if (!o->fresh)
        TRY(run_records_refresh(records, s->shared.log_folder.data, NULL));
    if (records->damaged > 0)
        log_warning("%s: skipped %llu damaged stretches; what they held is done again", s->shared.log_folder.data, (unsigned long long)records->damaged);
    if (!o->json)
        return LT_OK;
    s->document = json_pack("{s:[]}", "checkpoints");
    return s->document != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory");
}

static Status print_document(const Session *s)
{
    StrBuf text;

    strbuf_init(&text);
    const Status st = json_write(&text, s->document, (JsonStyle){.indent = 2});
    if (st == LT_OK)
        puts(text.data);
    strbuf_release(&text);
    return st;
}

/* The end has several parts that may fail; the first failure counts, and each part is tried. */
static Status first_of(Status st, Status next) { return st != LT_OK ? st : next; }

static void close_session(Session *s)
{
    json_decref(s->document);
    claims_close(&s->shared.claims);
    pool_free(s->shared.pair_pool);
    run_records_release(&s->shared.records);
    mem_free(s->entry);
    params_release(&s->list);
    matrix_folder_close(&s->base);
    strbuf_release(&s->shared.claim_folder);
    strbuf_release(&s->shared.log_folder);
}

Status spectra_run(Device *dev, const SpectraOptions *options)
{
    Session s = {.shared = {.dev = dev, .options = options}};

    strbuf_init(&s.shared.log_folder);
    strbuf_init(&s.shared.claim_folder);
    Status st = open_session(&s);
    if (st == LT_OK)
        st = do_all(&s);
    if (st == LT_OK)
        st = settle_file(&s);
    st = first_of(st, appendlog_close(&s.shared.log));
    st = first_of(st, spectra_file_end(&s.file, st));
    if (s.document != NULL)
        st = first_of(st, print_document(&s));
    close_session(&s);
    return st;
}
