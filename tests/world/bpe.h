/* A tiny trainer for byte-level BPE, and the tokenizer.json that holds what it learned. */
#ifndef LETHE_TESTS_WORLD_BPE_H
#define LETHE_TESTS_WORLD_BPE_H

#include "core/strbuf.h"

enum {
    BPE_BOS,
    BPE_EOS,
    BPE_PAD,         /* "<s>", "</s>", "<pad>" */
    BPE_BYTES,       /* then the 256 bytes */
    BPE_VOCAB = 512, /* then merges */
    BPE_MERGES = BPE_VOCAB - BPE_BYTES - 256,
};

typedef struct Bpe {
    int left[BPE_MERGES], right[BPE_MERGES]; /* ids; merge i makes id BPE_BYTES + 256 + i */
    int n_merge;
} Bpe;

/* The most frequent pair first, the lowest ids among equals; stops where no pair occurs twice. */
Status bpe_train(Bpe *bpe, Str corpus);
/* Writes tokenizer.json (GPT-2's pre-tokenizer, BOS put in front by the post-processor) and tokenizer_config.json. */
Status bpe_save(const Bpe *bpe, const char *folder, int max_length);

#endif
