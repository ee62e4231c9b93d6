#include "core/utf8.h"

/* Length of the valid sequence that starts at p, 0 if there is none. Bounds of the second byte by the first: Unicode
 * standard, table 3-7, which excludes overlong forms, surrogates and all beyond U+10FFFF. */
static size_t sequence_length(const uint8_t *p, size_t n)
{
    const uint8_t lead = p[0];
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    switch (lead) {
    case 0xe0: low = 0xa0; break;
    case 0xed: high = 0x9f; break;
    case 0xf0: low = 0x90; break;
    case 0xf4: high = 0x8f; break;
    default: break;
    }
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t utf8_valid_prefix(Str s)
{
    const uint8_t *p = (const uint8_t *)s.data;
    size_t at = 0;

    while (at < s.len) {
        uint64_t eight;
        /* Most text is ASCII: eight bytes without a high bit at once. */
        if (s.len - at >= sizeof eight) {
            memcpy(&eight, p + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        const size_t len = sequence_length(p + at, s.len - at);
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

size_t utf8_next(Str s, size_t at, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s.data + at;

    if (p[0] < 0x80) {
        *code = p[0];
        return at + 1;
    }
    if (p[0] < 0xe0) {
        *code = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
        return at + 2;
    }
    if (p[0] < 0xf0) {
        *code = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return at + 3;
    }
    *code = (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return at + 4;
}

size_t utf8_before(Str s, size_t at, uint32_t *code)
{
    do
        at--;
    while (((uint8_t)s.data[at] & 0xc0) == 0x80);
    utf8_next(s, at, code);
    return at;
}

size_t utf8_put(char out[4], uint32_t code)
{
    BUG_IF(code > 0x10ffff || (code >= 0xd800 && code < 0xe000));
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

size_t utf8_count(Str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((uint8_t)s.data[i] & 0xc0) != 0x80;
    return n;
}

bool py_is_space(uint32_t code)
{
    /* Unicode's White_Space and, by their bidirectional class, the four separators U+001C-001F. */
    return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
           code == 0x202f || code == 0x205f || code == 0x3000;
}

Str py_rstrip(Str s)
{
    uint32_t code;

    while (s.len > 0) {
        const size_t at = utf8_before(s, s.len, &code);
        if (!py_is_space(code))
            break;
        s.len = at;
    }
    return s;
}

Str py_strip(Str s)
{
    size_t begin = 0;
    uint32_t code;

    while (begin < s.len) {
        const size_t next = utf8_next(s, begin, &code);
        if (!py_is_space(code))
            break;
        begin = next;
    }
    return py_rstrip(str_slice(s, begin, s.len));
}

void py_replace(StrBuf *out, Str s, Str from, Str to)
{
    size_t at = 0;

    /* Python puts `to` between all characters for an empty `from`; no caller means that. */
    BUG_IF(from.len == 0);
    for (size_t hit; (hit = str_find(s, from, at)) != SIZE_MAX; at = hit + from.len) {
        strbuf_add(out, s.data + at, hit - at);
        strbuf_add_str(out, to);
    }
    strbuf_add(out, s.data + at, s.len - at);
}
