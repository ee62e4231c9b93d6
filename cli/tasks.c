/* lethe tasks: which tasks there are, and what of their data is here. */
#include "cli/print.h"
#include "cli/verbs.h"

#include "core/file.h"
#include "eval/tasks/dataset.h"

#include <stdio.h>

typedef struct TasksOptions {
    CommonOptions common;
    const char *data;
} TasksOptions;

static const Option tasks_options[] = {
    {.name = "data", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(TasksOptions, data), .group = "Files",
     .help = "look for each task's files in DIR/TASK/, count their rows and compare them with the official ones"},
    {0},
};

/* What every row of a task begins with. */
static Status describe_task(json_t *row, const Task *task)
{
    TRY(json_put(row, "task", json_string(task->name)));
    TRY(json_put(row, "version", json_string(task->version)));
    TRY(json_put(row, "kind", json_string(task->kind == TASK_CHOICE ? "choice" : "generate")));
    return json_put(row, "shots", json_integer(task->default_shots));
}

static Status list_metrics(json_t *row, const Task *task)
{
    json_t *metrics = json_array();

    TRY(json_put(row, "metrics", metrics));
    for (size_t i = 0; i < sizeof task->metric / sizeof *task->metric && task->metric[i] != NULL; i++)
        TRY(json_push(metrics, json_string(task->metric[i])));
    for (size_t i = 0; i < sizeof task->own_metric / sizeof *task->own_metric && task->own_metric[i] != NULL; i++)
        TRY(json_push(metrics, json_string(task->own_metric[i])));
    return LT_OK;
}

static Status list_splits(json_t *row, const Task *task)
{
    json_t *splits = json_array();

    TRY(json_put(row, "splits", splits));
    for (size_t i = 0; i < sizeof task->split / sizeof *task->split && task->split[i].name != NULL; i++)
        TRY(json_push(splits, json_string(task->split[i].name)));
    return LT_OK;
}

/* Rows and hash of a file that was found. "official" stays unknown where no digest was ever published. */
static Status describe_file(json_t *row, const Task *task, const char *split, const char *path)
{
    DataSet set = {0};
    Status st;

    TRY(dataset_open(&set, task, path));
    const char *official = dataset_official(&set);
    TRY_GOTO(json_put(row, "rows", json_integer((json_int_t)set.n_doc)), st, done);
    TRY_GOTO(json_put(row, "sha256", json_string(digest_hex(&set.digest).text)), st, done);
    if (official != NULL || dataset_is_pinned(task, split))
        TRY_GOTO(json_put(row, "official", json_boolean(official != NULL)), st, done);
    st = json_put(row, "note", official != NULL ? json_string(official) : json_null());
done:
    dataset_close(&set);
    return st;
}

/* A file that is not there or not readable is what this verb is for finding out: its row says so, the list goes on. */
static Status describe_split(json_t *row, const Task *task, const char *split, const char *folder)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(describe_task(row, task), st, done);
    TRY_GOTO(json_put(row, "split", json_string(split)), st, done);
    TRY_GOTO(json_put(row, "rows", json_null()), st, done);
    TRY_GOTO(json_put(row, "official", json_null()), st, done);
    TRY_GOTO(json_put(row, "sha256", json_null()), st, done);
    TRY_GOTO(json_put(row, "file", json_null()), st, done);
    TRY_GOTO(json_put(row, "note", json_null()), st, done);
    st = dataset_find(&path, task, split, folder, NULL);
    if (st == LT_OK) {
        TRY_GOTO(json_put(row, "file", print_name(path.data)), st, done);
        st = describe_file(row, task, split, path.data);
    }
    if (st == LT_E_INPUT) {
        st = json_put(row, "note", print_name(status_text()));
        status_clear();
    }
done:
    strbuf_release(&path);
    return st;
}

static Status describe_all(json_t *rows, const char *folder)
{
    for (const Task *const *task = tasks; *task != NULL; task++) {
        for (const TaskSplit *split = (*task)->split; folder != NULL && split < (*task)->split + 3 && split->name != NULL; split++) {
            json_t *row = json_object();
            TRY(json_push(rows, row));
            TRY(describe_split(row, *task, split->name, folder));
        }
        if (folder == NULL) {
            json_t *row = json_object();
            TRY(json_push(rows, row));
            TRY(describe_task(row, *task));
            TRY(list_metrics(row, *task));
            TRY(list_splits(row, *task));
        }
    }
    return LT_OK;
}

static Status tasks_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const TasksOptions *o = options;
    json_t *root = json_object(), *rows = json_array(), *row;
    size_t i;
    Status st;

    (void)argument, (void)n_argument, (void)command_line;
    TRY_GOTO(json_put(root, "tasks", rows), st, done);
    if (o->data != NULL && !dir_exists(o->data))
        TRY_GOTO(FAIL(LT_E_INPUT, "'%s' is not a folder", o->data), st, done);
    TRY_GOTO(describe_all(rows, o->data), st, done);
    if (o->common.json)
        TRY_GOTO(print_json(root), st, done);
    else {
        /* 64 digits say nothing to the eye beside "official yes". */
        json_array_foreach(rows, i, row)
            json_object_del(row, "sha256");
        TRY_GOTO(print_table(rows), st, done);
    }
done:
    json_decref(root);
    return st;
}

const Verb verb_tasks = {
    .name = "tasks",
    .arguments = "[--data DIR]",
    .summary = "list the tasks: version, default shots, metrics; with --data the files found, their rows, and whether they are the official ones",
    .option = tasks_options,
    .options_bytes = sizeof(TasksOptions),
    .run = tasks_run,
    .examples = "  lethe tasks --data data/benchmarks\n",
};
