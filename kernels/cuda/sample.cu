/* Draws from rows of logits, one block a row.
 *
 * The weight of a logit x is e^((x - max) / temperature) as an integer, in units of 2^-40. Sums of integers have no order: whichever thread adds
 * first, masses, cuts and draws come out the same, and nothing has to be sorted. A cut or a draw is one question: at which logit does the
 * sum of what ranks above it pass a number? It is answered two bits of the logit at a time (find_rank), each step a sum over the block.
 *
 * Against exact arithmetic a weight is off by the rounding of its exponent and of e^x, some 1e-6 of itself, and by 2^-40; so a border between two
 * ids lies within that share of [0, 1) of where it should be, and only a number u that close to it may draw the other one.
 *
 * Bytes of a row of V: 4 V for maximum and log-sum-exp, 4 V for the masses, and with a cut 4 V to list in shared memory what lies close enough
 * to the maximum to survive it: mostly some hundred ids, for which a question costs 16 short steps. More than LISTED of them (a flat row): each
 * step reads the row again. About 60 V operations. A row of 131,072 takes 15 us in reads from the L2 cache and 5 us a question on one
 * multiprocessor of an H100, on all of them at once: half the byte floor without a cut, a third with one. *expected* */
#include "kernels/cuda/philox.h"
#include "kernels/cuda/softmax.h"

enum {
    MOST_IDS = 1 << 23,              /* of 2^40 each they fit 64 bits */
    SHARES = ROW_THREADS,            /* an uncut row is drawn from by shares of ids, at most so many, then inside one */
    SHARE_STEP = WARP * QUAD,        /* a share's length is a multiple of this */
    LISTED = 4096,                   /* ids that a cut may leave to shared memory */
    BANDS = 4,
    PARTS = 2 * BANDS + 1,
    RANK_BITS = 2,                   /* of 32, a step of find_rank */
    ABOVES = (1 << RANK_BITS) - 1,
};

/* Distances from the maximum, in temperatures, in which all that a cut leaves is looked for; the nearest that is enough is taken. */
__device__ __forceinline__ float band_reach(int band) { return 3.0f * (float)(band + 1); }

struct SampleTask {
    int32_t *id;
    float *lp; /* or NULL */
    const float *logits;
    int64_t stride, cols;
    bool wide;
    const int32_t *params;
    int64_t params_stride;
};

/* One row, and the shared memory of its block. */
struct Row {
    const float *x;
    int64_t cols;
    bool wide;
    float max, inverse;  /* 1 / temperature */
    uint64_t *part;      /* [ROW_WARPS * PARTS], of the latest sum_block; [ROW_WARPS * PARTS] of the next lie before or behind it */
    int turn;            /* 1: behind */
    uint64_t *share;     /* [SHARES] */
    float *list_x;       /* [LISTED] */
    int32_t *list_id;    /* [LISTED] */
};

__device__ __forceinline__ float distance(const Row &r, float x) { return (r.max - x) * r.inverse; }

/* 0 from where it would be less than a unit, and for -inf at an infinite temperature. */
__device__ __forceinline__ uint64_t weight_of(const Row &r, float x)
{
    const float d = distance(r, x);

    return d < 28.0f ? (uint64_t)(expf(-d) * 0x1p40f) : 0;
}

/* Sums v[0..N-1] over the block; every thread gets them. n: how many threads, counted from 0, have any; the warps behind them do not add zeros. Two
 * sets of parts by turns: while some threads still read one, others write the next. */
template <int N> __device__ __forceinline__ void sum_block(Row &r, uint64_t v[N], int64_t n)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

    r.part += r.turn * ROW_WARPS * PARTS;
    r.turn = -r.turn;
    for (int i = 0; i < N; i++) {
        if (warp * WARP < n)
            v[i] = warp_sum(v[i]);
        if (lane == 0)
            r.part[warp * N + i] = v[i];
    }
    __syncthreads();
    for (int i = 0; i < N; i++) {
        v[i] = 0;
        for (int w = 0; w < ROW_WARPS; w++)
            v[i] += r.part[w * N + i];
    }
}

