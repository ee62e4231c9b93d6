#include "analysis/run_table.h"

#include "analysis/gauss.h"
#include "analysis/rounding.h"
#include "analysis/spectrum.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- ranks.tsv ------------------------------------------------------------------------------------------------------------ */

static const char *const columns[] = {
    "label", "condition", "run", "method", "rank", "tokens", "epochs", "name", "module", "layer", "m", "n", "fro", "spectral", "relative",
    "r50", "r80", "r90", "r95", "r99", "r90_gauss", "stable_rank", "effective_rank", "energy_rank", "participation", "top16", "top64", "top256",
    "floor_share", "zero_share", "dtype", "base_dtype", "base_cast", "trusted_to", "verdict",
};
enum { N_COLUMN = sizeof columns / sizeof *columns };
static const double always[] = {.5, .8, .9, .95, .99}; /* thresholds that have a column whatever was asked */
enum { N_ALWAYS = sizeof always / sizeof *always, NAME_MAX_BYTES = 16 };

/* "r90", "r99.9". */
static void rank_column(char *out, double tau) { snprintf(out, NAME_MAX_BYTES, "r%.6g", tau * 100); }

static bool is_extra(double tau)
{
    char a[NAME_MAX_BYTES], b[NAME_MAX_BYTES];

    rank_column(a, tau);
    for (int i = 0; i < N_ALWAYS; i++) {
        rank_column(b, always[i]);
        if (strcmp(a, b) == 0)
            return false;
    }
    return true;
}

static Status init_ranks(Tsv *out, const SpectraOptions *o)
{
    char extra[RUN_MAX_THRESHOLDS][NAME_MAX_BYTES];
    const char *all[N_COLUMN + RUN_MAX_THRESHOLDS];
    size_t n = N_COLUMN;

    memcpy(all, columns, sizeof columns);
    for (int i = 0; i < o->n_threshold; i++)
        if (is_extra(o->threshold[i])) {
            rank_column(extra[i], o->threshold[i]);
            all[n++] = extra[i];
        }
    return tsv_init(out, all, n);
}

static Status set_text(Tsv *t, const char *column, const char *value) { return tsv_set(t, t->n_row - 1, column, str_of(value)); }
static Status set_int(Tsv *t, const char *column, int64_t value) { return tsv_set_int(t, t->n_row - 1, column, value); }
static Status set_real(Tsv *t, const char *column, double value) { return tsv_set_double(t, t->n_row - 1, column, value); }

static Status set_origin(Tsv *t, const RunName *name)
{
    TRY(set_text(t, "label", name->label));
    TRY(set_text(t, "condition", name->condition));
    TRY(set_text(t, "run", name->run));
    TRY(set_text(t, "method", name->method));
    TRY(set_text(t, "rank", name->rank));
    TRY(set_text(t, "tokens", name->tokens));
    return set_text(t, "epochs", name->epochs);
}

static Status set_sizes(Tsv *t, const RunMatrix *matrix, const RunRecord *r, const SpectrumStats *s)
{
    TRY(set_text(t, "name", matrix->name));
    TRY(set_text(t, "module", matrix->entry->row->module));
    if (matrix->entry->layer >= 0)
        TRY(set_int(t, "layer", matrix->entry->layer));
    TRY(set_int(t, "m", r->m));
    TRY(set_int(t, "n", r->n));
    TRY(set_real(t, "fro", s->fro));
    TRY(set_real(t, "spectral", s->spectral));
    return set_real(t, "relative", r->facts.base_fro > 0 ? s->fro / r->facts.base_fro : (double)NAN);
}

static Status set_rank(Tsv *t, const RunRecord *r, int64_t q, double tau)
{
    char column[NAME_MAX_BYTES];

    rank_column(column, tau);
    return set_int(t, column, spectrum_threshold(r->sigma, q, tau).k);
}

static Status set_ranks(Tsv *t, const SpectraOptions *o, const RunRecord *r, int64_t q, const SpectrumStats *s)
{
    for (int i = 0; i < N_ALWAYS; i++)
        TRY(set_rank(t, r, q, always[i]));
    for (int i = 0; i < o->n_threshold; i++)
        TRY(set_rank(t, r, q, o->threshold[i]));
    TRY(set_real(t, "r90_gauss", gauss_rank(r->m, r->n, .9)));
    TRY(set_real(t, "stable_rank", s->stable_rank));
    TRY(set_real(t, "effective_rank", s->effective_rank));
    TRY(set_real(t, "energy_rank", s->energy_rank));
    TRY(set_real(t, "participation", s->participation));
    TRY(set_real(t, "top16", spectrum_share(r->sigma, q, 16)));
    TRY(set_real(t, "top64", spectrum_share(r->sigma, q, 64)));
    return set_real(t, "top256", spectrum_share(r->sigma, q, 256));
}

static Status set_trust(Tsv *t, const SpectraOptions *o, const RunRecord *r, double fro)
{
    const DeltaFacts *f = &r->facts;
    double trusted_to;
    const Verdict verdict = rounding_verdict(f->noise, fro * fro, o->threshold, o->n_threshold, &trusted_to);

    TRY(set_real(t, "floor_share", verdict == VERDICT_ZERO ? (double)NAN : f->noise / (fro * fro)));
    TRY(set_real(t, "zero_share", f->zero_share));
    TRY(set_text(t, "dtype", dtype_name(f->dtype)));
    TRY(set_text(t, "base_dtype", dtype_name(f->base_dtype)));
    TRY(set_text(t, "base_cast", delta_cast_name(f->cast)));
    TRY(set_real(t, "trusted_to", trusted_to));
    return set_text(t, "verdict", verdict_name(verdict));
}

