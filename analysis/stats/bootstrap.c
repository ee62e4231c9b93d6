#include "analysis/stats/bootstrap.h"

#include "analysis/stats/special.h"
#include "core/mem.h"
#include "core/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- drawing ------------------------------------------------------------------------------------------------------------ */

/* The words of one draw: Philox blocks counted from 0, under (draw, stratum). */
typedef struct DrawStream {
    uint32_t counter[4], key[2], word[4];
    int left;
} DrawStream;

static DrawStream stream_of_draw(const Resampling *r, uint64_t draw)
{
    return (DrawStream){
        .counter = {0, r->stratum, (uint32_t)draw, (uint32_t)(draw >> 32)},
        .key = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)},
    };
}

static uint32_t next_word(DrawStream *s)
{
    if (s->left == 0) {
        philox4x32(s->counter, s->key, s->word);
        s->counter[0]++;
        s->left = 4;
    }
    return s->word[--s->left];
}

/* 0..n-1, each equally likely: the high half of word * n, but for those words that would make some values come once too often (Lemire 2019). */
static uint32_t next_index(DrawStream *s, uint32_t n)
{
    uint64_t product = (uint64_t)next_word(s) * n;

    if ((uint32_t)product < n) {
        const uint32_t surplus = (0 - n) % n; /* 2^32 mod n */

        while ((uint32_t)product < surplus)
            product = (uint64_t)next_word(s) * n;
    }
    return (uint32_t)(product >> 32);
}

/* Adds a unit's values to the draw's sums; gives its weight. */
static double add_unit(double *sum, const Resampling *r, size_t unit)
{
    const double *value = r->value + unit * r->n_series;

    for (size_t k = 0; k < r->n_series; k++)
        sum[k] += value[k];
    return r->weight != NULL ? r->weight[unit] : 1;
}

static void divide(double *sum, size_t n, double weight)
{
    for (size_t k = 0; k < n; k++)
        sum[k] /= weight;
}

enum { DRAWS_A_TASK = 16 };

typedef struct DrawJob {
    double *mean;
    const Resampling *r;
} DrawJob;

static Status draw_some(void *context, int64_t index, int thread)
{
    const DrawJob *job = context;
    const Resampling *r = job->r;
    const size_t first = (size_t)index * DRAWS_A_TASK, end = first + DRAWS_A_TASK < r->n_draw ? first + DRAWS_A_TASK : r->n_draw;

    (void)thread;
    for (size_t draw = first; draw < end; draw++) {
        double *sum = job->mean + draw * r->n_series, weight = 0;
        DrawStream stream = stream_of_draw(r, draw);

        memset(sum, 0, r->n_series * sizeof *sum);
        for (size_t i = 0; i < r->n_unit; i++)
            weight += add_unit(sum, r, next_index(&stream, (uint32_t)r->n_unit));
        divide(sum, r->n_series, weight);
    }
    return LT_OK;
}

static Status check_units(const Resampling *r)
{
    if (r->n_unit == 0 || r->n_unit > UINT32_MAX)
        return FAIL(LT_E_INPUT, "bootstrap: expected 1 to %u items, found %zu", UINT32_MAX, r->n_unit);
    return LT_OK;
}

Status bootstrap_means(double *mean, const Resampling *r, Pool *pool)
{
    DrawJob job = {mean, r};

    TRY(check_units(r));
    return pool_run(pool, (int64_t)((r->n_draw + DRAWS_A_TASK - 1) / DRAWS_A_TASK), draw_some, &job);
}

Status bootstrap_means_python(double *mean, const Resampling *r, PythonDraws how)
{
    uint64_t *index;
    PyRandom random;

    TRY(check_units(r));
    TRY(MEM_NEW(index, r->n_unit));
    pyrandom_seed(&random, r->seed);
    for (size_t draw = 0; draw < r->n_draw; draw++) {
        double *sum = mean + draw * r->n_series, weight = 0;

        if (how == PYTHON_CHOICES)
            pyrandom_choices(&random, r->n_unit, r->n_unit, index);
        else
            for (size_t i = 0; i < r->n_unit; i++)
                index[i] = pyrandom_below(&random, r->n_unit);
        memset(sum, 0, r->n_series * sizeof *sum);
        for (size_t i = 0; i < r->n_unit; i++)
            weight += add_unit(sum, r, index[i]);
        divide(sum, r->n_series, weight);
    }
    mem_free(index);
    return LT_OK;
}

/* ---- what the replicates say -------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bootstrap_sorted(double *sorted, const double *mean, size_t n_draw, size_t n_series, size_t series)
{
    for (size_t i = 0; i < n_draw; i++)
        sorted[i] = mean[i * n_series + series];
    qsort(sorted, n_draw, sizeof *sorted, ascending);
}

double bootstrap_stderr(const double *sorted, size_t n_draw) { return stat_stderr(sorted, n_draw) * sqrt((double)n_draw); }

Interval bootstrap_percentile(const double *sorted, size_t n_draw, double confidence)
{
    const double tail = (1 - confidence) / 2;

    return (Interval){stat_quantile(sorted, n_draw, tail), stat_quantile(sorted, n_draw, 1 - tail)};
}

/* How many are below x, and how many at most x. */
typedef struct Rank {
    size_t below, at_most;
} Rank;

static Rank rank_of(const double *sorted, size_t n, double x)
{
    Rank r = {0};

    for (size_t i = 0; i < n; i++) {
        r.below += sorted[i] < x;
        r.at_most += sorted[i] <= x;
    }
    return r;
}

BootstrapTest bootstrap_test(const double *sorted, size_t n_draw)
{
    const Rank zero = rank_of(sorted, n_draw, 0);
    const double at_most = (double)zero.at_most / (double)n_draw, at_least = (double)(n_draw - zero.below) / (double)n_draw;

    return (BootstrapTest){at_most, at_least, fmin(1, 2 * fmin(at_most, at_least))};
}

double bootstrap_acceleration(const double *leave_one_out, size_t n)
{
    const double mean = stat_mean(leave_one_out, n);
    double squares = 0, cubes = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = mean - leave_one_out[i];

        squares += d * d;
        cubes += d * d * d;
    }
    return squares > 0 ? cubes / (6 * squares * sqrt(squares)) : 0;
}

BcaInterval bootstrap_bca(const double *sorted, size_t n_draw, double estimate, double acceleration, double confidence)
{
    const Rank at = rank_of(sorted, n_draw, estimate);
    const double z0 = normal_quantile((double)(at.below + at.at_most) / (2 * (double)n_draw)), z = normal_quantile((1 + confidence) / 2);
    const double low = z0 - z, high = z0 + z;

    if (isinf(z0))
        return (BcaInterval){z0, {NAN, NAN}};
    return (BcaInterval){
        .bias = z0,
        .interval.low = stat_quantile(sorted, n_draw, normal_cdf(z0 + low / (1 - acceleration * low))),
        .interval.high = stat_quantile(sorted, n_draw, normal_cdf(z0 + high / (1 - acceleration * high))),
    };
}
