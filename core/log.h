/* Lines for people, on stderr: warnings, notes, and one progress line. stdout is for results only. */
#ifndef LETHE_CORE_LOG_H
#define LETHE_CORE_LOG_H

#include "core/status.h"

#include <stdint.h>

typedef enum LogLevel { LOG_QUIET, LOG_NORMAL } LogLevel;
void log_set_level(LogLevel level);
/* One line, newline added; control characters are shown as "?". Erases a progress line first. Silent under --quiet, except log_error. */
void log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether warnings may be coloured: stderr is a terminal and NO_COLOR is unset. */
bool log_colour(void);

/* Progress of one long piece of work: on a terminal a line that rewrites itself a few times a second, elsewhere a plain
 * line every 30 s: share done, items/s, tokens/s, time left, and a note such as the score so far. */
typedef struct Progress {
    const char *what;
    uint64_t done, total, tokens;
    double start_s, last_s;
} Progress;
void progress_start(Progress *p, const char *what, uint64_t total);
/* note: "" or a short text ("acc 0.312"). Cheap to call often. */
void progress_add(Progress *p, uint64_t items, uint64_t tokens, const char *note);
/* Erases the line (terminal) and logs one closing line with totals and rates. */
void progress_end(Progress *p);

#endif
