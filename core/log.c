#include "core/log.h"

#include "core/clock.h"
#include "core/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A status text with a name before it fits. */
enum { LINE_BYTES = 8192 };

static const double TERMINAL_INTERVAL_S = 0.2, PLAIN_INTERVAL_S = 30;

static LogLevel log_level = LOG_NORMAL;
static bool progress_shown; /* a progress line stands on the terminal and has to go before anything else is printed */

void log_set_level(LogLevel level) { log_level = level; }

static bool is_terminal(void) { return isatty(STDERR_FILENO) == 1; }

bool log_colour(void)
{
    const char *no_color = getenv("NO_COLOR");

    return (no_color == NULL || *no_color == '\0') && is_terminal();
}

static void erase_progress(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

/* Names of files and what stands in them come into messages: none may end a line early or speak to the terminal. */
static void put_text(const char *format, va_list args)
{
    char text[LINE_BYTES];

    if (vsnprintf(text, sizeof text, format, args) >= LINE_BYTES)
        memcpy(text + LINE_BYTES - 4, "...", 4);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    fputs(text, stderr);
}

static void __attribute__((format(printf, 1, 2))) put_textf(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_text(format, args);
    va_end(args);
}

static void print_line(const char *label, const char *colour, const char *format, va_list args)
{
    const bool coloured = *colour != '\0' && log_colour();

    flockfile(stderr);
    erase_progress();
    fputs("lethe: ", stderr);
    fprintf(stderr, "%s%s%s", coloured ? colour : "", label, coloured ? "\033[0m" : "");
    put_text(format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
}

void log_note(const char *format, ...)
{
    va_list args;

    if (log_level == LOG_QUIET)
        return;
    va_start(args, format);
    print_line("", "", format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    va_list args;

    if (log_level == LOG_QUIET)
        return;
    va_start(args, format);
    print_line("warning: ", "\033[33m", format, args);
    va_end(args);
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_line("", "", format, args);
    va_end(args);
}

/* ---- progress ---- */

static void format_duration(char *out, size_t size, double seconds)
{
    const long s = (long)(seconds + 0.5);

    if (s >= 3600)
        snprintf(out, size, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, size, "%ldm%02lds", s / 60, s % 60);
    else
        snprintf(out, size, "%lds", s);
}

static void print_progress(const Progress *p, double now, const char *note)
{
    const double seconds = now - p->start_s;
    const double rate = seconds > 0 ? (double)p->done / seconds : 0;
    char left[32] = "?";

    if (rate > 0 && p->total >= p->done)
        format_duration(left, sizeof left, (double)(p->total - p->done) / rate);
    flockfile(stderr);
    erase_progress();
    put_textf("%s: %llu/%llu (%.0f %%), %.1f items/s, %.0f tokens/s, %s left%s%s", p->what, (unsigned long long)p->done,
              (unsigned long long)p->total, p->total > 0 ? 100.0 * (double)p->done / (double)p->total : 100.0, rate,
              seconds > 0 ? (double)p->tokens / seconds : 0.0, left, *note != '\0' ? ", " : "", note);
    if (is_terminal())
        progress_shown = true;
    else
        fputc('\n', stderr);
    fflush(stderr);
    funlockfile(stderr);
}

void progress_start(Progress *p, const char *what, uint64_t total)
{
    const double now = clock_s();

    *p = (Progress){.what = what, .total = total, .start_s = now, .last_s = now};
}

void progress_add(Progress *p, uint64_t items, uint64_t tokens, const char *note)
{
    double now;

    p->done += items;
    p->tokens += tokens;
    if (log_level == LOG_QUIET)
        return;
    now = clock_s();
    if (now - p->last_s < (is_terminal() ? TERMINAL_INTERVAL_S : PLAIN_INTERVAL_S))
        return;
    p->last_s = now;
    print_progress(p, now, note);
}

void progress_end(Progress *p)
{
    const double seconds = clock_s() - p->start_s;
    char took[32];

    if (log_level == LOG_QUIET)
        return;
    format_duration(took, sizeof took, seconds);
    log_note("%s: %llu items in %s (%.1f items/s, %.0f tokens/s)", p->what, (unsigned long long)p->done, took,
             seconds > 0 ? (double)p->done / seconds : 0.0, seconds > 0 ? (double)p->tokens / seconds : 0.0);
}
