/* GFLOP/s of op_gemm for the products of two models, y = x W^T, on one thread and on all, beside oneDNN alone with the whole product in one
 * primitive; C is F32 on both sides, since that is what our way into the library writes. Median and best of the samples: on a quiet
 * machine they agree, and the two sides take turns, so that other load hits both.
 * A second table is about decoding, where W comes from memory: GB/s of W, beside what this machine reads and multiplies at best.
 *   bench_gemm [wide|narrow] [f32|bf16] [m ...]      default: all of it, m = 256 1024 and 1 4 16 64
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

static const DType DTYPE[] = {LT_F32, LT_BF16};
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

/* ---- decoding: bound by memory before it is bound by the processor ----------------------------------------------------------- */

/* What a thread can read and compute at most, measured here and now. */
typedef struct Ceiling {
    double bytes_per_s, flops_per_s[2]; /* by dtype: F32, BF16 */
} Ceiling;

enum { AHEAD = 64, READ_TASKS = 64, READ_BYTES = 32 << 20, READ_PARTS = 8, COLD_BYTES = 128 << 20, COPIES_MAX = 256 };

typedef uint64_t Word __attribute__((vector_size(64)));

typedef struct ReadRun {
    const Word *block;
    Word sum[READ_TASKS];
} ReadRun;

/* One stream through one part of the block. With the widest loads: narrow ones get 20 GB/s where these get 34. */
static inline __attribute__((always_inline)) Status read_words(ReadRun *r, int64_t index)
{
    const size_t part = READ_BYTES / sizeof(Word) / READ_TASKS;
    const Word *from = r->block + (size_t)index * part;
    Word sum = {0};

    for (size_t i = 0; i < part; i++) {
        __builtin_prefetch(&from[i + AHEAD], 0, 2);
        sum ^= from[i];
    }
    r->sum[index] = sum;
    return LT_OK;
}

static Status read_generic(void *context, int64_t index, int thread) { return (void)thread, read_words(context, index); }
TARGET_AVX512 static Status read_avx512(void *context, int64_t index, int thread) { return (void)thread, read_words(context, index); }

/* Part after part of a large block, so that each comes from memory. */
static double best_of_reads(Device *dev)
{
    double best = (double)INFINITY;
    ReadRun *run;
    void *block;

    BENCH_TRY(MEM_NEW(run, 1));
    BENCH_TRY(device_alloc(dev, (size_t)READ_BYTES * READ_PARTS, &block));
    memset(block, 1, (size_t)READ_BYTES * READ_PARTS);
    for (int i = 0; i < 10 * READ_PARTS; i++) {
        double start, seconds;

        run->block = (const Word *)block + (size_t)(i % READ_PARTS) * (READ_BYTES / sizeof(Word));
        start = clock_s();
        BENCH_TRY(pool_run(device_pool(dev), READ_TASKS, cpu_of(dev)->level >= CPU_AVX512 ? read_avx512 : read_generic, run));
        seconds = clock_s() - start;
        best = seconds < best ? seconds : best;
    }
    device_release(dev, block);
    mem_free(run);
    return READ_BYTES / best;
}

static double best_of_products(Device *dev, DType dtype)
{
    const Tensor x = make(dev, dtype, 512, 1024), w = make(dev, dtype, 1024, 1024), y = make(dev, LT_F32, 512, 1024);
    const GemmArgs g = {.a = x, .b = w, .c = y, .op_b = GEMM_T};
    double best = (double)INFINITY;

    for (int i = 0; i < 30; i++) {
        const double s = time_ours(dev, &g);

        best = s < best ? s : best;
    }
    device_release(dev, x.data);
    device_release(dev, w.data);
    device_release(dev, y.data);
    return 2.0 * 512 * 1024 * 1024 / best;
}

static Ceiling find_ceiling(Device *dev)
{
    return (Ceiling){best_of_reads(dev), {best_of_products(dev, LT_F32), best_of_products(dev, LT_BF16)}};
}

