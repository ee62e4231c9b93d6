/* JSON through Jansson, with errors that name the place: `config.json: rope_scaling.factor: expected a number, found "x"`.
 *
 * Reading: duplicate keys are refused, \u0000 is allowed (lengths come from json_string_length), depth is bounded.
 * A JsonAt is a value with the way to it; build it with json_root / json_member / json_element, pass it by value. It
 * owns nothing: the document, and the `up` structs on the caller's stack, must outlive it. */
#ifndef LETHE_CORE_JSON_H
#define LETHE_CORE_JSON_H

#include "core/strbuf.h"

#include <jansson.h>

typedef struct JsonAt {
    json_t *value; /* NULL: absent */
    const char *file;
    uint64_t line;           /* of a JSON-lines file; 0: the file is one document */
    const struct JsonAt *up; /* NULL at the root */
    const char *key;         /* in an object, else NULL */
    size_t index;            /* in an array */
} JsonAt;

/* Parses one document. `file` is for messages. *out is a new reference (json_decref). The text needs no NUL. */
Status json_parse(json_t **out, Str text, const char *file, uint64_t line);
/* Reads and parses a file of at most max bytes. */
Status json_load_path(json_t **out, const char *path, size_t max);

JsonAt json_root(json_t *value, const char *file, uint64_t line);
JsonAt json_member(const JsonAt *object, const char *key); /* value NULL if absent or `object` is no object */
JsonAt json_element(const JsonAt *array, size_t index);
static inline bool json_here(JsonAt at) { return at.value != NULL && !json_is_null(at.value); }

/* LT_E_INPUT "file[:line]: path: <message>". */
Status json_fail(JsonAt at, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* LT_E_INPUT "...: expected <what>, found <the value, shortened>". */
Status json_expected(JsonAt at, const char *what);

/* Typed reads of a value that must be there. Integers written as 8.0 are integers (config files have them). */
Status json_to_int(JsonAt at, int64_t min, int64_t max, int64_t *out);
Status json_to_double(JsonAt at, double *out); /* finite */
Status json_to_bool(JsonAt at, bool *out);
Status json_to_str(JsonAt at, Str *out); /* points into the document */
Status json_to_object(JsonAt at);
Status json_to_array(JsonAt at, size_t *count);

/* Typed reads of a member; absent or null leaves *out as it is. */
Status json_opt_int(const JsonAt *object, const char *key, int64_t min, int64_t max, int64_t *out);
Status json_opt_double(const JsonAt *object, const char *key, double *out);
Status json_opt_bool(const JsonAt *object, const char *key, bool *out);
Status json_opt_str(const JsonAt *object, const char *key, Str *out);
/* The same, but the member must be there. */
Status json_get_int(const JsonAt *object, const char *key, int64_t min, int64_t max, int64_t *out);
Status json_get_str(const JsonAt *object, const char *key, Str *out);

/* Writing, byte for byte as Python's json.dumps: insertion order, floats by repr(), NaN / Infinity as Python spells them.
 * indent < 0: one line with ", " and ": " (or "," and ":" if compact). ascii: \uXXXX for all beyond ASCII. */
typedef struct JsonStyle {
    int indent;
    bool ascii, compact;
} JsonStyle;
Status json_write(StrBuf *out, const json_t *value, JsonStyle style);
/* The first `limit` bytes or so of a value's text on one line, then "...": for messages. */
void json_write_start(StrBuf *out, const json_t *value, size_t limit);
/* Python's repr() of a float: the shortest text that reads back as the same double. */
void json_write_double(StrBuf *out, double x);
/* A quoted, escaped string. Text must be valid UTF-8. */
void json_write_str(StrBuf *out, Str text, bool ascii);

/* Sends Jansson's allocations through core/mem; called once at the start of main (tests too). */
void json_use_mem(void);

/* json_object_set_new with its failure as a status; steals `value` also on failure, NULL value is LT_E_NOMEM. */
Status json_put(json_t *object, const char *key, json_t *value);
Status json_push(json_t *array, json_t *value);
json_t *json_from_str(Str s);

#endif
