/* Tokenizers against the ids and texts of the reference library, every row exactly. */
#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/regex.h"
#include "core/utf8.h"
#include "model/tokenizer_private.h"

#include <stdio.h>
#include <stdlib.h>

static Ids ids_of(json_t *list)
{
    Ids ids = {0};

    for (size_t i = 0; i < json_array_size(list); i++)
        CHECK_OK(ids_add(&ids, (int32_t)json_integer_value(json_array_get(list, i))));
    return ids;
}

static Str text_of(json_t *row, const char *key)
{
    json_t *value = json_object_get(row, key);

    return (Str){json_string_value(value), json_string_length(value)};
}

static void print_ids(const char *what, const Ids *ids)
{
    fprintf(stderr, "  %s:", what);
    for (size_t i = 0; i < ids->count && i < 40; i++)
        fprintf(stderr, " %d", (int)ids->id[i]);
    fprintf(stderr, " (%zu)\n", ids->count);
}

/* Where a comparison takes place, for messages, and how it went. */
typedef struct Run {
    const char *file;
    const Tokenizer *t;
    Encoder *e;
    uint64_t line;
    size_t n_row, n_bad;
} Run;

static void complain(Run *run, json_t *row, const char *key)
{
    const Str text = text_of(row, "text");
    StrBuf shown;

    if (++run->n_bad > 5)
        return;
    strbuf_init(&shown);
    if (text.data != NULL)
        json_write_str(&shown, text, true);
    fprintf(stderr, "%s:%llu: %s differs, text %.120s\n", run->file, (unsigned long long)run->line, key,
            shown.data != NULL ? shown.data : "none");
    strbuf_release(&shown);
}

static void compare_ids(Run *run, json_t *row, const char *key, bool special)
{
    Ids want, got = {0};

    if (json_object_get(row, key) == NULL)
        return;
    want = ids_of(json_object_get(row, key));
    CHECK_OK(encoder_encode(run->e, text_of(row, "text"), special, &got));
    if (got.count != want.count || (got.count > 0 && memcmp(got.id, want.id, got.count * sizeof *got.id) != 0)) {
        complain(run, row, key);
        if (run->n_bad <= 5) {
            print_ids("got ", &got);
            print_ids("want", &want);
        }
    }
    ids_release(&got);
    ids_release(&want);
}

/* The deltas of a stream, joined to a text. */
static void decode_by_stream(const Tokenizer *t, const Ids *ids, bool skip, StrBuf *out)
{
    StreamDecoder *d;

    CHECK_OK(stream_decoder_create(&d, t, skip));
    for (size_t i = 0; i < ids->count; i++)
        CHECK_OK(stream_decoder_push(d, ids->id[i], out));
    CHECK_OK(stream_decoder_flush(d, out));
    stream_decoder_free(d);
}

static void compare_text(Run *run, json_t *row, const char *key, bool skip)
{
    Ids ids = ids_of(json_object_get(row, "ids"));
    StrBuf got;

    strbuf_init(&got);
    decode_by_stream(run->t, &ids, skip, &got);
    if (!str_equal(strbuf_str(&got), text_of(row, key)))
        complain(run, row, "a streamed text");
    strbuf_clear(&got);
    CHECK_OK(tokenizer_decode(run->t, ids.id, ids.count, skip, &got));
    if (!str_equal(strbuf_str(&got), text_of(row, key))) {
        complain(run, row, key);
        if (run->n_bad <= 5)
            fprintf(stderr, "  got  '%s'\n  want '%s'\n", got.data, text_of(row, key).data);
    }
    strbuf_release(&got);
    ids_release(&ids);
}

