#include "core/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16 };

bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

FileId file_id_of(const struct stat *info)
{
    return (FileId){
        .device = info->st_dev,
        .inode = info->st_ino,
        .size = (uint64_t)info->st_size,
        .mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)info->st_ctim.tv_sec * 1000000000 + info->st_ctim.tv_nsec,
    };
}

Status file_id(const char *path, FileId *out)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return FAIL(LT_E_INPUT, "cannot read '%s': %s", path, strerror(errno));
    *out = file_id_of(&info);
    return LT_OK;
}

/* Reads to the end rather than to a size asked for beforehand: pipes and /proc have none, and files grow. The size refuses a file that is too long
 * before any of it is read, and saves moves. */
static Status read_all(int fd, const char *path, size_t max, StrBuf *out)
{
    struct stat info = {0};

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        info.st_size = 0;
    if ((uint64_t)info.st_size > max)
        return FAIL(LT_E_INPUT, "'%s' has more than the %zu bytes allowed", path, max);
    strbuf_reserve(out, info.st_size > 0 ? (size_t)info.st_size + 1 : READ_BYTES);
    for (;;) {
        strbuf_reserve(out, 1);
        TRY(strbuf_status(out));
        const ssize_t got = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(LT_E_INPUT, "cannot read '%s': %s", path, strerror(errno));
        if ((size_t)got > max - out->len)
            return FAIL(LT_E_INPUT, "'%s' has more than the %zu bytes allowed", path, max);
        out->len += (size_t)got;
        out->data[out->len] = '\0';
        if (got == 0)
            return LT_OK;
    }
}

Status file_read(const char *path, size_t max, StrBuf *out)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(LT_E_INPUT, "cannot open '%s': %s", path, strerror(errno));
    strbuf_clear(out);
    const Status st = read_all(fd, path, max, out);
    close(fd);
    return st;
}

Status dir_make(const char *path)
{
    char *part = mem_strdup(path);
    Status st = LT_OK;

    if (part == NULL)
        return LT_E_NOMEM;
    for (char *at = part; st == LT_OK && *at != '\0';) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        const char kept = *at;
        *at = '\0';
        /* Another process may be making the same folders: only what is there afterwards counts. Looking has an errno of its own. */
        const int refusal = mkdir(part, 0777) == 0 ? 0 : errno;
        if (refusal != 0 && !dir_exists(part))
            st = FAIL(LT_E_IO, "cannot make folder '%s': '%s': %s", path, part, strerror(refusal));
        *at = kept;
    }
    mem_free(part);
    return st;
}

Status dir_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Status st = LT_OK;

    /* EINVAL: a file system that cannot sync folders has nothing to promise. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        st = FAIL(LT_E_IO, "cannot sync folder '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return st;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static Status list_names(DIR *dir, const char *path, FileList *list)
{
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(dir);
        if (item == NULL && errno != 0)
            return FAIL(LT_E_INPUT, "cannot list folder '%s': %s", path, strerror(errno));
        if (item == NULL)
            return LT_OK;
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        TRY(MEM_GROW(list->name, list->cap, list->count + 1));
        list->name[list->count] = mem_strdup(item->d_name);
        if (list->name[list->count] == NULL)
            return LT_E_NOMEM;
        list->count++;
    }
}

Status dir_list(const char *path, FileList *out)
{
    FileList list = {0};
    DIR *dir = opendir(path);

    if (dir == NULL)
        return FAIL(LT_E_INPUT, "cannot open folder '%s': %s", path, strerror(errno));
    const Status st = list_names(dir, path, &list);
    closedir(dir);
    if (st != LT_OK) {
        file_list_release(&list);
        return st;
    }
    if (list.count > 0)
        qsort(list.name, list.count, sizeof *list.name, compare_names);
    *out = list;
    return LT_OK;
}

void file_list_release(FileList *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->name[i]);
    mem_free(list->name);
    *list = (FileList){0};
}

Status path_join(StrBuf *out, const char *folder, const char *name)
{
    strbuf_clear(out);
    strbuf_add_text(out, folder);
    if (out->len > 0 && out->data[out->len - 1] != '/')
        strbuf_add_char(out, '/');
    strbuf_add_text(out, name);
    return strbuf_status(out);
}

Str path_tail(const char *path)
{
    size_t end = strlen(path);

    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return begin == end ? (Str){path, end} : (Str){path + begin, end - begin};
}

/* Length of the folder part of a path, its last slash included; 0 if there is none. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* ".name.<pid>.<random>.tmp" beside the path: hidden from *.json patterns, on the same file system for rename. */
static Status temporary_name(const char *path, StrBuf *out)
{
    const size_t n = folder_length(path);
    uint64_t random = 0;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return FAIL(LT_E_IO, "the system gives no random bytes: %s", strerror(errno));
    strbuf_add(out, path, n);
    strbuf_addf(out, ".%s.%ld.%016" PRIx64 ".tmp", path + n, (long)getpid(), random);
    return strbuf_status(out);
}

