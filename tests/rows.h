/* Data sets for tests: from a text written on the spot, and from the shared benchmarks. */
#ifndef LETHE_TESTS_ROWS_H
#define LETHE_TESTS_ROWS_H

#include "eval/tasks/dataset.h"
#include "tests/check.h"

/* Writes the text to a fresh "rows.jsonl" and reads it. */
Status rows_from_text(DataSet *set, const Task *task, Str text);
/* "data/benchmarks/<relative>" of the shared data; skips the test without it. */
void rows_shared(DataSet *set, const Task *task, const char *relative);
/* A JSON file of the shared data; json_decref. Skips the test without it. */
json_t *json_shared(const char *relative);

#endif
