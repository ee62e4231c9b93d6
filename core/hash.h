/* SHA-256 (FIPS 180-4, through libcrypto) and CRC-32C (Castagnoli, RFC 3720). */
#ifndef LETHE_CORE_HASH_H
#define LETHE_CORE_HASH_H

#include "core/strbuf.h"

typedef struct Sha256 {
    void *context; /* libcrypto's */
} Sha256;

typedef struct Digest {
    uint8_t byte[32];
} Digest;

typedef struct DigestHex {
    char text[65]; /* lower-case, NUL-terminated */
} DigestHex;

Status sha256_init(Sha256 *h);
void sha256_add(Sha256 *h, const void *data, size_t bytes);
/* Finishes and releases. */
Digest sha256_end(Sha256 *h);
/* Releases without a result. A zeroed struct is allowed. */
void sha256_release(Sha256 *h);

Status sha256_of(const void *data, size_t bytes, Digest *out);
DigestHex digest_hex(const Digest *d);
/* 64 lower-case hex digits back to a digest; false for anything else. */
bool digest_from_hex(Str text, Digest *out);

/* CRC-32C of data appended to what gave `crc` (0 to start). "123456789" -> 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);
/* The same without the processor's instruction; tests hold one against the other. */
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t bytes);

#endif
