/* samples_<task>_<time>.jsonl: every document with its prompts, answers and metrics, byte for byte as lm-eval writes them. */
#include "eval/score/results.h"

#include "core/file.h"
#include "core/hash.h"

static const JsonStyle ONE_LINE = {.indent = -1};

/* What one line needs beside the record. */
typedef struct SampleWriter {
    const TaskResult *result;
    StrBuf line, prompt, scratch;
    Sha256 all; /* over the hashes of all documents, in order */
} SampleWriter;

static void add_string(StrBuf *out, const char *name, Str value)
{
    strbuf_addf(out, ", \"%s\": ", name);
    json_write_str(out, value, false);
}

static Status add_hash(SampleWriter *w, const char *name, Str text)
{
    Digest digest;
    TRY(sha256_of(text.data, text.len, &digest));
    const DigestHex hex = digest_hex(&digest);
    add_string(&w->line, name, str_of(hex.text));
    sha256_add(&w->all, hex.text, sizeof hex.text - 1);
    return LT_OK;
}

/* The prompts as given to the model; the first of them is kept for its hash. */
static Status add_arguments(SampleWriter *w, const Doc *doc)
{
    StrBuf *out = &w->line;

    strbuf_add_text(out, ", \"arguments\": {");
    for (int i = 0; i < doc->n_choice; i++) {
        const int which = plan_context_of(doc, i);
        if (i == 0 || which > 0) {
            strbuf_clear(&w->prompt);
            TRY(plan_prompt(&w->prompt, w->result->plan, doc->index, which));
        }
        strbuf_addf(out, "%s\"gen_args_%d\": {\"arg_0\": ", i > 0 ? ", " : "", i);
        json_write_str(out, strbuf_str(&w->prompt), false);
        add_string(out, "arg_1", doc->continuation[i]);
        strbuf_add_char(out, '}');
    }
    strbuf_add_char(out, '}');
    return LT_OK;
}

/* A pair of log-likelihood and is_greedy, both as Python would print them, in quotes. */
static void add_answer(StrBuf *out, const ScoreRecord *r, int choice)
{
    strbuf_add_text(out, "[\"");
    json_write_double(out, r->loglik[choice]);
    strbuf_addf(out, "\", \"%s\"]", r->greedy[choice] ? "True" : "False");
}

static void add_answers(StrBuf *out, const ScoreRecord *r)
{
    strbuf_add_text(out, ", \"resps\": [");
    for (int i = 0; i < r->n_choice; i++) {
        strbuf_add_text(out, i > 0 ? ", [" : "[");
        add_answer(out, r, i);
        strbuf_add_char(out, ']');
    }
    strbuf_add_text(out, "], \"filtered_resps\": [");
    for (int i = 0; i < r->n_choice; i++) {
        strbuf_add_text(out, i > 0 ? ", " : "");
        add_answer(out, r, i);
    }
    strbuf_add_text(out, "], \"filter\": \"none\"");
}

static void add_metric_names(StrBuf *out, const Task *task)
{
    strbuf_add_text(out, ", \"metrics\": [");
    for (int m = 0; task->metric[m] != NULL; m++)
        strbuf_addf(out, "%s\"%s\"", m > 0 ? ", " : "", task->metric[m]);
    strbuf_add_char(out, ']');
}

/* The row as lm-eval's samples have it: its HellaSwag puts what it made of a row behind the row's own columns. A new reference. */
static Status make_row(json_t **out, const Task *task, const Doc *doc)
{
    json_t *row, *choices;
    Status st;

    if (task != &task_hellaswag) {
        *out = json_incref(doc->row);
        return LT_OK;
    }
    row = json_copy(doc->row);
    if (row == NULL)
        return FAIL(LT_E_NOMEM, "out of memory for a row");
    choices = json_array();
    TRY_GOTO(json_put(row, "query", json_from_str(doc->context[0])), st, failed);
    TRY_GOTO(json_put(row, "choices", choices), st, failed);
    for (int i = 0; i < doc->n_choice; i++)
        TRY_GOTO(json_push(choices, json_from_str(doc->choice[i])), st, failed);
    TRY_GOTO(json_put(row, "gold", json_integer(doc->gold)), st, failed);
    *out = row;
    return LT_OK;
failed:
    json_decref(row);
    return st;
}

static Status add_hashes(SampleWriter *w, const json_t *row, const Doc *doc)
{
    strbuf_clear(&w->scratch);
    TRY(json_write(&w->scratch, row, (JsonStyle){.indent = 2}));
    TRY(add_hash(w, "doc_hash", strbuf_str(&w->scratch)));
    strbuf_clear(&w->prompt);
    TRY(plan_prompt(&w->prompt, w->result->plan, doc->index, 0));
    TRY(add_hash(w, "prompt_hash", strbuf_str(&w->prompt)));
    return add_hash(w, "target_hash", doc->target);
}

static Status write_sample(SampleWriter *w, const ScoreRecord *r)
{
    const Task *task = w->result->plan->task;
    const Doc *doc = &w->result->plan->scored.doc[r->doc_id];
    const ChoiceScore score = choice_score(doc, r);
    StrBuf *out = &w->line;
    json_t *row = NULL;
    Status st;

    TRY(make_row(&row, task, doc));
    strbuf_clear(out);
    strbuf_addf(out, "{\"doc_id\": %lld, \"doc\": ", (long long)doc->index);
    TRY_GOTO(json_write(out, row, ONE_LINE), st, done);
    add_string(out, "target", doc->target);
    TRY_GOTO(add_arguments(w, doc), st, done);
    add_answers(out, r);
    add_metric_names(out, task);
    TRY_GOTO(add_hashes(w, row, doc), st, done);
    for (int m = 0; task->metric[m] != NULL; m++) {
        strbuf_addf(out, ", \"%s\": ", task->metric[m]);
        json_write_double(out, choice_metric(&score, task->metric[m]));
    }
    strbuf_add_text(out, "}\n");
    st = strbuf_status(out);
done:
    json_decref(row);
    return st;
}

Status samples_write(const char *path, const TaskResult *r, DigestHex *task_hash)
{
    SampleWriter w = {.result = r};
    AtomicFile file = {0};
    Status st;

    strbuf_init(&w.line);
    strbuf_init(&w.prompt);
    strbuf_init(&w.scratch);
    TRY_GOTO(sha256_init(&w.all), st, done);
    TRY_GOTO(atomic_open(&file, path), st, done);
    for (int64_t i = 0; i < r->plan->count; i++) {
        TRY_GOTO(write_sample(&w, &r->record[i]), st, done);
        TRY_GOTO(atomic_write(&file, w.line.data, w.line.len), st, done);
    }
    TRY_GOTO(atomic_commit(&file), st, done);
    const Digest digest = sha256_end(&w.all);
    *task_hash = digest_hex(&digest);
done:
    atomic_close(&file);
    sha256_release(&w.all);
    strbuf_release(&w.scratch);
    strbuf_release(&w.prompt);
    strbuf_release(&w.line);
    return st;
}
