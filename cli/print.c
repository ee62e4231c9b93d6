#include "cli/print.h"

#include "core/utf8.h"

#include <stdio.h>

json_t *print_name(const char *text)
{
    StrBuf name;
    json_t *value = NULL;

    strbuf_init(&name);
    for (Str rest = str_of(text); rest.len > 0;) {
        const size_t valid = utf8_valid_prefix(rest);
        strbuf_add(&name, rest.data, valid);
        if (valid < rest.len)
            strbuf_add_char(&name, '?');
        rest = str_slice(rest, valid < rest.len ? valid + 1 : valid, rest.len);
    }
    if (strbuf_status(&name) == LT_OK)
        value = json_from_str(strbuf_str(&name));
    strbuf_release(&name);
    return value;
}

static Status print_text(const StrBuf *text)
{
    TRY(strbuf_status(text));
    fwrite(text->data, 1, text->len, stdout);
    return LT_OK;
}

Status print_json(const json_t *value)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(json_write(&text, value, (JsonStyle){.indent = 2}), st, done);
    strbuf_add_char(&text, '\n');
    st = print_text(&text);
done:
    strbuf_release(&text);
    return st;
}

/* A value inside a value inside a value is nothing a line can show: depth ends there, and so does the recursion. */
enum { CELL_DEPTH = 2 };

static void write_cell(StrBuf *out, const json_t *value, int depth)
{
    const char *key;
    json_t *item;
    size_t i;

    switch (json_typeof(value)) {
    case JSON_STRING:
        strbuf_add(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        json_write_double(out, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        strbuf_add_text(out, json_is_true(value) ? "yes" : "no");
        break;
    case JSON_NULL:
        strbuf_add_char(out, '-');
        break;
    case JSON_ARRAY:
        if (json_array_size(value) == 0 || depth == 0)
            strbuf_add_char(out, '-');
        else
            json_array_foreach(value, i, item) {
                strbuf_add_text(out, i > 0 ? ", " : "");
                write_cell(out, item, depth - 1);
            }
        break;
    case JSON_OBJECT:
        if (json_object_size(value) == 0 || depth == 0)
            strbuf_add_char(out, '-');
        else {
            bool first = true;
            json_object_foreach((json_t *)(uintptr_t)value, key, item) {
                strbuf_addf(out, "%s%s ", first ? "" : ", ", key);
                write_cell(out, item, depth - 1);
                first = false;
            }
        }
        break;
    }
}

/* A cell with spaces up to `width` characters behind it. Clears `cell`. */
static void add_padded(StrBuf *out, StrBuf *cell, size_t width)
{
    const Str text = strbuf_str(cell);

    strbuf_add_str(out, text);
    for (size_t n = utf8_count(text); n < width; n++)
        strbuf_add_char(out, ' ');
    strbuf_clear(cell);
}

Status print_fields(const json_t *object)
{
    json_t *copy = (json_t *)(uintptr_t)object; /* Jansson's iteration takes no const */
    size_t width = 0;
    StrBuf out;
    const char *key;
    json_t *value;
    Status st;

    strbuf_init(&out);
    json_object_foreach(copy, key, value)
        width = strlen(key) > width ? strlen(key) : width;
    json_object_foreach(copy, key, value) {
        strbuf_addf(&out, "  %-*s  ", (int)width, key);
        write_cell(&out, value, CELL_DEPTH);
        strbuf_add_char(&out, '\n');
    }
    st = print_text(&out);
    strbuf_release(&out);
    return st;
}

/* Characters of the widest cell of a column, its heading included. */
static size_t column_width(const json_t *rows, const char *key, StrBuf *cell)
{
    size_t width = strlen(key), i;
    json_t *row;

    json_array_foreach(rows, i, row) {
        strbuf_clear(cell);
        write_cell(cell, json_object_get(row, key), CELL_DEPTH);
        const size_t n = utf8_count(strbuf_str(cell));
        width = n > width ? n : width;
    }
    strbuf_clear(cell);
    return width;
}

/* No line ends in spaces. */
static void end_line(StrBuf *out)
{
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    strbuf_add_char(out, '\n');
}

Status print_table(const json_t *rows)
{
    enum { MOST_COLUMNS = 32 };
    size_t width[MOST_COLUMNS], n_row = json_array_size(rows), column;
    json_t *head = json_array_get(rows, 0), *value;
    StrBuf out, cell;
    const char *key;
    Status st;

    if (n_row == 0)
        return LT_OK;
    BUG_IF(json_object_size(head) > MOST_COLUMNS);
    strbuf_init(&out);
    strbuf_init(&cell);
    column = 0;
    json_object_foreach(head, key, value) {
        width[column] = column_width(rows, key, &cell);
        strbuf_add_text(&cell, key);
        add_padded(&out, &cell, width[column++] + 2);
    }
    end_line(&out);
    for (size_t i = 0; i < n_row; i++) {
        column = 0;
        json_object_foreach(head, key, value) {
            write_cell(&cell, json_object_get(json_array_get(rows, i), key), CELL_DEPTH);
            add_padded(&out, &cell, width[column++] + 2);
        }
        end_line(&out);
    }
    st = print_text(&out);
    strbuf_release(&cell);
    strbuf_release(&out);
    return st;
}
