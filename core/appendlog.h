/* Append-only record log that survives kill -9: each record is one write of
 *
 *     <length, 8 hex> <CRC-32C of the payload, 8 hex> <payload: JSON on one line> LF
 *
 * One writer a file; nobody ever truncates or rewrites one. A worker that starts again opens a new segment. The reader
 * checks every record, skips a torn or damaged one up to the next line that parses, and counts what it skipped. */
#ifndef LETHE_CORE_APPENDLOG_H
#define LETHE_CORE_APPENDLOG_H

#include "core/strbuf.h"

typedef struct AppendLog {
    int fd;
    char *path;
    bool torn; /* a write failed half-way: the next record starts on a new line */
} AppendLog;

/* Creates FOLDER/<utc time>-<host>-<pid>-<random>.log exclusively; the folder is made. */
Status appendlog_create(AppendLog *log, const char *folder);
/* Payload: at most 256 MiB, no LF. One write call. */
Status appendlog_add(AppendLog *log, Str payload);
/* fdatasync: what was added is on the disk when this returns. */
Status appendlog_sync(AppendLog *log);
/* Syncs and closes. A zeroed struct is allowed. */
Status appendlog_close(AppendLog *log);

/* What a reader does with one good record. A failure stops the reading and is handed on. */
typedef Status (*AppendLogVisit)(void *context, Str payload, const char *path);
typedef struct AppendLogCount {
    uint64_t record, damaged; /* damaged: stretches of bytes skipped */
} AppendLogCount;
/* All records of one file, in order. */
Status appendlog_read(const char *path, AppendLogVisit visit, void *context, AppendLogCount *count);
/* All *.log files of a folder in name order. A folder that is not there holds no records. */
Status appendlog_read_folder(const char *folder, AppendLogVisit visit, void *context, AppendLogCount *count);

#endif
