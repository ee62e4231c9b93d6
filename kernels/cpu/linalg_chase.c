/* From a band to three diagonals: 6 BAND n^2 operations in blocks of BAND x BAND that stay in the first-level cache.
 *
 * Sweep s makes column s tridiagonal with a reflection of the BAND elements below its diagonal. That reflection, applied from both sides, fills the block below the
 * diagonal block; a second one clears the first column of that bulge and so moves it BAND rows down, and so on to the end: step k of the sweep begins at
 * row s + 1 + k BAND, and touches rows and columns from there to 2 BAND further. */
#include "kernels/cpu/linalg.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Eight numbers; compilers lower them to any width. Any: wherever they lie. */
enum { LANES = 8, VECTORS = BAND / LANES, BLOCK_LD = BAND_LD - 1 };
typedef double Lanes __attribute__((vector_size(64)));
typedef double Any __attribute__((vector_size(64), aligned(8), may_alias));

/* One task: SWEEPS sweeps, STEPS steps of each, later sweeps 2 steps behind the one before them. Step k of a sweep may begin once the sweep before it is
 * done with step k + 1; with STEPS = 2 SWEEPS the blocks of steps K of one group of sweeps need no more than K + 1 of the group before. */
enum { SWEEPS = 4, STEPS = 2 * SWEEPS };

typedef struct Chase {
    double *band;
    int64_t n;
    double *v, *tau; /* [n, BAND], [n]: the reflection each sweep is at */
    int64_t wave, first_group;
    CpuLevel level;
} Chase;

