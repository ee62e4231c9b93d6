/* dataset_find: from a task, a split and --data to one file, and the sentences for people whose file is not where it should be. */
#include "core/file.h"
#include "eval/tasks/dataset.h"

static const char *const endings[] = {".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst"};
enum { N_ENDING = sizeof endings / sizeof *endings, MAX_SPLIT = sizeof((Task *)0)->split / sizeof *((Task *)0)->split };

static bool ends_in_parquet(const char *name)
{
    return str_ends(str_of(name), str_of(".parquet"));
}

static Status answer_parquet(const Task *task, const char *split, const char *parquet, const char *data_folder)
{
    return FAIL(LT_E_INPUT, "%s: parquet is not read here; convert it: python3 tools/hf_export.py '%s' '%s/%s/%s.jsonl' --split %s",
                task->name, parquet, data_folder ? data_folder : "DATA", task->name, split, split);
}

/* By Hugging Face's name or by one of the upstream stems. */
static bool is_called(const TaskSplit *split, const char *name)
{
    for (size_t i = 0; split->file[i] != NULL; i++)
        if (strcmp(split->file[i], name) == 0)
            return true;
    return strcmp(split->name, name) == 0;
}

static Status pick_split(const TaskSplit **out, const Task *task, const char *name)
{
    StrBuf known;
    strbuf_init(&known);
    for (size_t i = 0; i < MAX_SPLIT && task->split[i].name != NULL; i++) {
        if (is_called(&task->split[i], name)) {
            strbuf_release(&known);
            *out = &task->split[i];
            return LT_OK;
        }
        strbuf_addf(&known, "%s%s", i > 0 ? ", " : "", task->split[i].name);
    }
    Status st = strbuf_status(&known);
    if (st == LT_OK)
        st = FAIL(LT_E_USAGE, "task %s has no split '%s'; it has %s", task->name, name, known.data);
    strbuf_release(&known);
    return st;
}

/* What to convert, empty if there is nothing: the folder whose parquet files are named after the split (there may be many), else the first parquet
 * file. Looks one folder further down, where Hugging Face's snapshots have them. */
static Status find_parquet(StrBuf *found, const char *folder, const char *split, int depth)
{
    FileList list = {0};
    StrBuf path;
    strbuf_init(&path);
    Status st = dir_list(folder, &list);
    for (size_t i = 0; st == LT_OK && i < list.count; i++) {
        TRY_GOTO(path_join(&path, folder, list.name[i]), st, done);
        const bool named = str_starts(str_of(list.name[i]), str_of(split));
        if (ends_in_parquet(list.name[i]) && (named || found->len == 0)) {
            strbuf_clear(found);
            strbuf_add_text(found, named ? folder : path.data);
            TRY_GOTO(strbuf_status(found), st, done);
            if (named)
                break;
        } else if (depth > 0 && found->len == 0 && dir_exists(path.data)) {
            TRY_GOTO(find_parquet(found, path.data, split, depth - 1), st, done);
        }
    }
done:
    strbuf_release(&path);
    file_list_release(&list);
    return st;
}

static Status answer_missing(const Task *task, const TaskSplit *split, const char *folder, const char *data_folder)
{
    if (!dir_exists(folder))
        return FAIL(LT_E_INPUT, "%s: no folder '%s'; --data wants a folder with one folder a task, or %s=FILE", task->name, folder,
                    task->name);
    StrBuf parquet, names;
    strbuf_init(&parquet);
    strbuf_init(&names);
    Status st;
    TRY_GOTO(find_parquet(&parquet, folder, split->name, 1), st, done);
    if (parquet.len > 0)
        TRY_GOTO(answer_parquet(task, split->name, parquet.data, data_folder), st, done);
    for (size_t i = 0; split->file[i] != NULL; i++)
        strbuf_addf(&names, "%s%s", i > 0 ? ", " : "", split->file[i]);
    TRY_GOTO(strbuf_status(&names), st, done);
    st = FAIL(LT_E_INPUT, "%s: no file of split '%s' in '%s'; looked for %s, each with .jsonl or .json, plain, .gz or .zst", task->name,
              split->name, folder, names.data);
done:
    strbuf_release(&parquet);
    strbuf_release(&names);
    return st;
}

static Status search(StrBuf *path, const Task *task, const TaskSplit *split, const char *data_folder)
{
    StrBuf folder;
    strbuf_init(&folder);
    Status st;
    TRY_GOTO(path_join(&folder, data_folder, task->name), st, done);
    for (size_t i = 0; split->file[i] != NULL; i++)
        for (size_t k = 0; k < N_ENDING; k++) {
            TRY_GOTO(path_join(path, folder.data, split->file[i]), st, done);
            strbuf_add_text(path, endings[k]);
            TRY_GOTO(strbuf_status(path), st, done);
            if (file_exists(path->data))
                goto done;
        }
    strbuf_clear(path);
    st = answer_missing(task, split, folder.data, data_folder);
done:
    strbuf_release(&folder);
    return st;
}

Status dataset_find(StrBuf *path, const Task *task, const char *split, const char *data_folder, const char *file)
{
    const TaskSplit *picked = NULL;
    TRY(pick_split(&picked, task, split));
    if (file != NULL) {
        if (!file_exists(file))
            return FAIL(LT_E_INPUT, "%s: no file '%s'", task->name, file);
        if (ends_in_parquet(file))
            return answer_parquet(task, picked->name, file, data_folder);
        strbuf_clear(path);
        strbuf_add_text(path, file);
        return strbuf_status(path);
    }
    if (data_folder == NULL)
        return FAIL(LT_E_USAGE, "task %s needs --data DIR or --data %s=FILE", task->name, task->name);
    return search(path, task, picked, data_folder);
}
