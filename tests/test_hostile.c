/* Hostile model folders through the public loaders: the verdict, a message that names file and place, and at once. What a single header,
 * tokenizer.json or config.json can get wrong in a small way is in test_safetensors, test_tokenizer_load and test_config; here is what aims at
 * the machine: depth, size, numbers at the edge, names that lead elsewhere, files that are none, texts that explode. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/file.h"
#include "core/log.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/tokenizer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- loading, timed ------------------------------------------------------------------------------------------------------- */

typedef Status Loader(const char *folder);

static Status load_weights(const char *folder)
{
    StSet set;

    TRY(st_set_open(&set, folder));
    st_set_close(&set);
    return LT_OK;
}

static Status load_tokenizer(const char *folder)
{
    Tokenizer *t;

    TRY(tokenizer_load(&t, folder));
    tokenizer_free(t);
    return LT_OK;
}

static Status load_config(const char *folder)
{
    ModelConfig cfg;
    Digest digest;

    return config_load(&cfg, &digest, folder);
}

/* Of this thread, so that a busy machine takes nothing from it. */
static double processor_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum { ROUNDS = 5 };

/* The quickest round counts: the others tell of the caches and of the neighbours. Instrumented programs are held to no time. */
static void check_verdict(const char *what, Loader *load, const char *folder, const char *file, const char *place)
{
    const int64_t held = mem_held();
    double least = 1;

    for (int i = 0; i < ROUNDS; i++) {
        const double began = processor_s();
        const Status st = load(folder);
        const double took = processor_s() - began;

        least = took < least ? took : least;
        if (st != LT_OK && strstr(status_text(), file) == NULL)
            fail_msg("%s: '%s' does not name %s", what, status_text(), file);
        check_status(st, place != NULL ? LT_E_INPUT : LT_OK, place, what, __FILE__, __LINE__);
    }
    assert_int_equal(mem_held(), held);
    printf("%s took %.1f ms\n", what, 1e3 * least);
    if (least > 0.010 && getenv("LETHE_TEST_REDUCED") == NULL)
        fail_msg("%s: expected a verdict within 10 ms, found %.1f", what, 1e3 * least);
}

/* ---- texts made of one piece, many times ---------------------------------------------------------------------------------- */

static void add_times(StrBuf *out, const char *text, size_t times)
{
    while (text != NULL && times-- > 0)
        strbuf_add_text(out, text);
}

/* `head`, `open` so many times, `middle`, `close` as often, `tail`; NULL is nothing. */
typedef struct Nest {
    const char *head, *open, *middle, *close, *tail;
    size_t times;
} Nest;

static void add_nest(StrBuf *out, const Nest *n)
{
    strbuf_init(out);
    add_times(out, n->head, 1);
    add_times(out, n->open, n->times);
    add_times(out, n->middle, 1);
    add_times(out, n->close, n->times);
    add_times(out, n->tail, 1);
    CHECK_OK(strbuf_status(out));
}

static const char *write_nest(const char *name, const Nest *n)
{
    const char *folder = test_folder();
    StrBuf text;

    add_nest(&text, n);
    test_file(folder, name, text.data, text.len);
    strbuf_release(&text);
    return folder;
}

/* ---- weights -------------------------------------------------------------------------------------------------------------- */

#define F32_1 "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
#define SHAPED(dtype, shape, offsets) "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void write_weights(const char *folder, const char *name, Str header, size_t n_data)
{
    StrBuf file;

    strbuf_init(&file);
    for (int i = 0; i < 8; i++)
        strbuf_add_char(&file, (char)(header.len >> (8 * i)));
    strbuf_add_str(&file, header);
    while (n_data-- > 0)
        strbuf_add_char(&file, 'd');
    CHECK_OK(strbuf_status(&file));
    test_file(folder, name, file.data, file.len);
    strbuf_release(&file);
}

