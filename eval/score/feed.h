/* Between a task and the engine: documents that have no record yet become groups of requests as the engine asks for them, and responses
 * become records on the disk as they arrive. */
#ifndef LETHE_EVAL_SCORE_FEED_H
#define LETHE_EVAL_SCORE_FEED_H

#include "core/appendlog.h"
#include "core/log.h"
#include "eval/score/plan.h"
#include "eval/score/record.h"

/* The log of this process under OUT/log, made with its first record. */
typedef struct RecordLog {
    const char *folder;
    AppendLog log;
    bool is_open;
    double synced_s;
} RecordLog;

typedef struct FeedOptions {
    const TaskPlan *plan;
    const Tokenizer *tokenizer;
    const char *key;
    RecordStore *records; /* read to skip, and added to */
    RecordLog *log;
    Progress *progress;
} FeedOptions;

/* Scores the documents of one task that have no record under the key. */
Status feed_run(Engine *engine, const FeedOptions *options);
/* Documents of the plan without a record. */
int64_t feed_missing(const TaskPlan *plan, const RecordStore *records, const char *key);
/* Syncs and closes; nothing if no record was written. */
Status record_log_close(RecordLog *log);

#endif
