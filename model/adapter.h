/* A LoRA adapter on a device, to be run on top of a model without changing it: y += s (x A^T) B^T for every matrix it has factors for.
 *
 * Factors are kept in F32; the operands of the matrix products are copies in the model's dtype (in F32 the factors themselves). Layout: the A
 * of matrices that lie joined in the model (q, k, v; gate, up) are stacked, so that one product makes x A^T for all of them; each B adds to
 * the columns of its own matrix. Ranks are padded with zeros to multiples of 8, which adds zeros to sums and nothing else. */
#ifndef LETHE_MODEL_ADAPTER_H
#define LETHE_MODEL_ADAPTER_H

#include "model/checkpoint.h"
#include "model/factors.h"

/* A joined matrix has at most three parts, a layer four joined matrices. */
enum { ADAPTER_PARTS = 3, ADAPTER_MATRICES = 4 };

typedef struct AdapterPart {
    Tensor b;             /* [out, padded rank] */
    float scale;
    int64_t y_col, u_col; /* where it stands in the joined output, and in x A^T */
    size_t entry;         /* of A in the list; B is behind it */
} AdapterPart;

typedef struct AdapterMatrix {
    Tensor a;             /* [sum of padded ranks, in] */
    AdapterPart part[ADAPTER_PARTS];
    int n_part;           /* 0: nothing is added here */
} AdapterMatrix;

typedef struct Adapter {
    Device *dev;
    ParamList params;     /* A and B of every target; values: views of `factor`, F32, unpadded */
    AdapterMatrix *factor, *operand; /* ADAPTER_MATRICES a layer */
    TensorArena memory;
    int64_t max_rank;
} Adapter;

/* For a model of this dtype that is on this device. LT_E_INPUT as factors_read, and for an adapter that changes nothing. */
Status adapter_load(Adapter **out, const Model *model, const AdapterFolder *folder);
void adapter_free(Adapter *adapter);

/* What is added to the joined matrix whose first one is `first` (as in layer_linear). */
const AdapterMatrix *adapter_matrix(const Adapter *adapter, ParamId first, int32_t layer);
/* Columns of x A^T that an adapter of this rank may need. */
int64_t adapter_scratch_cols(int64_t max_rank);

#endif
