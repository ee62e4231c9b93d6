/* Sum of squares, for the norm of all gradients. 4 bytes and 2 operations an element in F32: bound by memory. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

/* A block's elements, one row's after the other's, are added in LANES lanes by their place in the block. */
enum { BLOCK = 4096, LANES = 16 };

typedef struct SumsqArgs {
    Tensor x;
    double *sum; /* of each block */
} SumsqArgs;

/* Elements at..at+n-1 of x, counted row by row, as F64. */
SIMD_INLINE void widen_block(double *to, Tensor x, int64_t at, int64_t n)
{
    float piece[SIMD_CHUNK];

    for (int64_t done = 0, len; done < n; done += len) {
        const int64_t row = (at + done) / x.cols, col = (at + done) % x.cols;

        len = simd_min(simd_min(n - done, x.cols - col), SIMD_CHUNK);
        if (x.dtype == LT_F64) {
            memcpy(to + done, (const double *)x.data + row * x.stride + col, (size_t)len * sizeof *to);
            continue;
        }
        simd_widen(piece, x, row, col, len);
        for (int64_t i = 0; i < len; i++)
            to[done + i] = (double)piece[i];
    }
}

SIMD_INLINE void sum_blocks(const void *context, int64_t from, int64_t to)
{
    const SumsqArgs *a = context;
    const int64_t all = a->x.rows * a->x.cols;
    double v[BLOCK];

    for (int64_t block = from; block < to; block++) {
        const int64_t n = simd_min(all - block * BLOCK, BLOCK), padded = (n + LANES - 1) / LANES * LANES;
        double lane[LANES] = {0};

        widen_block(v, a->x, block * BLOCK, n);
        for (int64_t i = n; i < padded; i++)
            v[i] = 0;
        for (int64_t i = 0; i < padded; i += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] += v[i + l] * v[i + l];
        for (int l = 1; l < LANES; l++)
            lane[0] += lane[l];
        a->sum[block] = lane[0];
    }
}

static void sumsq_generic(const void *args, int64_t from, int64_t to) { sum_blocks(args, from, to); }
TARGET_AVX2 static void sumsq_avx2(const void *args, int64_t from, int64_t to) { sum_blocks(args, from, to); }
TARGET_AVX512 static void sumsq_avx512(const void *args, int64_t from, int64_t to) { sum_blocks(args, from, to); }
static const RowsBody sumsq_body[CPU_LEVELS] = {sumsq_generic, sumsq_avx2, sumsq_avx512, sumsq_avx512};

Status cpu_sumsq(Device *dev, Tensor out, Tensor x)
{
    const int64_t n_block = (x.rows * x.cols + BLOCK - 1) / BLOCK;
    SumsqArgs args = {x, cpu_scratch(dev, 0, (size_t)n_block * sizeof(double))};

    if (args.sum == NULL)
        return LT_E_NOMEM;
    TRY(rows_run(dev, sumsq_body, &args, n_block, BLOCK));
    for (int64_t i = 0; i < n_block; i++)
        *(double *)out.data += args.sum[i];
    return LT_OK;
}
