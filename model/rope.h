/* Rotary tables: cos and sin of position x inverse frequency, in F32 step by step as transformers computes them, on the host, then on
 * the device; both backends read the same numbers.
 *
 * Most models have one table. Under "dynamic" and "longrope" the frequencies depend on the length of the whole sequence a token is part
 * of; there the rows are made for each pass, token by token (model/rotation.h), since a table for every length that may come would be
 * far larger than the rows that are read. */
#ifndef LETHE_MODEL_ROPE_H
#define LETHE_MODEL_ROPE_H

#include "model/config.h"
#include "kernels/device.h"

typedef struct RopeTable {
    Tensor cos, sin;    /* F32 [n_position, head_dim / 2]; unset if rope_by_length */
    int64_t n_position; /* positions a token may have */
    TensorArena memory;
} RopeTable;

/* Whether frequencies depend on the length of the sequence. */
bool rope_by_length(const ModelConfig *cfg);
/* The length that stands for all lengths with the frequencies of `length`. Sequences may share a context if theirs is the same; it is
 * the same for all lengths unless rope_by_length. */
int64_t rope_length_class(const ModelConfig *cfg, int64_t length);
/* Inverse frequencies F32 [head_dim / 2] and the factor on cos and sin, for sequences of `length` tokens. */
void rope_frequencies(const ModelConfig *cfg, int64_t length, float *inv_freq, float *attention_factor);
/* The rows of cos and sin, [n, head_dim / 2] on the host, of tokens at position[i] of sequences of length[i] tokens. */
Status rope_rows(Pool *pool, const ModelConfig *cfg, const int32_t *position, const int32_t *length, int64_t n, float *cos, float *sin);

/* Device bytes of a table. */
size_t rope_bytes(Device *dev, const ModelConfig *cfg, int64_t n_position);
/* Positions 0..n_position-1. */
Status rope_open(RopeTable *t, Device *dev, const ModelConfig *cfg, int64_t n_position);
void rope_close(RopeTable *t);

#endif
