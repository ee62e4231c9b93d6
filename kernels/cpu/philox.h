/* Private to kernels/cpu: the contract's dropout (op_dropout in ops.h), 64 columns of a row at a time. */
#ifndef LETHE_KERNELS_CPU_PHILOX_H
#define LETHE_KERNELS_CPU_PHILOX_H

#include "kernels/cpu/cpu.h"

enum { DROP_COLS = 64 };

/* What the columns from 4 first_quad on are multiplied by: 0 for those that dropout p takes away, 1 / (1 - p) for the others. */
typedef struct DropoutDraw {
    const DropoutKey *key;
    int64_t row;
    uint32_t first_quad;
    float p;
} DropoutDraw;

void dropout_factors_generic(float factor[DROP_COLS], const DropoutDraw *draw);
void dropout_factors_avx2(float factor[DROP_COLS], const DropoutDraw *draw);
void dropout_factors_avx512(float factor[DROP_COLS], const DropoutDraw *draw);

static inline void dropout_factors(float factor[DROP_COLS], const DropoutDraw *draw, const CpuLevel level)
{
    if (level == CPU_GENERIC)
        dropout_factors_generic(factor, draw);
    else if (level == CPU_AVX2)
        dropout_factors_avx2(factor, draw);
    else
        dropout_factors_avx512(factor, draw);
}

#endif
