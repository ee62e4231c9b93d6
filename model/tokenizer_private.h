/* The parts of a tokenizer, one .c file each: what a step of tokenizer.json becomes in memory and how it is run.
 *
 * Every step kind (normalizer, pre-tokenizer, post-processor, decoder) has a row in a table of its file: the name that
 * tokenizer.json gives it and the function that reads it. Sequences are flattened while reading, so that running a
 * tokenizer is a walk over plain arrays. */
#ifndef LETHE_MODEL_TOKENIZER_PRIVATE_H
#define LETHE_MODEL_TOKENIZER_PRIVATE_H

#include "model/tokenizer.h"

#include "core/json.h"
#include "core/map.h"
#include "core/regex.h"

enum { STEPS_MAX = 16 }; /* of one sort, after flattening; the longest real file has four */

/* ---- vocabulary and merges: tokenizer_vocab.c, read from the text by tokenizer_table.c ---- */

typedef struct Merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free slot */
    uint32_t rank;
    int32_t id; /* of the joined token */
} Merge;

typedef struct MergeTable {
    Merge *slot;
    size_t mask, count;
} MergeTable;

static inline uint64_t merge_slot(uint64_t pair)
{
    return (pair * 0x9e3779b97f4a7c15u) >> 20;
}

static inline const Merge *merge_find(const MergeTable *m, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

    for (size_t i = merge_slot(pair) & m->mask;; i = (i + 1) & m->mask) {
        if (m->slot[i].pair == pair)
            return &m->slot[i];
        if (m->slot[i].pair == UINT64_MAX)
            return NULL;
    }
}

typedef struct Vocab {
    Map id;      /* text -> id, the model's tokens only */
    Str *text;   /* by id, added tokens too (as decoding has them); data NULL: no such id */
    size_t size; /* 1 + the highest id */
    size_t text_cap;
    MergeTable merges;
} Vocab;

/* Where the two big tables stand in the text of a tokenizer.json, brackets included; len 0: not found, or not of the
 * right type, which is then for the general reader to say. */
typedef struct TableText {
    Str vocab, merges;
} TableText;
TableText table_find(Str json);
/* The value of a key of the object a text holds; false: not there, or not JSON. Keys with escapes are not recognised. */
bool table_member(Str object, const char *key, Str *value);
/* The text without what the tables hold, for the general reader. Lines keep their numbers. */
void table_cut(StrBuf *out, Str json, const TableText *tables);

Status vocab_read(Vocab *v, Str table, const char *file, size_t id_limit);
Status merges_read(Vocab *v, Str table, const char *file);
/* Of merges in the order of the file. */
Status merge_table_build(MergeTable *m, const Merge *list, size_t n);
/* Names a new id; the text must outlive the vocabulary. */
Status vocab_name_id(Vocab *v, size_t id, Str text);
void vocab_release(Vocab *v);
static inline bool vocab_has(const Vocab *v, int64_t id)
{
    return id >= 0 && (uint64_t)id < v->size && v->text[id].data != NULL;
}
static inline int32_t vocab_find(const Vocab *v, Str text)
{
    int64_t id;
    return map_get(&v->id, text, &id) ? (int32_t)id : -1;
}

/* Readers of the two tables call these for every entry. */
typedef Status VocabEntryFn(void *context, Str token, int64_t id);
typedef Status MergeEntryFn(void *context, size_t index, Str left, Str right);
Status table_read_vocab(Str table, const char *file, VocabEntryFn *entry, void *context);
Status table_read_merges(Str table, const char *file, MergeEntryFn *entry, void *context);

/* ---- the byte-level alphabet: tokenizer_bytes.c ---- */

/* The character that stands for a byte (GPT-2's table): printable Latin-1 for itself, U+0100 and up for the rest. */
uint32_t byte_level_code(uint8_t byte);
/* The byte a character stands for, -1 if none. */
int byte_level_byte(uint32_t code);
void byte_level_add(StrBuf *out, Str bytes);

/* ---- added tokens: tokenizer_added.c ---- */

typedef struct AddedToken {
    Str content; /* a key of the tokenizer's added_index */
    int32_t id;
    bool special, normalized, single_word, lstrip, rstrip;
} AddedToken;

typedef struct TrieNode {
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* index of the added token that ends here, -1: none */
    uint8_t byte;
} TrieNode;

typedef struct AddedSet {
    const AddedToken *token; /* the tokenizer's list, which the trie indexes */
    TrieNode *node;          /* node 0 is not used */
    size_t count, cap;
    uint32_t first[256]; /* node of a first byte */
} AddedSet;

Status added_set_put(AddedSet *set, Str content, size_t token);
void added_set_release(AddedSet *set);

/* Text cut at added tokens: zero-initialise with the set and the text, then call next until it is false. */
typedef struct AddedCut {
    const AddedSet *set;
    Str text;
    size_t search, done; /* where the next match may begin; how far stretches have been given out */
    const AddedToken *held;
    size_t held_end;
} AddedCut;

