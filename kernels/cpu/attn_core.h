/* Private to kernels/cpu: one task of attention, shared by op_attn and op_attn_cached. A task is some queries of one sequence, all
 * query heads of one kv head, over the keys they see.
 *
 * Keys come in blocks of ATTN_BLOCK inside splits of ATTN_SPLIT, both aligned to position 0. Inside a split a softmax runs over
 * its blocks (maximum, mass, weighted sum of values, rescaled when the maximum grows: Milakov and Gimelshein 2018); the splits' triples
 * are merged in ascending order. A block the row does not see at all leaves its triple untouched, and of a block it sees in part only the
 * keys it sees take part, so the result is a function of the row, its keys and its position alone.
 *
 * A block costs 4 ATTN_BLOCK D operations a row, all on tiles in the first-level cache: keys transposed and values, F32, gathered
 * once a task, 128 to 256 operations for each float moved. */
#ifndef LETHE_KERNELS_CPU_ATTN_CORE_H
#define LETHE_KERNELS_CPU_ATTN_CORE_H

#include "kernels/cpu/attn_panel.h"
#include "kernels/cpu/attn_task.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/simd.h"

#include <math.h>

/* Rows a task aims at: enough that gathering a block of keys is a few per cent of using it. 192 instead of 96 is worth 3 % from 200 keys on and
 * nothing below. */
enum { ATTN_BLOCK = 64, ATTN_TASK_ROWS = 192 };
_Static_assert((int)ATTN_BLOCK == (int)DROP_COLS, "dropout draws for a block of keys at once");

typedef float AttnQuad __attribute__((vector_size(16), aligned(4)));

/* A triple for each row: max, mass = sum exp(s - max), sum = sum exp(s - max) v. */
typedef struct AttnSums {
    float *max, *mass; /* [rows] */
    float *sum;        /* [rows, width] */
} AttnSums;

/* Dropout of the probabilities; p = 0: none. Query i, head h draws in row `row` + i n_head + h. */
typedef struct AttnDrop {
    const DropoutKey *key;
    float p;
    int64_t row;
    int n_head;
} AttnDrop;

/* Row i * group + h: query i, head h of the kv head's group. */
typedef struct AttnWork {
    int n_query, group, head_size, width; /* width: head_size rounded up to PANEL_COLS */
    int window;
    AttnDrop drop;
    int32_t *position; /* [n_query] of each query in its sequence */
    float *q;          /* [rows, head_size], scaled */
    AttnSums split, total;
    float *keys;   /* [head_size, ATTN_BLOCK]: this block's keys, transposed */
    float *values; /* [ATTN_BLOCK, width] */
    float *scores; /* [PANEL_ROWS, ATTN_BLOCK] */
} AttnWork;

/* Where the keys of one kv head lie: `rows` gives the rows of k and v that hold positions begin..end-1 (a block at most). */
typedef struct AttnKeys {
    Tensor k, v;
    int64_t col;
    void (*rows)(int64_t *row, const void *source, int begin, int end);
    const void *source;
} AttnKeys;

/* Keys lo..hi-1 of a block. */
typedef struct AttnRange {
    int lo, hi;
} AttnRange;

/* attn_core.c */
int attn_width(int head_size); /* head_size rounded up to PANEL_COLS */
/* Hands out the pieces of one block in order; with a NULL block it only counts. Pieces start on cache lines. */
float *attn_carve(char *block, size_t *used, size_t count);
int attn_task_queries(int group);                      /* queries a task takes at most */
size_t attn_work_bytes(int group, int head_size);
void attn_work_carve(AttnWork *w, void *block, int group, int head_size);
/* The part of w that is queries first..first+count-1, on the same tiles. */
AttnWork attn_work_part(const AttnWork *w, int first, int count);

SIMD_INLINE void attn_panel(const AttnPanel *p, const CpuLevel level)
{
    if (level == CPU_GENERIC)
        attn_panel_generic(p);
    else if (level == CPU_AVX2)
        attn_panel_avx2(p);
    else
        attn_panel_avx512(p);
}

/* What query i sees of the keys at positions begin..end-1, counted from begin. Empty: hi <= lo. */
SIMD_INLINE AttnRange attn_seen(const AttnWork *w, int i, int begin, int end)
{
    const int last = w->position[i], first = w->window > 0 && last >= w->window ? last - w->window + 1 : 0;

    return (AttnRange){first > begin ? first - begin : 0, (last + 1 < end ? last + 1 : end) - begin};
}

