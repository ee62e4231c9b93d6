/* Filling the weight arena from many threads: a list of chunks, each a run of elements of one parameter, made by a callback.
 *
 * On the CPU a chunk is made where it will live. Elsewhere chunks are made in host memory, a wave at a time, and uploaded by the
 * calling thread, since a device is used by one thread at a time. */
#ifndef LETHE_MODEL_STREAM_H
#define LETHE_MODEL_STREAM_H

#include "kernels/device.h"
#include "model/params.h"

enum { CHUNK_ELEMENTS = 1 << 18 };

typedef struct WeightChunk {
    const ParamEntry *entry;
    int64_t from, count; /* elements of the entry's value */
} WeightChunk;

typedef struct WeightChunks {
    WeightChunk *chunk;
    size_t count, cap;
} WeightChunks;

/* Appends an entry's value in chunks of at most CHUNK_ELEMENTS. Freed by mem_free(chunks->chunk). */
Status chunks_add(WeightChunks *chunks, const ParamEntry *entry);

typedef struct StreamJob {
    void *context;
    /* Writes chunk->count elements of the entry's dtype; runs on any thread of the pool. */
    Status (*fill)(void *context, const WeightChunk *chunk, void *to, int thread);
    /* Other work of a wave that covers chunks [first, last): its number of tasks, which start before the chunks, and one of them. May be
     * left out. Tasks of one wave run side by side, waves follow one another. */
    int64_t (*prepare)(void *context, size_t first, size_t last);
    Status (*extra)(void *context, int64_t index);
} StreamJob;
Status stream_weights(Device *dev, const WeightChunks *chunks, const StreamJob *job);

/* Whether host code may read and write tensors of this device in place. */
bool device_is_host(const Device *dev);

#endif
