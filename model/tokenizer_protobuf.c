#include "model/tokenizer_protobuf.h"

#include "core/utf8.h"

#include <stdio.h>

enum { NUMBER_MAX = (1 << 29) - 1 }; /* of a field */

static Status fail_at(const Wire *w, size_t at, const char *what)
{
    return FAIL(LT_E_INPUT, "%s: byte %zu: %s", w->file, w->base + at, what);
}

static Status read_varint(Wire *w, uint64_t *out)
{
    const size_t begin = w->at;
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at == w->data.len)
            return fail_at(w, begin, "a number runs over the end");
        const uint8_t byte = (uint8_t)w->data.data[w->at++];
        /* The tenth byte holds the 64th bit and nothing else. */
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return LT_OK;
        }
    }
    return fail_at(w, begin, "a number is longer than 64 bits");
}

static Status read_fixed(Wire *w, size_t n, uint64_t *out)
{
    *out = 0;
    if (w->data.len - w->at < n)
        return fail_at(w, w->at, "a number runs over the end");
    for (size_t i = n; i-- > 0;)
        *out = *out << 8 | (uint8_t)w->data.data[w->at + i];
    w->at += n;
    return LT_OK;
}

static Status read_bytes(Wire *w, Wire *out)
{
    const size_t begin = w->at;
    uint64_t n;

    TRY(read_varint(w, &n));
    const size_t left = w->data.len - w->at;
    if (n > left)
        return FAIL(LT_E_INPUT, "%s: byte %zu: a length of %llu, but %zu bytes are left", w->file, w->base + begin, (unsigned long long)n,
                    left);
    *out = (Wire){.data = str_slice(w->data, w->at, w->at + (size_t)n), .base = w->base + w->at, .file = w->file};
    w->at += (size_t)n;
    return LT_OK;
}

Status wire_next(Wire *w, WireField *out, bool *more)
{
    WireField f = {.file = w->file, .at = w->base + w->at};
    uint64_t key;

    *more = w->at < w->data.len;
    if (!*more)
        return LT_OK;
    TRY(read_varint(w, &key));
    if (key >> 3 == 0 || key >> 3 > NUMBER_MAX)
        return wire_fail(&f, "field number %llu is not between 1 and %d", (unsigned long long)(key >> 3), NUMBER_MAX);
    f.number = (uint32_t)(key >> 3);
    f.type = (WireType)(key & 7);
    switch (f.type) {
    case WIRE_VARINT:
        TRY(read_varint(w, &f.value));
        break;
    case WIRE_FIXED64:
        TRY(read_fixed(w, 8, &f.value));
        break;
    case WIRE_FIXED32:
        TRY(read_fixed(w, 4, &f.value));
        break;
    case WIRE_BYTES:
        TRY(read_bytes(w, &f.bytes));
        break;
    default:
        return wire_fail(&f, "field %u has wire type %u, which is not supported", (unsigned)f.number, (unsigned)(key & 7));
    }
    *out = f;
    return LT_OK;
}

static Status expect(const WireField *f, WireType type)
{
    if (f->type == type)
        return LT_OK;
    return wire_fail(f, "field %u: wire type %d expected, %d found", (unsigned)f->number, (int)type, (int)f->type);
}

Status wire_to_int(const WireField *f, int64_t *out)
{
    TRY(expect(f, WIRE_VARINT));
    *out = (int64_t)f->value;
    return LT_OK;
}

Status wire_to_bool(const WireField *f, bool *out)
{
    TRY(expect(f, WIRE_VARINT));
    *out = f->value != 0;
    return LT_OK;
}

Status wire_to_float(const WireField *f, float *out)
{
    const uint32_t bits = (uint32_t)f->value;

    TRY(expect(f, WIRE_FIXED32));
    memcpy(out, &bits, sizeof *out);
    return LT_OK;
}

Status wire_to_str(const WireField *f, Str *out)
{
    TRY(expect(f, WIRE_BYTES));
    if (utf8_valid_prefix(f->bytes.data) != f->bytes.data.len)
        return wire_fail(f, "field %u: invalid UTF-8", (unsigned)f->number);
    *out = f->bytes.data;
    return LT_OK;
}

Status wire_to_message(const WireField *f, Wire *out)
{
    TRY(expect(f, WIRE_BYTES));
    *out = f->bytes;
    return LT_OK;
}

Status wire_fail(const WireField *f, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return FAIL(LT_E_INPUT, "%s: byte %zu: %s", f->file, f->at, text);
}
