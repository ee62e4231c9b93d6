/* The batched inference engine: pulls groups of requests, packs them into forward passes by a token budget, pushes responses.
 *
 * Where the device runs ahead of the host (a GPU), the host reads and packs the next pass and delivers the last one's answers meanwhile.
 *
 * Results do not depend on the budget, on what else is in a batch, on the order of groups or on the number of threads (tests/test_invariance.c).
 * Inputs longer than max_length lose tokens on the left, as lm-eval does: the model reads the last max_length + 1 tokens of context plus
 * continuation, minus the final one. */
#ifndef LETHE_EVAL_ENGINE_ENGINE_H
#define LETHE_EVAL_ENGINE_ENGINE_H

#include "eval/engine/request.h"
#include "model/forward.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
    int32_t token_budget; /* tokens of one forward pass; 0: the device's default. A longer sequence runs alone */
    int32_t max_length;   /* 0: the model's max_position_embeddings */
    const Adapter *adapter; /* on top of the model in every pass; NULL: none. Outlives the engine */
} EngineOptions;

/* The most groups the engine holds at a time: a source may keep them in a ring of this many slots. */
enum { ENGINE_GROUPS_HELD = 1024 };

/* Gives the next group, or more = false. What it points to stays valid until the responses of the whole group were delivered. */
typedef Status (*GroupSource)(void *context, RequestGroup *group, bool *more);
/* Receives the responses of one group, in the order of its requests; groups arrive in the order they were given. */
typedef Status (*ResponseSink)(void *context, const RequestGroup *group, const Response *response);

typedef struct EngineStats {
    uint64_t groups, requests, tokens_asked, tokens_read, passes; /* asked: without sharing; read: rows of forward passes */
    double forward_s; /* the host in forward passes, waiting for them included */
} EngineStats;

/* LT_E_USAGE if max_length is beyond the model's rotary table. */
Status engine_open(Engine **out, const Model *model, const EngineOptions *options);
void engine_close(Engine *engine);
/* Bytes of one pass at the budget, for the printed plan. */
size_t engine_bytes(const Engine *engine);
/* Runs until the source is empty. A signal (engine_stop) ends it between passes with LT_E_INTERRUPTED, all responses so far delivered; the
 * request to stop is used up by that. After any failure the engine holds nothing and can run again. LT_E_INPUT: a token that is not in the
 * model's vocabulary, or a continuation longer than max_length. */
Status engine_run(Engine *engine, GroupSource source, void *source_context, ResponseSink sink, void *sink_context);
const EngineStats *engine_stats(const Engine *engine);
/* Async-signal-safe; ends a run of a generator too. */
void engine_stop(void);
/* Whether engine_stop was called since this was asked last. */
bool engine_stop_taken(void);

#endif
