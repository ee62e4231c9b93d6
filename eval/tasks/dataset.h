/* The rows of one split of one task, found under --data, read and checked. */
#ifndef LETHE_EVAL_TASKS_DATASET_H
#define LETHE_EVAL_TASKS_DATASET_H

#include "core/hash.h"
#include "core/pool.h"
#include "eval/tasks/task.h"

typedef struct DataSet {
    const Task *task;
    char *path;
    Digest digest; /* of the file's uncompressed content */
    Doc *doc;
    size_t n_doc;
    json_t *rows; /* array; docs borrow from it */
    Arena *text;  /* one a chunk of rows */
    size_t n_text;
} DataSet;

/* Where a split's file is. `file`: an explicit path from --data TASK=FILE or TASK.train=FILE, else NULL and DATA/<task>/ is searched. Splits go
 * by Hugging Face's or the upstream name; one the task does not have is LT_E_USAGE.
 * LT_E_INPUT says which names were looked for; a parquet file is answered with the conversion line. */
Status dataset_find(StrBuf *path, const Task *task, const char *split, const char *data_folder, const char *file);

/* Reads on the threads of a pool (NULL: alone) JSON lines or one JSON array, whichever the content is, plain, gzip or zstd. Blank lines are skipped and not counted. The first row that
 * is not what the task needs is LT_E_INPUT with file, line and field, and so is a file without rows. */
Status dataset_open_on(DataSet *set, const Task *task, const char *path, Pool *pool);
/* Alone. */
Status dataset_open(DataSet *set, const Task *task, const char *path);
void dataset_close(DataSet *set);

/* The upstream file of the set's task that has exactly this content ("hellaswag_val.jsonl"), or NULL. */
const char *dataset_official(const DataSet *set);
/* Whether a digest of the split's upstream file is known; only then is another content an unofficial one. */
bool dataset_is_pinned(const Task *task, const char *split);

#endif
