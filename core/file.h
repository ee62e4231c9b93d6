/* Files and folders: whole reads, atomic writes, lines of plain, gzip and zstd files.
 * Trouble with something to read is LT_E_INPUT (the user named it); trouble with something to write is LT_E_IO. */
#ifndef LETHE_CORE_FILE_H
#define LETHE_CORE_FILE_H

#include "core/strbuf.h"

/* What identifies the content of a file for as long as nobody touches it. */
typedef struct FileId {
    uint64_t device, inode, size;
    int64_t mtime_ns, ctime_ns;
} FileId;

struct stat;

bool file_exists(const char *path); /* a regular file (or a link to one) */
bool dir_exists(const char *path);
Status file_id(const char *path, FileId *out);
FileId file_id_of(const struct stat *info);

/* Whole file into a buffer; refuses more than `max` bytes. Decompresses nothing. */
Status file_read(const char *path, size_t max, StrBuf *out);

/* mkdir -p. */
Status dir_make(const char *path);
/* fsync of a folder: names made or renamed in it are on the disk when this returns. */
Status dir_sync(const char *path);
/* Names in a folder without "." and "..", sorted by bytes. Free with file_list_release. */
typedef struct FileList {
    char **name;
    size_t count, cap;
} FileList;
Status dir_list(const char *path, FileList *out);
void file_list_release(FileList *list);

/* "a/b" from parts; `out` is cleared first. */
Status path_join(StrBuf *out, const char *folder, const char *name);
/* Last component, trailing slashes ignored. */
Str path_tail(const char *path);

/* A file that appears whole or not at all: written under a temporary name beside `path`, then fsync, rename, fsync of
 * the folder at commit. A failed fsync is a failed commit. Close without commit removes the temporary. */
typedef struct AtomicFile {
    int fd;
    char *path, *temporary;
    uint64_t written;
} AtomicFile;

Status atomic_open(AtomicFile *f, const char *path);
Status atomic_write(AtomicFile *f, const void *data, size_t bytes);
Status atomic_commit(AtomicFile *f);
void atomic_close(AtomicFile *f); /* after commit: releases; before: removes the temporary. Zeroed struct: nothing. */
Status file_write_atomic(const char *path, const void *data, size_t bytes);
/* Whether a name is that of such a temporary: a process that was killed leaves it behind. */
bool file_is_temporary(const char *name);

/* Streaming lines. gzip and zstd are recognised by their first bytes. A line ends at LF; one CR before it is dropped; a
 * last line without LF counts. A UTF-8 byte-order mark at the start is dropped. */
typedef struct LineReader LineReader;
Status lines_open(LineReader **out, const char *path);
/* *line stays valid until the next call. *more = false at the end. Refuses lines above 256 MiB and bad compressed data,
 * naming file and line. */
Status lines_next(LineReader *r, Str *line, bool *more);
uint64_t lines_number(const LineReader *r); /* of the line last given, from 1 */
void lines_close(LineReader *r);

#endif
