/* The forward pass over packed tokens, for scoring and for `lethe forward`.
 *
 * A batch is N tokens of any number of sequences, each token with its position, and attention segments (kernels/ops.h) that say what sees
 * what. Logits are computed only for the rows that are asked for. */
#ifndef LETHE_MODEL_FORWARD_H
#define LETHE_MODEL_FORWARD_H

#include "model/adapter.h"
#include "kernels/ops.h"

/* One log-probability wanted: of `target`, predicted from the hidden state of token `row`. */
typedef struct ScorePair {
    int32_t row, target;
} ScorePair;

/* Host arrays, owned by the caller. length[i] is that of the whole sequence which token i is part of, the endings of a shared context
 * included; only models whose rotations depend on it ask (rope_by_length), for others it may be NULL. Pairs are sorted by row; several may
 * share one (the first tokens of an item's endings). */
typedef struct Batch {
    const int32_t *id, *position, *length;
    int32_t n_token;
    const AttnSegment *segment;
    int32_t n_segment;
    const ScorePair *pair;
    int32_t n_pair;
    const Adapter *adapter; /* NULL: the model alone */
} Batch;

/* The largest batch that will come. */
typedef struct BatchLimits {
    int32_t n_token, n_segment, n_pair;
    int64_t max_rank; /* of the adapters to come; 0: none */
} BatchLimits;

/* Activation memory for one model and one largest batch; taken once. */
typedef struct Workspace Workspace;
Status workspace_open(Workspace **out, const Model *model, const BatchLimits *limits);
void workspace_close(Workspace *ws);
/* Bytes it takes, without taking them. */
size_t workspace_bytes(const Model *model, const BatchLimits *limits);

/* lp[i] = log P(pair[i].target | what token pair[i].row sees), greedy[i] = whether that target is the argmax (lowest id wins a tie).
 * The last layer and the head run only on rows that some pair names. Bits depend on each sequence alone. LT_E_INPUT for an id or a position
 * that the model does not have. */
Status forward_logprob(const Model *model, Workspace *ws, const Batch *batch, float *lp, bool *greedy);
/* The same in two halves: begin returns once the device has its work, which on a GPU is long before it is done; finish waits and fetches. One at a time for a
 * workspace, the batch as it was between the two. After a failed begin there is nothing to finish. */
Status forward_begin(const Model *model, Workspace *ws, const Batch *batch);
Status forward_finish(const Model *model, Workspace *ws, const Batch *batch, float *lp, bool *greedy);
/* All logits, F32 [n_token, V] into host memory. LT_E_INPUT likewise; pairs are checked and then ignored. */
Status forward_logits(const Model *model, Workspace *ws, const Batch *batch, float *logits);

#endif
