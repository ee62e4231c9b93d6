/* Private to kernels/cpu: what the vector loops share. Everything here is plain C that the compiler inlines into a TARGET_ wrapper and
 * vectorises there; none of it may be called from a loop that must be fast and is not such a wrapper's body.
 *
 * Rows are worked on in pieces of SIMD_CHUNK columns, widened to F32 in a local buffer, so that one loop serves all dtypes and
 * a destination may be its own source.
 * `fused`: multiply-add with one rounding; constant in every wrapper, true where the level has the instruction. */
#ifndef LETHE_KERNELS_CPU_SIMD_H
#define LETHE_KERNELS_CPU_SIMD_H

#include "core/half.h"
#include "kernels/cpu/cpu.h"

#define SIMD_INLINE static inline __attribute__((always_inline))

/* Sums run in 16 lanes, element i in lane i mod 16, whatever the width of the machine's vectors: every level adds in the same order.
 * Two vectors of eight, which compilers lower well to any width; sixteen in one they do not. */
enum { SIMD_LANES = 16, SIMD_CHUNK = 512 };
typedef float SimdF32 __attribute__((vector_size(32)));
typedef int32_t SimdI32 __attribute__((vector_size(32)));
/* Eight floats anywhere in memory. Read through this and not by memcpy, which compilers make of smaller pieces that then stall. */
typedef float SimdAny __attribute__((vector_size(32), aligned(4), may_alias));

SIMD_INLINE int64_t simd_min(int64_t a, int64_t b) { return a < b ? a : b; }

SIMD_INLINE float simd_madd(float a, float b, float c, bool fused) { return fused ? __builtin_fmaf(a, b, c) : a * b + c; }

SIMD_INLINE uint32_t simd_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

SIMD_INLINE float simd_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* a = the larger of each pair, b where a is NaN. */
SIMD_INLINE void simd_max_into(SimdF32 *a, const SimdF32 *b)
{
    const SimdI32 greater = *a > *b;

    *a = (SimdF32)((greater & (SimdI32)*a) | (~greater & (SimdI32)*b));
}

SIMD_INLINE void simd_load(SimdF32 v[2], const float *from)
{
    v[0] = *(const SimdAny *)from;
    v[1] = *(const SimdAny *)(from + 8);
}