INLINE double sum_of(const Lanes *v)
{
    const Lanes a = *v;

    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

INLINE double dot(const double *x, const double *y)
{
    Lanes sum = *(const Any *)x * *(const Any *)y;

    for (int i = LANES; i < BAND; i += LANES)
        sum += *(const Any *)(x + i) * *(const Any *)(y + i);
    return sum_of(&sum);
}

/* y += a x */
INLINE void add(double *y, double a, const double *x)
{
    for (int i = 0; i < BAND; i += LANES)
        *(Any *)(y + i) += a * *(const Any *)(x + i);
}

/* v with v[0] = 1 and the result tau: (1 - tau v vT) x = (beta, 0, ...), which replaces x. */
INLINE double reflect(double *x, double *v)
{
    const double alpha = x[0];
    double rest, beta;

    memcpy(v, x, BAND * sizeof *v);
    v[0] = 0;
    rest = dot(v, v);
    v[0] = 1;
    memset(x + 1, 0, (BAND - 1) * sizeof *x);
    if (rest == 0)
        return 0;
    beta = alpha > 0 ? -sqrt(alpha * alpha + rest) : sqrt(alpha * alpha + rest);
    for (int i = 1; i < BAND; i++)
        v[i] /= alpha - beta;
    x[0] = beta;
    return (beta - alpha) / beta;
}

/* w = d v, d symmetric, its lower triangle at d. What lies above the diagonal in the first vector of a column belongs to another. */
INLINE void multiply_symmetric(double *w, const double *d, const double *v)
{
    memset(w, 0, BAND * sizeof *w);
    for (int j = 0; j < BAND; j++) {
        const double *column = d + j * BLOCK_LD;
        const int first = j / LANES * LANES;
        double below[LANES];
        Lanes sum;

        for (int i = 0; i < LANES; i++)
            below[i] = first + i > j ? column[first + i] : 0;
        *(Any *)(w + first) += v[j] * *(const Any *)below;
        sum = *(const Any *)below * *(const Any *)(v + first);
        for (int i = first + LANES; i < BAND; i += LANES) {
            *(Any *)(w + i) += v[j] * *(const Any *)(column + i);
            sum += *(const Any *)(column + i) * *(const Any *)(v + i);
        }
        w[j] += column[j] * v[j] + sum_of(&sum);
    }
}

/* d = h d h with h = 1 - tau v vT, the lower triangle. */
INLINE void reflect_both(double *d, const double *v, double tau)
{
    double w[BAND], half;

    multiply_symmetric(w, d, v);
    for (int i = 0; i < BAND; i++)
        w[i] *= tau;
    half = 0.5 * tau * dot(w, v);
    add(w, -half, v);
    for (int j = 0; j < BAND; j++)
        for (int i = j; i < BAND; i++)
            d[j * BLOCK_LD + i] -= v[i] * w[j] + w[i] * v[j];
}

/* e = e h */
INLINE void reflect_right(double *e, const double *v, double tau)
{
    double w[BAND] = {0};

    for (int j = 0; j < BAND; j++)
        add(w, v[j], e + j * BLOCK_LD);
    for (int j = 0; j < BAND; j++)
        add(e + j * BLOCK_LD, -tau * v[j], w);
}

/* The columns of e behind the first: e = h e */
INLINE void reflect_left(double *e, const double *v, double tau)
{
    for (int j = 1; j < BAND; j++)
        add(e + j * BLOCK_LD, -tau * dot(v, e + j * BLOCK_LD), v);
}

INLINE void step(const Chase *c, int64_t s, int64_t k)
{
    const int64_t row = s + 1 + k * BAND;
    double *v = c->v + s * BAND, *tau = c->tau + s, *e = band_at(c->band, row + BAND, row);

    if (k == 0)
        *tau = reflect(band_at(c->band, s + 1, s), v);
    if (*tau != 0) {
        reflect_both(band_at(c->band, row, row), v, *tau);
        reflect_right(e, v, *tau);
    }
    *tau = reflect(e, v);
    if (*tau != 0)
        reflect_left(e, v, *tau);
}

/* Steps `block` STEPS.. of the sweeps of `group`. */
INLINE void chase(const Chase *c, int64_t group, int64_t block)
{
    for (int64_t i = 0; i < SWEEPS; i++) {
        const int64_t s = group * SWEEPS + i, last = (c->n - 2 - s) / BAND; /* the one that begins at row n - 1 or before */
        const int64_t from = block * STEPS - 2 * i, to = from + STEPS < last + 1 ? from + STEPS : last + 1;

        if (s + 2 >= c->n)
            return;
        for (int64_t k = from > 0 ? from : 0; k < to; k++)
            step(c, s, k);
    }
}

static void chase_generic(const Chase *c, int64_t group, int64_t block) { chase(c, group, block); }
TARGET_AVX2 static void chase_avx2(const Chase *c, int64_t group, int64_t block) { chase(c, group, block); }
TARGET_AVX512 static void chase_avx512(const Chase *c, int64_t group, int64_t block) { chase(c, group, block); }

/* Of a wave: groups first_group.., each two blocks behind the one before it. */
static Status chase_task(void *context, int64_t index, int thread)
{
    const Chase *c = context;
    const int64_t group = c->first_group + index, block = c->wave - 2 * group;

    (void)thread;
    if (c->level >= CPU_AVX512)
        chase_avx512(c, group, block);
    else if (c->level == CPU_AVX2)
        chase_avx2(c, group, block);
    else
        chase_generic(c, group, block);
    return LT_OK;
}

static Status run_waves(Device *dev, Chase *c)
{
    const int64_t groups = (c->n - 2 + SWEEPS - 1) / SWEEPS, steps = (c->n - 2) / BAND + 1;
    const int64_t blocks = (steps + 2 * (SWEEPS - 1) + STEPS - 1) / STEPS; /* the last sweep of a group lags */

    for (c->wave = 0; c->wave < 2 * (groups - 1) + blocks; c->wave++) {
        const int64_t late = c->wave - blocks + 1, last = c->wave / 2 < groups - 1 ? c->wave / 2 : groups - 1;

        c->first_group = late > 0 ? (late + 1) / 2 : 0;
        TRY(pool_run(dev->pool, last - c->first_group + 1, chase_task, c));
    }
    return LT_OK;
}

Status linalg_to_tridiagonal(Device *dev, double *diagonal, double *below, double *band, int64_t n)
{
    Chase c = {.band = band, .n = n, .level = cpu_of(dev)->level};
    Status st = LT_OK;

    if (n > 2) {
        TRY(MEM_NEW(c.v, (size_t)(n * (BAND + 1))));
        c.tau = c.v + n * BAND;
        st = run_waves(dev, &c);
        mem_free(c.v);
    }
    for (int64_t i = 0; i < n; i++)
        diagonal[i] = *band_at(band, i, i);
    for (int64_t i = 0; i + 1 < n; i++)
        below[i] = *band_at(band, i + 1, i);
    return st;
}
