/* GFLOP/s of op_gemm for the products of two models, y = x W^T, on one thread and on all, beside oneDNN alone with the whole product in one
 * primitive; C is F32 on both sides, since that is what our way into the library writes. Median and best of the samples: on a quiet
 * machine they agree, and the two sides take turns, so that other load hits both.
 *   bench_gemm [f32|bf16] [m ...]      default: both, m = 256 1024
 * LETHE_CPU lowers our instruction level, not oneDNN's. */
#include "benchmarks/bench.h"
#include "core/clock.h"
#include "core/half.h"
#include "core/mem.h"
#include "core/random.h"
#include "kernels/cpu/gemm_onednn.h"
#include "kernels/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Shape {
    const char *what;
    int64_t n, k;
} Shape;

static const Shape SHAPE[] = {
    {"512 qkv", 768, 512},   {"512 o", 512, 512},   {"512 gate_up", 2816, 512}, {"512 down", 512, 1408}, {"512 head", 6400, 512},
    {"768 qkv", 2304, 768}, {"768 o", 768, 768}, {"768 gate_up", 4096, 768}, {"768 down", 768, 2048}, {"768 head", 32000, 768},
};
enum { N_SHAPE = sizeof SHAPE / sizeof *SHAPE, SAMPLES_MIN = 5, SAMPLES_MAX = 200 };

static const double SECONDS = 0.25; /* a figure's samples take about so long */

/* Uniform in [-1, 1): random bits, since a processor's speed may depend on the numbers. */
static Tensor make(Device *dev, DType dtype, int64_t rows, int64_t cols)
{
    Tensor t = tensor_of(NULL, dtype, rows, cols);
    PyRandom r;

    pyrandom_seed(&r, (uint64_t)(rows * 31 + cols));
    BENCH_TRY(device_alloc(dev, (size_t)(rows * cols) * dtype_bytes(dtype), &t.data));
    for (int64_t i = 0; i < rows * cols; i++) {
        const float f = (float)((int32_t)pyrandom_u32(&r)) * 0x1p-31f;

        if (dtype == LT_BF16)
            ((bf16_t *)t.data)[i] = f32_to_bf16(f);
        else
            ((float *)t.data)[i] = f;
    }
    return t;
}

static double time_ours(Device *dev, const GemmArgs *g)
{
    const double start = clock_s();

    BENCH_TRY(op_gemm(dev, g));
    return clock_s() - start;
}

/* oneDNN by itself: one primitive, its own threads. */
typedef struct Peer {
    OneDnn *lib; /* NULL, or no plan: nothing to compare with on this machine */
    OneDnnPlan *plan;
    void *scratch;
} Peer;

static Peer peer_open(const GemmArgs *g, int n_thread)
{
    const OneDnnKey key = {.m = g->c.rows, .n = g->c.cols, .k = g->a.cols, .dtype = g->a.dtype, .b_k_contiguous = true, .n_thread = n_thread};
    Peer peer = {0};

    BENCH_TRY(onednn_open(&peer.lib, CPU_AVX512_BF16, 1));
    BENCH_TRY(onednn_plan(peer.lib, &key, &peer.plan));
    if (peer.plan != NULL) {
        peer.scratch = mem_take(onednn_scratch_bytes(peer.plan), 1);
        BENCH_TRY(peer.scratch != NULL ? LT_OK : LT_E_NOMEM);
    }
    return peer;
}

static void peer_close(Peer *peer)
{
    mem_free(peer->scratch);
    onednn_close(peer->lib);
}

static double time_peer(Peer *peer, const GemmArgs *g)
{
    const double start = clock_s();

    if (peer->plan != NULL)
        BENCH_TRY(onednn_run(peer->lib, peer->plan, 0, g->c.data, g->a.data, g->b.data, peer->scratch));
    return peer->plan != NULL ? clock_s() - start : (double)INFINITY;
}

typedef struct Samples {
    double *second;
    size_t n;
} Samples;

/* Sorts; "median best" in GFLOP/s. */
static double print_rates(double giga, Samples s)
{
    const double median = bench_median(s.second, s.n), best = s.second[0];

    printf(" %8.1f %7.1f", giga / median, giga / best);
    return best;
}

static void print_row(const Shape *shape, DType dtype, int64_t m, double giga, Samples ours, Samples single, Samples alone)
{
    double mine, theirs;

    printf("%-11s %4s %5lld %5lld %5lld", shape->what, dtype_name(dtype), (long long)m, (long long)shape->n, (long long)shape->k);
    print_rates(giga, single);
    mine = print_rates(giga, ours);
    theirs = print_rates(giga, alone);
    printf(" %6.2f\n", theirs / mine);
    fflush(stdout);
}

static void measure(Device *all, Device *one, const Shape *shape, DType dtype, int64_t m)
{
    const Tensor x = make(all, dtype, m, shape->k), w = make(all, dtype, shape->n, shape->k), y = make(all, LT_F32, m, shape->n);
    const GemmArgs g = {.a = x, .b = w, .c = y, .op_b = GEMM_T};
    const double giga = 2e-9 * (double)m * (double)shape->n * (double)shape->k;
    double ours[SAMPLES_MAX], alone[SAMPLES_MAX], single[SAMPLES_MAX];
    Peer peer = peer_open(&g, pool_threads(device_pool(all)));
    const double start = clock_s();
    size_t n = 0;

    time_ours(all, &g);
    time_ours(one, &g);
    time_peer(&peer, &g);
    for (; n < SAMPLES_MAX && (n < SAMPLES_MIN || clock_s() - start < SECONDS); n++) {
        ours[n] = time_ours(all, &g);
        alone[n] = time_peer(&peer, &g);
        single[n] = time_ours(one, &g);
    }
    print_row(shape, dtype, m, giga, (Samples){ours, n}, (Samples){single, n}, (Samples){alone, n});
    peer_close(&peer);
    device_release(all, x.data);
    device_release(all, w.data);
    device_release(all, y.data);
}

int main(int argc, char **argv)
{
    static const DType both[] = {LT_F32, LT_BF16};
    const int only = argc > 1 && strcmp(argv[1], "f32") == 0 ? 0 : argc > 1 && strcmp(argv[1], "bf16") == 0 ? 1 : -1;
    int64_t m[16] = {256, 1024};
    int n_m = 0;
    Device *all, *one;

    for (int i = only >= 0 ? 2 : 1; i < argc && n_m < 16; i++)
        m[n_m++] = atoll(argv[i]);
    if (n_m == 0)
        n_m = 2;
    BENCH_TRY(device_open(&all, "cpu", 0));
    BENCH_TRY(device_open(&one, "cpu", 1));
    printf("%s\nGFLOP/s, median and best; share: best against best\n%-11s %4s %5s %5s %5s %16s %16s %16s %6s\n", device_description(all), "product",
           "type", "m", "n", "k", "1 thread", "all threads", "oneDNN, all", "share");
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < n_m && (only < 0 || only == d); i++)
            for (int s = 0; s < N_SHAPE; s++)
                measure(all, one, &SHAPE[s], both[d], m[i]);
    device_close(one);
    device_close(all);
    return 0;
}