static void compare_rows(Run *run, const char *relative)
{
    LineReader *lines;
    bool more;
    Str line;

    run->file = relative;
    CHECK_OK(lines_open(&lines, test_data(relative)));
    for (;;) {
        json_t *row;
        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        run->line = lines_number(lines);
        CHECK_OK(json_parse(&row, line, relative, run->line));
        if (json_object_get(row, "text") != NULL) {
            compare_ids(run, row, "ids", false);
            compare_ids(run, row, "ids_special", true);
        }
        compare_text(run, row, "decoded", false);
        compare_text(run, row, "decoded_skip", true);
        json_decref(row);
        run->n_row++;
    }
    lines_close(lines);
}

/* Each delta, and what the flush brings, as the reference has it; one decoder for all rows. */
static void compare_deltas(Run *run, StreamDecoder *d, json_t *row)
{
    json_t *delta = json_object_get(row, "delta");
    Ids ids = ids_of(json_object_get(row, "ids"));
    StrBuf got;

    strbuf_init(&got);
    for (size_t i = 0; i < ids.count; i++) {
        json_t *want = json_array_get(delta, i);
        strbuf_clear(&got);
        CHECK_OK(stream_decoder_push(d, ids.id[i], &got));
        if (!str_equal(strbuf_str(&got), (Str){json_string_value(want), json_string_length(want)}))
            complain(run, row, "a delta");
    }
    strbuf_clear(&got);
    CHECK_OK(stream_decoder_flush(d, &got));
    if (!str_equal(strbuf_str(&got), text_of(row, "flush")))
        complain(run, row, "the flush");
    strbuf_release(&got);
    ids_release(&ids);
}

static void compare_stream(Run *run, const char *relative)
{
    StreamDecoder *d;
    LineReader *lines;
    json_t *row;
    bool more;
    Str line;
    size_t n = 0;

    run->file = relative;
    CHECK_OK(stream_decoder_create(&d, run->t, true));
    CHECK_OK(lines_open(&lines, test_data(relative)));
    for (;; n++) {
        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        run->line = lines_number(lines);
        CHECK_OK(json_parse(&row, line, relative, run->line));
        compare_deltas(run, d, row);
        json_decref(row);
    }
    lines_close(lines);
    stream_decoder_free(d);
    assert_int_equal(n, 64);
}

static void run_open(Run *run, Tokenizer **t, const char *path)
{
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(file_read(path, (size_t)1 << 30, &text));
    CHECK_OK(tokenizer_parse(t, strbuf_str(&text), path));
    strbuf_release(&text);
    *run = (Run){.t = *t};
    CHECK_OK(encoder_create(&run->e, *t));
}

static void check_files(const char *tokenizer, const char *rows, const char *more_rows, const char *stream_rows)
{
    Tokenizer *t;
    Run run;

    run_open(&run, &t, test_data(tokenizer));
    compare_rows(&run, rows);
    if (more_rows != NULL)
        compare_rows(&run, more_rows);
    if (stream_rows != NULL)
        compare_stream(&run, stream_rows);
    encoder_free(run.e);
    tokenizer_free(t);
    assert_true(run.n_row > 50);
    if (run.n_bad > 0)
        fail_msg("%s: %zu comparisons of %zu rows differ", tokenizer, run.n_bad, run.n_row);
}

#define GOLDEN(function, tokenizer, name)                                                                                                  \
    static void function(void **state)                                                                                                     \
    {                                                                                                                                      \
        (void)state;                                                                                                                       \
        check_files(tokenizer, "golden/tokenizer/" name ".jsonl.gz", "golden/tokenizer/" name "_decode.jsonl.gz",                          \
                    "golden/tokenizer/" name "_stream.jsonl.gz");                                                                          \
    }

