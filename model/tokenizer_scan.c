/* The three patterns that nearly every byte-level file has, walked by hand: two to three times as fast as PCRE2's JIT, whose time goes into entering and
 * leaving a match for every word. A pattern is recognised by its exact text, and tests hold every cut against PCRE2's.
 *
 * All three try, in this order: a contraction; letters; numbers; anything else but space; space. Every character is of one of the four classes, so
 * matches follow each other without gaps. */
#include "model/tokenizer_private.h"

#include "core/utf8.h"

#include <utf8proc.h>

static const struct {
    const char *text;
    PatternScan scan;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", SCAN_GPT2},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SCAN_LLAMA3},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     SCAN_QWEN2},
};

PatternScan scan_recognise(Str pattern)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_is(pattern, known[i].text))
            return known[i].scan;
    return SCAN_NONE;
}

static bool in_ranges(uint32_t code, const UnicodeRange *range, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (code >= range[i].first && code <= range[i].last)
            return true;
    return false;
}

CharClass scan_class(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CHAR_NUMBER;
    case UTF8PROC_CATEGORY_CN: /* unassigned when the library's tables were made */
        if (in_ranges(code, unicode_letters_new, n_unicode_letters_new))
            return CHAR_LETTER;
        return in_ranges(code, unicode_numbers_new, n_unicode_numbers_new) ? CHAR_NUMBER : CHAR_OTHER;
    default:
        return unicode_is_space(code) ? CHAR_SPACE : CHAR_OTHER;
    }
}

/* The class of the character at a place, and where it ends. Behind the text: no class. */
static CharClass class_at(Str text, size_t at, size_t *end)
{
    uint32_t code;

    *end = at;
    if (at == text.len)
        return CHAR_NONE;
    const uint8_t c = (uint8_t)text.data[at];
    if (c >= 0x80) {
        *end = utf8_next(text, at, &code);
        return scan_class(code);
    }
    *end = at + 1;
    if ((uint8_t)((c | 0x20) - 'a') < 26)
        return CHAR_LETTER;
    if (c == ' ' || (c >= '\t' && c <= '\r'))
        return CHAR_SPACE;
    return (uint8_t)(c - '0') < 10 ? CHAR_NUMBER : CHAR_OTHER;
}

/* Behind a run of one class, of n_max characters at most. */
static size_t skip_class(Str text, size_t at, CharClass class, size_t n_max)
{
    size_t end;

    for (; n_max > 0 && class_at(text, at, &end) == class; n_max--)
        at = end;
    return at;
}

/* The end of 's 't 're 've 'm 'll 'd, or `at`. Folding knows one more spelling of s: the long one, U+017F. */
static size_t skip_contraction(Str text, size_t at, bool fold)
{
    const Str rest = str_slice(text, at + 1, text.len);
    const char bit = fold ? 0x20 : 0;

    if (rest.len == 0)
        return at;
    const char first = (char)(rest.data[0] | bit), second = (char)(rest.len > 1 ? rest.data[1] | bit : '\0');
    if (first == 's' || first == 't' || first == 'm' || first == 'd')
        return at + 2;
    if (((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l'))
        return at + 3;
    return fold && str_starts(rest, str_of("\xc5\xbf")) ? at + 3 : at;
}

/* Space: up to the last line break (not GPT-2), else all but the last character if a word follows, else all. */
static size_t skip_space(Str text, size_t at, bool breaks)
{
    size_t last = at, behind_break = at, end = at, next;

    while (class_at(text, end, &next) == CHAR_SPACE) {
        if (text.data[end] == '\n' || text.data[end] == '\r')
            behind_break = next;
        last = end;
        end = next;
    }
    if (breaks && behind_break > at)
        return behind_break;
    return end < text.len && last > at ? last : end;
}

static bool is_break(char c)
{
    return c == '\n' || c == '\r';
}

static size_t skip_other(Str text, size_t at, bool breaks)
{
    at = skip_class(text, at, CHAR_OTHER, SIZE_MAX);
    while (breaks && at < text.len && is_break(text.data[at]))
        at++;
    return at;
}

static size_t next_gpt2(Str text, size_t at)
{
    const size_t word = at + (text.data[at] == ' ');
    size_t end;

    if (text.data[at] == '\'' && (end = skip_contraction(text, at, false)) > at)
        return end;
    const CharClass class = class_at(text, word, &end);
    return class == CHAR_SPACE || class == CHAR_NONE ? skip_space(text, at, false) : skip_class(text, end, class, SIZE_MAX);
}

static size_t next_llama3(Str text, size_t at, size_t n_number)
{
    size_t first_end, end;

    if (text.data[at] == '\'' && (end = skip_contraction(text, at, true)) > at)
        return end;
    const CharClass class = class_at(text, at, &first_end);
    if (class == CHAR_LETTER)
        return skip_class(text, first_end, CHAR_LETTER, SIZE_MAX);
    if (class == CHAR_NUMBER)
        return skip_class(text, first_end, CHAR_NUMBER, n_number - 1);
    /* One character, but no line break, may stand in front of letters. */
    const CharClass follows = class_at(text, first_end, &end);
    if (follows == CHAR_LETTER && !is_break(text.data[at]))
        return skip_class(text, end, CHAR_LETTER, SIZE_MAX);
    if (class == CHAR_OTHER)
        return skip_other(text, first_end, true);
    return text.data[at] == ' ' && follows == CHAR_OTHER ? skip_other(text, end, true) : skip_space(text, at, true);
}

size_t scan_next(PatternScan scan, Str text, size_t at)
{
    switch (scan) {
    case SCAN_GPT2:
        return next_gpt2(text, at);
    case SCAN_LLAMA3:
        return next_llama3(text, at, 3);
    default:
        return next_llama3(text, at, 1);
    }
}
