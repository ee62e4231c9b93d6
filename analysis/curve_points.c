#include "analysis/curve_points.h"

#include "core/file.h"
#include "core/log.h"

#include <math.h>
#include <stdlib.h>

/* Line of the file that a row of the table stands in. */
static size_t line_of(size_t row) { return row + 2; }

static const char *cell(const CurveStudy *s, size_t row, const char *column)
{
    const char *text = tsv_get(&s->table, row, column);
    return text != NULL ? text : "";
}

static bool is(const CurveStudy *s, size_t row, const char *column, const char *value) { return strcmp(cell(s, row, column), value) == 0; }

bool curve_number(const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

/* NaN for an empty cell. */
static Status read_number(double *out, const CurveStudy *s, size_t row, const char *column)
{
    const char *text = cell(s, row, column);

    *out = NAN;
    if (*text != '\0' && !curve_number(text, out))
        return FAIL(LT_E_INPUT, "%s: line %zu: column '%s': expected a number, found '%s'", s->path, line_of(row), column, text);
    return LT_OK;
}

/* ---- settings ----------------------------------------------------------------------------------------------------------- */

const char *curve_setting(const CurveSettings *settings, const char *condition)
{
    const size_t len = strlen(condition);
    const char *any = NULL, *own = NULL;

    for (size_t i = 0; i < settings->count; i++) {
        const char *item = settings->item[i], *equal = strchr(item, '=');

        if (equal == NULL)
            any = item;
        else if ((size_t)(equal - item) == len && strncmp(item, condition, len) == 0)
            own = equal + 1;
    }
    return own != NULL ? own : any;
}

/* The parts of a text between separators, at most `most`, each a string of its own. */
static Status split(CurveStudy *s, const char **part, size_t *n_part, size_t most, const char *text, const char *separator, const char *what)
{
    *n_part = 0;
    for (const char *from = text;; from++) {
        const size_t len = strcspn(from, separator);

        if (len == 0 || *n_part == most)
            return FAIL(LT_E_USAGE, "'%s': expected %s", text, what);
        if ((part[(*n_part)++] = arena_strndup(&s->arena, from, len)) == NULL)
            return LT_E_NOMEM;
        from += len;
        if (*from == '\0')
            return LT_OK;
    }
}

static Status read_score_name(CurveStudy *s, ScoreName *out, const char *text)
{
    static const char what[] = "TASK:METRIC or TASK:METRIC:FILTER";
    const char *part[3] = {NULL};
    size_t n;

    TRY(split(s, part, &n, 3, text, ":", what));
    if (n < 2)
        return FAIL(LT_E_USAGE, "'%s': expected %s", text, what);
    *out = (ScoreName){text, part[0], part[1], part[2]};
    return LT_OK;
}

static Status need_column(const CurveStudy *s, const char *column)
{
    for (size_t i = 0; i < s->table.n_column; i++)
        if (strcmp(s->table.column[i], column) == 0)
            return LT_OK;
    return FAIL(LT_E_INPUT, "%s: expected a column '%s', found none", s->path, column);
}

static Status read_columns(CurveStudy *s, const CurveOptions *o)
{
    static const char *const needed[] = {"label", "condition", "method", "task", "metric", "filter", "value"};

    TRY(split(s, s->key, &s->n_key, CURVE_MOST_KEYS, o->line, ",", "columns separated by commas, at most 8"));
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        TRY(need_column(s, needed[i]));
    for (size_t i = 0; i < s->n_key; i++)
        TRY(need_column(s, s->key[i]));
    return o->x != NULL ? need_column(s, o->x) : LT_OK;
}

/* ---- scores ------------------------------------------------------------------------------------------------------------- */

static bool names_row(const CurveStudy *s, size_t row, const ScoreName *name)
{
    return is(s, row, "task", name->task) && is(s, row, "metric", name->metric) && (name->filter == NULL || is(s, row, "filter", name->filter));
}

/* *found: whether the checkpoint has it. */
static Status find_score(CurveScore *out, bool *found, const CurveStudy *s, const char *label, const ScoreName *name)
{
    *found = false;
    for (size_t row = 0; row < s->table.n_row; row++) {
        if (!is(s, row, "label", label) || !names_row(s, row, name) || *cell(s, row, "value") == '\0')
            continue;
        if (*found)
            return FAIL(LT_E_INPUT, "%s: lines %zu and %zu: expected one score %s of '%s', found two (TASK:METRIC:FILTER names one filter's)", s->path,
                        line_of(out->row), line_of(row), name->text, label);
        *found = true;
        out->row = row;
        TRY(read_number(&out->value, s, row, "value"));
        TRY(read_number(&out->se, s, row, "stderr"));
    }
    return LT_OK;
}

/* The first score that the checkpoint lacks, NULL if it has them all. */
static Status read_scores(CurvePoint *p, const ScoreName **missing, const CurveStudy *s, const CurvePanel *panel)
{
    bool found;

    *missing = NULL;
    for (size_t k = 0; k < s->n_score; k++) {
        TRY(find_score(&p->score[k], &found, s, p->label, &panel->score[k]));
        if (!found && *missing == NULL)
            *missing = &panel->score[k];
    }
    return LT_OK;
}

/* Numbers are compared only with those that were measured in the same way. */
static Status check_same_way(const CurveStudy *s, const CurvePanel *panel)
{
    static const char *const way[] = {"profile", "shots", "template", "bos", "dtype", "samples", "temperature", "n"};

    for (size_t i = 1; i <= panel->n_point; i++)
        for (size_t k = 0; k < s->n_score; k++)
            for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
                const CurveScore *a = &panel->point[0].score[k], *b = &panel->point[i].score[k];

                if (!is(s, a->row, way[w], cell(s, b->row, way[w])))
                    return FAIL(LT_E_INPUT, "%s: %s: %s '%s' for '%s' but '%s' for '%s' (--mixed takes them together)", s->path, panel->score[k].text, way[w],
                                cell(s, a->row, way[w]), panel->point[0].label, cell(s, b->row, way[w]), panel->point[i].label);
            }
    return LT_OK;
}

