/* Tasks: how a row of a benchmark's file becomes prompts, choices and a gold answer. One file a task, one const Task each; the table in
 * registry.c. Formats and rules: lm-eval 0.4.13, to the item. A task never sees a model. */
#ifndef LETHE_EVAL_TASKS_TASK_H
#define LETHE_EVAL_TASKS_TASK_H

#include "core/json.h"

typedef enum TaskKind { TASK_CHOICE, TASK_GENERATE } TaskKind;

enum { TASK_MAX_CHOICES = 16 };

/* One row, ready to be asked or shown. Text lives in the data set's arena. */
typedef struct Doc {
    int64_t index;          /* 0-based row in its file: doc_id */
    json_t *row;            /* as read; the data set holds the reference */
    Str context[TASK_MAX_CHOICES]; /* n_context: 1, or one a choice (WinoGrande) */
    int n_context;
    Str continuation[TASK_MAX_CHOICES]; /* scored text, delimiter included; one text for all if n_context > 1 */
    Str choice[TASK_MAX_CHOICES];       /* what acc_norm divides by the length of */
    int n_choice;           /* 0: a generation task */
    int gold;
    Str target;             /* as in lm-eval's samples; gsm8k: the whole answer */
    Str shot;               /* the row as an example: context, delimiter, right answer; without the separator behind it */
} Doc;

/* Files of one split: names tried in order under DATA/<task>/, each with .jsonl, .json, .gz, .zst. */
typedef struct TaskSplit {
    const char *name;       /* Hugging Face's: "validation" */
    const char *file[8];    /* stems, NULL-terminated: "validation", "hellaswag_val", "dev", ... */
} TaskSplit;

typedef struct Task {
    const char *name;       /* "arc_challenge" */
    const char *version;    /* "1.0", as lm-eval numbers it */
    TaskKind kind;
    int default_shots;
    const char *score_split, *shot_split; /* "validation", "train" */
    /* lm-eval draws n+1 shots and drops the scored row where its files name no split to keep apart (HellaSwag, WinoGrande). */
    bool draws_one_more;
    const char *metric[4];  /* those lm-eval lists for the task: "acc", "acc_norm"; NULL-terminated */
    const char *own_metric[4]; /* computed besides: in results.tsv, --json and under "lethe", never among lm-eval's keys */
    TaskSplit split[3];
    /* The row's check and its texts, which go into the arena or borrow from the row: LT_E_INPUT names file, line, field. */
    Status (*read)(JsonAt row, Arena *text, Doc *out);
    /* The "doc" of lm-eval's samples files where its process_docs adds columns to the row (json_decref). NULL: the row as read. */
    Status (*sample_doc)(const Doc *doc, json_t **out);
    const char *const *until; /* generation: stop strings */
} Task;

extern const Task task_hellaswag, task_arc_challenge, task_winogrande, task_gsm8k;

/* All tasks, NULL-terminated. */
extern const Task *const tasks[];
/* NULL if there is none of that name. */
const Task *task_find(Str name);
/* The same, but LT_E_USAGE with the nearest name, if any is near. */
Status task_get(const Task **out, Str name);

#endif
