/* Log-likelihood scoring end to end in one process: items/s and tokens/s, and where the time goes.
 *
 * Two kinds of work: HellaSwag-shaped random requests on a random 12 x 768 Llama (110 M parameters, vocabulary 32,000), and the real HellaSwag
 * items on minimind2-small where LETHE_TEST_DATA has them. The floor is what the matrix products alone would take at the rate this
 * process measures for one large product of the model's own shape.
 *
 * usage: bench_score [--seconds 10] [--device cpu] [--model 110m|1b|7b]: with --model that random model alone, in BF16 (110m: F32 too) */
#include "benchmarks/bench.h"

#include "core/clock.h"
#include "core/random.h"
#include "eval/engine/engine.h"
#include "eval/tasks/dataset.h"
#include "eval/tasks/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENDINGS = 4, MAX_TOKENS = 4096 };

/* A stream of items until the time is up. */
typedef struct Feed {
    const DataSet *data; /* NULL: random items */
    Encoder *encoder;
    const Tokenizer *tokenizer;
    int64_t item;
    double until_s, first_s;
    Ids ids[ENDINGS];
    Request request[ENDINGS];
} Feed;

/* Length of a part, mean 56 or 33 tokens as HellaSwag's contexts and endings have under Llama's tokenizer, spread by half. */
static int32_t part_length(int64_t item, uint32_t part)
{
    const uint32_t counter[4] = {(uint32_t)item, part, 0, 0}, key[2] = {1, 2};
    uint32_t word[4];
    const float mean = part == 0 ? 56 : 33;

    philox4x32(counter, key, word);
    return (int32_t)(mean * (0.5f + philox_unit(word[0])));
}

static Status random_item(Feed *f)
{
    const int32_t context = part_length(f->item, 0);

    for (uint32_t e = 0; e < ENDINGS; e++) {
        const int32_t own = part_length(f->item, e + 1);

        f->ids[e].count = 0;
        for (int32_t i = 0; i < context + own; i++) {
            const uint32_t counter[4] = {(uint32_t)f->item, i < context ? 0 : e + 1, (uint32_t)i, 1}, key[2] = {3, 4};
            uint32_t word[4];

            philox4x32(counter, key, word);
            TRY(ids_add(&f->ids[e], (int32_t)(word[0] % 32000)));
        }
        f->request[e] = (Request){.id = e, .adapter = -1, .n_score = own};
    }
    return LT_OK;
}

static Status real_item(Feed *f)
{
    const Doc *doc = &f->data->doc[(size_t)f->item % f->data->n_doc];

    for (int e = 0; e < ENDINGS; e++) {
        int32_t n_context, n_own;

        f->ids[e].count = 0;
        TRY(encode_pair(f->encoder, f->tokenizer, BOS_AUTO, doc->context[0], doc->continuation[e], &f->ids[e], &n_context, &n_own));
        f->request[e] = (Request){.id = e, .adapter = -1, .n_score = n_own};
    }
    return LT_OK;
}

/* The engine holds several groups at once, so every group owns its memory; freed in sink. */
typedef struct Held {
    Request request[ENDINGS];
    int32_t token[];
} Held;

static Status source(void *context, RequestGroup *group, bool *more)
{
    Feed *f = context;
    size_t total = 0;
    Held *held;

    *more = clock_s() < f->until_s;
    if (!*more)
        return LT_OK;
    TRY(f->data != NULL ? real_item(f) : random_item(f));
    for (int e = 0; e < ENDINGS; e++)
        total += f->ids[e].count;
    held = mem_take(1, sizeof *held + total * sizeof *held->token);
    if (held == NULL)
        return LT_E_NOMEM;
    total = 0;
    for (int e = 0; e < ENDINGS; e++) {
        memcpy(held->token + total, f->ids[e].id, f->ids[e].count * sizeof *held->token);
        held->request[e] = f->request[e];
        held->request[e].token = held->token + total;
        held->request[e].n_token = (int32_t)f->ids[e].count;
        total += f->ids[e].count;
    }
    *group = (RequestGroup){held->request, ENDINGS};
    f->item++;
    return LT_OK;
}

