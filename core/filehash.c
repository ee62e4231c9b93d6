#include "core/filehash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20, MAX_ENTRY = 8192 };

/* The cache folder; left empty if the environment names none. */
static void cache_folder(StrBuf *out)
{
    const char *own = getenv("LETHE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (own != NULL && own[0] != '\0')
        strbuf_add_text(out, own);
    else if (xdg != NULL && xdg[0] != '\0')
        strbuf_addf(out, "%s/lethe", xdg);
    else if (home != NULL && home[0] != '\0')
        strbuf_addf(out, "%s/.cache/lethe", home);
    if (out->len > 0)
        strbuf_add_text(out, "/filehash");
}

/* What the entry is about, and where it lies: FOLDER/<SHA-256 of the key>. The key takes the resolved path, so that all
 * ways to name a file share an entry. */
typedef struct Entry {
    StrBuf key, folder, path;
} Entry;

static void entry_release(Entry *e)
{
    strbuf_release(&e->key);
    strbuf_release(&e->folder);
    strbuf_release(&e->path);
}

/* path.len = 0: there is no place for a cache. */
static Status entry_init(Entry *e, const char *real, const FileId *id)
{
    Digest name;

    *e = (Entry){0};
    cache_folder(&e->folder);
    strbuf_addf(&e->key, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %s", id->device, id->inode,
                id->size, id->mtime_ns, id->ctime_ns, real);
    TRY(strbuf_status(&e->folder));
    TRY(strbuf_status(&e->key));
    if (e->folder.len == 0)
        return LT_OK;
    TRY(sha256_of(e->key.data, e->key.len, &name));
    return path_join(&e->path, e->folder.data, digest_hex(&name).text);
}

/* One line: CRC-32C of the rest, digest, key. The checksum matters: a flipped digit would be a wrong hash for ever. */
static Status entry_text(StrBuf *out, const Entry *e, const Digest *digest)
{
    StrBuf rest;

    strbuf_init(&rest);
    strbuf_addf(&rest, "%s %s\n", digest_hex(digest).text, e->key.data);
    strbuf_clear(out);
    strbuf_addf(out, "%08" PRIx32 " ", crc32c(0, rest.data, rest.len));
    strbuf_add_str(out, strbuf_str(&rest));
    const Status st = rest.failed ? strbuf_status(&rest) : strbuf_status(out);
    strbuf_release(&rest);
    return st;
}

/* Reads the digest and accepts it only if writing the entry again would give the same bytes. */
static Status entry_read(const Entry *e, Digest *out, bool *known)
{
    StrBuf found, expected;
    Digest digest;
    Status st;

    strbuf_init(&found);
    strbuf_init(&expected);
    TRY_GOTO(file_read(e->path.data, MAX_ENTRY, &found), st, done);
    const Str text = strbuf_str(&found);
    if (text.len > 9 + 64 && digest_from_hex(str_slice(text, 9, 9 + 64), &digest)) {
        TRY_GOTO(entry_text(&expected, e, &digest), st, done);
        *known = str_equal(text, strbuf_str(&expected));
        if (*known)
            *out = digest;
    }
done:
    strbuf_release(&found);
    strbuf_release(&expected);
    return st;
}

/* A Hugging Face cache names its blobs by their SHA-256 (large files) and links to them from snapshots/. Only a link is
 * trusted: somebody's own folder may be called blobs too. */
static bool blob_name(const char *path, const char *real, Digest *out)
{
    struct stat info;
    const Str tail = path_tail(real);
    const Str folder = {real, strlen(real) - tail.len};

    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode) && str_ends(folder, str_of("/blobs/")) &&
           digest_from_hex(tail, out);
}

static Status resolve(const char *path, char real[PATH_MAX])
{
    if (realpath(path, real) == NULL)
        return FAIL(LT_E_INPUT, "cannot read '%s': %s", path, strerror(errno));
    return LT_OK;
}

static bool same_id(const FileId *a, const FileId *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

Status filehash_lookup(const char *path, const FileId *opened, FileHashMode mode, Digest *out, bool *known)
{
    char real[PATH_MAX];
    Entry e;
    FileId now;
    Status st;

    TRY(resolve(path, real));
    TRY(file_id(real, &now));
    *known = false;
    if (mode == FILEHASH_AGAIN)
        return LT_OK;
    *known = same_id(opened, &now) && blob_name(path, real, out);
    if (*known)
        return LT_OK;

    TRY_GOTO(entry_init(&e, real, opened), st, done);
    if (e.path.len > 0 && file_exists(e.path.data) && entry_read(&e, out, known) != LT_OK)
        status_clear();
done:
    entry_release(&e);
    return st;
}

/* File systems stamp changes with a clock that steps (4 or 10 ms; 2 s where nanoseconds are not kept). A change inside
 * the step of the last one cannot be seen, so such a young file is not remembered. */
static bool too_young(const FileId *id)
{
    struct timespec now;
    const int64_t step_ns = id->ctime_ns % 1000000000 == 0 ? 2000000000 : 20000000;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - id->ctime_ns < step_ns;
}

static Status store(const char *path, const FileId *before, const Digest *digest)
{
    char real[PATH_MAX];
    FileId now;
    Entry e = {0};
    StrBuf text;
    Status st;

    strbuf_init(&text);
    TRY_GOTO(resolve(path, real), st, done);
    TRY_GOTO(file_id(real, &now), st, done);
    if (!same_id(before, &now) || too_young(&now))
        goto done;
    TRY_GOTO(entry_init(&e, real, before), st, done);
    if (e.path.len == 0)
        goto done;
    TRY_GOTO(entry_text(&text, &e, digest), st, done);
    TRY_GOTO(dir_make(e.folder.data), st, done);
    TRY_GOTO(file_write_atomic(e.path.data, text.data, text.len), st, done);
done:
    strbuf_release(&text);
    entry_release(&e);
    return st;
}

void filehash_store(const char *path, const FileId *before, const Digest *digest)
{
    /* A cache that cannot be written costs time, nothing else. */
    if (store(path, before, digest) != LT_OK)
        status_clear();
}

static Status hash_file(int fd, const char *path, Digest *out)
{
    Sha256 h = {0};
    char *piece;
    Status st;

    TRY(MEM_NEW(piece, PIECE_BYTES));
    TRY_GOTO(sha256_init(&h), st, done);
    for (;;) {
        const ssize_t got = read(fd, piece, PIECE_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            st = FAIL(LT_E_INPUT, "cannot read '%s': %s", path, strerror(errno));
            goto done;
        }
        if (got == 0)
            break;
        sha256_add(&h, piece, (size_t)got);
    }
    *out = sha256_end(&h);
done:
    sha256_release(&h);
    mem_free(piece);
    return st;
}

Status filehash_get(const char *path, FileHashMode mode, Digest *out)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    bool known = false;
    Status st;

    if (fd < 0 || fstat(fd, &info) != 0) {
        st = FAIL(LT_E_INPUT, "cannot open '%s': %s", path, strerror(errno));
        goto done;
    }
    const FileId before = file_id_of(&info);
    TRY_GOTO(filehash_lookup(path, &before, mode, out, &known), st, done);
    if (known)
        goto done;
    TRY_GOTO(hash_file(fd, path, out), st, done);
    filehash_store(path, &before, out);
done:
    if (fd >= 0)
        close(fd);
    return st;
}
