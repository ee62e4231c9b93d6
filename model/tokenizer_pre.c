#include "model/tokenizer_private.h"

#include "core/utf8.h"

/* GPT-2's pattern, which ByteLevel has built in. */
static const char byte_level_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Whether an item (match or gap) grows the one before it instead of standing alone. */
static bool joins(SplitBehavior behavior, bool last_matched, bool matched)
{
    switch (behavior) {
    case SPLIT_MERGED_WITH_PREVIOUS:
        return matched && !last_matched;
    case SPLIT_MERGED_WITH_NEXT:
        return !matched && last_matched;
    case SPLIT_CONTIGUOUS:
        return matched == last_matched;
    default:
        return false;
    }
}

/* The piece that may still grow while a text is being cut. */
typedef struct Splitter {
    Encoder *e;
    size_t step;
    Piece whole;
    size_t begin, end;
    bool open, matched; /* matched: the last item was a match */
} Splitter;

static Status close_piece(Splitter *s)
{
    const PreStep *step = &s->e->t->pre[s->step];

    if (!s->open || s->begin == s->end || (step->behavior == SPLIT_REMOVED && s->matched))
        return LT_OK;
    return pre_run(s->e, s->step + 1, (Piece){str_slice(s->whole.text, s->begin, s->end), s->whole.first && s->begin == 0});
}

static Status add_item(Splitter *s, size_t begin, size_t end, bool matched)
{
    const PreStep *step = &s->e->t->pre[s->step];

    matched ^= step->invert;
    if (s->open && joins(step->behavior, s->matched, matched)) {
        s->end = end;
    } else {
        TRY(close_piece(s));
        s->begin = begin;
        s->end = end;
        s->open = true;
    }
    s->matched = matched;
    return LT_OK;
}

static Status run_scan(Encoder *e, size_t step, Piece piece)
{
    const PatternScan scan = e->t->pre[step].pattern.scan;

    for (size_t at = 0, end; at < piece.text.len; at = end) {
        end = scan_next(scan, piece.text, at);
        TRY(pre_run(e, step + 1, (Piece){str_slice(piece.text, at, end), piece.first && at == 0}));
    }
    return LT_OK;
}

static Status run_split(Encoder *e, size_t step, Piece piece)
{
    PatternWalk walk = {.pattern = &e->t->pre[step].pattern, .text = piece.text, .last_end = SIZE_MAX};
    Splitter s = {.e = e, .step = step, .whole = piece};
    size_t begin, end, done = 0;
    bool found;

    if (e->t->pre[step].pattern.scan != SCAN_NONE && e->t->pre[step].behavior == SPLIT_ISOLATED)
        return run_scan(e, step, piece);
    for (;;) {
        TRY(pattern_next(&walk, &begin, &end, &found));
        if (!found)
            break;
        if (done < begin)
            TRY(add_item(&s, done, begin, false));
        TRY(add_item(&s, begin, end, true));
        done = end;
    }
    if (done < piece.text.len)
        TRY(add_item(&s, done, piece.text.len, false));
    return close_piece(&s);
}

static Status run_byte_level(Encoder *e, size_t step, Piece piece)
{
    const PreStep *s = &e->t->pre[step];
    StrBuf *text = &e->rewritten[step];

    if (s->prefix_space && piece.text.data[0] != ' ') {
        strbuf_clear(text);
        strbuf_add_char(text, ' ');
        strbuf_add_str(text, piece.text);
        TRY(strbuf_status(text));
        piece.text = strbuf_str(text);
    }
    return s->use_pattern ? run_split(e, step, piece) : pre_run(e, step + 1, piece);
}

/* Cuts in front of every replacement sign. */
static Status cut_at_signs(Encoder *e, size_t step, Piece piece)
{
    const Str sign = e->t->pre[step].replacement;
    size_t begin = 0;

    while (begin < piece.text.len) {
        size_t end = str_find(piece.text, sign, begin + 1);
        end = end == SIZE_MAX ? piece.text.len : end;
        TRY(pre_run(e, step + 1, (Piece){str_slice(piece.text, begin, end), piece.first && begin == 0}));
        begin = end;
    }
    return LT_OK;
}

