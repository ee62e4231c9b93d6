#include "kernels/cpu/gemm.h"

#include "core/mem.h"
#include "kernels/cpu/gemm_micro.h"
#include "kernels/cpu/gemm_narrow.h"
#include "kernels/cpu/gemm_onednn.h"

#include <string.h>

/* Rows of a oneDNN tile: it lays out B anew for every call, which 256 rows pay for (98 % of its best speed; 64 rows: 92 %). */
enum { WIDE_ROWS = 256, TAIL_STEP = 16 };
/* The last rows are done in two pieces, a multiple of 16 and the 16 to 31 that are left: 46 plans per column tile serve any m, where
 * plans for every remainder would be 255. A piece of a few rows would hardly pay for its copy of B. */
enum { PIECE_WHOLE, PIECE_STEPS, PIECE_REST, PIECES };
enum { COLS_WHOLE, COLS_REST, COLS };

/* Which rows of A a thread's scratch memory holds. */
typedef struct ThreadRows {
    int64_t block;
    char apart[64 - sizeof(int64_t)];
} ThreadRows;

struct GemmState {
    OneDnn *lib; /* NULL: not used at this level */
    ThreadRows *held; /* [n_thread] */
};

/* One call, as the tasks see it. */
typedef struct GemmRun {
    Device *dev;
    const GemmArgs *args;
    GemmSide a, b;
    int64_t m, n, k;
    int64_t tile_rows, col_tiles, row_tiles;
    GemmState *state;
    const MicroLevel *micro;           /* one engine or the other */
    OneDnnPlan *plan[PIECES][COLS];
    size_t a_bytes, b_bytes, sums_bytes, scratch_bytes; /* parts of a thread's scratch memory */
} GemmRun;

Status gemm_open(GemmState **out, CpuLevel level, int n_thread)
{
    GemmState *state;
    Status st;

    TRY(MEM_NEW(state, 1));
    TRY_GOTO(MEM_NEW(state->held, (size_t)n_thread), st, fail);
    TRY_GOTO(onednn_open(&state->lib, level, n_thread), st, fail);
    *out = state;
    return LT_OK;
fail:
    gemm_close(state);
    return st;
}

void gemm_close(GemmState *state)
{
    if (state == NULL)
        return;
    onednn_close(state->lib);
    mem_free(state->held);
    mem_free(state);
}

void gemm_library_name(char *out, size_t bytes) { onednn_name(out, bytes); }

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* ---- oneDNN: dense operands ------------------------------------------------------------------------------------------------- */

static bool side_is_dense(const GemmSide *s) { return s->k_contiguous && s->stride == s->k; }

/* Rows of `row_bytes` bytes, one behind the other. */
static void copy_dense(char *to, const char *from, size_t from_step, size_t row_bytes, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + (size_t)i * row_bytes, from + (size_t)i * from_step, row_bytes);
}

/* Rows [from, from + rows) of A as [rows][k]. A transposed A is turned here, once for all column tiles, since the library would do it
 * for each of them. */
static void lay_dense_rows(char *to, const GemmSide *a, int64_t from, int64_t rows)
{
    const size_t size = dtype_bytes(a->dtype);

    if (a->k_contiguous)
        copy_dense(to, gemm_side_at(a, from), (size_t)a->stride * size, (size_t)a->k * size, rows);
    else
        gemm_transpose(to, gemm_side_at(a, from), a->stride, size, a->k, rows);
}

/* Columns [from, from + cols) of B as the library takes them: in place if they are dense, else copied. */
static const char *dense_cols(const GemmSide *b, int64_t from, int64_t cols, char *room)
{
    const size_t size = dtype_bytes(b->dtype), step = (size_t)b->stride * size;
    const char *at = gemm_side_at(b, from);

    if (b->stride == (b->k_contiguous ? b->k : cols))
        return at;
    if (b->k_contiguous)
        copy_dense(room, at, step, (size_t)b->k * size, cols);
    else
        copy_dense(room, at, step, (size_t)cols * size, b->k);
    return room;
}

/* The rows of a tile's first piece; the others are its rest. */
static int64_t rows_in_steps(int64_t rows) { return rows % TAIL_STEP == 0 ? rows : rows < 2 * TAIL_STEP ? 0 : (rows / TAIL_STEP - 1) * TAIL_STEP; }