bool file_is_temporary(const char *name)
{
    const char *end = name + strlen(name);
    size_t n_hex = 0, n_digit = 0;

    /* From behind, since the name in front may hold anything. */
    if (name[0] != '.' || !str_ends(str_of(name), str_of(".tmp")))
        return false;
    end -= 4;
    while (end > name && isxdigit((unsigned char)end[-1]))
        end--, n_hex++;
    if (n_hex != 16 || end == name || *--end != '.')
        return false;
    while (end > name && isdigit((unsigned char)end[-1]))
        end--, n_digit++;
    return n_digit > 0 && end > name + 2 && end[-1] == '.';
}

Status atomic_open(AtomicFile *f, const char *path)
{
    AtomicFile opened = {.fd = -1};
    StrBuf name;
    Status st;

    strbuf_init(&name);
    TRY_GOTO(temporary_name(path, &name), st, done);
    opened.path = mem_strdup(path);
    if (opened.path == NULL) {
        st = LT_E_NOMEM;
        goto done;
    }
    opened.fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (opened.fd < 0) {
        st = FAIL(LT_E_IO, "cannot create a file beside '%s': %s", path, strerror(errno));
        mem_free(opened.path);
        goto done;
    }
    opened.temporary = strbuf_steal(&name, NULL);
    *f = opened;
done:
    strbuf_release(&name);
    return st;
}

Status atomic_write(AtomicFile *f, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        const ssize_t done = write(f->fd, at, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return FAIL(LT_E_IO, "cannot write '%s' after %" PRIu64 " bytes: %s", f->path, f->written, strerror(errno));
        at += done;
        bytes -= (size_t)done;
        f->written += (uint64_t)done;
    }
    return LT_OK;
}

static Status sync_folder_of(const char *path)
{
    const size_t n = folder_length(path);
    char *folder = n == 0 ? mem_strdup(".") : mem_strndup(path, n);

    if (folder == NULL)
        return LT_E_NOMEM;
    const Status st = dir_sync(folder);
    mem_free(folder);
    return st;
}

Status atomic_commit(AtomicFile *f)
{
    /* After a failed fsync the kernel may call the pages clean: trying again could report success for lost data. */
    if (fsync(f->fd) != 0)
        return FAIL(LT_E_IO, "cannot sync '%s': %s", f->path, strerror(errno));
    const int closed = close(f->fd);
    f->fd = -1;
    if (closed != 0)
        return FAIL(LT_E_IO, "cannot close '%s': %s", f->path, strerror(errno));
    if (rename(f->temporary, f->path) != 0)
        return FAIL(LT_E_IO, "cannot rename to '%s': %s", f->path, strerror(errno));
    mem_free(f->temporary);
    f->temporary = NULL;
    return sync_folder_of(f->path);
}

void atomic_close(AtomicFile *f)
{
    /* `path` tells an open file from a zeroed struct, whose descriptor 0 is not ours. */
    if (f->path != NULL && f->fd >= 0)
        close(f->fd);
    if (f->temporary != NULL)
        unlink(f->temporary);
    mem_free(f->temporary);
    mem_free(f->path);
    *f = (AtomicFile){.fd = -1};
}

Status file_write_atomic(const char *path, const void *data, size_t bytes)
{
    AtomicFile f = {0};
    Status st;

    TRY(atomic_open(&f, path));
    TRY_GOTO(atomic_write(&f, data, bytes), st, done);
    TRY_GOTO(atomic_commit(&f), st, done);
done:
    atomic_close(&f);
    return st;
}
