/* Finding what a user names: a checkpoint, the base of an adapter, the tokenizer of both. Nothing is opened or read but adapter_config.json;
 * strings are the arena's. */
#ifndef LETHE_MODEL_LOCATE_H
#define LETHE_MODEL_LOCATE_H

#include "core/filehash.h"
#include "model/locate_folder.h"

typedef struct Located {
    const char *given;  /* as it was written: what tables and labels show */
    const char *path;   /* a folder that was there */
    const char *commit; /* of a hub id; NULL for a plain folder */
    FolderKind kind;
} Located;

/* A model or adapter folder, or a hub id `org/name[@revision]` in the local Hugging Face cache (locate_hub.h). A folder that exists wins over
 * a hub id of the same spelling. LT_E_INPUT: neither is there, or it is a folder of something else (locate_folder.h). */
Status locate_checkpoint(Located *out, Arena *arena, const char *argument);

/* The model that an adapter changes: `given` (--base) if not NULL, else base_model_name_or_path of its adapter_config.json with `revision`.
 * A relative path is looked up from the current folder, then from the adapter's. */
Status locate_base(Located *out, Arena *arena, const Located *adapter, const char *given);

/* "tokenizer.json", or "tokenizer.model" where there is only that; NULL: the folder has no tokenizer. */
Status locate_tokenizer_file(const char *folder, const char **out);

typedef struct TokenizerPlace {
    const char *folder; /* holds the tokenizer to use */
    const char *file;   /* as locate_tokenizer_file */
    Digest digest;      /* its SHA-256 */
    const char *other;  /* the next place where the file of that name is different, for a warning; NULL: none */
    Digest other_digest;
} TokenizerPlace;

/* `given` (--tokenizer) if not NULL, else the checkpoint's own, else the base's; base may be NULL. */
Status locate_tokenizer(TokenizerPlace *out, Arena *arena, const char *given, const Located *checkpoint, const Located *base, FileHashMode mode);

#endif
