#include "eval/tasks/task.h"

const Task *const tasks[] = {&task_hellaswag, &task_arc_challenge, &task_winogrande, &task_gsm8k, NULL};

const Task *task_find(Str name)
{
    for (size_t i = 0; tasks[i] != NULL; i++)
        if (str_is(name, tasks[i]->name))
            return tasks[i];
    return NULL;
}

/* Edits (insert, delete, replace) between two texts, the first cut to 63 bytes: enough for a name someone mistyped. */
static size_t edit_distance(Str a, Str b)
{
    size_t row[64];
    const size_t n = a.len < 63 ? a.len : 63;
    for (size_t i = 0; i <= n; i++)
        row[i] = i;
    for (size_t j = 0; j < b.len; j++) {
        size_t diagonal = row[0];
        row[0] = j + 1;
        for (size_t i = 0; i < n; i++) {
            const size_t replaced = diagonal + (a.data[i] != b.data[j]);
            const size_t shorter = row[i] < row[i + 1] ? row[i] + 1 : row[i + 1] + 1;
            diagonal = row[i + 1];
            row[i + 1] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[n];
}

const char *task_nearest(Str name)
{
    const char *best = tasks[0]->name;
    size_t least = SIZE_MAX;
    for (size_t i = 0; tasks[i] != NULL; i++) {
        const size_t distance = edit_distance(name, str_of(tasks[i]->name));
        if (distance < least) {
            least = distance;
            best = tasks[i]->name;
        }
    }
    return best;
}
