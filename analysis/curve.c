#include "analysis/curve.h"

#include "analysis/curve_draws.h"
#include "analysis/curve_quantities.h"
#include "analysis/stats/bootstrap.h"
#include "core/file.h"
#include "core/json.h"

#include <math.h>

static const double CONFIDENCE = 0.95;

/* One panel on its way into the table. */
typedef struct PanelWriter {
    Tsv *table;
    const CurveStudy *study;
    const CurvePanel *panel;
    CurveTerms terms;
    CurveDraws draws;
    double *value;            /* [n_quantity] */
    double *replicate;        /* [n_draw][n_quantity]; NULL: none */
    double *sorted;           /* scratch, [n_draw] */
    size_t n_quantity;
} PanelWriter;

static Status set_text(Tsv *t, const char *column, const char *value) { return tsv_set(t, t->n_row - 1, column, str_of(value)); }

/* A curve that never reaches the target in some replicates reaches it at infinity there; an end of an interval that lies there is not known. */
static Status set_number(Tsv *t, const char *column, double x) { return tsv_set_double(t, t->n_row - 1, column, isfinite(x) ? x : (double)NAN); }

static Status set_interval(const PanelWriter *w, size_t quantity, bool is_share)
{
    const size_t n = w->draws.n_draw;

    for (size_t i = 0; i < n; i++) {
        const double x = w->replicate[i * w->n_quantity + quantity];
        w->sorted[i] = isnan(x) ? HUGE_VAL : x;
    }
    bootstrap_sorted(w->sorted, w->sorted, n, 1, 0);
    const Interval ci = bootstrap_percentile(w->sorted, n, CONFIDENCE);
    TRY(set_number(w->table, "draw_mean", stat_mean(w->sorted, n)));
    if (is_share)
        return LT_OK;
    TRY(set_number(w->table, "ci_low", ci.low));
    return set_number(w->table, "ci_high", ci.high);
}

/* What a row says of: a point and its line, a line, or (row SIZE_MAX) all of them. */
typedef struct RowSubject {
    size_t row;
    const char *label;
    double x;
} RowSubject;

static Status add_row(const PanelWriter *w, const RowSubject *subject, const char *quantity, size_t at, const char *taken_at)
{
    Tsv *t = w->table;

    if (isnan(w->value[at]))
        return LT_OK;
    TRY(tsv_row(t));
    TRY(set_text(t, "condition", w->panel->condition));
    for (size_t k = 0; k < w->study->n_key && subject->row != SIZE_MAX; k++)
        TRY(set_text(t, w->study->key[k], tsv_get(&w->study->table, subject->row, w->study->key[k])));
    TRY(set_text(t, "label", subject->label));
    TRY(set_text(t, "x_name", w->panel->x_name));
    TRY(set_number(t, "x", subject->x));
    TRY(set_text(t, "quantity", quantity));
    TRY(set_text(t, "at", taken_at));
    TRY(set_number(t, "value", w->value[at]));
    if (w->replicate == NULL)
        return LT_OK;
    TRY(set_text(t, "noise", curve_noise_name(w->draws.noise)));
    TRY(tsv_set_int(t, t->n_row - 1, "draws", (int64_t)w->draws.n_draw));
    return set_interval(w, at, strcmp(quantity, curve_point_names[POINT_FRONT]) == 0);
}

/* ---- the rows of a panel ------------------------------------------------------------------------------------------------ */

static Status add_points(const PanelWriter *w)
{
    const CurvePoint *base = &w->panel->point[w->panel->n_point];
    const RowSubject of_base = {base->score[0].row, base->label, NAN};

    for (size_t q = 0; q < N_BASE_QUANTITY; q++)
        TRY(add_row(w, &of_base, curve_base_names[q], curve_base_at((BaseQuantity)q), ""));
    for (size_t i = 0; i < w->panel->n_point; i++) {
        const CurvePoint *p = &w->panel->point[i];
        const RowSubject subject = {p->row, p->label, p->x};

        for (size_t q = 0; q < N_POINT_QUANTITY; q++)
            TRY(add_row(w, &subject, curve_point_names[q], curve_point_at(i, (PointQuantity)q), ""));
    }
    return LT_OK;
}

static const char *taken_at(LineQuantity q, const char *target, const char *reference)
{
    switch (q) {
    case LINE_TO_TARGET:
    case LINE_TO_TARGET_RATIO:
    case LINE_FORGETTING_AT_TARGET:
        return target;
    case LINE_HYPERVOLUME:
    case LINE_HYPERVOLUME_SHARE:
        return reference;
    default:
        return "";
    }
}

