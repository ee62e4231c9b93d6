/* Byte strings: `Str`, a view that owns nothing and may hold NULs, and `StrBuf`, a growing buffer.
 *
 * A StrBuf remembers that memory ran out instead of returning a Status from every append: build the whole text, then
 * ask once with strbuf_status. After a failure appends do nothing. `data` is always NUL-terminated once non-NULL. */
#ifndef LETHE_CORE_STRBUF_H
#define LETHE_CORE_STRBUF_H

#include "core/mem.h"

#include <string.h>

typedef struct Str {
    const char *data;
    size_t len;
} Str;

#define STR_FORMAT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).data

static inline Str str_of(const char *text) { return (Str){text, strlen(text)}; }
static inline Str str_slice(Str s, size_t from, size_t to) { return (Str){s.data + from, to - from}; }
static inline bool str_equal(Str a, Str b) { return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0); }
static inline bool str_is(Str a, const char *b) { return str_equal(a, str_of(b)); }
bool str_starts(Str s, Str prefix);
bool str_ends(Str s, Str suffix);
/* Byte offset of the first `needle` at or after `from`, or SIZE_MAX. An empty needle is found at `from`. */
size_t str_find(Str s, Str needle, size_t from);

typedef struct StrBuf {
    char *data;
    size_t len, cap;
    bool failed;
} StrBuf;

void strbuf_init(StrBuf *b);
void strbuf_release(StrBuf *b);
void strbuf_clear(StrBuf *b); /* len = 0, keeps the memory */
/* Room for this many more bytes, where their number is known; trouble shows in strbuf_status. */
void strbuf_reserve(StrBuf *b, size_t more);
void strbuf_add(StrBuf *b, const char *data, size_t len);
void strbuf_add_str(StrBuf *b, Str s);
void strbuf_add_text(StrBuf *b, const char *text);
void strbuf_add_char(StrBuf *b, char c);
void strbuf_addf(StrBuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* LT_E_NOMEM if any append failed. */
Status strbuf_status(const StrBuf *b);
static inline Str strbuf_str(const StrBuf *b) { return (Str){b->data ? b->data : "", b->len}; }
/* Hands the memory to the caller (mem_free) and leaves the buffer empty. NULL if memory ran out. */
char *strbuf_steal(StrBuf *b, size_t *len);

#endif
