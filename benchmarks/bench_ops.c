/* Every op at the sizes of a model: seconds, bytes and FLOPs a second, and the share of the floor it reaches on this device.
 *   bench_ops [--device cpu] [--shape tiny|110m|1b|7b] [--json FILE]      default: cpu and 110m
 * The floor of a call is the longer of (bytes it has to move / the device's copy rate) and (its FLOPs / the rate of a large product of the same
 * dtype); both are measured here, first. Medians of several samples; a GPU's own clock. */
#include "benchmarks/bench.h"
#include "benchmarks/op_calls.h"
#include "core/clock.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const OpShape SHAPE[] = {
    {"tiny", 64, 32, 64, 4, 2, 16, 96, 256, 4, 512},
    {"110m", 1024, 256, 768, 12, 12, 64, 2048, 32000, 16, 512},
    {"1b", 16384, 2048, 2048, 32, 4, 64, 5632, 32000, 64, 1024},
    {"7b", 8192, 2048, 4096, 32, 32, 128, 11008, 32000, 64, 1024},
};
enum { N_SHAPE = sizeof SHAPE / sizeof *SHAPE, SAMPLES_MIN = 3, SAMPLES_MAX = 50 };
static const double SECONDS = 0.2; /* a figure's samples take about so long */

typedef struct Bench {
    Device *dev;
    const OpShape *shape;
    double copy_s, f32_s, bf16_s; /* bytes read and written a second; FLOP/s of a large product */
    json_t *rows;                 /* NULL: no file wanted */
} Bench;

/* ---- ceilings ----------------------------------------------------------------------------------------------------------- */

static double timed(Device *dev, Status (*run)(void *context), void *context)
{
    double sample[SAMPLES_MAX], spent = 0;
    size_t n = 0;

    BENCH_TRY(run(context)); /* the first call may set things up */
    while (n < SAMPLES_MIN || (n < SAMPLES_MAX && spent < SECONDS)) {
        BENCH_TRY(device_mark(dev, 0));
        BENCH_TRY(run(context));
        BENCH_TRY(device_mark(dev, 1));
        BENCH_TRY(device_elapsed(dev, 0, 1, &sample[n]));
        spent += sample[n++];
    }
    return bench_median(sample, n);
}

typedef struct Pair {
    Device *dev;
    Tensor to, from;
} Pair;

static Status run_copy(void *context)
{
    const Pair *p = context;

    return device_copy(p->dev, p->to, p->from);
}

static double copy_rate(Device *dev, size_t bytes)
{
    TensorArena arena;
    Pair p = {.dev = dev};

    BENCH_TRY(tensor_arena_open(&arena, dev, 2 * bytes + 1024));
    BENCH_TRY(tensor_arena_take(&arena, &p.from, LT_F32, 1, (int64_t)bytes / 4));
    BENCH_TRY(tensor_arena_take(&arena, &p.to, LT_F32, 1, (int64_t)bytes / 4));
    BENCH_TRY(device_fill_zero(dev, p.from));
    const double seconds = timed(dev, run_copy, &p);
    tensor_arena_close(&arena);
    return 2.0 * (double)bytes / seconds;
}

static Status run_call(void *context)
{
    OpCall *call = context;

    return call->run(call);
}

/* The product of a shape whose MLP is as wide as the cube asked for. */
static double product_rate(Device *dev, int64_t side, DType dtype)
{
    const OpShape cube = {.n_token = side, .hidden = side, .ffn = side / 2, .length = 1};
    TensorArena arena;
    OpCall call;

    tensor_arena_plan(&arena, dev);
    op_call_prepare(&call, 2, dev, &arena, &cube, dtype);
    const size_t bytes = arena.used;
    op_call_release(&call);
    BENCH_TRY(tensor_arena_open(&arena, dev, bytes));
    op_call_prepare(&call, 2, dev, &arena, &cube, dtype);
    const double rate = call.flops / timed(dev, run_call, &call);
    op_call_release(&call);
    tensor_arena_close(&arena);
    return rate;
}

