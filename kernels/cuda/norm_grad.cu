/* Gradient of RMSNorm. With h = x rstd and g = dy w, per group of n columns: dx = rstd (g - h mean(g h)), dw = the sum over rows of dy h.
 * F32: 12 bytes an element, BF16: 6; a third more where dx is added to. With dw, the sums of blocks of ROWS rows besides, 8 / ROWS bytes.
 * About 12 operations.
 * Bound by memory, and x and dy are read once, for dx and dw together: a block takes ROWS rows one after the other and keeps its share of
 * dw in registers. *Expected* on an H100 (3.35 TB/s): 75 % of the byte floor from 4096 rows on with dw (the rows of a block wait for one
 * another's sums; other blocks fill in), 80 % without. */
#include "kernels/cuda/norm.h"

enum { ROWS = 16 };

/* Pieces of x and of dy that a thread holds, and of dw that it adds up: the widest team has no registers for more than two of each. */
template <int TEAM> struct Held {
    static constexpr int N = TEAM > 128 ? 2 : HOLD;
};

typedef struct NormGradArgs {
    Rows dx, dy, x, w;
    Tensor rstd;
    float *partial;    /* of dw, [blocks, n]; NULL: dw is not wanted */
    int64_t per_block; /* groups, of all rows in turn */
    bool add;
} NormGradArgs;

/* One group, or none (n = 0). */
template <typename T> struct Group {
    const T *x, *dy;
    T *dx;
    int n;
    float rstd;
};

template <typename T> __device__ __forceinline__ Group<T> group_at(const NormGradArgs &a, int64_t item, int64_t end)
{
    const int64_t n = a.w.t.cols, n_group = a.x.t.cols / n, row = quotient(item, n_group), group = item - row * n_group;
    Group<T> g = {};

    if (item < end)
        g = Group<T>{row_at<T>(a.x, row) + group * n, row_at<T>(a.dy, row) + group * n, row_at<T>(a.dx, row) + group * n, (int)n,
                     ((const float *)a.rstd.data)[row * a.rstd.stride + group]};
    return g;
}

/* sum += g h over the piece at column `at`. */
template <typename T>
__device__ __forceinline__ float add_products(float sum, const NormGradArgs &a, const Group<T> &g, int at, Pack16 x, Pack16 dy)
{
    float h[Piece<T>::N], d[Piece<T>::N], w[Piece<T>::N];

    widen<T>(h, x);
    widen<T>(d, dy);
    load_weight<T>(w, a.w, at);
    for (int i = 0; i < Piece<T>::N; i++)
        sum = fmaf(h[i] * g.rstd, d[i] * w[i], sum);
    return sum;
}

/* Writes dx of the piece; dw += dy h. */
template <typename T>
__device__ __forceinline__ void finish_piece(float dw[Piece<T>::N], const NormGradArgs &a, const Group<T> &g, int at, Pack16 x, Pack16 dy,
                                             float mean)
{
    float h[Piece<T>::N], d[Piece<T>::N], w[Piece<T>::N], before[Piece<T>::N];

    widen<T>(h, x);
    widen<T>(d, dy);
    load_weight<T>(w, a.w, at);
    for (int i = 0; i < Piece<T>::N; i++) {
        h[i] *= g.rstd;
        dw[i] += d[i] * h[i];
        d[i] = g.rstd * (d[i] * w[i] - h[i] * mean);
    }
    if (a.add) {
        widen<T>(before, load_piece(g.dx + at, g.n - at, a.dx.wide));
        for (int i = 0; i < Piece<T>::N; i++)
            d[i] += before[i];
    }
    store_piece(g.dx + at, g.n - at, a.dx.wide, narrow<T>(d));
}

/* The pieces that a thread cannot hold are read again, and their dw lies in memory between the rows; `first`: nothing is there yet. */
template <typename T>
__device__ __forceinline__ void finish_rest(float *partial, const NormGradArgs &a, const Group<T> &g, int from, int step, float mean,
                                            bool first)
{
    constexpr int N = Piece<T>::N;

    for (int at = from; at < g.n; at += step) {
        float dw[N] = {0};

        for (int i = 0; i < N; i++)
            if (partial != NULL && !first && at + i < g.n)
                dw[i] = partial[at + i];
        finish_piece<T>(dw, a, g, at, load_piece(g.x + at, g.n - at, a.x.wide), load_piece(g.dy + at, g.n - at, a.dy.wide), mean);
        for (int i = 0; i < N; i++)
            if (partial != NULL && at + i < g.n)
                partial[at + i] = dw[i];
    }
}

