/* tokenizer.model: SentencePiece's ModelProto, for byte-pair models, made into the same Tokenizer that a tokenizer.json gives.
 *
 * SentencePiece merges the neighbours whose joined text is the piece of the highest score, leftmost first. So every way to cut a piece into two
 * pieces is a merge, and its rank is the rank of the piece's score; equal scores share one. Unlike in a tokenizer.json, control pieces ("<s>")
 * are not looked for in the text: there they are ordinary characters.
 * Source: sentencepiece_model.proto and bpe_model.cc of SentencePiece. */
#include "model/tokenizer_private.h"

#include "model/tokenizer_protobuf.h"

#include "core/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum PieceKind { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER_DEFINED, PIECE_UNUSED, PIECE_BYTE } PieceKind;

/* Looking for the ways to cut a piece takes the square of its length. SentencePiece's own limit is 16 characters unless told otherwise. */
enum { PIECE_BYTES_MAX = 256 };

enum { MODEL_BPE = 2 };
static const char *const model_names[] = {[1] = "unigram", [MODEL_BPE] = "bpe", [3] = "word", [4] = "char"};

typedef struct SpPiece {
    Str text;
    float score;
    PieceKind kind;
    size_t at; /* in the file */
} SpPiece;

typedef struct SpModel {
    SpPiece *piece;
    size_t count, cap;
    int64_t model_type;
    bool byte_fallback, suffix_space, dummy_prefix, squeeze, escape;
    Str bos, eos, pad, normalizer;
    const char *file;
} SpModel;

static Status read_piece(SpModel *m, const WireField *field)
{
    SpPiece p = {.kind = PIECE_NORMAL, .at = field->at};
    int64_t kind = PIECE_NORMAL;
    WireField f;
    Wire w;
    bool more;

    TRY(wire_to_message(field, &w));
    for (;;) {
        TRY(wire_next(&w, &f, &more));
        if (!more)
            break;
        if (f.number == 1)
            TRY(wire_to_str(&f, &p.text));
        else if (f.number == 2)
            TRY(wire_to_float(&f, &p.score));
        else if (f.number == 3)
            TRY(wire_to_int(&f, &kind));
    }
    if (p.text.len == 0 || p.text.len > PIECE_BYTES_MAX)
        return wire_fail(field, "piece %zu: a text of 1 to %d bytes expected, %zu found", m->count, PIECE_BYTES_MAX, p.text.len);
    if (!isfinite(p.score))
        return wire_fail(field, "piece %zu: a finite score expected, %g found", m->count, (double)p.score);
    if (kind < PIECE_NORMAL || kind > PIECE_BYTE || kind == PIECE_UNUSED)
        return wire_fail(field, "piece %zu: type %lld is not supported", m->count, (long long)kind);
    p.kind = (PieceKind)kind;
    TRY(MEM_GROW(m->piece, m->cap, m->count + 1));
    m->piece[m->count++] = p;
    return LT_OK;
}

static Status read_trainer(SpModel *m, Wire w)
{
    WireField f;
    bool more;

    for (;;) {
        TRY(wire_next(&w, &f, &more));
        if (!more)
            return LT_OK;
        switch (f.number) {
        case 3:
            TRY(wire_to_int(&f, &m->model_type));
            break;
        case 24:
            TRY(wire_to_bool(&f, &m->suffix_space));
            break;
        case 35:
            TRY(wire_to_bool(&f, &m->byte_fallback));
            break;
        case 46:
            TRY(wire_to_str(&f, &m->bos));
            break;
        case 47:
            TRY(wire_to_str(&f, &m->eos));
            break;
        case 48:
            TRY(wire_to_str(&f, &m->pad));
            break;
        default:
            break;
        }
    }
}

/* A table of character replacements is a compiled program of its own (a trie with offsets); "identity" has none. */
static Status read_normalizer(SpModel *m, Wire w, const char *which)
{
    Wire table = {0};
    WireField f;
    bool more;

    for (;;) {
        TRY(wire_next(&w, &f, &more));
        if (!more)
            return LT_OK;
        if (f.number == 1)
            TRY(wire_to_str(&f, &m->normalizer));
        else if (f.number == 2)
            TRY(wire_to_message(&f, &table));
        else if (f.number == 3)
            TRY(wire_to_bool(&f, &m->dummy_prefix));
        else if (f.number == 4)
            TRY(wire_to_bool(&f, &m->squeeze));
        else if (f.number == 5)
            TRY(wire_to_bool(&f, &m->escape));
        if (table.data.len > 0)
            return wire_fail(&f, "%s '" STR_FORMAT "' with a table of character replacements is not supported, only 'identity'", which,
                             STR_ARG(str_slice(m->normalizer, 0, m->normalizer.len < 40 ? m->normalizer.len : 40)));
    }
}

