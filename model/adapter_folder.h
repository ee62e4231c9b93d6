/* A PEFT adapter folder, opened without reading a weight: adapter_config.json, judged, and the tensors of adapter_model.safetensors by name.
 *
 * Names: `base_model.model.` + module path + `.lora_A.weight` [r, in] and `.lora_B.weight` [out, r]; `.lora_A.NAME.weight` with the adapter's own
 * name is taken as well. */
#ifndef LETHE_MODEL_ADAPTER_FOLDER_H
#define LETHE_MODEL_ADAPTER_FOLDER_H

#include "core/filehash.h"
#include "model/adapter_config.h"
#include "model/params.h"
#include "model/safetensors.h"

typedef struct AdapterFolder {
    char *path;
    AdapterConfig cfg;
    Digest config_digest;
    StFile file;
    Map tensor; /* name, without the adapter's -> index in file */
} AdapterFolder;

/* LT_E_INPUT for a folder without the two files, and for what adapter_config_parse refuses. */
Status adapter_folder_open(AdapterFolder **out, const char *path);
void adapter_folder_close(AdapterFolder *adapter);

/* The factors it has for such a base, ranks and scales included, values unset. LT_E_INPUT: it changes something other than the matrices of the
 * blocks, or nothing at all; or its tensors are not those of this base (missing, misshapen, too many), listed by name. */
Status adapter_folder_params(ParamList *out, const AdapterFolder *adapter, const ModelConfig *base);
/* Of the entry; NULL if there is none. */
const StTensor *adapter_folder_tensor(const AdapterFolder *adapter, Str name);

/* Digest of configuration and tensors. Reads the tensors' file if its hash is not remembered. */
Status adapter_folder_digest(const AdapterFolder *adapter, FileHashMode mode, Digest *out);

#endif
