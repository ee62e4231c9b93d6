#include "tests/world/bpe.h"

#include "core/file.h"
#include "core/json.h"
#include "core/map.h"
#include "core/regex.h"
#include "core/utf8.h"

/* GPT-2's pattern: what a ByteLevel pre-tokenizer with use_regex cuts by. */
static const char piece_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* A byte as byte-level vocabularies spell it: itself where it is printable in Latin-1, else the next code point from 256 on. */
static void spell_byte(StrBuf *out, int byte)
{
    uint32_t code = 256;
    for (int b = 0; b < 256; b++) {
        const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte) {
            code = printable ? (uint32_t)b : code;
            break;
        }
        code += !printable;
    }
    char text[4];
    strbuf_add(out, text, utf8_put(text, code));
}

static void spell_id(StrBuf *out, const Bpe *bpe, int id)
{
    static const char *const special[] = {"<s>", "</s>", "<pad>"};
    if (id < BPE_BYTES) {
        strbuf_add_text(out, special[id]);
    } else if (id < BPE_BYTES + 256) {
        spell_byte(out, id - BPE_BYTES);
    } else {
        spell_id(out, bpe, bpe->left[id - BPE_BYTES - 256]);
        spell_id(out, bpe, bpe->right[id - BPE_BYTES - 256]);
    }
}

/* Distinct pieces of the corpus, each as the ids it is made of so far. */
typedef struct Pieces {
    int *id;        /* all pieces behind one another */
    size_t *begin;  /* [n + 1] */
    int64_t *times; /* how often each occurs */
    size_t n;
} Pieces;

static Status count_pieces(Map *count, Str corpus)
{
    Regex *pattern;
    Status st;
    TRY(regex_compile(&pattern, str_of(piece_pattern), REGEX_PLAIN));
    for (size_t at = 0; at < corpus.len;) {
        RegexMatch match;
        bool found;
        int64_t before = 0;
        TRY_GOTO(regex_find(pattern, corpus, at, &match, &found), st, done);
        if (!found)
            break;
        const Str piece = str_slice(corpus, match.begin[0], match.end[0]);
        (void)map_get(count, piece, &before);
        TRY_GOTO(map_put(count, piece, before + 1, NULL), st, done);
        at = match.end[0];
    }
    st = LT_OK;
done:
    regex_free(pattern);
    return st;
}

static void pieces_release(Pieces *p)
{
    mem_free(p->id);
    mem_free(p->begin);
    mem_free(p->times);
}

static Status pieces_make(Pieces *p, const Map *count)
{
    size_t total = 0, at = 0;
    *p = (Pieces){.n = count->count};
    for (size_t i = 0; i < p->n; i++)
        total += map_key(count, i).len;
    TRY(MEM_NEW(p->id, total));
    TRY(MEM_NEW(p->begin, p->n + 1));
    TRY(MEM_NEW(p->times, p->n));
    for (size_t i = 0; i < p->n; i++) {
        const Str piece = map_key(count, i);
        p->times[i] = map_value(count, i);
        for (size_t k = 0; k < piece.len; k++)
            p->id[at++] = BPE_BYTES + (unsigned char)piece.data[k];
        p->begin[i + 1] = at;
    }
    return LT_OK;
}

/* -1: no pair occurs twice. */
static int best_pair(const Pieces *p, int64_t *tally, const bool *barred)
{
    memset(tally, 0, sizeof *tally * BPE_VOCAB * BPE_VOCAB);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = p->begin[i]; k + 1 < p->begin[i + 1]; k++)
            if (p->id[k + 1] >= 0)
                tally[p->id[k] * BPE_VOCAB + p->id[k + 1]] += p->times[i];
            else
                break;
    int best = -1;
    int64_t most = 1;
    for (int pair = 0; pair < BPE_VOCAB * BPE_VOCAB; pair++)
        if (tally[pair] > most && !barred[pair]) {
            most = tally[pair];
            best = pair;
        }
    return best;
}

/* Replaces the pair from left to right in every piece; what is left over at a piece's end becomes -1. */
static void merge_pair(Pieces *p, int left, int right, int made)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t to = p->begin[i];
        const size_t end = p->begin[i + 1];
        for (size_t k = p->begin[i]; k < end && p->id[k] >= 0; to++) {
            const bool here = p->id[k] == left && k + 1 < end && p->id[k + 1] == right;
            p->id[to] = here ? made : p->id[k];
            k += here ? 2 : 1;
        }
        for (; to < end; to++)
            p->id[to] = -1;
    }
}

/* Two ways of merging can spell the same text; a vocabulary has room for one. */
static Status is_known(const Bpe *bpe, int left, int right, bool *known)
{
    StrBuf text, other;
    strbuf_init(&text);
    strbuf_init(&other);
    spell_id(&text, bpe, left);
    spell_id(&text, bpe, right);
    *known = false;
    for (int id = 0; id < BPE_BYTES + 256 + bpe->n_merge && !*known; id++) {
        strbuf_clear(&other);
        spell_id(&other, bpe, id);
        *known = str_equal(strbuf_str(&text), strbuf_str(&other));
    }
    const Status st = text.failed || other.failed ? LT_E_NOMEM : LT_OK;
    strbuf_release(&text);
    strbuf_release(&other);
    return st;
}