static Status read_model(SpModel *m, Str data)
{
    Wire w = {.data = data, .file = m->file}, inner;
    SpModel unused = *m;
    WireField f;
    bool more;

    for (;;) {
        TRY(wire_next(&w, &f, &more));
        if (!more)
            return LT_OK;
        if (f.number == 1) {
            TRY(read_piece(m, &f));
        } else if (f.number == 2) {
            TRY(wire_to_message(&f, &inner));
            TRY(read_trainer(m, inner));
        } else if (f.number == 3) {
            TRY(wire_to_message(&f, &inner));
            TRY(read_normalizer(m, inner, "normalizer"));
        } else if (f.number == 5) {
            TRY(wire_to_message(&f, &inner));
            TRY(read_normalizer(&unused, inner, "denormalizer"));
        }
    }
}

static Status check_model(const SpModel *m)
{
    size_t n_unknown = 0, n_byte = 0;

    if (m->model_type != MODEL_BPE) {
        const bool has_name = m->model_type >= 1 && m->model_type < (int64_t)(sizeof model_names / sizeof *model_names);
        return FAIL(LT_E_INPUT, "%s: trainer_spec.model_type: bpe expected, %s found", m->file,
                    has_name ? model_names[m->model_type] : "one that has no name");
    }
    if (m->suffix_space)
        return FAIL(LT_E_INPUT, "%s: trainer_spec.treat_whitespace_as_suffix is not supported", m->file);
    for (size_t i = 0; i < m->count; i++) {
        n_unknown += m->piece[i].kind == PIECE_UNKNOWN;
        n_byte += m->piece[i].kind == PIECE_BYTE;
    }
    if (n_unknown != 1)
        return FAIL(LT_E_INPUT, "%s: one piece of type unknown expected, %zu found", m->file, n_unknown);
    if (n_byte != (m->byte_fallback ? 256 : 0))
        return FAIL(LT_E_INPUT, "%s: %d byte pieces expected, %zu found", m->file, m->byte_fallback ? 256 : 0, n_byte);
    return LT_OK;
}

static Status piece_fail(const SpModel *m, size_t i, const char *trouble)
{
    const SpPiece *p = &m->piece[i];

    return FAIL(LT_E_INPUT, "%s: byte %zu: piece %zu, '" STR_FORMAT "', %s", m->file, p->at, i, STR_ARG(p->text), trouble);
}

static bool is_byte_name(Str text)
{
    char want[8];
    unsigned byte = 0;

    if (text.len != 6)
        return false;
    memcpy(want, text.data, 6);
    want[6] = '\0';
    if (sscanf(want, "<0x%2X>", &byte) != 1)
        return false;
    snprintf(want, sizeof want, "<0x%02X>", byte & 0xff);
    return str_is(text, want);
}

/* Texts that merging can reach are in the vocabulary, all others among the added tokens, where only what the user defined is looked for. */
static Status add_piece(Tokenizer *t, const SpModel *m, size_t i)
{
    const SpPiece *p = &m->piece[i];
    const bool plain = p->kind == PIECE_NORMAL || p->kind == PIECE_BYTE;
    Map *map = plain ? &t->vocab.id : &t->added_index;
    bool fresh;

    if (p->kind == PIECE_BYTE && !is_byte_name(p->text))
        return piece_fail(m, i, "is of type byte but not called <0x00> to <0xFF>");
    if (p->kind == PIECE_USER_DEFINED && str_find(p->text, str_of(" "), 0) != SIZE_MAX)
        return piece_fail(m, i, "has a space, which is not supported in what users define");
    TRY(map_put(map, p->text, (int64_t)(plain ? i : t->n_added), &fresh));
    if (!fresh)
        return piece_fail(m, i, "is there twice");
    TRY(vocab_name_id(&t->vocab, i, map_key(map, map->count - 1)));
    if (p->kind == PIECE_UNKNOWN)
        t->unk = (int32_t)i;
    if (plain)
        return LT_OK;
    TRY(MEM_GROW(t->added, t->added_cap, t->n_added + 1));
    t->added[t->n_added++] =
        (AddedToken){.content = t->vocab.text[i], .id = (int32_t)i, .special = p->kind != PIECE_USER_DEFINED, .normalized = true};
    return LT_OK;
}

static Status index_added(Tokenizer *t)
{
    TRY(MEM_NEW(t->added_of, t->vocab.size));
    t->raw.token = t->normalized.token = t->added;
    for (size_t i = 0; i < t->n_added; i++) {
        t->added_of[t->added[i].id] = (uint32_t)i + 1;
        if (!t->added[i].special)
            TRY(added_set_put(&t->normalized, t->added[i].content, i));
    }
    return LT_OK;
}

typedef struct MergeList {
    Merge *merge;
    size_t count, cap;
} MergeList;

/* The id of a piece that may take part in merges, -1 if the text is none. */
static int32_t find_normal(const Tokenizer *t, const SpModel *m, Str text)
{
    const int32_t id = vocab_find(&t->vocab, text);

    return id >= 0 && m->piece[id].kind == PIECE_NORMAL ? id : -1;
}

