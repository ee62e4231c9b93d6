/* The parameter table and the parameter list: every fact about a weight stands in one row, and everything that touches weights (load,
 * save, init, optimizer, norm, resume, LoRA, spectra) walks the list.
 *
 * Layout in the arena: entries follow one another in table order; q, k, v of a layer lie without gaps, so they are one [(H+2K)D, C]
 * matrix, and so do gate and up; their biases likewise. Each keeps its own entry. */
#ifndef LETHE_MODEL_PARAMS_H
#define LETHE_MODEL_PARAMS_H

#include "model/config.h"

typedef enum ParamId {
    PARAM_EMBED, PARAM_ATTN_NORM,
    PARAM_Q, PARAM_K, PARAM_V, PARAM_Q_BIAS, PARAM_K_BIAS, PARAM_V_BIAS, PARAM_Q_NORM, PARAM_K_NORM,
    PARAM_O, PARAM_O_BIAS, PARAM_MLP_NORM, PARAM_GATE, PARAM_UP, PARAM_GATE_BIAS, PARAM_UP_BIAS, PARAM_DOWN, PARAM_DOWN_BIAS,
    PARAM_NORM, PARAM_HEAD,
    PARAM_KINDS
} ParamId;

/* A size of the model, by name. */
typedef enum Dim { DIM_ONE, DIM_VOCAB, DIM_HIDDEN, DIM_Q, DIM_KV, DIM_HEAD, DIM_FFN } Dim;
typedef enum ParamPresence { HAS_ALWAYS, HAS_QKV_BIAS, HAS_O_BIAS, HAS_MLP_BIAS, HAS_QK_NORM, HAS_UNTIED } ParamPresence;
typedef enum ParamInit { INIT_NORMAL, INIT_ONE, INIT_ZERO } ParamInit;

typedef struct ParamRow {
    ParamId id;
    const char *name;         /* in the file; %d is the layer */
    const char *module;       /* "q_proj", "embed_tokens": the short name in tables and LoRA targets */
    bool per_layer;
    Dim rows, cols;           /* rows DIM_ONE: a vector, 1-D in the file */
    ParamPresence presence;
    ParamInit init;
    bool decays;              /* weight decay under decay "matrices" */
    bool lora_target;
    bool analysed;            /* by default part of a spectrum run */
    bool joins_previous;      /* lies directly behind the row before it */
} ParamRow;

extern const ParamRow param_rows[PARAM_KINDS]; /* in arena order; param_rows[i].id == i */

int64_t param_dim(const ModelConfig *cfg, Dim dim);
bool param_present(const ModelConfig *cfg, ParamPresence presence);

typedef enum ParamPart { PART_W, PART_A, PART_B } ParamPart; /* the weight, or a LoRA factor of it */

typedef struct ParamEntry {
    const ParamRow *row;
    int32_t layer;            /* -1: not per layer */
    ParamPart part;
    int64_t rows, cols;
    double scale;             /* A and B: the factor on B A */
    bool trainable;
    Tensor value, grad, master, m, v; /* those not in use are unset */
} ParamEntry;

typedef struct ParamList {
    ParamEntry *entry;
    size_t count, cap;
    int32_t at[PARAM_KINDS];  /* index of the row's first entry (layer 0), -1 if absent; weights only */
    int32_t stride;           /* entries a layer; weights only */
} ParamList;

Status params_build(ParamList *list, const ModelConfig *cfg);
void params_release(ParamList *list);
/* NULL if the model has no such weight. layer is ignored for rows that are not per layer. */
ParamEntry *params_find(const ParamList *list, ParamId id, int32_t layer);
/* A list of LoRA factors, empty at first: adapters leave out matrices as they like, so their list grows by what they have. Rank and factor may
 * differ from matrix to matrix. Add in order of layers, then of the table. */
void params_init_factors(ParamList *list);
/* Appends A [rank, in] and B [out, rank] of one matrix. */
Status params_add_factors(ParamList *list, const ModelConfig *cfg, ParamId id, int32_t layer, int64_t rank, double scale);
/* A of a matrix; B is the entry behind it. NULL if the matrix has none. */
ParamEntry *params_find_factors(const ParamList *list, ParamId id, int32_t layer);

/* The entry's name in a safetensors file: of a model, or of a PEFT adapter for the parts A and B. */
Status param_name(const ParamEntry *entry, StrBuf *out);
/* The path of the module that holds the weight: its name without the last part. */
Status param_module(const ParamEntry *entry, StrBuf *out);
/* Takes `value` of every entry from the arena (planning or real) in the layout above. */
Status params_take_values(ParamList *list, TensorArena *arena, DType dtype);

#endif
