#include "model/runinfo_manifest.h"

#include "core/map.h"
#include "model/locate_text.h"
#include "model/runinfo_fields.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- reading ------------------------------------------------------------------------------------------------------------------ */

typedef struct Reading {
    Tsv table;
    const char *file, *folder; /* the manifest's own folder */
    Arena *arena;
} Reading;

/* Line 1 is the header, and rows are not broken over lines. */
static Status wrong_cell(const Reading *r, size_t row, const char *column, const char *expected, const char *found)
{
    return FAIL(LT_E_INPUT, "%s: line %zu: column '%s': expected %s, found '%s'", r->file, row + 2, column, expected, found);
}

static Status check_columns(const Reading *r)
{
    bool has_path = false;

    for (size_t c = 0; c < r->table.n_column; c++) {
        bool known = strcmp(r->table.column[c], "path") == 0;

        has_path = has_path || known;
        for (int i = 0; i < RUN_FIELDS; i++)
            known = known || strcmp(r->table.column[c], run_fields[i].name) == 0;
        if (!known)
            return FAIL(LT_E_INPUT,
                        "%s: unknown column '%s'; the columns of a manifest are path label condition run method rank alpha targets lr "
                        "seed step tokens epochs base template",
                        r->file, r->table.column[c]);
    }
    return has_path ? LT_OK : FAIL(LT_E_INPUT, "%s: expected a column 'path', found none", r->file);
}

static bool whole_number(const char *cell, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(cell, &end, 10);
    return isdigit((unsigned char)cell[0]) && *end == '\0' && errno == 0;
}

static bool real_number(const char *cell, double *out)
{
    char *end;

    *out = strtod(cell, &end);
    return !isspace((unsigned char)cell[0]) && *end == '\0' && isfinite(*out);
}

static Status keep_text(Arena *arena, const char *text, const char **out)
{
    *out = arena_strndup(arena, text, strlen(text));
    return *out != NULL ? LT_OK : LT_E_NOMEM;
}

static Status read_cell(Reading *r, size_t row, const RunField *f, RunInfo *info)
{
    const char *cell = tsv_get(&r->table, row, f->name);

    if (cell == NULL || cell[0] == '\0')
        return LT_OK;
    switch (f->kind) {
    case RUN_COUNT: return whole_number(cell, run_count(info, f)) ? LT_OK : wrong_cell(r, row, f->name, "a whole number", cell);
    case RUN_REAL: return real_number(cell, run_real(info, f)) ? LT_OK : wrong_cell(r, row, f->name, "a number", cell);
    case RUN_METHOD:
        if (!run_is_method(cell))
            return wrong_cell(r, row, f->name, "base, full or lora", cell);
        return keep_text(r->arena, cell, run_text(info, f));
    case RUN_TEXT:
    case RUN_TARGETS: return keep_text(r->arena, cell, run_text(info, f));
    }
    BUG_IF(true);
}

/* Without trailing slashes, so that "a/b/" is "a/b". */
static Status read_path(Reading *r, size_t row, ManifestRow *out)
{
    const char *cell = tsv_get(&r->table, row, "path");
    size_t len = strlen(cell);
    const char *beside;

    while (len > 1 && cell[len - 1] == '/')
        len--;
    if (len == 0)
        return wrong_cell(r, row, "path", "a checkpoint", cell);
    out->path = arena_strndup(r->arena, cell, len);
    if (out->path == NULL)
        return LT_E_NOMEM;
    if (dir_exists(out->path)) {
        out->folder = out->path;
        return LT_OK;
    }
    TRY(locate_join(r->arena, r->folder, out->path, &beside));
    if (out->path[0] != '/' && dir_exists(beside))
        out->folder = beside;
    return LT_OK;
}

static Status read_rows(Reading *r, ManifestRow *row, Map *seen)
{
    for (size_t i = 0; i < r->table.n_row; i++) {
        bool fresh;

        row[i].info = runinfo_unknown();
        TRY(read_path(r, i, &row[i]));
        TRY(map_put(seen, str_of(row[i].path), 0, &fresh));
        if (!fresh)
            return wrong_cell(r, i, "path", "each checkpoint once", row[i].path);
        for (int f = 0; f < RUN_FIELDS; f++)
            TRY(read_cell(r, i, &run_fields[f], &row[i].info));
    }
    return LT_OK;
}

