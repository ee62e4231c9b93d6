#include "model/convert.h"
#include "model/factors.h"
#include "model/model.h"
#include "model/stream.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { HASH_STEP = 1 << 20 };

/* Where an entry's value comes from. */
typedef struct Source {
    const ParamEntry *entry;
    const StFile *file;
    const StTensor *tensor;
    DType dtype;
} Source;

/* SHA-256 of one file, as far as it has been computed. */
typedef struct FileHash {
    const StFile *file;
    Sha256 state;
    uint64_t at, until; /* hashed so far; end of the part this wave may read */
    bool known, open;
    Digest digest;
} FileHash;

typedef struct Loader {
    const StSet *set;
    const ParamList *params;
    Source *source;      /* by entry */
    WeightChunks chunks; /* in the order of the files' bytes */
    FileHash *hash;      /* by file */
    int32_t *hash_task;  /* files to hash in this wave */
    char *raw;           /* two chunks for every thread: stored bytes, and F32 values being merged */
    const Factors *merge;
    DType dtype;
    atomic_bool lossy;
} Loader;

/* ---- weights -------------------------------------------------------------------------------------------------------------- */

static const Source *source_of(const Loader *l, const WeightChunk *c) { return &l->source[c->entry - l->params->entry]; }

static Status refuse_value(const Source *s, const WeightChunk *c, int64_t i, float found, const char *expected)
{
    const int64_t at = c->from + i, cols = s->entry->cols;

    return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': element [%lld,%lld]: expected %s, found %g", s->file->path, STR_ARG(s->tensor->name),
                (long long)(at / cols), (long long)(at % cols), expected, (double)found);
}

static char *scratch_of(const Loader *l, int thread, int which)
{
    return l->raw + ((size_t)thread * 2 + (size_t)which) * CHUNK_ELEMENTS * sizeof(float);
}

/* Stored values to `to`, with an adapter's delta in between: added in F32, rounded once. That rounding is no loss of a stored weight. */
static Status convert_merged(const Loader *l, const WeightChunk *c, void *to, const void *raw, int thread)
{
    const Source *s = source_of(l, c);
    float *sum = (float *)(void *)scratch_of(l, thread, 1);
    bool lossy = false;

    weights_convert(sum, LT_F32, raw, s->dtype, c->count, &lossy);
    factors_add(l->merge, c->entry, c->from, sum, c->count);
    weights_convert(to, l->dtype, sum, LT_F32, c->count, &lossy);
    const int64_t bad = weights_first_bad(to, l->dtype, c->count);
    return bad < 0 ? LT_OK : refuse_value(s, c, bad, sum[bad], "a merged weight in the range of its dtype");
}

/* Reads straight to where the chunk will live if the file stores the dtype we compute in. */
static Status fill_chunk(void *context, const WeightChunk *c, void *to, int thread)
{
    Loader *l = context;
    const Source *s = source_of(l, c);
    const size_t size = dtype_bytes(s->dtype);
    const bool merged = l->merge != NULL && factors_touch(l->merge, c->entry);
    void *raw = s->dtype == l->dtype && !merged ? to : scratch_of(l, thread, 0);
    bool lossy = false;
    int64_t bad;

    TRY(st_read(s->file, s->tensor, (uint64_t)c->from * size, raw, (size_t)c->count * size));
    bad = weights_first_bad(raw, s->dtype, c->count);
    if (bad >= 0)
        return refuse_value(s, c, bad, weights_at(raw, s->dtype, bad), "a finite number");
    if (merged)
        return convert_merged(l, c, to, raw, thread);
    if (raw == to)
        return LT_OK;
    weights_convert(to, l->dtype, raw, s->dtype, c->count, &lossy);
    if (lossy)
        atomic_store(&l->lossy, true);
    bad = weights_first_bad(to, l->dtype, c->count);
    if (bad >= 0)
        return refuse_value(s, c, bad, weights_at(raw, s->dtype, bad), "a number in the range of the compute dtype");
    return LT_OK;
}

static int by_file_place(const void *a, const void *b)
{
    const Source *x = *(const Source *const *)a, *y = *(const Source *const *)b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1; /* both in the set's array */
    return x->tensor->begin < y->tensor->begin ? -1 : x->tensor->begin > y->tensor->begin;
}

/* Finds every entry's tensor and cuts all into chunks in the order of the files, which is the order a disk likes. */
static Status find_sources(Loader *l)
{
    const size_t n = l->params->count;
    const Source **order = NULL;
    StrBuf name;
    Status st;

    strbuf_init(&name);
    TRY_GOTO(MEM_NEW(order, n), st, done);
    for (size_t i = 0; i < n; i++) {
        Source *s = &l->source[i];

        s->entry = &l->params->entry[i];
        TRY_GOTO(param_name(s->entry, &name), st, done);
        s->tensor = st_set_find(l->set, strbuf_str(&name), &s->file);
        BUG_IF(s->tensor == NULL || !st_dtype(s->tensor, &s->dtype)); /* checkpoint_check has seen them */
        order[i] = s;
    }
    qsort(order, n, sizeof *order, by_file_place);
    for (size_t i = 0; i < n; i++)
        TRY_GOTO(chunks_add(&l->chunks, order[i]->entry), st, done);
done:
    mem_free(order);
    strbuf_release(&name);
    return st;
}

