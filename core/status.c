#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 4096, PLACE_BYTES = 128 };

/* The failure this thread has recorded and nobody has handled yet. */
static _Thread_local char failure_text[TEXT_BYTES];
static _Thread_local char failure_place[PLACE_BYTES];

/* Cuts an over-long text visibly instead of silently. */
static void mark_cut(int written)
{
    if (written >= TEXT_BYTES)
        memcpy(failure_text + TEXT_BYTES - 4, "...", 4);
}

Status status_fail(Status code, const char *file, int line, const char *format, ...)
{
    va_list args;

    if (failure_text[0] != '\0')
        return code;
    va_start(args, format);
    mark_cut(vsnprintf(failure_text, sizeof failure_text, format, args));
    va_end(args);
    snprintf(failure_place, sizeof failure_place, "%s:%d", file, line);
    return code;
}

const char *status_text(void) { return failure_text; }

const char *status_place(void) { return failure_place; }

void status_clear(void)
{
    failure_text[0] = '\0';
    failure_place[0] = '\0';
}

Status status_carry(Status code, const char *place, const char *text)
{
    if (failure_text[0] == '\0') {
        snprintf(failure_text, sizeof failure_text, "%s", text);
        snprintf(failure_place, sizeof failure_place, "%s", place);
    }
    return code;
}

Status status_wrap(Status code, const char *format, ...)
{
    char inner[TEXT_BYTES];
    va_list args;
    int n;

    memcpy(inner, failure_text, sizeof inner);
    va_start(args, format);
    n = vsnprintf(failure_text, sizeof failure_text, format, args);
    va_end(args);
    if (n >= 0 && n < TEXT_BYTES)
        n += snprintf(failure_text + n, sizeof failure_text - (size_t)n, ": %s", inner);
    mark_cut(n);
    return code;
}

static const struct {
    const char *name;
    int exit_code;
} codes[] = {
    [LT_OK] = {"ok", 0},
    [LT_E_FAIL] = {"failed", 1},
    [LT_E_USAGE] = {"usage", 2},
    [LT_E_INPUT] = {"input", 3},
    [LT_E_IO] = {"io", 1},
    [LT_E_NOMEM] = {"memory", 4},
    [LT_E_DEVICE] = {"device", 4},
    [LT_E_NUMERIC] = {"numeric", 1},
    [LT_E_UNSUPPORTED] = {"unsupported", 1},
    [LT_E_GATE] = {"gate", 5},
    [LT_E_INTERRUPTED] = {"interrupted", 130},
};

const char *status_name(Status code)
{
    BUG_IF((size_t)code >= sizeof codes / sizeof *codes);
    return codes[code].name;
}

int status_exit_code(Status code)
{
    BUG_IF((size_t)code >= sizeof codes / sizeof *codes);
    return codes[code].exit_code;
}

void status_bug(const char *file, int line, const char *condition)
{
    fprintf(stderr, "lethe: bug: %s:%d: %s\n", file, line, condition);
    abort();
}
