/* Private to model/: how the tokens of one pass are rotated: token i by row row[i] of cos and sin.
 *
 * Where the model has one table, its rows are read at the tokens' positions. Where frequencies depend on the length of the sequence
 * ("dynamic", "longrope"), the rows are made anew for every pass: a few microseconds a token, and the same numbers whatever else is in the
 * pass. */
#ifndef LETHE_MODEL_ROTATION_H
#define LETHE_MODEL_ROTATION_H

#include "model/checkpoint.h"

typedef struct Rotation {
    Tensor cos, sin; /* F32 [P, head_dim / 2] */
    Tensor row;      /* I32 [1, n] */
} Rotation;

/* Room for the rotations of up to n_token tokens. */
typedef struct RotationRoom {
    Rotation all;
    float *host_cos, *host_sin; /* NULL unless rope_by_length */
    int32_t *host_row;
} RotationRoom;

/* Device memory, from a planning arena or a real one; then memory of the host; rotation_close also after a failure. */
Status rotation_take(RotationRoom *room, TensorArena *arena, const Model *m, int64_t n_token);
Status rotation_open(RotationRoom *room, const Model *m, int64_t n_token);
void rotation_close(RotationRoom *room);

/* The rotation of n tokens at `position` in whole sequences of `length` tokens; length may be NULL unless rope_by_length. Valid until the
 * next call. */
Status rotation_set(RotationRoom *room, const Model *m, const int32_t *position, const int32_t *length, int64_t n, Rotation *out);

#endif
