/* What is asked of the engine, and what comes back. Tasks make requests and read responses; they know nothing of batches. */
#ifndef LETHE_EVAL_ENGINE_REQUEST_H
#define LETHE_EVAL_ENGINE_REQUEST_H

#include "core/strbuf.h"

#include <stddef.h>
#include <stdint.h>

typedef enum RequestKind { REQUEST_LOGLIK, REQUEST_GENERATE } RequestKind;

/* How a generation chooses and ends. temperature 0: greedy; top_k 0, top_p 1: no cut. Position i of the output is drawn with number i of the stream
 * that `seed` names, whatever else is generated beside it. */
typedef struct Sampling {
    float temperature, top_p;
    int32_t top_k, max_new;
    uint64_t seed;
    const char *const *stop; /* stop strings, NULL-terminated; NULL: none */
    bool ignore_eos;
} Sampling;

/* The seed of one sample of a prompt, from the seed of a run: it follows from these alone, so a prompt gets the same samples in any
 * company and any order, and two prompts get different ones. */
uint64_t sampling_seed(uint64_t seed, const int32_t *prompt, int32_t n_prompt, int32_t sample);

typedef enum Finish { FINISH_NONE, FINISH_STOP, FINISH_EOS, FINISH_LENGTH } Finish;
/* "stop", "eos", "length". */
const char *finish_name(Finish finish);

typedef struct Request {
    RequestKind kind;
    int64_t id;            /* the caller's, comes back in the response */
    int32_t adapter;       /* index among the engine's adapters, -1: the base */
    const int32_t *token;  /* loglik: context and continuation; generate: the prompt */
    int32_t n_token;
    int32_t n_score;       /* loglik: the last n_score tokens are scored, 1 <= n_score <= n_token - 1 */
    Sampling sampling;
} Request;

/* Requests that belong together (the endings of an item, the samples of a prompt): what they have in common from the start is read once.
 * Sharing changes no bit of any answer. */
typedef struct RequestGroup {
    const Request *request;
    int32_t n_request;
} RequestGroup;

/* What it points to is valid during the sink call. */
typedef struct Response {
    int64_t id;
    double loglik;              /* F64 sum of the scored or drawn tokens' F32 log-probabilities, in order */
    bool is_greedy;             /* loglik: every scored token was the argmax */
    const float *token_logprob; /* [n_score] */
    int32_t n_score, n_input;   /* n_score: generate: tokens drawn; n_input: tokens the model read (generate: of the prompt), after truncation */
    int32_t n_truncated;        /* tokens cut from the left */
    const int32_t *token;       /* generate: [n_score] the drawn ids, the one that ended it included */
    Str text;                   /* generate: theirs, special tokens left out, cut at the stop string */
    Finish finish;              /* generate */
} Response;

#endif