/* ---- points and lines --------------------------------------------------------------------------------------------------- */

/* Where each label stands first. */
static Status index_labels(CurveStudy *s)
{
    int64_t row;

    for (size_t i = 0; i < s->table.n_row; i++)
        if (!map_get(&s->labels, str_of(cell(s, i, "label")), &row))
            TRY(map_put(&s->labels, str_of(cell(s, i, "label")), (int64_t)i, NULL));
    return LT_OK;
}

static bool is_first_of_label(const CurveStudy *s, size_t row)
{
    int64_t first;

    return map_get(&s->labels, str_of(cell(s, row, "label")), &first) && (size_t)first == row;
}

static Status read_base(CurveStudy *s, CurvePanel *panel)
{
    CurvePoint *base = &panel->point[panel->n_point];
    const ScoreName *missing;

    *base = (CurvePoint){.label = s->base, .x = NAN};
    TRY(read_scores(base, &missing, s, panel));
    if (missing != NULL)
        return FAIL(LT_E_INPUT, "%s: the base '%s' has no score %s", s->path, s->base, missing->text);
    return LT_OK;
}

static Status read_points(CurveStudy *s, CurvePanel *panel)
{
    const ScoreName *missing;
    const char *lacks = panel->score[0].text, *lacking = "";
    size_t n_lacking = 0;

    TRY(ARENA_NEW(&s->arena, panel->point, s->table.n_row + 1));
    for (size_t row = 0; row < s->table.n_row; row++) {
        CurvePoint *p = &panel->point[panel->n_point];

        if (!is(s, row, "condition", panel->condition) || is(s, row, "label", s->base) || !is_first_of_label(s, row))
            continue;
        *p = (CurvePoint){.label = cell(s, row, "label"), .row = row};
        TRY(read_scores(p, &missing, s, panel));
        if (missing == NULL)
            panel->n_point++;
        else if (n_lacking++ == 0) {
            lacking = p->label;
            lacks = missing->text;
        }
    }
    if (panel->n_point == 0)
        return FAIL(LT_E_INPUT, "%s: condition '%s': expected a checkpoint with all scores, found none with %s", s->path, panel->condition,
                    lacks);
    if (n_lacking > 0)
        log_note("condition '%s': left out %zu of %zu checkpoints, which lack a score ('%s': %s)", panel->condition, n_lacking,
                 n_lacking + panel->n_point, lacking, lacks);
    return read_base(s, panel);
}

