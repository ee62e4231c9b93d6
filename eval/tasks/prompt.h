/* Few-shot draws and prompt text, as lm-eval makes them: one random stream a task, seeded once, running over the rows in order, so
 * the shots of row i depend on all rows before it. Always drawn for the whole split, then cut to what is scored: --items, --limit and the
 * number of workers never change a prompt. */
#ifndef LETHE_EVAL_TASKS_PROMPT_H
#define LETHE_EVAL_TASKS_PROMPT_H

#include "eval/tasks/dataset.h"

enum { FEWSHOT_SEED = 1234 };

typedef struct Shots {
    int32_t n; /* shots a row */
    size_t n_doc;
    int32_t *row; /* [n_doc, n] rows of the pool, in prompt order */
} Shots;

/* draws_one_more: see Task; profiles override it. pool may be the scored set itself; with n = 0 it may be NULL. LT_E_INPUT for a pool
 * that is too small. */
Status shots_draw(Shots *shots, const DataSet *scored, const DataSet *pool, int32_t n, bool draws_one_more, uint64_t seed);
void shots_release(Shots *shots);

/* Appends the shots, each followed by a blank line, then the row's context number `which`. */
Status prompt_build(StrBuf *out, const Doc *doc, int which, const DataSet *pool, const Shots *shots);

#endif
