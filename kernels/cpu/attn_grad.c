/* Gradient of attention. With p = exp(score - lse), m dropout's factor and delta = d_o . o, for a query i and a key j that it sees:
 *   ds = p (m d_o_i . v_j - delta_i),   dq_i = scale sum_j ds k_j,   dk_j = scale sum_i ds q_i,   dv_j = sum_i m p d_o_i
 * Nothing of size N x N is kept: two passes make p and ds again, one tile of 64 queries of a head by 64 keys after the other, aligned to position
 * 0. The first takes some queries through their keys, ascending; the second a block of keys through its queries, ascending, within 64 queries
 * head by head of the group. So seven products a tile where the forward op has two: 14 D operations for a query and a key.
 *
 * Around the diagonal, what a query does not see enters its sums as zeros, and the other way round: a number that is not finite may reach
 * rows up to PANEL_ROWS away that it should not. */
#include "core/mem.h"
#include "kernels/cpu/attn_core.h"

enum { TILE = ATTN_BLOCK };

typedef struct GradArgs {
    const AttnGradArgs *a;
    float *delta; /* [N, H]: made by the pass over queries */
} GradArgs;

/* Queries first..first+count-1 of a sequence, up to TILE, of one head. */
typedef struct GradTile {
    float *q, *d_o;     /* [TILE, width], q scaled */
    float *lse, *delta; /* [TILE] */
    int first, count, head;
} GradTile;

typedef struct GradWork {
    const AttnArgs *fwd;
    const AttnSegment *segment;
    int size, width;
    int begin, n_key;   /* the block of keys in the tiles: positions begin..begin+n_key-1 */
    float *k_t, *v_t;   /* [size, TILE] */
    float *k;           /* [TILE, width] */
    float *weight, *ds; /* [TILE, TILE], query by key: m p and ds, zero where the query does not see the key */
} GradWork;

/* ---- scratch ------------------------------------------------------------------------------------------------------------- */

static GradWork work_carve(char *block, size_t *used, const AttnArgs *a)
{
    const size_t size = (size_t)a->head_size, width = (size_t)attn_width(a->head_size);
    GradWork w = {.fwd = a, .size = (int)size, .width = (int)width};

    w.k_t = attn_carve(block, used, size * TILE);
    w.v_t = attn_carve(block, used, size * TILE);
    w.k = attn_carve(block, used, TILE * width);
    w.weight = attn_carve(block, used, (size_t)TILE * TILE);
    w.ds = attn_carve(block, used, (size_t)TILE * TILE);
    return w;
}

static GradTile tile_carve(char *block, size_t *used, int width)
{
    GradTile t = {0};

    t.q = attn_carve(block, used, (size_t)TILE * (size_t)width);
    t.d_o = attn_carve(block, used, (size_t)TILE * (size_t)width);
    t.lse = attn_carve(block, used, TILE);
    t.delta = attn_carve(block, used, TILE);
    return t;
}

/* Sums of TILE rows, zero. */
static float *sums_carve(char *block, size_t *used, int width)
{
    const size_t n = (size_t)TILE * (size_t)width;
    float *sums = attn_carve(block, used, n);

    if (block != NULL)
        memset(sums, 0, n * sizeof *sums);
    return sums;
}

/* ---- a tile -------------------------------------------------------------------------------------------------------------- */

SIMD_INLINE void load_keys(GradWork *w, int begin, int kv_head)
{
    const AttnArgs *a = w->fwd;
    const int64_t col = (int64_t)kv_head * w->size;
    int64_t row[TILE];

    w->begin = begin;
    w->n_key = (int)simd_min(w->segment->q_len - begin, TILE);
    for (int j = 0; j < w->n_key; j++)
        row[j] = (int64_t)w->segment->own_begin + begin + j;
    attn_load_columns(w->k_t, a->k, row, w->n_key, col, w->size);
    attn_load_columns(w->v_t, a->v, row, w->n_key, col, w->size);
    attn_load_rows(w->k, w->width, a->k, row, w->n_key, col, w->size);
}

/* All but delta. */
SIMD_INLINE void load_queries(GradTile *t, const GradWork *w, Tensor d_o, int first, int head)
{
    const AttnArgs *a = w->fwd;
    const int64_t col = (int64_t)head * w->size;
    int64_t row[TILE];

    t->first = first;
    t->count = (int)simd_min(w->segment->q_len - first, TILE);
    t->head = head;
    for (int i = 0; i < t->count; i++) {
        row[i] = (int64_t)w->segment->q_begin + first + i;
        t->lse[i] = ((const float *)a->lse.data)[row[i] * a->lse.stride + head];
    }
    attn_load_rows(t->q, w->width, a->q, row, t->count, col, w->size);
    attn_load_rows(t->d_o, w->width, d_o, row, t->count, col, w->size);
    for (int i = 0; i < t->count * w->width; i++)
        t->q[i] *= a->scale;
}

