/* Gradients of rows that are shared: of an embedding by id, of a bias by all rows. Reads dy once: bound by memory. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

/* ---- embedding: one id's rows are one thread's -------------------------------------------------------------------------- */

typedef struct EmbedGradArgs {
    Tensor dw, dy, id, first, order;
} EmbedGradArgs;

SIMD_INLINE void embed_grad_ids(const void *context, int64_t from, int64_t to)
{
    const EmbedGradArgs *a = context;
    const int32_t *id = a->id.data, *first = a->first.data, *order = a->order.data;
    float sum[SIMD_CHUNK], dy[SIMD_CHUNK];

    for (int64_t u = from; u < to; u++)
        for (int64_t at = 0; at < a->dy.cols; at += SIMD_CHUNK) {
            const int64_t len = simd_min(a->dy.cols - at, SIMD_CHUNK);

            simd_widen(sum, a->dw, id[u], at, len);
            for (int32_t i = first[u]; i < first[u + 1]; i++) {
                simd_widen(dy, a->dy, order[i], at, len);
                for (int64_t j = 0; j < len; j++)
                    sum[j] += dy[j];
            }
            simd_narrow(a->dw, id[u], at, sum, len);
        }
}

static void embed_generic(const void *args, int64_t from, int64_t to) { embed_grad_ids(args, from, to); }
TARGET_AVX2 static void embed_avx2(const void *args, int64_t from, int64_t to) { embed_grad_ids(args, from, to); }
TARGET_AVX512 static void embed_avx512(const void *args, int64_t from, int64_t to) { embed_grad_ids(args, from, to); }
static const RowsBody embed_body[CPU_LEVELS] = {embed_generic, embed_avx2, embed_avx512, embed_avx512};

Status cpu_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order)
{
    return rows_run(dev, embed_body, &(EmbedGradArgs){dw, dy, id, first, order}, id.cols, (dy.rows / id.cols + 1) * dy.cols);
}

/* ---- bias: columns are shared out ---------------------------------------------------------------------------------------- */

enum { COLS = 64, ROWS = 64 }; /* columns of a piece, rows of a block */

typedef struct BiasGradArgs {
    Tensor db, dy;
} BiasGradArgs;

SIMD_INLINE void bias_grad_pieces(const void *context, int64_t from, int64_t to)
{
    const BiasGradArgs *a = context;

    for (int64_t piece = from; piece < to; piece++) {
        const int64_t at = piece * COLS, len = simd_min(a->dy.cols - at, COLS);
        float *db = (float *)a->db.data + at, all[COLS] = {0}, dy[COLS];

        for (int64_t block = 0; block < a->dy.rows; block += ROWS) {
            float sum[COLS] = {0};

            for (int64_t row = block; row < simd_min(block + ROWS, a->dy.rows); row++) {
                simd_widen(dy, a->dy, row, at, len);
                for (int64_t j = 0; j < len; j++)
                    sum[j] += dy[j];
            }
            for (int64_t j = 0; j < len; j++)
                all[j] += sum[j];
        }
        for (int64_t j = 0; j < len; j++)
            db[j] += all[j];
    }
}

static void bias_generic(const void *args, int64_t from, int64_t to) { bias_grad_pieces(args, from, to); }
TARGET_AVX2 static void bias_avx2(const void *args, int64_t from, int64_t to) { bias_grad_pieces(args, from, to); }
TARGET_AVX512 static void bias_avx512(const void *args, int64_t from, int64_t to) { bias_grad_pieces(args, from, to); }
static const RowsBody bias_body[CPU_LEVELS] = {bias_generic, bias_avx2, bias_avx512, bias_avx512};

Status cpu_bias_grad(Device *dev, Tensor db, Tensor dy)
{
    return rows_run(dev, bias_body, &(BiasGradArgs){db, dy}, (dy.cols + COLS - 1) / COLS, dy.rows * COLS);
}
