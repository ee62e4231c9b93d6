/* The content key of a score: SHA-256 over everything a result may depend on, never a file name or a date (DESIGN 2.7). */
#ifndef LETHE_EVAL_SCORE_KEY_H
#define LETHE_EVAL_SCORE_KEY_H

#include "core/hash.h"

/* Raised when any score may change bits. */
enum { NUMERICS_VERSION = 1 };

typedef struct ScoreKey {
    Digest checkpoint, tokenizer, data, shot_data;
    const Digest *adapter; /* NULL: none; checkpoint is its base */
    bool merged;           /* into the base before it was rounded; without an adapter of no account */
    const char *task, *version, *split, *profile, *bos, *template_name, *dtype, *device_class;
    int shots;
    bool draws_one_more;
    int64_t max_length;
    uint64_t fewshot_seed;
} ScoreKey;
Status score_key(const ScoreKey *k, DigestHex *out);

#endif
