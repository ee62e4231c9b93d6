/* Generation: tokens/s of decoding at 1, 4, 16 and 64 completions side by side, and of reading the prompts, beside what the machine allows.
 *   bench_generate [--new 32] [--device cpu] [--model 110m|1b|7b]      the random model, and without --model minimind2-small where LETHE_TEST_DATA
 *                                                                      has it; F32 and BF16 (1b, 7b: BF16)
 * A step reads every weight once and every completion's own keys and values, and multiplies each weight once a completion. So it takes at least
 * (weights + completions x keys) / bandwidth, and at least completions x FLOPs / peak; the larger of the two is the floor. Bandwidth: reading the
 * weights with all threads; peak: our own matrix product at 1024 x 2048 x 2048, measured here. */
#include "benchmarks/bench.h"
#include "core/clock.h"
#include "core/file.h"
#include "eval/engine/generate.h"
#include "model/kvcache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 64, PROMPT = 64, SAMPLES = 3 };

/* ---- what the machine allows -------------------------------------------------------------------------------------------- */

typedef struct Reading {
    const uint64_t *word;
    int64_t per_task;
    uint64_t sum[4096]; /* kept, so that nothing is left out */
} Reading;

static Status read_slice(void *context, int64_t index, int thread)
{
    Reading *r = context;
    const uint64_t *word = r->word + index * r->per_task;
    uint64_t sum = 0;

    (void)thread;
    for (int64_t i = 0; i < r->per_task; i++)
        sum ^= word[i];
    r->sum[index] = sum;
    return LT_OK;
}

/* Bytes a second of a copy, read and written, on a device whose memory the host cannot read. */
static double copying(const Model *m)
{
    const int64_t n = (int64_t)m->memory.used / 8 / 4 * 4;
    const Tensor from = tensor_of(m->memory.base, LT_F32, 1, n);
    double best = 0, seconds;
    TensorArena arena;
    Tensor to;

    BENCH_TRY(tensor_arena_open(&arena, m->dev, (size_t)n * 4 + 256));
    BENCH_TRY(tensor_arena_take(&arena, &to, LT_F32, 1, n));
    for (int i = 0; i < SAMPLES; i++) {
        BENCH_TRY(device_mark(m->dev, 0));
        BENCH_TRY(device_copy(m->dev, to, from));
        BENCH_TRY(device_mark(m->dev, 1));
        BENCH_TRY(device_elapsed(m->dev, 0, 1, &seconds));
        best = 8 * (double)n / seconds > best ? 8 * (double)n / seconds : best;
    }
    tensor_arena_close(&arena);
    return best;
}

