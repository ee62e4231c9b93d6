/* c[m,n] = x[m,k] w[n,k]^T for few rows in 16 bits: decoding. It is bound by the weights, 2 n k bytes read once for up to 64 rows (2 m n k FLOPs; 64
 * rows are 64 FLOPs a byte, a fifth of what an H100 has for a byte); x is read by every block, from the L2 cache.
 *
 * A block has 16 NT rows of w and 8 MT rows of x. Its warps share k: warp i takes the chunks i, i + 8, i + 16, ... of 32, one after the other,
 * and the warps' sums are added in ascending order. That order depends on k alone, not on NT, MT, m, n or the alignment: a row of c has the same bits
 * in every company, by construction and not by an algorithm of a library.
 *
 * A chunk goes from global memory to the tensor core's registers without shared memory. Which of its 32 columns is which k of a product is free as
 * long as both operands agree, so a lane takes 8 neighbours (16 bytes) of a row: words 0 and 1 are its part of the first product, 2 and 3 of the second. */
#include "kernels/cuda/gemm.h"

enum { N_WARP = 8, THREADS = N_WARP * WARP, CHUNK = 32 };
static const unsigned MOST_BLOCKS_Y = 65535;

typedef struct NarrowArgs {
    const void *x, *w, *bias; /* bias: NULL for none */
    void *c;
    int64_t x_stride, w_stride, c_stride, m, n, k;
    float alpha, beta;
    bool wide_loads; /* rows of x and w begin at multiples of 16 bytes */
    bool bias_f32;   /* else in x's dtype */
} NarrowArgs;

/* Eight elements from column `at`, zeros from column k on. */
template <typename T> __device__ __forceinline__ Pack16 load_slowly(const T *row, int64_t at, int64_t k)
{
    Pack16 p = {{0, 0, 0, 0}};

#pragma unroll
    for (int i = 0; i < 8; i++)
        if (at + i < k)
            p.word[i / 2] |= (uint32_t)row[at + i].bits << 16 * (i % 2);
    return p;
}

/* The two products of a chunk: rows g and g + 8 of each tile of w, row g of each tile of x. */
template <typename T, int NT, int MT>
__device__ __forceinline__ void multiply_chunk(float acc[NT][MT][4], const Pack16 w[NT][2], const Pack16 x[MT])
{
#pragma unroll
    for (int half = 0; half < 4; half += 2)
#pragma unroll
        for (int j = 0; j < MT; j++) {
            const uint32_t b[2] = {x[j].word[half], x[j].word[half + 1]};

#pragma unroll
            for (int i = 0; i < NT; i++) {
                const uint32_t a[4] = {w[i][0].word[half], w[i][1].word[half], w[i][0].word[half + 1], w[i][1].word[half + 1]};

                mma_16816(acc[i][j], a, b, T());
            }
        }
}

/* The warp's share of k. Rows behind the last are the last once more; nobody reads their sums. */
template <typename T, int NT, int MT> __device__ __forceinline__ void walk_k(float acc[NT][MT][4], const NarrowArgs &a, int64_t n0, int64_t m0)
{
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const T *w_row[NT][2], *x_row[MT];
    Pack16 w[NT][2], x[MT];
    int64_t chunk = threadIdx.x / WARP;

#pragma unroll
    for (int i = 0; i < 2 * NT; i++) {
        const int64_t row = n0 + 8 * i + g;

        w_row[i / 2][i % 2] = (const T *)a.w + (row < a.n ? row : a.n - 1) * a.w_stride;
    }
#pragma unroll
    for (int j = 0; j < MT; j++) {
        const int64_t row = m0 + 8 * j + g;

        x_row[j] = (const T *)a.x + (row < a.m ? row : a.m - 1) * a.x_stride;
    }
#pragma unroll 2
    for (; a.wide_loads && (chunk + 1) * CHUNK <= a.k; chunk += N_WARP) {
        const int64_t at = chunk * CHUNK + 8 * t;

#pragma unroll
        for (int i = 0; i < 2 * NT; i++)
            w[i / 2][i % 2] = load16(w_row[i / 2][i % 2] + at);
#pragma unroll
        for (int j = 0; j < MT; j++)
            x[j] = load16(x_row[j] + at);
        multiply_chunk<T, NT, MT>(acc, w, x);
    }
#pragma unroll 1
    for (; chunk * CHUNK < a.k; chunk += N_WARP) {
        const int64_t at = chunk * CHUNK + 8 * t;

#pragma unroll
        for (int i = 0; i < 2 * NT; i++)
            w[i / 2][i % 2] = load_slowly(w_row[i / 2][i % 2], at, a.k);
#pragma unroll
        for (int j = 0; j < MT; j++)
            x[j] = load_slowly(x_row[j], at, a.k);
        multiply_chunk<T, NT, MT>(acc, w, x);
    }
}

