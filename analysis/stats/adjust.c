#include "analysis/stats/adjust.h"

#include "core/mem.h"

#include <math.h>
#include <stdlib.h>

typedef struct Ranked {
    double p;
    size_t index;
} Ranked;

static int by_p(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

/* The values in ascending order. mem_free. */
static Status rank(Ranked **out, const double *p, size_t n)
{
    Ranked *ranked;

    TRY(MEM_NEW(ranked, n));
    for (size_t i = 0; i < n; i++)
        ranked[i] = (Ranked){p[i], i};
    qsort(ranked, n, sizeof *ranked, by_p);
    *out = ranked;
    return LT_OK;
}

Status adjust_holm(double *adjusted, const double *p, size_t n)
{
    Ranked *ranked;
    double least = 0; /* no larger p may come out below a smaller one */

    TRY(rank(&ranked, p, n));
    for (size_t i = 0; i < n; i++) {
        least = fmax(least, fmin(1, (double)(n - i) * ranked[i].p));
        adjusted[ranked[i].index] = least;
    }
    mem_free(ranked);
    return LT_OK;
}

Status adjust_benjamini_hochberg(double *adjusted, const double *p, size_t n)
{
    Ranked *ranked;
    double most = 1;

    TRY(rank(&ranked, p, n));
    for (size_t i = n; i-- > 0;) {
        most = fmin(most, (double)n / (double)(i + 1) * ranked[i].p);
        adjusted[ranked[i].index] = most;
    }
    mem_free(ranked);
    return LT_OK;
}

void adjust_bonferroni(double *adjusted, const double *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        adjusted[i] = fmin(1, (double)n * p[i]);
}