typedef struct Stretch {
    Str text;
    const AddedToken *token; /* NULL: ordinary text, not empty */
} Stretch;
bool added_cut_next(AddedCut *cut, Stretch *out);

/* ---- patterns: tokenizer_pattern.c, with tables in tokenizer_unicode.c ---- */

typedef struct UnicodeRange {
    uint32_t first, last;
} UnicodeRange;
extern const UnicodeRange unicode_letters_new[], unicode_numbers_new[];
extern const size_t n_unicode_letters_new, n_unicode_numbers_new;

/* White_Space: 25 code points. */
bool unicode_is_space(uint32_t code);

/* ---- patterns known by heart: tokenizer_scan.c ---- */

typedef enum PatternScan { SCAN_NONE, SCAN_GPT2, SCAN_LLAMA3, SCAN_QWEN2 } PatternScan;
typedef enum CharClass { CHAR_NONE, CHAR_LETTER, CHAR_NUMBER, CHAR_SPACE, CHAR_OTHER } CharClass;

PatternScan scan_recognise(Str pattern);
/* \p{L}, \p{N}, \s or none of them. */
CharClass scan_class(uint32_t code);
/* The end of the match at `at`; there is one everywhere in a text. */
size_t scan_next(PatternScan scan, Str text, size_t at);

/* Something to search for. */
typedef struct Pattern {
    Regex *regex; /* NULL: the literal, which is not empty then */
    Str literal;
    PatternScan scan; /* the same, for whoever wants all matches in a row */
} Pattern;

/* Compiles a pattern of a tokenizer file so that \p{L}, \p{N}, \s and \S mean what they mean to the reference. */
Status pattern_compile(Pattern *out, Str pattern);
/* `pattern` as tokenizer.json has it: {"Regex": "..."} or {"String": "..."}. */
Status pattern_read(Tokenizer *t, Pattern *out, JsonAt pattern);
void pattern_release(Pattern *pattern);

/* Walks over matches as the reference does: an empty match right behind the last match is passed over. */
typedef struct PatternWalk {
    const Pattern *pattern;
    Str text;
    size_t from, last_end; /* last_end SIZE_MAX: no match yet */
} PatternWalk;
Status pattern_next(PatternWalk *walk, size_t *begin, size_t *end, bool *found);
/* Bytes that a text may become on its way: far above what any real tokenizer does to one, and a bound on what a file of a few hundred
 * bytes can ask for, since replacements in a row multiply. */
static inline size_t text_growth_max(size_t bytes) { return ((size_t)16 << 10) + 64 * bytes; }
Status text_grew(size_t from);
/* Appends the text with every match replaced. LT_E_INPUT if that takes more than text_growth_max. */
Status pattern_replace(const Pattern *pattern, Str text, Str content, StrBuf *out);

/* ---- normalizers: tokenizer_normal.c ---- */

typedef struct NormalStep NormalStep;
typedef struct NormalWork {
    StrBuf text[2];
    int32_t *code; /* code points under normalisation */
    size_t code_cap;
} NormalWork;
struct NormalStep {
    Status (*run)(const NormalStep *step, NormalWork *work, Str in, StrBuf *out);
    Pattern pattern;
    Str content;
};

Status normal_read(Tokenizer *t, JsonAt at);
/* *out points into `in` or `work`. */
Status normal_run(const Tokenizer *t, NormalWork *work, Str in, Str *out);
void normal_work_release(NormalWork *work);

/* ---- pre-tokenizers: tokenizer_pre.c ---- */

typedef struct Piece {
    Str text;
    bool first; /* begins where the whole text begins */
} Piece;

typedef enum SplitBehavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} SplitBehavior;

typedef enum PrependScheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } PrependScheme;

typedef struct PreStep {
    /* Cuts or rewrites a piece and hands the parts to step + 1 through pre_run. */
    Status (*run)(Encoder *e, size_t step, Piece piece);
    Pattern pattern;
    SplitBehavior behavior;
    bool invert;
    bool use_pattern; /* ByteLevel */
    bool prefix_space;
    Str replacement; /* Metaspace */
    PrependScheme scheme;
    bool split;
} PreStep;

Status pre_read(Tokenizer *t, JsonAt at);
/* Pieces that leave the last step go to bpe_encode. */
Status pre_run(Encoder *e, size_t step, Piece piece);

/* ---- post-processors: tokenizer_post.c ---- */

Status post_read(Tokenizer *t, JsonAt at);

/* ---- decoders: tokenizer_decode.c, run by tokenizer_stream.c ---- */

/* Texts in a row, the first begins at 0: piece i is text[end[i-1] .. end[i]). */
typedef struct PieceList {
    StrBuf text;
    size_t *end;
    size_t count, cap;
} PieceList;

/* What a step remembers between two calls. */
typedef struct DecodeState {
    StrBuf held;  /* bytes that what follows may still change */
    int64_t seen; /* Metaspace: 1 behind the first token; Strip: how many are gone from the start */
} DecodeState;

