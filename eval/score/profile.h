/* Profiles: whose rules a task is asked by. `lm-eval` is the harness of 2025-11 (0.4.9.2) and after, `lm-eval@VERSION` an older one, `openllm`
 * its group of that name, with its numbers of shots. A profile settles what a user has not set. */
#ifndef LETHE_EVAL_SCORE_PROFILE_H
#define LETHE_EVAL_SCORE_PROFILE_H

#include "eval/tasks/encode.h"
#include "eval/tasks/task.h"

/* One task's rules, resolved. */
typedef struct Profile {
    const char *name;    /* "lm-eval": what stands in keys and tables */
    const char *version; /* of the task's rules, "1.0" */
    int shots;
    bool draws_one_more;
    BosRule bos;
} Profile;

/* text: "lm-eval", "lm-eval@0.4.3", "openllm". LT_E_USAGE for a name or version that is unknown or not available yet, and for a profile that
 * does not define the task. */
Status profile_resolve(Profile *out, const char *text, const Task *task);

#endif