static void test_hostile_headers(void **state)
{
    static const struct {
        const char *what;
        Nest header;
        size_t n_data;
        const char *place; /* NULL: accepted */
    } cases[] = {
        {"a hole between two tensors",
         {.head = "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}"},
         5, "tensor 'b': expected to begin at data byte 2"},
        {"one name over two ranges",
         {.head = "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}"},
         4, "duplicate"},
        {"ten thousand dimensions", {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1", ",1", "", "", "],\"data_offsets\":[0,1]}}", 9999}, 1, "t.shape"},
        {"bits that overflow", {.head = SHAPED("F64", "[281474976710656,8192]", "[0,0]")}, 0, "t.dtype"},
        {"offsets at the edge of 63 bits", {.head = SHAPED("U8", "[7]", "[9223372036854775800,9223372036854775807]")}, 7, "t.data_offsets"},
        {"a deep unknown field", {"{\"t\":{\"dtype\":\"U8\",\"x\":", "[", NULL, "]", ",\"shape\":[1],\"data_offsets\":[0,1]}}", 100000}, 1, "nesting"},
        {"nothing but braces", {"", "{", NULL, NULL, NULL, 1000000}, 0, "nesting"},
        {"a string without an end", {"{\"", "x", NULL, NULL, NULL, 200000}, 0, "model.safetensors:1"},
        {"a name of 200 kB", {"{\"", "x", "", "", "\":" F32_1 "}", 200000}, 4, "names of 1 to 1024 bytes"},
        {"400 kB of padding", {"{\"t\":" F32_1 "}", " ", NULL, NULL, NULL, 400000}, 4, NULL},
        {"a path for a name", {.head = "{\"../../../etc/passwd\":" F32_1 "}"}, 4, NULL},
        {"metadata of ten thousand keys that are one", {"{\"__metadata__\":{\"k\":\"\"", ",\"k\":\"\"", NULL, NULL, "}}", 10000}, 0, "duplicate"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = test_folder();
        StrBuf header;

        add_nest(&header, &cases[i].header);
        write_weights(folder, "model.safetensors", strbuf_str(&header), cases[i].n_data);
        strbuf_release(&header);
        check_verdict(cases[i].what, load_weights, folder, "model.safetensors", cases[i].place);
    }
}

/* A million tensors and one. Reading ten megabytes of JSON takes its time, so it is not held to any. */
static void test_hostile_number_of_tensors(void **state)
{
    const char *folder = test_folder();
    StrBuf header;

    (void)state;
    if (getenv("LETHE_TEST_REDUCED") != NULL)
        test_skip("a million tensors are too many for a reduced run");
    strbuf_init(&header);
    strbuf_add_char(&header, '{');
    for (int i = 0; i <= 1000000; i++)
        strbuf_addf(&header, "%s\"%d\":0", i > 0 ? "," : "", i);
    strbuf_add_char(&header, '}');
    write_weights(folder, "model.safetensors", strbuf_str(&header), 0);
    strbuf_release(&header);
    CHECK_FAILS(load_weights(folder), LT_E_INPUT, "at most 1000000 tensors, found 1000001");
}

static void put_index(const char *folder, const Nest *n)
{
    StrBuf text;

    add_nest(&text, n);
    test_file(folder, "model.safetensors.index.json", text.data, text.len);
    strbuf_release(&text);
}

