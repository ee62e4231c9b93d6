/* Results on stdout: one JSON value, as itself or as text for people. What a verb finds out is built once, as JSON; --json only chooses the form. */
#ifndef LETHE_CLI_PRINT_H
#define LETHE_CLI_PRINT_H

#include "core/json.h"

/* A JSON string of a file name or a message, which may hold bytes that are no UTF-8 and that JSON cannot: those are shown as "?". */
json_t *print_name(const char *text);
/* The document, indented, and a newline. */
Status print_json(const json_t *value);
/* "  key   value" a line; arrays and objects inside become one line each. */
Status print_fields(const json_t *object);
/* Rows are objects with the same keys; the first one's keys head the columns. Nothing for no rows. */
Status print_table(const json_t *rows);

#endif