/* ---- hashes of the files -------------------------------------------------------------------------------------------------- */

/* A wave's hashing goes as far as its weights, so that a file's bytes come from the disk once and the page cache serves the second
 * reader. After the last wave nothing is left. */
static int64_t prepare_hashes(void *context, size_t first, size_t last)
{
    Loader *l = context;
    const WeightChunk *c = &l->chunks.chunk[last - 1];
    const Source *s = source_of(l, c);
    const size_t reached = last == l->chunks.count ? l->set->n_file : (size_t)(s->file - l->set->file);
    int64_t n = 0;

    (void)first;
    for (size_t i = 0; i < l->set->n_file && i <= reached; i++) {
        FileHash *h = &l->hash[i];

        h->until = h->file->file_bytes;
        if (i == reached)
            h->until = h->file->data_start + s->tensor->begin + (uint64_t)(c->from + c->count) * dtype_bytes(s->dtype);
        if (!h->known && h->at < h->until)
            l->hash_task[n++] = (int32_t)i;
    }
    return n;
}

static Status hash_part(void *context, int64_t index)
{
    Loader *l = context;
    FileHash *h = &l->hash[l->hash_task[index]];
    /* One tensor over the whole file: its bytes are read as they are, header included. */
    const StFile whole = {.path = h->file->path, .fd = h->file->fd};
    const StTensor all = {.end = h->file->file_bytes};
    char *buffer;
    Status st = LT_OK;

    TRY(MEM_NEW(buffer, HASH_STEP));
    while (st == LT_OK && h->at < h->until) {
        const size_t step = h->until - h->at < HASH_STEP ? (size_t)(h->until - h->at) : HASH_STEP;

        st = st_read(&whole, &all, h->at, buffer, step);
        if (st == LT_OK)
            sha256_add(&h->state, buffer, step);
        h->at += step;
    }
    mem_free(buffer);
    return st;
}

static Status start_hashes(Loader *l, FileHashMode mode)
{
    for (size_t i = 0; i < l->set->n_file; i++) {
        FileHash *h = &l->hash[i];

        h->file = &l->set->file[i];
        TRY(filehash_lookup(h->file->path, &h->file->id, mode, &h->digest, &h->known));
        if (h->known)
            continue;
        TRY(sha256_init(&h->state));
        h->open = true;
    }
    return LT_OK;
}

static Status finish_hashes(Loader *l, const Checkpoint *ckpt, Digest *out)
{
    Digest *file;

    TRY(MEM_NEW(file, l->set->n_file));
    for (size_t i = 0; i < l->set->n_file; i++) {
        FileHash *h = &l->hash[i];

        if (!h->known) {
            h->digest = sha256_end(&h->state);
            h->open = false;
            filehash_store(h->file->path, &h->file->id, &h->digest);
        }
        file[i] = h->digest;
    }
    const Status st = digest_of_files(ckpt, file, out);
    mem_free(file);
    return st;
}

/* ---- both together -------------------------------------------------------------------------------------------------------- */

static Status loader_open(Loader *l, const Model *m, const Checkpoint *ckpt, const Factors *merge)
{
    const size_t threads = (size_t)pool_threads(device_pool(m->dev));

    *l = (Loader){.set = &ckpt->set, .params = &m->params, .dtype = m->dtype, .merge = merge};
    TRY(MEM_NEW(l->source, m->params.count));
    TRY(MEM_NEW(l->hash, ckpt->set.n_file));
    TRY(MEM_NEW(l->hash_task, ckpt->set.n_file));
    return MEM_NEW(l->raw, threads * 2 * CHUNK_ELEMENTS * sizeof(float));
}

static void loader_close(Loader *l)
{
    for (size_t i = 0; l->hash != NULL && i < l->set->n_file; i++)
        if (l->hash[i].open)
            sha256_release(&l->hash[i].state);
    mem_free(l->raw);
    mem_free(l->hash_task);
    mem_free(l->hash);
    mem_free(l->source);
    mem_free(l->chunks.chunk);
}

static Status fill_model(Model *m, const Checkpoint *ckpt, const LoadOptions *options)
{
    Loader l;
    const StreamJob job = {.context = &l, .fill = fill_chunk, .prepare = prepare_hashes, .extra = hash_part};
    Status st;

    TRY_GOTO(loader_open(&l, m, ckpt, options->merge), st, done);
    TRY_GOTO(checkpoint_stored_dtype(ckpt, &m->stored), st, done);
    TRY_GOTO(find_sources(&l), st, done);
    TRY_GOTO(start_hashes(&l, options->hash), st, done);
    TRY_GOTO(stream_weights(m->dev, &l.chunks, &job), st, done);
    TRY_GOTO(finish_hashes(&l, ckpt, &m->digest), st, done);
    m->lossy_cast = atomic_load(&l.lossy);
done:
    loader_close(&l);
    return st;
}

Status model_load(Model **out, Device *dev, const Checkpoint *ckpt, const LoadOptions *options)
{
    Model *m;
    size_t unknown;
    Status st;

    TRY(checkpoint_check(ckpt, &unknown));
    TRY(model_create(&m, dev, &ckpt->cfg, options->dtype, options->max_position));
    st = fill_model(m, ckpt, options);
    if (st == LT_OK)
        *out = m;
    else
        model_free(m);
    return st;
}
