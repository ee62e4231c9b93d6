#include "tests/tiny_model.h"

#include "tests/check.h"

#include <stdio.h>

enum { VARINT, BYTES = 2, FIXED32 = 5 };

void proto_varint(StrBuf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        strbuf_add_char(out, (char)(value | 0x80));
    strbuf_add_char(out, (char)value);
}

void proto_int(StrBuf *out, unsigned field, uint64_t value)
{
    proto_varint(out, field << 3 | VARINT);
    proto_varint(out, value);
}

void proto_bytes(StrBuf *out, unsigned field, Str bytes)
{
    proto_varint(out, field << 3 | BYTES);
    proto_varint(out, bytes.len);
    strbuf_add_str(out, bytes);
}

static void proto_float(StrBuf *out, unsigned field, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    proto_varint(out, field << 3 | FIXED32);
    for (int i = 0; i < 4; i++)
        strbuf_add_char(out, (char)(bits >> 8 * i));
}

static void add_message(StrBuf *out, unsigned field, StrBuf *message)
{
    proto_bytes(out, field, strbuf_str(message));
    strbuf_release(message);
}

static void add_piece(StrBuf *out, TinyPiece piece)
{
    StrBuf message;

    strbuf_init(&message);
    proto_bytes(&message, 1, str_of(piece.text));
    proto_float(&message, 2, piece.score);
    if (piece.kind != 1)
        proto_int(&message, 3, (uint64_t)piece.kind);
    add_message(out, 1, &message);
}

void tiny_model(StrBuf *out, const TinyModel *model)
{
    char name[8];
    StrBuf message;

    strbuf_init(out);
    add_piece(out, (TinyPiece){"<unk>", 0, 2});
    add_piece(out, (TinyPiece){"<s>", 0, 3});
    add_piece(out, (TinyPiece){"</s>", 0, 3});
    for (unsigned byte = 0; model->byte_fallback && byte < 256; byte++) {
        snprintf(name, sizeof name, "<0x%02X>", byte);
        add_piece(out, (TinyPiece){name, 0, 6});
    }
    for (const TinyPiece *p = model->piece; p != NULL && p->text != NULL; p++)
        add_piece(out, *p);
    strbuf_init(&message);
    proto_int(&message, 3, model->model_type != 0 ? (uint64_t)model->model_type : 2);
    proto_int(&message, 35, model->byte_fallback);
    proto_int(&message, 43, UINT64_MAX); /* pad_id -1, as files have it */
    add_message(out, 2, &message);
    strbuf_init(&message);
    proto_bytes(&message, 1, str_of(model->table != NULL ? "nmt_nfkc" : "identity"));
    proto_bytes(&message, 2, str_of(model->table != NULL ? model->table : ""));
    proto_int(&message, 3, !model->no_prefix);
    proto_int(&message, 4, model->squeeze);
    add_message(out, 3, &message);
    CHECK_OK(strbuf_status(out));
}