/* Bytes a second: the best of several passes over the model's weights. */
static double bandwidth(const Model *m)
{
    static Reading r;
    const int64_t n_task = 512;
    double best = 0;

    if (device_runs_ahead(m->dev))
        return copying(m);
    r.word = (const uint64_t *)(const void *)m->memory.base;
    r.per_task = (int64_t)(m->memory.used / sizeof *r.word) / n_task;
    for (int i = 0; i < SAMPLES; i++) {
        const double start = clock_s();

        BENCH_TRY(pool_run(device_pool(m->dev), n_task, read_slice, &r));
        const double rate = (double)(n_task * r.per_task) * sizeof *r.word / (clock_s() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

/* FLOP/s of the wide product. */
static double peak(Device *dev, DType dtype)
{
    enum { M = 1024, N = 2048, K = 2048 };
    TensorArena arena;
    Tensor a, b, c;
    double best = 0;

    BENCH_TRY(tensor_arena_open(&arena, dev, 4 * (M * K + N * K + M * N) + 1024));
    BENCH_TRY(tensor_arena_take(&arena, &a, dtype, M, K));
    BENCH_TRY(tensor_arena_take(&arena, &b, dtype, N, K));
    BENCH_TRY(tensor_arena_take(&arena, &c, dtype, M, N));
    BENCH_TRY(device_fill_zero(dev, a));
    BENCH_TRY(device_fill_zero(dev, b));
    for (int i = 0; i < SAMPLES; i++) {
        double seconds;

        BENCH_TRY(device_mark(dev, 0));
        BENCH_TRY(op_gemm(dev, &(GemmArgs){.a = a, .b = b, .c = c, .op_b = GEMM_T}));
        BENCH_TRY(device_mark(dev, 1));
        BENCH_TRY(device_elapsed(dev, 0, 1, &seconds));
        best = 2.0 * M * N * K / seconds > best ? 2.0 * M * N * K / seconds : best;
    }
    tensor_arena_close(&arena);
    return best;
}

/* Weights that a step multiplies by: all matrices but the embedding, which is only looked up, unless it is the head as well. */
static double multiplied(const ModelConfig *cfg)
{
    const int64_t all = config_parameter_count(cfg), embedding = cfg->vocab_size * cfg->hidden_size;

    return (double)(cfg->tie_word_embeddings ? all : all - embedding);
}

/* ---- runs --------------------------------------------------------------------------------------------------------------- */

typedef struct Feed {
    Request request[MOST_ROWS];
    int32_t token[MOST_ROWS][PROMPT];
    int n, next;
} Feed;

static Status source(void *context, RequestGroup *group, bool *more)
{
    Feed *f = context;

    *more = f->next < f->n;
    if (*more)
        *group = (RequestGroup){&f->request[f->next++], 1};
    return LT_OK;
}

static Status sink(void *context, const RequestGroup *group, const Response *response)
{
    (void)context, (void)group, (void)response;
    return LT_OK;
}

static void fill(Feed *f, const Model *m, int rows, int max_new)
{
    uint32_t state = 1;

    f->n = rows;
    f->next = 0;
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < PROMPT; i++) {
            state = state * 1664525u + 1013904223u;
            f->token[r][i] = (int32_t)((state >> 8) % (uint32_t)m->cfg.vocab_size);
        }
        f->request[r] = (Request){.kind = REQUEST_GENERATE, .id = r, .adapter = -1, .token = f->token[r], .n_token = PROMPT,
                                  .sampling = {.max_new = max_new, .ignore_eos = true, .top_p = 1}};
    }
}

static void measure(const char *name, const Model *m, int rows, int max_new, double bytes_s, double flops_s)
{
    static Feed f;
    const double weights = multiplied(&m->cfg), size = (double)dtype_bytes(m->dtype), keys = (double)kvcache_page_bytes(m) / KV_PAGE;
    const double mean_length = PROMPT + max_new / 2.0, attention = 4.0 * (double)(m->cfg.num_hidden_layers * m->cfg.num_attention_heads * m->cfg.head_dim);
    const double by_bytes = rows / ((weights * size + rows * mean_length * keys) / bytes_s);
    const double by_flops = flops_s / (2 * weights + attention * mean_length);
    const double bound = by_bytes < by_flops ? by_bytes : by_flops;
    double decode[SAMPLES], read[SAMPLES];
    Generator *g;

    for (int i = 0; i < SAMPLES; i++) {
        BENCH_TRY(generator_open(&g, m, &(GeneratorOptions){.max_rows = rows, .max_length = PROMPT + max_new}));
        fill(&f, m, rows, max_new);
        BENCH_TRY(generator_run(g, source, &f, sink, &f));
        const GeneratorStats *s = generator_stats(g);
        decode[i] = s->decode_s / (double)(s->tokens_drawn - s->prompts);
        read[i] = s->read_s / (double)s->tokens_read;
        generator_close(g);
    }
    const double token_s = 1 / bench_median(decode, SAMPLES), best = 1 / decode[0];
    printf("%-18s %-5s %4d %9.1f %8.1f %11.1f %9.1f %7.0f %% %10.0f\n", name, dtype_name(m->dtype), rows, token_s, best, by_bytes, by_flops,
           100 * best / bound, 1 / bench_median(read, SAMPLES));
    fflush(stdout);
}

static void measure_all(const char *name, const Model *m, int max_new)
{
    const double bytes_s = bandwidth(m), flops_s = peak(m->dev, m->dtype);

    printf("%s, %s: %.1f M weights a token, %.1f GB/s, %.0f GFLOP/s\n", name, dtype_name(m->dtype), multiplied(&m->cfg) * 1e-6, bytes_s * 1e-9,
           flops_s * 1e-9);
    for (int rows = 1; rows <= MOST_ROWS; rows *= 4)
        measure(name, m, rows, max_new, bytes_s, flops_s);
}

static void bench_random(Device *dev, const char *name, int max_new)
{
    const DType first = strcmp(name, "110m") == 0 ? LT_F32 : LT_BF16;
    ModelConfig cfg;
    char label[32];

    snprintf(label, sizeof label, "random %s", name);
    BENCH_TRY(config_parse(&cfg, str_of(bench_config(name)), label));
    for (DType dtype = first; dtype <= LT_BF16; dtype++) {
        Model *m;

        BENCH_TRY(model_random(&m, dev, &cfg, dtype, 1));
        measure_all(label, m, max_new);
        model_free(m);
    }
}

static void bench_real(Device *dev, const char *data, int max_new)
{
    Checkpoint *ckpt;
    StrBuf path;

    strbuf_init(&path);
    BENCH_TRY(path_join(&path, data, "data/models/minimind2-small"));
    if (!dir_exists(path.data)) {
        printf("minimind2-small: not at %s (set LETHE_TEST_DATA)\n", path.data);
        strbuf_release(&path);
        return;
    }
    BENCH_TRY(checkpoint_open(&ckpt, path.data));
    for (DType dtype = LT_F32; dtype <= LT_BF16; dtype++) {
        Model *m;

        BENCH_TRY(model_load(&m, dev, ckpt, &(LoadOptions){.dtype = dtype}));
        measure_all("minimind2-small", m, max_new);
        model_free(m);
    }
    checkpoint_close(ckpt);
    strbuf_release(&path);
}

int main(int argc, char **argv)
{
    const int max_new = atoi(bench_option(argc, argv, "--new", "32"));
    const char *data = getenv("LETHE_TEST_DATA"), *model = bench_option(argc, argv, "--model", NULL);
    Device *dev;

    BENCH_TRY(device_open(&dev, bench_option(argc, argv, "--device", "cpu"), 0));
    printf("%s; prompts of %d tokens, %d new\n", device_description(dev), PROMPT, max_new);
    printf("%-18s %-5s %4s %9s %8s %11s %9s %9s %10s\n", "decoding, tokens/s", "type", "rows", "median", "best", "by bytes", "by FLOPs", "best/floor",
           "read tok/s");
    if (model == NULL)
        bench_real(dev, data != NULL ? data : "../shared", max_new);
    bench_random(dev, model != NULL ? model : "110m", max_new);
    device_close(dev);
    return 0;
}
