/* SHA-256 of a file's content with a cache, so that scoring a folder of checkpoints again reads none of them.
 * Cache: one small file per (path, device, inode, size, mtime ns, ctime) under $LETHE_CACHE, else $XDG_CACHE_HOME/lethe,
 * else ~/.cache/lethe. A cache that cannot be written is no error. Names of Hugging Face cache blobs that are SHA-256 (64
 * hex digits, the target of a snapshot link under blobs/) are taken as the hash. */
#ifndef LETHE_CORE_FILEHASH_H
#define LETHE_CORE_FILEHASH_H

#include "core/file.h"
#include "core/hash.h"

typedef enum FileHashMode { FILEHASH_CACHED, FILEHASH_AGAIN /* --rehash: compute, then store */ } FileHashMode;

/* The known hash, without reading it, of the file that `path` led to when `opened` was taken, wherever it leads now. */
Status filehash_lookup(const char *path, const FileId *opened, FileHashMode mode, Digest *out, bool *known);
/* Remembers a hash computed while loading; `before` is the file's id from before it was read, and nothing is stored if it
 * has changed since, or was changed so lately (20 ms) that another change could go unnoticed. */
void filehash_store(const char *path, const FileId *before, const Digest *digest);
/* Looks up, else reads the file. */
Status filehash_get(const char *path, FileHashMode mode, Digest *out);

#endif