static void test_hostile_index(void **state)
{
    static const struct {
        const char *what, *place;
        Nest text;
    } cases[] = {
        {"a shard by backslash", "weight_map.a", {.head = "{\"weight_map\":{\"a\":\"..\\\\1.safetensors\"}}"}},
        {"a shard with a NUL", "weight_map.a", {.head = "{\"weight_map\":{\"a\":\"1.safetensors\\u0000.safetensors\"}}"}},
        {"a tensor with a NUL", "NUL byte in object key", {.head = "{\"weight_map\":{\"a\":\"1.safetensors\",\"a\\u0000\":\"1.safetensors\"}}"}},
        {"a deep index", "depth", {"{\"weight_map\":", "[", NULL, "]", "}", 200000}},
        {"a shard that is a folder", "folder.safetensors", {.head = "{\"weight_map\":{\"a\":\"folder.safetensors\"}}"}},
        {"a shard that is a pipe", "pipe.safetensors", {.head = "{\"weight_map\":{\"a\":\"pipe.safetensors\"}}"}},
        {"a shard that never ends", "zero.safetensors", {.head = "{\"weight_map\":{\"a\":\"zero.safetensors\"}}"}},
        {"a shard that links to itself", "loop.safetensors", {.head = "{\"weight_map\":{\"a\":\"loop.safetensors\"}}"}},
        {"a key ten thousand times", "duplicate", {"{\"weight_map\":{\"a\":\"1.safetensors\"", ",\"a\":\"1.safetensors\"", NULL, NULL, "}}", 10000}},
    };
    const char *folder = test_folder();
    char path[512];

    (void)state;
    write_weights(folder, "1.safetensors", str_of("{\"a\":" F32_1 "}"), 4);
    snprintf(path, sizeof path, "%s/folder.safetensors", folder);
    CHECK_OK(dir_make(path));
    snprintf(path, sizeof path, "%s/pipe.safetensors", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/zero.safetensors", folder);
    assert_int_equal(symlink("/dev/zero", path), 0);
    snprintf(path, sizeof path, "%s/loop.safetensors", folder);
    assert_int_equal(symlink("loop.safetensors", path), 0);
    alarm(60); /* opening a pipe that nobody writes to waits for ever */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_index(folder, &cases[i].text);
        check_verdict(cases[i].what, load_weights, folder, "safetensors", cases[i].place);
    }
    alarm(0);
}

/* ---- tokenizers ----------------------------------------------------------------------------------------------------------- */

#define MODEL(vocab, merges) "\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}}"
#define SMALL MODEL("\"a\":0,\"b\":1,\"ab\":2", "[\"a\",\"b\"]")

