/* Rotary embedding, half-split, in place. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"

typedef struct RopeArgs {
    Tensor x, cos, sin, row;
    float sign;
} RopeArgs;

SIMD_INLINE void rotate_head(float *restrict low, float *restrict high, const float *restrict cos, const float *restrict sin, float sign,
                             int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        const float a = low[i], b = high[i], s = sign * sin[i];

        low[i] = a * cos[i] - b * s;
        high[i] = b * cos[i] + a * s;
    }
}

SIMD_INLINE void rope_rows(const void *context, int64_t from, int64_t to)
{
    const RopeArgs *a = context;
    const int64_t half = a->cos.cols, size = 2 * half, step = SIMD_CHUNK / size * size;
    float x[SIMD_CHUNK];

    for (int64_t row = from; row < to; row++) {
        const int64_t angle = ((const int32_t *)a->row.data)[row];
        const float *cos = (const float *)a->cos.data + angle * a->cos.stride, *sin = (const float *)a->sin.data + angle * a->sin.stride;

        for (int64_t at = 0; at < a->x.cols; at += step) {
            const int64_t len = simd_min(a->x.cols - at, step);

            simd_widen(x, a->x, row, at, len);
            for (int64_t head = 0; head < len; head += size)
                rotate_head(x + head, x + head + half, cos, sin, a->sign, half);
            simd_narrow(a->x, row, at, x, len);
        }
    }
}

static void rope_generic(const void *args, int64_t from, int64_t to) { rope_rows(args, from, to); }
TARGET_AVX2 static void rope_avx2(const void *args, int64_t from, int64_t to) { rope_rows(args, from, to); }
TARGET_AVX512 static void rope_avx512(const void *args, int64_t from, int64_t to) { rope_rows(args, from, to); }
static const RowsBody rope_body[CPU_LEVELS] = {rope_generic, rope_avx2, rope_avx512, rope_avx512};

Status cpu_rope(Device *dev, Tensor x, Tensor cos, Tensor sin, Tensor row, int direction)
{
    if (2 * cos.cols > SIMD_CHUNK)
        return FAIL(LT_E_UNSUPPORTED, "rope: head size up to %d expected, %lld found", SIMD_CHUNK, 2 * (long long)cos.cols);
    return rows_run(dev, rope_body, &(RopeArgs){x, cos, sin, row, direction < 0 ? -1.0f : 1.0f}, x.rows, x.cols);
}
