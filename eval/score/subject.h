/* One checkpoint on its way through `lethe score`: opened, recognised, loaded only if something is missing, scored. */
#ifndef LETHE_EVAL_SCORE_SUBJECT_H
#define LETHE_EVAL_SCORE_SUBJECT_H

#include "eval/score/feed.h"
#include "eval/score/results.h"
#include "model/variant.h"

typedef struct Subject {
    const ScoreOptions *options;
    const ScorePlan *plan;
    const CheckpointName *name;
    const char *path;
    Device *dev;
    ModelShelf *shelf;
    Variant variant;    /* without a model until its weights are needed */
    Tokenizer *tokenizer;
    Digest digest;      /* of the model, or of the adapter's base */
    Digest adapter;     /* if it is one */
    int64_t max_length;
    DigestHex *key;     /* a task of the plan */
} Subject;

/* Opens and checks config, weights' index and tokenizer, and computes the keys. The weights are read only where their digest is not known yet.
 * A base stays on the shelf for the next subject. */
Status subject_open(Subject *s, Device *dev, ModelShelf *shelf, const ScoreOptions *options, const ScorePlan *plan, const CheckpointName *name,
                    const char *path);
/* A zeroed struct is allowed. */
void subject_close(Subject *s);
/* Documents of all tasks that have no record yet. */
int64_t subject_missing(const Subject *s, const RecordStore *records);
/* Scores them. */
Status subject_score(Subject *s, RecordStore *records, RecordLog *log);
/* Metrics of all tasks. task_result_release each task, mem_free the array. */
Status subject_result(const Subject *s, const RecordStore *records, double seconds, ScoreResult *out);

#endif
