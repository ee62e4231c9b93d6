/* The result of everything that can fail, and the text of the first failure.
 *
 * A function that can fail returns Status and writes its results to out-parameters, on success only. Where the trouble
 * is found, FAIL() records one line (what, where, expected and found, what to do) and gives the code; callers hand the
 * code on with TRY or TRY_GOTO. The first text wins until someone handles the failure and calls status_clear, so a
 * clean-up that fails as well cannot hide the cause.
 *
 * The text belongs to the calling thread. The thread pool carries a worker's text back to the thread that waits. */
#ifndef LETHE_CORE_STATUS_H
#define LETHE_CORE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>

typedef enum Status {
    LT_OK = 0,
    LT_E_FAIL,         /* the work failed and none of the reasons below says it better */
    LT_E_USAGE,        /* command line or recipe */
    LT_E_INPUT,        /* a file given by the user: missing, malformed, of another model */
    LT_E_IO,           /* the system refused: create, write, rename */
    LT_E_NOMEM,        /* host or device memory */
    LT_E_DEVICE,       /* the device or one of its libraries */
    LT_E_NUMERIC,      /* a computation that did not converge or met a NaN */
    LT_E_UNSUPPORTED,  /* asked of something that does not do it */
    LT_E_GATE,         /* --fail-if */
    LT_E_INTERRUPTED,  /* stopped by a signal, state saved */
} Status;

/* Records the text if none is recorded yet; the value is `code`. Use FAIL, which adds the place. */
Status status_fail(Status code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define FAIL(code, ...) status_fail((code), __FILE__, __LINE__, __VA_ARGS__)

#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        const Status try_status_ = (expression);                                                                       \
        if (try_status_ != LT_OK)                                                                                      \
            return try_status_;                                                                                        \
    } while (0)

/* For functions with something to give back: sets `st` and jumps to the clean-up label. */
#define TRY_GOTO(expression, st, label)                                                                                \
    do {                                                                                                               \
        (st) = (expression);                                                                                           \
        if ((st) != LT_OK)                                                                                             \
            goto label;                                                                                                \
    } while (0)

/* The text of the first failure since the last clear, "" if none. Valid until this thread's next call into status. */
const char *status_text(void);
/* "file.c:line" where it was found, for tests. */
const char *status_place(void);
void status_clear(void);

/* Puts `format...: ` before the recorded text: who was doing it, where the finder cannot know. Returns `code`. */
Status status_wrap(Status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Records a failure that another thread found: its place and text, copied by whoever carries it over. */
Status status_carry(Status code, const char *place, const char *text);

/* Lower-case name of a code ("input"), for logs. */
const char *status_name(Status code);
/* The process exit code that INTERFACE gives this status: 0, 1, 2, 3, 4, 5 or 130. */
int status_exit_code(Status code);

/* A mistake of ours, never of a file, an option or a device: always on, aborts. */
void status_bug(const char *file, int line, const char *condition) __attribute__((noreturn));
#define BUG_IF(condition)                                                                                              \
    do {                                                                                                               \
        if (condition)                                                                                                 \
            status_bug(__FILE__, __LINE__, #condition);                                                                \
    } while (0)

#endif