/* What query i of the tile sees of the keys, counted from their begin. Empty: hi <= lo. Both ends ascend with i. */
SIMD_INLINE AttnRange seen_by(const GradWork *w, const GradTile *t, int i)
{
    const int last = t->first + i - w->begin, window = w->fwd->window;

    return (AttnRange){window > 0 && last >= window ? last - window + 1 : 0, last + 1 < w->n_key ? last + 1 : w->n_key};
}

/* One query's scores become weights, its products d_o . v become ds. Columns from..to-1 hold numbers, all TILE are written. */
SIMD_INLINE void soften(float *restrict weight, float *restrict ds, int from, int to, AttnRange seen, float lse, float delta,
                        const float *restrict factor, bool fused)
{
    for (int j = 0; j < from; j++)
        weight[j] = ds[j] = 0;
    for (int j = from; j < to; j++) {
        const bool visible = j >= seen.lo && j < seen.hi;
        const float p = simd_exp_down(weight[j] - lse, fused), d = p * (factor[j] * ds[j] - delta);

        weight[j] = visible ? factor[j] * p : 0;
        ds[j] = visible ? d : 0;
    }
    for (int j = to; j < TILE; j++)
        weight[j] = ds[j] = 0;
}

/* weight and ds of the tile and the keys. */
SIMD_INLINE void compare(const GradWork *w, const GradTile *t, const CpuLevel level)
{
    const AttnArgs *a = w->fwd;
    float factor[TILE];

    for (int j = 0; j < TILE; j++)
        factor[j] = 1;
    for (int r = 0; r < t->count; r += PANEL_ROWS) {
        const int rows = (int)simd_min(t->count - r, PANEL_ROWS), lo = seen_by(w, t, r).lo, hi = seen_by(w, t, r + rows - 1).hi;
        const int from = lo < hi ? lo / PANEL_COLS * PANEL_COLS : 0, to = lo < hi ? (hi + PANEL_COLS - 1) / PANEL_COLS * PANEL_COLS : 0;
        const AttnPanel score = {.c = w->weight + r * TILE + from, .ldc = TILE, .a = t->q + r * w->width, .lda = w->width, .step = 1,
                                 .b = w->k_t + from, .ldb = TILE, .rows = rows, .depth = w->size, .cols = to - from};
        const AttnPanel product = {.c = w->ds + r * TILE + from, .ldc = TILE, .a = t->d_o + r * w->width, .lda = w->width, .step = 1,
                                   .b = w->v_t + from, .ldb = TILE, .rows = rows, .depth = w->size, .cols = to - from};

        attn_panel(&score, level);
        attn_panel(&product, level);
        for (int i = r; i < r + rows; i++) {
            const int64_t drop_row = ((int64_t)w->segment->q_begin + t->first + i) * a->n_head + t->head;

            if (a->dropout > 0)
                dropout_factors(factor, &(DropoutDraw){&a->key, drop_row, (uint32_t)w->begin / 4, a->dropout}, level);
            soften(w->weight + i * TILE, w->ds + i * TILE, from, to, seen_by(w, t, i), t->lse[i], t->delta[i], factor, level != CPU_GENERIC);
        }
    }
}

static const float ONES[PANEL_ROWS] = {1, 1, 1, 1, 1, 1};

/* dq += ds k */
SIMD_INLINE void add_keys(float *dq, const GradWork *w, const GradTile *t, const CpuLevel level)
{
    for (int r = 0; r < t->count; r += PANEL_ROWS) {
        const int rows = (int)simd_min(t->count - r, PANEL_ROWS), lo = seen_by(w, t, r).lo, hi = seen_by(w, t, r + rows - 1).hi;
        const AttnPanel sum = {.c = dq + r * w->width, .ldc = w->width, .a = w->ds + r * TILE + lo, .lda = TILE, .step = 1,
                               .b = w->k + lo * w->width, .ldb = w->width, .rows = rows, .depth = hi - lo, .cols = w->width, .keep = ONES};

        if (lo < hi)
            attn_panel(&sum, level);
    }
}