GOLDEN(test_golden_minimind2, "data/models/minimind2-small/tokenizer.json", "minimind2-small")
GOLDEN(test_golden_gpt2, "data/tokenizers/gpt2/tokenizer.json", "gpt2")
GOLDEN(test_golden_gpt2_old_form, "data/tokenizers/gpt2/tokenizer_old_form.json", "gpt2")
GOLDEN(test_golden_gpt_neox, "data/tokenizers/gpt_neox/tokenizer.json", "gpt_neox")
GOLDEN(test_golden_llama2, "data/tokenizers/llama2/tokenizer.json", "llama2")
GOLDEN(test_golden_llama3, "data/tokenizers/llama3/tokenizer.json", "llama3")
GOLDEN(test_golden_mistral, "data/tokenizers/mistral_v0.1/tokenizer.json", "mistral_v0.1")
GOLDEN(test_golden_qwen2, "data/tokenizers/qwen2.5/tokenizer.json", "qwen2.5")
GOLDEN(test_golden_smollm, "data/tokenizers/smollm/tokenizer.json", "smollm")

static void test_golden_synthetic(void **state)
{
    FileList files = {0};
    char tokenizer[256], rows[256];
    size_t n = 0;

    (void)state;
    CHECK_OK(dir_list(test_data("golden/tokenizer/synthetic"), &files));
    for (size_t i = 0; i < files.count; i++) {
        const Str name = str_of(files.name[i]);
        if (!str_ends(name, str_of(".json")))
            continue;
        snprintf(tokenizer, sizeof tokenizer, "golden/tokenizer/synthetic/%s", files.name[i]);
        snprintf(rows, sizeof rows, "golden/tokenizer/synthetic/%sl.gz", files.name[i]);
        check_files(tokenizer, rows, NULL, NULL);
        n++;
    }
    file_list_release(&files);
    assert_int_equal(n, 25);
}

/* lm-eval's view: context and continuation encoded as one text, split after what the context alone gives. */
static size_t check_choices(Encoder *e, json_t *row, const char *file)
{
    json_t *choices = json_object_get(row, "choices");
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(choices); i++) {
        json_t *choice = json_array_get(choices, i);
        if (json_object_get(choice, "ids") == NULL || json_object_get(choice, "context") == NULL)
            continue;
        const Str context = text_of(choice, "context"), continuation = text_of(choice, "continuation");
        Ids want = ids_of(json_object_get(choice, "ids")), got = {0};
        StrBuf whole;
        strbuf_init(&whole);
        strbuf_add_str(&whole, context);
        strbuf_add_str(&whole, continuation);
        CHECK_OK(encoder_encode(e, strbuf_str(&whole), true, &got));
        if (got.count != want.count || memcmp(got.id, want.id, got.count * sizeof *got.id) != 0)
            fail_msg("%s: doc %lld, choice %zu differs", file, json_integer_value(json_object_get(row, "doc_id")), i);
        got.count = 0;
        CHECK_OK(encoder_encode(e, context, true, &got));
        assert_int_equal(got.count, json_integer_value(json_object_get(choice, "n_ctx")));
        strbuf_release(&whole);
        ids_release(&got);
        ids_release(&want);
        n++;
    }
    return n;
}

static void check_prompts(const char *tokenizer, const char *folder)
{
    static const char *const tasks[] = {"arc_challenge_0shot", "hellaswag_0shot", "hellaswag_10shot", "winogrande_0shot",
                                        "winogrande_5shot"};
    char path[256];
    Tokenizer *t;
    Run run;

    run_open(&run, &t, test_data(tokenizer));
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        LineReader *lines;
        bool more;
        Str line;
        json_t *row;
        size_t n = 0;
        snprintf(path, sizeof path, "golden/eval/loglikelihood/%s/%s.jsonl.gz", folder, tasks[i]);
        CHECK_OK(lines_open(&lines, test_data(path)));
        for (;;) {
            CHECK_OK(lines_next(lines, &line, &more));
            if (!more)
                break;
            CHECK_OK(json_parse(&row, line, path, lines_number(lines)));
            n += check_choices(run.e, row, path);
            json_decref(row);
        }
        lines_close(lines);
        assert_true(n >= 10); /* five documents of two choices at least */
    }
    encoder_free(run.e);
    tokenizer_free(t);
}

