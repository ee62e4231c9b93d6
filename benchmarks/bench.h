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

#endif
