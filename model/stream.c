#include "model/stream.h"

#include <string.h>

enum { WAVE_CHUNKS = 64 }; /* of up to 1 MiB each in F32: large enough for a bus, small enough to leave memory alone */

bool device_is_host(const Device *dev) { return strcmp(device_backend(dev), "cpu") == 0; }

Status chunks_add(WeightChunks *chunks, const ParamEntry *entry)
{
    const int64_t total = entry->rows * entry->cols;

    for (int64_t from = 0; from < total; from += CHUNK_ELEMENTS) {
        const int64_t left = total - from;

        TRY(MEM_GROW(chunks->chunk, chunks->cap, chunks->count + 1));
        chunks->chunk[chunks->count++] = (WeightChunk){entry, from, left < CHUNK_ELEMENTS ? left : CHUNK_ELEMENTS};
    }
    return LT_OK;
}

typedef struct Wave {
    const StreamJob *job;
    const WeightChunk *chunk; /* the wave's first */
    char *staging;            /* NULL: fill in place */
    int64_t n_extra;
} Wave;

static char *place_of(const WeightChunk *c)
{
    return (char *)c->entry->value.data + (size_t)c->from * dtype_bytes(c->entry->value.dtype);
}

static char *staging_of(const Wave *w, int64_t k) { return w->staging + (size_t)k * CHUNK_ELEMENTS * sizeof(float); }

static Status wave_task(void *context, int64_t index, int thread)
{
    const Wave *w = context;
    const int64_t k = index - w->n_extra;

    if (k < 0)
        return w->job->extra(w->job->context, index);
    return w->job->fill(w->job->context, &w->chunk[k], w->staging == NULL ? place_of(&w->chunk[k]) : staging_of(w, k), thread);
}

static Status upload_wave(Device *dev, const Wave *w, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const WeightChunk *c = &w->chunk[k];

        TRY(device_upload(dev, tensor_of(place_of(c), c->entry->value.dtype, 1, c->count), staging_of(w, (int64_t)k)));
    }
    return LT_OK;
}

Status stream_weights(Device *dev, const WeightChunks *chunks, const StreamJob *job)
{
    const bool in_place = device_is_host(dev);
    const size_t wave_size = in_place ? chunks->count : WAVE_CHUNKS;
    char *staging = NULL;
    Status st = LT_OK;

    if (!in_place)
        TRY(MEM_NEW(staging, (size_t)WAVE_CHUNKS * CHUNK_ELEMENTS * sizeof(float)));
    for (size_t first = 0, last; first < chunks->count; first = last) {
        Wave w = {.job = job, .chunk = chunks->chunk + first, .staging = staging};

        last = chunks->count - first < wave_size ? chunks->count : first + wave_size;
        if (job->prepare != NULL)
            w.n_extra = job->prepare(job->context, first, last);
        TRY_GOTO(pool_run(device_pool(dev), w.n_extra + (int64_t)(last - first), wave_task, &w), st, done);
        if (!in_place)
            TRY_GOTO(upload_wave(dev, &w, last - first), st, done);
    }
done:
    mem_free(staging);
    return st;
}
