/* Keys and values of many sequences in pages of KV_PAGE positions, taken from one pool and counted, so that sequences with a common beginning hold
 * the same pages.
 *
 * A page is KV_PAGE rows of every layer's two tensors, at the same place in each. A page that several sequences hold is never written: what is
 * shared are whole pages; a fork gets a copy of the last, partly filled one. Pages leave for host memory and come back as they were. */
#ifndef LETHE_MODEL_KVCACHE_H
#define LETHE_MODEL_KVCACHE_H

#include "model/checkpoint.h"

typedef struct KvCache {
    Device *dev;
    TensorArena memory;
    Tensor *k, *v;              /* [layers]: [n_page KV_PAGE, K D] */
    int32_t n_layer, n_page, n_free;
    int32_t *free_page, *n_use; /* a stack; holders of each page */
} KvCache;

/* Bytes of one page, all layers. */
size_t kvcache_page_bytes(const Model *model);
/* A zeroed struct is allowed in close, also after a failed open. */
Status kvcache_open(KvCache *cache, const Model *model, int32_t n_page);
void kvcache_close(KvCache *cache);

/* The pages of one sequence in order of position: those before n_here are in the cache, the others in host memory. */
typedef struct KvSequence {
    int32_t *page;
    void **saved;
    int32_t n_page, n_here, cap;
} KvSequence;

Status kvseq_open(KvSequence *seq, int32_t max_page);
/* Gives back what it holds. A zeroed struct is allowed. */
void kvseq_close(KvCache *cache, KvSequence *seq);
/* One more page behind the last; false if none is free. The sequence is all here. */
bool kvseq_grow(KvCache *cache, KvSequence *seq);
/* to (empty) holds the first n pages of from as well. */
void kvseq_share(KvCache *cache, KvSequence *to, const KvSequence *from, int32_t n);
/* to (empty) becomes another sequence with the same n_position positions. Where no page is free, its last one goes to host memory. */
Status kvseq_fork(KvCache *cache, KvSequence *to, const KvSequence *from, int32_t n_position);
/* Pages from keep on leave for host memory. */
Status kvseq_page_out(KvCache *cache, KvSequence *seq, int32_t keep);
/* All pages come back, if so many are free: else LT_OK, and the sequence is not all here. */
Status kvseq_page_in(KvCache *cache, KvSequence *seq);
static inline bool kvseq_is_here(const KvSequence *seq) { return seq->n_here == seq->n_page; }
/* How many of its first pages others hold too. */
int32_t kvseq_n_shared(const KvCache *cache, const KvSequence *seq);

#endif
