/* Byte-pair merging of one piece: symbols in a linked list, candidate pairs in a heap ordered by (rank, position), O(n log n)
 * also for files whose whole text is one piece. */
#include "model/tokenizer_private.h"

#include "core/utf8.h"

enum { NONE = -1 };
#define NO_SYMBOL UINT32_MAX

static void add_symbol(BpeWork *w, int32_t id)
{
    const uint32_t at = (uint32_t)w->n_symbol++;

    w->symbol[at] = (BpeSymbol){id, at == 0 ? NO_SYMBOL : at - 1, NO_SYMBOL};
    if (at > 0)
        w->symbol[at - 1].next = at;
}

static bool has_all_bytes(const Tokenizer *t, Str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (t->fallback_id[(uint8_t)text.data[i]] < 0)
            return false;
    return true;
}

static void close_unknown(BpeWork *w, const Tokenizer *t)
{
    if (w->unk_open)
        add_symbol(w, t->unk);
    w->unk_open = false;
}

/* A character without a token: its bytes if all of them have one, else the unknown token, else nothing, so that its
 * neighbours may merge. The reference lets bytes pass an unknown token that is still waiting; so do we. */
static void add_missing(BpeWork *w, const Tokenizer *t, Str text)
{
    if (t->byte_fallback && has_all_bytes(t, text)) {
        for (size_t i = 0; i < text.len; i++)
            add_symbol(w, t->fallback_id[(uint8_t)text.data[i]]);
        return;
    }
    if (t->unk < 0)
        return;
    if (!t->fuse_unk)
        close_unknown(w, t);
    w->unk_open = true;
}

static void add_known(BpeWork *w, const Tokenizer *t, int32_t id)
{
    close_unknown(w, t);
    add_symbol(w, id);
}

static void add_bytes(BpeWork *w, const Tokenizer *t, Str piece)
{
    char text[4];

    for (size_t i = 0; i < piece.len; i++) {
        const uint8_t byte = (uint8_t)piece.data[i];
        if (t->byte_id[byte] >= 0)
            add_known(w, t, t->byte_id[byte]);
        else
            add_missing(w, t, (Str){text, utf8_put(text, byte_level_code(byte))});
    }
}

static void add_chars(BpeWork *w, const Tokenizer *t, Str piece)
{
    uint32_t code;

    for (size_t at = 0, next; at < piece.len; at = next) {
        next = utf8_next(piece, at, &code);
        const Str text = str_slice(piece, at, next);
        const int32_t id = code < 0x80 ? t->byte_id[code] : vocab_find(&t->vocab, text);
        if (id >= 0)
            add_known(w, t, id);
        else
            add_missing(w, t, text);
    }
}

static bool comes_before(const BpeCandidate *a, const BpeCandidate *b)
{
    return a->order < b->order;
}

