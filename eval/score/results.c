#include "eval/score/results.h"

#include "core/file.h"

enum { RESULTS_MAX_BYTES = 64 << 20 };

/* ---- one task's numbers ------------------------------------------------------------------------------------------------- */

/* Scores the task by each named metric; how many there were. value: scratch for the items' values. */
static int add_metrics(TaskResult *r, const char *const *metric, double *value)
{
    const TaskPlan *plan = r->plan;
    int n = 0;

    for (; metric[n] != NULL; n++) {
        for (int64_t i = 0; i < plan->count; i++) {
            const ChoiceScore s = choice_score(&plan->scored.doc[plan->first + i], &r->record[i]);
            value[i] = choice_metric(&s, metric[n]);
        }
        BUG_IF(r->n_all == RESULT_MAX_METRICS);
        r->metric[r->n_all++] = metric_summary(metric[n], value, (size_t)plan->count);
    }
    return n;
}

Status task_result_make(TaskResult *r, const TaskPlan *plan, const RecordStore *records, const DigestHex *key)
{
    double *value = NULL;
    Status st;

    *r = (TaskResult){.plan = plan, .key = *key};
    TRY_GOTO(MEM_NEW(r->record, (size_t)plan->count), st, failed);
    TRY_GOTO(MEM_NEW(value, (size_t)plan->count), st, failed);
    for (int64_t i = 0; i < plan->count; i++) {
        const ScoreRecord *record = records_find(records, key->text, plan->first + i);
        if (record == NULL || record->n_choice != plan->scored.doc[plan->first + i].n_choice) {
            st = FAIL(LT_E_FAIL, "%s: no complete record of document %lld", plan->scored.path, (long long)(plan->first + i));
            goto failed;
        }
        r->record[i] = *record;
        r->n_truncated += record->truncated;
    }
    r->n_metric = add_metrics(r, plan->task->metric, value);
    add_metrics(r, plan->task->own_metric, value);
    mem_free(value);
    return LT_OK;
failed:
    mem_free(value);
    task_result_release(r);
    return st;
}

void task_result_release(TaskResult *r)
{
    mem_free(r->record);
    *r = (TaskResult){0};
}

const char *bos_name(BosRule bos)
{
    return bos == BOS_YES ? "yes" : bos == BOS_NO ? "no" : "auto";
}

Status result_put_adapter(json_t *object, const ScoreResult *r)
{
    const DigestHex adapter = digest_hex(&r->adapter);

    if (r->base == NULL)
        return LT_OK;
    TRY(json_put(object, "base", json_string(r->base)));
    TRY(json_put(object, "adapter_sha256", json_string(adapter.text)));
    return json_put(object, "merged", json_boolean(r->merged));
}

/* ---- which file is it --------------------------------------------------------------------------------------------------- */

Status results_identity(const ScoreResult *r, DigestHex *out)
{
    StrBuf text;
    Digest digest;
    Status st;

    strbuf_init(&text);
    for (size_t i = 0; i < r->n_task; i++) {
        const TaskResult *t = &r->task[i];
        strbuf_addf(&text, "%s %s %lld %lld\n", t->plan->task->name, t->key.text, (long long)t->plan->first, (long long)t->plan->count);
    }
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(sha256_of(text.data, text.len, &digest), st, done);
    *out = digest_hex(&digest);
done:
    strbuf_release(&text);
    return st;
}

/* Somebody else's file in the folder, or one that was damaged, is not ours: no failure. */
static bool has_identity(const char *path, const DigestHex *identity)
{
    json_t *document = NULL;

    if (json_load_path(&document, path, RESULTS_MAX_BYTES) != LT_OK) {
        status_clear();
        return false;
    }
    const char *found = json_string_value(json_object_get(json_object_get(document, "lethe"), "identity"));
    const bool same = found != NULL && strcmp(found, identity->text) == 0;
    json_decref(document);
    return same;
}

Status results_find(StrBuf *path, const char *folder, const DigestHex *identity)
{
    FileList list = {0};
    Status st = LT_OK;

    strbuf_clear(path);
    if (!dir_exists(folder))
        return LT_OK;
    TRY(dir_list(folder, &list));
    for (size_t i = 0; i < list.count; i++) {
        const Str name = str_of(list.name[i]);
        if (!str_starts(name, str_of("results_")) || !str_ends(name, str_of(".json")))
            continue;
        TRY_GOTO(path_join(path, folder, list.name[i]), st, done);
        if (has_identity(path->data, identity))
            goto done;
    }
    strbuf_clear(path);
done:
    file_list_release(&list);
    return st;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

static Status write_document(const char *path, const ScoreResult *r, const DigestHex *task_hash)
{
    json_t *root = NULL;
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(results_document(&root, r, task_hash), st, done);
    TRY_GOTO(json_write(&text, root, (JsonStyle){.indent = 2}), st, done);
    st = file_write_atomic(path, text.data, text.len);
done:
    strbuf_release(&text);
    json_decref(root);
    return st;
}

Status results_write(StrBuf *path, const char *folder, const char *stamp, const ScoreResult *r)
{
    DigestHex *task_hash = NULL;
    Status st;

    TRY_GOTO(MEM_NEW(task_hash, r->n_task), st, done);
    TRY_GOTO(dir_make(folder), st, done);
    for (size_t i = 0; i < r->n_task; i++) {
        strbuf_clear(path);
        strbuf_addf(path, "%s/samples_%s_%s.jsonl", folder, r->task[i].plan->task->name, stamp);
        TRY_GOTO(strbuf_status(path), st, done);
        TRY_GOTO(samples_write(path->data, &r->task[i], &task_hash[i]), st, done);
    }
    /* Last: where it is, the samples are too. */
    strbuf_clear(path);
    strbuf_addf(path, "%s/results_%s.json", folder, stamp);
    TRY_GOTO(strbuf_status(path), st, done);
    st = write_document(path->data, r, task_hash);
done:
    mem_free(task_hash);
    return st;
}
