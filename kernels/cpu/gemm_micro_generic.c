#include "kernels/cpu/gemm_micro.h"

#include "core/half.h"

#include <string.h>

enum { MR = 4, NR = 8 };

static float read_element(const char *at, DType dtype)
{
    float f;
    uint16_t h;

    if (dtype == LT_F32) {
        memcpy(&f, at, sizeof f);
        return f;
    }
    memcpy(&h, at, sizeof h);
    return dtype == LT_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
}

static void pack(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k, int width)
{
    const size_t size = dtype_bytes(s->dtype);
    const size_t k_step = (size_t)(s->k_contiguous ? 1 : s->stride) * size;

    for (int64_t o = 0; o < outer; o += width, to += k * width)
        for (int w = 0; w < width; w++) {
            const char *at = gemm_side_at(s, from + o + w) + (size_t)k0 * k_step;

            for (int64_t i = 0; i < k; i++)
                to[i * width + w] = o + w < outer ? read_element(at + (size_t)i * k_step, s->dtype) : 0.0f;
        }
}

static void pack_a(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k) { pack(to, s, from, outer, k0, k, MR); }
static void pack_b(float *to, const GemmSide *s, int64_t from, int64_t outer, int64_t k0, int64_t k) { pack(to, s, from, outer, k0, k, NR); }

static void kernel(float *c, int64_t c_stride, const float *a, const float *b, int64_t k, int rows, bool first)
{
    float sum[MR][NR];

    (void)rows; /* a short panel is filled up with zeros, and the tile has room for all MR rows */
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NR; j++)
            sum[i][j] = first ? 0.0f : c[i * c_stride + j];
    for (int64_t p = 0; p < k; p++, a += MR, b += NR)
        for (int i = 0; i < MR; i++)
            for (int j = 0; j < NR; j++)
                sum[i][j] += a[i] * b[j];
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NR; j++)
            c[i * c_stride + j] = sum[i][j];
}

const MicroLevel micro_generic = {MR, NR, pack_a, pack_b, kernel};
