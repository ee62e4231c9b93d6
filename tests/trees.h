/* Made-up checkpoint folders, and a sweep over failing allocations, for the tests that find checkpoints. */
#ifndef LETHE_TESTS_TREES_H
#define LETHE_TESTS_TREES_H

#include "model/runinfo.h"
#include "tests/check.h"

#define COMMIT_A "0123456789abcdef0123456789abcdef01234567"
#define COMMIT_B "0123456fffffffffffffffffffffffffffffffff"
#define COMMIT_C "fedcba9876543210fedcba9876543210fedcba98"

/* Setup and teardown of a test: the memory that everything here takes strings from, and an environment without a Hugging Face cache. */
extern Arena tree_memory;
int tree_begin(void **state);
int tree_end(void **state);

const char *tree_path(const char *folder, const char *name);
void tree_put(const char *folder, const char *name, const char *text);
/* Folders that look like a model and like an adapter with this adapter_config.json. */
const char *tree_model(const char *parent, const char *name);
const char *tree_adapter(const char *parent, const char *name, const char *config);
/* PARENT/hub with org/name in it: refs main (A) and refs/pr/1 (C), and the snapshot B that no ref names. */
const char *tree_cache(const char *parent);
/* Of the variables that lead to a cache, sets this one alone (NULL: none). */
void tree_use_only(const char *variable, const char *value);

/* Field by field; unknown equals unknown. */
void check_runinfo(const RunInfo *got, const RunInfo *want);

/* Every single allocation of the work may fail: the code says so, and nothing leaks. `want` is what the work gives with enough memory. */
typedef Status (*TreeWork)(Arena *arena, const char *argument);
void check_out_of_memory(TreeWork work, const char *argument, Status want);

#endif
