#include "eval/score/runfile.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/folderlock.h"
#include "core/regex.h"
#include "core/version.h"
#include "eval/score/key.h"

#include <sys/resource.h>

enum { RUN_MAX_BYTES = 64 << 20 };

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static Status put_settings(json_t *root, const ScoreOptions *o)
{
    return json_put(root, "settings",
                    json_pack("{s:s, s:o, s:s, s:o, s:o, s:b, s:I, s:I, s:s, s:s, s:I, s:b}", "tasks", o->tasks, "data", text_or_null(o->data), "out", o->out,
                              "tokenizer", text_or_null(o->tokenizer), "base", text_or_null(o->base), "merge", o->merge, "limit", (json_int_t)o->limit, "max_length", (json_int_t)o->max_length,
                              "bos", bos_name(o->bos), "dtype", dtype_name(o->dtype), "batch_tokens", (json_int_t)o->token_budget, "fresh",
                              o->fresh));
}

static Status put_tasks(json_t *root, const ScorePlan *plan)
{
    json_t *list = json_array();

    TRY(json_put(root, "tasks", list));
    for (size_t i = 0; i < plan->n_task; i++) {
        const TaskPlan *t = &plan->task[i];
        const DigestHex data = digest_hex(&t->scored.digest), pool = digest_hex(&t->pool.digest);
        json_t *task = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:[I, I], s:s, s:s}", "task", t->task->name, "version", t->profile.version,
                                 "profile", t->profile.name, "split", t->split, "shots", t->profile.shots, "bos", bos_name(t->profile.bos),
                                 "items", (json_int_t)t->first, (json_int_t)(t->first + t->count - 1), "data", t->scored.path, "data_sha256",
                                 data.text);
        TRY(json_push(list, task));
        if (t->profile.shots > 0) {
            TRY(json_put(task, "shot_data", json_string(t->pool.path)));
            TRY(json_put(task, "shot_data_sha256", json_string(pool.text)));
        }
    }
    return LT_OK;
}

static Status put_checkpoints(json_t *root, const ScoreOptions *options, const CheckpointName *name)
{
    json_t *list = json_array();

    TRY(json_put(root, "checkpoints", list));
    for (size_t i = 0; i < options->n_checkpoint; i++)
        TRY(json_push(list, json_pack("{s:s, s:s}", "label", name[i].label, "path", options->checkpoint[i])));
    return LT_OK;
}

static Status put_versions(json_t *root)
{
    return json_put(root, "versions", json_pack("{s:s, s:i, s:s, s:s, s:s}", "lethe", LETHE_VERSION, "numerics", NUMERICS_VERSION, "compiler",
                                                __VERSION__, "pcre2", regex_version(), "jansson", jansson_version_str()));
}

/* Under the folder's lock: whoever holds it may clear temporary files away. */
static Status replace_file(const RunFile *run, Str text)
{
    FolderLock lock;

    TRY(folder_lock(&lock, run->folder));
    Status st = folder_sweep(&lock, run->folder);
    if (st == LT_OK)
        st = file_write_atomic(run->path, text.data, text.len);
    folder_unlock(&lock);
    return st;
}

static Status write_file(const RunFile *run)
{
    StrBuf text;

    strbuf_init(&text);
    Status st = json_write(&text, run->root, (JsonStyle){.indent = 2});
    strbuf_add_char(&text, '\n');
    if (st == LT_OK)
        st = strbuf_status(&text);
    if (st == LT_OK)
        st = replace_file(run, strbuf_str(&text));
    strbuf_release(&text);
    return st;
}

Status runfile_unfinished(const char *out, bool *unfinished)
{
    json_t *root = NULL;
    StrBuf path;

    *unfinished = false;
    strbuf_init(&path);
    Status st = path_join(&path, out, "run.json");
    if (st == LT_OK && file_exists(path.data)) {
        st = json_load_path(&root, path.data, RUN_MAX_BYTES);
        const char *status = json_string_value(json_object_get(root, "status"));
        *unfinished = status == NULL || strcmp(status, "done") != 0;
        json_decref(root);
        if (st == LT_E_INPUT) { /* then it is to be written again */
            status_clear();
            st = LT_OK;
        }
    }
    strbuf_release(&path);
    return st;
}

static Status fill(RunFile *run, Device *dev, const ScoreOptions *options, const ScorePlan *plan, const CheckpointName *name)
{
    StrBuf path;

    strbuf_init(&path);
    run->folder = options->out;
    const Status st = path_join(&path, options->out, "run.json");
    run->path = strbuf_steal(&path, NULL);
    TRY(st);
    TRY(json_put(run->root, "verb", json_string("score")));
    TRY(json_put(run->root, "command_line", text_or_null(options->command_line)));
    TRY(put_settings(run->root, options));
    TRY(put_checkpoints(run->root, options, name));
    TRY(put_tasks(run->root, plan));
    TRY(put_versions(run->root));
    TRY(json_put(run->root, "device", json_string(device_description(dev))));
    TRY(json_put(run->root, "device_class", json_string(device_class(dev))));
    TRY(json_put(run->root, "seed", json_integer(FEWSHOT_SEED)));
    TRY(json_put(run->root, "started", json_real(clock_epoch_s())));
    TRY(json_put(run->root, "status", json_string("running")));
    return write_file(run);
}

Status runfile_begin(RunFile *run, Device *dev, const ScoreOptions *options, const ScorePlan *plan, const CheckpointName *name)
{
    if (run->root != NULL)
        return LT_OK;
    run->start_s = clock_s();
    run->root = json_object();
    if (run->root == NULL)
        return FAIL(LT_E_NOMEM, "out of memory");
    return fill(run, dev, options, plan, name);
}

Status runfile_checkpoint(RunFile *run, size_t i, const ScoreResult *r, const Digest *tokenizer)
{
    const DigestHex model = digest_hex(&r->checkpoint), text = digest_hex(tokenizer);

    if (run->root == NULL)
        return LT_OK;
    json_t *entry = json_array_get(json_object_get(run->root, "checkpoints"), i);
    TRY(json_put(entry, "sha256", json_string(model.text)));
    TRY(result_put_adapter(entry, r));
    return json_put(entry, "tokenizer_sha256", json_string(text.text));
}

static Status end(RunFile *run, Status outcome)
{
    struct rusage usage;
    const char *status = outcome == LT_OK ? "done" : outcome == LT_E_INTERRUPTED ? "interrupted" : "failed";

    TRY(json_put(run->root, "status", json_string(status)));
    TRY(json_put(run->root, "seconds", json_real(clock_s() - run->start_s)));
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        TRY(json_put(run->root, "peak_memory_bytes", json_integer((json_int_t)usage.ru_maxrss * 1024)));
    return write_file(run);
}

Status runfile_end(RunFile *run, Status outcome)
{
    const Status st = run->root != NULL && run->path != NULL ? end(run, outcome) : LT_OK;

    json_decref(run->root);
    mem_free(run->path);
    *run = (RunFile){0};
    return st;
}
