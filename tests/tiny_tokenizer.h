/* Tokenizers small enough to check by hand, written out as tokenizer.json text. */
#ifndef LETHE_TESTS_TINY_TOKENIZER_H
#define LETHE_TESTS_TINY_TOKENIZER_H

#include "model/tokenizer.h"

/* The parts of a file; a NULL member is left out. `options` goes into the model, with a comma at its end. */
typedef struct TinyFile {
    const char *added; /* the added_tokens array */
    const char *normalizer, *pre, *post, *decoder;
    const char *options;
    const char *vocab;  /* further entries of the vocabulary, a comma in front */
    const char *merges; /* the array */
} TinyFile;

/* Vocabulary: byte b as its character with id b, then `vocab` (ids from 256). ByteLevel pre-tokenizer and decoder unless the
 * file names others. */
void tiny_bytes_json(StrBuf *out, const TinyFile *file);
/* Vocabulary: <unk> 0, <s> 1, </s> 2, <0x00>..<0xFF> 3..258, U+2581 259, a 260, b 261, then `vocab` (from 262). Llama-2's
 * normalizer and decoder unless the file names others. */
void tiny_fallback_json(StrBuf *out, const TinyFile *file);

/* An encoder with its tokenizer, made from such a text; all must succeed. */
typedef struct Tiny {
    Tokenizer *t;
    Encoder *e;
} Tiny;
Tiny tiny_open(StrBuf *json);
void tiny_close(Tiny *tiny);

/* Encodes and compares with ids that end in -1. */
void tiny_check(const Tiny *tiny, Str text, bool special, const int32_t *want);
#define TINY_CHECK(tiny, text, special, ...)                                                                                               \
    tiny_check((tiny), (Str){(text), sizeof(text) - 1}, (special), (const int32_t[]){__VA_ARGS__, -1})
/* Decodes ids that end in -1 and compares. */
void tiny_check_decoded(const Tiny *tiny, const int32_t *id, bool skip_special, const char *want);
#define TINY_DECODED(tiny, skip, want, ...) tiny_check_decoded((tiny), (const int32_t[]){__VA_ARGS__, -1}, (skip), (want))

#endif
