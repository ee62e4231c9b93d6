/* UTF-8, and the few string methods of Python 3 that prompts depend on, to the code point. */
#ifndef LETHE_CORE_UTF8_H
#define LETHE_CORE_UTF8_H

#include "core/strbuf.h"

/* Byte offset of the first byte that is not valid UTF-8 (RFC 3629: no surrogates, no overlong forms), or s.len. */
size_t utf8_valid_prefix(Str s);
/* Decodes the code point at s.data[at] and gives the offset behind it. s must be valid there. */
size_t utf8_next(Str s, size_t at, uint32_t *code);
/* Decodes the code point that ends at byte `at` > 0 and gives its offset. */
size_t utf8_before(Str s, size_t at, uint32_t *code);
/* Writes 1-4 bytes; returns how many. code must be a Unicode scalar value. */
size_t utf8_put(char out[4], uint32_t code);
/* Code points in valid text: len() of a Python str. */
size_t utf8_count(Str s);

/* str.isspace() for one code point: what str.strip() and str.rstrip() remove. */
bool py_is_space(uint32_t code);
Str py_strip(Str s);
Str py_rstrip(Str s);
/* str.capitalize(): first character title-cased, the rest lower-cased, full mappings ("ß is" -> "Ss is", final sigma). */
void py_capitalize(StrBuf *out, Str s);
/* str.lower(). */
void py_lower(StrBuf *out, Str s);
/* s.replace(from, to): one left-to-right pass without overlaps. */
void py_replace(StrBuf *out, Str s, Str from, Str to);

#endif
