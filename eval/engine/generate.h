/* Generation: pulls groups of requests, reads each prompt once, lets many completions grow side by side, and pushes responses.
 *
 * - Requests of a group that follow one another with the same prompt (its samples) share what was read of it. A prompt that begins like the one read
 *   before it takes over those pages: fixed few-shot blocks are read once.
 * - A completion that ends makes room at once, and the next prompt is read.
 * - When pages run out, the youngest completion leaves for host memory and comes back later as it was; nothing is read twice.
 * - Ids and log-probabilities do not depend on any of that, nor on the order of groups or on the number of threads (tests/test_generate.c).
 *
 * Prompts longer than max_length - max_new lose tokens on the left, as in lm-eval. */
#ifndef LETHE_EVAL_ENGINE_GENERATE_H
#define LETHE_EVAL_ENGINE_GENERATE_H

#include "eval/engine/completion.h"
#include "eval/engine/engine.h"

typedef struct Generator Generator;

typedef struct GeneratorOptions {
    EndRules rules;         /* what they point to outlives the generator */
    const Adapter *adapter; /* NULL: none. Outlives the generator */
    int32_t max_length;     /* prompt and new tokens; 0: the model's max_position_embeddings */
    int32_t token_budget;   /* prompt tokens of one pass; 0: the device's default */
    int32_t max_rows;       /* completions side by side; 0: the device's default */
    size_t kv_bytes;        /* of the cache; 0: what max_rows completions of max_length take, at most half of the free memory */
    int64_t most_positions; /* that all requests to come take together: more would be of no use to the cache; 0: not known */
    /* Called with more of a completion's text as soon as nothing can take it back; may be NULL. */
    Status (*on_text)(void *context, const Request *request, Str more);
    void *text_context;
} GeneratorOptions;

/* For the printed plan. */
typedef struct GeneratorPlan {
    size_t kv_bytes, pass_bytes;
    size_t packed_bytes; /* of the second copy of the weights that decoding reads; 0: there is none */
    int64_t n_position; /* that the cache holds */
    int32_t max_rows;
} GeneratorPlan;

typedef struct GeneratorStats {
    uint64_t prompts, completions;
    uint64_t tokens_asked, tokens_read, tokens_drawn; /* asked: prompts of all requests, without sharing */
    uint64_t read_passes, decode_passes, paged_out;   /* paged_out: times that a completion had to leave */
    double read_s, decode_s;
} GeneratorStats;

/* LT_E_USAGE if max_length is beyond the model's rotary table, LT_E_NOMEM if the cache would hold no page. */
Status generator_open(Generator **out, const Model *model, const GeneratorOptions *options);
void generator_close(Generator *g);
GeneratorPlan generator_plan(const Generator *g);
const GeneratorStats *generator_stats(const Generator *g);

/* Runs until the source is empty; groups are held, and delivered in order, as by engine_run, and engine_stop ends it the same way, between
 * passes. LT_E_INPUT: an empty prompt, or a token that is not in the vocabulary. LT_E_USAGE: max_new below 1 or not below max_length, stop
 * strings without a tokenizer. LT_E_NOMEM: a completion that the whole cache cannot hold. LT_E_NUMERIC: logits that are no numbers. */
Status generator_run(Generator *g, GroupSource source, void *source_context, ResponseSink sink, void *sink_context);

#endif
