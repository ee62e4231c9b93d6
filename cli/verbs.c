#include "cli/verbs.h"

#include "core/nearest.h"

const Verb *const verbs[] = {&verb_score, &verb_spectrum, &verb_extract, &verb_curve, &verb_inspect, &verb_tokenize, &verb_forward, &verb_generate, &verb_merge,
                             &verb_tasks, &verb_help, NULL};

Status verb_find(const Verb **out, const char *name)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    size_t n = 0;

    for (const Verb *const *v = verbs; *v != NULL; v++) {
        if (strcmp((*v)->name, name) == 0) {
            *out = *v;
            return LT_OK;
        }
        BUG_IF(n == MOST);
        names[n++] = (*v)->name;
    }
    const char *near = nearest_name(str_of(name), names);
    if (near != NULL)
        return FAIL(LT_E_USAGE, "unknown verb '%s': did you mean '%s'?", name, near);
    return FAIL(LT_E_USAGE, "unknown verb '%s': 'lethe help' lists them", name);
}
