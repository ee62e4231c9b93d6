/* Tokenizers against the ids and texts of the reference library, every row exactly. */
#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/regex.h"
#include "core/utf8.h"
#include "model/tokenizer.h"

#include <stdio.h>

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

static void compare_text(Run *run, json_t *row, const char *key, bool skip)
{
    Ids ids = ids_of(json_object_get(row, "ids"));
    StrBuf got;

    strbuf_init(&got);
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

static void check_files(const char *tokenizer, const char *rows, const char *more_rows)
{
    Tokenizer *t;
    Run run;

    run_open(&run, &t, test_data(tokenizer));
    compare_rows(&run, rows);
    if (more_rows != NULL)
        compare_rows(&run, more_rows);
    encoder_free(run.e);
    tokenizer_free(t);
    assert_true(run.n_row > 50);
    if (run.n_bad > 0)
        fail_msg("%s: %zu comparisons of %zu rows differ", tokenizer, run.n_bad, run.n_row);
}

#define GOLDEN(function, tokenizer, name)                                                                              \
    static void function(void **state)                                                                                 \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check_files(tokenizer, "golden/tokenizer/" name ".jsonl.gz", "golden/tokenizer/" name "_decode.jsonl.gz");     \
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
        check_files(tokenizer, rows, NULL);
        n++;
    }
    file_list_release(&files);
    assert_int_equal(n, 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_minimind2),     cmocka_unit_test(test_golden_gpt2),
        cmocka_unit_test(test_golden_gpt2_old_form), cmocka_unit_test(test_golden_gpt_neox),
        cmocka_unit_test(test_golden_llama2),        cmocka_unit_test(test_golden_llama3),
        cmocka_unit_test(test_golden_mistral),       cmocka_unit_test(test_golden_qwen2),
        cmocka_unit_test(test_golden_smollm),        cmocka_unit_test(test_golden_synthetic),
    };
    return TEST_MAIN(tests);
}