/* Seconds below which the product cannot be done. */
static double floor_of(const Ceiling *c, const Shape *s, DType dtype, int64_t m)
{
    const double bytes = (double)(s->n * s->k) * (double)dtype_bytes(dtype), flops = 2.0 * (double)m * (double)s->n * (double)s->k;
    const double memory = bytes / c->bytes_per_s, compute = flops / c->flops_per_s[dtype == LT_BF16];

    return memory > compute ? memory : compute;
}

/* A product whose W comes from memory: copies of it, plain and packed, of which each sample takes the next. */
typedef struct Cold {
    GemmArgs args;
    Tensor w, packed;
    int64_t n;
    int copies, at;
} Cold;

static Cold cold_make(Device *dev, const Shape *shape, DType dtype, int64_t m)
{
    const double bytes = (double)(shape->n * shape->k) * (double)dtype_bytes(dtype);
    Cold c = {.n = shape->n, .copies = bytes * COPIES_MAX < COLD_BYTES ? COPIES_MAX : (int)(COLD_BYTES / bytes) + 2};
    const Tensor x = make(dev, dtype, m, shape->k), y = make(dev, LT_F32, m, shape->n);
    int64_t size;

    c.w = make(dev, dtype, shape->n * c.copies, shape->k);
    c.args = (GemmArgs){.a = x, .b = tensor_rows(c.w, 0, c.n), .c = y, .op_b = GEMM_T, .phase = GEMM_NARROW};
    size = (int64_t)(op_gemm_pack_bytes(dev, c.args.b, GEMM_NARROW) / sizeof(float));
    if (size > 0)
        c.packed = make(dev, LT_F32, c.copies, size);
    for (int i = 0; i < c.copies && size > 0; i++)
        BENCH_TRY(op_gemm_pack(dev, tensor_rows(c.packed, i, 1), tensor_rows(c.w, i * c.n, c.n), GEMM_NARROW));
    return c;
}

static void cold_free(Cold *c, Device *dev)
{
    device_release(dev, c->args.a.data);
    device_release(dev, c->args.c.data);
    device_release(dev, c->w.data);
    if (tensor_is_set(c->packed))
        device_release(dev, c->packed.data);
}

static const GemmArgs *cold_plain(Cold *c)
{
    c->args.b = tensor_rows(c->w, c->at++ % c->copies * c->n, c->n);
    c->args.packed = (Tensor){0};
    return &c->args;
}

static const GemmArgs *cold_packed(Cold *c)
{
    if (tensor_is_set(c->packed))
        c->args.packed = tensor_rows(c->packed, c->at++ % c->copies, 1);
    return &c->args;
}

/* GB/s of W and the share of the floor, from the best sample. */
static void print_narrow(double bytes, double floor, double *second, size_t n)
{
    bench_median(second, n);
    printf(" %8.1f %5.2f", 1e-9 * bytes / second[0], floor / second[0]);
}

enum { ONE, ONE_PACKED, ALL, ALL_PACKED, PEER, SIDES };

static void measure_narrow(Device *all, Device *one, const Ceiling c[2], const Shape *shape, DType dtype, int64_t m)
{
    const double bytes = (double)(shape->n * shape->k) * (double)dtype_bytes(dtype);
    double second[SIDES][SAMPLES_MAX];
    Cold cold = cold_make(all, shape, dtype, m);
    Peer peer = peer_open(&cold.args, pool_threads(device_pool(all)));
    size_t n = 0;

    for (; n < SAMPLES_MAX; n++) {
        second[ONE][n] = time_ours(one, cold_plain(&cold));
        second[ONE_PACKED][n] = time_ours(one, cold_packed(&cold));
        second[ALL][n] = time_ours(all, cold_plain(&cold));
        second[ALL_PACKED][n] = time_ours(all, cold_packed(&cold));
        second[PEER][n] = time_peer(&peer, cold_plain(&cold));
    }
    printf("%-11s %4s %5lld %5lld %5lld", shape->what, dtype_name(dtype), (long long)m, (long long)shape->n, (long long)shape->k);
    for (int side = 0; side < SIDES; side++)
        print_narrow(bytes, floor_of(&c[side >= ALL], shape, dtype, m), second[side], n);
    printf("\n");
    fflush(stdout);
    peer_close(&peer);
    cold_free(&cold, all);
}