static Status learn_merges(Bpe *bpe, Pieces *pieces, int64_t *tally, bool *barred)
{
    while (bpe->n_merge < BPE_MERGES) {
        const int pair = best_pair(pieces, tally, barred), i = bpe->n_merge;
        if (pair < 0)
            break;
        const int left = pair / BPE_VOCAB, right = pair % BPE_VOCAB;
        TRY(is_known(bpe, left, right, &barred[pair]));
        if (barred[pair])
            continue;
        bpe->left[i] = left;
        bpe->right[i] = right;
        bpe->n_merge++;
        merge_pair(pieces, left, right, BPE_BYTES + 256 + i);
    }
    return LT_OK;
}

Status bpe_train(Bpe *bpe, Str corpus)
{
    Map count;
    Pieces pieces = {0};
    int64_t *tally = NULL;
    bool *barred = NULL;
    Status st;
    *bpe = (Bpe){0};
    map_init(&count);
    TRY_GOTO(count_pieces(&count, corpus), st, done);
    TRY_GOTO(pieces_make(&pieces, &count), st, done);
    TRY_GOTO(MEM_NEW(tally, BPE_VOCAB * BPE_VOCAB), st, done);
    TRY_GOTO(MEM_NEW(barred, BPE_VOCAB * BPE_VOCAB), st, done);
    TRY_GOTO(learn_merges(bpe, &pieces, tally, barred), st, done);
done:
    mem_free(tally);
    mem_free(barred);
    pieces_release(&pieces);
    map_release(&count);
    return st;
}

static Status fill_model(const Bpe *bpe, json_t *vocab, json_t *merges)
{
    StrBuf text, pair[2];
    strbuf_init(&text);
    strbuf_init(&pair[0]);
    strbuf_init(&pair[1]);
    Status st = LT_OK;
    for (int id = 0; id < BPE_BYTES + 256 + bpe->n_merge; id++) {
        strbuf_clear(&text);
        spell_id(&text, bpe, id);
        TRY_GOTO(strbuf_status(&text), st, done);
        TRY_GOTO(json_put(vocab, text.data, json_integer(id)), st, done);
    }
    for (int i = 0; i < bpe->n_merge; i++) {
        strbuf_clear(&pair[0]);
        strbuf_clear(&pair[1]);
        spell_id(&pair[0], bpe, bpe->left[i]);
        spell_id(&pair[1], bpe, bpe->right[i]);
        TRY_GOTO(json_push(merges, json_pack("[s, s]", pair[0].data, pair[1].data)), st, done);
    }
done:
    strbuf_release(&text);
    strbuf_release(&pair[0]);
    strbuf_release(&pair[1]);
    return st;
}

static json_t *special_token(int id, const char *content)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "single_word", 0, "lstrip", 0, "rstrip", 0,
                     "normalized", 0, "special", 1);
}

static json_t *byte_level(int add_prefix_space)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", add_prefix_space, "trim_offsets", 1, "use_regex", 1);
}

/* <s> $A, and for pairs <s> $A <s> $B. */
static json_t *bos_template(void)
{
    json_t *a =
        json_pack("[{s:{s:s, s:i}}, {s:{s:s, s:i}}]", "SpecialToken", "id", "<s>", "type_id", 0, "Sequence", "id", "A", "type_id", 0);
    json_t *pair =
        json_pack("[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}]", "SpecialToken", "id", "<s>", "type_id", 0, "Sequence",
                  "id", "A", "type_id", 0, "SpecialToken", "id", "<s>", "type_id", 1, "Sequence", "id", "B", "type_id", 1);
    return json_pack("{s:s, s:o, s:o, s:{s:{s:s, s:[i], s:[s]}}}", "type", "TemplateProcessing", "single", a, "pair", pair,
                     "special_tokens", "<s>", "id", "<s>", "ids", BPE_BOS, "tokens", "<s>");
}

static Status write_document(const char *folder, const char *name, json_t *document)
{
    StrBuf path, text;
    strbuf_init(&path);
    strbuf_init(&text);
    Status st;
    TRY_GOTO(document != NULL ? LT_OK : FAIL(LT_E_NOMEM, "no memory for %s", name), st, done);
    TRY_GOTO(path_join(&path, folder, name), st, done);
    TRY_GOTO(json_write(&text, document, (JsonStyle){.indent = 2}), st, done);
    strbuf_add_char(&text, '\n');
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(file_write_atomic(path.data, text.data, text.len), st, done);
done:
    strbuf_release(&path);
    strbuf_release(&text);
    json_decref(document);
    return st;
}

Status bpe_save(const Bpe *bpe, const char *folder, int max_length)
{
    json_t *vocab = json_object(), *merges = json_array();
    Status st = vocab != NULL && merges != NULL ? fill_model(bpe, vocab, merges) : FAIL(LT_E_NOMEM, "no memory for a vocabulary");
    json_t *document =
        json_pack("{s:s, s:n, s:n, s:[o, o, o], s:n, s:o, s:o, s:o, s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}", "version",
                  "1.0", "truncation", "padding", "added_tokens", special_token(BPE_BOS, "<s>"), special_token(BPE_EOS, "</s>"),
                  special_token(BPE_PAD, "<pad>"), "normalizer", "pre_tokenizer", byte_level(0), "post_processor", bos_template(),
                  "decoder", byte_level(1), "model", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                  "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
    json_decref(vocab);
    json_decref(merges);
    if (st != LT_OK) {
        json_decref(document);
        return st;
    }
    TRY(write_document(folder, "tokenizer.json", document));
    return write_document(folder, "tokenizer_config.json",
                          json_pack("{s:s, s:s, s:s, s:s, s:i, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "bos_token", "<s>",
                                    "eos_token", "</s>", "pad_token", "<pad>", "model_max_length", max_length,
                                    "clean_up_tokenization_spaces", 0));
}
