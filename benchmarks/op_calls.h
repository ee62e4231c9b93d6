/* Calls of every op at the sizes of a model, with the bytes and the operations that a call takes at least: what bench_ops times. */
#ifndef LETHE_BENCHMARKS_OP_CALLS_H
#define LETHE_BENCHMARKS_OP_CALLS_H

#include "kernels/ops.h"

typedef struct OpShape {
    const char *name;
    int64_t n_token;      /* packed tokens of a pass over many rows */
    int64_t length;       /* of each sequence in it */
    int64_t hidden, n_head, n_kv_head, head_size, ffn, vocab;
    int64_t n_sequence;   /* decoding: sequences, and the keys each has */
    int64_t context;
} OpShape;

/* One call, ready to be made again and again. bytes: what has to come from and go to memory, each once; flops: multiplications and additions of the products, 0
 * where the bytes decide. */
typedef struct OpCall {
    Device *dev;
    const OpShape *shape;
    const char *op;
    char what[48];
    double bytes, flops;
    Status (*run)(struct OpCall *call);
    DType dtype;
    TensorArena *arena;
    Tensor t[8];
    AttnSegment *segment;     /* the caller frees the three */
    CachedSegment *cached;
    PrefixGroup group;
    double *values;
} OpCall;

/* Prepares call i of those there are for this shape and dtype; false behind the last. The arena is emptied first; a planning arena gives the bytes it wants. */
bool op_call_prepare(OpCall *call, int i, Device *dev, TensorArena *arena, const OpShape *shape, DType dtype);
void op_call_release(OpCall *call);

#endif
