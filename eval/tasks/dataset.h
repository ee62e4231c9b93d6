/* The rows of one split of one task, found under --data, read and checked. */
#ifndef LETHE_EVAL_TASKS_DATASET_H
#define LETHE_EVAL_TASKS_DATASET_H

#include "core/hash.h"
#include "eval/tasks/task.h"

typedef struct DataSet {
    const Task *task;
    char *path;
    Digest digest;   /* of the file's uncompressed content */
    Doc *doc;
    size_t n_doc, cap;
    json_t *rows;    /* array; docs borrow from it */
    Arena text;
} DataSet;

/* Where a split's file is. `file`: an explicit path from --data TASK=FILE or TASK.train=FILE, else NULL and DATA/<task>/ is searched.
 * LT_E_INPUT says which names were looked for; a parquet file is answered with the conversion line. */
Status dataset_find(StrBuf *path, const Task *task, const char *split, const char *data_folder, const char *file);
Status dataset_open(DataSet *set, const Task *task, const char *path);
void dataset_close(DataSet *set);

#endif
