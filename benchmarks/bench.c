#include "benchmarks/bench.h"

#include <stdio.h>
#include <stdlib.h>

void bench_check(Status st, const char *what)
{
    if (st == LT_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, status_text());
    exit(status_exit_code(st));
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *sample, size_t n)
{
    qsort(sample, n, sizeof *sample, compare);
    return sample[n / 2];
}
