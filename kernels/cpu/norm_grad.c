/* Gradient of RMSNorm. With h = x rstd and g = dy w, per group of n columns: dx = rstd (g - h mean(g h)), dw = sum over rows of dy h.
 * Rows and columns are shared out in turn, dw first, since dx may take the place of dy: 20 to 28 bytes an element in F32. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

typedef struct NormGradArgs {
    Tensor dx, dw, dy, x, w, rstd;
    bool add;
} NormGradArgs;

SIMD_INLINE float rstd_of(const NormGradArgs *a, int64_t row, int64_t group)
{
    return ((const float *)a->rstd.data)[row * a->rstd.stride + group];
}

/* ---- dw: in blocks of rows, groups of a row in order, block sums in ascending order --------------------------------------- */

enum { COLS = 64, ROWS = 64 }; /* columns of a piece, rows of a block */

/* sum[j] += dy h for all groups of one row. */
SIMD_INLINE void add_row(float *restrict sum, const NormGradArgs *a, int64_t row, int64_t at, int64_t len)
{
    const int64_t n = a->w.cols;
    float x[COLS], dy[COLS];

    for (int64_t group = 0; group < a->x.cols / n; group++) {
        const float rstd = rstd_of(a, row, group);

        simd_widen(x, a->x, row, group * n + at, len);
        simd_widen(dy, a->dy, row, group * n + at, len);
        for (int64_t j = 0; j < len; j++)
            sum[j] += dy[j] * (x[j] * rstd);
    }
}

SIMD_INLINE void dw_pieces(const void *context, int64_t from, int64_t to)
{
    const NormGradArgs *a = context;

    for (int64_t piece = from; piece < to; piece++) {
        const int64_t at = piece * COLS, len = simd_min(a->w.cols - at, COLS);
        float *dw = (float *)a->dw.data + at, all[COLS] = {0};

        for (int64_t block = 0; block < a->x.rows; block += ROWS) {
            float sum[COLS] = {0};

            for (int64_t row = block; row < simd_min(block + ROWS, a->x.rows); row++)
                add_row(sum, a, row, at, len);
            for (int64_t j = 0; j < len; j++)
                all[j] += sum[j];
        }
        for (int64_t j = 0; j < len; j++)
            dw[j] += all[j];
    }
}

static void dw_generic(const void *args, int64_t from, int64_t to) { dw_pieces(args, from, to); }
TARGET_AVX2 static void dw_avx2(const void *args, int64_t from, int64_t to) { dw_pieces(args, from, to); }
TARGET_AVX512 static void dw_avx512(const void *args, int64_t from, int64_t to) { dw_pieces(args, from, to); }
static const RowsBody dw_body[CPU_LEVELS] = {dw_generic, dw_avx2, dw_avx512, dw_avx512};

/* ---- dx ------------------------------------------------------------------------------------------------------------------ */

/* h and g of one piece of a group, zeros behind them up to whole lanes. */
SIMD_INLINE void load_piece(float *restrict h, float *restrict g, const NormGradArgs *a, int64_t row, int64_t group, int64_t at, int64_t len)
{
    const int64_t col = group * a->w.cols + at, padded = (len + SIMD_LANES - 1) / SIMD_LANES * SIMD_LANES;
    const float rstd = rstd_of(a, row, group);
    float w[SIMD_CHUNK];

    simd_widen(h, a->x, row, col, len);
    simd_widen(g, a->dy, row, col, len);
    simd_widen(w, a->w, 0, at, len);
    for (int64_t i = 0; i < len; i++) {
        h[i] *= rstd;
        g[i] *= w[i];
    }
    for (int64_t i = len; i < padded; i++)
        h[i] = g[i] = 0;
}

/* mean(g h), lane by lane. */
SIMD_INLINE float mean_of_products(const NormGradArgs *a, int64_t row, int64_t group)
{
    float h[SIMD_CHUNK], g[SIMD_CHUNK];
    SimdF32 sum[2] = {{0}, {0}}, u[2], v[2];

    for (int64_t at = 0; at < a->w.cols; at += SIMD_CHUNK) {
        const int64_t len = simd_min(a->w.cols - at, SIMD_CHUNK);

        load_piece(h, g, a, row, group, at, len);
        for (int64_t i = 0; i < len; i += SIMD_LANES) {
            simd_load(u, h + i);
            simd_load(v, g + i);
            sum[0] += u[0] * v[0];
            sum[1] += u[1] * v[1];
        }
    }
    return simd_sum(sum) / (float)a->w.cols;
}

SIMD_INLINE void dx_group(const NormGradArgs *a, int64_t row, int64_t group)
{
    const float rstd = rstd_of(a, row, group), mean = mean_of_products(a, row, group);
    float h[SIMD_CHUNK], g[SIMD_CHUNK], before[SIMD_CHUNK];

    for (int64_t at = 0; at < a->w.cols; at += SIMD_CHUNK) {
        const int64_t len = simd_min(a->w.cols - at, SIMD_CHUNK), col = group * a->w.cols + at;

        load_piece(h, g, a, row, group, at, len);
        for (int64_t i = 0; i < len; i++)
            g[i] = rstd * (g[i] - h[i] * mean);
        if (a->add) {
            simd_widen(before, a->dx, row, col, len);
            for (int64_t i = 0; i < len; i++)
                g[i] += before[i];
        }
        simd_narrow(a->dx, row, col, g, len);
    }
}

SIMD_INLINE void dx_rows(const void *context, int64_t from, int64_t to)
{
    const NormGradArgs *a = context;

    for (int64_t row = from; row < to; row++)
        for (int64_t group = 0; group < a->x.cols / a->w.cols; group++)
            dx_group(a, row, group);
}

static void dx_generic(const void *args, int64_t from, int64_t to) { dx_rows(args, from, to); }
TARGET_AVX2 static void dx_avx2(const void *args, int64_t from, int64_t to) { dx_rows(args, from, to); }
TARGET_AVX512 static void dx_avx512(const void *args, int64_t from, int64_t to) { dx_rows(args, from, to); }
static const RowsBody dx_body[CPU_LEVELS] = {dx_generic, dx_avx2, dx_avx512, dx_avx512};

Status cpu_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta)
{
    const NormGradArgs args = {dx, dw, dy, x, w, rstd, beta != 0.0f};

    if (tensor_is_set(dw))
        TRY(rows_run(dev, dw_body, &args, (w.cols + COLS - 1) / COLS, x.rows * (x.cols / w.cols) * COLS));
    return rows_run(dev, dx_body, &args, x.rows, 2 * x.cols);
}
