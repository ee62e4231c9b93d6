/* Bringing the files of one checkpoint up to date, so that whatever kills a process, and however many share OUT, the same command run again leaves
 * what an undisturbed one leaves: the singular values come first, ranks.tsv is last and says that the rest is there. */
#include "analysis/run_table.h"

#include "core/folderlock.h"

#include <math.h>

/* ---- tables that several labels share ------------------------------------------------------------------------------------- */

static bool is_label(const Tsv *t, size_t row, const char *label)
{
    const char *cell = tsv_get(t, row, "label");
    return cell != NULL && strcmp(cell, label) == 0;
}

static bool same_row(const Tsv *a, size_t row_a, const Tsv *b, size_t row_b)
{
    for (size_t c = 0; c < b->n_column; c++) {
        const char *x = tsv_get(a, row_a, b->column[c]);
        if (x == NULL || strcmp(x, tsv_get(b, row_b, b->column[c])) != 0)
            return false;
    }
    return true;
}

/* Whether the label's rows in `old` are those of `fresh`. */
static bool has_rows(const Tsv *old, const Tsv *fresh, const char *label)
{
    size_t n = 0;

    for (size_t i = 0; i < old->n_row; i++) {
        if (!is_label(old, i, label))
            continue;
        if (n == fresh->n_row || !same_row(old, i, fresh, n))
            return false;
        n++;
    }
    return n == fresh->n_row;
}

static Status copy_row(Tsv *to, const Tsv *from, size_t row)
{
    TRY(tsv_row(to));
    for (size_t c = 0; c < from->n_column; c++)
        TRY(tsv_set(to, to->n_row - 1, from->column[c], str_of(tsv_get(from, row, from->column[c]))));
    return LT_OK;
}

static Status copy_rows(Tsv *to, const Tsv *from)
{
    for (size_t i = 0; i < from->n_row; i++)
        TRY(copy_row(to, from, i));
    return LT_OK;
}

static bool has_column(const Tsv *t, const char *name)
{
    for (size_t c = 0; c < t->n_column; c++)
        if (strcmp(t->column[c], name) == 0)
            return true;
    return false;
}

/* The columns of `fresh`, then those that only `old` has. */
static Status join_columns(Tsv *out, const Tsv *old, const Tsv *fresh)
{
    const char **all;
    size_t n = 0;

    TRY(MEM_NEW(all, old->n_column + fresh->n_column));
    for (size_t c = 0; c < fresh->n_column; c++)
        all[n++] = fresh->column[c];
    for (size_t c = 0; c < old->n_column; c++)
        if (!has_column(fresh, old->column[c]))
            all[n++] = old->column[c];
    const Status st = tsv_init(out, all, n);
    mem_free(all);
    return st;
}

/* The rows of `fresh` in the place of the label's old ones, else at the end. */
static Status join_rows(Tsv *out, const Tsv *old, const Tsv *fresh, const char *label)
{
    bool placed = false;

    TRY(join_columns(out, old, fresh));
    for (size_t i = 0; i < old->n_row; i++) {
        if (!is_label(old, i, label)) {
            TRY(copy_row(out, old, i));
        } else if (!placed) {
            TRY(copy_rows(out, fresh));
            placed = true;
        }
    }
    return placed ? LT_OK : copy_rows(out, fresh);
}

static Status update_table(const char *path, const Tsv *fresh, const char *label)
{
    Tsv old = {0}, joined = {0};
    Status st;

    if (!file_exists(path))
        return tsv_write(fresh, path);
    TRY(tsv_read(&old, path));
    st = has_rows(&old, fresh, label) ? LT_OK : join_rows(&joined, &old, fresh, label);
    if (st == LT_OK && joined.n_column > 0)
        st = tsv_write(&joined, path);
    tsv_release(&joined);
    tsv_release(&old);
    return st;
}

/* ---- singular values ------------------------------------------------------------------------------------------------------ */

enum { SHOWN = 256 };

/* At most SHOWN of 1..q, all of them if they fit, else as evenly spread on a logarithmic axis as whole numbers allow. */
static Status add_spectrum(Tsv *t, const char *label, const char *name, const double *sigma, int64_t q)
{
    int64_t last = 0;

    for (int i = 0; i < SHOWN && last < q; i++) {
        const int64_t spread = q <= SHOWN ? i + 1 : (int64_t)llround(exp(log((double)q) * i / (SHOWN - 1)));
        if (spread == last)
            continue;
        last = spread;
        TRY(tsv_row(t));
        TRY(tsv_set(t, t->n_row - 1, "label", str_of(label)));
        TRY(tsv_set(t, t->n_row - 1, "name", str_of(name)));
        TRY(tsv_set_int(t, t->n_row - 1, "index", last));
        TRY(tsv_set_double(t, t->n_row - 1, "sigma", sigma[last - 1]));
    }
    return LT_OK;
}

static Status make_spectra(Tsv *out, const RunResult *r)
{
    static const char *const columns[] = {"label", "name", "index", "sigma"};

    TRY(tsv_init(out, columns, 4));
    for (size_t i = 0; i < r->n_matrix; i++) {
        const RunRecord *record = run_records_find(r->records, r->matrix[i].key.text);
        TRY(add_spectrum(out, r->name->label, r->matrix[i].name, record->sigma, record->m < record->n ? record->m : record->n));
    }
    return LT_OK;
}

/* ---- subspaces ------------------------------------------------------------------------------------------------------------ */

