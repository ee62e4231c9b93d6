/* Tokenizers: time to load a tokenizer.json and MB/s of one thread, every text by a fresh encoder (so with an empty piece cache).
 *
 * The bound is the pre-tokenizer's regular expression, 40-70 MB/s with PCRE2's JIT; the files of Llama-2's kind have none and are
 * bound by reading the piece cache.
 *
 * usage: bench_tokenizer [TOKENIZER.json TEXT...], default: what LETHE_TEST_DATA holds of both. */
#include "benchmarks/bench.h"

#include "core/file.h"
#include "core/json.h"
#include "model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REPEATS = 5, FILE_MAX = 1 << 30 };

static const char *const tokenizers[] = {
    "data/models/minimind2-small/tokenizer.json", "data/tokenizers/gpt2/tokenizer.json",         "data/tokenizers/gpt_neox/tokenizer.json",
    "data/tokenizers/smollm/tokenizer.json",      "data/tokenizers/llama3/tokenizer.json",       "data/tokenizers/qwen2.5/tokenizer.json",
    "data/tokenizers/llama2/tokenizer.json",      "data/tokenizers/mistral_v0.1/tokenizer.json",
};
static const char *const texts[] = {
    "data/text/c4_demo.jsonl",
    "data/text/jane_austen_6_novels.txt",
    "data/text/tinyshakespeare.txt",
    "data/text/wikitext2_valid.txt",
};

/* CPU time: one thread works here, and what else runs on the machine should not count. */
static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static double encode_once(const Tokenizer *t, Str text, size_t *n_id)
{
    Encoder *e;
    Ids ids = {0};

    BENCH_TRY(encoder_create(&e, t));
    const double start = cpu_s();
    BENCH_TRY(encoder_encode(e, text, false, &ids));
    const double took = cpu_s() - start;
    *n_id = ids.count;
    ids_release(&ids);
    encoder_free(e);
    return took;
}

static void measure_text(const Tokenizer *t, const char *path)
{
    double took[REPEATS];
    StrBuf text;
    size_t n_id = 0;

    strbuf_init(&text);
    BENCH_TRY(file_read(path, FILE_MAX, &text));
    for (int i = 0; i < REPEATS; i++)
        took[i] = encode_once(t, strbuf_str(&text), &n_id);
    printf("  " STR_FORMAT " %.1f MB/s (%.2f bytes an id)", STR_ARG(path_tail(path)), (double)text.len / 1e6 / bench_median(took, REPEATS),
           (double)text.len / (double)n_id);
    strbuf_release(&text);
}

static void measure(const char *path, const char *const *text, size_t n_text)
{
    double took[REPEATS];
    Tokenizer *t = NULL;
    StrBuf json;

    strbuf_init(&json);
    BENCH_TRY(file_read(path, FILE_MAX, &json));
    for (int i = 0; i < REPEATS; i++) {
        tokenizer_free(t);
        const double start = cpu_s();
        BENCH_TRY(tokenizer_parse(&t, strbuf_str(&json), path));
        took[i] = cpu_s() - start;
    }
    printf("%s: %d ids, loaded in %.1f ms\n", path, (int)tokenizer_size(t), 1e3 * bench_median(took, REPEATS));
    for (size_t i = 0; i < n_text; i++)
        measure_text(t, text[i]);
    printf("\n");
    tokenizer_free(t);
    strbuf_release(&json);
}

/* The default files that are there, as paths that are never freed. */
static size_t find_files(const char *const *relative, size_t n, const char **found)
{
    const char *root = getenv("LETHE_TEST_DATA");
    size_t n_found = 0;
    StrBuf path;

    strbuf_init(&path);
    for (size_t i = 0; i < n; i++) {
        BENCH_TRY(path_join(&path, root != NULL ? root : "../shared", relative[i]));
        if (file_exists(path.data))
            found[n_found++] = strbuf_steal(&path, NULL);
    }
    strbuf_release(&path);
    return n_found;
}

int main(int argc, char **argv)
{
    enum { N_TOKENIZER = sizeof tokenizers / sizeof *tokenizers, N_TEXT = sizeof texts / sizeof *texts };
    const char *path[N_TOKENIZER], *text[N_TEXT];

    json_use_mem();
    if (argc > 2) {
        measure(argv[1], (const char *const *)argv + 2, (size_t)argc - 2);
        return 0;
    }
    const size_t n_text = find_files(texts, N_TEXT, text);
    const size_t n = find_files(tokenizers, N_TOKENIZER, path);
    for (size_t i = 0; i < n; i++)
        measure(path[i], text, n_text);
    return 0;
}
