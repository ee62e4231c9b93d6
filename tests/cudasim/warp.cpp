/* Votes, ldmatrix and the tensor-core step: what the last lane to arrive does for its warp. */
#include "tests/cudasim/race.h"

#include "kernels/cuda/port.h"

static void syncwarp_all(void *const *) { sim_race_syncwarp(); }
void sim_syncwarp(unsigned mask, SimPlace place) { sim_meet("__syncwarp", mask, NULL, syncwarp_all, place); }

typedef struct Vote {
    bool vote;
    unsigned ballot;
} Vote;

static void vote_all(void *const give[32])
{
    unsigned ballot = 0;

    for (int lane = 0; lane < 32; lane++)
        ballot |= (unsigned)((const Vote *)give[lane])->vote << lane;
    for (int lane = 0; lane < 32; lane++)
        ((Vote *)give[lane])->ballot = ballot;
}

unsigned sim_ballot(const char *what, unsigned mask, bool vote, SimPlace place)
{
    Vote v = {vote, 0};

    sim_meet(what, mask, &v, vote_all, place);
    return v.ballot;
}

/* ---- ldmatrix ---- */

typedef struct Matrices {
    uint32_t *r;
    const void *row;
    int n_matrix;
    bool transposed;
} Matrices;

static uint32_t element(void *const give[32], int matrix, int row, int col)
{
    uint16_t bits;

    memcpy(&bits, (const char *)((const Matrices *)give[matrix * 8 + row])->row + 2 * col, sizeof bits);
    return bits;
}

static void load_all(void *const give[32])
{
    for (int lane = 0; lane < 32; lane++) {
        const Matrices *m = (const Matrices *)give[lane];
        const int row = lane / 4, col = 2 * (lane % 4);

        for (int i = 0; i < m->n_matrix; i++)
            m->r[i] = m->transposed ? element(give, i, col, row) | element(give, i, col + 1, row) << 16
                                    : element(give, i, row, col) | element(give, i, row, col + 1) << 16;
    }
}

void sim_ldmatrix(uint32_t *r, const void *row, int n_matrix, bool transposed, SimPlace place)
{
    static const char *const NAME[2][2] = {{"ldmatrix_x2", "ldmatrix_x2_trans"}, {"ldmatrix_x4", "ldmatrix_x4_trans"}};
    const char *const what = NAME[n_matrix == 4][transposed];
    Matrices m = {r, row, n_matrix, transposed};
    SimArray array;

    if (sim_lane() < n_matrix * 8) {
        sim_check_aligned(what, row, 16);
        if (!sim_shared_find(row, 16, &array))
            sim_stop("%s at %s:%d: %p is not in an array of shared memory", what, place.file, place.line, row);
        sim_race_access(row, 16, false);
    }
    sim_meet(what, 0xffffffffu, &m, load_all, place);
}

/* ---- mma ---- */

typedef struct Step {
    float *d;
    const uint32_t *a, *b;
    SimFormat format;
} Step;

static float widen(uint32_t pair, int half, SimFormat format)
{
    const uint16_t bits = (uint16_t)(pair >> 16 * half);

    return format == SIM_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

/* d[row][col] += a[row][k] b[k][col], k ascending, every product exact and every sum rounded to F32. A card adds in groups with its own
 * rounding: kernels may not count on either. */
static void step_all(void *const give[32])
{
    const SimFormat format = ((const Step *)give[0])->format;
    float a[16][16], b[16][8], d[16][8];

    for (int lane = 0; lane < 32; lane++) {
        const Step *s = (const Step *)give[lane];
        const int g = lane / 4, t = 2 * (lane % 4);

        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++)
                a[g + 8 * (i % 2)][t + 8 * (i / 2) + half] = widen(s->a[i], half, format);
            for (int i = 0; i < 2; i++)
                b[t + 8 * i + half][g] = widen(s->b[i], half, format);
            for (int i = 0; i < 2; i++)
                d[g + 8 * i][t + half] = s->d[2 * i + half];
        }
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int col = 0; col < 8; col++)
                d[row][col] += a[row][k] * b[k][col];
    for (int lane = 0; lane < 32; lane++) {
        const Step *s = (const Step *)give[lane];
        const int g = lane / 4, t = 2 * (lane % 4);

        for (int i = 0; i < 4; i++)
            s->d[i] = d[g + 8 * (i / 2)][t + i % 2];
    }
}

void sim_mma(float *d, const uint32_t *a, const uint32_t *b, SimFormat format, SimPlace place)
{
    Step s = {d, a, b, format};

    sim_meet(format == SIM_BF16 ? "mma_16816 (Bf16)" : "mma_16816 (Half)", 0xffffffffu, &s, step_all, place);
}
