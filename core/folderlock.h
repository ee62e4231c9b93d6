/* One writer a folder: a lock for as long as several files of a folder are brought up to date, held by at most one process. The system frees it when
 * its holder dies, however it dies. Not re-entrant: a process that takes it twice waits for itself. */
#ifndef LETHE_CORE_FOLDERLOCK_H
#define LETHE_CORE_FOLDERLOCK_H

#include "core/status.h"

typedef struct FolderLock {
    int fd; /* of FOLDER/.lock, which stays; -1: none */
    bool held;
} FolderLock;

/* Makes the folder, waits for the lock. On a file system without locks there is one warning and `held` is false: two writers at the same time may then
 * lose one another's changes. */
Status folder_lock(FolderLock *lock, const char *folder);
void folder_unlock(FolderLock *lock);

/* Removes the temporary files that killed writers left in `folder`. Whoever holds the lock that all its writers take knows that none is in use; without
 * it, this does nothing. */
Status folder_sweep(const FolderLock *lock, const char *folder);

#endif
