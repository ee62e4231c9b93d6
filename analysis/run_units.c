#include "analysis/run_units.h"

#include "analysis/run_file.h"
#include "core/regex.h"

#include <signal.h>
#include <time.h>

static volatile sig_atomic_t stop_asked;

void spectra_stop(void) { stop_asked = 1; }

/* ---- which matrices ------------------------------------------------------------------------------------------------------- */

static bool is_matrix(const ParamEntry *e) { return e->row->rows != DIM_ONE; }

/* Puts the entries whose names the expression is found in into `chosen`; *vector: one of them that is no matrix, and is left out. */
static Status choose(const ParamEntry **chosen, size_t *n, const ParamList *list, const Regex *regex, const ParamEntry **vector)
{
    RegexMatch match;
    StrBuf name;
    Status st = LT_OK;

    strbuf_init(&name);
    for (size_t i = 0; i < list->count; i++) {
        const ParamEntry *e = &list->entry[i];
        bool found = e->row->analysed;

        if (regex != NULL) {
            TRY_GOTO(param_name(e, &name), st, done);
            TRY_GOTO(regex_find(regex, strbuf_str(&name), 0, &match, &found), st, done);
        }
        if (found && is_matrix(e))
            chosen[(*n)++] = e;
        else if (found)
            *vector = e;
    }
done:
    strbuf_release(&name);
    return st;
}

static Status refuse_nothing(const char *modules, const ParamEntry *vector)
{
    StrBuf name;

    if (vector == NULL)
        return FAIL(LT_E_USAGE, "option '--modules': '%s' is found in no tensor's name ('model.layers.0.self_attn.q_proj.weight' is one)", modules);
    strbuf_init(&name);
    Status st = param_name(vector, &name);
    if (st == LT_OK)
        st = FAIL(LT_E_USAGE, "option '--modules': '%s' names no matrix: '%s' has one dimension, and no spectrum", modules, name.data);
    strbuf_release(&name);
    return st;
}

Status run_select(const ParamEntry ***out, size_t *n, const ParamList *list, const char *modules)
{
    const ParamEntry **chosen = NULL, *vector = NULL;
    Regex *regex = NULL;
    Status st;

    *n = 0;
    TRY_GOTO(MEM_NEW(chosen, list->count), st, done);
    if (modules != NULL && regex_compile(&regex, str_of(modules), REGEX_PLAIN) != LT_OK) {
        st = status_wrap(LT_E_USAGE, "option '--modules'");
        goto done;
    }
    TRY_GOTO(choose(chosen, n, list, regex, &vector), st, done);
    if (*n == 0)
        st = refuse_nothing(modules, vector);
    else if (vector != NULL)
        log_note("tensors of one dimension that --modules names are left out");
done:
    regex_free(regex);
    if (st == LT_OK)
        *out = chosen;
    else
        mem_free(chosen);
    return st;
}

/* ---- keys ----------------------------------------------------------------------------------------------------------------- */

static Status make_key(RunMatrix *m, const RunShared *s, const DeltaPair *pair)
{
    const bool product = delta_factors(pair, m->entry) != NULL;
    StrBuf text;
    Digest digest;
    Status st;

    strbuf_init(&text);
    strbuf_addf(&text, "lethe spectrum key\nnumerics %d\ndevice %s\nmethod %s\nname %s\n", SPECTRUM_NUMERICS, device_class(s->dev),
                product ? "product" : s->options->method == VALUES_SVD ? "svd" : "gram", m->name);
    if (s->options->vectors > 0)
        strbuf_addf(&text, "vectors %lld\n", (long long)s->options->vectors);
    TRY_GOTO(delta_identity(pair, m->entry, s->options->hash, &text), st, done);
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(sha256_of(text.data, text.len, &digest), st, done);
    m->key = digest_hex(&digest);
done:
    strbuf_release(&text);
    return st;
}

void run_matrices_free(RunMatrix *matrix, size_t n)
{
    for (size_t i = 0; matrix != NULL && i < n; i++)
        mem_free(matrix[i].name);
    mem_free(matrix);
}

