#include "core/strbuf.h"

#include <stdio.h>

bool str_starts(Str s, Str prefix) { return s.len >= prefix.len && str_equal(str_slice(s, 0, prefix.len), prefix); }

bool str_ends(Str s, Str suffix) { return s.len >= suffix.len && str_equal(str_slice(s, s.len - suffix.len, s.len), suffix); }

size_t str_find(Str s, Str needle, size_t from)
{
    const char *at;

    if (from > s.len)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    at = memmem(s.data + from, s.len - from, needle.data, needle.len);
    return at == NULL ? SIZE_MAX : (size_t)(at - s.data);
}

void strbuf_init(StrBuf *b) { *b = (StrBuf){0}; }

void strbuf_release(StrBuf *b)
{
    mem_free(b->data);
    strbuf_init(b);
}

void strbuf_clear(StrBuf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

/* Room for `more` bytes and the NUL. */
static bool make_room(StrBuf *b, size_t more)
{
    size_t need;

    if (b->failed)
        return false;
    if (!mem_add(b->len, more, &need) || !mem_add(need, 1, &need) || MEM_GROW(b->data, b->cap, need) != LT_OK)
        b->failed = true;
    return !b->failed;
}

void strbuf_reserve(StrBuf *b, size_t more) { make_room(b, more); }

void strbuf_add(StrBuf *b, const char *data, size_t len)
{
    if (!make_room(b, len))
        return;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_add_str(StrBuf *b, Str s) { strbuf_add(b, s.data, s.len); }

void strbuf_add_text(StrBuf *b, const char *text) { strbuf_add(b, text, strlen(text)); }

void strbuf_add_char(StrBuf *b, char c) { strbuf_add(b, &c, 1); }

void strbuf_addf(StrBuf *b, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    BUG_IF(n < 0);
    if (!make_room(b, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
}

Status strbuf_status(const StrBuf *b) { return b->failed ? FAIL(LT_E_NOMEM, "out of memory while building a text") : LT_OK; }

char *strbuf_steal(StrBuf *b, size_t *len)
{
    char *data;

    if (!make_room(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    data = b->data;
    if (len != NULL)
        *len = b->len;
    strbuf_init(b);
    return data;
}
