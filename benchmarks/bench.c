#include "benchmarks/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_check(Status st, const char *what)
{
    if (st == LT_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, status_text());
    exit(status_exit_code(st));
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *sample, size_t n)
{
    qsort(sample, n, sizeof *sample, compare);
    return sample[n / 2];
}

#define CONFIG(hidden, ffn, layers, heads, kv_heads, positions)                                                                            \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":" #hidden ",\"intermediate_size\":" #ffn \
    ",\"num_hidden_layers\":" #layers ",\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #kv_heads                            \
    ",\"max_position_embeddings\":" #positions ",\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":false}"

const char *bench_config(const char *name)
{
    static const char *const config[][2] = {
        {"110m", CONFIG(768, 2048, 12, 12, 12, 2048)},
        {"1b", CONFIG(2048, 5632, 22, 32, 4, 2048)},
        {"7b", CONFIG(4096, 11008, 32, 32, 32, 4096)},
    };

    for (size_t i = 0; i < sizeof config / sizeof *config; i++)
        if (strcmp(config[i][0], name) == 0)
            return config[i][1];
    fprintf(stderr, "unknown model '%s', expected 110m, 1b or 7b\n", name);
    exit(2);
}

const char *bench_option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return otherwise;
}