SIMD_INLINE void attn_sums_reset(const AttnSums *s, int rows, int width)
{
    for (int r = 0; r < rows; r++) {
        s->max[r] = -INFINITY;
        s->mass[r] = 0;
    }
    memset(s->sum, 0, (size_t)rows * (size_t)width * sizeof *s->sum);
}

/* Query i from `row` of q, heads from column `col`; the scale goes in here, once. */
SIMD_INLINE void attn_load_query(const AttnWork *w, int i, Tensor q, int64_t row, int64_t col, float scale)
{
    float *to = w->q + (int64_t)i * w->group * w->head_size;
    const int64_t n = (int64_t)w->group * w->head_size;

    simd_widen(to, q, row, col, n);
    for (int64_t d = 0; d < n; d++)
        to[d] *= scale;
}

/* Four keys, n floats each `stride` apart, to columns at, at+1, ... of the transposed tile. */
SIMD_INLINE void attn_transpose(float *restrict to, const float *restrict from, int64_t stride, int n)
{
    typedef int32_t Pick __attribute__((vector_size(16)));
    const Pick low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
    int d = 0;

    for (; d + 4 <= n; d += 4, to += 4 * ATTN_BLOCK) {
        const AttnQuad a = *(const AttnQuad *)(from + d), b = *(const AttnQuad *)(from + stride + d);
        const AttnQuad c = *(const AttnQuad *)(from + 2 * stride + d), e = *(const AttnQuad *)(from + 3 * stride + d);
        const AttnQuad ab_low = __builtin_shuffle(a, b, low), ab_high = __builtin_shuffle(a, b, high);
        const AttnQuad ce_low = __builtin_shuffle(c, e, low), ce_high = __builtin_shuffle(c, e, high);

        *(AttnQuad *)to = __builtin_shuffle(ab_low, ce_low, first);
        *(AttnQuad *)(to + ATTN_BLOCK) = __builtin_shuffle(ab_low, ce_low, second);
        *(AttnQuad *)(to + 2 * ATTN_BLOCK) = __builtin_shuffle(ab_high, ce_high, first);
        *(AttnQuad *)(to + 3 * ATTN_BLOCK) = __builtin_shuffle(ab_high, ce_high, second);
    }
    for (; d < n; d++, to += ATTN_BLOCK)
        for (int j = 0; j < 4; j++)
            to[j] = from[j * stride + d];
}

/* Asks for a head's part of n rows at once. In decode they come from memory, a line or two out of each row of all heads, which no processor
 * foresees: read one after the other they cost their latency. Into the second-level cache, since rows of 1536 bytes fall on an eighth of
 * the first one's sets and would push one another out. */
SIMD_INLINE void attn_prefetch(Tensor t, int64_t col, int size, const int64_t *row, int n)
{
    const int64_t element = t.dtype == LT_F32 ? 4 : 2, line = 64;

    for (int j = 0; j < n; j++) {
        const char *from = (const char *)t.data + (row[j] * t.stride + col) * element;

        for (int64_t at = 0; at < size * element; at += line)
            __builtin_prefetch(from + at, 0, 2);
    }
}

/* Rows row[0..n-1] of t, `size` columns from col on, as they lie: to[n, width], zeros behind each. */
SIMD_INLINE void attn_load_rows(float *to, int width, Tensor t, const int64_t *row, int n, int64_t col, int size)
{
    for (int j = 0; j < n; j++) {
        simd_widen(to + (int64_t)j * width, t, row[j], col, size);
        for (int d = size; d < width; d++)
            to[(int64_t)j * width + d] = 0;
    }
}

/* The same transposed: to[size, ATTN_BLOCK]. Columns that only fill up the last PANEL_COLS are zeros: they are multiplied but never looked at. */
SIMD_INLINE void attn_load_columns(float *to, Tensor t, const int64_t *row, int n, int64_t col, int size)
{
    float quad[4 * 256];

    for (int j = 0; j < n; j += 4) {
        for (int i = 0; i < 4; i++) {
            if (j + i < n)
                simd_widen(quad + i * size, t, row[j + i], col, size);
            else
                memset(quad + i * size, 0, (size_t)size * sizeof *quad);
        }
        attn_transpose(to + j, quad, size, size);
    }
    for (int j = (n + 3) / 4 * 4; j % PANEL_COLS != 0; j++)
        for (int d = 0; d < size; d++)
            to[d * ATTN_BLOCK + j] = 0;
}

