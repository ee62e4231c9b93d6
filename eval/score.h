/* `lethe score`: checkpoints x tasks -> records -> lm-eval's files, results.tsv, a table. */
#ifndef LETHE_EVAL_SCORE_H
#define LETHE_EVAL_SCORE_H

#include "eval/engine/engine.h"
#include "eval/tasks/encode.h"
#include "eval/tasks/task.h"

/* NAME=VALUE settings for single tasks, in the order given. */
typedef struct TaskSetting {
    char *task, *value;
} TaskSetting;
typedef struct TaskSettings {
    TaskSetting *item;
    size_t count, cap;
} TaskSettings;
/* The value for the task, or that of the entry without a task, or NULL. */
const char *task_setting(const TaskSettings *s, const char *task);

typedef struct ScoreOptions {
    const char *const *checkpoint;
    size_t n_checkpoint;
    const char *tasks;        /* "hellaswag,winogrande" */
    const char *data, *out, *tokenizer;
    const char *manifest;     /* how checkpoints were made, where their files do not say; NULL: none */
    const char *base;         /* of the adapters among the checkpoints; NULL: the one each names */
    bool merge;               /* adapters merged into their base instead of on top of it */
    TaskSettings data_file, shots, split, items, profile; /* data_file: "task" or "task.train" */
    int64_t limit;            /* 0: all */
    int64_t max_length;       /* 0: the model's */
    BosRule bos;
    DType dtype;
    int32_t token_budget;     /* 0: default */
    int show_prompts;
    bool fresh, json, quiet;
    FileHashMode hash;
    const char *command_line; /* for run.json */
} ScoreOptions;

/* Scores what is not yet recorded, writes the files, prints the table (or one JSON document) on stdout. A checkpoint that cannot be scored is
 * reported, the rest finish, LT_E_FAIL. */
Status score_run(Device *dev, const ScoreOptions *options);

#endif
