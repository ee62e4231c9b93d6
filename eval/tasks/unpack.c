#include "eval/tasks/unpack.h"

#include "core/file.h"

#include <limits.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK_BYTES = 1 << 16 };

static Status too_large(const char *path, size_t max)
{
    return FAIL(LT_E_INPUT, "%s: expected at most %zu bytes of content, found more", path, max);
}

static void *zlib_take(void *context, unsigned count, unsigned size)
{
    (void)context;
    return mem_take(count, size);
}

static void zlib_free(void *context, void *block)
{
    (void)context;
    mem_free(block);
}

/* One chunk out. *ended: the member is complete. */
static Status inflate_chunk(z_stream *z, StrBuf *out, const char *path, bool *ended)
{
    unsigned char chunk[CHUNK_BYTES];
    z->next_out = chunk;
    z->avail_out = sizeof chunk;
    const int code = inflate(z, Z_NO_FLUSH);
    if (code == Z_MEM_ERROR)
        return FAIL(LT_E_NOMEM, "%s: no memory to decompress it", path);
    const size_t got = sizeof chunk - z->avail_out;
    if (code != Z_OK && code != Z_STREAM_END && !(code == Z_BUF_ERROR && z->avail_in == 0))
        return FAIL(LT_E_INPUT, "%s: damaged gzip data: %s", path, z->msg ? z->msg : "no reason given");
    if (code != Z_STREAM_END && got == 0 && z->avail_in == 0)
        return FAIL(LT_E_INPUT, "%s: the gzip data ends too early", path);
    strbuf_add(out, (const char *)chunk, got);
    *ended = code == Z_STREAM_END;
    return strbuf_status(out);
}

/* Members may follow one another, as `cat a.gz b.gz` makes them. */
static Status unpack_gzip(StrBuf *out, Str packed, const char *path, size_t max)
{
    if (packed.len > UINT_MAX)
        return too_large(path, UINT_MAX);
    const size_t start = out->len;
    z_stream z = {.zalloc = zlib_take, .zfree = zlib_free};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return FAIL(LT_E_NOMEM, "%s: no memory to decompress it", path);
    z.next_in = (Bytef *)(uintptr_t)packed.data; /* zlib only reads it */
    z.avail_in = (uInt)packed.len;
    Status st;
    bool ended;
    do {
        TRY_GOTO(inflate_chunk(&z, out, path, &ended), st, done);
        if (out->len - start > max)
            TRY_GOTO(too_large(path, max), st, done);
        if (ended)
            inflateReset(&z);
    } while (!ended || z.avail_in > 0);
done:
    inflateEnd(&z);
    return st;
}

static Status unpack_zstd(StrBuf *out, Str packed, const char *path, size_t max)
{
    const size_t start = out->len;
    ZSTD_DStream *z = ZSTD_createDStream();
    if (z == NULL)
        return FAIL(LT_E_NOMEM, "%s: no memory to decompress it", path);
    char chunk[CHUNK_BYTES];
    ZSTD_inBuffer in = {packed.data, packed.len, 0};
    Status st = LT_OK;
    size_t left; /* 0: a frame is complete and all of it written */
    do {
        ZSTD_outBuffer piece = {chunk, sizeof chunk, 0};
        left = ZSTD_decompressStream(z, &piece, &in);
        if (ZSTD_isError(left))
            TRY_GOTO(FAIL(LT_E_INPUT, "%s: damaged zstd data: %s", path, ZSTD_getErrorName(left)), st, done);
        if (left > 0 && piece.pos == 0 && in.pos == in.size)
            TRY_GOTO(FAIL(LT_E_INPUT, "%s: the zstd data ends too early", path), st, done);
        strbuf_add(out, chunk, piece.pos);
        TRY_GOTO(strbuf_status(out), st, done);
        if (out->len - start > max)
            TRY_GOTO(too_large(path, max), st, done);
    } while (left > 0 || in.pos < in.size);
done:
    ZSTD_freeDStream(z);
    return st;
}

Status unpack_file(StrBuf *out, const char *path, size_t max)
{
    static const char gzip_magic[] = "\x1f\x8b", zstd_magic[] = "\x28\xb5\x2f\xfd";
    StrBuf raw;
    strbuf_init(&raw);
    Status st;
    TRY_GOTO(file_read(path, max, &raw), st, done);
    const Str packed = strbuf_str(&raw);
    if (str_starts(packed, str_of(gzip_magic))) {
        TRY_GOTO(unpack_gzip(out, packed, path, max), st, done);
    } else if (str_starts(packed, str_of(zstd_magic))) {
        TRY_GOTO(unpack_zstd(out, packed, path, max), st, done);
    } else if (out->len == 0) {
        strbuf_release(out);
        *out = raw;
        strbuf_init(&raw);
        st = LT_OK;
    } else {
        strbuf_add_str(out, packed);
        TRY_GOTO(strbuf_status(out), st, done);
    }
done:
    strbuf_release(&raw);
    return st;
}
