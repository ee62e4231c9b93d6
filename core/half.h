/* BF16 and F16 on the host: the only copy of these conversions outside vector code.
 * Narrowing rounds to nearest even; NaN stays NaN (quiet); overflow becomes infinity. */
#ifndef LETHE_CORE_HALF_H
#define LETHE_CORE_HALF_H

#include <stdint.h>
#include <string.h>

typedef uint16_t bf16_t;
typedef uint16_t f16_t;

static inline float bf16_to_f32(bf16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline bf16_t f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (bf16_t)((bits >> 16) | 0x40u);
    return (bf16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float f16_to_f32(f16_t h);
f16_t f32_to_f16(float f);

#endif
