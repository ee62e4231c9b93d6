#include "model/tokenizer_private.h"

#include "core/utf8.h"

/* Printable Latin-1 bytes keep their code point; the other 68 are numbered on from U+0100 in byte order. */
enum { FIRST_SHIFTED = 0x100, N_SHIFTED = 68 };

static bool stands_for_itself(uint32_t code)
{
    return (code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xac) || (code >= 0xae && code <= 0xff);
}

/* The shifted bytes are 00-20, 7F-A0 and AD. */
uint32_t byte_level_code(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return FIRST_SHIFTED + byte;
    return byte == 0xad ? FIRST_SHIFTED + N_SHIFTED - 1 : FIRST_SHIFTED + 0x21u + (byte - 0x7fu);
}

int byte_level_byte(uint32_t code)
{
    if (code < FIRST_SHIFTED)
        return stands_for_itself(code) ? (int)code : -1;
    if (code >= FIRST_SHIFTED + N_SHIFTED)
        return -1;
    code -= FIRST_SHIFTED;
    if (code <= 0x20)
        return (int)code;
    return code == N_SHIFTED - 1 ? 0xad : (int)(0x7f + (code - 0x21));
}

void byte_level_add(StrBuf *out, Str bytes)
{
    char text[4];

    for (size_t i = 0; i < bytes.len; i++) {
        const size_t n = utf8_put(text, byte_level_code((uint8_t)bytes.data[i]));
        strbuf_add(out, text, n);
    }
}
