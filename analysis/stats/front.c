#include "analysis/stats/front.h"

#include <math.h>
#include <stdlib.h>

typedef struct Points {
    const double *x, *y;
} Points;

/* x descending, then y descending, so that of one x only the best can stay, then by index. */
static int by_sweep(const void *a, const void *b, void *points)
{
    const Points *at = points;
    const size_t i = *(const size_t *)a, j = *(const size_t *)b;

    if (at->x[i] != at->x[j])
        return at->x[i] < at->x[j] ? 1 : -1;
    if (at->y[i] != at->y[j])
        return at->y[i] < at->y[j] ? 1 : -1;
    return (i > j) - (i < j);
}

size_t front_sweep(size_t *front, const double *x, const double *y, size_t n)
{
    Points points = {x, y};
    double best = -HUGE_VAL;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        front[i] = i;
    qsort_r(front, n, sizeof *front, by_sweep, &points);
    for (size_t i = 0; i < n; i++)
        if (y[front[i]] > best) {
            best = y[front[i]];
            front[kept++] = front[i];
        }
    return kept;
}

void front_members(bool *on, const double *x, const double *y, size_t n, size_t *front)
{
    const size_t kept = front_sweep(front, x, y, n);

    for (size_t i = 0; i < n; i++) {
        on[i] = false;
        for (size_t k = 0; k < kept && !on[i]; k++)
            on[i] = x[i] == x[front[k]] && y[i] == y[front[k]];
    }
}

double front_hypervolume(const double *x, const double *y, size_t n, double reference_x, double reference_y, size_t *front)
{
    const size_t kept = front_sweep(front, x, y, n);
    double area = 0, below = reference_y;

    /* A point that is not above the reference hides none that is: it can be skipped behind the sweep as well as before it. */
    for (size_t i = 0; i < kept; i++) {
        const double px = x[front[i]], py = y[front[i]];

        if (px > reference_x && py > reference_y) {
            area += (px - reference_x) * (py - below);
            below = py;
        }
    }
    return area;
}
