/* Private to the engine: one forward pass under construction.
 *
 * A span is a run of one group's requests that travel together. What their inputs have in common from the start is laid down once, as a
 * causal segment; each request adds a segment for the rest, which sees that context:
 *
 *     tokens    | context of span 1 | rest 0 | rest 1 | rest 3 | context of span 2 | ...       (rest 2 is empty: equal to the context)
 *     position  | 0 .. L-1          | L ..   | L ..   | L ..   | 0 ..              | ...
 *
 * A lone request is all context. */
#ifndef LETHE_EVAL_ENGINE_PACK_H
#define LETHE_EVAL_ENGINE_PACK_H

#include "model/forward.h"

/* A request as the model sees it: token[0..n_read) are read, token[n_read] is only predicted. The scored token s of n_score is
 * token[n_read - n_score + 1 + s], predicted in row n_read - n_score + s. */
typedef struct Input {
    const int32_t *token;
    int32_t n_read, n_score, n_cut;
    int64_t length_class; /* rope_length_class of n_read: inputs of different classes cannot share */
    float *lp;    /* [n_score], where the answers go */
    bool *greedy;
} Input;

typedef struct Span {
    int32_t n_input, n_shared; /* requests, and tokens all of them begin with */
    int32_t n_token, n_pair;   /* what they take in a pass */
} Span;

/* The longest run of inputs from the first that fits the limits and rotates alike; always at least one. */
Span span_take(const Input *input, int32_t n_input, const BatchLimits *limits);

/* Where the answer of a pair belongs. */
typedef struct PairHome {
    float *lp;
    bool *greedy;
} PairHome;

typedef struct Pack {
    BatchLimits limits;
    int32_t *id, *position, *length;
    AttnSegment *segment;
    ScorePair *pair;
    PairHome *home;
    float *lp;      /* answers of the pass, by pair */
    bool *greedy;
    int32_t n_token, n_segment, n_pair;
} Pack;

/* Empty, with room for `limits`. The struct is zeroed or released before. */
Status pack_init(Pack *pack, const BatchLimits *limits);
void pack_release(Pack *pack);
bool pack_has_room(const Pack *pack, const Span *span);
void pack_add(Pack *pack, const Input *input, const Span *span);
Batch pack_batch(const Pack *pack);
/* Sends the answers home and empties the pack. */
void pack_deliver(Pack *pack);
void pack_clear(Pack *pack);

#endif
