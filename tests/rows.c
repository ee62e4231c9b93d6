#include "tests/rows.h"

#include <stdio.h>

Status rows_from_text(DataSet *set, const Task *task, Str text)
{
    return dataset_open(set, task, test_file(test_folder(), "rows.jsonl", text.data, text.len));
}

void rows_shared(DataSet *set, const Task *task, const char *relative)
{
    char name[128];
    snprintf(name, sizeof name, "data/benchmarks/%s", relative);
    CHECK_OK(dataset_open(set, task, test_data(name)));
}

json_t *json_shared(const char *relative)
{
    json_t *root = NULL;
    CHECK_OK(json_load_path(&root, test_data(relative), (size_t)1 << 24));
    return root;
}
