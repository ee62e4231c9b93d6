/* Lines of plain, gzip and zstd files: a byte source that decompresses in pieces, and a buffer that holds one line at a
 * time. A gzip bomb therefore costs time, never memory beyond the line limit. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum {
    PIECE_BYTES = 1 << 16,  /* read from the file, and made by a decompressor, at a time */
    GZIP_WINDOW = 16 + 15,  /* zlib: gzip wrapper, largest window */
};
static const size_t MAX_LINE = (size_t)256 << 20;

typedef enum Packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD } Packing;

struct LineReader {
    int fd;
    char *path;
    Packing packing;
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool in_member; /* inside a gzip member or zstd frame: the file must not end here */

    char *input; /* [PIECE_BYTES], packed bytes input_at..input_end are not yet used */
    size_t input_at, input_end;
    bool input_done;

    char *text; /* unpacked bytes begin..end are not yet given out; scanned..end not yet searched for LF */
    size_t begin, scanned, end, cap;
    bool text_done;
    uint64_t number;
};

static Status fill_input(LineReader *r)
{
    ssize_t got;

    do
        got = read(r->fd, r->input, PIECE_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return FAIL(LT_E_INPUT, "cannot read '%s': %s", r->path, strerror(errno));
    r->input_at = 0;
    r->input_end = (size_t)got;
    r->input_done = got == 0;
    return LT_OK;
}

static Status bad_data(const LineReader *r, const char *why)
{
    return FAIL(LT_E_INPUT, "'%s': line %" PRIu64 ": %s data is damaged: %s", r->path, r->number + 1,
                r->packing == PACKING_GZIP ? "gzip" : "zstd", why);
}

static void *zlib_take(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return mem_take(count, size);
}

static void zlib_give(void *unused, void *block)
{
    (void)unused;
    mem_free(block);
}

static Status unpack_gzip(LineReader *r, char *out, size_t room, size_t *made)
{
    z_stream *z = &r->gzip;

    /* gzip files may be several members one after the other; the next one starts a fresh stream. */
    if (!r->in_member && inflateReset(z) != Z_OK)
        return bad_data(r, "zlib cannot reset");
    r->in_member = true;
    z->next_in = (Bytef *)r->input + r->input_at;
    z->avail_in = (uInt)(r->input_end - r->input_at);
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    const int result = inflate(z, Z_NO_FLUSH);
    r->input_at = r->input_end - z->avail_in;
    *made = room - z->avail_out;
    if (result == Z_STREAM_END)
        r->in_member = false;
    else if (result == Z_MEM_ERROR)
        return FAIL(LT_E_NOMEM, "out of memory while reading '%s'", r->path);
    else if (result != Z_OK && result != Z_BUF_ERROR)
        return bad_data(r, z->msg != NULL ? z->msg : "unknown reason");
    return LT_OK;
}

static Status unpack_zstd(LineReader *r, char *out, size_t room, size_t *made)
{
    ZSTD_inBuffer from = {r->input, r->input_end, r->input_at};
    ZSTD_outBuffer to = {out, room, 0};
    const size_t result = ZSTD_decompressStream(r->zstd, &to, &from);

    if (ZSTD_isError(result))
        return bad_data(r, ZSTD_getErrorName(result));
    r->input_at = from.pos;
    *made = to.pos;
    r->in_member = result != 0; /* 0: a frame is complete and flushed */
    return LT_OK;
}

/* Up to `room` more bytes of text; *made = 0 at the end. */
static Status unpack(LineReader *r, char *out, size_t room, size_t *made)
{
    *made = 0;
    while (*made == 0) {
        const size_t before = r->input_at;
        if (r->packing == PACKING_GZIP && (r->in_member || r->input_at < r->input_end))
            TRY(unpack_gzip(r, out, room, made));
        else if (r->packing == PACKING_ZSTD && (r->in_member || r->input_at < r->input_end))
            TRY(unpack_zstd(r, out, room, made));
        else if (r->packing == PACKING_NONE && r->input_at < r->input_end) {
            *made = r->input_end - r->input_at < room ? r->input_end - r->input_at : room;
            memcpy(out, r->input + r->input_at, *made);
            r->input_at += *made;
        }
        /* A decompressor may still hold text after it took the last input byte, so ask it before reading on. */
        if (*made > 0 || r->input_at > before)
            continue;
        if (r->input_done)
            return r->in_member ? bad_data(r, "it ends too early") : LT_OK;
        TRY(fill_input(r));
    }
    return LT_OK;
}

static Status start_unpacking(LineReader *r)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

    TRY(fill_input(r));
    if (r->input_end >= sizeof gzip && memcmp(r->input, gzip, sizeof gzip) == 0) {
        r->gzip.zalloc = zlib_take;
        r->gzip.zfree = zlib_give;
        if (inflateInit2(&r->gzip, GZIP_WINDOW) != Z_OK)
            return FAIL(LT_E_NOMEM, "out of memory while opening '%s'", r->path);
        r->packing = PACKING_GZIP;
    } else if (r->input_end >= sizeof zstd && memcmp(r->input, zstd, sizeof zstd) == 0) {
        /* zstd takes its own memory: its interface for another allocator is not part of the stable library. */
        r->zstd = ZSTD_createDStream();
        if (r->zstd == NULL)
            return FAIL(LT_E_NOMEM, "out of memory while opening '%s'", r->path);
        r->packing = PACKING_ZSTD;
    }
    return LT_OK;
}