/* Reads x from one column; gives the first point without a number above 0 there, n_point if all have one. */
static Status try_x(CurveStudy *s, CurvePanel *panel, const char *column, size_t *bad)
{
    panel->x_name = column;
    for (*bad = 0; *bad < panel->n_point; (*bad)++) {
        CurvePoint *p = &panel->point[*bad];

        TRY(read_number(&p->x, s, p->row, column));
        if (!(p->x > 0))
            break;
    }
    return LT_OK;
}

static Status read_x(CurveStudy *s, CurvePanel *panel, const char *wanted)
{
    static const char *const columns[] = {"tokens", "epochs", "step"};
    const char *nearest = wanted != NULL ? wanted : columns[0];
    size_t bad, furthest = 0; /* the column that most points have is the one that was meant */

    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
        if (wanted != NULL && strcmp(wanted, columns[c]) != 0)
            continue;
        TRY(try_x(s, panel, columns[c], &bad));
        if (bad == panel->n_point)
            return LT_OK;
        if (bad > furthest) {
            furthest = bad;
            nearest = columns[c];
        }
    }
    const CurvePoint *p = &panel->point[furthest];
    return FAIL(LT_E_INPUT, "%s: line %zu: column '%s': expected a number above 0 for '%s', found '%s'", s->path, line_of(p->row), nearest, p->label,
                cell(s, p->row, nearest));
}

static bool same_line(const CurveStudy *s, size_t row_a, size_t row_b)
{
    for (size_t k = 0; k < s->n_key; k++)
        if (!is(s, row_a, s->key[k], cell(s, row_b, s->key[k])))
            return false;
    return true;
}

static int by_x(const void *a, const void *b)
{
    const CurvePoint *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

/* Lines in the order of the table: each collects its points from what is left. */
static Status sort_lines(CurveStudy *s, CurvePanel *panel)
{
    TRY(ARENA_NEW(&s->arena, panel->line, panel->n_point));
    for (size_t done = 0; done < panel->n_point;) {
        CurveLine *line = &panel->line[panel->n_line++];

        *line = (CurveLine){.first = done};
        for (size_t i = done; i < panel->n_point; i++)
            if (same_line(s, panel->point[line->first].row, panel->point[i].row)) {
                const CurvePoint p = panel->point[i];

                memmove(&panel->point[done + 1], &panel->point[done], (i - done) * sizeof p); /* the others keep their order */
                panel->point[done++] = p;
            }
        line->count = done - line->first;
        CurvePoint *first = &panel->point[line->first];
        qsort(first, line->count, sizeof *first, by_x);
        for (size_t i = 1; i < line->count; i++)
            if (first[i].x == first[i - 1].x)
                return FAIL(LT_E_INPUT, "%s: condition '%s': '%s' and '%s' are one line and both at %s %g: name the column that tells them apart with --line",
                            s->path, panel->condition, first[i - 1].label, first[i].label, panel->x_name, first[i].x);
    }
    return LT_OK;
}

/* ---- the study ---------------------------------------------------------------------------------------------------------- */

static Status find_base(CurveStudy *s, const char *wanted)
{
    for (size_t row = 0; row < s->table.n_row; row++) {
        const char *label = cell(s, row, "label");

        if (wanted != NULL ? strcmp(label, wanted) != 0 : !is(s, row, "method", "base"))
            continue;
        if (s->base != NULL && strcmp(s->base, label) != 0)
            return FAIL(LT_E_INPUT, "%s: expected one base, found '%s' and '%s': choose with --base LABEL", s->path, s->base, label);
        s->base = label;
    }
    if (s->base == NULL)
        return wanted != NULL ? FAIL(LT_E_INPUT, "%s: expected a row with label '%s', found none", s->path, wanted)
                              : FAIL(LT_E_INPUT, "%s: expected a row with method 'base', found none: name the base with --base LABEL", s->path);
    return LT_OK;
}

static Status read_panel(CurveStudy *s, const char *condition, const char *learning, const CurveOptions *o)
{
    const char *source[CURVE_MOST_SOURCES];
    CurvePanel *panel = &s->panel[s->n_panel++];
    size_t n_source;

    *panel = (CurvePanel){.condition = condition};
    TRY(split(s, source, &n_source, CURVE_MOST_SOURCES, o->source, ",", "source scores separated by commas, at most 16"));
    s->n_score = 1 + n_source;
    TRY(read_score_name(s, &panel->score[0], learning));
    for (size_t k = 0; k < n_source; k++)
        TRY(read_score_name(s, &panel->score[1 + k], source[k]));
    TRY(read_points(s, panel));
    if (!o->mixed)
        TRY(check_same_way(s, panel));
    TRY(read_x(s, panel, o->x));
    return sort_lines(s, panel);
}

static bool has_panel(const CurveStudy *s, const char *condition)
{
    for (size_t i = 0; i < s->n_panel; i++)
        if (strcmp(s->panel[i].condition, condition) == 0)
            return true;
    return false;
}

/* A setting for a condition that is not there would do nothing. */
static Status check_settings(const CurveStudy *s, const CurveSettings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        const char *equal = strchr(settings->item[i], '=');
        bool known = equal == NULL;

        for (size_t row = 0; row < s->table.n_row && !known; row++)
            known = str_equal(str_of(cell(s, row, "condition")), (Str){settings->item[i], (size_t)(equal - settings->item[i])});
        if (!known)
            return FAIL(LT_E_USAGE, "'%s': %s has no such condition", settings->item[i], s->path);
    }
    return LT_OK;
}

