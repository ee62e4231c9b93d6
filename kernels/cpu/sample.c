/* Draws from rows of logits. Weights are e^((x - max) / temperature). Without a cut a row is read in chunks: their masses say in which chunk
 * the draw falls, and only that one is walked. With a cut only what can survive it is put in order: first the ids within a few
 * temperatures of the best, a wider band if those turn out not to be enough. Per row that is three passes over the logits at worst, and a heap of
 * the few. */
#include "core/random.h"
#include "kernels/cpu/softmax.h"

typedef struct Candidate {
    float logit;
    int32_t id;
} Candidate;

typedef struct SampleRun SampleRun;
struct SampleRun {
    Tensor id, lp, logits, params;
    Device *dev;
    void (*draw)(const SampleRun *run, int64_t row, Candidate *room);
};

/* One row with its parameters. */
typedef struct Row {
    const float *x;
    int64_t n;
    RowTop top;
    float inverse; /* 1 / temperature */
    const SampleParams *params;
} Row;

static float uniform(const SampleParams *p)
{
    const uint32_t counter[4] = {p->step, 0, 0, 0}, key[2] = {p->seed_low, p->seed_high};
    uint32_t word[4];

    philox4x32(counter, key, word);
    return philox_unit(word[0]);
}

/* ---- without a cut ------------------------------------------------------------------------------------------------------ */

/* Weights of up to SIMD_CHUNK ids from `at` on; their sum. */
SIMD_INLINE float chunk_weights(const Row *r, int64_t at, float *e, bool fused)
{
    const int64_t len = simd_min(r->n - at, SIMD_CHUNK), padded = (len + SIMD_LANES - 1) / SIMD_LANES * SIMD_LANES;
    SimdF32 sum[2] = {{0}, {0}}, v[2];

    for (int64_t i = 0; i < len; i++)
        e[i] = simd_exp_down((r->x[at + i] - r->top.max) * r->inverse, fused);
    for (int64_t i = len; i < padded; i++)
        e[i] = 0;
    for (int64_t i = 0; i < padded; i += SIMD_LANES) {
        simd_load(v, e + i);
        sum[0] += v[0];
        sum[1] += v[1];
    }
    return simd_sum(sum);
}

SIMD_INLINE double whole_mass(const Row *r, bool fused)
{
    float e[SIMD_CHUNK];
    double mass = 0;

    for (int64_t at = 0; at < r->n; at += SIMD_CHUNK)
        mass += (double)chunk_weights(r, at, e, fused);
    return mass;
}

/* The id at which the weights, added in order of ids, pass `target`. */
SIMD_INLINE int32_t draw_in_order(const Row *r, double target, bool fused)
{
    float e[SIMD_CHUNK];
    int32_t drawn = (int32_t)r->top.at;
    double before = 0;

    for (int64_t at = 0; at < r->n; at += SIMD_CHUNK) {
        const int64_t len = simd_min(r->n - at, SIMD_CHUNK);
        const double mass = (double)chunk_weights(r, at, e, fused);

        if (before + mass <= target) {
            before += mass;
            continue;
        }
        /* A sum in order may end a rounding below the chunk's: then it is the last id that has any weight. */
        for (int64_t i = 0; i < len; i++) {
            drawn = e[i] > 0 ? (int32_t)(at + i) : drawn;
            before += (double)e[i];
            if (before > target)
                break;
        }
        break;
    }
    return drawn;
}

/* ---- with a cut --------------------------------------------------------------------------------------------------------- */

