#include "model/tokenizer_private.h"

#include "core/utf8.h"

static const char replacement_char[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Ends the piece that has been written to the text. */
static Status end_piece(PieceList *list)
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

static Status run_byte_level(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    StrBuf bytes;

    (void)step;
    strbuf_init(&bytes);
    for (size_t i = 0; i < in->count; i++)
        add_token_bytes(&bytes, piece_at(in, i));
    const Status st = strbuf_status(&bytes);
    if (st == LT_OK)
        add_lossy(&out->text, strbuf_str(&bytes));
    strbuf_release(&bytes);
    TRY(st);
    return end_piece(out);
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
static Status end_byte_run(PieceList *out, size_t begin)
{
    StrBuf *text = &out->text;

    TRY(strbuf_status(text));
    const size_t n = text->len - begin;
    if (n == 0)
        return LT_OK;
    if (utf8_valid_prefix((Str){text->data + begin, n}) != n) {
        text->len = begin;
        for (size_t i = 0; i < n; i++)
            strbuf_add_text(text, replacement_char);
    }
    return end_piece(out);
}

static Status run_byte_fallback(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    size_t begin = 0;

    (void)step;
    for (size_t i = 0; i < in->count; i++) {
        const Str piece = piece_at(in, i);
        const int byte = byte_token(piece);
        if (byte >= 0) {
            strbuf_add_char(&out->text, (char)byte);
            continue;
        }
        TRY(end_byte_run(out, begin));
        strbuf_add_str(&out->text, piece);
        TRY(end_piece(out));
        begin = out->text.len;
    }
    return end_byte_run(out, begin);
}

static Status run_replace(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    for (size_t i = 0; i < in->count; i++) {
        TRY(pattern_replace(&step->pattern, piece_at(in, i), step->content, &out->text));
        TRY(end_piece(out));
    }
    return LT_OK;
}

static Status run_fuse(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    (void)step;
    strbuf_add_str(&out->text, strbuf_str(&in->text));
    return end_piece(out);
}

static Status run_strip(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    for (size_t i = 0; i < in->count; i++) {
        Str piece = piece_at(in, i);
        for (int64_t k = 0; k < step->start && str_starts(piece, step->content); k++)
            piece = str_slice(piece, step->content.len, piece.len);
        for (int64_t k = 0; k < step->stop && str_ends(piece, step->content); k++)
            piece.len -= step->content.len;
        strbuf_add_str(&out->text, piece);
        TRY(end_piece(out));
    }
    return LT_OK;
}

/* The sign becomes a space; in the first token, where encoding may have put one, it goes away. */
static Status run_metaspace(const DecodeStep *step, const PieceList *in, PieceList *out)
{
    for (size_t i = 0; i < in->count; i++) {
        py_replace(&out->text, piece_at(in, i), step->content, str_of(i == 0 && step->drop_first ? "" : " "));
        TRY(end_piece(out));
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
    Status (*run)(const DecodeStep *step, const PieceList *in, PieceList *out);
    Status (*read)(Tokenizer *t, JsonAt at, DecodeStep *step); /* NULL: nothing to read */
} kinds[] = {
    {"ByteLevel", run_byte_level, NULL},          {"ByteFallback", run_byte_fallback, NULL}, {"Fuse", run_fuse, NULL},
    {"Metaspace", run_metaspace, read_metaspace}, {"Replace", run_replace, read_replace},    {"Strip", run_strip, read_strip},
};

static Status read_step(Tokenizer *t, JsonAt at, Str type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!str_is(type, kinds[i].type))
            continue;
        if (t->n_decode == STEPS_MAX)
            return json_fail(at, "more than %d decoders", STEPS_MAX);
        DecodeStep *step = &t->decode[t->n_decode++];
        step->run = kinds[i].run;
        return kinds[i].read != NULL ? kinds[i].read(t, at, step) : LT_OK;
    }
    return tokenizer_refuse_step(at, "decoder", type);
}

Status decode_read(Tokenizer *t, JsonAt at)
{
    return tokenizer_read_steps(t, at, "decoders", read_step);
}

static Status list_tokens(const Tokenizer *t, const int32_t *id, size_t n, bool skip_special, PieceList *list)
{
    for (size_t i = 0; i < n; i++) {
        if (!vocab_has(&t->vocab, id[i]) || (skip_special && tokenizer_is_special(t, id[i])))
            continue;
        if (t->decode_joins_by_space && list->count > 0)
            strbuf_add_char(&list->text, ' ');
        strbuf_add_str(&list->text, t->vocab.text[id[i]]);
        TRY(end_piece(list));
    }
    return LT_OK;
}

Status tokenizer_decode(const Tokenizer *t, const int32_t *id, size_t n, bool skip_special, StrBuf *out)
{
    PieceList list[2] = {0};
    size_t now = 0;
    Status st;

    TRY_GOTO(list_tokens(t, id, n, skip_special, &list[now]), st, done);
    for (size_t i = 0; i < t->n_decode; i++) {
        PieceList *next = &list[1 - now];
        strbuf_clear(&next->text);
        next->count = 0;
        TRY_GOTO(t->decode[i].run(&t->decode[i], &list[now], next), st, done);
        now = 1 - now;
    }
    strbuf_add_str(out, strbuf_str(&list[now].text));
    st = strbuf_status(out);
done:
    for (int i = 0; i < 2; i++) {
        strbuf_release(&list[i].text);
        mem_free(list[i].end);
    }
    return st;
}
