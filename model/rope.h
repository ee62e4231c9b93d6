/* Rotary tables: cos and sin of position x inverse frequency, in F32 step by step as transformers computes them, on the host, then on
 * the device; both backends read the same numbers. */
#ifndef LETHE_MODEL_ROPE_H
#define LETHE_MODEL_ROPE_H

#include "model/config.h"
#include "kernels/device.h"

typedef struct RopeTable {
    Tensor cos, sin; /* F32 [n_position, head_dim / 2] */
    int64_t n_position;
    TensorArena memory;
} RopeTable;

/* Inverse frequencies F32 [head_dim / 2] and the factor on cos and sin, for sequences of `length` tokens (only "dynamic" looks at it). */
Status rope_frequencies(const ModelConfig *cfg, int64_t length, float *inv_freq, float *attention_factor);
/* Device bytes of a table. */
size_t rope_bytes(Device *dev, const ModelConfig *cfg, int64_t n_position);
/* Positions 0..n_position-1. */
Status rope_open(RopeTable *t, Device *dev, const ModelConfig *cfg, int64_t n_position);
void rope_close(RopeTable *t);

#endif
