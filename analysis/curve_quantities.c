#include "analysis/curve_quantities.h"

#include "analysis/stats/front.h"
#include "analysis/stats/learning.h"
#include "analysis/stats/relation.h"

#include <math.h>

const char *const curve_base_names[N_BASE_QUANTITY] = {"learning", "source"};
const char *const curve_point_names[N_POINT_QUANTITY] = {
    "learning", "source", "forgetting", "forgetting_relative", "forgetting_from_best", "exchange_rate", "front",
};
const char *const curve_line_names[N_LINE_QUANTITY] = {
    "area", "source_area", "to_target", "to_target_ratio", "forgetting_at_target", "forgetting_slope", "forgetting_r2", "hypervolume", "hypervolume_share",
};

size_t curve_base_at(BaseQuantity q) { return q; }

size_t curve_point_at(size_t point, PointQuantity q) { return N_BASE_QUANTITY + point * N_POINT_QUANTITY + q; }

size_t curve_line_at(const CurvePanel *panel, size_t line, LineQuantity q) { return curve_point_at(panel->n_point, 0) + line * N_LINE_QUANTITY + q; }

size_t curve_union_at(const CurvePanel *panel) { return curve_line_at(panel, panel->n_line, 0); }

size_t curve_quantity_count(const CurvePanel *panel) { return curve_union_at(panel) + 1; }

void curve_measured(double *learning, double *source, const CurveStudy *s, const CurvePanel *panel)
{
    for (size_t i = 0; i <= panel->n_point; i++) {
        const CurveScore *score = panel->point[i].score;

        learning[i] = score[0].value;
        source[i] = 0;
        for (size_t k = 1; k < s->n_score; k++)
            source[i] += score[k].value / (double)(s->n_score - 1);
    }
}

/* ---- terms -------------------------------------------------------------------------------------------------------------- */

static double max_of(const double *x, size_t n)
{
    double best = x[0];
    for (size_t i = 1; i < n; i++)
        best = fmax(best, x[i]);
    return best;
}

/* A round number, so that another run added to a study seldom moves it; below all scores, so that each has an area. */
static double default_reference(const double *source, size_t n)
{
    static const int STEPS = 20; /* of 0.05 */
    double least = source[0];

    for (size_t i = 1; i < n; i++)
        least = fmin(least, source[i]);
    return (ceil(least * STEPS - 1e-9) - 1) / STEPS; /* 0.55 * 20 may lie above 11 */
}

static double default_target(const CurvePanel *panel, const double *learning)
{
    double target = HUGE_VAL;

    for (size_t i = 0; i < panel->n_line; i++)
        target = fmin(target, max_of(learning + panel->line[i].first, panel->line[i].count));
    return target;
}

static size_t find_full(const CurveStudy *s, const CurvePanel *panel)
{
    size_t full = SIZE_MAX;

    for (size_t i = 0; i < panel->n_line; i++)
        if (strcmp(tsv_get(&s->table, panel->point[panel->line[i].first].row, "method"), "full") == 0) {
            if (full != SIZE_MAX)
                return SIZE_MAX;
            full = i;
        }
    return full;
}

static Status read_reference(CurveTerms *t, const char *text)
{
    const char *comma = strchr(text, ',');
    char first[32];

    if (comma == NULL || (size_t)(comma - text) >= sizeof first)
        return FAIL(LT_E_USAGE, "option '--reference': expected SOURCE,LEARNING, found '%s'", text);
    memcpy(first, text, (size_t)(comma - text));
    first[comma - text] = '\0';
    if (!curve_number(first, &t->reference_source) || !curve_number(comma + 1, &t->reference_learning))
        return FAIL(LT_E_USAGE, "option '--reference': expected two numbers SOURCE,LEARNING, found '%s'", text);
    return LT_OK;
}

