/* Private to model/: the activations of a forward pass.
 *
 * Attention's buffers and the MLP's are never live together, so they share memory; the residual stream lies in front of both. */
#ifndef LETHE_MODEL_WORKSPACE_H
#define LETHE_MODEL_WORKSPACE_H

#include "model/forward.h"
#include "model/rotation.h"

struct Workspace {
    Device *dev;
    BatchLimits limits;
    TensorArena memory;
    Tensor x, h;           /* [N, C] residual stream; normed rows */
    Tensor qkv, o;         /* [N, (H+2K) D], [N, H D] */
    Tensor gate_up, act;   /* [N, 2F], [N, F] */
    Tensor u;              /* [N, adapter_scratch_cols]; unset without adapters */
    Tensor x_last, o_last; /* [R, C], [R, H D]: rows of the last layer that are asked for */
    Tensor logits;         /* F32 [chunk, V] */
    Tensor id;             /* I32 [N] */
    RotationRoom rotation; /* of the N tokens */
    Tensor segment;        /* I32 [S, 5] */
    Tensor row;            /* I32 [R] rows asked for */
    Tensor pair_row, pair_target, lp, best; /* [P]; pair_row counts within the pair's chunk of logits */
    int32_t *host_row, *host_pair_row, *host_target, *host_best;
};

#endif
