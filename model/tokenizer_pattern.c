#include "model/tokenizer_private.h"

#include "core/utf8.h"

#include <stdio.h>

/* \s of the reference, as the inside of a character class, and its complement. PCRE2's own \s has U+180E as well. */
static const char space_class[] = "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
                                  "\\x{205f}\\x{3000}";
static const char no_space_class[] = "\\x00-\\x08\\x0e-\\x1f\\x21-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}"
                                     "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
                                     "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}";

bool unicode_is_space(uint32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xa0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

static void add_ranges(StrBuf *out, const UnicodeRange *range, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_addf(out, "\\x{%x}-\\x{%x}", range[i].first, range[i].last);
}

typedef struct Shorthand {
    const char *written; /* behind the backslash */
    bool negated;        /* has no form inside a class that is a plain list */
    void (*add)(StrBuf *out);
} Shorthand;

static void add_space(StrBuf *out)
{
    strbuf_add_text(out, space_class);
}

static void add_no_space(StrBuf *out)
{
    strbuf_add_text(out, no_space_class);
}

static void add_letter(StrBuf *out)
{
    strbuf_add_text(out, "\\p{L}");
    add_ranges(out, unicode_letters_new, n_unicode_letters_new);
}

static void add_number(StrBuf *out)
{
    strbuf_add_text(out, "\\p{N}");
    add_ranges(out, unicode_numbers_new, n_unicode_numbers_new);
}

static const Shorthand shorthands[] = {
    {"s", false, add_space},     {"S", false, add_no_space}, {"p{L}", false, add_letter},
    {"p{N}", false, add_number}, {"P{L}", true, add_letter}, {"P{N}", true, add_number},
};

static const Shorthand *find_shorthand(Str behind_backslash)
{
    for (size_t i = 0; i < sizeof shorthands / sizeof *shorthands; i++)
        if (str_starts(behind_backslash, str_of(shorthands[i].written)))
            return &shorthands[i];
    return NULL;
}

/* Inside [...] a shorthand becomes its ranges, outside a class of its own. \P inside a class stays PCRE2's: it would need
 * the whole complement, and no known tokenizer has it. */
static void rewrite(StrBuf *out, Str pattern)
{
    bool in_class = false;

    for (size_t i = 0; i < pattern.len; i++) {
        const char c = pattern.data[i];
        if (c != '\\') {
            in_class = in_class ? c != ']' : c == '[';
            strbuf_add_char(out, c);
            continue;
        }
        const Shorthand *s = find_shorthand(str_slice(pattern, i + 1, pattern.len));
        if (s == NULL || (s->negated && in_class)) {
            strbuf_add(out, pattern.data + i, i + 1 < pattern.len ? 2 : 1);
            i++;
            continue;
        }
        if (!in_class)
            strbuf_add_text(out, s->negated ? "[^" : "[");
        s->add(out);
        if (!in_class)
            strbuf_add_char(out, ']');
        i += strlen(s->written);
    }
}

Status pattern_compile(Pattern *out, Str pattern)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    rewrite(&text, pattern);
    TRY_GOTO(strbuf_status(&text), st, done);
    /* $ in the reference's engine is the end of a line only in multi-line mode; behind a last newline it is not. */
    TRY_GOTO(regex_compile(&out->regex, strbuf_str(&text), REGEX_DOLLAR_END_ONLY), st, done);
    out->scan = scan_recognise(pattern);
done:
    strbuf_release(&text);
    return st;
}

Status pattern_read(Tokenizer *t, Pattern *out, JsonAt pattern)
{
    const JsonAt literal = json_member(&pattern, "String"), regex = json_member(&pattern, "Regex");
    char trouble[256];
    Str text;

    TRY(json_to_object(pattern));
    if (literal.value != NULL) {
        TRY(json_to_str(literal, &text));
        if (text.len == 0)
            return json_fail(literal, "an empty text cannot be searched for");
        return tokenizer_keep(t, text, &out->literal);
    }
    if (regex.value == NULL)
        return json_expected(pattern, "{\"Regex\": \"...\"} or {\"String\": \"...\"}");
    TRY(json_to_str(regex, &text));
    const Status st = pattern_compile(out, text);
    if (st != LT_E_INPUT)
        return st;
    snprintf(trouble, sizeof trouble, "%s", status_text());
    status_clear();
    return json_fail(regex, "%s", trouble);
}

static Status find_first(const PatternWalk *walk, size_t *begin, size_t *end, bool *found)
{
    const Str literal = walk->pattern->literal;
    RegexMatch match;

    if (walk->pattern->regex == NULL) {
        *begin = str_find(walk->text, literal, walk->from);
        *found = *begin != SIZE_MAX;
        *end = *begin + literal.len;
        return LT_OK;
    }
    TRY(regex_find(walk->pattern->regex, walk->text, walk->from, &match, found));
    *begin = match.begin[0];
    *end = match.end[0];
    return LT_OK;
}

Status pattern_next(PatternWalk *walk, size_t *begin, size_t *end, bool *found)
{
    uint32_t code;

    for (*found = false; walk->from <= walk->text.len;) {
        TRY(find_first(walk, begin, end, found));
        if (!*found)
            return LT_OK;
        if (*begin < *end || *end != walk->last_end) {
            walk->from = walk->last_end = *end;
            return LT_OK;
        }
        *found = false;
        walk->from = walk->from < walk->text.len ? utf8_next(walk->text, walk->from, &code) : SIZE_MAX;
    }
    return LT_OK;
}

Status text_grew(size_t from)
{
    return FAIL(LT_E_INPUT, "the tokenizer's replacements turn a text of %zu bytes into more than %zu", from, text_growth_max(from));
}

Status pattern_replace(const Pattern *pattern, Str text, Str content, StrBuf *out)
{
    PatternWalk walk = {.pattern = pattern, .text = text, .last_end = SIZE_MAX};
    const size_t start = out->len;
    size_t begin, end, done = 0;
    bool found;

    for (;;) {
        TRY(pattern_next(&walk, &begin, &end, &found));
        if (!found)
            break;
        strbuf_add_str(out, str_slice(text, done, begin));
        if (out->len - start > text_growth_max(text.len) || content.len > text_growth_max(text.len))
            return text_grew(text.len);
        strbuf_add_str(out, content);
        done = end;
    }
    strbuf_add_str(out, str_slice(text, done, text.len));
    return strbuf_status(out);
}

void pattern_release(Pattern *pattern)
{
    regex_free(pattern->regex);
}
