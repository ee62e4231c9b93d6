/* What a checkpoint is called in tables and folders, and what is known of how it was made. */
#ifndef LETHE_EVAL_SCORE_LABEL_H
#define LETHE_EVAL_SCORE_LABEL_H

#include "core/strbuf.h"

/* How it was made (model/runinfo.h), as the cells of results.tsv. "" where nothing is known. */
enum { ORIGIN_FIELDS = 14 };
extern const char *const origin_field[ORIGIN_FIELDS]; /* "condition", "run", ... in the order of the table */

typedef struct CheckpointName {
    char *label;                 /* may hold '/' */
    char *folder;                /* the label as a folder's name, by lm-eval's rule */
    char *origin[ORIGIN_FIELDS];
} CheckpointName;

/* One name a path: the label that the manifest or lethe.json gives, else the shortest tail of the path that no other path of the list ends with. LT_E_USAGE for a path that
 * is given twice, or two checkpoints of one label; LT_E_INPUT for a lethe.json or a manifest that is none. manifest: a file that overrules what the
 * checkpoints say of themselves (model/runinfo_manifest.h), or NULL. *out: n names, names_free. */
Status names_make(CheckpointName **out, const char *const *path, size_t n, const char *manifest);
void names_free(CheckpointName *name, size_t n);

/* Each of < > : / | \ ? * [ ] becomes "__". */
void label_sanitise(StrBuf *out, Str label);

#endif
