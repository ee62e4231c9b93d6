#include "eval/score/publish.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/folderlock.h"
#include "core/log.h"
#include "eval/score/table.h"

enum { STAMP_MAX = 64 };

/* The ways to what belongs to one result. */
typedef struct Places {
    StrBuf folder, log, stamp, results, table;
    DigestHex identity;
} Places;

static void places_init(Places *p)
{
    strbuf_init(&p->folder);
    strbuf_init(&p->log);
    strbuf_init(&p->stamp);
    strbuf_init(&p->results);
    strbuf_init(&p->table);
}

static void places_release(Places *p)
{
    strbuf_release(&p->table);
    strbuf_release(&p->results);
    strbuf_release(&p->stamp);
    strbuf_release(&p->log);
    strbuf_release(&p->folder);
}

/* `results` is empty if there is no such file yet. */
static Status places_find(Places *p, const char *out, const ScoreResult *r)
{
    char name[sizeof p->identity.text + 8];

    TRY(results_identity(r, &p->identity));
    snprintf(name, sizeof name, "%s.time", p->identity.text);
    TRY(path_join(&p->folder, out, r->name->folder));
    TRY(path_join(&p->log, out, "log"));
    TRY(path_join(&p->stamp, p->log.data, name));
    TRY(path_join(&p->table, out, "results.tsv"));
    return results_find(&p->results, p->folder.data, &p->identity);
}

Status publish_done(const char *out, const ScoreResult *r, bool *done)
{
    Places p;

    places_init(&p);
    Status st = places_find(&p, out, r);
    *done = st == LT_OK && p.results.len > 0;
    if (*done)
        st = table_is_current(p.table.data, r, done);
    places_release(&p);
    return st;
}

/* A stamp becomes part of names: nothing else may. */
static bool is_stamp(Str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr("0123456789T-.", text.data[i], 13) == NULL)
            return false;
    return text.len > 0;
}

/* The time of the first completion: remembered, or now and remembered from now on. */
static Status settle_stamp(StrBuf *stamp, const Places *p)
{
    if (file_exists(p->stamp.data)) {
        TRY(file_read(p->stamp.data, STAMP_MAX, stamp));
        if (is_stamp(strbuf_str(stamp)))
            return LT_OK;
    }
    strbuf_clear(stamp);
    clock_stamp(stamp);
    TRY(strbuf_status(stamp));
    TRY(dir_make(p->log.data));
    return file_write_atomic(p->stamp.data, stamp->data, stamp->len);
}

static Status write_files(Places *p, const ScoreResult *r)
{
    StrBuf stamp;

    strbuf_init(&stamp);
    Status st = settle_stamp(&stamp, p);
    if (st == LT_OK)
        st = results_write(&p->results, p->folder.data, stamp.data, r);
    strbuf_release(&stamp);
    if (st == LT_OK)
        log_note("%s: wrote %s", r->name->label, p->results.data);
    return st;
}

static Status publish_locked(const FolderLock *lock, Places *p, const char *out, const ScoreResult *r)
{
    TRY(places_find(p, out, r)); /* only now: another process may have been before us */
    TRY(folder_sweep(lock, out));
    TRY(folder_sweep(lock, p->log.data));
    TRY(folder_sweep(lock, p->folder.data));
    if (p->results.len == 0)
        TRY(write_files(p, r));
    return table_update(p->table.data, r);
}

Status publish_result(const char *out, const ScoreResult *r)
{
    FolderLock lock;
    Places p;

    TRY(folder_lock(&lock, out));
    places_init(&p);
    const Status st = publish_locked(&lock, &p, out, r);
    places_release(&p);
    folder_unlock(&lock);
    return st;
}