/* Sum and maximum of the 16 lanes, halves onto halves. */
SIMD_INLINE float simd_sum(const SimdF32 v[2])
{
    const SimdF32 both = v[0] + v[1];
    float lane[8];

    memcpy(lane, &both, sizeof lane);
    for (int i = 0; i < 4; i++)
        lane[i] += lane[i + 4];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

SIMD_INLINE float simd_max(const SimdF32 v[2])
{
    SimdF32 both = v[0];
    float lane[8];

    simd_max_into(&both, &v[1]);
    memcpy(lane, &both, sizeof lane);
    for (int i = 0; i < 4; i++)
        lane[i] = lane[i] > lane[i + 4] ? lane[i] : lane[i + 4];
    lane[0] = lane[0] > lane[2] ? lane[0] : lane[2];
    lane[1] = lane[1] > lane[3] ? lane[1] : lane[3];
    return lane[0] > lane[1] ? lane[0] : lane[1];
}

/* Short rows: a call of memcpy would cost more than its work. */
SIMD_INLINE void simd_copy(float *restrict to, const float *restrict from, int64_t n)
{
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        *(SimdAny *)(to + i) = *(const SimdAny *)(from + i);
    for (; i < n; i++)
        to[i] = from[i];
}

/* e^r for |r| <= ln 2 / 2: Cephes' polynomial (expf.c). */
SIMD_INLINE float simd_exp_core(float r, bool fused)
{
    float p = 1.9875691500e-4f;

    p = simd_madd(p, r, 1.3981999507e-3f, fused);
    p = simd_madd(p, r, 8.3334519073e-3f, fused);
    p = simd_madd(p, r, 4.1665795894e-2f, fused);
    p = simd_madd(p, r, 1.6666665459e-1f, fused);
    p = simd_madd(p, r, 5.0000001201e-1f, fused);
    return simd_madd(p, r * r, r, fused) + 1.0f;
}

/* x - n ln 2 */
SIMD_INLINE float simd_exp_rest(float x, float n, bool fused)
{
    return simd_madd(n, 2.12194440e-4f, simd_madd(n, -0.693359375f, x, fused), fused);
}

/* e^x within 2 ulp: 0 below the smallest subnormal, infinity above the largest number, NaN for NaN. x = n ln 2 + r; 2^n is the product of
 * two powers, as it need not be a normal number. */
SIMD_INLINE float simd_exp(float x, bool fused)
{
    const float shift = 0x1.8p23f; /* added, it leaves the rounded integer in the low bits */
    const float low = x < -104.0f ? -104.0f : x; /* comparisons with NaN are false: it passes */
    const float at = low > 89.0f ? 89.0f : low;
    const float shifted = simd_madd(at, 1.44269504f, shift, fused), n = shifted - shift;
    const int32_t power = (int32_t)(simd_bits(shifted) - simd_bits(shift)), half = power >> 1;
    const float e = simd_exp_core(simd_exp_rest(at, n, fused), fused);

    return e * simd_float((uint32_t)(half + 127) << 23) * simd_float((uint32_t)(power - half + 127) << 23);
}

/* The same for x <= 0, cheaper: 0 already where e^x is subnormal. */
SIMD_INLINE float simd_exp_down(float x, bool fused)
{
    const float shift = 0x1.8p23f + 127.0f; /* the low bits are the exponent field of 2^n */
    const float shifted = simd_madd(x, 1.44269504f, shift, fused);
    const float e = simd_exp_core(simd_exp_rest(x, shifted - shift, fused), fused);

    return x < -87.0f ? 0.0f : e * simd_float(simd_bits(shifted) << 23);
}

/* core/half.h's F16 conversions without branches. */
SIMD_INLINE float simd_f16_widen(f16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = (uint32_t)(h & 0x7fffu) << 13;
    const uint32_t finite = simd_bits(simd_float(magnitude) * 0x1p112f); /* moves the exponent's bias, subnormals too */
    const uint32_t special = magnitude | 0x7f800000u | (magnitude > 0x0f800000u ? 0x400000u : 0u);

    return simd_float(sign | (magnitude >= 0x0f800000u ? special : finite));
}

SIMD_INLINE f16_t simd_f16_narrow(float f)
{
    const uint32_t bits = simd_bits(f), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    const uint32_t small = simd_bits(simd_float(magnitude) + 0.5f) - 0x3f000000u; /* below 2^-14: round(f 2^24) */
    const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    const uint32_t finite = magnitude < 0x38800000u ? small : normal;
    const uint32_t bounded = magnitude >= 0x477ff000u ? 0x7c00u : finite;

    return (f16_t)(sign | (magnitude > 0x7f800000u ? 0x7e00u | ((magnitude >> 13) & 0x1ffu) : bounded));
}

SIMD_INLINE bf16_t simd_bf16_narrow(float f)
{
    const uint32_t bits = simd_bits(f), nan = (bits >> 16) | 0x40u, finite = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;

    return (bf16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : finite);
}

/* n elements of a row, from column col on, as F32. t: F32, BF16 or F16. */
SIMD_INLINE void simd_widen(float *restrict to, Tensor t, int64_t row, int64_t col, int64_t n)
{
    const int64_t at = row * t.stride + col;
    const uint16_t *restrict half = (const uint16_t *)t.data + at;

    if (t.dtype == LT_F32)
        simd_copy(to, (const float *)t.data + at, n);
    else if (t.dtype == LT_BF16)
        for (int64_t i = 0; i < n; i++)
            to[i] = bf16_to_f32(half[i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = simd_f16_widen(half[i]);
}

SIMD_INLINE void simd_narrow(Tensor t, int64_t row, int64_t col, const float *restrict from, int64_t n)
{
    const int64_t at = row * t.stride + col;
    uint16_t *restrict half = (uint16_t *)t.data + at;

    if (t.dtype == LT_F32)
        simd_copy((float *)t.data + at, from, n);
    else if (t.dtype == LT_BF16)
        for (int64_t i = 0; i < n; i++)
            half[i] = simd_bf16_narrow(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            half[i] = simd_f16_narrow(from[i]);
}

#endif
