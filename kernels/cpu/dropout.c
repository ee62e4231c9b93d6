/* y = x keep / (1 - p). 8 bytes and a quarter of a Philox call an element in F32: bound by the draws, at any level. */
#include "core/random.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

typedef struct DropoutArgs {
    Tensor y, x;
    float p, scale;
    DropoutKey key;
} DropoutArgs;

/* The numbers of n columns from column `at` on, a multiple of four; up to three more are written. */
static void draw(float *u, const DropoutArgs *a, int64_t row, int64_t at, int64_t n)
{
    const uint64_t global = (uint64_t)(a->key.first_row + row);
    const uint32_t key[2] = {(uint32_t)a->key.seed, (uint32_t)(a->key.seed >> 32) ^ (a->key.layer << 8 | a->key.site)};
    uint32_t counter[4] = {(uint32_t)global, (uint32_t)(global >> 32), (uint32_t)(at / 4), a->key.step}, word[4];

    for (int64_t i = 0; i < n; i += 4, counter[2]++) {
        philox4x32(counter, key, word);
        for (int j = 0; j < 4; j++)
            u[i + j] = philox_unit(word[j]);
    }
}

SIMD_INLINE void dropout_rows(const void *context, int64_t from, int64_t to)
{
    const DropoutArgs *a = context;
    float x[SIMD_CHUNK], u[SIMD_CHUNK];

    for (int64_t row = from; row < to; row++)
        for (int64_t at = 0; at < a->x.cols; at += SIMD_CHUNK) {
            const int64_t n = simd_min(a->x.cols - at, SIMD_CHUNK);

            draw(u, a, row, at, n);
            simd_widen(x, a->x, row, at, n);
            for (int64_t i = 0; i < n; i++)
                x[i] = u[i] < a->p ? 0.0f : x[i] * a->scale;
            simd_narrow(a->y, row, at, x, n);
        }
}

static void dropout_generic(const void *args, int64_t from, int64_t to) { dropout_rows(args, from, to); }
TARGET_AVX2 static void dropout_avx2(const void *args, int64_t from, int64_t to) { dropout_rows(args, from, to); }
TARGET_AVX512 static void dropout_avx512(const void *args, int64_t from, int64_t to) { dropout_rows(args, from, to); }
static const RowsBody dropout_body[CPU_LEVELS] = {dropout_generic, dropout_avx2, dropout_avx512, dropout_avx512};

Status cpu_dropout(Device *dev, Tensor y, Tensor x, float p, const DropoutKey *key)
{
    const DropoutArgs args = {y, x, p, 1.0f / (1.0f - p), *key};

    return rows_run(dev, dropout_body, &args, x.rows, 8 * x.cols); /* a draw costs what eight moves do */
}