typedef struct DecodeStep DecodeStep;
/* Takes the pieces that have come since the last call. `last`: there will be none after them. */
typedef Status DecodeRunFn(const DecodeStep *step, DecodeState *state, const PieceList *in, bool last, PieceList *out);
struct DecodeStep {
    DecodeRunFn *run;
    bool waits; /* wants the whole text at once */
    Pattern pattern;
    Str content;
    int64_t start, stop; /* Strip */
    bool drop_first;     /* Metaspace */
};

Status decode_end_piece(PieceList *list);
/* Forgets the first n bytes held. */
void decode_drop_held(DecodeState *state, size_t n);
Status decode_read(Tokenizer *t, JsonAt at);

/* ---- merging: tokenizer_bpe.c and the cache of pieces, tokenizer_cache.c ---- */

typedef struct BpeSymbol {
    int32_t id;          /* -1: swallowed by its left neighbour */
    uint32_t prev, next; /* UINT32_MAX: none */
} BpeSymbol;

typedef struct BpeCandidate {
    uint64_t order; /* rank << 32 | position of the left symbol: the smallest merges first */
    int32_t id;
} BpeCandidate;

typedef struct BpeWork {
    BpeSymbol *symbol;
    size_t n_symbol, symbol_cap;
    BpeCandidate *heap;
    size_t n_heap, heap_cap;
    StrBuf mapped;
    bool unk_open; /* an unknown token waits for its run to end */
} BpeWork;

typedef struct CacheSlot {
    uint32_t hash;    /* 0: free */
    uint32_t key, id; /* where bytes and ids begin */
    uint16_t key_len, n_id;
} CacheSlot;

typedef struct PieceCache {
    CacheSlot *slot;
    size_t count;
    char *key;
    size_t key_len, key_cap;
    int32_t *id;
    size_t n_id, id_cap;
} PieceCache;

enum { CACHE_PIECE_MAX = 255 }; /* longer pieces hardly come again */

Status cache_init(PieceCache *c);
void cache_release(PieceCache *c);
uint32_t cache_hash(Str piece);
/* NULL if it is not there. */
const CacheSlot *cache_find(const PieceCache *c, Str piece, uint32_t hash);
/* Empties a full cache first. */
Status cache_put(PieceCache *c, Str piece, uint32_t hash, const int32_t *id, size_t n);

/* One piece that left the pre-tokenizer. */
Status bpe_encode(Encoder *e, Str piece);

/* ---- the whole ---- */

struct Tokenizer {
    Arena arena;
    Vocab vocab;
    AddedToken *added;
    size_t n_added, added_cap;
    Map added_index;          /* content -> index in `added` */
    uint32_t *added_of;       /* by id: 1 + index in `added`; 0: a token of the model only */
    AddedSet raw, normalized; /* matched in the raw and in the normalised text */

    NormalStep normal[STEPS_MAX];
    PreStep pre[STEPS_MAX];
    DecodeStep decode[STEPS_MAX];
    size_t n_normal, n_pre, n_decode;
    bool decode_joins_by_space; /* a file without a decoder */
    bool decode_fused;          /* some decoder makes one text of all tokens */

    bool byte_level; /* the model sees bytes, as characters of GPT-2's table */
    bool byte_fallback, fuse_unk, ignore_merges;
    bool cut_at_spaces;       /* no merge joins anything to a U+2581 on its right */
    bool cut_at_breaks;       /* and none joins anything to a line break */
    int32_t unk;              /* -1: none */
    int32_t byte_id[256];     /* byte-level: id of the byte; else of the ASCII character; -1: none */
    int32_t fallback_id[256]; /* of <0xHH> */
    Ids prefix, suffix;       /* what the post-processor adds */

    int32_t bos, eos, pad;
    int64_t max_length;
    Digest digest, template_digest;
    bool has_template;
    bool sentencepiece; /* read from a tokenizer.model */
};

struct Encoder {
    const Tokenizer *t;
    Ids *out; /* of the call under way */
    NormalWork normal;
    StrBuf rewritten[STEPS_MAX]; /* by pre-tokenizer step */
    BpeWork bpe;
    PieceCache cache;
};

/* Empty, with no id known. */
Status tokenizer_new(Tokenizer **out);
/* Fills the tables that follow from vocabulary and merges. */
void vocab_finish(Tokenizer *t);
/* A string of the document, copied into the tokenizer. */
Status tokenizer_keep(Tokenizer *t, Str text, Str *out);
/* Calls `read` for a step, or for every step of a Sequence, however deep; `list` is the key of its array. */
typedef Status ReadStepFn(Tokenizer *t, JsonAt at, Str type);
Status tokenizer_read_steps(Tokenizer *t, JsonAt at, const char *list, ReadStepFn *read);
/* Refuses a step that the tables do not have. `sort` is "normalizer" and so on. */
Status tokenizer_refuse_step(JsonAt step, const char *sort, Str type);

#endif