Status run_matrices(RunMatrix **out, size_t *n_out, RunShared *s, const DeltaPair *pair, const ParamEntry *const *entry, size_t n)
{
    RunMatrix *matrix;
    size_t count = 0;
    StrBuf name;
    Status st = LT_OK;

    TRY(MEM_NEW(matrix, n));
    strbuf_init(&name);
    for (size_t i = 0; i < n; i++) {
        if (!delta_has(pair, entry[i]))
            continue;
        TRY_GOTO(param_name(entry[i], &name), st, done);
        matrix[count].entry = entry[i];
        TRY_GOTO((matrix[count].name = mem_strdup(name.data)) != NULL ? LT_OK : LT_E_NOMEM, st, done);
        count++;
        TRY_GOTO(make_key(&matrix[count - 1], s, pair), st, done);
    }
    if (count == 0)
        st = FAIL(LT_E_INPUT, "%s: the adapter changes none of the matrices that --modules names", pair->tuned.variant.place.given);
done:
    strbuf_release(&name);
    if (st != LT_OK) {
        run_matrices_free(matrix, n);
        return st;
    }
    *out = matrix;
    *n_out = count;
    return LT_OK;
}

/* ---- the loop ------------------------------------------------------------------------------------------------------------- */

/* A matrix on its way: claimed, read, taken apart. */
typedef struct Slot {
    const RunMatrix *matrix; /* NULL: empty */
    Claim claim;
    double *value; /* NULL where all are products */
    RunRecord record;
} Slot;

typedef struct Loop {
    RunShared *s;
    const DeltaPair *pair;
    const RunMatrix *matrix;
    size_t n, cursor;
    Slot slot[2], *now, *next;
    Progress progress;
} Loop;

size_t run_missing(const RunShared *s, const RunMatrix *matrix, size_t n)
{
    size_t missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += run_records_find(&s->records, matrix[i].key.text) == NULL;
    return missing;
}

static Status take_room(Loop *l)
{
    int64_t largest = 0, values = 0;

    for (size_t i = 0; i < l->n; i++) {
        const ParamEntry *e = l->matrix[i].entry;
        const int64_t q = e->rows < e->cols ? e->rows : e->cols;

        values = q > values ? q : values;
        if (delta_factors(l->pair, e) == NULL && e->rows * e->cols > largest)
            largest = e->rows * e->cols;
    }
    for (int i = 0; i < 2; i++) {
        TRY(MEM_NEW(l->slot[i].record.sigma, (size_t)values));
        if (largest > 0)
            TRY(MEM_NEW(l->slot[i].value, (size_t)largest));
    }
    return LT_OK;
}

static void drop_room(Loop *l)
{
    for (int i = 0; i < 2; i++) {
        claim_drop(&l->slot[i].claim);
        subspace_rows_release(&l->slot[i].record.subspaces);
        mem_free(l->slot[i].record.sigma);
        mem_free(l->slot[i].value);
    }
}

/* Whether the unit is ours to do. What another process has logged since we looked is read between taking the claim and saying so. */
static Status claim_unit(Loop *l, Slot *slot, const RunMatrix *m)
{
    RunShared *s = l->s;
    bool taken = true;

    if (run_records_find(&s->records, m->key.text) != NULL || l->now->matrix == m)
        return LT_OK;
    if (!s->options->fresh) {
        TRY(claim_take(&slot->claim, &s->claims, m->key.text, &taken));
        if (!taken)
            return LT_OK;
        TRY(run_records_refresh(&s->records, s->log_folder.data, s->log.path));
    }
    if (run_records_find(&s->records, m->key.text) != NULL) {
        claim_drop(&slot->claim);
        return LT_OK;
    }
    slot->matrix = m;
    slot->record.m = m->entry->rows;
    slot->record.n = m->entry->cols;
    return LT_OK;
}

/* Fills the slot with the next unit that is free, if there is one in what is left of this round. */
static Status next_unit(Loop *l, Slot *slot)
{
    slot->matrix = NULL;
    while (slot->matrix == NULL && l->cursor < l->n)
        TRY(claim_unit(l, slot, &l->matrix[l->cursor++]));
    return LT_OK;
}

static Status read_slot(const Loop *l, Slot *slot) { return delta_read(l->pair, slot->matrix->entry, slot->value, &slot->record.facts); }

/* How the change and the tuned matrix lie to the base. Of its own copies: the values have destroyed theirs. */
static Status compare_spaces(const Loop *l, Slot *slot)
{
    const RunRecord *r = &slot->record;
    const ParamEntry *a = delta_factors(l->pair, slot->matrix->entry);
    const int64_t total = r->m * r->n;
    double *base, *change;
    DeltaFacts facts;
    Status st;

    subspace_rows_release(&slot->record.subspaces);
    if (l->s->options->vectors == 0 || !(r->sigma[0] > 0))
        return LT_OK;
    TRY(MEM_NEW(base, (size_t)(2 * total)));
    change = base + total;
    if (a != NULL)
        matrix_product(change, a);
    else
        TRY_GOTO(delta_read(l->pair, slot->matrix->entry, change, &facts), st, done);
    TRY_GOTO(delta_read_base(l->pair, slot->matrix->entry, r->facts.cast, base), st, done);
    st = subspace_report(&slot->record.subspaces, l->s->dev, base, change, r->m, r->n, l->s->options->vectors);
done:
    mem_free(base);
    return st;
}

