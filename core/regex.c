#include "core/regex.h"

#include <stdatomic.h>
#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    SPARES = 16,
    MATCH_STEPS = 10000000,  /* PCRE2's own default, written down: about a tenth of a second */
    MATCH_KBYTES = 256 << 10 /* heap of the interpreter's backtracking */
};

/* Making match data for every call costs more than a short match. Finished ones wait here; a thread takes one by exchange,
 * so two threads never hold the same. */
typedef struct Spares {
    _Atomic(pcre2_match_data *) data[SPARES];
} Spares;

struct Regex {
    pcre2_general_context *general;
    pcre2_code *code;
    pcre2_match_context *limits;
    Spares *spares;
};

static void *take(size_t bytes, void *unused)
{
    (void)unused;
    return mem_take(1, bytes);
}

static void give(void *block, void *unused)
{
    (void)unused;
    mem_free(block);
}

static Status compile(Regex *re, Str pattern, unsigned flags)
{
    /* \C would match half a character and so break the promise that offsets lie between characters. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
    PCRE2_UCHAR text[160];
    PCRE2_SIZE offset;
    int error;

    if (flags & REGEX_DOTALL)
        options |= PCRE2_DOTALL;
    if (flags & REGEX_DOLLAR_END_ONLY)
        options |= PCRE2_DOLLAR_ENDONLY;
    if (flags & REGEX_CASELESS)
        options |= PCRE2_CASELESS;

    pcre2_compile_context *context = pcre2_compile_context_create(re->general);
    if (context == NULL)
        return FAIL(LT_E_NOMEM, "out of memory for a regular expression");
    re->code = pcre2_compile(pattern.data != NULL ? (PCRE2_SPTR)pattern.data : (PCRE2_SPTR) "", pattern.len, options,
                             &error, &offset, context);
    pcre2_compile_context_free(context);
    if (re->code == NULL && error == PCRE2_ERROR_HEAP_FAILED)
        return FAIL(LT_E_NOMEM, "out of memory for a regular expression");
    if (re->code == NULL) {
        pcre2_get_error_message(error, text, sizeof text);
        return FAIL(LT_E_INPUT, "regular expression '" STR_FORMAT "': %s at byte %zu", STR_ARG(pattern), (char *)text,
                    offset);
    }
    /* Without JIT (another architecture, no executable memory) the interpreter gives the same matches, slower. */
    if (pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == PCRE2_ERROR_NOMEMORY)
        status_clear();
    return LT_OK;
}

Status regex_compile(Regex **out, Str pattern, unsigned flags)
{
    Regex *re;
    Status st;

    TRY(MEM_NEW(re, 1));
    TRY_GOTO(MEM_NEW(re->spares, 1), st, failed);
    re->general = pcre2_general_context_create(take, give, NULL);
    re->limits = re->general != NULL ? pcre2_match_context_create(re->general) : NULL;
    if (re->limits == NULL) {
        st = FAIL(LT_E_NOMEM, "out of memory for a regular expression");
        goto failed;
    }
    pcre2_set_match_limit(re->limits, MATCH_STEPS);
    pcre2_set_heap_limit(re->limits, MATCH_KBYTES);
    TRY_GOTO(compile(re, pattern, flags), st, failed);
    *out = re;
    return LT_OK;
failed:
    regex_free(re);
    return st;
}

void regex_free(Regex *re)
{
    if (re == NULL)
        return;
    for (size_t i = 0; re->spares != NULL && i < SPARES; i++)
        pcre2_match_data_free(atomic_load(&re->spares->data[i]));
    mem_free(re->spares);
    pcre2_code_free(re->code);
    pcre2_match_context_free(re->limits);
    pcre2_general_context_free(re->general);
    mem_free(re);
}

static pcre2_match_data *take_match_data(const Regex *re)
{
    for (size_t i = 0; i < SPARES; i++) {
        pcre2_match_data *data = atomic_load_explicit(&re->spares->data[i], memory_order_relaxed);
        if (data != NULL && (data = atomic_exchange(&re->spares->data[i], NULL)) != NULL)
            return data;
    }
    return pcre2_match_data_create(REGEX_GROUPS, re->general);
}

static void give_match_data(const Regex *re, pcre2_match_data *data)
{
    for (size_t i = 0; i < SPARES; i++) {
        pcre2_match_data *none = NULL;
        if (atomic_compare_exchange_strong(&re->spares->data[i], &none, data))
            return;
    }
    pcre2_match_data_free(data);
}

static Status match_failed(int error)
{
    PCRE2_UCHAR text[160];

    if (error == PCRE2_ERROR_NOMEMORY)
        return FAIL(LT_E_NOMEM, "out of memory while matching a regular expression");
    if (error == PCRE2_ERROR_MATCHLIMIT || error == PCRE2_ERROR_HEAPLIMIT)
        return FAIL(LT_E_INPUT, "a regular expression needs more than %d steps or %d MiB on this text", MATCH_STEPS,
                    MATCH_KBYTES >> 10);
    pcre2_get_error_message(error, text, sizeof text);
    return FAIL(LT_E_INPUT, "matching a regular expression failed: %s", (char *)text);
}

Status regex_find(const Regex *re, Str subject, size_t from, RegexMatch *match, bool *found)
{
    const PCRE2_SPTR text = subject.data != NULL ? (PCRE2_SPTR)subject.data : (PCRE2_SPTR) "";
    pcre2_match_data *data = take_match_data(re);

    if (data == NULL)
        return match_failed(PCRE2_ERROR_NOMEMORY);
    int n = pcre2_match(re->code, text, subject.len, from, PCRE2_NO_UTF_CHECK, data, re->limits);
    /* JIT code has a small stack of its own; deep backtracking goes on in the interpreter, which has the heap. */
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(re->code, text, subject.len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, re->limits);

    if (n >= 0) {
        /* 0: the pattern has more groups than we keep. */
        const PCRE2_SIZE *offset = pcre2_get_ovector_pointer(data);
        match->n_group = n == 0 ? REGEX_GROUPS : (size_t)n;
        for (size_t i = 0; i < REGEX_GROUPS; i++) {
            const bool took_part = i < match->n_group && offset[2 * i] != PCRE2_UNSET;
            match->begin[i] = took_part ? offset[2 * i] : SIZE_MAX;
            match->end[i] = took_part ? offset[2 * i + 1] : SIZE_MAX;
        }
    }
    give_match_data(re, data);
    if (n < 0 && n != PCRE2_ERROR_NOMATCH)
        return match_failed(n);
    /* \K in a group that a lookaround calls moves the start of the match before `from` or behind its end. */
    if (n >= 0 && (match->begin[0] < from || match->begin[0] > match->end[0]))
        return FAIL(LT_E_INPUT, "a regular expression matches bytes %zu to %zu when searching from %zu", match->begin[0], match->end[0], from);
    *found = n >= 0;
    return LT_OK;
}

const char *regex_version(void)
{
    static _Thread_local char text[96];
    char version[32], unicode[32];
    uint32_t jit = 0;

    pcre2_config(PCRE2_CONFIG_VERSION, version);
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, unicode);
    pcre2_config(PCRE2_CONFIG_JIT, &jit);
    snprintf(text, sizeof text, "%s, Unicode %s, %s", version, unicode, jit ? "JIT" : "no JIT");
    return text;
}
