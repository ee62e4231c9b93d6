#include "model/tokenizer_private.h"

#include "core/utf8.h"

static const char replacement_char[] = "\xef\xbf\xbd"; /* U+FFFD */

void decode_drop_held(DecodeState *state, size_t n)
{
    StrBuf *held = &state->held;

    if (n == 0)
        return;
    memmove(held->data, held->data + n, held->len - n + 1);
    held->len -= n;
}

/* Ends the piece that has been written to the text. */
Status decode_end_piece(PieceList *list)
{
    TRY(strbuf_status(&list->text));
    TRY(MEM_GROW(list->end, list->cap, list->count + 1));
    list->end[list->count++] = list->text.len;
    return LT_OK;
}

static Str piece_at(const PieceList *list, size_t i)
{
    return str_slice(strbuf_str(&list->text), i == 0 ? 0 : list->end[i - 1], list->end[i]);
}

/* Length of an invalid sequence: the longest start of a valid one, at least a byte (Unicode 16, table 3-8). */
static size_t invalid_length(Str s)
{
    const uint8_t lead = (uint8_t)s.data[0];
    const size_t need = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    size_t n = 1;

    while (n < need && n < s.len) {
        const uint8_t byte = (uint8_t)s.data[n];
        if (byte < (n == 1 ? low : 0x80) || byte > (n == 1 ? high : 0xbf))
            break;
        n++;
    }
    return n;
}

static void add_lossy(StrBuf *out, Str bytes)
{
    while (bytes.len > 0) {
        const size_t valid = utf8_valid_prefix(bytes);
        strbuf_add(out, bytes.data, valid);
        bytes = str_slice(bytes, valid, bytes.len);
        if (bytes.len > 0) {
            strbuf_add_text(out, replacement_char);
            bytes = str_slice(bytes, invalid_length(bytes), bytes.len);
        }
    }
}

/* The bytes of a token, or its own text if it has a character outside the byte table. */
static void add_token_bytes(StrBuf *out, Str token)
{
    const size_t begin = out->len;
    uint32_t code;

    for (size_t at = 0; at < token.len;) {
        at = utf8_next(token, at, &code);
        const int byte = byte_level_byte(code);
        if (byte < 0) {
            if (!out->failed)
                out->len = begin;
            strbuf_add_str(out, token);
            return;
        }
        strbuf_add_char(out, (char)byte);
    }
}

/* Whether bytes that end a text may be the start of one character. The first two of an encoded surrogate count as such, though
 * they are wrong already: the reference's decoder waits for the third. */
static bool is_half_char(Str tail)
{
    const uint8_t lead = (uint8_t)tail.data[0];
    const size_t need = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const bool half_surrogate = lead == 0xed && tail.len == 2 && (uint8_t)tail.data[1] >= 0xa0;

    return tail.len < need && (invalid_length(tail) == tail.len || half_surrogate);
}

/* How much of the bytes no continuation can change: all but a last character that may yet be completed. */
static size_t settled_length(Str bytes)
{
    for (size_t n = 1; n < 4 && n <= bytes.len; n++) {
        const size_t at = bytes.len - n;
        if (((uint8_t)bytes.data[at] & 0xc0) != 0x80)
            return is_half_char(str_slice(bytes, at, bytes.len)) ? at : bytes.len;
    }
    return bytes.len;
}