static Status add_merges(const Tokenizer *t, const SpModel *m, size_t i, uint32_t rank, MergeList *list)
{
    const Str text = m->piece[i].text;
    uint32_t code;

    for (size_t at = 0, next; at < text.len; at = next) {
        next = utf8_next(text, at, &code);
        if (next - at == text.len)
            return LT_OK;
        /* SentencePiece would merge such a character by its text; here symbols are ids. Trained models have all their characters. */
        if (find_normal(t, m, str_slice(text, at, next)) < 0)
            return piece_fail(m, i, "has a character that is no piece of its own");
        if (at == 0)
            continue;
        const int32_t left = find_normal(t, m, str_slice(text, 0, at)), right = find_normal(t, m, str_slice(text, at, text.len));
        if (left < 0 || right < 0)
            continue;
        TRY(MEM_GROW(list->merge, list->cap, list->count + 1));
        list->merge[list->count++] = (Merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, (int32_t)i};
    }
    return LT_OK;
}

static int higher_score_first(const void *a, const void *b)
{
    const SpPiece *const *x = a, *const *y = b;

    return ((*x)->score < (*y)->score) - ((*x)->score > (*y)->score);
}

static Status make_merges(Tokenizer *t, const SpModel *m)
{
    const SpPiece **order = NULL;
    MergeList list = {0};
    uint32_t rank = 0;
    Status st;

    TRY_GOTO(MEM_NEW(order, m->count), st, done);
    for (size_t i = 0; i < m->count; i++)
        order[i] = &m->piece[i];
    qsort(order, m->count, sizeof *order, higher_score_first);
    for (size_t k = 0; k < m->count; k++) {
        rank += k > 0 && order[k]->score < order[k - 1]->score;
        if (order[k]->kind == PIECE_NORMAL)
            TRY_GOTO(add_merges(t, m, (size_t)(order[k] - m->piece), rank, &list), st, done);
    }
    st = merge_table_build(&t->vocab.merges, list.merge, list.count);
done:
    mem_free(list.merge);
    mem_free(order);
    return st;
}

/* The steps as a tokenizer.json would list them. With remove_extra_whitespaces SentencePiece leaves no space at either end, not even the sign
 * that stands for one. */
static void write_steps(StrBuf *out, const SpModel *m)
{
    const char *space = m->escape ? "\\u2581" : " ";

    strbuf_add_text(out, "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (m->squeeze)
        strbuf_add_text(out, "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"^ +\"}, \"content\": \"\"}, "
                             "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \" {2,}\"}, \"content\": \" \"}, ");
    if (m->dummy_prefix)
        strbuf_addf(out, "{\"type\": \"Prepend\", \"prepend\": \"%s\"}, ", space);
    /* Behind the look-behind a run is tried once, from its start. */
    if (m->squeeze)
        strbuf_addf(out,
                    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"%s\"}, "
                    "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(?<!%s)%s++$\"}, \"content\": \"\"}]}",
                    space, space, space);
    else
        strbuf_addf(out, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"%s\"}]}", space);
    strbuf_add_text(out, ", \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
                         "\"\\u2581\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (m->dummy_prefix || m->squeeze)
        strbuf_add_text(out, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    strbuf_add_text(out, "]}}");
}

static Status add_steps(Tokenizer *t, const SpModel *m)
{
    json_t *document = NULL;
    StrBuf text;
    Status st;

    strbuf_init(&text);
    write_steps(&text, m);
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(json_parse(&document, strbuf_str(&text), m->file, 0), st, done);
    const JsonAt root = json_root(document, m->file, 0);
    TRY_GOTO(normal_read(t, json_member(&root, "normalizer")), st, done);
    TRY_GOTO(decode_read(t, json_member(&root, "decoder")), st, done);
done:
    json_decref(document);
    strbuf_release(&text);
    return st;
}

static int32_t find_control(const Tokenizer *t, Str text)
{
    int64_t i;

    return map_get(&t->added_index, text, &i) && t->added[i].special && t->added[i].id != t->unk ? t->added[i].id : -1;
}

static Status build(Tokenizer *t, const SpModel *m)
{
    TRY(check_model(m));
    for (size_t i = 0; i < m->count; i++)
        TRY(add_piece(t, m, i));
    TRY(index_added(t));
    TRY(make_merges(t, m));
    TRY(add_steps(t, m));
    t->byte_fallback = m->byte_fallback;
    t->fuse_unk = true;
    t->sentencepiece = true;
    vocab_finish(t);
    t->bos = find_control(t, m->bos);
    t->eos = find_control(t, m->eos);
    t->pad = find_control(t, m->pad);
    return t->bos >= 0 ? ids_add(&t->prefix, t->bos) : LT_OK;
}

Status tokenizer_parse_model(Tokenizer **out, Str data, const char *file)
{
    SpModel m = {.model_type = 1, .dummy_prefix = true, .squeeze = true, .escape = true, .file = file};
    Tokenizer *t = NULL;
    Status st;

    m.bos = str_of("<s>");
    m.eos = str_of("</s>");
    m.pad = str_of("<pad>");
    m.normalizer = str_of("");
    TRY_GOTO(tokenizer_new(&t), st, done);
    TRY_GOTO(read_model(&m, data), st, done);
    TRY_GOTO(build(t, &m), st, done);
    TRY_GOTO(sha256_of(data.data, data.len, &t->digest), st, done);
    *out = t;
    t = NULL;
done:
    tokenizer_free(t);
    mem_free(m.piece);
    return st;
}
