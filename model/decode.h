/* The forward pass over sequences whose keys and values are in a cache, with a choice of the next id: prompts are read in pieces of any length
 * (phase GEMM_WIDE), then every sequence goes on by a token a pass (GEMM_NARROW).
 *
 * What a sequence gets depends on its own tokens, on the phase each was read in, and on its choice's parameters alone: not on the other
 * sequences of a pass, on where a prompt was cut into pieces, or on whether pages are shared. */
#ifndef LETHE_MODEL_DECODE_H
#define LETHE_MODEL_DECODE_H

#include "model/adapter.h"
#include "model/kvcache.h"
#include "model/packed.h"
#include "kernels/ops.h"

/* n_token ids of one sequence, at positions past.. of it. Its pages have room for them and hold what came before. */
typedef struct DecodeSequence {
    const int32_t *page;
    int32_t past, n_token;
    int32_t length; /* of the sequence as far as it is known now: what rotations may depend on */
} DecodeSequence;

/* One id wanted, drawn from what follows token `row` of the pass. */
typedef struct DecodeChoice {
    int32_t row;
    SampleParams params;
} DecodeChoice;

/* Host arrays. id: of all sequences, one after the other. Choices are sorted by row; several may share one. Neighbouring sequences whose first
 * pages are the same are read together. */
typedef struct DecodeBatch {
    GemmClass phase;
    const int32_t *id;
    const DecodeSequence *sequence;
    const DecodeChoice *choice;
    int32_t n_sequence, n_choice;
    const Adapter *adapter; /* NULL: the model alone */
    const PackedWeights *packed; /* NULL: decode from the plain weights; same bits */
} DecodeBatch;

typedef struct DecodeLimits {
    int32_t n_token, n_sequence, n_choice; /* of one pass */
    int32_t n_page;                        /* of one sequence */
    int64_t max_rank;                      /* of the adapter to come; 0: none */
} DecodeLimits;

typedef struct Decoder Decoder;
Status decoder_open(Decoder **out, const Model *model, KvCache *cache, const DecodeLimits *limits);
void decoder_close(Decoder *d);
/* Bytes on the device without the cache. */
size_t decoder_bytes(const Model *model, const DecodeLimits *limits);

/* Writes the tokens' keys and values into the cache; id[i], lp[i]: choice i and its log-probability (kernels/ops.h, op_sample). Ids and positions
 * are the caller's promise. */
Status decode_run(Decoder *d, const DecodeBatch *batch, int32_t *id, float *lp);

#endif
