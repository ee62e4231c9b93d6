/* Python's str.capitalize() and str.lower(). utf8proc has the one-to-one mappings; what it lacks is in Unicode's
 * SpecialCasing.txt: mappings to several characters, and the sigma at the end of a word. */
#include "core/utf8.h"

#include <utf8proc.h>

/* Title case to more than one character (SpecialCasing.txt, unconditional), by code point. */
static const struct {
    uint16_t code;
    char text[7];
} TITLE[] = {
    {0x00df, "Ss"}, {0x0149, "\xca\xbcN"}, {0x01f0, "J\xcc\x8c"}, {0x0390, "\xce\x99\xcc\x88\xcc\x81"},
    {0x03b0, "\xce\xa5\xcc\x88\xcc\x81"}, {0x0587, "\xd4\xb5\xd6\x82"}, {0x1e96, "H\xcc\xb1"}, {0x1e97, "T\xcc\x88"},
    {0x1e98, "W\xcc\x8a"}, {0x1e99, "Y\xcc\x8a"}, {0x1e9a, "A\xca\xbe"}, {0x1f50, "\xce\xa5\xcc\x93"},
    {0x1f52, "\xce\xa5\xcc\x93\xcc\x80"}, {0x1f54, "\xce\xa5\xcc\x93\xcc\x81"}, {0x1f56, "\xce\xa5\xcc\x93\xcd\x82"},
    {0x1fb2, "\xe1\xbe\xba\xcd\x85"}, {0x1fb4, "\xce\x86\xcd\x85"}, {0x1fb6, "\xce\x91\xcd\x82"},
    {0x1fb7, "\xce\x91\xcd\x82\xcd\x85"}, {0x1fc2, "\xe1\xbf\x8a\xcd\x85"}, {0x1fc4, "\xce\x89\xcd\x85"},
    {0x1fc6, "\xce\x97\xcd\x82"}, {0x1fc7, "\xce\x97\xcd\x82\xcd\x85"}, {0x1fd2, "\xce\x99\xcc\x88\xcc\x80"},
    {0x1fd3, "\xce\x99\xcc\x88\xcc\x81"}, {0x1fd6, "\xce\x99\xcd\x82"}, {0x1fd7, "\xce\x99\xcc\x88\xcd\x82"},
    {0x1fe2, "\xce\xa5\xcc\x88\xcc\x80"}, {0x1fe3, "\xce\xa5\xcc\x88\xcc\x81"}, {0x1fe4, "\xce\xa1\xcc\x93"},
    {0x1fe6, "\xce\xa5\xcd\x82"}, {0x1fe7, "\xce\xa5\xcc\x88\xcd\x82"}, {0x1ff2, "\xe1\xbf\xba\xcd\x85"},
    {0x1ff4, "\xce\x8f\xcd\x85"}, {0x1ff6, "\xce\xa9\xcd\x82"}, {0x1ff7, "\xce\xa9\xcd\x82\xcd\x85"}, {0xfb00, "Ff"},
    {0xfb01, "Fi"}, {0xfb02, "Fl"}, {0xfb03, "Ffi"}, {0xfb04, "Ffl"}, {0xfb05, "St"}, {0xfb06, "St"},
    {0xfb13, "\xd5\x84\xd5\xb6"}, {0xfb14, "\xd5\x84\xd5\xa5"}, {0xfb15, "\xd5\x84\xd5\xab"},
    {0xfb16, "\xd5\x8e\xd5\xb6"}, {0xfb17, "\xd5\x84\xd5\xad"},
};

typedef struct Range {
    uint32_t first, last;
} Range;

/* Cased (DerivedCoreProperties) beyond the categories Lu, Ll and Lt. Letters that are case-ignorable too are left out:
 * the search for a sigma's neighbours steps over them before it asks. */
static const Range OTHER_CASED[] = {
    {0xaa, 0xaa}, {0xba, 0xba}, {0x2160, 0x217f}, {0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
};

/* Case-ignorable beyond Mn, Me, Cf, Lm and Sk: the word-break classes MidLetter, MidNumLet and Single_Quote. */
static const Range OTHER_IGNORABLE[] = {
    {0x27, 0x27}, {0x2e, 0x2e}, {0x3a, 0x3a}, {0xb7, 0xb7}, {0x387, 0x387}, {0x55f, 0x55f}, {0x5f4, 0x5f4},
    {0x2018, 0x2019}, {0x2024, 0x2024}, {0x2027, 0x2027}, {0xfe13, 0xfe13}, {0xfe52, 0xfe52}, {0xfe55, 0xfe55},
    {0xff07, 0xff07}, {0xff0e, 0xff0e}, {0xff1a, 0xff1a},
};

static bool in_ranges(uint32_t code, const Range *range, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (code >= range[i].first && code <= range[i].last)
            return true;
    return false;
}

static bool is_cased(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT: return true;
    default: return in_ranges(code, OTHER_CASED, sizeof OTHER_CASED / sizeof *OTHER_CASED);
    }
}

static bool is_ignorable(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return in_ranges(code, OTHER_IGNORABLE, sizeof OTHER_IGNORABLE / sizeof *OTHER_IGNORABLE);
    }
}

/* Final_Sigma of the Unicode standard, section 3.13: a cased character before, none after, ignorable ones aside. */
static bool sigma_is_final(Str s, size_t begin, size_t end)
{
    uint32_t code = 0;
    size_t at = begin;

    do {
        if (at == 0)
            return false;
        at = utf8_before(s, at, &code);
    } while (is_ignorable(code));
    if (!is_cased(code))
        return false;

    for (at = end; at < s.len;) {
        at = utf8_next(s, at, &code);
        if (!is_ignorable(code))
            return !is_cased(code);
    }
    return true;
}

static void add_code(StrBuf *out, uint32_t code)
{
    char bytes[4];
    strbuf_add(out, bytes, utf8_put(bytes, code));
}

static void add_title(StrBuf *out, uint32_t code)
{
    for (size_t i = 0; i < sizeof TITLE / sizeof *TITLE; i++)
        if (TITLE[i].code == code) {
            strbuf_add_text(out, TITLE[i].text);
            return;
        }
    add_code(out, (uint32_t)utf8proc_totitle((utf8proc_int32_t)code));
}

/* Lower-cases s from byte `at` on; what lies before it still decides about a final sigma. */
static void add_lower(StrBuf *out, Str s, size_t at)
{
    while (at < s.len) {
        const size_t begin = at;
        uint32_t code;

        at = utf8_next(s, at, &code);
        if (code == 0x130)
            strbuf_add_text(out, "i\xcc\x87");
        else if (code == 0x3a3)
            add_code(out, sigma_is_final(s, begin, at) ? 0x3c2 : 0x3c3);
        else
            add_code(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
    }
}

void py_capitalize(StrBuf *out, Str s)
{
    uint32_t code;

    if (s.len == 0)
        return;
    const size_t rest = utf8_next(s, 0, &code);
    add_title(out, code);
    add_lower(out, s, rest);
}

void py_lower(StrBuf *out, Str s)
{
    add_lower(out, s, 0);
}
