#include "core/appendlog.h"

#include "core/file.h"
#include "core/hash.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { PREFIX_BYTES = 18 }; /* two times eight hex digits and a space */
static const size_t MAX_PAYLOAD = (size_t)256 << 20;
static const size_t MAX_FILE = (size_t)1 << 40;

/* Names sort by time. Host, pid and random keep workers that start in the same microsecond apart. */
static Status log_name(StrBuf *name)
{
    char host[65] = "", date[32];
    struct timespec now;
    struct tm utc;
    uint32_t random;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y%m%dT%H%M%S", &utc);
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '.' && *c != '_')
            *c = '_';
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return FAIL(LT_E_IO, "the system gives no random bytes: %s", strerror(errno));
    strbuf_addf(name, "%s.%06ldZ-%s-%ld-%08" PRIx32 ".log", date, now.tv_nsec / 1000, host, (long)getpid(), random);
    return strbuf_status(name);
}

static Status create_in(AppendLog *log, const char *folder, StrBuf *name, StrBuf *path)
{
    TRY(dir_make(folder));
    TRY(log_name(name));
    TRY(path_join(path, folder, name->data));
    const int fd = open(path->data, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return FAIL(LT_E_IO, "cannot create '%s': %s", path->data, strerror(errno));
    const Status st = dir_sync(folder);
    if (st != LT_OK) {
        close(fd);
        return st;
    }
    *log = (AppendLog){.fd = fd, .path = strbuf_steal(path, NULL)};
    return LT_OK;
}

Status appendlog_create(AppendLog *log, const char *folder)
{
    StrBuf name, path;

    strbuf_init(&name);
    strbuf_init(&path);
    const Status st = create_in(log, folder, &name, &path);
    strbuf_release(&name);
    strbuf_release(&path);
    return st;
}

static Status write_record(AppendLog *log, Str record)
{
    for (size_t done = 0; done < record.len;) {
        const ssize_t n = write(log->fd, record.data + done, record.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log->torn = log->torn || done > 0;
            return FAIL(LT_E_IO, "cannot append to '%s': %s", log->path, strerror(errno));
        }
        /* Short only when a disk is full or a signal came: nobody else writes here, so the rest can follow. */
        done += (size_t)n;
    }
    log->torn = false;
    return LT_OK;
}

Status appendlog_add(AppendLog *log, Str payload)
{
    StrBuf record;

    BUG_IF(log->path == NULL || (payload.len > 0 && memchr(payload.data, '\n', payload.len) != NULL));
    if (payload.len > MAX_PAYLOAD)
        return FAIL(LT_E_IO, "'%s': a record of %zu bytes is above the %zu allowed", log->path, payload.len, MAX_PAYLOAD);
    strbuf_init(&record);
    if (log->torn)
        strbuf_add_char(&record, '\n');
    strbuf_addf(&record, "%08zx %08" PRIx32 " ", payload.len, crc32c(0, payload.data, payload.len));
    strbuf_add_str(&record, payload);
    strbuf_add_char(&record, '\n');
    Status st = strbuf_status(&record);
    if (st == LT_OK)
        st = write_record(log, strbuf_str(&record));
    strbuf_release(&record);
    return st;
}

Status appendlog_sync(AppendLog *log)
{
    if (fdatasync(log->fd) != 0)
        return FAIL(LT_E_IO, "cannot sync '%s': %s", log->path, strerror(errno));
    return LT_OK;
}

Status appendlog_close(AppendLog *log)
{
    if (log->path == NULL)
        return LT_OK;
    Status st = appendlog_sync(log);
    if (close(log->fd) != 0 && st == LT_OK)
        st = FAIL(LT_E_IO, "cannot close '%s': %s", log->path, strerror(errno));
    mem_free(log->path);
    *log = (AppendLog){.fd = -1};
    return st;
}

/* Eight lower-case hex digits and a space. */
static bool read_field(const char *p, uint32_t *out)
{
    uint32_t value = 0;

    for (int i = 0; i < 8; i++) {
        const char c = p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = value;
    return p[8] == ' ';
}

/* The record that starts at byte `at`, if it is whole and undamaged. */
static bool record_at(Str text, size_t at, Str *payload)
{
    uint32_t length, crc;

    if (text.len - at < PREFIX_BYTES + 1 || !read_field(text.data + at, &length) ||
        !read_field(text.data + at + PREFIX_BYTES / 2, &crc))
        return false;
    const size_t begin = at + PREFIX_BYTES;
    if (length > MAX_PAYLOAD || text.len - begin < (size_t)length + 1 || text.data[begin + length] != '\n')
        return false;
    *payload = str_slice(text, begin, begin + length);
    return memchr(payload->data, '\n', payload->len) == NULL && crc32c(0, payload->data, payload->len) == crc;
}

static Status read_records(Str text, AppendLogVisit visit, void *context, const char *path, AppendLogCount *count)
{
    bool skipping = false;

    for (size_t at = 0; at < text.len;) {
        Str payload;
        if (record_at(text, at, &payload)) {
            TRY(visit(context, payload, path));
            count->record++;
            at = (size_t)(payload.data - text.data) + payload.len + 1;
            skipping = false;
            continue;
        }
        /* A damaged length says nothing about where the next record starts; a newline does. */
        const size_t feed = str_find(text, str_of("\n"), at);
        count->damaged += !skipping;
        skipping = true;
        at = feed == SIZE_MAX ? text.len : feed + 1;
    }
    return LT_OK;
}

/* Adds to *count. */
static Status read_file(const char *path, AppendLogVisit visit, void *context, AppendLogCount *count)
{
    StrBuf text;

    strbuf_init(&text);
    Status st = file_read(path, MAX_FILE, &text);
    if (st == LT_OK)
        st = read_records(strbuf_str(&text), visit, context, path, count);
    strbuf_release(&text);
    return st;
}

Status appendlog_read(const char *path, AppendLogVisit visit, void *context, AppendLogCount *count)
{
    AppendLogCount total = {0};

    TRY(read_file(path, visit, context, &total));
    *count = total;
    return LT_OK;
}

Status appendlog_read_folder(const char *folder, AppendLogVisit visit, void *context, AppendLogCount *count)
{
    AppendLogCount total = {0};
    FileList list = {0};
    StrBuf path;
    Status st = LT_OK;

    if (!dir_exists(folder)) {
        *count = total;
        return LT_OK;
    }
    TRY(dir_list(folder, &list));
    strbuf_init(&path);
    for (size_t i = 0; i < list.count && st == LT_OK; i++) {
        if (!str_ends(str_of(list.name[i]), str_of(".log")))
            continue;
        st = path_join(&path, folder, list.name[i]);
        if (st == LT_OK)
            st = read_file(path.data, visit, context, &total);
    }
    strbuf_release(&path);
    file_list_release(&list);
    if (st == LT_OK)
        *count = total;
    return st;
}