static void print_ceiling(const char *what, const Ceiling *c)
{
    printf("%s: reads %.1f GB/s, multiplies %.0f (f32) and %.0f (bf16) GFLOP/s\n", what, 1e-9 * c->bytes_per_s, 1e-9 * c->flops_per_s[0],
           1e-9 * c->flops_per_s[1]);
}

/* ---- the two tables --------------------------------------------------------------------------------------------------------- */

typedef struct Wanted {
    bool is_wanted[2]; /* dtypes: F32, BF16 */
    int64_t m[16];
    int n_m;
} Wanted;

static void run_wide(Device *all, Device *one, const Wanted *w)
{
    printf("GFLOP/s, median and best; share: best against best\n%-11s %4s %5s %5s %5s %16s %16s %16s %6s\n", "product", "type", "m", "n", "k",
           "1 thread", "all threads", "oneDNN, all", "share");
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < w->n_m && w->is_wanted[d]; i++)
            for (int s = 0; s < N_SHAPE; s++)
                measure(all, one, &SHAPE[s], DTYPE[d], w->m[i]);
}

static void run_narrow(Device *all, Device *one, const Wanted *w)
{
    const Ceiling c[2] = {find_ceiling(one), find_ceiling(all)};

    print_ceiling("1 thread", &c[0]);
    print_ceiling("all threads", &c[1]);
    printf("GB/s of W and share of the floor, best sample\n%-11s %4s %5s %5s %5s %14s %14s %14s %14s %14s\n", "product", "type", "m", "n", "k",
           "1 thread", "packed", "all threads", "packed", "oneDNN, all");
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < w->n_m && w->is_wanted[d]; i++)
            for (int s = 0; s < N_SHAPE; s++)
                measure_narrow(all, one, c, &SHAPE[s], DTYPE[d], w->m[i]);
}

/* The words behind "wide" or "narrow". */
static Wanted read_wanted(int argc, char **argv, Wanted usual)
{
    Wanted w = usual;
    const bool f32 = argc > 0 && strcmp(argv[0], "f32") == 0, bf16 = argc > 0 && strcmp(argv[0], "bf16") == 0;

    w.is_wanted[0] = !bf16;
    w.is_wanted[1] = !f32;
    for (int i = f32 || bf16 ? 1 : 0; i < argc && i < 16; i++) {
        w.n_m = i + (f32 || bf16 ? 0 : 1);
        w.m[w.n_m - 1] = atoll(argv[i]);
    }
    return w;
}

int main(int argc, char **argv)
{
    static const Wanted wide = {.m = {256, 1024}, .n_m = 2}, narrow = {.m = {1, 4, 16, 64}, .n_m = 4};
    const bool only_wide = argc > 1 && strcmp(argv[1], "wide") == 0, only_narrow = argc > 1 && strcmp(argv[1], "narrow") == 0;
    const int used = only_wide || only_narrow ? 2 : 1;
    const Wanted w = read_wanted(argc - used, argv + used, wide), n = read_wanted(argc - used, argv + used, narrow);
    Device *all, *one;

    BENCH_TRY(device_open(&all, "cpu", 0));
    BENCH_TRY(device_open(&one, "cpu", 1));
    printf("%s\n", device_description(all));
    if (!only_narrow)
        run_wide(all, one, &w);
    if (!only_wide)
        run_narrow(all, one, &n);
    device_close(one);
    device_close(all);
    return 0;
}
