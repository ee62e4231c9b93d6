/* What the benchmark programs share: a clock around a piece of work, medians, one table line. */
#ifndef LETHE_BENCHMARKS_BENCH_H
#define LETHE_BENCHMARKS_BENCH_H

#include "core/status.h"

#include <stddef.h>

/* Ends the program with the status text if the call failed. */
#define BENCH_TRY(call) bench_check((call), #call)
void bench_check(Status st, const char *what);
/* Sorts the samples; the middle one. */
double bench_median(double *sample, size_t n);

/* config.json of a random model: "110m" (12 x 768), "1b" (TinyLlama's shape), "7b" (Llama-2's). Ends the program for another name. */
const char *bench_config(const char *name);
/* The value of option `name` in the command line, or `otherwise`. */
const char *bench_option(int argc, char **argv, const char *name, const char *otherwise);

#endif
