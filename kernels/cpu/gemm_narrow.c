#include "kernels/cpu/gemm_narrow.h"

#if CPU_X86
#include "kernels/cpu/simd.h"

#include <string.h>

/* A task does GEMM_TILE_COLS columns. ROWS: of x between two readings of W, so that the sums fit the stack. AHEAD: bytes. */
enum { ROWS = 64, AHEAD = 4096 };

/* One call, as the tasks see it. */
typedef struct NarrowRun {
    Device *dev;
    const GemmArgs *args;
    NarrowKind kind;
    const char *x; /* as words */
    size_t x_step;
    int64_t words;
    size_t turned_bytes; /* of one panel */
    const char *packed;  /* all panels, or NULL */
} NarrowRun;

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

static NarrowKind kind_of(CpuLevel level, DType dtype)
{
    return dtype == LT_F32 ? NARROW_F32 : dtype == LT_F16 ? NARROW_F16 : level >= CPU_AVX512_BF16 ? NARROW_PAIRS : NARROW_BF16;
}

/* Words of a row with k elements, whole blocks. */
static int64_t words_of(NarrowKind kind, int64_t k)
{
    const int64_t block = kind == NARROW_PAIRS ? 2 * NARROW_BLOCK : NARROW_BLOCK;

    return (k + block - 1) / block * NARROW_BLOCK;
}

static size_t panel_bytes(int64_t words) { return (size_t)words * NARROW_COLS * NARROW_WORD; }

bool gemm_narrow_takes(CpuLevel level, const GemmArgs *g)
{
    return level >= CPU_AVX512 && g->phase == GEMM_NARROW && g->op_a == GEMM_N && g->op_b == GEMM_T && g->a.dtype != LT_F64;
}

/* ---- x ---------------------------------------------------------------------------------------------------------------------- */

TARGET_AVX512 static void widen_rows(float *to, int64_t step, Tensor x)
{
    for (int64_t i = 0; i < x.rows; i++, to += step) {
        simd_widen(to, x, i, 0, x.cols);
        for (int64_t p = x.cols; p < step; p++)
            to[p] = 0;
    }
}

static void copy_pairs(uint16_t *to, int64_t step, Tensor x)
{
    for (int64_t i = 0; i < x.rows; i++, to += step) {
        memcpy(to, (const uint16_t *)x.data + i * x.stride, (size_t)x.cols * sizeof *to);
        memset(to + x.cols, 0, (size_t)(step - x.cols) * sizeof *to);
    }
}

/* x as it lies if its rows are whole blocks of words, else laid out before the tasks start: behind the first thread's panel. */
static Status lay_x(NarrowRun *r)
{
    const Tensor x = r->args->a;
    const size_t row = (size_t)r->words * NARROW_WORD, size = dtype_bytes(x.dtype);
    char *room;

    if ((r->kind == NARROW_F32 || r->kind == NARROW_PAIRS) && (size_t)x.cols * size == row) {
        r->x = x.data;
        r->x_step = (size_t)x.stride * size;
        return LT_OK;
    }
    room = cpu_scratch(r->dev, 0, r->turned_bytes + (size_t)x.rows * row);
    if (room == NULL)
        return LT_E_NOMEM;
    room += r->turned_bytes;
    if (r->kind == NARROW_PAIRS)
        copy_pairs((uint16_t *)(void *)room, 2 * r->words, x);
    else
        widen_rows((float *)(void *)room, r->words, x);
    r->x = room;
    r->x_step = row;
    return LT_OK;
}

/* ---- a task ----------------------------------------------------------------------------------------------------------------- */

/* The largest piece of rows that there is a kernel for. */
static int piece_of(int64_t rows)
{
    int piece = NARROW_ROWS;

    while (piece > rows)
        piece /= 2;
    return piece;
}

/* Columns j.. of W, where `last` is the first column that this task does not touch. */
static NarrowPanel panel_at(const NarrowRun *r, int64_t j, int64_t last)
{
    const Tensor w = r->args->b;
    const size_t step = (size_t)w.stride * dtype_bytes(w.dtype);

    return (NarrowPanel){
        .w = (const char *)w.data + (size_t)j * step,
        .w_step = step,
        .k = w.cols,
        .words = r->words,
        .cols = (int)min_of(NARROW_COLS, last - j),
        .is_followed = j + 2 * NARROW_COLS <= last,
    };
}

