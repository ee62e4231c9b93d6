/* A second copy of a model's matrices in the layout that the device reads fastest when few rows meet all of them (op_gemm_pack, GEMM_NARROW).
 * Changes no bit; whoever has the memory decodes faster. */
#ifndef LETHE_MODEL_PACKED_H
#define LETHE_MODEL_PACKED_H

#include "model/checkpoint.h"
#include "kernels/ops.h"

enum { PACKED_A_LAYER = 4 }; /* q|k|v, o, gate|up, down */

typedef struct PackedWeights {
    TensorArena memory;
    Tensor *matrix; /* [layers * PACKED_A_LAYER], then the head; unset where packing does not help */
    Tensor head;
} PackedWeights;

/* Bytes on the device; 0 where packing does not help, and then there is nothing to open. */
size_t packed_bytes(const Model *model);
Status packed_open(PackedWeights *p, const Model *model);
void packed_close(PackedWeights *p); /* a zeroed struct is allowed */

#endif