/* Fills both tiles from rows row[0..n-1] of k and v. */
SIMD_INLINE void attn_load_keys(const AttnWork *w, const AttnKeys *keys, const int64_t *row, int n)
{
    attn_prefetch(keys->v, keys->col, w->head_size, row, n);
    attn_prefetch(keys->k, keys->col, w->head_size, row, n);
    attn_load_rows(w->values, w->width, keys->v, row, n, keys->col, w->head_size);
    attn_load_columns(w->keys, keys->k, row, n, keys->col, w->head_size);
}

/* Hides what the row does not see and gives the largest of the rest. A NaN may get lost here and comes back through the exponentials. */
SIMD_INLINE float attn_mask(float *score, AttnRange seen)
{
    SimdF32 part[ATTN_BLOCK / 8];

    for (int j = 0; j < seen.lo; j++)
        score[j] = -INFINITY;
    for (int j = seen.hi; j < ATTN_BLOCK; j++)
        score[j] = -INFINITY;
    for (int i = 0; i < ATTN_BLOCK / SIMD_LANES; i++)
        simd_load(&part[2 * i], score + i * SIMD_LANES);
    for (int i = 0; i < 4; i++)
        simd_max_into(&part[i], &part[i + 4]);
    simd_max_into(&part[0], &part[2]);
    simd_max_into(&part[1], &part[3]);
    return simd_max(part);
}

SIMD_INLINE float attn_mass(const float *weight)
{
    SimdF32 part[ATTN_BLOCK / 8];

    for (int i = 0; i < ATTN_BLOCK / SIMD_LANES; i++)
        simd_load(&part[2 * i], weight + i * SIMD_LANES);
    part[0] = (part[0] + part[2]) + (part[4] + part[6]);
    part[1] = (part[1] + part[3]) + (part[5] + part[7]);
    return simd_sum(part);
}

/* Scores of the rows from r on become weights relative to each row's new maximum, which the mass follows at once; keep: what the sum
 * has to be multiplied by to follow it. */
SIMD_INLINE void attn_soften(const AttnWork *w, int64_t r, int rows, float keep[8], AttnRange seen, bool fused)
{
    float max[8] = {0}, old[8] = {0};

    for (int i = 0; i < rows; i++) {
        const float here = attn_mask(w->scores + i * ATTN_BLOCK, seen);

        old[i] = w->split.max[r + i];
        max[i] = old[i] > here ? old[i] : here;
    }
    for (int i = 0; i < 8; i++)
        keep[i] = simd_exp_down(old[i] - max[i], fused);
    for (int i = 0; i < rows; i++) {
        float *score = w->scores + i * ATTN_BLOCK;

        for (int j = 0; j < ATTN_BLOCK; j++)
            score[j] = simd_exp_down(score[j] - max[i], fused);
        w->split.max[r + i] = max[i];
        w->split.mass[r + i] = w->split.mass[r + i] * keep[i] + attn_mass(score);
    }
}

/* The weights of `rows` rows from r on for the block at `begin` lose what dropout takes; the mass has them all. */
SIMD_INLINE void attn_drop(const AttnWork *w, int64_t r, int rows, int begin, const CpuLevel level)
{
    float factor[ATTN_BLOCK];

    for (int i = 0; i < rows; i++) {
        const int64_t query = (r + i) / w->group, head = (r + i) % w->group;
        const DropoutDraw draw = {w->drop.key, w->drop.row + query * w->drop.n_head + head, (uint32_t)begin / 4, w->drop.p};

        dropout_factors(factor, &draw, level);
        for (int j = 0; j < ATTN_BLOCK; j++)
            w->scores[i * ATTN_BLOCK + j] *= factor[j];
    }
}

