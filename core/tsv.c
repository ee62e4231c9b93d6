#include "core/tsv.h"

#include "core/file.h"
#include "core/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { NO_COLUMN = -1 };

static const char EMPTY[] = "";

static Status check_cell(Str value, const char *column)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] == '\t' || value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == '\0')
            return FAIL(LT_E_INPUT, "column '%s': a table cell cannot hold a tab, a line end or a NUL: '" STR_FORMAT "'",
                        column, STR_ARG(value));
    return LT_OK;
}

static Status add_columns(Tsv *t, const Str *column, size_t n_column)
{
    TRY(ARENA_NEW(&t->text, t->column, n_column));
    for (size_t i = 0; i < n_column; i++) {
        TRY(check_cell(column[i], "(header)"));
        t->column[i] = arena_strndup(&t->text, column[i].data, column[i].len);
        if (t->column[i] == NULL)
            return LT_E_NOMEM;
        for (size_t j = 0; j < i; j++)
            if (strcmp(t->column[i], t->column[j]) == 0)
                return FAIL(LT_E_INPUT, "a table has two columns '%s'", t->column[i]);
    }
    t->n_column = n_column;
    return LT_OK;
}

static Status init_columns(Tsv *t, const Str *column, size_t n_column)
{
    Tsv made = {0};

    arena_init(&made.text);
    const Status st = add_columns(&made, column, n_column);
    if (st != LT_OK) {
        tsv_release(&made);
        return st;
    }
    *t = made;
    return LT_OK;
}

Status tsv_init(Tsv *t, const char *const *column, size_t n_column)
{
    Str *name;

    BUG_IF(n_column == 0);
    TRY(MEM_NEW(name, n_column));
    for (size_t i = 0; i < n_column; i++)
        name[i] = str_of(column[i]);
    const Status st = init_columns(t, name, n_column);
    mem_free(name);
    return st;
}

void tsv_release(Tsv *t)
{
    mem_free(t->cell);
    arena_release(&t->text);
    *t = (Tsv){0};
}

Status tsv_row(Tsv *t)
{
    size_t need;

    if (!mem_add(t->n_row, 1, &need) || !mem_mul(need, t->n_column, &need))
        return FAIL(LT_E_NOMEM, "a table of %zu rows cannot grow", t->n_row);
    TRY(MEM_GROW(t->cell, t->cell_cap, need));
    /* Empty cells are NULL: a shared "" would have to be const, and a copy each would cost an arena block. */
    for (size_t i = 0; i < t->n_column; i++)
        t->cell[t->n_row * t->n_column + i] = NULL;
    t->n_row++;
    return LT_OK;
}

static int find_column(const Tsv *t, const char *column)
{
    for (size_t i = 0; i < t->n_column; i++)
        if (strcmp(t->column[i], column) == 0)
            return (int)i;
    return NO_COLUMN;
}

static Status set_cell(Tsv *t, size_t row, size_t column, Str value)
{
    char *copy = NULL;

    TRY(check_cell(value, t->column[column]));
    if (value.len > 0 && (copy = arena_strndup(&t->text, value.data, value.len)) == NULL)
        return LT_E_NOMEM;
    t->cell[row * t->n_column + column] = copy;
    return LT_OK;
}

Status tsv_set(Tsv *t, size_t row, const char *column, Str value)
{
    const int at = find_column(t, column);

    BUG_IF(row >= t->n_row || at == NO_COLUMN);
    return set_cell(t, row, (size_t)at, value);
}

Status tsv_set_double(Tsv *t, size_t row, const char *column, double value)
{
    StrBuf text;

    if (isnan(value))
        return tsv_set(t, row, column, (Str){EMPTY, 0});
    strbuf_init(&text);
    json_write_double(&text, value);
    Status st = strbuf_status(&text);
    if (st == LT_OK)
        st = tsv_set(t, row, column, strbuf_str(&text));
    strbuf_release(&text);
    return st;
}

Status tsv_set_int(Tsv *t, size_t row, const char *column, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    return tsv_set(t, row, column, str_of(text));
}

const char *tsv_get(const Tsv *t, size_t row, const char *column)
{
    const int at = find_column(t, column);

    BUG_IF(row >= t->n_row);
    if (at == NO_COLUMN)
        return NULL;
    const char *cell = t->cell[row * t->n_column + (size_t)at];
    return cell != NULL ? cell : EMPTY;
}

/* The cell that starts at byte *at, and *at behind its tab. */
static Str next_cell(Str line, size_t *at)
{
    const size_t tab = str_find(line, str_of("\t"), *at);
    const Str cell = str_slice(line, *at, tab == SIZE_MAX ? line.len : tab);

    *at = tab == SIZE_MAX ? SIZE_MAX : tab + 1;
    return cell;
}

static size_t count_cells(Str line)
{
    size_t n = 1;
    for (size_t i = 0; i < line.len; i++)
        n += line.data[i] == '\t';
    return n;
}

static Status read_header(Tsv *t, LineReader *lines, const char *path)
{
    Str line, *name;
    bool more;

    TRY(lines_next(lines, &line, &more));
    if (!more || line.len == 0)
        return FAIL(LT_E_INPUT, "'%s': expected a line with the names of the columns, found none", path);
    const size_t n = count_cells(line);
    TRY(MEM_NEW(name, n));
    for (size_t i = 0, at = 0; i < n; i++)
        name[i] = next_cell(line, &at);
    const Status st = init_columns(t, name, n);
    mem_free(name);
    return st == LT_OK ? LT_OK : status_wrap(st, "'%s'", path);
}

static Status read_rows(Tsv *t, LineReader *lines, const char *path)
{
    Str line;
    bool more;

    for (;;) {
        TRY(lines_next(lines, &line, &more));
        if (!more)
            return LT_OK;
        const size_t n = count_cells(line);
        if (n != t->n_column)
            return FAIL(LT_E_INPUT, "'%s': line %" PRIu64 ": expected %zu cells, found %zu", path, lines_number(lines),
                        t->n_column, n);
        TRY(tsv_row(t));
        for (size_t i = 0, at = 0; i < n; i++) {
            const Status st = set_cell(t, t->n_row - 1, i, next_cell(line, &at));
            if (st != LT_OK)
                return status_wrap(st, "'%s': line %" PRIu64, path, lines_number(lines));
        }
    }
}

Status tsv_read(Tsv *t, const char *path)
{
    LineReader *lines;
    Tsv table = {0};
    Status st;

    TRY(lines_open(&lines, path));
    TRY_GOTO(read_header(&table, lines, path), st, done);
    TRY_GOTO(read_rows(&table, lines, path), st, done);
    *t = table;
    table = (Tsv){0};
done:
    tsv_release(&table);
    lines_close(lines);
    return st;
}

Status tsv_write(const Tsv *t, const char *path)
{
    StrBuf text;

    strbuf_init(&text);
    for (size_t i = 0; i < t->n_column; i++)
        strbuf_addf(&text, "%s%c", t->column[i], i + 1 < t->n_column ? '\t' : '\n');
    for (size_t i = 0; i < t->n_row * t->n_column; i++)
        strbuf_addf(&text, "%s%c", t->cell[i] != NULL ? t->cell[i] : EMPTY, (i + 1) % t->n_column != 0 ? '\t' : '\n');
    Status st = strbuf_status(&text);
    if (st == LT_OK)
        st = file_write_atomic(path, text.data, text.len);
    strbuf_release(&text);
    return st;
}
