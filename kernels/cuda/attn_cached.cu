/* Attention over paged keys and values. Two ways, chosen by q_len and the groups, with the same bits (attn_tile.h):
 *
 * - Few queries (decode), or a prefix that a group shares: a block computes one split of ATTN_SPLIT keys and leaves its triple in the workspace,
 *   and a last kernel joins each row's triples in ascending order. A group's prefix takes tiles of 64 rows (F32: 32) of all its segments, so that
 *   it is read once for 64 rows; what a segment has alone takes tiles of 16 rows (F32: 8) by one warp.
 * - Many queries without a shared prefix: a tile of 64 rows walks over all its keys, as in op_attn, without triples.
 *
 * Decode of a sequence with c keys behind its prefix: 2 c K D elements of keys, read once; 4 H D FLOPs a key, so `group` for each byte of BF16: bytes are the
 * bound. Triples, written and read: 8 H D (c / 256) bytes, group / 64 of the keys' bytes for BF16. They fill CUDA_WORKSPACE at most, unless
 * one query's do not fit; longer calls go in pieces.
 *
 * The one-warp block at D 32, 64, 128, 256: 117, 125, 164, 252 registers, no spills; 12, 21, 39, 75 KiB of shared memory, so 17, 10, 5, 3 blocks a
 * multiprocessor. At 128 that is 80 KiB of keys on their way, where 20 KiB would cover 800 ns of the memory; a warp needs about 3000 clocks for 64 keys, five
 * of them 54 bytes a clock, where the memory gives 15.
 * Expected: 80 to 85 % of the copy rate (3.0 TB/s on an H100) from 32 sequences of 2000 keys on; what falls short are the splits' beginnings
 * and the join. Prefill with a past: as op_attn.
 *
 * Recorded calls: q_len, the groups and the table's width lay out the work; past, q_begin, table_row and the pages are read on the device at
 * each replay. So the grid covers all splits of the table's width, and blocks behind a sequence's end leave at once. */
#include "kernels/cuda/attn_launch.h"

/* CACHED_FEW: rows of a segment up to which it is decoded split by split. */
enum { CACHED_LIST = 128, CACHED_FEW = 16, WIDE = 4 /* warps */, NARROW = 1, JOIN_WARPS = 4 };

/* Queries first.. of a segment; before it in the list are `start` queries and `tile` tiles. Its first `prefix` splits are shared by its run. */
typedef struct CachedEntry {
    int32_t segment, first, start, tile, prefix;
} CachedEntry;
/* Entries that share a prefix, from `entry` to the next run's; `tile`: tiles of prefixes before it. */
typedef struct CachedRun {
    int32_t entry, tile;
} CachedRun;
typedef struct CachedList {
    int32_t n_entry, n_run;
    CachedEntry entry[CACHED_LIST + 1]; /* one more each: where the last ends */
    CachedRun run[CACHED_LIST + 1];
} CachedList;
enum { ENTRY_WORDS = sizeof(CachedEntry) / sizeof(int32_t), RUN_WORDS = sizeof(CachedRun) / sizeof(int32_t) };

/* Triples lie at (query of the list * n_head + head) * n_split + split: state holds maximum and mass, sum as many columns as a head is padded to. */
typedef struct CachedCall {
    const int32_t *segment, *table;
    int64_t segment_stride, table_stride;
    float *state, *sum;
    int32_t n_head, n_split;
} CachedCall;

/* What a launch computes: splits from..from+n-1 of the runs' prefixes or of the entries' own keys, into triples; or all of the entries' keys. */
typedef enum CachedWay { CACHED_PREFIX, CACHED_OWN, CACHED_WHOLE } CachedWay;
typedef struct CachedGrid {
    CachedWay way;
    int32_t tiles, from, n;
} CachedGrid;
static_assert(sizeof(AttnProblem) + sizeof(CachedCall) + sizeof(CachedList) + sizeof(CachedGrid) <= 4096, "what a launch can carry");

/* ---- kernels ------------------------------------------------------------------------------------------------------------ */

__device__ __forceinline__ int entry_of(const CachedList &list, int e0, int e1, int query)
{
    return e0 + attn_find(&list.entry[e0].start, ENTRY_WORDS, e1 - e0, query);
}