static Status sink(void *context, const RequestGroup *group, const Response *response)
{
    Feed *f = context;

    (void)response;
    if (f->first_s == 0)
        f->first_s = clock_s();
    mem_free((void *)(uintptr_t)group->request);
    return LT_OK;
}

static void measure(const char *name, Device *dev, const Model *model, Feed *f, double seconds)
{
    Engine *engine;
    GemmMeter *meter = device_gemm_meter(dev);
    double start, took;
    const EngineStats *stats;

    BENCH_TRY(engine_open(&engine, model, &(EngineOptions){0}));
    *meter = (GemmMeter){.on = true};
    start = clock_s();
    f->until_s = start + seconds;
    f->item = 0;
    f->first_s = 0;
    BENCH_TRY(engine_run(engine, source, f, sink, f));
    took = clock_s() - start;
    stats = engine_stats(engine);
    printf("%-28s %-5s %8.2f items/s %9.0f tokens/s  gemm %4.1f %% of the time at %5.1f GFLOP/s  first item %.3f s  memory of a pass %.1f MiB\n", name,
           dtype_name(model->dtype), (double)stats->groups / took, (double)stats->tokens_read / took, 100 * meter->seconds / took,
           meter->flops / meter->seconds * 1e-9, f->first_s - start, (double)engine_bytes(engine) / (1 << 20));
    fflush(stdout);
    engine_close(engine);
}

static void bench_random(Device *dev, const char *name, double seconds)
{
    const DType first = strcmp(name, "110m") == 0 ? LT_F32 : LT_BF16;
    ModelConfig cfg;
    char label[32];

    snprintf(label, sizeof label, "random %s, 32,000", name);
    BENCH_TRY(config_parse(&cfg, str_of(bench_config(name)), label));
    for (DType dtype = first; dtype <= LT_BF16; dtype++) {
        Model *model;
        Feed f = {0};

        BENCH_TRY(model_random(&model, dev, &cfg, dtype, 1));
        measure(label, dev, model, &f, seconds);
        for (int e = 0; e < ENDINGS; e++)
            ids_release(&f.ids[e]);
        model_free(model);
    }
}

static void bench_real(Device *dev, const char *data, double seconds)
{
    StrBuf path;
    Checkpoint *ckpt;
    Tokenizer *tokenizer;
    DataSet set;
    Feed f = {0};

    strbuf_init(&path);
    BENCH_TRY(path_join(&path, data, "data/models/minimind2-small"));
    if (!dir_exists(path.data)) {
        printf("minimind2-small: not at %s (set LETHE_TEST_DATA)\n", path.data);
        strbuf_release(&path);
        return;
    }
    BENCH_TRY(checkpoint_open(&ckpt, path.data));
    BENCH_TRY(tokenizer_load(&tokenizer, path.data));
    BENCH_TRY(encoder_create(&f.encoder, tokenizer));
    BENCH_TRY(path_join(&path, data, "data/benchmarks/hellaswag/validation.jsonl"));
    BENCH_TRY(dataset_open(&set, task_find(str_of("hellaswag")), path.data));
    f.data = &set;
    f.tokenizer = tokenizer;
    for (DType dtype = LT_F32; dtype <= LT_BF16; dtype++) {
        Model *model;

        BENCH_TRY(model_load(&model, dev, ckpt, &(LoadOptions){.dtype = dtype}));
        measure("minimind2-small, HellaSwag", dev, model, &f, seconds);
        model_free(model);
    }
    for (int e = 0; e < ENDINGS; e++)
        ids_release(&f.ids[e]);
    dataset_close(&set);
    encoder_free(f.encoder);
    tokenizer_free(tokenizer);
    checkpoint_close(ckpt);
    strbuf_release(&path);
}

int main(int argc, char **argv)
{
    const double seconds = atof(bench_option(argc, argv, "--seconds", "10"));
    const char *data = getenv("LETHE_TEST_DATA"), *model = bench_option(argc, argv, "--model", NULL);
    Device *dev;

    BENCH_TRY(device_open(&dev, bench_option(argc, argv, "--device", "cpu"), 0));
    printf("%s\n", device_description(dev));
    if (model == NULL)
        bench_real(dev, data != NULL ? data : "../shared", seconds);
    bench_random(dev, model != NULL ? model : "110m", seconds);
    device_close(dev);
    return 0;
}
