/* LoRA factors as training leaves them in memory, made up: random A and B, ranks and scales of three shapes. */
#ifndef LETHE_TESTS_MADE_FACTORS_H
#define LETHE_TESTS_MADE_FACTORS_H

#include "model/adapter_write.h"
#include "model/factors.h"

typedef enum MadeShape {
    MADE_PLAIN,    /* every matrix, rank 8, alpha 16 */
    MADE_PATTERNS, /* ranks and alphas differ from matrix to matrix; o_proj in the last layer alone, down_proj nowhere */
    MADE_RSLORA,   /* rsLoRA, every matrix, rank 4 or, in the last layer, 6, alpha 8 */
    MADE_SHAPES
} MadeShape;
extern const char *const made_name[MADE_SHAPES];

/* Free with factors_free. */
Factors *made_factors(const ModelConfig *cfg, MadeShape shape, uint64_t seed);
/* What such an adapter says of itself. base may be NULL. */
AdapterOrigin made_origin(MadeShape shape, const char *base);

#endif