/* The higher logit first, the lower id first among equals. */
static bool is_before(Candidate a, Candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

static void sift_down(Candidate *heap, int64_t n, int64_t at)
{
    const Candidate moving = heap[at];

    for (;;) {
        int64_t child = 2 * at + 1;

        if (child + 1 < n && is_before(heap[child + 1], heap[child]))
            child++;
        if (child >= n || !is_before(heap[child], moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void heap_make(Candidate *heap, int64_t n)
{
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift_down(heap, n, i);
}

/* Moves the first to the end, which the heap gives up: what was taken lies behind it, the first taken last. */
static void heap_take(Candidate *heap, int64_t *n)
{
    const Candidate first = heap[0];

    heap[0] = heap[--*n];
    heap[*n] = first;
    sift_down(heap, *n, 0);
}

SIMD_INLINE float weight_of(const Row *r, float logit, bool fused)
{
    return simd_exp_down((logit - r->top.max) * r->inverse, fused);
}

/* Ids whose logit is at least `low`. */
static int64_t list_candidates(const Row *r, float low, Candidate *to)
{
    int64_t n = 0;

    for (int64_t i = 0; i < r->n; i++)
        if (r->x[i] >= low)
            to[n++] = (Candidate){r->x[i], (int32_t)i};
    return n;
}

SIMD_INLINE double mass_of(const Row *r, const Candidate *c, int64_t n, bool fused)
{
    double mass = 0;

    for (int64_t i = 0; i < n; i++)
        mass += (double)weight_of(r, c[i].logit, fused);
    return mass;
}

/* How far below the maximum, in temperatures, candidates are looked for: e^-8 of the best one's weight, then less. */
static const float BANDS[] = {8, 20, 90, INFINITY};

/* Candidates that hold all that the cuts leave. Behind e^-87 every weight is 0, but top-k counts ids of no weight as well. */
SIMD_INLINE int64_t gather_candidates(const Row *r, Candidate *to, double nucleus, bool fused)
{
    int64_t n = 0;

    for (size_t band = 0; band < sizeof BANDS / sizeof *BANDS; band++) {
        const float low = isinf(BANDS[band]) ? -INFINITY : r->top.max - BANDS[band] / r->inverse;

        n = list_candidates(r, low, to);
        if (r->params->top_k > 0 ? n >= r->params->top_k : mass_of(r, to, n, fused) >= nucleus)
            break;
    }
    return n;
}

/* Puts in order the k best and the equals of the last of them, as transformers keeps them. How many of the heap's are left in front. */
static int64_t take_top_k(Candidate *heap, int64_t n, int64_t k)
{
    int64_t left = n;

    while (left > 0 && (n - left < k || heap[0].logit == heap[left].logit)) /* heap[left]: the last one taken */
        heap_take(heap, &left);
    return left;
}

/* Among n candidates, the best one at the end: where the weights, added from there, pass `target`. */
SIMD_INLINE int32_t draw_in_rank(const Row *r, const Candidate *kept, int64_t n, double target, bool fused)
{
    double before = 0;
    int64_t i = n - 1;

    for (; i > 0; i--) {
        before += (double)weight_of(r, kept[i].logit, fused);
        if (before > target)
            break;
    }
    return kept[i].id;
}

SIMD_INLINE int32_t draw_cut(const Row *r, Candidate *room, bool fused)
{
    const SampleParams *p = r->params;
    double mass = p->top_k > 0 ? 0 : whole_mass(r, fused), enough, kept = 0;
    const int64_t n = gather_candidates(r, room, mass * (double)p->top_p, fused);
    int64_t left = n, most = n, count = 0;

    heap_make(room, n);
    if (p->top_k > 0) {
        left = take_top_k(room, n, p->top_k);
        most = n - left;
        mass = mass_of(r, room + left, most, fused);
    }
    /* The smallest set whose mass reaches p, never an empty one; the order is made only as far as it goes. */
    enough = p->top_p < 1.0f ? mass * (double)p->top_p : (double)INFINITY;
    for (; count < most && (count == 0 || kept < enough); count++) {
        if (count == n - left)
            heap_take(room, &left);
        kept += (double)weight_of(r, room[n - 1 - count].logit, fused);
    }
    return draw_in_rank(r, room + n - count, count, (double)uniform(p) * kept, fused);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

SIMD_INLINE void draw(const SampleRun *run, int64_t index, Candidate *room, bool fused)
{
    const SampleParams *p = (const SampleParams *)((const int32_t *)run->params.data + index * run->params.stride);
    Row r = {.x = (const float *)run->logits.data + index * run->logits.stride, .n = run->logits.cols, .params = p};
    int32_t id;

    r.top = row_top(r.x, r.n);
    id = (int32_t)r.top.at;
    if (p->temperature > 0 && isfinite(r.top.max)) { /* else greedy, or a row of which nothing can be drawn */
        r.inverse = 1.0f / p->temperature;
        if (p->top_k > 0 || p->top_p < 1.0f)
            id = draw_cut(&r, room, fused);
        else
            id = draw_in_order(&r, (double)uniform(p) * whole_mass(&r, fused), fused);
    }
    ((int32_t *)run->id.data)[index] = id;
    if (tensor_is_set(run->lp)) {
        const double lse = (double)r.top.max + log((double)row_mass(r.x, r.n, r.top.max, fused));

        ((float *)run->lp.data)[index] = (float)((double)r.x[id] - lse);
    }
}

static void draw_generic(const SampleRun *run, int64_t row, Candidate *room) { draw(run, row, room, false); }
TARGET_AVX2 static void draw_avx2(const SampleRun *run, int64_t row, Candidate *room) { draw(run, row, room, true); }
TARGET_AVX512 static void draw_avx512(const SampleRun *run, int64_t row, Candidate *room) { draw(run, row, room, true); }

static Status run_row(void *context, int64_t index, int thread)
{
    const SampleRun *run = context;
    Candidate *room = cpu_scratch(run->dev, thread, (size_t)run->logits.cols * sizeof *room);

    if (room == NULL)
        return LT_E_NOMEM;
    run->draw(run, index, room);
    return LT_OK;
}

Status cpu_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params)
{
    static void (*const draw_at[CPU_LEVELS])(const SampleRun *, int64_t, Candidate *) = {draw_generic, draw_avx2, draw_avx512, draw_avx512};
    SampleRun run = {id, lp, logits, params, dev, draw_at[cpu_of(dev)->level]};

    return pool_run(dev->pool, logits.rows, run_row, &run);
}
