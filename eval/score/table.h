/* The tables of `lethe score`: OUT/results.tsv, lm-eval's console table, and the one JSON document of --json. */
#ifndef LETHE_EVAL_SCORE_TABLE_H
#define LETHE_EVAL_SCORE_TABLE_H

#include "eval/score/results.h"

/* Puts the result's rows into the table at `path` (made if it is not there): one row a task and metric. A row of the same label, key, metric
 * and filter is replaced, others stay. A table that would not change is not written. Of several processes one at a time may do this. */
Status table_update(const char *path, const ScoreResult *r);
/* Whether table_update would find nothing to do. */
Status table_is_current(const char *path, const ScoreResult *r, bool *current);

/* lm-eval's table in Markdown, under a line that names the checkpoint. Appends. */
Status table_console(StrBuf *out, const ScoreResult *r);

/* {"label", "path", "dtype", "device", "checkpoint_sha256", "results": {task: {metric: {value, stderr, ci_low, ci_high, n}}}}; json_decref. */
Status table_json(json_t **out, const ScoreResult *r);

#endif
