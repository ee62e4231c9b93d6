/* A model folder: opened (config, tensor index, notes) without reading weights, then loaded onto a device. */
#ifndef LETHE_MODEL_CHECKPOINT_H
#define LETHE_MODEL_CHECKPOINT_H

#include "core/filehash.h"
#include "model/params.h"
#include "model/rope.h"
#include "model/safetensors.h"

typedef struct Checkpoint {
    char *path;
    ModelConfig cfg;
    StSet set;
    Digest config_digest;
} Checkpoint;

/* LT_E_INPUT for a folder without config.json, an adapter without its base, foreign formats. */
Status checkpoint_open(Checkpoint **out, const char *path);
void checkpoint_close(Checkpoint *ckpt);
/* Compares the tensor index with the parameter table: missing, misshapen, of a dtype we do not read, and unknown tensors, all listed by name in
 * one message (LT_E_INPUT for the first three kinds; unknown ones are a warning, `unknown` counts them; rotary inv_freq and a tied lm_head are
 * silently ignored). */
Status checkpoint_check(const Checkpoint *ckpt, size_t *unknown);
/* What the weights are stored in: their common dtype, or F32 where they differ. For a checkpoint that checkpoint_check has passed. */
Status checkpoint_stored_dtype(const Checkpoint *ckpt, DType *out);

/* The digest that loading would give, from the remembered hashes of the files, without reading a weight. *known is false, and *out untouched,
 * if one of them is not remembered (always with FILEHASH_AGAIN). */
Status checkpoint_digest(const Checkpoint *ckpt, FileHashMode mode, Digest *out, bool *known);

/* What a layer's forward pass reads: joined views into the weight arena. Unset tensors are absent. */
typedef struct LayerWeights {
    Tensor attn_norm, qkv, qkv_bias, q_norm, k_norm, o, o_bias, mlp_norm, gate_up, gate_up_bias, down, down_bias;
} LayerWeights;

typedef struct Model {
    ModelConfig cfg;
    Device *dev;
    DType dtype;       /* of weights and activations */
    DType stored;      /* as checkpoint_stored_dtype */
    bool lossy_cast;   /* some stored weight did not survive the cast to `dtype` unchanged */
    ParamList params;
    TensorArena memory;
    LayerWeights *layer;
    Tensor embed, norm, head; /* head is embed when tied */
    RopeTable rope;
    Digest digest;     /* of config and weight files: what a score's key holds */
} Model;

typedef struct LoadOptions {
    DType dtype;
    int64_t max_position;   /* rope table length; 0: max_position_embeddings */
    FileHashMode hash;
    const struct Factors *merge; /* added to the weights on the way (model/factors.h); NULL: none. The digest stays that of the base */
} LoadOptions;

/* Streams every tensor into the weight arena, converting, checking for NaN and infinity (LT_E_INPUT with tensor, index), hashing files as they
 * pass unless their hash is known. */
Status model_load(Model **out, Device *dev, const Checkpoint *ckpt, const LoadOptions *options);
/* A random model of this config: N(0, initializer_range) matrices, ones in norms, zeros in biases; Philox keyed by (seed, entry). */
Status model_random(Model **out, Device *dev, const ModelConfig *cfg, DType dtype, uint64_t seed);
/* Writes config.json (the form transformers 4 and 5 both read) and model.safetensors in the model's dtype. */
Status model_save(const Model *model, const char *folder);
void model_free(Model *model);
/* Bytes of weights and tables for this config. */
size_t model_bytes(const ModelConfig *cfg, Device *dev, DType dtype, int64_t max_position);

#endif
