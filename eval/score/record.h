/* One scored item: what is kept for ever in OUT/log/ (framed append log), from which every table is made again.
 *
 * A record is a JSON object: {"key": score key, "task", "doc_id", "loglik": [..], "greedy": [..], "tokens", "truncated"}. Numbers are
 * doubles by Python's repr, so they read back bit for bit. Records of one (key, doc_id) must agree; two that differ are an alarm, not a choice. */
#ifndef LETHE_EVAL_SCORE_RECORD_H
#define LETHE_EVAL_SCORE_RECORD_H

#include "core/hash.h"
#include "core/map.h"
#include "eval/tasks/task.h"

typedef struct ScoreRecord {
    int64_t doc_id;
    int n_choice;
    double loglik[TASK_MAX_CHOICES];
    bool greedy[TASK_MAX_CHOICES];
    int32_t tokens;     /* read by the model, sharing not counted */
    int32_t truncated;  /* requests that lost tokens on the left */
} ScoreRecord;

Status record_write(StrBuf *out, const char *key, const char *task, const ScoreRecord *r);

/* All records of a folder of logs, by key and doc_id. */
typedef struct RecordStore {
    Map index;          /* key/doc_id -> record */
    ScoreRecord *record;
    size_t count, cap;
    uint64_t damaged;
} RecordStore;
/* LT_E_FAIL if two records of one item disagree: names the key, the item and both values. */
Status records_load(RecordStore *store, const char *log_folder);
void records_release(RecordStore *store);
Status records_add(RecordStore *store, const char *key, const ScoreRecord *r);
const ScoreRecord *records_find(const RecordStore *store, const char *key, int64_t doc_id);

#endif