/* Rows of the tile: queries of entries e0..e1-1, one after the other, with the heads of a kv head's group. */
template <typename T, int DP, int WARPS>
__device__ __forceinline__ void set_rows(AttnRow *to, const AttnProblem &p, const CachedCall &c, const CachedList &list, int e0, int e1, int tile,
                                         int kv_head)
{
    typedef AttnLayout<T, DP, WARPS> L;

    for (int r = threadIdx.x; r < L::ROWS; r += L::THREADS) {
        const int64_t at = (int64_t)tile * L::ROWS + r;
        const int64_t query = list.entry[e0].start + at / p.group;
        AttnRow *row = &to[r];

        row->query = -1;
        if (query < list.entry[e1].start) {
            const CachedEntry *e = &list.entry[entry_of(list, e0, e1, (int)query)];
            const int32_t *s = c.segment + e->segment * c.segment_stride;
            const int in_segment = e->first + (int)query - e->start;

            row->query = s[0] + in_segment;
            row->position = s[2] + in_segment;
            row->head = kv_head * p.group + (int)(at % p.group);
            row->slot = (int)query;
        }
    }
}

/* The only split so far of each row of the tile. */
template <typename T, int DP>
__device__ __forceinline__ void store_triples(const AttnState<T, DP> &s, const AttnShared<T> &m, const CachedCall &c, int split)
{
    typedef AttnState<T, DP> S;

    UNROLL
    for (int h = 0; h < S::ROWS; h++) {
        const AttnRow row = m.row[attn_row<T>(h)];
        const float mass = attn_row_sum<T>(s.mass[h]);
        const int64_t at = ((int64_t)row.slot * c.n_head + row.head) * c.n_split + split;
        float *sum = c.sum + at * DP + attn_item<T>(0);

        if (row.query < 0)
            continue;
        if (attn_item<T>(0) == 0) {
            c.state[2 * at] = s.max[h];
            c.state[2 * at + 1] = mass;
        }
        UNROLL
        for (int i = 0; i < S::COLS; i++)
            sum[attn_item<T>(i) - attn_item<T>(0)] = s.sum[h][i];
    }
}

template <typename T, int DP, int WARPS>
__global__ void __launch_bounds__(AttnLayout<T, DP, WARPS>::THREADS) cached_kernel(AttnProblem p, CachedCall c, CachedList list, CachedGrid grid)
{
    SHARED_DYN(char, base);
    const AttnShared<T> m = attn_carve<T, DP, WARPS>(base);
    const int split = grid.from + blockIdx.x % grid.n, kv_head = blockIdx.x / grid.n % p.n_kv_head, tile = blockIdx.x / grid.n / p.n_kv_head;
    int e0, e1, before;
    AttnState<T, DP> state;

    if (grid.way == CACHED_PREFIX) {
        const int run = attn_find(&list.run[0].tile, RUN_WORDS, list.n_run, tile);

        e0 = list.run[run].entry;
        e1 = list.run[run + 1].entry;
        before = list.run[run].tile;
    } else {
        e0 = attn_find(&list.entry[0].tile, ENTRY_WORDS, list.n_entry, tile);
        e1 = e0 + 1;
        before = list.entry[e0].tile;
    }
    if (grid.way == CACHED_PREFIX ? split >= list.entry[e0].prefix : split < list.entry[e0].prefix)
        return;
    set_rows<T, DP, WARPS>(m.row, p, c, list, e0, e1, tile - before, kv_head);
    p.k = (const T *)p.k + (int64_t)kv_head * p.head_size;
    p.v = (const T *)p.v + (int64_t)kv_head * p.head_size;
    __syncthreads();
    attn_begin<T, DP, WARPS>(state, m);

    const int first = attn_first(state.low, p.window) / ATTN_BLOCK * ATTN_BLOCK, behind = state.high + 1;
    const int from = grid.way == CACHED_WHOLE ? first : max(first, split * ATTN_SPLIT);
    const int to = grid.way == CACHED_WHOLE ? behind : min(behind, (split + 1) * ATTN_SPLIT);
    const int32_t table_row = c.segment[list.entry[e0].segment * c.segment_stride + 3];

    if (from >= to)
        return;
    attn_load_queries<T, DP, WARPS>(m, p);
    attn_walk<T, DP, WARPS, false>(state, m, p, {c.table + table_row * c.table_stride, 0, 0, 0}, from, to,
                                   grid.way == CACHED_WHOLE ? ATTN_JOIN : ATTN_KEEP);
    if (grid.way == CACHED_WHOLE)
        attn_store<T, DP, WARPS>(state, m, p);
    else
        store_triples<T, DP>(state, m, c, split);
}