static void measure_ceilings(Bench *b)
{
    const bool gpu = device_runs_ahead(b->dev), tiny = b->shape == &SHAPE[0];
    const int64_t side = tiny ? 64 : gpu ? 8192 : 1024;

    b->copy_s = copy_rate(b->dev, tiny ? 1 << 16 : gpu ? (size_t)1 << 30 : (size_t)64 << 20);
    b->bf16_s = product_rate(b->dev, side, LT_BF16);
    b->f32_s = product_rate(b->dev, side, LT_F32);
    printf("%s\ncopy %.1f GB/s (read and written), product %.2f TFLOP/s in BF16 and %.2f in F32, both at %lld\n", device_description(b->dev),
           b->copy_s * 1e-9, b->bf16_s * 1e-12, b->f32_s * 1e-12, (long long)side);
}

/* ---- ops ---------------------------------------------------------------------------------------------------------------- */

static void report(const Bench *b, const OpCall *call, double seconds)
{
    const double peak = call->dtype == LT_BF16 ? b->bf16_s : b->f32_s, by_bytes = call->bytes / b->copy_s, by_flops = call->flops / peak;
    const double floor = by_bytes > by_flops ? by_bytes : by_flops;

    printf("%-13s %-34s %-5s %11.1f us %9.1f GB/s %8.2f TFLOP/s %6.0f %% of the %s\n", call->op, call->what, dtype_name(call->dtype), seconds * 1e6,
           call->bytes / seconds * 1e-9, call->flops / seconds * 1e-12, 100 * floor / seconds, by_bytes > by_flops ? "bytes" : "FLOPs");
    fflush(stdout);
    if (b->rows != NULL)
        BENCH_TRY(json_push(b->rows, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:f}", "op", call->op, "what", call->what, "dtype",
                                               dtype_name(call->dtype), "bound", by_bytes > by_flops ? "bytes" : "flops", "seconds", seconds, "bytes",
                                               call->bytes, "flops", call->flops, "share", floor / seconds)));
}

static void measure(const Bench *b, int i, DType dtype)
{
    TensorArena arena;
    OpCall call;

    tensor_arena_plan(&arena, b->dev);
    op_call_prepare(&call, i, b->dev, &arena, b->shape, dtype);
    const size_t bytes = arena.used;
    op_call_release(&call);
    BENCH_TRY(tensor_arena_open(&arena, b->dev, bytes));
    op_call_prepare(&call, i, b->dev, &arena, b->shape, dtype);
    report(b, &call, timed(b->dev, run_call, &call));
    op_call_release(&call);
    tensor_arena_close(&arena);
}

static int count_calls(const Bench *b)
{
    TensorArena arena;
    OpCall call;
    int n = 0;

    tensor_arena_plan(&arena, b->dev);
    while (op_call_prepare(&call, n, b->dev, &arena, b->shape, LT_BF16)) {
        op_call_release(&call);
        n++;
    }
    return n;
}

static void save(const Bench *b, const char *path)
{
    StrBuf text;
    json_t *all = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:O}", "device", device_class(b->dev), "description", device_description(b->dev), "shape",
                            b->shape->name, "copy_bytes_s", b->copy_s, "f32_flops_s", b->f32_s, "bf16_flops_s", b->bf16_s, "ops", b->rows);
    FILE *f = fopen(path, "w");

    if (f == NULL || all == NULL) {
        fprintf(stderr, "cannot write '%s'\n", path);
        exit(1);
    }
    strbuf_init(&text);
    BENCH_TRY(json_write(&text, all, (JsonStyle){.indent = 1}));
    fprintf(f, "%s\n", text.data);
    fclose(f);
    strbuf_release(&text);
    json_decref(all);
}

int main(int argc, char **argv)
{
    const char *device = bench_option(argc, argv, "--device", "cpu"), *shape = bench_option(argc, argv, "--shape", "110m");
    const char *json = bench_option(argc, argv, "--json", NULL);
    Bench b = {0};

    for (int i = 0; i < N_SHAPE; i++)
        if (strcmp(SHAPE[i].name, shape) == 0)
            b.shape = &SHAPE[i];
    if (b.shape == NULL) {
        fprintf(stderr, "unknown shape '%s', expected tiny, 110m, 1b or 7b\n", shape);
        return 2;
    }
    BENCH_TRY(device_open(&b.dev, device, 0));
    b.rows = json != NULL ? json_array() : NULL;
    measure_ceilings(&b);
    for (int i = 0, n = count_calls(&b); i < n; i++)
        measure(&b, i, LT_BF16);
    if (json != NULL)
        save(&b, json);
    json_decref(b.rows);
    device_close(b.dev);
    return 0;
}