/* The number that a row's parameters draw, as a share of `mass`: below it, as u is below 1. */
__device__ __forceinline__ uint64_t draw_target(const int32_t *params, uint64_t mass)
{
    const uint32_t counter[4] = {(uint32_t)params[5], 0, 0, 0}, key[2] = {(uint32_t)params[3], (uint32_t)params[4]};
    uint32_t word[4];

    philox_words(counter, key, word);
    return (uint64_t)((double)philox_uniform(word[0]) * (double)mass);
}

/* ---- without a cut: in order of ids ---------------------------------------------------------------------------------------------- */

/* The first i at which share[0] + ... + share[i] is more than *rest; n if none is. *rest: less what lies before it. Every warp looks for itself. */
__device__ __forceinline__ int find_share(const uint64_t *share, int n, uint64_t *rest)
{
    const int lane = threadIdx.x % WARP;

    for (int at = 0; at < n; at += WARP) {
        const uint64_t own = at + lane < n ? share[at + lane] : 0;
        uint64_t sum = own;
        unsigned past;

        for (int apart = 1; apart < WARP; apart *= 2) {
            const uint64_t below = __shfl_up_sync(FULL_WARP, sum, apart);

            sum += lane >= apart ? below : 0;
        }
        past = __ballot_sync(FULL_WARP, sum > *rest);
        if (past != 0) {
            *rest -= __shfl_sync(FULL_WARP, sum - own, __ffs(past) - 1);
            return at + __ffs(past) - 1;
        }
        *rest -= __shfl_sync(FULL_WARP, sum, WARP - 1);
    }
    return n;
}

/* The weight of ids begin..end-1; for a whole warp. */
__device__ __forceinline__ uint64_t weigh_share(const Row &r, int64_t begin, int64_t end)
{
    uint64_t sum = 0;

    for (int64_t at = begin + threadIdx.x % WARP * QUAD; at < end; at += WARP * QUAD) {
        const Quad q = quad_load(r.x + at, end - at, r.wide, -INFINITY);

        for (int i = 0; i < QUAD; i++)
            sum += weight_of(r, q.v[i]);
    }
    return warp_sum(sum);
}

__device__ __forceinline__ int32_t draw_in_order(Row &r, const int32_t *params)
{
    const int64_t length = ((r.cols + SHARES - 1) / SHARES + SHARE_STEP - 1) / SHARE_STEP * SHARE_STEP;
    const int n = (int)((r.cols + length - 1) / length);
    uint64_t mass[1] = {0}, rest;

    for (int s = threadIdx.x / WARP; s < n; s += ROW_WARPS) {
        const uint64_t sum = weigh_share(r, s * length, min((s + 1) * length, r.cols));

        if (threadIdx.x % WARP == 0) {
            r.share[s] = sum;
            mass[0] += sum;
        }
    }
    sum_block<1>(r, mass, ROW_THREADS);
    rest = draw_target(params, mass[0]);
    const int64_t begin = find_share(r.share, n, &rest) * length, end = min(begin + length, r.cols);
    for (int64_t at = begin;; at += SHARES) {
        int found;

        __syncthreads();
        r.share[threadIdx.x] = at + threadIdx.x < end ? weight_of(r, r.x[at + threadIdx.x]) : 0;
        __syncthreads();
        found = find_share(r.share, SHARES, &rest);
        if (found < SHARES)
            return (int32_t)(at + found);
    }
}

/* ---- with a cut: in order of logits ---------------------------------------------------------------------------------------------- */

/* What find_rank looks through: the listed ids and their logits, or the whole row. */
struct Field {
    const float *x;
    const int32_t *id; /* NULL: element i is id i */
    int64_t n;
};

enum Rank {
    RANK_COUNT, /* by logit, each counts 1 */
    RANK_MASS,  /* by logit, each counts its weight */
    RANK_ID,    /* the ids of one logit, lower ones first, each counts 1 */
};

