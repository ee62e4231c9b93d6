#include "analysis/delta.h"

#include "analysis/rounding.h"
#include "model/convert.h"
#include "model/findings.h"

#include <math.h>

void delta_close(DeltaPair *pair)
{
    factors_free(pair->factors);
    matrix_folder_close(&pair->tuned);
    *pair = (DeltaPair){0};
}

static const ParamEntry *factors_of(const DeltaPair *pair, const ParamEntry *entry)
{
    return pair->factors != NULL ? params_find_factors(&pair->factors->params, entry->row->id, entry->layer) : NULL;
}

bool delta_has(const DeltaPair *pair, const ParamEntry *entry)
{
    return pair->factors == NULL || pair->settings.of == DELTA_OF_WEIGHTS || factors_of(pair, entry) != NULL;
}

const ParamEntry *delta_factors(const DeltaPair *pair, const ParamEntry *entry)
{
    return pair->settings.of == DELTA_OF_DELTA ? factors_of(pair, entry) : NULL;
}

const char *delta_cast_name(DeltaCast cast)
{
    BUG_IF(cast == DELTA_CAST_AUTO);
    return cast == DELTA_CAST_NONE ? "none" : cast == DELTA_CAST_BF16 ? "bf16" : "f16";
}

/* ---- do the two sides fit ------------------------------------------------------------------------------------------------- */

static void compare_places(Findings *bad, Str name, const StTensor *base, const StTensor *tuned)
{
    const bool same = base != NULL && tuned != NULL && base->rank == tuned->rank && base->rank == 2 && base->shape[0] == tuned->shape[0] &&
                      base->shape[1] == tuned->shape[1];

    if (same || !findings_next(bad))
        return;
    if (base == NULL || tuned == NULL)
        strbuf_addf(&bad->text, "'" STR_FORMAT "' is missing in the %s", STR_ARG(name), base == NULL ? "base" : "tuned model");
    else
        strbuf_addf(&bad->text, "'" STR_FORMAT "': shape [%lld,%lld] expected, as in the base, [%lld,%lld] found", STR_ARG(name),
                    (long long)base->shape[0], (long long)base->shape[1], (long long)tuned->shape[0], (long long)tuned->shape[1]);
}

Status delta_check(const DeltaPair *pair, const ParamEntry *const *entry, size_t n)
{
    const Checkpoint *base = pair->base->variant.checkpoint, *tuned = pair->tuned.variant.checkpoint;
    const StFile *unused;
    Findings bad;
    StrBuf name;
    Status st;

    findings_init(&bad);
    strbuf_init(&name);
    for (size_t i = 0; i < n; i++) {
        TRY_GOTO(param_name(entry[i], &name), st, done);
        compare_places(&bad, strbuf_str(&name), st_set_find(&base->set, strbuf_str(&name), &unused),
                       st_set_find(&tuned->set, strbuf_str(&name), &unused));
    }
    TRY_GOTO(findings_finish(&bad), st, done);
    if (bad.count > 0)
        st = FAIL(LT_E_INPUT, "%s: not a fine-tune of '%s': %s; --modules may leave matrices out", pair->tuned.variant.place.given,
                  pair->base->variant.place.given, bad.text.data);
done:
    strbuf_release(&name);
    findings_release(&bad);
    return st;
}

/* ---- differences ---------------------------------------------------------------------------------------------------------- */

/* One matrix on both sides, and room for a run of it. */
typedef struct Walk {
    const DeltaPair *pair;
    const ParamEntry *entry;
    MatrixPlace base, tuned;
    DType cast_to;  /* what the base would be cast to */
    bool base_noise;
    struct Room {
        float raw[MATRIX_RUN], tuned[MATRIX_RUN], base[MATRIX_RUN], cast[MATRIX_RUN];
        double wide[MATRIX_RUN];
    } *room;
} Walk;

typedef struct Sums {
    int64_t zero, zero_cast;     /* zeros in the difference; those that the cast would give */
    double energy, energy_cast;  /* of the difference, likewise */
    double noise, base2;
    bool masters;                /* some values are not rounded, so that zeros say nothing */
} Sums;

static void cast_run(float *to, const float *from, DType dtype, int64_t n, void *narrow)
{
    bool lossy = false;

    weights_convert(narrow, dtype, from, LT_F32, n, &lossy);
    weights_convert(to, LT_F32, narrow, dtype, n, &lossy);
}

