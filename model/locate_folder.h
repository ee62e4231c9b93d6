/* What kind of checkpoint a folder holds, by the names in it. */
#ifndef LETHE_MODEL_LOCATE_FOLDER_H
#define LETHE_MODEL_LOCATE_FOLDER_H

#include "core/mem.h"

typedef enum FolderKind { FOLDER_MODEL, FOLDER_ADAPTER } FolderKind;

/* LT_E_INPUT for everything else, with the way out: weights of other formats (pickle, .distcp, DeepSpeed, Megatron) with the usual conversion
 * command, a run's folder with the checkpoints in it. An adapter's folder may hold its base's config.json too: adapter_config.json decides. */
Status folder_kind(const char *folder, FolderKind *out);

/* PEFT saves an adapter that has a name in a sub-folder of that name. *out: that folder, where it is the only checkpoint in a folder that is none
 * itself; else NULL. A numbered step of a run is no name. */
Status folder_named_adapter(Arena *arena, const char *folder, const char **out);

#endif