/* sum += what^T from, where `what` is weight or ds and `from` d_o or q. */
SIMD_INLINE void add_queries(float *sum, const GradWork *w, const GradTile *t, const float *what, const float *from, const CpuLevel level)
{
    const int window = w->fwd->window;

    for (int j = 0; j < w->n_key; j += PANEL_ROWS) {
        const int rows = (int)simd_min(w->n_key - j, PANEL_ROWS), diagonal = w->begin + j - t->first; /* the query that first sees key j */
        const int lo = diagonal > 0 ? diagonal : 0, hi = window > 0 ? (int)simd_min(t->count, (int64_t)diagonal + rows - 1 + window) : t->count;
        const AttnPanel panel = {.c = sum + j * w->width, .ldc = w->width, .a = what + lo * TILE + j, .lda = 1, .step = TILE,
                                 .b = from + lo * w->width, .ldb = w->width, .rows = rows, .depth = hi - lo, .cols = w->width, .keep = ONES};

        if (lo < hi)
            attn_panel(&panel, level);
    }
}

/* ---- the pass over queries: delta and dq --------------------------------------------------------------------------------- */

/* Tiles of a task, one behind the other: gathering a block of keys, three times, has to serve enough rows. */
enum { TASK_TILES = 3 };

typedef struct QueryPass {
    GradWork w;
    GradTile tile[TASK_TILES];
    float *dq[TASK_TILES];
} QueryPass;

static size_t query_pass_carve(QueryPass *pass, char *block, const AttnArgs *a)
{
    size_t used = 0;

    pass->w = work_carve(block, &used, a);
    for (int n = 0; n < TASK_TILES; n++) {
        pass->tile[n] = tile_carve(block, &used, pass->w.width);
        pass->dq[n] = sums_carve(block, &used, pass->w.width);
    }
    return used;
}

SIMD_INLINE void make_delta(const GradArgs *g, const GradWork *w, const GradTile *t)
{
    const AttnArgs *a = w->fwd;
    float o[256];

    for (int i = 0; i < t->count; i++) {
        const int64_t row = (int64_t)w->segment->q_begin + t->first + i;
        SimdF32 sum[2] = {{0}, {0}}, u[2], v[2];

        attn_load_rows(o, w->width, a->o, &row, 1, (int64_t)t->head * w->size, w->size);
        for (int d = 0; d < w->width; d += SIMD_LANES) {
            simd_load(u, o + d);
            simd_load(v, t->d_o + i * w->width + d);
            sum[0] += u[0] * v[0];
            sum[1] += u[1] * v[1];
        }
        g->delta[row * a->n_head + t->head] = t->delta[i] = simd_sum(sum);
    }
}

/* The first n rows of sums, times scale. */
SIMD_INLINE void store(const GradWork *w, Tensor t, int64_t row, int64_t col, float *sum, int n, float scale)
{
    for (int i = 0; i < n; i++, sum += w->width) {
        for (int d = 0; d < w->size; d++)
            sum[d] *= scale;
        simd_narrow(t, row + i, col, sum, w->size);
    }
}

/* task->kv_head: here a query head. */
SIMD_INLINE void pass_queries(const GradArgs *g, const AttnTask *task, void *block, const CpuLevel level)
{
    const AttnArgs *a = &g->a->fwd;
    const int head = task->kv_head, end = task->first + task->count;
    QueryPass pass;
    GradWork *w = &pass.w;

    query_pass_carve(&pass, block, a);
    w->segment = &a->seg[task->segment];
    for (int n = 0; n * TILE < task->count; n++) {
        load_queries(&pass.tile[n], w, g->a->d_o, task->first + n * TILE, head);
        make_delta(g, w, &pass.tile[n]);
    }
    for (int begin = a->window > 0 && task->first >= a->window ? (task->first - a->window + 1) / TILE * TILE : 0; begin < end; begin += TILE) {
        load_keys(w, begin, head / (a->n_head / a->n_kv_head));
        for (int n = 0; n * TILE < task->count; n++) {
            compare(w, &pass.tile[n], level);
            add_keys(pass.dq[n], w, &pass.tile[n], level);
        }
    }
    for (int n = 0; n * TILE < task->count; n++)
        store(w, g->a->dq, (int64_t)w->segment->q_begin + pass.tile[n].first, (int64_t)head * w->size, pass.dq[n], pass.tile[n].count, a->scale);
}

/* The last queries of a segment see most keys and come first, so that the threads finish close together. */
static int64_t list_queries(AttnTask *task, const void *args)
{
    const AttnArgs *a = &((const GradArgs *)args)->a->fwd;
    int64_t n = 0;

    for (int32_t s = 0; s < a->n_seg; s++) {
        const int32_t step = TASK_TILES * TILE, len = a->seg[s].q_len;

        for (int32_t first = (len + step - 1) / step * step - step; first >= 0; first -= step)
            for (int32_t head = 0; head < a->n_head; head++, n++)
                if (task != NULL)
                    task[n] = (AttnTask){s, first, (int32_t)simd_min(len - first, step), head, 0};
    }
    return n;
}