/* Rows i.. of y, one panel of columns. The first piece of rows turns the panel, unless it comes turned. */
static void multiply_panel(const NarrowRun *r, float *sums, int64_t i, int64_t rows, const NarrowPanel *panel, char *turned)
{
    const bool is_turned = r->packed != NULL;
    NarrowTask t = {.sums_stride = GEMM_TILE_COLS, .x_step = r->x_step, .panel = panel, .ahead = is_turned && i == 0 ? AHEAD : 0};

    for (int64_t at = 0; at < rows; at += t.rows, t.ahead = 0) {
        t.rows = piece_of(rows - at);
        t.sums = sums + at * GEMM_TILE_COLS;
        t.x = r->x + (size_t)(i + at) * r->x_step;
        t.turned = is_turned || rows > t.rows ? turned : NULL;
        if (is_turned || at > 0)
            narrow_multiply(r->kind, &t);
        else
            narrow_turn_multiply(r->kind, &t);
    }
}

static Status narrow_task(void *context, int64_t index, int thread)
{
    const NarrowRun *r = context;
    const GemmArgs *g = r->args;
    const int64_t from = index * GEMM_TILE_COLS, to = min_of(from + GEMM_TILE_COLS, g->c.cols);
    float sums[ROWS * GEMM_TILE_COLS] __attribute__((aligned(64)));
    char *turned = r->turned_bytes > 0 ? cpu_scratch(r->dev, thread, r->turned_bytes) : NULL;

    if (turned == NULL && r->turned_bytes > 0)
        return LT_E_NOMEM;
    for (int64_t i = 0; i < g->c.rows; i += ROWS) {
        const int64_t rows = min_of(ROWS, g->c.rows - i);

        for (int64_t j = from; j < to; j += NARROW_COLS) {
            const NarrowPanel panel = panel_at(r, j, to);

            /* Packed panels are only read. */
            multiply_panel(r, sums + (j - from), i, rows, &panel,
                           r->packed != NULL ? (char *)(uintptr_t)r->packed + (size_t)(j / NARROW_COLS) * panel_bytes(r->words) : turned);
        }
        gemm_finish(cpu_of(r->dev)->level, g, sums, GEMM_TILE_COLS, i, rows, from, to - from);
    }
    return LT_OK;
}

Status gemm_narrow(Device *dev, const GemmArgs *g)
{
    NarrowRun r = {.dev = dev, .args = g, .kind = kind_of(cpu_of(dev)->level, g->a.dtype)};

    r.words = words_of(r.kind, g->a.cols);
    r.packed = g->packed.data;
    r.turned_bytes = r.packed != NULL || g->a.rows == piece_of(g->a.rows) ? 0 : panel_bytes(r.words);
    TRY(lay_x(&r));
    return pool_run(dev->pool, (g->c.cols + GEMM_TILE_COLS - 1) / GEMM_TILE_COLS, narrow_task, &r);
}

/* ---- packing ---------------------------------------------------------------------------------------------------------------- */

size_t gemm_narrow_pack_bytes(CpuLevel level, Tensor w)
{
    const NarrowKind kind = kind_of(level, w.dtype);

    if (level < CPU_AVX512 || (kind != NARROW_F32 && kind != NARROW_PAIRS))
        return 0;
    return (size_t)((w.rows + NARROW_COLS - 1) / NARROW_COLS) * panel_bytes(words_of(kind, w.cols));
}

Status gemm_narrow_pack(Device *dev, Tensor packed, Tensor w)
{
    const GemmArgs args = {.b = w};
    NarrowRun r = {.dev = dev, .args = &args, .kind = kind_of(cpu_of(dev)->level, w.dtype)};

    r.words = words_of(r.kind, w.cols);
    for (int64_t j = 0; j < w.rows; j += NARROW_COLS) {
        const NarrowPanel panel = panel_at(&r, j, w.rows);

        narrow_turn(r.kind, &panel, (char *)packed.data + (size_t)(j / NARROW_COLS) * panel_bytes(r.words));
    }
    return LT_OK;
}
#endif