/* `rows` neighbouring rows from r on that see the same keys of the block in the tiles, which begins at `begin`. */
SIMD_INLINE void attn_rows(const AttnWork *w, int64_t r, int rows, int begin, AttnRange seen, const CpuLevel level)
{
    const int from = seen.lo / PANEL_COLS * PANEL_COLS, to = (seen.hi + PANEL_COLS - 1) / PANEL_COLS * PANEL_COLS;
    float keep[8];
    const AttnPanel score = {.c = w->scores + from, .ldc = ATTN_BLOCK, .a = w->q + r * w->head_size, .lda = w->head_size, .step = 1,
                             .b = w->keys + from, .ldb = ATTN_BLOCK, .rows = rows, .depth = w->head_size, .cols = to - from};
    const AttnPanel value = {.c = w->split.sum + r * w->width, .ldc = w->width, .a = w->scores + seen.lo, .lda = ATTN_BLOCK, .step = 1,
                             .b = w->values + (int64_t)seen.lo * w->width, .ldb = w->width, .rows = rows, .depth = seen.hi - seen.lo,
                             .cols = w->width, .keep = keep};

    attn_panel(&score, level);
    attn_soften(w, r, rows, keep, seen, level != CPU_GENERIC);
    if (w->drop.p > 0)
        attn_drop(w, r, rows, begin, level);
    attn_panel(&value, level);
}

/* The block at positions begin..end-1, whose keys are in the tiles, for every row that sees any of it. */
SIMD_INLINE void attn_block(const AttnWork *w, int begin, int end, const CpuLevel level)
{
    for (int i = 0, next; i < w->n_query; i = next) {
        const AttnRange seen = attn_seen(w, i, begin, end);

        for (next = i + 1; next < w->n_query; next++) {
            const AttnRange other = attn_seen(w, next, begin, end);

            if (other.lo != seen.lo || other.hi != seen.hi)
                break;
        }
        for (int r = i * w->group; seen.lo < seen.hi && r < next * w->group; r += PANEL_ROWS)
            attn_rows(w, r, (int)simd_min(next * w->group - r, PANEL_ROWS), begin, seen, level);
    }
}

/* The split at positions begin..end-1 is complete: its triples go into the totals of the rows that saw any of it. */
SIMD_INLINE void attn_end_split(const AttnWork *w, int begin, int end, const CpuLevel level)
{
    const bool fused = level != CPU_GENERIC;

    for (int r = 0; r < w->n_query * w->group; r++) {
        const AttnRange seen = attn_seen(w, r / w->group, begin, end);
        const float here = w->split.max[r], before = w->total.max[r], max = here > before ? here : before;
        const float scale_here = simd_exp_down(here - max, fused), scale_before = simd_exp_down(before - max, fused);
        float *restrict total = w->total.sum + (int64_t)r * w->width;
        const float *restrict sum = w->split.sum + (int64_t)r * w->width;

        if (seen.hi <= seen.lo)
            continue;
        w->total.max[r] = max;
        w->total.mass[r] = w->total.mass[r] * scale_before + w->split.mass[r] * scale_here;
        for (int d = 0; d < w->width; d++)
            total[d] = total[d] * scale_before + sum[d] * scale_here;
    }
    attn_sums_reset(&w->split, w->n_query * w->group, w->width);
}

/* Takes the keys at positions from..to-1 into the totals; from is a multiple of ATTN_SPLIT. Blocks that no row sees are not read. */
SIMD_INLINE void attn_walk(const AttnWork *w, const AttnKeys *keys, int from, int to, const CpuLevel level)
{
    int64_t row[ATTN_BLOCK];

    for (int begin = from; begin < to; begin += ATTN_BLOCK) {
        const int end = begin + ATTN_BLOCK < to ? begin + ATTN_BLOCK : to;
        bool wanted = false;

        for (int i = 0; i < w->n_query && !wanted; i++) {
            const AttnRange seen = attn_seen(w, i, begin, end);

            wanted = seen.lo < seen.hi;
        }
        if (wanted) {
            keys->rows(row, keys->source, begin, end);
            attn_load_keys(w, keys, row, end - begin);
            attn_block(w, begin, end, level);
        }
        if (end % ATTN_SPLIT == 0 || end == to)
            attn_end_split(w, (end - 1) / ATTN_SPLIT * ATTN_SPLIT, end, level);
    }
}

/* Query i's outputs to `row` of o, its heads from column `col` on. */
SIMD_INLINE void attn_store_query(const AttnWork *w, int i, Tensor o, int64_t row, int64_t col)
{
    float out[256];

    for (int h = 0; h < w->group; h++) {
        const int64_t r = (int64_t)i * w->group + h;
        const float inverse = 1.0f / w->total.mass[r], *sum = w->total.sum + r * w->width;

        for (int d = 0; d < w->head_size; d++)
            out[d] = sum[d] * inverse;
        simd_narrow(o, row, col + (int64_t)h * w->head_size, out, w->head_size);
    }
}

#endif
