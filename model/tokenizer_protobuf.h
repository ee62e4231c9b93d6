/* Protobuf's wire format, read in place: fields one after the other, nothing copied, nothing allocated.
 * Every length and every number is checked against the bytes there are; errors name the file and the byte. */
#ifndef LETHE_MODEL_TOKENIZER_PROTOBUF_H
#define LETHE_MODEL_TOKENIZER_PROTOBUF_H

#include "core/strbuf.h"

typedef enum WireType { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 } WireType;

typedef struct Wire {
    Str data;
    size_t at, base; /* base: where the data begins in the file */
    const char *file;
} Wire;

typedef struct WireField {
    const char *file;
    size_t at; /* its first byte in the file */
    uint32_t number;
    WireType type;
    uint64_t value; /* of a varint or a fixed number's bits */
    Wire bytes;     /* of a WIRE_BYTES field, to be read on as a message */
} WireField;

Status wire_next(Wire *w, WireField *out, bool *more);

/* Typed readings; another wire type is an error. */
Status wire_to_int(const WireField *f, int64_t *out);
Status wire_to_bool(const WireField *f, bool *out);
Status wire_to_float(const WireField *f, float *out);
Status wire_to_str(const WireField *f, Str *out); /* valid UTF-8 */
Status wire_to_message(const WireField *f, Wire *out);
/* LT_E_INPUT "file: byte N: <message>". */
Status wire_fail(const WireField *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