/* A warp joins the triples of a row, of the splits that the row sees. */
template <typename T, int DP> __global__ void __launch_bounds__(JOIN_WARPS *WARP) cached_join_kernel(AttnProblem p, CachedCall c, CachedList list)
{
    const int lane = threadIdx.x % WARP;
    const int64_t at = (int64_t)blockIdx.x * JOIN_WARPS + threadIdx.x / WARP;
    const int query = (int)(at / c.n_head), head = (int)(at % c.n_head);
    float max = -INFINITY, mass = 0, sum[DP / WARP] = {};

    if (query >= list.entry[list.n_entry].start)
        return;
    const CachedEntry *e = &list.entry[entry_of(list, 0, list.n_entry, query)];
    const int32_t *s = c.segment + e->segment * c.segment_stride;
    const int in_segment = e->first + query - e->start, position = s[2] + in_segment;

    for (int split = attn_first(position, p.window) / ATTN_SPLIT; split <= position / ATTN_SPLIT; split++) {
        const float *state = c.state + 2 * (at * c.n_split + split), *part = c.sum + (at * c.n_split + split) * DP;
        const AttnJoin j = attn_join(max, state[0]);

        max = j.max;
        mass = attn_joined(j, mass, state[1]);
        UNROLL
        for (int i = 0; i < DP / WARP; i++)
            if (lane + i * WARP < p.head_size)
                sum[i] = attn_joined(j, sum[i], part[lane + i * WARP]);
    }
    const float inverse = 1.0f / mass;
    T *o = (T *)p.o + (s[0] + in_segment) * p.o_stride + (int64_t)head * p.head_size;

    UNROLL
    for (int i = 0; i < DP / WARP; i++)
        if (lane + i * WARP < p.head_size)
            from_f32(&o[lane + i * WARP], sum[i] * inverse);
}

/* ---- launches ----------------------------------------------------------------------------------------------------------- */

typedef struct CachedPlan {
    Device *dev;
    const AttnCachedArgs *args;
    AttnProblem problem;
    CachedCall call;
    int64_t query_bytes, room; /* of the triples of one query, and how many queries' fit the workspace */
    CachedList few, many;
} CachedPlan;

template <typename T, int DP, int WARPS> static Status launch(const CachedPlan *plan, const CachedList *list, CachedGrid grid)
{
    typedef AttnLayout<T, DP, WARPS> L;
    const int64_t blocks = (int64_t)grid.tiles * grid.n * plan->args->n_kv_head;
    const size_t bytes = grid.way == CACHED_WHOLE ? L::BYTES : L::SPLIT_BYTES;

    if (blocks == 0)
        return LT_OK;
    TRY(cuda_allow_shared(plan->dev, (const void *)cached_kernel<T, DP, WARPS>, bytes, "attn_cached"));
    LAUNCH((cached_kernel<T, DP, WARPS>), (unsigned)blocks, L::THREADS, bytes, cuda_of(plan->dev)->stream, plan->problem, plan->call, *list, grid);
    return cuda_launched("attn_cached");
}

template <typename T, int DP> static Status launch_join(const CachedPlan *plan, const CachedList *list)
{
    const int64_t rows = (int64_t)list->entry[list->n_entry].start * plan->call.n_head;

    LAUNCH((cached_join_kernel<T, DP>), cuda_blocks(rows, JOIN_WARPS), JOIN_WARPS * WARP, 0, cuda_of(plan->dev)->stream, plan->problem, plan->call,
           *list);
    return cuda_launched("attn_cached");
}

static int32_t tiles_of(int64_t n_query, const CachedPlan *plan, int warps)
{
    const int64_t rows = attn_tile_rows(plan->args->q.dtype, warps);

    return (int32_t)((n_query * plan->problem.group + rows - 1) / rows);
}

/* Counts the tiles before each entry, of `warps` warps, and before each run. */
static void count_tiles(CachedList *list, const CachedPlan *plan, int warps)
{
    list->run[list->n_run].entry = list->n_entry;
    for (int32_t e = 0; e < list->n_entry; e++)
        list->entry[e + 1].tile = list->entry[e].tile + tiles_of(list->entry[e + 1].start - list->entry[e].start, plan, warps);
    for (int32_t r = 0; r < list->n_run; r++) {
        const CachedEntry *from = &list->entry[list->run[r].entry], *to = &list->entry[list->run[r + 1].entry];

        list->run[r + 1].tile = list->run[r].tile + (from->prefix > 0 ? tiles_of(to->start - from->start, plan, WIDE) : 0);
    }
}

static Status flush_many(CachedPlan *plan)
{
    CachedList *list = &plan->many;
    CachedGrid grid = {CACHED_WHOLE, 0, 0, 1};

    if (list->n_entry == 0)
        return LT_OK;
    count_tiles(list, plan, WIDE);
    grid.tiles = list->entry[list->n_entry].tile;
    WITH_FLOAT(plan->args->q.dtype, T, WITH_HEAD(plan->args->head_size, DP, TRY((launch<T, DP, WIDE>(plan, list, grid)))));
    list->n_entry = list->n_run = 0;
    return LT_OK;
}

