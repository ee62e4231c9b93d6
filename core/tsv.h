/* Tables of named columns, tab-separated, one header line. Cells hold no tab, CR or LF: writers refuse them. */
#ifndef LETHE_CORE_TSV_H
#define LETHE_CORE_TSV_H

#include "core/strbuf.h"

typedef struct Tsv {
    char **column;   /* [n_column] */
    size_t n_column;
    char **cell;     /* [n_row * n_column] */
    size_t n_row, cell_cap;
    Arena text;
} Tsv;

/* Columns are copied. */
Status tsv_init(Tsv *t, const char *const *column, size_t n_column);
void tsv_release(Tsv *t);
/* A new row of empty cells; its index is n_row - 1. */
Status tsv_row(Tsv *t);
Status tsv_set(Tsv *t, size_t row, const char *column, Str value);
Status tsv_set_double(Tsv *t, size_t row, const char *column, double value); /* shortest; NaN: empty */
Status tsv_set_int(Tsv *t, size_t row, const char *column, int64_t value);
/* "" if empty; NULL if there is no such column. */
const char *tsv_get(const Tsv *t, size_t row, const char *column);
Status tsv_read(Tsv *t, const char *path);
Status tsv_write(const Tsv *t, const char *path); /* atomic */

#endif
