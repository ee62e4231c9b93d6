/* Batches for tests of the forward pass, built a sequence at a time, and one-line ways to run them. */
#ifndef LETHE_TESTS_PACKED_H
#define LETHE_TESTS_PACKED_H

#include "model/forward.h"

enum { MAX_TOKENS = 2400, MAX_SEGMENTS = 64 };

typedef struct Packed {
    int32_t id[MAX_TOKENS], position[MAX_TOKENS], length[MAX_TOKENS];
    AttnSegment segment[MAX_SEGMENTS];
    ScorePair pair[2 * MAX_TOKENS];
    Batch batch;
} Packed;

void packed_start(Packed *p);
/* Appends n tokens that see the ctx_len tokens from row ctx_begin and themselves; the row they begin at. */
int32_t packed_add(Packed *p, const int32_t *id, int32_t n, int32_t ctx_begin, int32_t ctx_len);
/* Asks for the log-probability of `target` after token `row`; rows in ascending order. */
void packed_want(Packed *p, int32_t row, int32_t target);
/* Every token of a plain sequence but the last predicts its successor. */
void packed_want_successors(Packed *p, int32_t begin, const int32_t *id, int32_t n);

/* With a workspace of just the batch's size. */
void packed_logprob(const Model *m, const Batch *b, float *lp, bool *greedy);
void packed_logits(const Model *m, const Batch *b, float *logits);
/* Repeatable ids below vocab. */
void packed_random_ids(int32_t *id, int32_t n, int64_t vocab, uint64_t seed);

#endif