static double energy_of(const float *x, int64_t n, DType dtype, double *wide)
{
    for (int64_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    return rounding_energy(wide, n, dtype);
}

/* Adds elements [from, from + n) of the difference to the sums, with the base cast or not. value: NULL, or where they go. */
static Status walk_run(const Walk *w, bool cast, int64_t from, int64_t n, double *value, Sums *s)
{
    struct Room *r = w->room;
    const float *base = cast ? r->cast : r->base;

    TRY(matrix_read(r->tuned, &w->tuned, from, n, r->raw));
    TRY(matrix_read(r->base, &w->base, from, n, r->raw));
    if (w->pair->factors != NULL && factors_touch(w->pair->factors, w->entry))
        factors_add(w->pair->factors, w->entry, from, r->tuned, n);
    cast_run(r->cast, r->base, w->cast_to, n, r->raw);
    s->noise += energy_of(r->tuned, n, w->tuned.dtype, r->wide);
    if (w->base_noise)
        s->noise += energy_of(r->base, n, w->base.stored, r->wide);
    for (int64_t i = 0; i < n; i++) {
        const double x = w->pair->settings.of == DELTA_OF_WEIGHTS ? (double)r->tuned[i] : (double)r->tuned[i] - (double)base[i];

        const double if_cast = (double)r->tuned[i] - (double)r->cast[i];

        if (value != NULL)
            value[from + i] = x;
        s->energy += x * x;
        s->energy_cast += if_cast * if_cast;
        s->base2 += (double)base[i] * (double)base[i];
        s->zero += x >= 0 && x <= 0;
        s->zero_cast += if_cast >= 0 && if_cast <= 0;
    }
    return LT_OK;
}

static Status walk_all(const Walk *w, bool cast, double *value, Sums *s)
{
    const int64_t total = w->base.rows * w->base.cols;

    *s = (Sums){0};
    for (int64_t from = 0; from < total; from += MATRIX_RUN)
        TRY(walk_run(w, cast, from, total - from < MATRIX_RUN ? total - from : MATRIX_RUN, value, s));
    return LT_OK;
}

static bool is_narrow(DType dtype) { return dtype == LT_BF16 || dtype == LT_F16; }

/* Whether there is a choice: the tuned matrix is stored in a narrow type that the base's values are not in already. */
static bool may_cast(const Walk *w) { return is_narrow(w->tuned.stored) && w->base.dtype != w->tuned.stored; }

static Status walk_matrix(Walk *w, double *value, DeltaFacts *facts)
{
    const DeltaSettings *set = &w->pair->settings;
    const bool weights = set->of == DELTA_OF_WEIGHTS; /* to which the base's type is nothing */
    const bool forced = set->cast == DELTA_CAST_BF16 || set->cast == DELTA_CAST_F16, cast = !weights && (forced || (w->pair->casts && may_cast(w)));
    Sums s;

    w->cast_to = forced ? (set->cast == DELTA_CAST_BF16 ? LT_BF16 : LT_F16) : w->tuned.stored;
    w->base_noise = !weights && !cast && set->cast != DELTA_CAST_AUTO && w->base.dtype != w->base.stored && w->tuned.dtype == w->tuned.stored;
    TRY(walk_all(w, cast, value, &s));
    *facts = (DeltaFacts){
        .dtype = w->tuned.dtype,
        .base_dtype = w->base.dtype,
        .cast = !cast ? DELTA_CAST_NONE : w->cast_to == LT_BF16 ? DELTA_CAST_BF16 : DELTA_CAST_F16,
        .zero_share = (double)s.zero / (double)(w->base.rows * w->base.cols),
        .noise = set->exact ? 0 : s.noise,
        .base_fro = sqrt(s.base2),
    };
    return LT_OK;
}

/* ---- products ------------------------------------------------------------------------------------------------------------- */

static bool zero_row(const ParamEntry *e, int64_t row)
{
    const float *x = (const float *)e->value.data + row * e->cols;

    for (int64_t j = 0; j < e->cols; j++)
        if (x[j] < 0 || x[j] > 0)
            return false;
    return true;
}

static bool zero_col(const ParamEntry *e, int64_t col)
{
    const float *x = e->value.data;

    for (int64_t i = 0; i < e->rows; i++)
        if (x[i * e->cols + col] < 0 || x[i * e->cols + col] > 0)
            return false;
    return true;
}

/* Of B A: entries in a row where B is zero, or in a column where A is. */
static double product_zero_share(const ParamEntry *a)
{
    const ParamEntry *b = a + 1;
    int64_t rows = 0, cols = 0;

    if (a->scale >= 0 && a->scale <= 0)
        return 1;
    for (int64_t i = 0; i < b->rows; i++)
        rows += !zero_row(b, i);
    for (int64_t j = 0; j < a->cols; j++)
        cols += !zero_col(a, j);
    return 1 - (double)rows / (double)b->rows * ((double)cols / (double)a->cols);
}

static Status product_facts(Walk *w, const ParamEntry *a, DeltaFacts *facts)
{
    const Variant *v = &w->pair->tuned.variant;
    const int64_t total = w->base.rows * w->base.cols;
    const StTensor *t;
    double base2 = 0;
    StrBuf name;

    for (int64_t from = 0, n; from < total; from += n) {
        n = total - from < MATRIX_RUN ? total - from : MATRIX_RUN;
        TRY(matrix_read(w->room->base, &w->base, from, n, w->room->raw));
        for (int64_t i = 0; i < n; i++)
            base2 += (double)w->room->base[i] * (double)w->room->base[i];
    }
    *facts = (DeltaFacts){.base_dtype = w->base.dtype, .cast = DELTA_CAST_NONE, .zero_share = product_zero_share(a), .base_fro = sqrt(base2)};
    strbuf_init(&name);
    const Status st = param_name(a, &name);
    if (st == LT_OK) {
        t = adapter_folder_tensor(v->folder, strbuf_str(&name));
        BUG_IF(t == NULL || !st_dtype(t, &facts->dtype)); /* factors_read has read it */
    }
    strbuf_release(&name);
    return st;
}

/* ---- both ----------------------------------------------------------------------------------------------------------------- */

static Status find_places(Walk *w, const DeltaPair *pair, const ParamEntry *entry)
{
    MatrixFolder bare = *pair->base; /* a view */
    StrBuf name;
    Status st;

    bare.master.path = NULL;
    *w = (Walk){.pair = pair, .entry = entry};
    strbuf_init(&name);
    st = param_name(entry, &name);
    if (st == LT_OK)
        st = matrix_folder_find(&w->base, pair->stored ? &bare : pair->base, strbuf_str(&name));
    if (st == LT_OK)
        st = matrix_folder_find(&w->tuned, &pair->tuned, strbuf_str(&name));
    strbuf_release(&name);
    return st;
}

Status delta_read(const DeltaPair *pair, const ParamEntry *entry, double *value, DeltaFacts *facts)
{
    const ParamEntry *a = delta_factors(pair, entry);
    Walk w;

    TRY(find_places(&w, pair, entry));
    TRY(MEM_NEW(w.room, 1));
    const Status st = a != NULL ? product_facts(&w, a, facts) : walk_matrix(&w, value, facts);
    mem_free(w.room);
    return st;
}

static Status copy_base(const Walk *w, DeltaCast cast, double *value)
{
    const int64_t total = w->base.rows * w->base.cols;
    struct Room *r = w->room;

    for (int64_t from = 0, n; from < total; from += n) {
        n = total - from < MATRIX_RUN ? total - from : MATRIX_RUN;
        TRY(matrix_read(r->base, &w->base, from, n, r->raw));
        if (cast != DELTA_CAST_NONE)
            cast_run(r->base, r->base, cast == DELTA_CAST_BF16 ? LT_BF16 : LT_F16, n, r->raw);
        for (int64_t i = 0; i < n; i++)
            value[from + i] = (double)r->base[i];
    }
    return LT_OK;
}

Status delta_read_base(const DeltaPair *pair, const ParamEntry *entry, DeltaCast cast, double *value)
{
    Walk w;

    TRY(find_places(&w, pair, entry));
    TRY(MEM_NEW(w.room, 1));
    const Status st = copy_base(&w, cast, value);
    mem_free(w.room);
    return st;
}

Status delta_identity(const DeltaPair *pair, const ParamEntry *entry, FileHashMode mode, StrBuf *out)
{
    const DeltaSettings *s = &pair->settings;
    Digest adapter;
    Walk w;

    TRY(find_places(&w, pair, entry));
    strbuf_addf(out, "of %d cast %d %d stored %d exact %d\n", (int)s->of, (int)s->cast, (int)pair->casts, (int)pair->stored,
                (int)s->exact);
    TRY(matrix_place_digest(out, &w.base, mode));
    TRY(matrix_place_digest(out, &w.tuned, mode));
    if (pair->factors != NULL) {
        TRY(adapter_folder_digest(pair->tuned.variant.folder, mode, &adapter));
        const DigestHex hex = digest_hex(&adapter);
        strbuf_addf(out, "adapter %s\n", hex.text);
    }
    return strbuf_status(out);
}

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

/* Adds the beginning of a matrix to the sums that decide where training began. What does not fit together is delta_check's to report. */
static Status sample_matrix(const DeltaPair *pair, const ParamEntry *entry, struct Room *room, Sums *s)
{
    const Checkpoint *base = pair->base->variant.checkpoint, *tuned = pair->tuned.variant.checkpoint;
    Sums one = {0};
    Walk w;

    if (param_dim(&base->cfg, entry->row->rows) != param_dim(&tuned->cfg, entry->row->rows) ||
        param_dim(&base->cfg, entry->row->cols) != param_dim(&tuned->cfg, entry->row->cols) || entry->layer >= tuned->cfg.num_hidden_layers ||
        !param_present(&tuned->cfg, entry->row->presence))
        return LT_OK;
    TRY(find_places(&w, pair, entry));
    if (!may_cast(&w) && pair->base->master.path == NULL)
        return LT_OK;
    const int64_t total = w.base.rows * w.base.cols;
    w.room = room;
    w.cast_to = w.tuned.stored;
    TRY(walk_run(&w, false, 0, total < MATRIX_RUN ? total : MATRIX_RUN, NULL, &one));
    s->masters = s->masters || w.tuned.dtype != w.tuned.stored;
    s->zero += one.zero;
    s->zero_cast += one.zero_cast;
    s->energy += one.energy;
    s->energy_cast += one.energy_cast;
    return LT_OK;
}

/* By the same matrices whichever are asked for, so that a matrix has one result. */
static Status sample_all(const DeltaPair *pair, const ParamList *list, struct Room *room, Sums *s)
{
    *s = (Sums){0};
    for (size_t i = 0; i < list->count; i++)
        if (list->entry[i].row->analysed)
            TRY(sample_matrix(pair, &list->entry[i], room, s));
    return LT_OK;
}

static bool cast_helps(const Sums *s) { return s->energy_cast < s->energy && (s->zero_cast > s->zero || s->masters); }

static double least_energy(const Sums *s) { return cast_helps(s) ? s->energy_cast : s->energy; }

static Status settle_start(DeltaPair *pair)
{
    struct Room *room = NULL;
    ParamList list;
    Sums s, stored;
    Status st;

    if (pair->factors != NULL || pair->settings.of == DELTA_OF_WEIGHTS || pair->settings.cast != DELTA_CAST_AUTO)
        return LT_OK;
    TRY(params_build(&list, &pair->base->variant.checkpoint->cfg));
    TRY_GOTO(MEM_NEW(room, 1), st, done);
    TRY_GOTO(sample_all(pair, &list, room, &s), st, done);
    pair->casts = cast_helps(&s);
    if (pair->base->master.path == NULL)
        goto done;
    pair->stored = true;
    TRY_GOTO(sample_all(pair, &list, room, &stored), st, done);
    pair->stored = least_energy(&stored) < least_energy(&s);
    if (pair->stored)
        pair->casts = cast_helps(&stored);
done:
    mem_free(room);
    params_release(&list);
    return st;
}

static Status open_factors(DeltaPair *pair)
{
    const Variant *v = &pair->tuned.variant;

    return v->folder != NULL ? factors_read(&pair->factors, v->folder, &v->checkpoint->cfg) : LT_OK;
}

Status delta_open(DeltaPair *pair, const MatrixFolder *base, const char *tuned, const DeltaSettings *settings)
{
    *pair = (DeltaPair){.base = base, .settings = *settings};
    TRY(matrix_folder_open(&pair->tuned, tuned, base->variant.place.given));
    Status st = open_factors(pair);
    if (st == LT_OK)
        st = settle_start(pair);
    if (st != LT_OK)
        delta_close(pair);
    return st;
}