static void queries_generic(const void *args, const AttnTask *t, void *block) { pass_queries(args, t, block, CPU_GENERIC); }
TARGET_AVX2 static void queries_avx2(const void *args, const AttnTask *t, void *block) { pass_queries(args, t, block, CPU_AVX2); }
TARGET_AVX512 static void queries_avx512(const void *args, const AttnTask *t, void *block) { pass_queries(args, t, block, CPU_AVX512); }

/* ---- the pass over keys: dk and dv --------------------------------------------------------------------------------------- */

typedef struct KeyPass {
    GradWork w;
    GradTile tile;
    float *dk, *dv;
} KeyPass;

static size_t key_pass_carve(KeyPass *pass, char *block, const AttnArgs *a)
{
    size_t used = 0;

    pass->w = work_carve(block, &used, a);
    pass->tile = tile_carve(block, &used, pass->w.width);
    pass->dk = sums_carve(block, &used, pass->w.width);
    pass->dv = sums_carve(block, &used, pass->w.width);
    return used;
}

/* The task's rows are a block of keys. */
SIMD_INLINE void pass_keys(const GradArgs *g, const AttnTask *task, void *block, const CpuLevel level)
{
    const AttnArgs *a = &g->a->fwd;
    const AttnSegment *s = &a->seg[task->segment];
    const int group = a->n_head / a->n_kv_head, last = task->first + task->count - 1;
    const int end = a->window > 0 ? (int)simd_min(s->q_len, (int64_t)last + a->window) : s->q_len;
    const int64_t row = (int64_t)s->own_begin + task->first, col = (int64_t)task->kv_head * a->head_size;
    KeyPass pass;
    GradWork *w = &pass.w;
    GradTile *t = &pass.tile;

    key_pass_carve(&pass, block, a);
    w->segment = s;
    load_keys(w, task->first, task->kv_head);
    for (int first = task->first; first < end; first += TILE) {
        for (int h = 0; h < group; h++) {
            load_queries(t, w, g->a->d_o, first, task->kv_head * group + h);
            for (int i = 0; i < t->count; i++)
                t->delta[i] = g->delta[((int64_t)s->q_begin + first + i) * a->n_head + t->head];
            compare(w, t, level);
            add_queries(pass.dv, w, t, w->weight, t->d_o, level);
            add_queries(pass.dk, w, t, w->ds, t->q, level);
        }
    }
    store(w, g->a->dk, row, col, pass.dk, task->count, 1); /* the scale is in q */
    store(w, g->a->dv, row, col, pass.dv, task->count, 1);
}

/* The first keys are seen by most queries. */
static int64_t list_keys(AttnTask *task, const void *args)
{
    const AttnArgs *a = &((const GradArgs *)args)->a->fwd;
    int64_t n = 0;

    for (int32_t s = 0; s < a->n_seg; s++)
        for (int32_t first = 0; first < a->seg[s].q_len; first += TILE)
            for (int32_t head = 0; head < a->n_kv_head; head++, n++)
                if (task != NULL)
                    task[n] = (AttnTask){s, first, (int32_t)simd_min(a->seg[s].q_len - first, TILE), head, 0};
    return n;
}

static void keys_generic(const void *args, const AttnTask *t, void *block) { pass_keys(args, t, block, CPU_GENERIC); }
TARGET_AVX2 static void keys_avx2(const void *args, const AttnTask *t, void *block) { pass_keys(args, t, block, CPU_AVX2); }
TARGET_AVX512 static void keys_avx512(const void *args, const AttnTask *t, void *block) { pass_keys(args, t, block, CPU_AVX512); }

Status cpu_attn_grad(Device *dev, const AttnGradArgs *args)
{
    const AttnArgs *fwd = &args->fwd;
    GradArgs g = {.a = args};
    QueryPass query_pass;
    KeyPass key_pass;
    AttnPlan queries = {&g, list_queries, {queries_generic, queries_avx2, queries_avx512, queries_avx512}, query_pass_carve(&query_pass, NULL, fwd)};
    AttnPlan keys = {&g, list_keys, {keys_generic, keys_avx2, keys_avx512, keys_avx512}, key_pass_carve(&key_pass, NULL, fwd)};
    Status st;

    TRY(MEM_NEW(g.delta, (size_t)(fwd->q.rows * fwd->n_head)));
    st = attn_run(dev, &queries);
    if (st == LT_OK)
        st = attn_run(dev, &keys);
    mem_free(g.delta);
    return st;
}