static Status add_row(Tsv *t, const RunResult *result, const RunMatrix *matrix)
{
    const RunRecord *r = run_records_find(result->records, matrix->key.text);

    BUG_IF(r == NULL);
    const int64_t q = r->m < r->n ? r->m : r->n;
    const SpectrumStats s = spectrum_stats(r->sigma, q);

    TRY(tsv_row(t));
    TRY(set_origin(t, result->name));
    TRY(set_sizes(t, matrix, r, &s));
    TRY(set_ranks(t, result->options, r, q, &s));
    return set_trust(t, result->options, r, s.fro);
}

Status run_ranks(Tsv *out, const RunResult *r)
{
    TRY(init_ranks(out, r->options));
    for (size_t i = 0; i < r->n_matrix; i++) {
        const Status st = add_row(out, r, &r->matrix[i]);
        if (st != LT_OK) {
            tsv_release(out);
            return st;
        }
    }
    return LT_OK;
}

/* ---- for people ----------------------------------------------------------------------------------------------------------- */

static double number(const Tsv *t, size_t row, const char *column)
{
    const char *cell = tsv_get(t, row, column);

    return cell != NULL && cell[0] != '\0' ? strtod(cell, NULL) : (double)NAN;
}

/* "17", or "(17)" where rounding does not allow it. */
static bool add_rank(StrBuf *out, const Tsv *t, size_t row, double tau)
{
    char column[NAME_MAX_BYTES], cell[48];
    const bool allowed = tau <= number(t, row, "trusted_to") || strcmp(tsv_get(t, row, "verdict"), "zero") == 0;

    rank_column(column, tau);
    snprintf(cell, sizeof cell, allowed ? "%s" : "(%s)", tsv_get(t, row, column));
    strbuf_addf(out, " %7s", cell);
    return allowed;
}

static void add_cell(StrBuf *out, double x, const char *format, int width)
{
    char cell[48];

    snprintf(cell, sizeof cell, format, x);
    strbuf_addf(out, " %*s", width, isnan(x) ? "-" : cell);
}

/* The tensor's path without what all of them share. */
static Str short_name(const char *name)
{
    Str s = str_of(name);

    if (str_starts(s, str_of("model.")))
        s = str_slice(s, 6, s.len);
    return str_ends(s, str_of(".weight")) ? str_slice(s, 0, s.len - 7) : s;
}

static bool add_line(StrBuf *out, const Tsv *t, size_t row, int width)
{
    const Str name = short_name(tsv_get(t, row, "name"));
    char shape[48];
    bool allowed = true;

    snprintf(shape, sizeof shape, "%s x %s", tsv_get(t, row, "m"), tsv_get(t, row, "n"));
    strbuf_addf(out, "%-*.*s %15s", width, (int)name.len, name.data, shape);
    add_cell(out, number(t, row, "relative"), "%.2e", 9);
    for (int i = 0; i < N_ALWAYS; i++)
        allowed = add_rank(out, t, row, always[i]) && allowed;
    add_cell(out, number(t, row, "r90") / number(t, row, "r90_gauss"), "%.2f", 9);
    add_cell(out, number(t, row, "stable_rank"), "%.1f", 7);
    add_cell(out, number(t, row, "effective_rank"), "%.1f", 9);
    add_cell(out, number(t, row, "floor_share"), "%.1e", 8);
    strbuf_addf(out, "  %s\n", tsv_get(t, row, "verdict"));
    return allowed;
}

Status run_table_console(StrBuf *out, const RunResult *r, const Tsv *ranks)
{
    int width = 6;
    bool allowed = true;

    for (size_t i = 0; i < ranks->n_row; i++) {
        const Str name = short_name(tsv_get(ranks, i, "name"));
        width = (int)name.len > width ? (int)name.len : width;
    }
    strbuf_addf(out, "%s\n%-*s %15s %9s %7s %7s %7s %7s %7s %9s %7s %9s %8s  %s\n", r->name->label, width, "matrix", "shape", "relative", "r50", "r80", "r90",
                "r95", "r99", "r90/noise", "stable", "effective", "floor", "verdict");
    for (size_t i = 0; i < ranks->n_row; i++)
        allowed = add_line(out, ranks, i, width) && allowed;
    if (!allowed)
        strbuf_add_text(out, "(ranks in parentheses: more of the change than they leave over may be rounding)\n");
    return strbuf_status(out);
}

static bool is_text(const char *column)
{
    static const char *const text[] = {"label", "condition", "run", "method", "name", "module", "dtype", "base_dtype", "base_cast", "verdict"};

    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        if (strcmp(column, text[i]) == 0)
            return true;
    return false;
}

static json_t *cell_json(const char *column, const char *cell)
{
    if (is_text(column))
        return json_string(cell);
    if (cell[0] == '\0')
        return json_null();
    const double x = strtod(cell, NULL);
    return strpbrk(cell, ".eE") == NULL ? json_integer((json_int_t)x) : json_real(x);
}

Status run_table_json(json_t **out, const RunResult *r, const Tsv *ranks)
{
    json_t *root = json_pack("{s:s, s:s, s:[]}", "label", r->name->label, "path", r->name->path, "matrices"), *list;
    Status st = LT_OK;

    if (root == NULL)
        return FAIL(LT_E_NOMEM, "out of memory");
    list = json_object_get(root, "matrices");
    for (size_t i = 0; i < ranks->n_row; i++) {
        json_t *row = json_object();

        TRY_GOTO(json_push(list, row), st, failed);
        for (size_t c = 0; c < ranks->n_column; c++)
            TRY_GOTO(json_put(row, ranks->column[c], cell_json(ranks->column[c], tsv_get(ranks, i, ranks->column[c]))), st, failed);
    }
    *out = root;
    return LT_OK;
failed:
    json_decref(root);
    return st;
}
