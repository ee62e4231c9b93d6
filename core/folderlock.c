#include "core/folderlock.h"

#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static Status wait_for(FolderLock *lock, const char *path)
{
    int failed;

    do
        failed = flock(lock->fd, LOCK_EX);
    while (failed != 0 && errno == EINTR);
    lock->held = failed == 0;
    if (lock->held)
        return LT_OK;
    if (errno != ENOLCK && errno != ENOSYS && errno != EOPNOTSUPP)
        return FAIL(LT_E_IO, "cannot lock '%s': %s", path, strerror(errno));
    log_warning("cannot lock '%s': %s; let no two commands write there at the same time", path, strerror(errno));
    return LT_OK;
}

Status folder_lock(FolderLock *lock, const char *folder)
{
    StrBuf path;
    Status st;

    *lock = (FolderLock){.fd = -1};
    strbuf_init(&path);
    TRY_GOTO(dir_make(folder), st, done);
    TRY_GOTO(path_join(&path, folder, ".lock"), st, done);
    lock->fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    st = lock->fd >= 0 ? wait_for(lock, path.data) : FAIL(LT_E_IO, "cannot open '%s': %s", path.data, strerror(errno));
    if (st != LT_OK)
        folder_unlock(lock);
done:
    strbuf_release(&path);
    return st;
}

void folder_unlock(FolderLock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    *lock = (FolderLock){.fd = -1};
}

Status folder_sweep(const FolderLock *lock, const char *folder)
{
    FileList list = {0};
    StrBuf path;
    Status st;

    if (!lock->held || !dir_exists(folder))
        return LT_OK;
    strbuf_init(&path);
    TRY_GOTO(dir_list(folder, &list), st, done);
    for (size_t i = 0; i < list.count; i++) {
        if (!file_is_temporary(list.name[i]))
            continue;
        TRY_GOTO(path_join(&path, folder, list.name[i]), st, done);
        unlink(path.data); /* what cannot be removed is in nobody's way */
    }
done:
    file_list_release(&list);
    strbuf_release(&path);
    return st;
}
