#include "kernels/cpu/gemm.h"

#include <string.h>

/* F64 serves the spectra. B is laid out in blocks of k, a row of C is summed 64 columns at a time: one chain per element, in ascending
 * k, multiplied and added in two roundings at every level. */
enum { ROWS = 64, COLS = 64, BLOCK_K = 128 };

typedef struct Run {
    Device *dev;
    const GemmArgs *g;
    int64_t m, n, k, col_tiles;
} Run;

#define INLINE static inline __attribute__((always_inline))

/* to[k][COLS] = columns j.. of op(B), rows k0.., zeros behind the last column */
static void lay_b(double *to, const GemmArgs *g, int64_t j, int64_t cols, int64_t k0, int64_t k)
{
    const double *b = g->b.data;

    for (int64_t p = 0; p < k; p++)
        for (int64_t c = 0; c < COLS; c++)
            to[p * COLS + c] = c >= cols ? 0.0 : g->op_b == GEMM_N ? b[(k0 + p) * g->b.stride + j + c] : b[(j + c) * g->b.stride + k0 + p];
}

/* sum[COLS] += a[0..k) b, a's elements a_step apart */
INLINE void add_products(double *restrict sum, const double *a, int64_t a_step, const double *restrict b, int64_t k)
{
    for (int64_t p = 0; p < k; p++)
        for (int c = 0; c < COLS; c++)
            sum[c] += a[p * a_step] * b[p * COLS + c];
}

static void add_products_generic(double *sum, const double *a, int64_t a_step, const double *b, int64_t k) { add_products(sum, a, a_step, b, k); }
TARGET_AVX2 static void add_products_avx2(double *sum, const double *a, int64_t a_step, const double *b, int64_t k)
{
    add_products(sum, a, a_step, b, k);
}
TARGET_AVX512 static void add_products_avx512(double *sum, const double *a, int64_t a_step, const double *b, int64_t k)
{
    add_products(sum, a, a_step, b, k);
}

static void finish_row(const GemmArgs *g, int64_t i, int64_t j, int64_t cols, const double *sum)
{
    double *c = (double *)g->c.data + i * g->c.stride + j;
    const double *bias = tensor_is_set(g->bias) ? (const double *)g->bias.data + j : NULL;

    for (int64_t x = 0; x < cols; x++)
        c[x] = (double)g->alpha * sum[x] + (g->beta != 0.0f ? c[x] : 0.0) + (bias != NULL ? bias[x] : 0.0);
}

static Status tile(void *context, int64_t index, int thread)
{
    const Run *r = context;
    const GemmArgs *g = r->g;
    const CpuLevel level = cpu_of(r->dev)->level;
    const int64_t i0 = index / r->col_tiles * ROWS, j = index % r->col_tiles * COLS;
    const int64_t rows = r->m - i0 < ROWS ? r->m - i0 : ROWS, cols = r->n - j < COLS ? r->n - j : COLS;
    const int64_t row_step = g->op_a == GEMM_N ? g->a.stride : 1, k_step = g->op_a == GEMM_N ? 1 : g->a.stride;
    double *b = cpu_scratch(r->dev, thread, (BLOCK_K + ROWS) * COLS * sizeof *b), *sums;

    if (b == NULL)
        return LT_E_NOMEM;
    sums = b + BLOCK_K * COLS;
    memset(sums, 0, ROWS * COLS * sizeof *sums);
    for (int64_t k0 = 0; k0 < r->k; k0 += BLOCK_K) {
        const int64_t k = r->k - k0 < BLOCK_K ? r->k - k0 : BLOCK_K;

        lay_b(b, g, j, cols, k0, k);
        for (int64_t i = 0; i < rows; i++) {
            const double *a = (const double *)g->a.data + (i0 + i) * row_step + k0 * k_step;

            if (level >= CPU_AVX512)
                add_products_avx512(sums + i * COLS, a, k_step, b, k);
            else if (level == CPU_AVX2)
                add_products_avx2(sums + i * COLS, a, k_step, b, k);
            else
                add_products_generic(sums + i * COLS, a, k_step, b, k);
        }
    }
    for (int64_t i = 0; i < rows; i++)
        finish_row(g, i0 + i, j, cols, sums + i * COLS);
    return LT_OK;
}

Status gemm_f64(Device *dev, const GemmArgs *g)
{
    Run r = {dev, g, g->c.rows, g->c.cols, g->op_a == GEMM_N ? g->a.cols : g->a.rows, (g->c.cols + COLS - 1) / COLS};

    return pool_run(dev->pool, (r.m + ROWS - 1) / ROWS * r.col_tiles, tile, &r);
}
