#include "core/json.h"

#include "core/file.h"

#include <inttypes.h>
#include <math.h>

/* How much of an unexpected value a message shows. */
enum { SHOWN_BYTES = 40 };

/* Jansson goes on where growing a text failed, and then reads and writes behind it unless the next allocation fails as well (2.14,
 * lex_scan_string). So a parse that has once been refused memory is refused it until it gives up. */
static _Thread_local enum { NOT_PARSING, PARSING, STARVED } parsing;

static void *take_bytes(size_t bytes)
{
    void *block = parsing == STARVED ? NULL : mem_resize(NULL, 1, bytes);

    if (block == NULL && parsing == PARSING)
        parsing = STARVED;
    return block;
}

void json_use_mem(void)
{
    json_set_alloc_funcs(take_bytes, mem_free);
}

/* Jansson steps over a zero byte where it looks one character ahead. */
static Status refuse_zero_byte(Str text, const char *file, uint64_t line)
{
    const char *zero = text.len > 0 ? memchr(text.data, '\0', text.len) : NULL;

    if (zero == NULL)
        return LT_OK;
    if (line != 0)
        return FAIL(LT_E_INPUT, "%s:%" PRIu64 ": column %zu: zero byte", file, line, (size_t)(zero - text.data) + 1);
    return FAIL(LT_E_INPUT, "%s: zero byte at offset %zu", file, (size_t)(zero - text.data));
}

Status json_parse(json_t **out, Str text, const char *file, uint64_t line)
{
    json_error_t error;

    TRY(refuse_zero_byte(text, file, line));
    parsing = PARSING;
    json_t *value = json_loadb(text.data != NULL ? text.data : "", text.len,
                               JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    const bool starved = parsing == STARVED;

    parsing = NOT_PARSING;
    /* It calls exhaustion "invalid token" in places, and says nothing in others. */
    if (starved || (value == NULL && error.text[0] == '\0')) {
        json_decref(value);
        return FAIL(LT_E_NOMEM, "out of memory while reading JSON from '%s'", file);
    }
    if (value != NULL) {
        *out = value;
        return LT_OK;
    }
    if (line != 0)
        return FAIL(LT_E_INPUT, "%s:%" PRIu64 ": column %d: %s", file, line, error.column, error.text);
    return FAIL(LT_E_INPUT, "%s:%d:%d: %s", file, error.line, error.column, error.text);
}

Status json_load_path(json_t **out, const char *path, size_t max)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(file_read(path, max, &text), st, done);
    TRY_GOTO(json_parse(out, strbuf_str(&text), path, 0), st, done);
done:
    strbuf_release(&text);
    return st;
}

JsonAt json_root(json_t *value, const char *file, uint64_t line)
{
    return (JsonAt){.value = value, .file = file, .line = line};
}

JsonAt json_member(const JsonAt *object, const char *key)
{
    return (JsonAt){
        .value = json_object_get(object->value, key),
        .file = object->file,
        .line = object->line,
        .up = object,
        .key = key,
    };
}

JsonAt json_element(const JsonAt *array, size_t index)
{
    return (JsonAt){
        .value = json_array_get(array->value, index),
        .file = array->file,
        .line = array->line,
        .up = array,
        .index = index,
    };
}

/* "rope_scaling.factor", "merges[3][0]"; nothing at the root. Recursion is as deep as the caller's chain of structs. */
static void write_way(StrBuf *out, const JsonAt *at)
{
    if (at->up == NULL)
        return;
    write_way(out, at->up);
    if (at->key == NULL)
        strbuf_addf(out, "[%zu]", at->index);
    else
        strbuf_addf(out, "%s%s", at->up->up != NULL ? "." : "", at->key);
}

static Status fail_at(JsonAt at, const char *message)
{
    StrBuf place;
    Status st;

    strbuf_init(&place);
    strbuf_add_text(&place, at.file);
    if (at.line != 0)
        strbuf_addf(&place, ":%" PRIu64, at.line);
    if (at.up != NULL) {
        strbuf_add_text(&place, ": ");
        write_way(&place, &at);
    }
    st = strbuf_status(&place);
    if (st == LT_OK)
        st = FAIL(LT_E_INPUT, "%s: %s", place.data, message);
    strbuf_release(&place);
    return st;
}