/* Grows with x; -0 is 0. */
__device__ __forceinline__ uint32_t key_of(float x)
{
    const uint32_t bits = __float_as_uint(x + 0.0f);

    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float logit_of(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

/* The highest key down to which the amounts sum to more than `enough`, and in *before their sum above it. There must be one. The key is that of a
 * logit, or an id's complement; then only logits of key `only` count. */
__device__ uint32_t find_rank(Row &r, const Field &f, Rank rank, uint32_t only, uint64_t enough, uint64_t *before)
{
    const int first = rank == RANK_ID ? 24 : 32; /* ids have no more bits than that */
    uint32_t found = rank == RANK_ID ? 0xff000000u : 0;

    *before = 0;
    for (int shift = first - RANK_BITS; shift >= 0; shift -= RANK_BITS) {
        uint64_t above[ABOVES] = {0}; /* [d]: of keys that go on with more than d */
        int digit = 0;

        for (int64_t i = threadIdx.x; i < f.n; i += ROW_THREADS) {
            const float x = f.x[i];
            const uint32_t logit = key_of(x), id = (uint32_t)(f.id == NULL ? i : f.id[i]), key = rank == RANK_ID ? ~id : logit;

            if ((uint64_t)(key ^ found) >> (shift + RANK_BITS) == 0 && (rank != RANK_ID || logit == only)) {
                const uint64_t amount = rank == RANK_MASS ? weight_of(r, x) : 1;

                for (int d = 0; d < ABOVES; d++)
                    above[d] += (key ^ found) >> shift > (uint32_t)d ? amount : 0;
            }
        }
        sum_block<ABOVES>(r, above, f.n);
        for (int d = 0; d < ABOVES; d++)
            digit += *before + above[d] > enough;
        for (int d = 0; d < ABOVES; d++)
            *before += d == digit ? above[d] : 0;
        found |= (uint32_t)digit << shift;
    }
    return found;
}

/* sum: how many ids lie within each band's reach, their weights, the weight of all. */
__device__ __forceinline__ void survey(Row &r, uint64_t sum[PARTS])
{
    for (int i = 0; i < PARTS; i++)
        sum[i] = 0;
    for (int64_t at = (int64_t)threadIdx.x * QUAD; at < r.cols; at += ROW_THREADS * QUAD) {
        const Quad q = quad_load(r.x + at, r.cols - at, r.wide, -INFINITY);

        for (int i = 0; i < QUAD; i++) {
            const float d = distance(r, q.v[i]);
            const uint64_t weight = weight_of(r, q.v[i]);

            sum[2 * BANDS] += weight;
            for (int b = 0; b < BANDS; b++)
                if (d <= band_reach(b)) {
                    sum[b]++;
                    sum[BANDS + b] += weight;
                }
        }
    }
    sum_block<PARTS>(r, sum, ROW_THREADS);
}

/* Lists the ids of a band, each warp behind those of the warps before it, as the survey has just counted them. */
__device__ __forceinline__ void list_band(const Row &r, int band)
{
    const unsigned lower = (1u << threadIdx.x % WARP) - 1;
    uint64_t to = 0;

    for (unsigned w = 0; w < threadIdx.x / WARP; w++)
        to += r.part[w * PARTS + band];
    for (int64_t begin = 0; begin < r.cols; begin += ROW_THREADS * QUAD) { /* all lanes come to every vote */
        const int64_t at = begin + threadIdx.x * QUAD;
        const Quad q = quad_load(r.x + at, r.cols - at, r.wide, -INFINITY);

        for (int i = 0; i < QUAD; i++) {
            const bool hit = distance(r, q.v[i]) <= band_reach(band);
            const unsigned hits = __ballot_sync(FULL_WARP, hit);

            if (hit) {
                r.list_x[to + __popc(hits & lower)] = q.v[i];
                r.list_id[to + __popc(hits & lower)] = (int32_t)(at + i);
            }
            to += __popc(hits);
        }
    }
    __syncthreads();
}

/* The nearest band that holds the k best or, for k = 0, `need` of mass; else, or where its ids are too many, the row. */
__device__ __forceinline__ Field gather(const Row &r, const uint64_t sum[PARTS], uint64_t k, uint64_t need)
{
    uint64_t n = 0;
    int band = BANDS;

    UNROLL for (int b = BANDS - 1; b >= 0; b--)
        if (k > 0 ? sum[b] >= k : sum[BANDS + b] >= need) {
            band = b;
            n = sum[b];
        }
    if (band < BANDS && n <= LISTED) {
        list_band(r, band);
        return Field{r.list_x, r.list_id, (int64_t)n};
    }
    return Field{r.x, NULL, r.cols};
}

/* What the field's logits from `key` on weigh. */
__device__ __forceinline__ uint64_t mass_from(Row &r, const Field &f, uint32_t key)
{
    uint64_t mass[1] = {0};

    for (int64_t i = threadIdx.x; i < f.n; i += ROW_THREADS)
        mass[0] += key_of(f.x[i]) >= key ? weight_of(r, f.x[i]) : 0;
    sum_block<1>(r, mass, f.n);
    return mass[0];
}

/* What the smallest set has to weigh; never an empty one. */
__device__ __forceinline__ uint64_t nucleus(uint64_t mass, float top_p)
{
    return (uint64_t)fmin(fmax(1.0, ceil((double)mass * (double)top_p)), (double)mass);
}

__device__ __forceinline__ int32_t draw_cut(Row &r, const int32_t *params)
{
    const float top_p = __int_as_float(params[1]);
    const uint64_t k = params[2] > 0 ? (uint64_t)min((int64_t)params[2], r.cols) : 0;
    uint64_t sum[PARTS], before, mass, need, target;
    uint32_t key;

    survey(r, sum);
    mass = sum[2 * BANDS];
    need = nucleus(mass, top_p);
    const Field f = gather(r, sum, k, need);
    if (k > 0) {
        mass = mass_from(r, f, find_rank(r, f, RANK_COUNT, 0, k - 1, &before));
        need = nucleus(mass, top_p);
    }
    if (top_p < 1.0f) {
        key = find_rank(r, f, RANK_MASS, 0, need - 1, &before);
        const uint64_t weight = weight_of(r, logit_of(key));
        mass = before + ((need - before - 1) / weight + 1) * weight; /* of equals as many as are needed */
    }
    target = draw_target(params, mass);
    key = find_rank(r, f, RANK_MASS, 0, target, &before);
    return (int32_t)~find_rank(r, f, RANK_ID, key, (target - before) / weight_of(r, logit_of(key)), &before);
}

/* ---- rows -------------------------------------------------------------------------------------------------------------------------- */

__global__ void __launch_bounds__(ROW_THREADS, 2) sample_rows(SampleTask t)
{
    SHARED(RowTop, top_part, ROW_WARPS + 1);
    SHARED(uint64_t, part, 2 * ROW_WARPS * PARTS);
    SHARED(uint64_t, share, SHARES);
    SHARED(float, list_x, LISTED);
    SHARED(int32_t, list_id, LISTED);
    const int32_t *params = t.params + blockIdx.x * t.params_stride;
    const float *x = t.logits + blockIdx.x * t.stride, inverse = 1.0f / __int_as_float(params[0]);
    const RowTop top = row_softmax(x, t.cols, t.wide, top_part);
    Row r = {x, t.cols, t.wide, top.max, inverse, part, 1, share, list_x, list_id};
    int32_t id = top.at;

    /* else greedy (a temperature of 0, or so small that it comes to that), or a row of which nothing can be drawn */
    if (inverse >= 0 && inverse < INFINITY && fabsf(top.max) < INFINITY)
        id = params[2] > 0 || __int_as_float(params[1]) < 1.0f ? draw_cut(r, params) : draw_in_order(r, params);
    if (threadIdx.x == 0) {
        t.id[blockIdx.x] = id;
        if (t.lp != NULL)
            t.lp[blockIdx.x] = (float)((double)x[id] - row_lse(top));
    }
}

Status cuda_sample(Device *dev, Tensor id, Tensor lp, Tensor logits, Tensor params)
{
    const SampleTask t = {(int32_t *)id.data, (float *)lp.data, (const float *)logits.data, logits.stride, logits.cols, quad_wide(logits),
                          (const int32_t *)params.data, params.stride};

    if (logits.cols > MOST_IDS)
        return FAIL(LT_E_UNSUPPORTED, "sample: %lld logits a row, the cuda backend draws from at most %d", (long long)logits.cols, MOST_IDS);
    LAUNCH(sample_rows, (unsigned)logits.rows, ROW_THREADS, 0, cuda_of(dev)->stream, t);
    return cuda_launched("sample");
}
