/* What is asked of every checkpoint: the tasks of one command with their rules, their rows and the shots of every prompt. Made once, read
 * by all checkpoints. */
#ifndef LETHE_EVAL_SCORE_PLAN_H
#define LETHE_EVAL_SCORE_PLAN_H

#include "eval/score.h"
#include "eval/score/profile.h"
#include "eval/tasks/prompt.h"

#include <stdio.h>

typedef struct TaskPlan {
    const Task *task;
    Profile profile;       /* with the user's shots and BOS rule put in */
    const char *split;
    DataSet scored, pool;  /* pool: without rows where no shots are asked for */
    Shots shots;
    int64_t first, count;  /* documents that are scored: [first, first + count) */
} TaskPlan;

typedef struct ScorePlan {
    TaskPlan *task; /* in the order of the command */
    size_t n_task;
} ScorePlan;

/* LT_E_USAGE: no or unknown tasks, settings for tasks that are not scored, items that are not there. LT_E_UNSUPPORTED: tasks that need
 * generation. Reads on the threads of `pool` (NULL: alone). *plan is zeroed on failure. */
Status plan_make(ScorePlan *plan, const ScoreOptions *options, Pool *pool);
void plan_release(ScorePlan *plan);

/* Text number `which` of a document: what is put before the model, shots and all. Appends. */
Status plan_prompt(StrBuf *out, const TaskPlan *plan, int64_t doc, int which);
/* The continuation that belongs to choice i, and the context it follows. */
static inline int plan_context_of(const Doc *doc, int choice) { return doc->n_context > 1 ? choice : 0; }

/* The first k prompts of each task, with each continuation behind a visible border. */
Status plan_show(const ScorePlan *plan, int k, FILE *to);

#endif
