/* The verbs, one file each, and what their files share. */
#ifndef LETHE_CLI_VERBS_H
#define LETHE_CLI_VERBS_H

#include "cli/options.h"

extern const Verb verb_curve, verb_extract, verb_forward, verb_generate, verb_help, verb_inspect, verb_merge, verb_score, verb_spectrum, verb_tasks, verb_tokenize;

extern const Verb *const verbs[]; /* NULL-terminated, in the order help lists them */

/* LT_E_USAGE with the nearest name if there is no such verb. */
Status verb_find(const Verb **out, const char *name);

#endif