static Status add_lines(const PanelWriter *w)
{
    static const RowSubject all = {SIZE_MAX, "", NAN};
    StrBuf target, reference;
    Status st;

    strbuf_init(&target);
    strbuf_init(&reference);
    json_write_double(&target, w->terms.target);
    json_write_double(&reference, w->terms.reference_source);
    strbuf_add_char(&reference, ',');
    json_write_double(&reference, w->terms.reference_learning);
    TRY_GOTO(strbuf_status(&target), st, done);
    TRY_GOTO(strbuf_status(&reference), st, done);
    for (size_t i = 0; i < w->panel->n_line; i++) {
        const RowSubject subject = {w->panel->point[w->panel->line[i].first].row, "", NAN};

        for (size_t q = 0; q < N_LINE_QUANTITY; q++)
            TRY_GOTO(add_row(w, &subject, curve_line_names[q], curve_line_at(w->panel, i, (LineQuantity)q),
                             taken_at((LineQuantity)q, target.data, reference.data)), st, done);
    }
    st = add_row(w, &all, curve_line_names[LINE_HYPERVOLUME], curve_union_at(w->panel), reference.data);
done:
    strbuf_release(&target);
    strbuf_release(&reference);
    return st;
}

/* ---- the numbers -------------------------------------------------------------------------------------------------------- */

static Status measure(PanelWriter *w, CurveStudy *s, const CurveOptions *o)
{
    const size_t n = w->panel->n_point + 1;
    double *score;

    TRY(ARENA_NEW(&s->arena, score, 2 * n));
    TRY(ARENA_NEW(&s->arena, w->value, w->n_quantity));
    curve_measured(score, score + n, s, w->panel);
    TRY(curve_terms(&w->terms, s, w->panel, o, score, score + n));
    curve_quantities(w->value, w->panel, &w->terms, score, score + n);
    return LT_OK;
}

static Status replicate(PanelWriter *w, const CurveOptions *o, Pool *pool)
{
    const size_t n = w->panel->n_point + 1;
    size_t all;

    TRY(curve_draws_make(&w->draws, w->study, w->panel, o, pool));
    if (w->draws.noise == NOISE_NONE)
        return LT_OK;
    if (!mem_mul(w->draws.n_draw, w->n_quantity, &all))
        return FAIL(LT_E_NOMEM, "%zu draws of %zu quantities do not fit into memory", w->draws.n_draw, w->n_quantity);
    TRY(MEM_NEW(w->sorted, w->draws.n_draw));
    TRY(MEM_NEW(w->replicate, all));
    for (size_t i = 0; i < w->draws.n_draw; i++)
        curve_quantities(w->replicate + i * w->n_quantity, w->panel, &w->terms, w->draws.learning + i * n, w->draws.source + i * n);
    return LT_OK;
}

static Status write_panel(Tsv *table, CurveStudy *s, const CurvePanel *panel, const CurveOptions *o, Pool *pool)
{
    PanelWriter w = {.table = table, .study = s, .panel = panel, .n_quantity = curve_quantity_count(panel)};
    Status st;

    TRY_GOTO(measure(&w, s, o), st, done);
    TRY_GOTO(replicate(&w, o, pool), st, done);
    TRY_GOTO(add_points(&w), st, done);
    st = add_lines(&w);
done:
    curve_draws_release(&w.draws);
    mem_free(w.replicate);
    mem_free(w.sorted);
    return st;
}

/* condition, the line's columns, then these. */
static Status make_table(Tsv *table, const CurveStudy *s)
{
    static const char *const rest[] = {"label", "x_name", "x", "quantity", "at", "value", "draw_mean", "ci_low", "ci_high", "noise", "draws"};
    enum { N_REST = sizeof rest / sizeof *rest };
    const char *column[1 + CURVE_MOST_KEYS + N_REST] = {"condition"};
    size_t n = 1;

    for (size_t k = 0; k < s->n_key; k++)
        column[n++] = s->key[k];
    for (size_t i = 0; i < N_REST; i++)
        column[n++] = rest[i];
    return tsv_init(table, column, n);
}

Status curve_run(Tsv *table, const CurveOptions *o)
{
    CurveStudy study;
    Tsv made = {0};
    Pool *pool = NULL;
    Status st;

    TRY_GOTO(curve_study_read(&study, o), st, done);
    TRY_GOTO(pool_create(&pool, o->threads), st, done);
    TRY_GOTO(make_table(&made, &study), st, done);
    for (size_t i = 0; i < study.n_panel; i++)
        TRY_GOTO(write_panel(&made, &study, &study.panel[i], o, pool), st, done);
    TRY_GOTO(tsv_write(&made, o->out), st, done);
    *table = made;
    made = (Tsv){0};
done:
    tsv_release(&made);
    pool_free(pool);
    curve_study_release(&study);
    return st;
}
