/* Runs the built lethe as a user does: arguments in, exit code, stdout and stderr out. */
#ifndef LETHE_TESTS_PROGRAM_H
#define LETHE_TESTS_PROGRAM_H

#include "tests/check.h"

typedef struct ProgramRun {
    int code;      /* exit code; 128 + number if a signal ended it */
    StrBuf out, err;
} ProgramRun;

/* $LETHE_BINARY, else the release build's. `input` is what stands on stdin; argument: NULL-terminated, without the program's name. The test fails if it
 * cannot be run. */
void program_run(ProgramRun *run, const char *input, const char *const *argument);
void program_release(ProgramRun *run);

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Lines in a text; the last one counts with or without its newline. */
size_t count_lines(const StrBuf *text);

#endif