/* sum[8 MT][16 NT] = the warps' sums, one warp after the other. */
template <int NT, int MT> __device__ __forceinline__ void add_in_turn(float *sum, const float acc[NT][MT][4])
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;

    for (int turn = 0; turn < N_WARP; turn++) {
        if (warp == turn)
#pragma unroll
            for (int i = 0; i < NT; i++)
#pragma unroll
                for (int j = 0; j < MT; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float *at = &sum[(8 * j + 2 * t + e % 2) * (16 * NT) + 16 * i + 8 * (e / 2) + g];

                        *at = turn == 0 ? acc[i][j][e] : *at + acc[i][j][e];
                    }
        __syncthreads();
    }
}

template <typename T, typename C, int NT, int MT> static __global__ void __launch_bounds__(THREADS) gemm_narrow(NarrowArgs a)
{
    const int64_t n0 = (int64_t)blockIdx.x * (16 * NT);
    SHARED(float, sum, 16 * NT * 8 * MT);

    for (int64_t m0 = (int64_t)blockIdx.y * (8 * MT); m0 < a.m; m0 += (int64_t)gridDim.y * (8 * MT)) {
        float acc[NT][MT][4] = {};

        walk_k<T, NT, MT>(acc, a, n0, m0);
        add_in_turn<NT, MT>(sum, acc);
        for (int i = threadIdx.x; i < 16 * NT * 8 * MT; i += THREADS) {
            const int64_t row = m0 + i / (16 * NT), col = n0 + i % (16 * NT);
            C *at = (C *)a.c + row * a.c_stride + col;

            if (row < a.m && col < a.n) {
                float value = a.alpha * sum[i];

                if (a.beta != 0.0f)
                    value += to_f32(*at);
                if (a.bias != NULL)
                    value += a.bias_f32 ? ((const float *)a.bias)[col] : to_f32(((const T *)a.bias)[col]);
                from_f32(at, value);
            }
        }
        __syncthreads(); /* before the next rows' sums */
    }
}

/* More rows a block: fewer reads of the weights. More weights a block: fewer reads of x, but fewer blocks. */
template <typename T, typename C> static void launch(const NarrowArgs &a, cudaStream_t stream)
{
    const int mt = a.m <= 8 ? 1 : a.m <= 16 ? 2 : a.m <= 32 ? 4 : 8, nt = mt <= 2 ? 1 : 2;
    const unsigned y = cuda_blocks(a.m, 8 * mt);
    const dim3 grid(cuda_blocks(a.n, 16 * nt), y < MOST_BLOCKS_Y ? y : MOST_BLOCKS_Y);

    if (mt == 1)
        LAUNCH((gemm_narrow<T, C, 1, 1>), grid, THREADS, 0, stream, a);
    else if (mt == 2)
        LAUNCH((gemm_narrow<T, C, 1, 2>), grid, THREADS, 0, stream, a);
    else if (mt == 4)
        LAUNCH((gemm_narrow<T, C, 2, 4>), grid, THREADS, 0, stream, a);
    else
        LAUNCH((gemm_narrow<T, C, 2, 8>), grid, THREADS, 0, stream, a);
}

template <typename T> static void launch_for(const NarrowArgs &a, bool c_is_f32, cudaStream_t stream)
{
    if (c_is_f32)
        launch<T, float>(a, stream);
    else
        launch<T, T>(a, stream);
}

static bool rows_are_aligned(Tensor t) { return (uintptr_t)t.data % 16 == 0 && (size_t)t.stride * dtype_bytes(t.dtype) % 16 == 0; }

bool gemm_narrow_serves(const GemmArgs *g)
{
    return g->phase == GEMM_NARROW && g->op_a == GEMM_N && g->op_b == GEMM_T && dtype_bytes(g->a.dtype) == 2;
}

Status gemm_narrow_run(Device *dev, const GemmArgs *g)
{
    NarrowArgs a = {};

    a.x = g->a.data;
    a.w = g->b.data;
    a.bias = g->bias.data;
    a.c = g->c.data;
    a.x_stride = g->a.stride;
    a.w_stride = g->b.stride;
    a.c_stride = g->c.stride;
    a.m = g->c.rows;
    a.n = g->c.cols;
    a.k = g->a.cols;
    a.alpha = g->alpha;
    a.beta = g->beta;
    a.wide_loads = rows_are_aligned(g->a) && rows_are_aligned(g->b);
    a.bias_f32 = g->bias.dtype == LT_F32;
    if (g->a.dtype == LT_BF16)
        launch_for<Bf16>(a, g->c.dtype == LT_F32, cuda_of(dev)->stream);
    else
        launch_for<Half>(a, g->c.dtype == LT_F32, cuda_of(dev)->stream);
    return cuda_launched("gemm");
}
