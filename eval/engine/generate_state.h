/* Private to the generator: what it knows of each completion, and the passes over those that are active.
 *
 * A sample waits until its prompt has a place; the first sample of a prompt reads it, those that follow fork from it; then they are live, a token
 * a pass, or out for a while, until they are done. Active samples stand in order of age: who has to leave is the last. */
#ifndef LETHE_EVAL_ENGINE_GENERATE_STATE_H
#define LETHE_EVAL_ENGINE_GENERATE_STATE_H

#include "eval/engine/generate.h"
#include "model/decode.h"

typedef enum SampleState { SAMPLE_WAITING, SAMPLE_READING, SAMPLE_LIVE, SAMPLE_OUT, SAMPLE_DONE } SampleState;

typedef struct Sample {
    const Request *request;
    struct HeldGroup *group;
    const int32_t *token;      /* the prompt, cut on the left */
    int32_t n_prompt, n_cut;
    int32_t n_follow;          /* of a prompt's first sample: those behind it with the same prompt; -1: follows one */
    int32_t length;            /* positions in the cache */
    SampleState state;
    KvSequence kv;
    Completion completion;
    size_t n_shown;            /* bytes of text that on_text has had */
} Sample;

typedef struct HeldGroup {
    RequestGroup group;
    Sample *sample;
    Response *response;
    size_t sample_cap, response_cap;
    int32_t n_sample, n_started, n_done; /* n_started: samples that wait no more, followers with their first */
} HeldGroup;

/* The prompt read last. Its whole pages stay for the next one that begins alike, until somebody needs them. */
typedef struct Resident {
    KvSequence kv;
    int32_t *token;
    size_t token_cap;
    int32_t n_token;
    int64_t length_class;
} Resident;

struct Generator {
    const Model *model;
    GeneratorOptions options;
    DecodeLimits limits;
    PackedWeights packed; /* zero: there is none */
    KvCache cache;
    Decoder *decoder;
    Resident resident;
    HeldGroup held[ENGINE_GROUPS_HELD]; /* a ring */
    int32_t first_held, n_held;
    Sample **active;
    size_t active_cap;
    int32_t n_active, n_live;
    bool source_is_empty;
    /* of a pass */
    int32_t *id, *drawn;
    float *lp;
    DecodeSequence *sequence;
    DecodeChoice *choice;
    Sample **in_pass;
    GeneratorStats stats;
};

/* generate_pages.c: places in the cache. */
/* Gives up pages that are kept for nobody who runs: the resident prompt, then those of samples that are out (but `for_whom`), youngest first. False:
 * there are none. */
Status reclaim_pages(Generator *g, const Sample *for_whom, bool *any);
/* One more page for a live sample; it may come out as not live any more. */
Status make_room(Generator *g, Sample *s);
/* Samples that are out come back, the oldest first, as far as there is room. *all: none is out now. */
Status bring_back(Generator *g, bool *all);
/* Pages for a prompt: *started false if there is no room for it yet. */
Status start_prompt(Generator *g, Sample *s, bool *started);
void resident_drop(Generator *g);

/* generate_pass.c */
Status read_prompts(Generator *g); /* one pass */
Status decode_step(Generator *g);

/* Pages of n positions. */
static inline int32_t pages_of(int64_t n) { return (int32_t)((n + KV_PAGE - 1) / KV_PAGE); }

#endif