Status manifest_read(Manifest *out, Arena *arena, const char *file)
{
    const char *slash = strrchr(file, '/');
    Reading r = {.file = file, .arena = arena};
    ManifestRow *row;
    Map seen;
    Status st;

    map_init(&seen);
    TRY_GOTO(tsv_read(&r.table, file), st, done);
    TRY_GOTO(check_columns(&r), st, done);
    r.folder = slash == NULL ? "." : arena_strndup(arena, file, (size_t)(slash - file) + 1);
    TRY_GOTO(r.folder != NULL ? LT_OK : LT_E_NOMEM, st, done);
    TRY_GOTO(ARENA_NEW(arena, row, r.table.n_row), st, done);
    TRY_GOTO(read_rows(&r, row, &seen), st, done);
    *out = (Manifest){row, r.table.n_row};
done:
    map_release(&seen);
    tsv_release(&r.table);
    return st;
}

/* ---- applying ----------------------------------------------------------------------------------------------------------------- */

static bool same_text(const char *path, const char *given)
{
    size_t len = strlen(given);

    while (len > 1 && given[len - 1] == '/')
        len--;
    return strlen(path) == len && memcmp(path, given, len) == 0;
}

/* Two ways to one folder: "runs/x", "./runs/x", an absolute path, a link. */
static bool same_folder(const char *a, const char *b)
{
    FileId x, y;

    if (a == NULL || !dir_exists(a) || !dir_exists(b))
        return false;
    if (file_id(a, &x) != LT_OK || file_id(b, &y) != LT_OK) {
        status_clear(); /* gone meanwhile */
        return false;
    }
    return x.device == y.device && x.inode == y.inode;
}

static const ManifestRow *find_row(const Manifest *m, const Located *checkpoint)
{
    for (size_t i = 0; i < m->n_row; i++)
        if (same_text(m->row[i].path, checkpoint->given))
            return &m->row[i];
    for (size_t i = 0; i < m->n_row; i++)
        if (same_folder(m->row[i].folder, checkpoint->path))
            return &m->row[i];
    return NULL;
}

static void overrule(RunInfo *info, const RunField *f, RunInfo *row)
{
    switch (f->kind) {
    case RUN_COUNT:
        if (*run_count(row, f) >= 0)
            *run_count(info, f) = *run_count(row, f);
        return;
    case RUN_REAL:
        if (!isnan(*run_real(row, f)))
            *run_real(info, f) = *run_real(row, f);
        return;
    case RUN_TEXT:
    case RUN_METHOD:
    case RUN_TARGETS:
        if ((*run_text(row, f))[0] != '\0')
            *run_text(info, f) = *run_text(row, f);
        return;
    }
    BUG_IF(true);
}

bool manifest_apply(const Manifest *manifest, const Located *checkpoint, RunInfo *info)
{
    const ManifestRow *row = find_row(manifest, checkpoint);

    if (row == NULL)
        return false;
    RunInfo said = row->info;
    for (int f = 0; f < RUN_FIELDS; f++)
        overrule(info, &run_fields[f], &said);
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------ */

static Status fill_table(Tsv *t, const char *const *path, const RunInfo *info, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        TRY(tsv_row(t));
        TRY(tsv_set(t, i, "path", str_of(path[i])));
        TRY(runinfo_set_row(t, i, &info[i]));
    }
    return LT_OK;
}

Status manifest_write(StrBuf *out, const char *const *path, const RunInfo *info, size_t n)
{
    const char *column[1 + RUN_FIELDS] = {"path"};
    Tsv t = {0};
    Status st;

    for (int f = 0; f < RUN_FIELDS; f++)
        column[1 + f] = run_fields[f].name;
    TRY(tsv_init(&t, column, 1 + RUN_FIELDS));
    TRY_GOTO(fill_table(&t, path, info, n), st, done);
    for (int c = 0; c <= RUN_FIELDS; c++)
        strbuf_addf(out, "%s%c", column[c], c < RUN_FIELDS ? '\t' : '\n');
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c <= RUN_FIELDS; c++)
            strbuf_addf(out, "%s%c", tsv_get(&t, i, column[c]), c < RUN_FIELDS ? '\t' : '\n');
    st = strbuf_status(out);
done:
    tsv_release(&t);
    return st;
}
