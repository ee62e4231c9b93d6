#include "eval/tasks/task.h"

#include "core/nearest.h"

const Task *const tasks[] = {&task_hellaswag, &task_arc_challenge, &task_winogrande, &task_gsm8k, NULL};

const Task *task_find(Str name)
{
    for (size_t i = 0; tasks[i] != NULL; i++)
        if (str_is(name, tasks[i]->name))
            return tasks[i];
    return NULL;
}

Status task_get(const Task **out, Str name)
{
    const char *names[sizeof tasks / sizeof *tasks] = {NULL};
    const char *near;

    *out = task_find(name);
    if (*out != NULL)
        return LT_OK;
    for (size_t i = 0; tasks[i] != NULL; i++)
        names[i] = tasks[i]->name;
    near = nearest_name(name, names);
    if (near != NULL)
        return FAIL(LT_E_USAGE, "unknown task '" STR_FORMAT "': did you mean '%s'?", STR_ARG(name), near);
    return FAIL(LT_E_USAGE, "unknown task '" STR_FORMAT "': 'lethe tasks' lists them", STR_ARG(name));
}