static Status multiply_onednn(const GemmRun *r, int thread, float *sums, const char *a, int64_t rows, const char *b, int64_t cols, void *scratch)
{
    const int col = cols == GEMM_TILE_COLS ? COLS_WHOLE : COLS_REST;
    const int64_t steps = rows_in_steps(rows);

    if (rows == WIDE_ROWS)
        return onednn_run(r->state->lib, r->plan[PIECE_WHOLE][col], thread, sums, a, b, scratch);
    if (steps > 0)
        TRY(onednn_run(r->state->lib, r->plan[PIECE_STEPS][col], thread, sums, a, b, scratch));
    if (rows > steps)
        TRY(onednn_run(r->state->lib, r->plan[PIECE_REST][col], thread, sums + steps * cols, a + (size_t)(steps * r->k) * dtype_bytes(r->a.dtype), b,
                       scratch));
    return LT_OK;
}

/* Whether the library takes this product is asked for the whole tile, so the answer, and with it the order of the sums, does not
 * depend on m. */
static Status plan_columns(GemmRun *r, int64_t cols, int col, bool *taken)
{
    const int64_t tail = r->m % WIDE_ROWS, steps = rows_in_steps(tail), rows[PIECES] = {WIDE_ROWS, steps, tail - steps};
    OneDnnKey key = {.m = WIDE_ROWS, .n = cols, .k = r->k, .dtype = r->a.dtype, .b_k_contiguous = r->b.k_contiguous, .n_thread = 1};

    TRY(onednn_plan(r->state->lib, &key, &r->plan[PIECE_WHOLE][col]));
    *taken = r->plan[PIECE_WHOLE][col] != NULL;
    for (int p = PIECE_STEPS; p < PIECES && *taken; p++) {
        if (rows[p] == 0)
            continue;
        key.m = rows[p];
        TRY(onednn_plan(r->state->lib, &key, &r->plan[p][col]));
        if (r->plan[p][col] == NULL)
            return FAIL(LT_E_DEVICE, "gemm: the library has a kernel for %d rows and none for %lld (n %lld, k %lld)", WIDE_ROWS, (long long)rows[p],
                        (long long)r->n, (long long)r->k);
    }
    return LT_OK;
}

static Status plan_onednn(GemmRun *r, bool *taken)
{
    const int64_t rest = r->n % GEMM_TILE_COLS;
    const size_t size = dtype_bytes(r->a.dtype);

    *taken = false;
    if (r->state->lib == NULL || (r->a.dtype == LT_BF16 && cpu_of(r->dev)->level < CPU_AVX512_BF16) || r->a.dtype == LT_F16)
        return LT_OK;
    if (r->n >= GEMM_TILE_COLS)
        TRY(plan_columns(r, GEMM_TILE_COLS, COLS_WHOLE, taken));
    if (rest > 0 && (*taken || r->n < GEMM_TILE_COLS))
        TRY(plan_columns(r, rest, COLS_REST, taken));
    if (!*taken)
        return LT_OK;
    r->tile_rows = WIDE_ROWS;
    r->a_bytes = side_is_dense(&r->a) ? 0 : (size_t)min_of(WIDE_ROWS, r->m) * (size_t)r->k * size;
    r->b_bytes = (size_t)r->k * GEMM_TILE_COLS * size;
    r->sums_bytes = (size_t)min_of(WIDE_ROWS, r->m) * GEMM_TILE_COLS * sizeof(float);
    for (int p = 0; p < PIECES; p++)
        for (int c = 0; c < COLS; c++)
            if (r->plan[p][c] != NULL && onednn_scratch_bytes(r->plan[p][c]) > r->scratch_bytes)
                r->scratch_bytes = onednn_scratch_bytes(r->plan[p][c]);
    return LT_OK;
}

static void plan_micro(GemmRun *r)
{
    r->micro = micro_level(cpu_of(r->dev)->level);
    r->tile_rows = MICRO_ROWS;
    r->a_bytes = micro_a_bytes(r->micro, r->m, r->k);
    r->b_bytes = micro_b_bytes();
    r->sums_bytes = (size_t)MICRO_ROWS * GEMM_TILE_COLS * sizeof(float);
}