Status json_fail(JsonAt at, const char *format, ...)
{
    char message[512];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fail_at(at, message);
}

Status json_expected(JsonAt at, const char *what)
{
    StrBuf message;
    Status st;

    strbuf_init(&message);
    strbuf_addf(&message, "expected %s, found ", what);
    if (at.value == NULL)
        strbuf_add_text(&message, "nothing");
    else
        json_write_start(&message, at.value, SHOWN_BYTES);
    st = strbuf_status(&message);
    if (st == LT_OK)
        st = fail_at(at, message.data);
    strbuf_release(&message);
    return st;
}

Status json_to_int(JsonAt at, int64_t min, int64_t max, int64_t *out)
{
    const double real = json_real_value(at.value); /* 0 unless a real */
    int64_t value = json_integer_value(at.value);
    bool whole = json_is_integer(at.value);

    /* -2^63 is a double, 2^63 - 1 is not: the upper bound is exclusive. */
    if (json_is_real(at.value) && real == floor(real) && real >= -0x1p63 && real < 0x1p63) {
        value = (int64_t)real;
        whole = true;
    }
    if (whole && value >= min && value <= max) {
        *out = value;
        return LT_OK;
    }

    char what[80];
    if (min == INT64_MIN && max == INT64_MAX)
        snprintf(what, sizeof what, "an integer");
    else if (max == INT64_MAX)
        snprintf(what, sizeof what, "an integer of at least %" PRId64, min);
    else
        snprintf(what, sizeof what, "an integer from %" PRId64 " to %" PRId64, min, max);
    return json_expected(at, what);
}

Status json_to_double(JsonAt at, double *out)
{
    const double value = json_number_value(at.value);

    if (!json_is_number(at.value))
        return json_expected(at, "a number");
    if (!isfinite(value))
        return json_expected(at, "a finite number");
    *out = value;
    return LT_OK;
}

Status json_to_bool(JsonAt at, bool *out)
{
    if (!json_is_boolean(at.value))
        return json_expected(at, "true or false");
    *out = json_is_true(at.value);
    return LT_OK;
}

Status json_to_str(JsonAt at, Str *out)
{
    if (!json_is_string(at.value))
        return json_expected(at, "a string");
    *out = (Str){json_string_value(at.value), json_string_length(at.value)};
    return LT_OK;
}

Status json_to_object(JsonAt at)
{
    return json_is_object(at.value) ? LT_OK : json_expected(at, "an object");
}

Status json_to_array(JsonAt at, size_t *count)
{
    if (!json_is_array(at.value))
        return json_expected(at, "an array");
    *count = json_array_size(at.value);
    return LT_OK;
}

Status json_opt_int(const JsonAt *object, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const JsonAt at = json_member(object, key);
    return json_here(at) ? json_to_int(at, min, max, out) : LT_OK;
}

Status json_opt_double(const JsonAt *object, const char *key, double *out)
{
    const JsonAt at = json_member(object, key);
    return json_here(at) ? json_to_double(at, out) : LT_OK;
}

Status json_opt_bool(const JsonAt *object, const char *key, bool *out)
{
    const JsonAt at = json_member(object, key);
    return json_here(at) ? json_to_bool(at, out) : LT_OK;
}

Status json_opt_str(const JsonAt *object, const char *key, Str *out)
{
    const JsonAt at = json_member(object, key);
    return json_here(at) ? json_to_str(at, out) : LT_OK;
}

Status json_get_int(const JsonAt *object, const char *key, int64_t min, int64_t max, int64_t *out)
{
    return json_to_int(json_member(object, key), min, max, out);
}

Status json_get_str(const JsonAt *object, const char *key, Str *out)
{
    return json_to_str(json_member(object, key), out);
}

Status json_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        return FAIL(LT_E_NOMEM, "JSON member '%s': out of memory, or text that is not UTF-8", key);
    return LT_OK;
}

Status json_push(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        return FAIL(LT_E_NOMEM, "JSON array of %zu: out of memory, or text that is not UTF-8", json_array_size(array));
    return LT_OK;
}

json_t *json_from_str(Str s)
{
    return json_stringn(s.data != NULL ? s.data : "", s.len);
}