static Status flush_few(CachedPlan *plan)
{
    CachedList *list = &plan->few;
    const int64_t n_query = list->entry[list->n_entry].start, triples = n_query * plan->call.n_head * plan->call.n_split;
    CachedGrid prefix = {CACHED_PREFIX, 0, 0, 0}, own = {CACHED_OWN, 0, plan->call.n_split, 0};
    void *block;

    if (list->n_entry == 0)
        return LT_OK;
    TRY(cuda_workspace(plan->dev, (size_t)(n_query * plan->query_bytes), &block));
    plan->call.state = (float *)block;
    plan->call.sum = plan->call.state + 2 * triples;
    count_tiles(list, plan, NARROW);
    for (int32_t e = 0; e < list->n_entry; e++) {
        prefix.n = list->entry[e].prefix > prefix.n ? list->entry[e].prefix : prefix.n;
        own.from = list->entry[e].prefix < own.from ? list->entry[e].prefix : own.from;
    }
    prefix.tiles = list->run[list->n_run].tile;
    own.tiles = list->entry[list->n_entry].tile;
    own.n = plan->call.n_split - own.from;
    WITH_FLOAT(plan->args->q.dtype, T, WITH_HEAD(plan->args->head_size, DP, {
                   TRY((launch<T, DP, WIDE>(plan, list, prefix)));
                   TRY((launch<T, DP, NARROW>(plan, list, own)));
                   TRY((launch_join<T, DP>(plan, list)));
               }));
    list->n_entry = list->n_run = 0;
    return LT_OK;
}

static void append(CachedList *list, int32_t segment, int32_t first, int32_t n, int32_t prefix)
{
    CachedEntry *e = &list->entry[list->n_entry++];

    e->segment = segment;
    e->first = first;
    e->prefix = prefix;
    e[1].start = e->start + n;
}

/* Cut where the list is full or its triples are. A run that is cut goes on as another with the same prefix. */
static Status add_few(CachedPlan *plan, int32_t segment, int32_t prefix, bool opens_run)
{
    CachedList *list = &plan->few;
    const int32_t q_len = plan->args->seg[segment].q_len;

    for (int32_t first = 0, n; first < q_len; first += n) {
        if (list->n_entry == CACHED_LIST || list->entry[list->n_entry].start >= plan->room)
            TRY(flush_few(plan));
        const int64_t room = plan->room - list->entry[list->n_entry].start;

        if (opens_run || list->n_entry == 0)
            list->run[list->n_run++].entry = list->n_entry;
        opens_run = false;
        n = (int32_t)(q_len - first < room ? q_len - first : room);
        append(list, segment, first, n, prefix);
    }
    return LT_OK;
}

static Status add_many(CachedPlan *plan, int32_t segment)
{
    if (plan->many.n_entry == CACHED_LIST)
        TRY(flush_many(plan));
    append(&plan->many, segment, 0, plan->args->seg[segment].q_len, 0);
    return LT_OK;
}

static CachedPlan plan_of(Device *dev, const AttnCachedArgs *a)
{
    const AttnCommon common = {a->o, a->q, a->k_pages, a->v_pages, a->n_head, a->n_kv_head, a->head_size, a->window, a->scale};
    CachedPlan plan = {};
    int width = 0;

    plan.dev = dev;
    plan.args = a;
    plan.problem = attn_problem(&common);
    plan.call.segment = (const int32_t *)a->seg_dev.data;
    plan.call.segment_stride = a->seg_dev.stride;
    plan.call.table = (const int32_t *)a->table.data;
    plan.call.table_stride = a->table.stride;
    plan.call.n_head = a->n_head;
    plan.call.n_split = (int32_t)((a->table.cols * KV_PAGE + ATTN_SPLIT - 1) / ATTN_SPLIT);
    WITH_HEAD(a->head_size, DP, width = DP);
    plan.query_bytes = (int64_t)plan.call.n_split * a->n_head * (width + 2) * (int64_t)sizeof(float);
    plan.room = CUDA_WORKSPACE > plan.query_bytes ? CUDA_WORKSPACE / plan.query_bytes : 1;
    return plan;
}

extern "C" Status cuda_attn_cached(Device *dev, const AttnCachedArgs *args)
{
    CachedPlan plan = plan_of(dev, args);
    int32_t g = 0, open = -1; /* the group whose run is open */

    for (int32_t s = 0; s < args->n_seg; s++) {
        while (g < args->n_group && s >= args->group[g].first + args->group[g].count)
            g++;
        const bool grouped = g < args->n_group && s >= args->group[g].first && args->group[g].prefix_len > 0;

        if (args->seg[s].q_len == 0)
            continue;
        if (!grouped && (int64_t)args->seg[s].q_len * plan.problem.group > CACHED_FEW)
            TRY(add_many(&plan, s));
        else
            TRY(add_few(&plan, s, grouped ? args->group[g].prefix_len / ATTN_SPLIT : 0, !grouped || open != g));
        open = grouped ? g : -1;
    }
    TRY(flush_few(&plan));
    return flush_many(&plan);
}
