/* Small tokenizer.model files, written field by field. */
#ifndef LETHE_TESTS_TINY_MODEL_H
#define LETHE_TESTS_TINY_MODEL_H

#include "core/strbuf.h"

#include <stdint.h>

typedef struct TinyPiece {
    const char *text; /* NULL ends a list */
    float score;
    int kind; /* 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte */
} TinyPiece;

/* Fields of the wire format, appended. */
void proto_varint(StrBuf *out, uint64_t value);
void proto_int(StrBuf *out, unsigned field, uint64_t value);
void proto_bytes(StrBuf *out, unsigned field, Str bytes);

typedef struct TinyModel {
    const TinyPiece *piece; /* behind <unk> 0, <s> 1, </s> 2; ids from 3, or from 259 with byte_fallback */
    int model_type;         /* 0: bpe */
    bool byte_fallback;     /* <0x00>..<0xFF> are 3..258 */
    bool no_prefix, squeeze;
    const char *table; /* of character replacements */
} TinyModel;
void tiny_model(StrBuf *out, const TinyModel *model);

#endif