static Status run_byte_level(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    StrBuf *bytes = &state->held;

    (void)step;
    for (size_t i = 0; i < in->count; i++)
        add_token_bytes(bytes, piece_at(in, i));
    TRY(strbuf_status(bytes));
    const Str all = strbuf_str(bytes);
    const size_t n = last ? all.len : settled_length(all);
    add_lossy(&out->text, str_slice(all, 0, n));
    decode_drop_held(state, n);
    return decode_end_piece(out);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of <0xHH>, -1 if the token is another. */
static int byte_token(Str token)
{
    if (token.len != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>')
        return -1;
    const int high = hex_digit(token.data[3]), low = hex_digit(token.data[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* A run of byte tokens: its text, or U+FFFD for every byte if the run as a whole is not UTF-8. */
static Status end_byte_run(DecodeState *state, PieceList *out)
{
    TRY(strbuf_status(&state->held));
    const Str run = strbuf_str(&state->held);
    if (run.len == 0)
        return LT_OK;
    if (utf8_valid_prefix(run) == run.len)
        strbuf_add_str(&out->text, run);
    else
        for (size_t i = 0; i < run.len; i++)
            strbuf_add_text(&out->text, replacement_char);
    strbuf_clear(&state->held);
    return decode_end_piece(out);
}

static Status run_byte_fallback(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    (void)step;
    for (size_t i = 0; i < in->count; i++) {
        const Str piece = piece_at(in, i);
        const int byte = byte_token(piece);
        if (byte >= 0) {
            strbuf_add_char(&state->held, (char)byte);
            continue;
        }
        TRY(end_byte_run(state, out));
        strbuf_add_str(&out->text, piece);
        TRY(decode_end_piece(out));
    }
    return last ? end_byte_run(state, out) : strbuf_status(&state->held);
}

static Status run_replace(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    (void)state, (void)last;
    for (size_t i = 0; i < in->count; i++) {
        TRY(pattern_replace(&step->pattern, piece_at(in, i), step->content, &out->text));
        TRY(decode_end_piece(out));
    }
    return LT_OK;
}

/* Joins the pieces of one call; that those of all calls are one text is for the steps behind to know (DecodeStep.whole). */
static Status run_fuse(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    (void)step, (void)state, (void)last;
    strbuf_add_str(&out->text, strbuf_str(&in->text));
    return decode_end_piece(out);
}

static Status run_strip(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    (void)state, (void)last;
    for (size_t i = 0; i < in->count; i++) {
        Str piece = piece_at(in, i);
        for (int64_t k = 0; k < step->start && str_starts(piece, step->content); k++)
            piece = str_slice(piece, step->content.len, piece.len);
        for (int64_t k = 0; k < step->stop && str_ends(piece, step->content); k++)
            piece.len -= step->content.len;
        strbuf_add_str(&out->text, piece);
        TRY(decode_end_piece(out));
    }
    return LT_OK;
}

/* The same for one text that comes in parts: what may be its end is held back. */
static Status run_strip_whole(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    Str text = strbuf_str(&in->text);

    for (; state->seen < step->start && str_starts(text, step->content); state->seen++)
        text = str_slice(text, step->content.len, text.len);
    if (text.len > 0)
        state->seen = step->start;
    strbuf_add_str(&state->held, text);
    TRY(strbuf_status(&state->held));
    text = strbuf_str(&state->held);
    for (int64_t k = 0; k < step->stop && str_ends(text, step->content); k++)
        text.len -= step->content.len;
    strbuf_add_str(&out->text, text);
    decode_drop_held(state, last ? state->held.len : text.len);
    return decode_end_piece(out);
}

/* The sign becomes a space; in the first token, where encoding may have put one, it goes away. */
static Status run_metaspace(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out)
{
    (void)last;
    for (size_t i = 0; i < in->count; i++) {
        py_replace(&out->text, piece_at(in, i), step->content, str_of(state->seen == 0 && step->drop_first ? "" : " "));
        state->seen = 1;
        TRY(decode_end_piece(out));
    }
    return LT_OK;
}

static Status read_replace(Tokenizer *t, JsonAt at, DecodeStep *step)
{
    Str text;

    TRY(json_get_str(&at, "content", &text));
    TRY(tokenizer_keep(t, text, &step->content));
    return pattern_read(t, &step->pattern, json_member(&at, "pattern"));
}

static Status read_one_char(Tokenizer *t, JsonAt at, const char *key, Str *out)
{
    Str text;

    TRY(json_get_str(&at, key, &text));
    if (text.len == 0 || utf8_count(text) != 1)
        return json_expected(json_member(&at, key), "one character");
    return tokenizer_keep(t, text, out);
}

static Status read_strip(Tokenizer *t, JsonAt at, DecodeStep *step)
{
    TRY(json_get_int(&at, "start", 0, INT32_MAX, &step->start));
    TRY(json_get_int(&at, "stop", 0, INT32_MAX, &step->stop));
    return read_one_char(t, at, "content", &step->content);
}

static Status read_metaspace(Tokenizer *t, JsonAt at, DecodeStep *step)
{
    Str scheme = str_of("always");
    bool prefix = true;

    TRY(json_opt_str(&at, "prepend_scheme", &scheme));
    TRY(json_opt_bool(&at, "add_prefix_space", &prefix));
    step->drop_first = prefix && !str_is(scheme, "never");
    return read_one_char(t, at, "replacement", &step->content);
}

static const struct {
    const char *type;
    DecodeRunFn *run;
    Status (*read)(Tokenizer *t, JsonAt at, DecodeStep *step); /* NULL: nothing to read */
    DecodeRunFn *run_whole; /* behind a step that makes one text of all pieces; NULL: has to wait for the end */
    bool fuses;
} kinds[] = {
    {"ByteLevel", run_byte_level, NULL, NULL, true},
    {"ByteFallback", run_byte_fallback, NULL, NULL, false},
    {"Fuse", run_fuse, NULL, run_fuse, true},
    {"Metaspace", run_metaspace, read_metaspace, NULL, false},
    {"Replace", run_replace, read_replace, NULL, false},
    {"Strip", run_strip, read_strip, run_strip_whole, false},
};

static Status read_step(Tokenizer *t, JsonAt at, Str type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type))
            continue;
        if (t->n_decode == STEPS_MAX)
            return json_fail(at, "more than %d decoders", STEPS_MAX);
        DecodeStep *step = &t->decode[t->n_decode++];
        step->run = t->decode_fused && kinds[i].run_whole != NULL ? kinds[i].run_whole : kinds[i].run;
        step->waits = t->decode_fused && kinds[i].run_whole == NULL;
        t->decode_fused |= kinds[i].fuses;
        return kinds[i].read != NULL ? kinds[i].read(t, at, step) : LT_OK;
    }
    return tokenizer_refuse_step(at, "decoder", type);
}

Status decode_read(Tokenizer *t, JsonAt at)
{
    return tokenizer_read_steps(t, at, "decoders", read_step);
}