/* Makes room behind `end`, first by moving the unread bytes down, and adds one piece of text. */
static Status fill_text(LineReader *r)
{
    size_t made;

    if (r->begin > 0) {
        memmove(r->text, r->text + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->scanned -= r->begin;
        r->begin = 0;
    }
    if (r->end > MAX_LINE)
        return FAIL(LT_E_INPUT, "'%s': line %" PRIu64 " is longer than %zu MiB", r->path, r->number + 1, MAX_LINE >> 20);
    TRY(MEM_GROW(r->text, r->cap, r->end + PIECE_BYTES));
    TRY(unpack(r, r->text + r->end, PIECE_BYTES, &made));
    r->end += made;
    r->text_done = made == 0;
    return LT_OK;
}

static Status skip_byte_order_mark(LineReader *r)
{
    while (!r->text_done && r->end < 3)
        TRY(fill_text(r));
    if (r->end >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0)
        r->begin = r->scanned = 3;
    return LT_OK;
}

/* Standard input goes on where it stands. Opening its name would begin a redirected file anew, and fails for a socket. */
static int open_path(const char *path)
{
    return strcmp(path, "/dev/stdin") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
}

Status lines_open(LineReader **out, const char *path)
{
    LineReader *r;
    Status st;

    TRY(MEM_NEW(r, 1));
    r->fd = open_path(path);
    if (r->fd < 0) {
        st = FAIL(LT_E_INPUT, "cannot open '%s': %s", path, strerror(errno));
        goto failed;
    }
    r->path = mem_strdup(path);
    if (r->path == NULL) {
        st = LT_E_NOMEM;
        goto failed;
    }
    TRY_GOTO(MEM_NEW(r->input, PIECE_BYTES), st, failed);
    TRY_GOTO(start_unpacking(r), st, failed);
    TRY_GOTO(skip_byte_order_mark(r), st, failed);
    *out = r;
    return LT_OK;
failed:
    lines_close(r);
    return st;
}

Status lines_next(LineReader *r, Str *line, bool *more)
{
    const char *feed = NULL;

    for (;;) {
        if (r->end > r->scanned)
            feed = memchr(r->text + r->scanned, '\n', r->end - r->scanned);
        if (feed != NULL || r->text_done)
            break;
        r->scanned = r->end;
        TRY(fill_text(r));
    }
    if (feed == NULL && r->begin == r->end) {
        *more = false;
        return LT_OK;
    }

    Str found = {r->text + r->begin, (feed != NULL ? (size_t)(feed - r->text) : r->end) - r->begin};
    r->begin = r->scanned = r->begin + found.len + (feed != NULL);
    if (feed != NULL && found.len > 0 && found.data[found.len - 1] == '\r')
        found.len--;
    r->number++;
    *line = found;
    *more = true;
    return LT_OK;
}

uint64_t lines_number(const LineReader *r)
{
    return r->number;
}

void lines_close(LineReader *r)
{
    if (r == NULL)
        return;
    if (r->packing == PACKING_GZIP)
        inflateEnd(&r->gzip);
    ZSTD_freeDStream(r->zstd);
    if (r->fd >= 0)
        close(r->fd);
    mem_free(r->text);
    mem_free(r->input);
    mem_free(r->path);
    mem_free(r);
}