/* ---- a tile ----------------------------------------------------------------------------------------------------------------- */

/* Column tiles of the same rows follow one another, so a thread mostly finds its rows of A laid out already. */
static Status gemm_tile(void *context, int64_t index, int thread)
{
    const GemmRun *r = context;
    const int64_t block = index / r->col_tiles, i = block * r->tile_rows, j = index % r->col_tiles * GEMM_TILE_COLS;
    const int64_t rows = min_of(r->tile_rows, r->m - i), cols = min_of(GEMM_TILE_COLS, r->n - j);
    char *a = cpu_scratch(r->dev, thread, r->a_bytes + r->b_bytes + r->sums_bytes + r->scratch_bytes);
    ThreadRows *held = &r->state->held[thread];
    const bool is_new = held->block != block;

    if (a == NULL)
        return LT_E_NOMEM;
    char *b = a + r->a_bytes, *sums = b + r->b_bytes, *scratch = sums + r->sums_bytes;
    held->block = block;
    if (r->micro != NULL) {
        if (is_new)
            micro_pack_rows(r->micro, (float *)a, &r->a, i, rows, cpu_of(r->dev)->n_thread);
        micro_multiply(r->micro, (float *)sums, (float *)a, rows, &r->b, j, cols, (float *)b, cpu_of(r->dev)->n_thread);
        gemm_finish(cpu_of(r->dev)->level, r->args, (float *)sums, GEMM_TILE_COLS, i, rows, j, cols);
        return LT_OK;
    }
    if (is_new && r->a_bytes > 0)
        lay_dense_rows(a, &r->a, i, rows);
    TRY(multiply_onednn(r, thread, (float *)sums, r->a_bytes > 0 ? a : gemm_side_at(&r->a, i), rows, dense_cols(&r->b, j, cols, b), cols, scratch));
    gemm_finish(cpu_of(r->dev)->level, r->args, (float *)sums, cols, i, rows, j, cols);
    return LT_OK;
}

Status cpu_gemm(Device *dev, const GemmArgs *g)
{
    GemmRun r = {
        .dev = dev,
        .args = g,
        .m = g->c.rows,
        .n = g->c.cols,
        .k = g->op_a == GEMM_N ? g->a.cols : g->a.rows,
        .state = cpu_of(dev)->gemm,
    };
    bool taken = false;

    if (g->a.dtype == LT_F64)
        return gemm_f64(dev, g);
#if CPU_X86
    if (gemm_narrow_takes(cpu_of(dev)->level, g))
        return gemm_narrow(dev, g);
#endif
    r.a = (GemmSide){g->a.data, g->a.dtype, r.m, r.k, g->a.stride, g->op_a == GEMM_N};
    r.b = (GemmSide){g->b.data, g->b.dtype, r.n, r.k, g->b.stride, g->op_b == GEMM_T};
    TRY(plan_onednn(&r, &taken));
#ifdef LETHE_CANARY_SPLIT_K
    taken = false; /* the planted mistake is in our kernels */
#endif
    if (!taken)
        plan_micro(&r);
    r.a_bytes = round_up(r.a_bytes, 64);
    r.b_bytes = round_up(r.b_bytes, 64);
    r.sums_bytes = round_up(r.sums_bytes, 64);
    r.col_tiles = (r.n + GEMM_TILE_COLS - 1) / GEMM_TILE_COLS;
    r.row_tiles = (r.m + r.tile_rows - 1) / r.tile_rows;
    for (int i = 0; i < cpu_of(dev)->n_thread; i++)
        r.state->held[i].block = -1;
    return pool_run(dev->pool, r.row_tiles * r.col_tiles, gemm_tile, &r);
}

#if CPU_X86
size_t cpu_gemm_pack_bytes(Device *dev, Tensor w, GemmClass phase)
{
    return phase == GEMM_NARROW ? gemm_narrow_pack_bytes(cpu_of(dev)->level, w) : 0;
}

Status cpu_gemm_pack(Device *dev, Tensor packed, Tensor w, GemmClass phase)
{
    (void)phase; /* the only one with a size */
    return gemm_narrow_pack(dev, packed, w);
}
#endif