/* Without --learning: what the paper measured, if the condition has one of them and not both. */
static Status default_learning(const char **out, CurveStudy *s, const char *condition)
{
    static const char *const usual[] = {"humaneval:pass@1", "gsm8k:exact_match:strict-match"};

    *out = NULL;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        ScoreName name;
        bool here = false;

        TRY(read_score_name(s, &name, usual[i]));
        for (size_t row = 0; row < s->table.n_row && !here; row++)
            here = is(s, row, "condition", condition) && !is(s, row, "label", s->base) && names_row(s, row, &name);
        if (here && *out != NULL)
            return FAIL(LT_E_USAGE, "%s: condition '%s' has scores %s and %s: choose with --learning %s=TASK:METRIC", s->path, condition, *out, usual[i],
                        condition);
        *out = here ? usual[i] : *out;
    }
    if (*out == NULL)
        return FAIL(LT_E_USAGE, "%s: condition '%s' has no score %s or %s: name what is learned with --learning TASK:METRIC", s->path, condition, usual[0],
                    usual[1]);
    return LT_OK;
}

static Status read_panels(CurveStudy *s, const CurveOptions *o)
{
    TRY(ARENA_NEW(&s->arena, s->panel, s->table.n_row));
    for (size_t row = 0; row < s->table.n_row; row++) {
        const char *condition = cell(s, row, "condition"), *learning = curve_setting(&o->learning, condition);

        if (is(s, row, "label", s->base) || has_panel(s, condition) || (learning == NULL && o->learning.count > 0))
            continue;
        if (learning == NULL)
            TRY(default_learning(&learning, s, condition));
        TRY(read_panel(s, condition, learning, o));
    }
    if (s->n_panel == 0)
        return FAIL(LT_E_INPUT, "%s: expected checkpoints beside the base '%s', found none", s->path, s->base);
    return LT_OK;
}

Status curve_study_read(CurveStudy *s, const CurveOptions *o)
{
    StrBuf path;

    *s = (CurveStudy){0};
    arena_init(&s->arena);
    map_init(&s->labels);
    strbuf_init(&path);
    if (path_join(&path, o->results, "results.tsv") != LT_OK || (s->path = strbuf_steal(&path, NULL)) == NULL) {
        strbuf_release(&path);
        return LT_E_NOMEM;
    }
    TRY(tsv_read(&s->table, s->path));
    TRY(read_columns(s, o));
    TRY(index_labels(s));
    TRY(find_base(s, o->base));
    TRY(check_settings(s, &o->learning));
    TRY(check_settings(s, &o->reference));
    TRY(check_settings(s, &o->target));
    return read_panels(s, o);
}

void curve_study_release(CurveStudy *s)
{
    tsv_release(&s->table);
    arena_release(&s->arena);
    map_release(&s->labels);
    mem_free(s->path);
    *s = (CurveStudy){0};
}
