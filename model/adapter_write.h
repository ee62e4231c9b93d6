/* Writes a PEFT adapter folder: adapter_config.json and adapter_model.safetensors, which transformers, PEFT and Lethe load.
 *
 * The configuration keeps to keys that every PEFT release with rsLoRA knows. Ranks and factors come from the list: those of its first matrix are `r` and
 * `lora_alpha`, others stand in rank_pattern and alpha_pattern under the whole path of their module, so that no two keys can overlap. */
#ifndef LETHE_MODEL_ADAPTER_WRITE_H
#define LETHE_MODEL_ADAPTER_WRITE_H

#include "model/params.h"

typedef struct AdapterOrigin {
    const char *base; /* base_model_name_or_path; NULL: not said */
    double dropout;   /* that it was trained with */
    bool rslora;      /* scale is alpha / sqrt(rank) rather than alpha / rank */
} AdapterOrigin;

/* Writes FOLDER, which must not exist or be empty, under another name and renames it when all of it is on the disk. `factors` holds the A and B of
 * params_add_factors for this base, F32, on `dev` (NULL: in host memory). Scales come back as they are if they are alpha / rank of some F64 alpha,
 * else within an ulp. LT_E_NUMERIC names the tensor and element that is NaN or infinite; LT_E_IO leaves nothing behind. */
Status adapter_write(const char *folder, const ParamList *factors, const ModelConfig *base, Device *dev, const AdapterOrigin *origin);
/* The two files, each whole or not at all, into a folder that the caller fills and puts in its place: tensors first, so that a folder recognised as
 * an adapter's has them. */
Status adapter_write_files(const char *folder, const ParamList *factors, const ModelConfig *base, Device *dev, const AdapterOrigin *origin);

#endif