static Status decompose_slot(const Loop *l, Slot *slot)
{
    const ParamEntry *a = delta_factors(l->pair, slot->matrix->entry);
    RunRecord *r = &slot->record;
    Status st;

    if (a != NULL)
        st = matrix_product_values(l->s->dev, r->sigma, a);
    else
        st = matrix_values(l->s->dev, r->sigma, slot->value, r->m, r->n, l->s->options->method);
    if (st == LT_OK)
        st = compare_spaces(l, slot);
    return st == LT_OK ? st : status_wrap(st, "%s: '%s'", l->pair->tuned.variant.place.given, slot->matrix->name);
}

static Status step_task(void *context, int64_t index, int thread)
{
    const Loop *l = context;

    (void)thread;
    return index == 0 ? decompose_slot(l, l->now) : read_slot(l, l->next);
}

static Status log_slot(Loop *l, Slot *slot)
{
    RunShared *s = l->s;
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(run_record_write(&text, slot->matrix->key.text, slot->matrix->name, &slot->record), st, done);
    if (s->log.path == NULL)
        TRY_GOTO(appendlog_create(&s->log, s->log_folder.data), st, done);
    TRY_GOTO(appendlog_add(&s->log, strbuf_str(&text)), st, done);
    TRY_GOTO(run_records_add(&s->records, slot->matrix->key.text, &slot->record), st, done);
    claim_drop(&slot->claim);
    slot->matrix = NULL;
    progress_add(&l->progress, 1, 0, "");
done:
    strbuf_release(&text);
    return st;
}

/* Once through the units: those that are free are taken apart, each while the next is read. */
static Status one_round(Loop *l)
{
    l->cursor = 0;
    l->now = &l->slot[0];
    l->next = &l->slot[1];
    l->now->matrix = NULL;
    TRY(next_unit(l, l->now));
    if (l->now->matrix != NULL)
        TRY(read_slot(l, l->now));
    while (l->now->matrix != NULL) {
        TRY(next_unit(l, l->next));
        claim_touch(&l->now->claim);
        TRY(pool_run(l->s->pair_pool, l->next->matrix != NULL ? 2 : 1, step_task, l));
        TRY(log_slot(l, l->now));
        claim_touch(&l->next->claim);
        if (stop_asked)
            return FAIL(LT_E_INTERRUPTED, "interrupted; what is done is saved, and the same command goes on from there");
        Slot *done = l->now;
        l->now = l->next;
        l->next = done;
    }
    return LT_OK;
}

static Status all_rounds(Loop *l)
{
    const struct timespec pause = {0, 100000000};

    while (run_missing(l->s, l->matrix, l->n) > 0) {
        const size_t before = l->s->records.count;

        TRY(one_round(l));
        /* What is left is others': they finish it, or die and leave it. */
        if (l->s->records.count == before && run_missing(l->s, l->matrix, l->n) > 0) {
            if (stop_asked)
                return FAIL(LT_E_INTERRUPTED, "interrupted; what is done is saved, and the same command goes on from there");
            nanosleep(&pause, NULL);
            TRY(run_records_refresh(&l->s->records, l->s->log_folder.data, l->s->log.path));
        }
    }
    return l->s->log.path != NULL ? appendlog_sync(&l->s->log) : LT_OK;
}

Status run_units(RunShared *s, const DeltaPair *pair, const RunMatrix *matrix, size_t n, const char *label)
{
    Loop l = {.s = s, .pair = pair, .matrix = matrix, .n = n};
    Status st;

    if (s->claims.folder.len == 0)
        TRY(claims_open(&s->claims, s->claim_folder.data));
    if (s->pair_pool == NULL)
        TRY(pool_create(&s->pair_pool, 2));
    progress_start(&l.progress, label, run_missing(s, matrix, n));
    TRY_GOTO(take_room(&l), st, done);
    st = all_rounds(&l);
done:
    progress_end(&l.progress);
    drop_room(&l);
    return st;
}
