/* Hub ids, `org/name[@revision]`, in the local Hugging Face cache. Nothing is ever downloaded.
 *
 * The cache is HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. Its layout is that of
 * huggingface_hub: models--org--name/{refs/<revision>, snapshots/<commit>/, blobs/}; a ref is a file holding a commit, and its name may hold
 * slashes (refs/pr/1). Snapshot files are links to blobs, and filehash.h knows what a blob's name tells: paths are not resolved here. */
#ifndef LETHE_MODEL_LOCATE_HUB_H
#define LETHE_MODEL_LOCATE_HUB_H

#include "core/strbuf.h"

typedef struct HubId {
    const char *repo;     /* "org/name" */
    const char *revision; /* NULL: "main" */
} HubId;

/* *is_id: whether the text is spelled like a hub id; the strings are the arena's. */
Status hub_parse(HubId *out, Arena *arena, const char *text, bool *is_id);

/* The snapshot folder and its commit (the arena's strings). The revision is a ref, else a commit or the beginning of at least 7 digits of just
 * one. LT_E_INPUT with the revisions that are there. */
Status hub_find(Arena *arena, const HubId *id, const char **folder, const char **commit);

#endif