static Status run_metaspace(Encoder *e, size_t step, Piece piece)
{
    const PreStep *s = &e->t->pre[step];
    StrBuf *text = &e->rewritten[step];
    const bool wanted = s->scheme == PREPEND_ALWAYS || (s->scheme == PREPEND_FIRST && piece.first);

    strbuf_clear(text);
    if (wanted && piece.text.data[0] != ' ' && !str_starts(piece.text, s->replacement))
        strbuf_add_str(text, s->replacement);
    py_replace(text, piece.text, str_of(" "), s->replacement);
    TRY(strbuf_status(text));
    piece.text = strbuf_str(text);
    return s->split ? cut_at_signs(e, step, piece) : pre_run(e, step + 1, piece);
}

Status pre_run(Encoder *e, size_t step, Piece piece)
{
    return step == e->t->n_pre ? bpe_encode(e, piece.text) : e->t->pre[step].run(e, step, piece);
}

static Status read_split(Tokenizer *t, JsonAt at, PreStep *step)
{
    static const char *const names[] = {
        [SPLIT_REMOVED] = "Removed",
        [SPLIT_ISOLATED] = "Isolated",
        [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const JsonAt behavior = json_member(&at, "behavior");
    Str name;
    size_t i = 0;

    TRY(json_to_str(behavior, &name));
    while (i < sizeof names / sizeof *names && !str_is(name, names[i]))
        i++;
    if (i == sizeof names / sizeof *names)
        return json_expected(behavior, "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
    step->behavior = (SplitBehavior)i;
    TRY(json_opt_bool(&at, "invert", &step->invert));
    return pattern_read(t, &step->pattern, json_member(&at, "pattern"));
}

static Status read_digits(Tokenizer *t, JsonAt at, PreStep *step)
{
    bool one_by_one = false;

    (void)t;
    TRY(json_opt_bool(&at, "individual_digits", &one_by_one));
    step->behavior = one_by_one ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return pattern_compile(&step->pattern, str_of("\\p{N}"));
}

static Status read_byte_level(Tokenizer *t, JsonAt at, PreStep *step)
{
    step->behavior = SPLIT_ISOLATED;
    step->prefix_space = true;
    step->use_pattern = true; /* files from before the option have the pattern always */
    t->byte_level = true;
    TRY(json_opt_bool(&at, "add_prefix_space", &step->prefix_space));
    TRY(json_opt_bool(&at, "use_regex", &step->use_pattern));
    return step->use_pattern ? pattern_compile(&step->pattern, str_of(byte_level_pattern)) : LT_OK;
}

static Status read_metaspace(Tokenizer *t, JsonAt at, PreStep *step)
{
    const JsonAt scheme = json_member(&at, "prepend_scheme");
    Str text = str_of("always");
    bool prefix = true;

    step->split = true;
    TRY(json_opt_bool(&at, "split", &step->split));
    TRY(json_opt_bool(&at, "add_prefix_space", &prefix)); /* the older spelling of "never" */
    TRY(json_opt_str(&at, "prepend_scheme", &text));
    if (str_is(text, "always"))
        step->scheme = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    else if (str_is(text, "first"))
        step->scheme = PREPEND_FIRST;
    else if (str_is(text, "never"))
        step->scheme = PREPEND_NEVER;
    else
        return json_expected(scheme, "always, first or never");
    TRY(json_get_str(&at, "replacement", &text));
    if (text.len == 0 || utf8_count(text) != 1)
        return json_expected(json_member(&at, "replacement"), "one character");
    return tokenizer_keep(t, text, &step->replacement);
}

static const struct {
    const char *type;
    Status (*run)(Encoder *e, size_t step, Piece piece);
    Status (*read)(Tokenizer *t, JsonAt at, PreStep *step);
} kinds[] = {
    {"ByteLevel", run_byte_level, read_byte_level},
    {"Digits", run_split, read_digits},
    {"Metaspace", run_metaspace, read_metaspace},
    {"Split", run_split, read_split},
};

static Status read_step(Tokenizer *t, JsonAt at, Str type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type))
            continue;
        /* The bytes become characters behind ByteLevel, which nothing but the model expects. */
        if (t->byte_level)
            return json_fail(at, "pre-tokenizer '" STR_FORMAT "' behind ByteLevel is not supported", STR_ARG(type));
        if (t->n_pre == STEPS_MAX)
            return json_fail(at, "more than %d pre-tokenizers", STEPS_MAX);
        PreStep *step = &t->pre[t->n_pre++];
        step->run = kinds[i].run;
        return kinds[i].read(t, at, step);
    }
    return tokenizer_refuse_step(at, "pre-tokenizer", type);
}

Status pre_read(Tokenizer *t, JsonAt at)
{
    return tokenizer_read_steps(t, at, "pretokenizers", read_step);
}
