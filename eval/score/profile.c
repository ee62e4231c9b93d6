#include "eval/score/profile.h"

#include <stdlib.h>

typedef struct GroupTask {
    const char *task;
    int shots;
} GroupTask;

/* lm-eval's group `openllm`, version 2. It names the split of the shots, so its tasks draw n of them where the bare tasks draw n + 1. */
static const GroupTask openllm[] = {{"arc_challenge", 25}, {"hellaswag", 10}, {"winogrande", 5}, {"gsm8k", 5}, {NULL, 0}};

/* Named in the manual, but their rules are not built in. */
static const char *const later[] = {"leaderboard-v1", "gauntlet", "bigcode", "openai", "paper", NULL};

/* An lm-eval version as a number that sorts: 0.4.9.2 -> 0004000900000002 in base 10000. False if it is not digits and dots. */
static bool version_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    int parts = 0;

    for (; parts < 4; parts++) {
        char *end;
        if (*text < '0' || *text > '9')
            return false;
        const unsigned long part = strtoul(text, &end, 10);
        if (part > 9999)
            return false;
        value = value * 10000 + part;
        if (*end == '\0') {
            parts++;
            break;
        }
        if (*end != '.')
            return false;
        text = end + 1;
    }
    for (int i = parts; i < 4; i++)
        value *= 10000;
    *out = value;
    return parts >= 2 && parts <= 4;
}

static uint64_t version(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return ((a * 10000 + b) * 10000 + c) * 10000 + d;
}

/* Before 0.4.9.2 causal models got no BOS; gsm8k was version 1, then 2, in 0.4.0 and 0.4.1. */
static Status resolve_old(Profile *out, const char *text, const char *number, const Task *task)
{
    uint64_t v;

    if (!version_number(number, &v))
        return FAIL(LT_E_USAGE, "profile '%s': expected lm-eval@VERSION with a version such as 0.4.3", text);
    if (v < version(0, 4, 0, 0) || v >= version(0, 5, 0, 0))
        return FAIL(LT_E_USAGE, "profile '%s': lm-eval's rules are known from 0.4.0 to 0.4.13", text);
    if (v < version(0, 4, 9, 2))
        out->bos = BOS_NO;
    if (strcmp(task->name, "gsm8k") == 0 && v < version(0, 4, 2, 0))
        out->version = v < version(0, 4, 1, 0) ? "1.0" : "2.0";
    return LT_OK;
}

static Status resolve_group(Profile *out, const Task *task)
{
    for (const GroupTask *t = openllm; t->task != NULL; t++)
        if (strcmp(t->task, task->name) == 0) {
            out->shots = t->shots;
            out->draws_one_more = false;
            return LT_OK;
        }
    return FAIL(LT_E_USAGE, "profile 'openllm' does not define task '%s'; it has arc_challenge, hellaswag, winogrande and gsm8k", task->name);
}

Status profile_resolve(Profile *out, const char *text, const Task *task)
{
    static const char base[] = "lm-eval";
    const size_t base_len = sizeof base - 1;

    *out = (Profile){base, task->version, task->default_shots, task->draws_one_more, BOS_AUTO};
    if (strcmp(text, base) == 0)
        return LT_OK;
    if (strncmp(text, base, base_len) == 0 && text[base_len] == '@')
        return resolve_old(out, text, text + base_len + 1, task);
    if (strcmp(text, "openllm") == 0) {
        out->name = "openllm";
        return resolve_group(out, task);
    }
    for (const char *const *name = later; *name != NULL; name++)
        if (strcmp(text, *name) == 0)
            return FAIL(LT_E_USAGE, "profile '%s' is not available yet; available: lm-eval, lm-eval@VERSION, openllm", text);
    return FAIL(LT_E_USAGE, "unknown profile '%s'; available: lm-eval, lm-eval@VERSION, openllm", text);
}
