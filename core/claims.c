#include "core/claims.h"

#include "core/clock.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOUCH_S = 30, STALE_S = 600, TEXT_MAX = 512 };

Status claims_open(Claims *c, const char *folder)
{
    *c = (Claims){0};
    strbuf_init(&c->folder);
    strbuf_add_text(&c->folder, folder);
    if (gethostname(c->host, sizeof c->host - 1) != 0)
        snprintf(c->host, sizeof c->host, "unknown");
    Status st = strbuf_status(&c->folder);
    if (st == LT_OK)
        st = dir_make(folder);
    if (st != LT_OK)
        claims_close(c);
    return st;
}

void claims_close(Claims *c)
{
    strbuf_release(&c->folder);
    *c = (Claims){0};
}

/* ---- taking --------------------------------------------------------------------------------------------------------------- */

/* Makes the file, locked, with the holder's name in it. False: it was there. */
static Status make_file(int *fd, const char *path, const char *host, bool *made)
{
    char text[TEXT_MAX];

    *made = false;
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*fd < 0)
        return errno == EEXIST ? LT_OK : FAIL(LT_E_IO, "cannot create '%s': %s", path, strerror(errno));
    /* Locked before it names this machine: nobody can find it free in between. Without locks, age alone tells. */
    (void)flock(*fd, LOCK_EX | LOCK_NB);
    const int n = snprintf(text, sizeof text, "%s\n%ld\n%.0f\n", host, (long)getpid(), clock_epoch_s());
    if (write(*fd, text, (size_t)n) != n) {
        const int error = errno;

        unlink(path);
        close(*fd);
        return FAIL(LT_E_IO, "cannot write '%s': %s", path, strerror(error));
    }
    *made = true;
    return LT_OK;
}

/* Seconds since the file was touched, by the file system's own clock: other machines' may differ. Negative: it is gone. */
static double age_of(const Claims *c, int fd)
{
    char probe[4096];
    struct stat file, now;
    bool known;

    snprintf(probe, sizeof probe, "%s/.now-%ld-%.0f", c->folder.data, (long)getpid(), clock_s() * 1e6);
    const int at = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    known = at >= 0 && fstat(at, &now) == 0 && fstat(fd, &file) == 0;
    if (at >= 0) {
        unlink(probe);
        close(at);
    }
    if (!known || file.st_nlink == 0)
        return -1;
    return (double)(now.st_mtim.tv_sec - file.st_mtim.tv_sec);
}

/* Whether whoever wrote this is gone. */
static bool is_stale(const Claims *c, int fd)
{
    char text[TEXT_MAX];
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    const size_t length = strlen(c->host);
    struct stat file;

    if (n > (ssize_t)length && memcmp(text, c->host, length) == 0 && text[length] == '\n') {
        /* Dropped, and free for that reason: the path may be somebody's new claim. Whoever has the lock of a file that is still there may move it. */
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fstat(fd, &file) == 0 && file.st_nlink > 0;
        if (errno == EWOULDBLOCK)
            return false;
    }
    return age_of(c, fd) > STALE_S;
}

/* Moved away under a name of our own first: of two thieves one has nothing to move. */
static void clear_stale(const Claims *c, const char *path)
{
    char own[8192];

    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    if (is_stale(c, fd)) {
        snprintf(own, sizeof own, "%s.stolen-%ld-%.0f", path, (long)getpid(), clock_s() * 1e6);
        if (rename(path, own) == 0)
            unlink(own);
    }
    close(fd);
}

static Status take(Claim *out, const Claims *c, bool *taken)
{
    TRY(make_file(&out->fd, out->path, c->host, taken));
    if (*taken)
        return LT_OK;
    clear_stale(c, out->path);
    return make_file(&out->fd, out->path, c->host, taken);
}

Status claim_take(Claim *out, const Claims *c, const char *unit, bool *taken)
{
    StrBuf path;
    Status st;

    *out = (Claim){0};
    *taken = false;
    strbuf_init(&path);
    st = path_join(&path, c->folder.data, unit);
    out->path = strbuf_steal(&path, NULL);
    if (st == LT_OK)
        st = take(out, c, taken);
    out->touched_s = clock_s();
    if (st != LT_OK || !*taken) {
        mem_free(out->path);
        *out = (Claim){0};
    }
    return st;
}

void claim_touch(Claim *claim)
{
    if (claim->path == NULL || clock_s() - claim->touched_s < TOUCH_S)
        return;
    futimens(claim->fd, NULL); /* a claim that was stolen meanwhile is touched where it lies: in nobody's way */
    claim->touched_s = clock_s();
}

void claim_drop(Claim *claim)
{
    struct stat own, there;

    if (claim->path == NULL)
        return;
    /* Stolen from us: the file of that name is the thief's. */
    if (fstat(claim->fd, &own) == 0 && stat(claim->path, &there) == 0 && own.st_dev == there.st_dev && own.st_ino == there.st_ino)
        unlink(claim->path);
    close(claim->fd);
    mem_free(claim->path);
    *claim = (Claim){0};
}