static void test_golden_prompts_of_stories260k(void **state)
{
    (void)state;
    check_prompts("golden/eval/tokenizer_stories260K/tokenizer.json", "stories260K");
}

static void test_golden_prompts_of_minimind2(void **state)
{
    (void)state;
    check_prompts("data/models/minimind2-small/tokenizer.json", "minimind2-small");
}

static Status read_hex(JsonAt at, uint32_t *out)
{
    Str text;

    TRY(json_to_str(at, &text));
    *out = (uint32_t)strtoul(text.data, NULL, 16);
    return LT_OK;
}

/* All of Unicode as one text: the runs that `pattern` matches there are the ranges of the class. */
static void check_class(const StrBuf *all, const char *pattern, JsonAt ranges)
{
    Pattern compiled = {0};
    PatternWalk walk = {.pattern = &compiled, .text = strbuf_str(all), .last_end = SIZE_MAX};
    size_t begin, end, n;
    uint32_t first, last, code;
    bool found;

    CHECK_OK(pattern_compile(&compiled, str_of(pattern)));
    CHECK_OK(json_to_array(ranges, &n));
    for (size_t i = 0; i < n; i++) {
        const JsonAt range = json_element(&ranges, i);
        CHECK_OK(read_hex(json_element(&range, 0), &first));
        CHECK_OK(read_hex(json_element(&range, 1), &last));
        CHECK_OK(pattern_next(&walk, &begin, &end, &found));
        assert_true(found);
        utf8_next(walk.text, begin, &code);
        assert_int_equal(code, first);
        for (end--; ((uint8_t)walk.text.data[end] & 0xc0) == 0x80; end--)
            continue;
        utf8_next(walk.text, end, &code);
        assert_int_equal(code, last);
    }
    CHECK_OK(pattern_next(&walk, &begin, &end, &found));
    assert_false(found);
    pattern_release(&compiled);
}

static void test_golden_unicode_classes(void **state)
{
    StrBuf all;
    json_t *document;
    char text[4];

    (void)state;
    CHECK_OK(json_load_path(&document, test_data("golden/tokenizer/unicode_classes.json"), 1 << 20));
    const JsonAt root = json_root(document, "unicode_classes.json", 0);
    strbuf_init(&all);
    for (uint32_t code = 0; code < 0x110000; code++)
        if (code < 0xd800 || code > 0xdfff)
            strbuf_add(&all, text, utf8_put(text, code));
    CHECK_OK(strbuf_status(&all));
    check_class(&all, "\\p{L}+", json_member(&root, "L"));
    check_class(&all, "[\\p{L}]+", json_member(&root, "L"));
    check_class(&all, "\\p{N}+", json_member(&root, "N"));
    check_class(&all, "\\s+", json_member(&root, "white_space"));
    check_class(&all, "[^\\S]+", json_member(&root, "white_space"));
    check_class(&all, "(?:(?!\\P{N}).)+", json_member(&root, "N"));
    check_class(&all, "(?:(?!\\S)[\\s\\S])+", json_member(&root, "white_space"));
    strbuf_release(&all);
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_minimind2),
        cmocka_unit_test(test_golden_gpt2),
        cmocka_unit_test(test_golden_gpt2_old_form),
        cmocka_unit_test(test_golden_gpt_neox),
        cmocka_unit_test(test_golden_llama2),
        cmocka_unit_test(test_golden_llama3),
        cmocka_unit_test(test_golden_mistral),
        cmocka_unit_test(test_golden_qwen2),
        cmocka_unit_test(test_golden_smollm),
        cmocka_unit_test(test_golden_synthetic),
        cmocka_unit_test(test_golden_prompts_of_stories260k),
        cmocka_unit_test(test_golden_prompts_of_minimind2),
        cmocka_unit_test(test_golden_unicode_classes),
    };
    return TEST_MAIN(tests);
}
