#include "model/tokenizer_private.h"

#include <utf8proc.h>

static Status run_prepend(const NormalStep *step, NormalWork *work, Str in, StrBuf *out)
{
    (void)work;
    if (in.len > 0)
        strbuf_add_str(out, step->content);
    strbuf_add_str(out, in);
    return strbuf_status(out);
}

static Status run_replace(const NormalStep *step, NormalWork *work, Str in, StrBuf *out)
{
    (void)work;
    return pattern_replace(&step->pattern, in, step->content, out);
}

/* One stretch through utf8proc. */
static Status add_form(StrBuf *out, NormalWork *work, Str in, utf8proc_option_t form)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | form;
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)in.data;
    utf8proc_ssize_t n = 0;

    for (int pass = 0; pass < 2; pass++) {
        /* One more than the code points: utf8proc writes a NUL behind the text it encodes in place. */
        TRY(MEM_GROW(work->code, work->code_cap, (size_t)n + 1));
        n = utf8proc_decompose(text, (utf8proc_ssize_t)in.len, work->code, (utf8proc_ssize_t)work->code_cap - 1, options);
        if (n < 0)
            return FAIL(LT_E_INPUT, "unicode normalization failed: %s", utf8proc_errmsg(n));
        if ((size_t)n < work->code_cap)
            break;
    }
    n = utf8proc_reencode(work->code, n, options);
    if (n < 0)
        return FAIL(LT_E_INPUT, "unicode normalization failed: %s", utf8proc_errmsg(n));
    strbuf_add(out, (const char *)work->code, (size_t)n);
    return LT_OK;
}

/* Lead bytes below this one are of characters under U+0300: starters that never join what stands before them. */
enum { FIRST_COMBINING_LEAD = 0xcc };

static bool begins_plain(char c)
{
    const uint8_t byte = (uint8_t)c;

    return byte < 0x80 || (byte >= 0xc0 && byte < FIRST_COMBINING_LEAD);
}

/* Text below U+0300 is in form C already, so only the stretches of higher characters, each with the character before it
 * (a mark may join it), are normalised. */
static Status run_compose(const NormalStep *step, NormalWork *work, Str in, StrBuf *out)
{
    size_t done = 0, at = 0;

    (void)step;
    while (at < in.len) {
        if ((uint8_t)in.data[at] < FIRST_COMBINING_LEAD) {
            at++;
            continue;
        }
        size_t begin = at > done ? at - 1 : at, end = at;
        while (begin > done && ((uint8_t)in.data[begin] & 0xc0) == 0x80)
            begin--;
        while (end < in.len && !begins_plain(in.data[end]))
            end++;
        strbuf_add_str(out, str_slice(in, done, begin));
        TRY(add_form(out, work, str_slice(in, begin, end), UTF8PROC_COMPOSE));
        done = at = end;
    }
    strbuf_add_str(out, str_slice(in, done, in.len));
    return strbuf_status(out);
}

static Status run_decompose(const NormalStep *step, NormalWork *work, Str in, StrBuf *out)
{
    (void)step;
    TRY(add_form(out, work, in, UTF8PROC_DECOMPOSE));
    return strbuf_status(out);
}

static Status read_prepend(Tokenizer *t, JsonAt at, NormalStep *step)
{
    Str text;

    TRY(json_get_str(&at, "prepend", &text));
    return tokenizer_keep(t, text, &step->content);
}

static Status read_replace(Tokenizer *t, JsonAt at, NormalStep *step)
{
    Str text;

    TRY(json_get_str(&at, "content", &text));
    TRY(tokenizer_keep(t, text, &step->content));
    return pattern_read(t, &step->pattern, json_member(&at, "pattern"));
}

static const struct {
    const char *type;
    Status (*run)(const NormalStep *step, NormalWork *work, Str in, StrBuf *out);
    Status (*read)(Tokenizer *t, JsonAt at, NormalStep *step); /* NULL: nothing to read */
} kinds[] = {
    {"NFC", run_compose, NULL},
    {"NFD", run_decompose, NULL},
    {"Prepend", run_prepend, read_prepend},
    {"Replace", run_replace, read_replace},
};

static Status read_step(Tokenizer *t, JsonAt at, Str type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type))
            continue;
        if (t->n_normal == STEPS_MAX)
            return json_fail(at, "more than %d normalizers", STEPS_MAX);
        NormalStep *step = &t->normal[t->n_normal++];
        step->run = kinds[i].run;
        return kinds[i].read != NULL ? kinds[i].read(t, at, step) : LT_OK;
    }
    return tokenizer_refuse_step(at, "normalizer", type);
}

Status normal_read(Tokenizer *t, JsonAt at)
{
    return tokenizer_read_steps(t, at, "normalizers", read_step);
}

Status normal_run(const Tokenizer *t, NormalWork *work, Str in, Str *out)
{
    const size_t bytes = in.len;

    for (size_t i = 0; i < t->n_normal; i++) {
        StrBuf *next = &work->text[i % 2];
        strbuf_clear(next);
        TRY(t->normal[i].run(&t->normal[i], work, in, next));
        in = strbuf_str(next);
        if (in.len > text_growth_max(bytes))
            return text_grew(bytes);
    }
    *out = in;
    return LT_OK;
}

void normal_work_release(NormalWork *work)
{
    strbuf_release(&work->text[0]);
    strbuf_release(&work->text[1]);
    mem_free(work->code);
}
