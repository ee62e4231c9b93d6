#include "model/convert.h"

#include "core/half.h"

enum { BLOCK = 1024 }; /* floats between the two halves of a conversion: stays in the first-level cache */

/* An exponent of all ones is NaN or infinity in each of the three formats. Both loops only gather bits, so they vectorise; the place is
 * looked for when there is something to find. */
static bool any_bad32(const uint32_t *x, int64_t n)
{
    uint32_t bad = 0;

    for (int64_t i = 0; i < n; i++)
        bad |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return bad != 0;
}

static bool any_bad16(const uint16_t *x, int64_t n, uint16_t exponent)
{
    uint16_t bad = 0;

    for (int64_t i = 0; i < n; i++)
        bad |= (uint16_t)((x[i] & exponent) == exponent);
    return bad != 0;
}

static bool any_bad(const void *data, DType dtype, int64_t n)
{
    return dtype == LT_F32 ? any_bad32(data, n) : any_bad16(data, n, dtype == LT_BF16 ? 0x7f80 : 0x7c00);
}

int64_t weights_first_bad(const void *data, DType dtype, int64_t n)
{
    if (!any_bad(data, dtype, n))
        return -1;
    for (int64_t i = 0;; i++)
        if (any_bad((const char *)data + (size_t)i * dtype_bytes(dtype), dtype, 1))
            return i;
}

static void widen(float *to, const void *from, DType dtype, int64_t first, int64_t n)
{
    const uint16_t *half = from;

    if (dtype == LT_F32)
        memcpy(to, (const float *)from + first, (size_t)n * sizeof *to);
    else if (dtype == LT_BF16)
        for (int64_t i = 0; i < n; i++)
            to[i] = bf16_to_f32(half[first + i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = f16_to_f32(half[first + i]);
}

static void narrow(void *to, DType dtype, int64_t first, const float *from, int64_t n)
{
    uint16_t *half = to;

    if (dtype == LT_F32)
        memcpy((float *)to + first, from, (size_t)n * sizeof *from);
    else if (dtype == LT_BF16)
        for (int64_t i = 0; i < n; i++)
            half[first + i] = f32_to_bf16(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            half[first + i] = f32_to_f16(from[i]);
}

float weights_at(const void *data, DType dtype, int64_t i)
{
    float x;

    widen(&x, data, dtype, i, 1);
    return x;
}

void weights_convert(void *to, DType to_dtype, const void *from, DType from_dtype, int64_t n, bool *lossy)
{
    float before[BLOCK], after[BLOCK];

    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t len = n - first < BLOCK ? n - first : BLOCK;

        widen(before, from, from_dtype, first, len);
        narrow(to, to_dtype, first, before, len);
        if (to_dtype == LT_F32)
            continue;
        widen(after, to, to_dtype, first, len);
        *lossy |= memcmp(before, after, (size_t)len * sizeof *before) != 0;
    }
}