static void sift_up(BpeCandidate *heap, size_t at)
{
    const BpeCandidate moving = heap[at];

    while (at > 0 && comes_before(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void sift_down(BpeCandidate *heap, size_t n, size_t at)
{
    const BpeCandidate moving = heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            break;
        child += child + 1 < n && comes_before(&heap[child + 1], &heap[child]);
        if (!comes_before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static BpeCandidate take_first(BpeWork *w)
{
    const BpeCandidate first = w->heap[0];

    w->heap[0] = w->heap[--w->n_heap];
    if (w->n_heap > 0)
        sift_down(w->heap, w->n_heap, 0);
    return first;
}

/* Puts the pair that begins at a symbol at the end of the heap, if it merges at all. */
static bool add_candidate(BpeWork *w, const MergeTable *merges, uint32_t at)
{
    const BpeSymbol *left = &w->symbol[at];

    if (left->next == NO_SYMBOL)
        return false;
    const Merge *merge = merge_find(merges, left->id, w->symbol[left->next].id);
    if (merge == NULL)
        return false;
    w->heap[w->n_heap++] = (BpeCandidate){(uint64_t)merge->rank << 32 | at, merge->id};
    return true;
}

static void push_candidate(BpeWork *w, const MergeTable *merges, uint32_t at)
{
    if (add_candidate(w, merges, at))
        sift_up(w->heap, w->n_heap - 1);
}

/* A candidate is stale if its left symbol is gone or the pair there now gives another token. */
static bool is_stale(const BpeWork *w, const MergeTable *merges, const BpeCandidate *c)
{
    const BpeSymbol *left = &w->symbol[(uint32_t)c->order];

    if (left->id < 0 || left->next == NO_SYMBOL)
        return true;
    const Merge *now = merge_find(merges, left->id, w->symbol[left->next].id);
    return now == NULL || now->id != c->id;
}

static void merge_all(BpeWork *w, const MergeTable *merges)
{
    w->n_heap = 0;
    for (size_t i = 0; i < w->n_symbol; i++)
        (void)add_candidate(w, merges, (uint32_t)i);
    for (size_t i = w->n_heap / 2; i-- > 0;)
        sift_down(w->heap, w->n_heap, i);

    while (w->n_heap > 0) {
        const BpeCandidate c = take_first(w);
        if (is_stale(w, merges, &c))
            continue;
        const uint32_t at = (uint32_t)c.order;
        BpeSymbol *left = &w->symbol[at], *right = &w->symbol[left->next];
        left->id = c.id;
        left->next = right->next;
        right->id = NONE;
        if (left->next != NO_SYMBOL)
            w->symbol[left->next].prev = at;
        if (left->prev != NO_SYMBOL)
            push_candidate(w, merges, left->prev);
        push_candidate(w, merges, at);
    }
}

/* The piece as the vocabulary spells it. */
static Str as_token(BpeWork *w, const Tokenizer *t, Str piece)
{
    if (!t->byte_level)
        return piece;
    strbuf_clear(&w->mapped);
    byte_level_add(&w->mapped, piece);
    return strbuf_str(&w->mapped);
}

static Status merge_piece(Encoder *e, Str piece)
{
    const Tokenizer *t = e->t;
    BpeWork *w = &e->bpe;

    if (t->ignore_merges) {
        const int32_t id = vocab_find(&t->vocab, as_token(w, t, piece));
        TRY(strbuf_status(&w->mapped));
        if (id >= 0)
            return ids_add(e->out, id);
    }
    /* One symbol per byte, or two where a byte-level character, two bytes long, falls back; one more for an open unknown. */
    const size_t n_max = t->byte_level ? 2 * piece.len + 1 : piece.len + 1;
    if (n_max >= NO_SYMBOL)
        return FAIL(LT_E_INPUT, "text to encode: a piece of %zu bytes is too long", piece.len);
    TRY(MEM_GROW(w->symbol, w->symbol_cap, n_max));
    /* Every merge takes one candidate and brings two: never more than twice the symbols at a time. */
    TRY(MEM_GROW(w->heap, w->heap_cap, 2 * n_max));
    w->n_symbol = 0;
    w->unk_open = false;
    if (t->byte_level)
        add_bytes(w, t, piece);
    else
        add_chars(w, t, piece);
    close_unknown(w, t);
    merge_all(w, &t->vocab.merges);
    for (uint32_t at = w->n_symbol > 0 ? 0 : NO_SYMBOL; at != NO_SYMBOL; at = w->symbol[at].next)
        TRY(ids_add(e->out, w->symbol[at].id));
    return LT_OK;
}

static Status add_ids(Ids *out, const int32_t *id, size_t n)
{
    if (out->cap - out->count < n)
        TRY(MEM_GROW(out->id, out->cap, out->count + n));
    for (size_t i = 0; i < n; i++)
        out->id[out->count++] = id[i];
    return LT_OK;
}

static Status encode_word(Encoder *e, Str word)
{
    const size_t before = e->out->count;

    if (word.len > CACHE_PIECE_MAX)
        return merge_piece(e, word);
    const uint32_t hash = cache_hash(word);
    const CacheSlot *known = cache_find(&e->cache, word, hash);
    if (known != NULL)
        return known->n_id > 0 ? add_ids(e->out, e->cache.id + known->id, known->n_id) : LT_OK;
    TRY(merge_piece(e, word));
    const size_t n = e->out->count - before;
    return cache_put(&e->cache, word, hash, n > 0 ? e->out->id + before : NULL, n);
}

/* The end of what stands at `begin`: a run of line breaks, or all in front of the next one. */
static size_t find_break(Str piece, size_t begin, size_t end)
{
    const char *first = memchr(piece.data + begin, '\n', end - begin);

    if (first == NULL)
        return end;
    size_t at = (size_t)(first - piece.data);
    if (at == begin)
        while (at < end && piece.data[at] == '\n')
            at++;
    return at;
}

/* Where no token of the vocabulary has U+2581 behind another character, no merge crosses a place in front of one, and the
 * text may be cut there: Llama-2's files have no pre-tokenizer, but their words repeat all the same. So do the words at the ends of lines,
 * where a line break is a byte. */
Status bpe_encode(Encoder *e, Str piece)
{
    static const char sign[] = "\xe2\x96\x81";
    const size_t n = sizeof sign - 1;
    size_t begin = 0, at = 0, next_sign = 0;

    if (!e->t->cut_at_spaces)
        return encode_word(e, piece);
    while (begin < piece.len) {
        /* Behind the signs the word begins with. */
        while (piece.len - at >= n && memcmp(piece.data + at, sign, n) == 0)
            at += n;
        /* Looked for once, however many lines there are in front of it. */
        if (begin == 0 || next_sign < at) {
            next_sign = str_find(piece, (Str){sign, n}, at);
            next_sign = next_sign == SIZE_MAX ? piece.len : next_sign;
        }
        const size_t end = e->t->cut_at_breaks ? find_break(piece, begin, next_sign) : next_sign;
        TRY(encode_word(e, str_slice(piece, begin, end)));
        begin = at = end;
    }
    return LT_OK;
}
