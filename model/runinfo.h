/* How a checkpoint was made: the columns label condition run method rank alpha targets lr seed step tokens epochs base template of every table.
 *
 * They come from lethe.json, which `lethe train` leaves in each checkpoint; for other people's checkpoints from adapter_config.json (PEFT) and
 * trainer_state.json (transformers); and a manifest of the user's overrules both (runinfo_manifest.h). Strings are the arena's, never NULL. */
#ifndef LETHE_MODEL_RUNINFO_H
#define LETHE_MODEL_RUNINFO_H

#include "core/tsv.h"

typedef struct RunInfo { /* unknown: "", -1, NaN */
    const char *label, *condition, *run;
    const char *method;        /* "base", "full" or "lora" */
    const char *targets;       /* "all", "attention", "mlp", names joined by commas, or PEFT's regular expression */
    const char *base;          /* a folder or a hub id, as written */
    const char *template_name; /* column "template" */
    int64_t rank, seed, step, tokens;
    double alpha, lr, epochs;
} RunInfo;

RunInfo runinfo_unknown(void);

/* What the folder's own files say. A lethe.json is taken as the whole truth; without one, method is "lora" where there is an adapter, "full"
 * where there is only a trainer_state.json. LT_E_INPUT with file and key for files that are not what they should be. */
Status runinfo_read(RunInfo *out, Arena *arena, const char *folder);

/* The text of a lethe.json that says the same; what is unknown is left out. */
Status runinfo_write(StrBuf *out, const RunInfo *info);

/* Fills the cells of those columns that the table has. */
Status runinfo_set_row(Tsv *t, size_t row, const RunInfo *info);

#endif
