#include "kernels/cpu/gemm_micro.h"

#include <string.h>

const MicroLevel *micro_level(CpuLevel level)
{
#if CPU_X86
    return level >= CPU_AVX512 ? &micro_avx512 : level >= CPU_AVX2 ? &micro_avx2 : &micro_generic;
#else
    (void)level;
    return &micro_generic;
#endif
}

size_t micro_a_bytes(int64_t k) { return (size_t)k * MICRO_ROWS * sizeof(float); }
size_t micro_b_bytes(void) { return (size_t)MICRO_K * GEMM_TILE_COLS * sizeof(float); }

/* Block by block of k, so that what the kernel reads together lies together. */
void micro_pack_rows(const MicroLevel *l, float *to, const GemmSide *a, int64_t from, int64_t rows)
{
    const int64_t padded = (rows + l->mr - 1) / l->mr * l->mr;

    for (int64_t k0 = 0; k0 < a->k; k0 += MICRO_K) {
        const int64_t k = a->k - k0 < MICRO_K ? a->k - k0 : MICRO_K;

        l->pack_a(to, a, from, rows, k0, k);
        to += padded * k;
    }
}

static void multiply_block(const MicroLevel *l, float *sums, const float *a, int64_t rows, const float *b, int64_t cols, int64_t k, bool first)
{
    for (int64_t j = 0; j < cols; j += l->nr)
        for (int64_t i = 0; i < rows; i += l->mr) {
            const int left = rows - i < l->mr ? (int)(rows - i) : l->mr;

            l->kernel(sums + i * GEMM_TILE_COLS + j, GEMM_TILE_COLS, a + i * k, b + j * k, k, left, first);
        }
}

#ifdef LETHE_CANARY_SPLIT_K
/* The mistake that the invariance test exists for, made on purpose: k is cut into one part a thread, and the parts are added up. */
static bool starts_new_sum(int64_t k0, int64_t k, int n_thread)
{
    const int64_t blocks = (k + MICRO_K - 1) / MICRO_K, part = (blocks + n_thread - 1) / n_thread;

    return k0 / MICRO_K % part == 0;
}
#endif

void micro_multiply(const MicroLevel *l, float *sums, const float *a, int64_t rows, const GemmSide *b, int64_t from, int64_t cols, float *b_room,
                    int n_thread)
{
    const int64_t padded = (rows + l->mr - 1) / l->mr * l->mr;

    (void)n_thread;
    for (int64_t k0 = 0; k0 < b->k; k0 += MICRO_K) {
        const int64_t k = b->k - k0 < MICRO_K ? b->k - k0 : MICRO_K;

        l->pack_b(b_room, b, from, cols, k0, k);
#ifdef LETHE_CANARY_SPLIT_K
        if (k0 > 0 && starts_new_sum(k0, b->k, n_thread)) {
            static _Thread_local float part[MICRO_ROWS * GEMM_TILE_COLS];

            multiply_block(l, part, a, rows, b_room, cols, k, true);
            for (int64_t i = 0; i < rows * GEMM_TILE_COLS; i++)
                sums[i] += part[i];
        } else
#endif
            multiply_block(l, sums, a, rows, b_room, cols, k, k0 == 0);
        a += padded * k;
    }
}
