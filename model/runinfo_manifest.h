/* A table of a user's that says how checkpoints were made: column `path` and any of RunInfo's. An empty cell says nothing; any other overrules
 * what the checkpoint's files say. */
#ifndef LETHE_MODEL_RUNINFO_MANIFEST_H
#define LETHE_MODEL_RUNINFO_MANIFEST_H

#include "model/locate.h"
#include "model/runinfo.h"

typedef struct ManifestRow {
    const char *path;   /* as written: a folder or a hub id */
    const char *folder; /* the folder it means, from here or from the manifest's folder; NULL: none */
    RunInfo info;
} ManifestRow;

typedef struct Manifest {
    ManifestRow *row;
    size_t n_row;
} Manifest;

/* All memory is the arena's. LT_E_INPUT for an unknown column (with the known ones), no `path`, a path that stands twice or is empty, a value of
 * the wrong kind: names file, line and column. */
Status manifest_read(Manifest *out, Arena *arena, const char *file);

/* Puts what the checkpoint's row says over *info. True if there is a row: one with the path as given, or one that means the same folder. */
bool manifest_apply(const Manifest *manifest, const Located *checkpoint, RunInfo *info);

/* The text of a manifest to edit: one row a checkpoint, all columns. */
Status manifest_write(StrBuf *out, const char *const *path, const RunInfo *info, size_t n);

#endif
