/* lm-eval's files: OUT/<label>/results_<time>.json and samples_<task>_<time>.jsonl, in the form of its version 0.4.13, so that its readers work.
 * What only Lethe knows stands under "lethe" in the results file. A file that holds the same scores is found
 * again and left alone. */
#ifndef LETHE_EVAL_SCORE_RESULTS_H
#define LETHE_EVAL_SCORE_RESULTS_H

#include "eval/score/label.h"
#include "eval/score/metrics.h"
#include "eval/score/plan.h"

enum { RESULT_MAX_METRICS = 8 };

typedef struct TaskResult {
    const TaskPlan *plan;
    DigestHex key;
    ScoreRecord *record; /* [plan->count] */
    MetricSummary metric[RESULT_MAX_METRICS]; /* lm-eval's of the task, then ours */
    int n_metric, n_all;                      /* lm-eval's; with ours */
    int64_t n_truncated; /* requests that lost tokens on the left */
} TaskResult;

/* Everything the files and tables of one checkpoint are made of. Points to what the caller keeps. */
typedef struct ScoreResult {
    const CheckpointName *name;
    const char *path;
    const char *base;    /* NULL: not an adapter */
    const ModelConfig *cfg;
    const Tokenizer *tokenizer;
    Digest checkpoint;   /* of the base, if there is one */
    Digest adapter;      /* with a base */
    bool merged;         /* with a base */
    DType dtype, stored; /* computed in; of the weights on the disk */
    const char *device_class, *device_name, *device_kind; /* "cpu-avx512", for people, "cpu" */
    int64_t max_length, limit;
    double seconds;
    TaskResult *task;
    size_t n_task;
} ScoreResult;

/* Gathers the records of a task and computes its metrics. LT_E_FAIL if one is missing. */
Status task_result_make(TaskResult *r, const TaskPlan *plan, const RecordStore *records, const DigestHex *key);
void task_result_release(TaskResult *r);

/* What makes two results files the same: the keys and the documents of all tasks. */
Status results_identity(const ScoreResult *r, DigestHex *out);
/* The file in `folder` with this identity; *path is empty if there is none. */
Status results_find(StrBuf *path, const char *folder, const DigestHex *identity);
/* Writes the samples files, then the results file, into `folder`, with the time `stamp` in their names; gives the path of the latter. */
Status results_write(StrBuf *path, const char *folder, const char *stamp, const ScoreResult *r);

/* The results file's content (json_decref). */
Status results_document(json_t **out, const ScoreResult *r, const DigestHex *task_hash);
/* The samples of one task as JSON lines; digest: lm-eval's task hash over them. */
Status samples_write(const char *path, const TaskResult *r, DigestHex *task_hash);
/* base, adapter_sha256 and merged, if the result is an adapter's. */
Status result_put_adapter(json_t *object, const ScoreResult *r);
/* "auto", "yes", "no": as in tables and keys. */
const char *bos_name(BosRule bos);

#endif
