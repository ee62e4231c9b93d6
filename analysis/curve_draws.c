#include "analysis/curve_draws.h"

#include "analysis/stats/bootstrap.h"
#include "core/random.h"

#include <math.h>

const char *curve_noise_name(CurveNoise noise) { return noise == NOISE_ITEMS ? "items" : noise == NOISE_STDERR ? "stderr" : ""; }

/* The mean over the sources grows score by score: learning takes score 0, source a share of each of the others. */
static void add_score(CurveDraws *d, size_t score, size_t n_score, size_t i, double value)
{
    if (score == 0)
        d->learning[i] = value;
    else
        d->source[i] += value / (double)(n_score - 1);
}

/* ---- from the items ----------------------------------------------------------------------------------------------------- */

static Status draw_items(CurveDraws *d, bool *found, const CurveStudy *s, const CurvePanel *panel, size_t score, const CurveOptions *o, Pool *pool, double *mean)
{
    const size_t n_series = panel->n_point + 1;
    double *value = NULL;
    size_t n_item;
    Status st;

    TRY(curve_items_read(&value, &n_item, found, s, panel, score, o->results));
    if (!*found)
        return LT_OK;
    const Resampling r = {.value = value, .n_unit = n_item, .n_series = n_series, .n_draw = d->n_draw, .seed = o->seed, .stratum = (uint32_t)score};
    TRY_GOTO(bootstrap_means(mean, &r, pool), st, done);
    for (size_t i = 0; i < d->n_draw * n_series; i++)
        add_score(d, score, s->n_score, i, mean[i]);
done:
    mem_free(value);
    return st;
}

static Status draw_all_items(CurveDraws *d, bool *found, const CurveStudy *s, const CurvePanel *panel, const CurveOptions *o, Pool *pool)
{
    double *mean;
    Status st = LT_OK;

    TRY(MEM_NEW(mean, d->n_draw * (panel->n_point + 1)));
    *found = true;
    for (size_t k = 0; k < s->n_score && *found && st == LT_OK; k++)
        st = draw_items(d, found, s, panel, k, o, pool, mean);
    mem_free(mean);
    return st;
}

/* ---- from the standard errors ------------------------------------------------------------------------------------------- */

/* A normal number that belongs to a draw and a score, whoever asks for it (Box and Muller 1958). */
static double normal_of(uint64_t seed, size_t draw, size_t row)
{
    const uint32_t counter[4] = {(uint32_t)draw, (uint32_t)row, 0, UINT32_MAX}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t word[4];

    philox4x32(counter, key, word);
    return sqrt(-2 * log(((double)word[0] + 1) * 0x1p-32)) * cos(2 * M_PI * word[1] * 0x1p-32);
}

static bool has_errors(const CurveStudy *s, const CurvePanel *panel)
{
    for (size_t i = 0; i <= panel->n_point; i++)
        for (size_t k = 0; k < s->n_score; k++)
            if (isnan(panel->point[i].score[k].se))
                return false;
    return true;
}

static void draw_normal(CurveDraws *d, const CurveStudy *s, const CurvePanel *panel, uint64_t seed)
{
    const size_t n_series = panel->n_point + 1;

    for (size_t draw = 0; draw < d->n_draw; draw++)
        for (size_t i = 0; i < n_series; i++)
            for (size_t k = 0; k < s->n_score; k++) {
                const CurveScore *score = &panel->point[i].score[k];

                add_score(d, k, s->n_score, draw * n_series + i, score->value + score->se * normal_of(seed, draw, score->row));
            }
}

/* ------------------------------------------------------------------------------------------------------------------------- */

Status curve_draws_make(CurveDraws *d, const CurveStudy *s, const CurvePanel *panel, const CurveOptions *o, Pool *pool)
{
    bool found = false;
    size_t n;

    *d = (CurveDraws){.n_draw = o->n_draw};
    if (o->n_draw == 0)
        return LT_OK;
    if (!mem_mul(o->n_draw, panel->n_point + 1, &n))
        return FAIL(LT_E_NOMEM, "%zu draws of %zu points do not fit into memory", o->n_draw, panel->n_point);
    TRY(MEM_NEW(d->learning, n));
    TRY(MEM_NEW(d->source, n));
    TRY(draw_all_items(d, &found, s, panel, o, pool));
    if (found) {
        d->noise = NOISE_ITEMS;
        return LT_OK;
    }
    memset(d->source, 0, n * sizeof *d->source); /* what a score with items may have left */
    if (has_errors(s, panel)) {
        draw_normal(d, s, panel, o->seed);
        d->noise = NOISE_STDERR;
    }
    return LT_OK;
}

void curve_draws_release(CurveDraws *d)
{
    mem_free(d->learning);
    mem_free(d->source);
    *d = (CurveDraws){0};
}