static void test_hostile_tokenizers(void **state)
{
    static const struct {
        const char *what, *place;
        Nest text;
    } cases[] = {
        {"normalizers within normalizers", "depth", {"{\"normalizer\":", "{\"type\":\"Sequence\",\"normalizers\":[", "", "]}", "," SMALL, 20000}},
        {"a thousand of them, which JSON allows", NULL, {"{\"normalizer\":", "{\"type\":\"Sequence\",\"normalizers\":[", "", "]}", "," SMALL, 1000}},
        {"pre-tokenizers within each other", NULL, {"{\"pre_tokenizer\":", "{\"type\":\"Sequence\",\"pretokenizers\":[", "", "]}", "," SMALL, 1000}},
        {"decoders within each other", NULL, {"{\"decoder\":", "{\"type\":\"Sequence\",\"decoders\":[", "", "]}", "," SMALL, 1000}},
        {"seventeen normalizers", "normalizer.normalizers[16]",
         {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}", ",{\"type\":\"NFC\"}", "", "", "]}," SMALL, 16}},
        {"a deep vocabulary", "model.vocab.a", {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":", "[", NULL, "]", "},\"merges\":[]}}", 200000}},
        {"deep merges", "model.merges[0]", {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[", "[", NULL, "]", "]}}", 200000}},
        {"a merge of three", "model.merges[0]", {.head = "{" MODEL("\"a\":0,\"aa\":1", "[\"a\",\"a\",\"a\"]")}},
        {"a merge of numbers", "model.merges[1]", {.head = "{" MODEL("\"a\":0,\"aa\":1", "[\"a\",\"a\"],[0,0]")}},
        {"merges that feed each other", "model.merges[1]: 'aba'", {.head = "{" MODEL("\"a\":0,\"b\":1,\"ab\":2", "[\"a\",\"b\"],[\"ab\",\"a\"]")}},
        {"an id of 2^31", "model.vocab.b", {.head = "{" MODEL("\"a\":0,\"b\":2147483648", "")}},
        {"an id of 2^64", "model.vocab.b", {.head = "{" MODEL("\"a\":0,\"b\":18446744073709551616", "")}},
        {"an id that asks for a gigabyte", "model.vocab.b", {.head = "{" MODEL("\"a\":0,\"b\":100000000", "")}},
        {"an added id of 2^32", "added_tokens[0].id", {.head = "{\"added_tokens\":[{\"id\":4294967296,\"content\":\"x\"}]," SMALL}},
        {"an added token thousandfold", "added_tokens[1]",
         {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\"}", ",{\"id\":3,\"content\":\"x\"}", "", "", "]," SMALL, 1000}},
        {"byte tokens with bad digits", NULL, {.head = "{" MODEL("\"<0x-1>\":0,\"<0xGG>\":1,\"<0x1FF>\":2,\"<0x>\":3", "")}},
        {"a token of a megabyte", NULL, {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"", "x", "", "", "\":0},\"merges\":[]}}", 1000000}},
        {"a pattern of many groups", "pre_tokenizer.pattern.Regex",
         {"{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"", "(", "a", ")", "\"}}," SMALL, 10000}},
        {"a pattern that unrolls", "pre_tokenizer.pattern.Regex",
         {"{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"", "(", "a", "){1,1000}", "\"}}," SMALL, 5}},
        {"replacements that multiply", "added_tokens: the tokenizer's replacements",
         {"{\"added_tokens\":[{\"id\":3,\"content\":\"aa\",\"normalized\":true}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}",
          ",{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "", "", "]}," SMALL, 15}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_verdict(cases[i].what, load_tokenizer, write_nest("tokenizer.json", &cases[i].text), "tokenizer.json", cases[i].place);
}

static void test_hostile_tokenizer_is_a_pipe(void **state)
{
    const char *folder = test_folder();
    char path[512];

    (void)state;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(60);
    check_verdict("a pipe", load_tokenizer, folder, "tokenizer.json", "tokenizer.json");
    alarm(0);
}

/* The empty token in front of a merge gives the token itself back: a merge that would never be done, if it ever began. */
static void test_hostile_merge_goes_in_a_circle(void **state)
{
    Tiny tiny;
    StrBuf json;

    (void)state;
    tiny_bytes_json(&json, &(TinyFile){.vocab = ", \"\": 256", .merges = "[[\"\", \"a\"], [\"a\", \"\"], [\"\", \"\"]]"});
    tiny = tiny_open(&json);
    TINY_CHECK(&tiny, "aa", false, 'a', 'a');
    tiny_close(&tiny);
}

/* A pattern that matches nothing, everywhere, and one whose matches would end before they begin. */
static void test_hostile_patterns_meet_text(void **state)
{
    static const char *const patterns[] = {"", "(?=a)|(?=b)", "x*", "(?(DEFINE)(?<k>a\\\\K))(?=(?&k))"};
    static const bool refused[] = {false, false, false, true};

    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char pre[256];
        Ids ids = {0};
        StrBuf json;
        Tiny tiny;

        snprintf(pre, sizeof pre, "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, "
                 "\"behavior\": \"MergedWithNext\"}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}", patterns[i]);
        tiny_bytes_json(&json, &(TinyFile){.pre = pre});
        tiny = tiny_open(&json);
        if (refused[i]) {
            CHECK_FAILS(encoder_encode(tiny.e, str_of("xab"), false, &ids), LT_E_INPUT, "when searching from");
        } else {
            CHECK_OK(encoder_encode(tiny.e, str_of("xab"), false, &ids));
            assert_int_equal(ids.count, 3);
        }
        ids_release(&ids);
        tiny_close(&tiny);
    }
}

