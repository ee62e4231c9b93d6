/* One row a fact: its name in files, what kind of value it is, where RunInfo keeps it. Reading, manifest and tables walk these rows. */
#ifndef LETHE_MODEL_RUNINFO_FIELDS_H
#define LETHE_MODEL_RUNINFO_FIELDS_H

#include "core/json.h"
#include "model/runinfo.h"

typedef enum RunFieldKind { RUN_TEXT, RUN_METHOD, RUN_TARGETS, RUN_COUNT, RUN_REAL } RunFieldKind;

typedef struct RunField {
    const char *name;
    RunFieldKind kind;
    size_t offset;
} RunField;

enum { RUN_FIELDS = 14 };
extern const RunField run_fields[RUN_FIELDS];

static inline const char **run_text(RunInfo *info, const RunField *f) { return (const char **)(void *)((char *)info + f->offset); }
static inline int64_t *run_count(RunInfo *info, const RunField *f) { return (int64_t *)(void *)((char *)info + f->offset); }
static inline double *run_real(RunInfo *info, const RunField *f) { return (double *)(void *)((char *)info + f->offset); }

bool run_is_method(const char *text);

/* A list of module names in one word if it is one of the usual sets, else joined by commas: known modules in the order of the model, then the
 * others as they come. Of "model.layers.0.mlp.up_proj" the last part counts. A string stays as it is, but for PEFT's "all-linear": "all". */
Status run_targets_from_json(Arena *arena, JsonAt at, const char **out);

/* adapter_config.json and trainer_state.json, where the folder has them. */
Status run_read_foreign(RunInfo *info, Arena *arena, const char *folder);

#endif
