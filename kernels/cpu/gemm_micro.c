#include "kernels/cpu/gemm_micro.h"

const MicroLevel *micro_level(CpuLevel level)
{
#if CPU_X86
    return level >= CPU_AVX512 ? &micro_avx512 : level >= CPU_AVX2 ? &micro_avx2 : &micro_generic;
#else
    (void)level;
    return &micro_generic;
#endif
}

size_t micro_a_bytes(const MicroLevel *l, int64_t rows, int64_t k)
{
    const int64_t most = rows < MICRO_ROWS ? rows : MICRO_ROWS;

    return (size_t)((most + l->mr - 1) / l->mr * l->mr) * (size_t)k * sizeof(float);
}

size_t micro_b_bytes(void) { return (size_t)MICRO_K * GEMM_TILE_COLS * sizeof(float); }

/* Steps of k that are laid out and multiplied together. */
static int64_t block_of_k(int64_t k, int64_t rows, int n_thread)
{
#ifdef LETHE_CANARY_SPLIT_K
    /* The mistake the invariance test exists for, made on purpose: k is cut by the number of threads and of rows, and the parts, each
     * summed for itself, are added up (micro_multiply). */
    const int64_t parts = n_thread + rows % 3, part = (k + parts - 1) / parts;

    return part < MICRO_K ? part : MICRO_K;
#else
    (void)k, (void)rows, (void)n_thread;
    return MICRO_K;
#endif
}

/* Block by block of k, so that what the kernel reads together lies together. */
void micro_pack_rows(const MicroLevel *l, float *to, const GemmSide *a, int64_t from, int64_t rows, int n_thread)
{
    const int64_t padded = (rows + l->mr - 1) / l->mr * l->mr, block = block_of_k(a->k, rows, n_thread);

    for (int64_t k0 = 0; k0 < a->k; k0 += block) {
        const int64_t k = a->k - k0 < block ? a->k - k0 : block;

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

void micro_multiply(const MicroLevel *l, float *sums, const float *a, int64_t rows, const GemmSide *b, int64_t from, int64_t cols, float *b_room,
                    int n_thread)
{
    const int64_t padded = (rows + l->mr - 1) / l->mr * l->mr, block = block_of_k(b->k, rows, n_thread);

    for (int64_t k0 = 0; k0 < b->k; k0 += block) {
        const int64_t k = b->k - k0 < block ? b->k - k0 : block;

        l->pack_b(b_room, b, from, cols, k0, k);
#ifdef LETHE_CANARY_SPLIT_K
        static _Thread_local float part[MICRO_ROWS * GEMM_TILE_COLS];

        multiply_block(l, part, a, rows, b_room, cols, k, true);
        for (int64_t i = 0; i < rows * GEMM_TILE_COLS; i++)
            sums[i] = k0 == 0 ? part[i] : sums[i] + part[i];
#else
        multiply_block(l, sums, a, rows, b_room, cols, k, k0 == 0);
#endif
        a += padded * k;
    }
}