Status curve_terms(CurveTerms *t, CurveStudy *s, const CurvePanel *panel, const CurveOptions *o, const double *learning, const double *source)
{
    const char *reference = curve_setting(&o->reference, panel->condition), *target = curve_setting(&o->target, panel->condition);
    const size_t n = panel->n_point;

    *t = (CurveTerms){.chance = o->chance, .full = find_full(s, panel)};
    TRY(ARENA_NEW(&s->arena, t->x, n));
    TRY(ARENA_NEW(&s->arena, t->forgetting, n));
    TRY(ARENA_NEW(&s->arena, t->drop, n));
    TRY(ARENA_NEW(&s->arena, t->front, n));
    TRY(ARENA_NEW(&s->arena, t->on, n));
    for (size_t i = 0; i < n; i++)
        t->x[i] = panel->point[i].x;
    t->reference_source = default_reference(source, n);
    t->reference_learning = learning[n];
    t->target = default_target(panel, learning);
    if (reference != NULL)
        TRY(read_reference(t, reference));
    if (target != NULL && !curve_number(target, &t->target))
        return FAIL(LT_E_USAGE, "option '--target': expected a learning score, found '%s'", target);
    return LT_OK;
}

/* ---- quantities --------------------------------------------------------------------------------------------------------- */

static void point_quantities(double *out, const CurvePanel *panel, const CurveTerms *t, const double *learning, const double *source)
{
    const size_t n = panel->n_point;
    const double base_learning = learning[n], base_source = source[n];

    front_members(t->on, source, learning, n, t->front);
    for (size_t i = 0; i < panel->n_line; i++)
        forgetting_from_best(t->drop + panel->line[i].first, source + panel->line[i].first, panel->line[i].count);
    for (size_t i = 0; i < n; i++) {
        double *of = out + curve_point_at(i, 0);

        t->forgetting[i] = forgetting_absolute(base_source, source[i]);
        of[POINT_LEARNING] = learning[i];
        of[POINT_SOURCE] = source[i];
        of[POINT_FORGETTING] = t->forgetting[i];
        of[POINT_FORGETTING_RELATIVE] = forgetting_relative(base_source, t->chance, source[i]);
        of[POINT_FORGETTING_FROM_BEST] = t->drop[i];
        of[POINT_EXCHANGE] = exchange_rate(base_learning, learning[i], base_source, source[i]);
        of[POINT_FRONT] = t->on[i];
    }
}

/* Behind the points: their forgetting is in the scratch. */
static void line_quantities(double *out, const CurveLine *line, const CurveTerms *t, const double *learning, const double *source)
{
    const double *x = t->x + line->first, *l = learning + line->first, *s = source + line->first;
    const Fit fit = fit_line(l, t->forgetting + line->first, line->count);

    out[LINE_AREA] = area_per_octave(x, l, line->count);
    out[LINE_SOURCE_AREA] = area_per_octave(x, s, line->count);
    out[LINE_TO_TARGET] = tokens_to_target(x, l, line->count, t->target);
    out[LINE_FORGETTING_AT_TARGET] = value_at_target(l, t->forgetting + line->first, line->count, t->target);
    out[LINE_FORGETTING_SLOPE] = fit.c[1];
    out[LINE_FORGETTING_R2] = fit.r2;
    out[LINE_HYPERVOLUME] = front_hypervolume(s, l, line->count, t->reference_source, t->reference_learning, t->front);
}

void curve_quantities(double *out, const CurvePanel *panel, const CurveTerms *t, const double *learning, const double *source)
{
    const size_t n = panel->n_point;
    const double all = front_hypervolume(source, learning, n, t->reference_source, t->reference_learning, t->front);

    out[BASE_LEARNING] = learning[n];
    out[BASE_SOURCE] = source[n];
    out[curve_union_at(panel)] = all;
    point_quantities(out, panel, t, learning, source);
    for (size_t i = 0; i < panel->n_line; i++)
        line_quantities(out + curve_line_at(panel, i, 0), &panel->line[i], t, learning, source);
    for (size_t i = 0; i < panel->n_line; i++) {
        double *of = out + curve_line_at(panel, i, 0);

        of[LINE_HYPERVOLUME_SHARE] = of[LINE_HYPERVOLUME] / all;
        of[LINE_TO_TARGET_RATIO] = t->full == SIZE_MAX ? (double)NAN : of[LINE_TO_TARGET] / out[curve_line_at(panel, t->full, LINE_TO_TARGET)];
    }
}
