/* Private to model/: one layer in pieces, for whoever runs it: packed scoring (forward.c) and decoding over a paged cache.
 *
 * The pieces are all of a layer but the attention itself, since what a token sees is the caller's: layer_qkv, then op_attn or op_attn_cached,
 * then layer_finish. Every matrix goes through layer_linear, the one place where an adapter is added. A row's bits depend on that row and
 * on `phase` alone, never on the rows beside it. */
#ifndef LETHE_MODEL_LAYER_H
#define LETHE_MODEL_LAYER_H

#include "model/adapter.h"
#include "model/packed.h"
#include "model/rotation.h"
#include "kernels/ops.h"

#include <math.h>

/* What a pass runs with. The scratch tensors belong to the caller; they have rows for the largest number of tokens of a call, and the pieces
 * use the first ones. */
typedef struct LayerRun {
    const Model *model;
    const Adapter *adapter; /* NULL: the model alone */
    GemmClass phase;
    const PackedWeights *packed; /* for GEMM_NARROW; NULL: none */
    Rotation rotation;   /* of the tokens */
    Tensor h;            /* [N, C] normed rows */
    Tensor qkv;          /* [N, (H+2K) D] */
    Tensor gate_up, act; /* [N, 2F], [N, F]; may share memory with qkv */
    Tensor u;            /* [N, adapter_scratch_cols]; unset without an adapter */
} LayerRun;

/* Queries, keys and values of some tokens: columns of LayerRun.qkv. */
typedef struct LayerQkv {
    Tensor q, k, v;
} LayerQkv;

/* y = x W^T (+ bias) (+ y), and what the adapter adds. `first` names the matrix, or the first of those that lie joined: PARAM_Q, PARAM_O,
 * PARAM_GATE, PARAM_DOWN, or PARAM_HEAD, for which layer is ignored. */
Status layer_linear(const LayerRun *run, Tensor y, Tensor x, ParamId first, int32_t layer, float beta);

/* Queries and keys of the tokens, rotated, ready for attention. x is only read. */
Status layer_qkv(const LayerRun *run, int32_t layer, Tensor x, LayerQkv *out);
/* The rest of a layer, row by row: x += o W_o^T, then x += MLP(norm(x)). */
Status layer_finish(const LayerRun *run, int32_t layer, Tensor x, Tensor o);
/* The norm behind the last layer. *h is a view of LayerRun.h. */
Status layer_final_norm(const LayerRun *run, Tensor x, Tensor *h);
/* logits F32 [R, V] of normed rows. */
Status layer_logits(const LayerRun *run, Tensor logits, Tensor h);

/* What attention is told about a layer: how far back it sees (0: everything) and the factor on its scores. */
static inline int32_t layer_window(const ModelConfig *cfg, int32_t layer)
{
    return (int32_t)config_window(cfg, layer);
}
static inline float layer_attn_scale(const ModelConfig *cfg) { return (float)(1 / sqrt((double)cfg->head_dim)); }

#endif