static Status add_subspace(Tsv *t, const char *label, const char *name, const SubspaceRow *row)
{
    TRY(tsv_row(t));
    const size_t at = t->n_row - 1;
    TRY(tsv_set(t, at, "label", str_of(label)));
    TRY(tsv_set(t, at, "name", str_of(name)));
    TRY(tsv_set(t, at, "quantity", str_of(row->quantity)));
    TRY(tsv_set(t, at, "side", str_of(row->side)));
    if (row->k > 0)
        TRY(tsv_set_int(t, at, "k", row->k));
    if (row->index > 0)
        TRY(tsv_set_int(t, at, "index", row->index));
    TRY(tsv_set_double(t, at, "epsilon", row->epsilon));
    TRY(tsv_set_double(t, at, "value", row->value));
    return tsv_set_double(t, at, "chance", row->chance);
}

static Status make_subspaces(Tsv *out, const RunResult *r)
{
    static const char *const columns[] = {"label", "name", "quantity", "side", "k", "index", "epsilon", "value", "chance"};

    TRY(tsv_init(out, columns, sizeof columns / sizeof *columns));
    for (size_t i = 0; i < r->n_matrix; i++) {
        const SubspaceRows *rows = &run_records_find(r->records, r->matrix[i].key.text)->subspaces;

        for (size_t k = 0; k < rows->count; k++)
            TRY(add_subspace(out, r->name->label, r->matrix[i].name, &rows->row[k]));
    }
    return LT_OK;
}

/* ---- all values ----------------------------------------------------------------------------------------------------------- */

static Status write_values(const char *path, const RunResult *r)
{
    StWrite *tensor;

    TRY(MEM_NEW(tensor, r->n_matrix));
    for (size_t i = 0; i < r->n_matrix; i++) {
        const RunRecord *record = run_records_find(r->records, r->matrix[i].key.text);
        tensor[i] = (StWrite){.name = r->matrix[i].name, .dtype = "F64", .rank = 1, .shape = {record->m < record->n ? record->m : record->n},
                              .data = record->sigma};
    }
    const Status st = st_write(path, tensor, r->n_matrix, NULL, 0);
    mem_free(tensor);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

typedef struct Places {
    StrBuf folder, values, spectra, subspaces, ranks;
} Places;

static Status places_find(Places *p, const RunResult *r)
{
    char name[512];

    strbuf_init(&p->folder);
    strbuf_init(&p->values);
    strbuf_init(&p->spectra);
    strbuf_init(&p->subspaces);
    strbuf_init(&p->ranks);
    snprintf(name, sizeof name, "%s.safetensors", r->name->folder);
    TRY(path_join(&p->folder, r->options->out, "spectra"));
    TRY(path_join(&p->values, p->folder.data, name));
    TRY(path_join(&p->spectra, r->options->out, "spectra.tsv"));
    TRY(path_join(&p->subspaces, r->options->out, "subspaces.tsv"));
    return path_join(&p->ranks, r->options->out, "ranks.tsv");
}

static void places_release(Places *p)
{
    strbuf_release(&p->ranks);
    strbuf_release(&p->subspaces);
    strbuf_release(&p->spectra);
    strbuf_release(&p->values);
    strbuf_release(&p->folder);
}

/* Whether the table at `path` has the label's rows as they are in `fresh`. */
static Status is_current(const char *path, const Tsv *fresh, const RunResult *r, bool *current)
{
    Tsv old = {0};

    *current = file_exists(path);
    if (!*current)
        return LT_OK;
    TRY(tsv_read(&old, path));
    *current = has_rows(&old, fresh, r->name->label);
    tsv_release(&old);
    return LT_OK;
}

/* ranks.tsv is written last and stands for the rest, but for the subspaces, which it does not tell of. */
static Status all_current(const Places *p, const RunResult *r, const Tsv *ranks, bool *done)
{
    Tsv subspaces = {0};
    Status st;

    *done = file_exists(p->values.data) && file_exists(p->spectra.data);
    if (*done)
        TRY(is_current(p->ranks.data, ranks, r, done));
    if (!*done || r->options->vectors == 0)
        return LT_OK;
    st = make_subspaces(&subspaces, r);
    if (st == LT_OK)
        st = is_current(p->subspaces.data, &subspaces, r, done);
    tsv_release(&subspaces);
    return st;
}

Status run_published(const RunResult *r, const Tsv *ranks, bool *done)
{
    Places p;

    *done = false;
    Status st = places_find(&p, r);
    if (st == LT_OK)
        st = all_current(&p, r, ranks, done);
    places_release(&p);
    return st;
}

static Status update_from(const char *path, Status (*make)(Tsv *out, const RunResult *r), const RunResult *r)
{
    Tsv fresh = {0};

    Status st = make(&fresh, r);
    if (st == LT_OK)
        st = update_table(path, &fresh, r->name->label);
    tsv_release(&fresh);
    return st;
}

static Status publish_locked(const FolderLock *lock, const Places *p, const RunResult *r, const Tsv *ranks)
{
    TRY(folder_sweep(lock, r->options->out));
    TRY(dir_make(p->folder.data));
    TRY(folder_sweep(lock, p->folder.data));
    TRY(write_values(p->values.data, r));
    TRY(update_from(p->spectra.data, make_spectra, r));
    if (r->options->vectors > 0)
        TRY(update_from(p->subspaces.data, make_subspaces, r));
    return update_table(p->ranks.data, ranks, r->name->label);
}

Status run_publish(const RunResult *r, const Tsv *ranks)
{
    FolderLock lock;
    Places p;
    Status st;

    TRY(folder_lock(&lock, r->options->out));
    st = places_find(&p, r);
    if (st == LT_OK)
        st = publish_locked(&lock, &p, r, ranks);
    places_release(&p);
    folder_unlock(&lock);
    return st;
}
