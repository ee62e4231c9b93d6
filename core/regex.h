/* Regular expressions through PCRE2: UTF + UCP, JIT where the machine has it.
 * Subjects must be valid UTF-8 (utf8_valid_prefix once); matching then skips PCRE2's own check, which would otherwise
 * walk the rest of the subject at every call and make tokenizing quadratic. */
#ifndef LETHE_CORE_REGEX_H
#define LETHE_CORE_REGEX_H

#include "core/strbuf.h"

typedef struct Regex Regex;

enum { REGEX_GROUPS = 16 };
/* Byte offsets; group 0 is the whole match; begin == SIZE_MAX where a group took no part. */
typedef struct RegexMatch {
    size_t begin[REGEX_GROUPS], end[REGEX_GROUPS];
    size_t n_group;
} RegexMatch;

typedef enum RegexFlags {
    REGEX_PLAIN = 0,
    REGEX_DOTALL = 1,
    REGEX_DOLLAR_END_ONLY = 2, /* $ only at the very end, not before a final newline */
    REGEX_CASELESS = 4,
} RegexFlags;

/* LT_E_INPUT with PCRE2's message and the offset if the pattern does not compile. Const and shareable once made. */
Status regex_compile(Regex **out, Str pattern, unsigned flags);
void regex_free(Regex *re);
/* First match at or after byte `from`. Bounded steps: a pattern that explodes is LT_E_INPUT, not a hang. Thread-safe. */
Status regex_find(const Regex *re, Str subject, size_t from, RegexMatch *match, bool *found);
/* "10.42 2022-12-11, Unicode 14.0.0, JIT": what doctor and run.json print. */
const char *regex_version(void);

#endif
