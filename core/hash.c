#include "core/hash.h"

#include <openssl/evp.h>

Status sha256_init(Sha256 *h)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (context == NULL)
        return FAIL(LT_E_NOMEM, "out of memory for a SHA-256");
    if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return FAIL(LT_E_FAIL, "libcrypto offers no SHA-256");
    }
    h->context = context;
    return LT_OK;
}

void sha256_add(Sha256 *h, const void *data, size_t bytes)
{
    /* Fails for a context that was never set up or is finished, nothing else. */
    BUG_IF(EVP_DigestUpdate(h->context, data, bytes) != 1);
}

Digest sha256_end(Sha256 *h)
{
    Digest d;

    BUG_IF(EVP_DigestFinal_ex(h->context, d.byte, NULL) != 1);
    sha256_release(h);
    return d;
}

void sha256_release(Sha256 *h)
{
    EVP_MD_CTX_free(h->context);
    h->context = NULL;
}

Status sha256_of(const void *data, size_t bytes, Digest *out)
{
    Sha256 h = {0};

    TRY(sha256_init(&h));
    sha256_add(&h, data, bytes);
    *out = sha256_end(&h);
    return LT_OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

DigestHex digest_hex(const Digest *d)
{
    static const char hex[] = "0123456789abcdef";
    DigestHex out;

    for (size_t i = 0; i < sizeof d->byte; i++) {
        out.text[2 * i] = hex[d->byte[i] >> 4];
        out.text[2 * i + 1] = hex[d->byte[i] & 15];
    }
    out.text[64] = '\0';
    return out;
}

bool digest_from_hex(Str text, Digest *out)
{
    Digest d;

    if (text.len != 2 * sizeof d.byte)
        return false;
    for (size_t i = 0; i < sizeof d.byte; i++) {
        const int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        d.byte[i] = (uint8_t)(high << 4 | low);
    }
    *out = d;
    return true;
}

/* Four bits at a time from a table of sixteen: it runs only where the processor has no instruction for it. */
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t bytes)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *p = data;

    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint64_t state = ~crc;

    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t eight;
        memcpy(&eight, p, sizeof eight);
        state = __builtin_ia32_crc32di(state, eight);
    }
    for (; bytes > 0; bytes--, p++)
        state = __builtin_ia32_crc32qi((uint32_t)state, *p);
    return ~(uint32_t)state;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, bytes);
#endif
    return crc32c_plain(crc, data, bytes);
}
