/* Trade-offs: points (x, y), more of both is better; for the paper x is the source score that is left, y the learning score. */
#ifndef LETHE_ANALYSIS_STATS_FRONT_H
#define LETHE_ANALYSIS_STATS_FRONT_H

#include <stdbool.h>
#include <stddef.h>

/* The points that no other beats in both, x descending, one of equal points (the first). front: room for n; gives how many. */
size_t front_sweep(size_t *front, const double *x, const double *y, size_t n);
/* on[i]: no point is as good in both coordinates and better in one; of equal points all are. front: scratch of n. */
void front_members(bool *on, const double *x, const double *y, size_t n, size_t *front);
/* The area between the front and the reference point; points that are not above it in both coordinates count nothing. front: scratch of n. */
double front_hypervolume(const double *x, const double *y, size_t n, double reference_x, double reference_y, size_t *front);

#endif