/* Replacements in a row are bounded while a text runs through them, forth and back. */
static void test_hostile_replacements_meet_text(void **state)
{
    static const char replace[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
    char steps[2048] = "";
    char normalizer[2304], decoder[2304];
    const int32_t id = 'a';
    Ids ids = {0};
    StrBuf json, back;
    Tiny tiny;

    (void)state;
    for (int i = 0; i < 15; i++) {
        strcat(steps, i > 0 ? "," : "");
        strcat(steps, replace);
    }
    snprintf(normalizer, sizeof normalizer, "{\"type\": \"Sequence\", \"normalizers\": [%s]}", steps);
    snprintf(decoder, sizeof decoder, "{\"type\": \"Sequence\", \"decoders\": [%s]}", steps);
    tiny_bytes_json(&json, &(TinyFile){.normalizer = normalizer, .decoder = decoder});
    tiny = tiny_open(&json);
    strbuf_init(&back);
    CHECK_FAILS(encoder_encode(tiny.e, str_of("a"), false, &ids), LT_E_INPUT, "replacements turn a text of");
    CHECK_FAILS(tokenizer_decode(tiny.t, &id, 1, false, &back), LT_E_INPUT, "replacements turn a text of");
    strbuf_release(&back);
    ids_release(&ids);
    tiny_close(&tiny);
}

/* ---- configs -------------------------------------------------------------------------------------------------------------- */

#define SIZES                                                                                                          \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":176,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":320"

static void test_hostile_configs(void **state)
{
    static const struct {
        const char *what, *place;
        Nest text;
    } cases[] = {
        {"a deep config", "depth", {"{" SIZES ",\"x\":", "[", NULL, "]", "}", 100000}},
        {"a key twice", "duplicate", {.head = "{" SIZES ",\"hidden_size\":64}"}},
        {"a config of seventeen megabytes", "config.json", {"{" SIZES "}", "                                ", NULL, NULL, NULL, 540000}},
        {"bad UTF-8", "unable to decode byte 0xff", {.head = "{" SIZES ",\"x\":\"\xff\"}"}},
        {"a vocabulary of 1e18", "vocab_size", {.head = "{\"model_type\":\"llama\",\"vocab_size\":1000000000000000000}"}},
        {"a number of 200 kB", "config.json", {"{" SIZES ",\"x\":1", "0", "", "", "}", 200000}},
        {"an end token of 2^31", "eos_token_id", {.head = "{" SIZES ",\"eos_token_id\":2147483648}"}},
        {"an end token below none", "eos_token_id[1]", {.head = "{" SIZES ",\"eos_token_id\":[2,-1]}"}},
        {"twenty thousand end tokens", "eos_token_id", {"{" SIZES ",\"eos_token_id\":[0", ",0", "", "", "]}", 20000}},
        {"heads of 2^40", "head_dim", {.head = "{" SIZES ",\"head_dim\":1099511627776}"}},
        {"more heads than width", "num_attention_heads", {.head = "{\"model_type\":\"llama\",\"vocab_size\":1,\"hidden_size\":64,\"intermediate_size\":1,"
         "\"num_hidden_layers\":1,\"num_attention_heads\":128}"}},
        {"code to run, which is passed over", NULL, {.head = "{" SIZES ",\"auto_map\":{\"AutoConfig\":\"evil.Config\"},\"trust_remote_code\":true}"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_verdict(cases[i].what, load_config, write_nest("config.json", &cases[i].text), "config.json", cases[i].place);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_hostile_number_of_tensors),
        cmocka_unit_test(test_hostile_index),
        cmocka_unit_test(test_hostile_tokenizers),
        cmocka_unit_test(test_hostile_tokenizer_is_a_pipe),
        cmocka_unit_test(test_hostile_merge_goes_in_a_circle),
        cmocka_unit_test(test_hostile_patterns_meet_text),
        cmocka_unit_test(test_hostile_replacements_meet_text),
        cmocka_unit_test(test_hostile_configs),
    };

    log_set_level(LOG_QUIET);
    return TEST_MAIN(tests);
}