/* The teams' shares of dw, added in the order of the teams. shared: [teams, columns that a team holds]. */
template <typename T, int TEAM>
__device__ __forceinline__ void write_partial(float *partial, float dw[Held<TEAM>::N][Piece<T>::N], float *shared, int n)
{
    constexpr int N = Piece<T>::N, HELD = Held<TEAM>::N, WIDTH = HELD * TEAM * N, TEAMS = Teams<TEAM>::N;
    float *mine = TEAMS > 1 ? shared + threadIdx.x / TEAM * WIDTH : partial;

    UNROLL
    for (int k = 0; k < HELD; k++)
        UNROLL
        for (int i = 0; i < N; i++) {
            const int at = (threadIdx.x % TEAM + k * TEAM) * N + i;

            if (at < n)
                mine[at] = dw[k][i];
        }
    if (TEAMS == 1)
        return;
    __syncthreads();
    for (int at = threadIdx.x; at < n; at += Teams<TEAM>::BLOCK) {
        float sum = shared[at];

        for (int team = 1; team < TEAMS; team++)
            sum += shared[team * WIDTH + at];
        partial[at] = sum;
    }
}

/* A block takes per_block groups, its teams in turn. dx may be dy: a thread writes nothing but what it has read. */
template <typename T, int TEAM> __global__ void __launch_bounds__(Teams<TEAM>::BLOCK) rmsnorm_grad_kernel(NormGradArgs a)
{
    constexpr int N = Piece<T>::N, TEAMS = Teams<TEAM>::N, HELD = Held<TEAM>::N;
    SHARED(float, part, WARP + 1);
    SHARED(float, shared, TEAMS > 1 ? TEAMS * HELD * TEAM * N : 1);
    const int n = (int)a.w.t.cols, start = threadIdx.x % TEAM * N, step = TEAM * N;
    const int64_t all = a.x.t.rows * (a.x.t.cols / n), begin = (int64_t)blockIdx.x * a.per_block;
    const int64_t end = least(begin + a.per_block, all);
    float *partial = a.partial != NULL ? a.partial + (int64_t)blockIdx.x * n : NULL;
    float dw[HELD][N] = {};
    Pack16 x[HELD], dy[HELD];

    for (int64_t item = begin; item < end; item += TEAMS) {
        const Group<T> g = group_at<T>(a, item + threadIdx.x / TEAM, end);
        float sum = 0, mean;

        UNROLL
        for (int k = 0; k < HELD; k++) {
            x[k] = load_piece(g.x + start + k * step, g.n - start - k * step, a.x.wide);
            dy[k] = load_piece(g.dy + start + k * step, g.n - start - k * step, a.dy.wide);
        }
        UNROLL
        for (int k = 0; k < HELD; k++)
            sum = add_products<T>(sum, a, g, start + k * step, x[k], dy[k]);
        for (int at = start + HELD * step; at < g.n; at += step)
            sum = add_products<T>(sum, a, g, at, load_piece(g.x + at, g.n - at, a.x.wide), load_piece(g.dy + at, g.n - at, a.dy.wide));
        mean = team_sum<TEAM>(sum, part) / (float)n;
        UNROLL
        for (int k = 0; k < HELD; k++)
            if (start + k * step < g.n)
                finish_piece<T>(dw[k], a, g, start + k * step, x[k], dy[k], mean);
        finish_rest(partial, a, g, start + HELD * step, step, mean, item == begin);
    }
    if (partial != NULL)
        write_partial<T, TEAM>(partial, dw, shared, n);
}

template <typename T> static void launch_norm_grad(const NormGradArgs &a, unsigned grid, cudaStream_t stream)
{
    WITH_TEAM(pieces(a.w.t.cols, Piece<T>::N), TEAM, LAUNCH((rmsnorm_grad_kernel<T, TEAM>), grid, Teams<TEAM>::BLOCK, 0, stream, a));
}

Status cuda_rmsnorm_grad(Device *dev, Tensor dx, Tensor dw, Tensor dy, Tensor x, Tensor w, Tensor rstd, float beta)
{
    const int64_t n = w.cols, n_group = x.cols / n, n_block = pieces(x.rows, ROWS);
    NormGradArgs args = {groups_of(dx, n), groups_of(dy, n), groups_of(x, n), rows_of(w), rstd, NULL, ROWS * n_group, beta != 0.0f};

    if (tensor_is_set(dw))
        TRY(cuda_workspace(dev, (size_t)(n_block * n) * sizeof(float), (void **)&args.partial));
    WITH_TRAIN(x.dtype, T, launch_norm_grad<T>(args, (unsigned)n_block, cuda_of(dev)->stream));
    TRY(cuda_launched("rmsnorm_grad"));
    return tensor_is_set(dw) ? add_column_sums(dev, dw, args.partial, n_block, "rmsnorm_grad") : LT_OK;
}
