/* Other people's vectors: llama.cpp's texts for three vocabularies, and llama2.c's ids of the stories260K vocabulary. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/file.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>

static Tiny open_file(const char *relative)
{
    Tiny tiny;

    CHECK_OK(tokenizer_load_file(&tiny.t, test_data(relative)));
    CHECK_OK(encoder_create(&tiny.e, tiny.t));
    return tiny;
}

static void read_vectors(StrBuf *out, const char *name, const char *end)
{
    char path[128];

    snprintf(path, sizeof path, "data/tokenizers/vectors/ggml-vocab-%s.gguf.%s", name, end);
    strbuf_init(out);
    CHECK_OK(file_read(test_data(path), 1 << 16, out));
}

/* One line of ids as text, from *at on. */
static void check_line(const Tiny *tiny, Str text, const char **at, size_t index)
{
    Ids got = {0};
    size_t n = 0;

    CHECK_OK(encoder_encode(tiny->e, text, false, &got));
    while (**at != '\n' && **at != '\0') {
        char *end;
        const long id = strtol(*at, &end, 10);
        if (end == *at)
            break;
        if (n >= got.count || got.id[n] != id)
            fail_msg("text %zu: id [%zu] is not %ld", index, n, id);
        n++;
        for (*at = end; **at == ' ';)
            ++*at;
    }
    assert_int_equal(got.count, n);
    *at += **at == '\n';
    ids_release(&got);
}

static void check_vectors(const char *tokenizer, const char *name)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    Tiny tiny = open_file(tokenizer);
    StrBuf texts, ids;
    size_t n = 0;

    read_vectors(&texts, name, "inp");
    read_vectors(&ids, name, "out");
    const char *at = ids.data;
    for (size_t begin = 0, end; begin <= texts.len; n++) {
        end = str_find(strbuf_str(&texts), (Str){mark, sizeof mark - 1}, begin);
        const size_t stop = end == SIZE_MAX ? texts.len : end;
        check_line(&tiny, str_slice(strbuf_str(&texts), begin, stop), &at, n);
        begin = end == SIZE_MAX ? texts.len + 1 : end + sizeof mark - 1;
    }
    assert_int_equal(n, 47);
    assert_int_equal(*at, '\0');
    strbuf_release(&texts);
    strbuf_release(&ids);
    tiny_close(&tiny);
}

static void test_llama_cpp_vectors(void **state)
{
    (void)state;
    check_vectors("data/tokenizers/gpt2/tokenizer.json", "gpt-2");
    check_vectors("data/tokenizers/gpt2/tokenizer_old_form.json", "gpt-2");
    check_vectors("data/tokenizers/llama3/tokenizer.json", "llama-bpe");
    check_vectors("data/tokenizers/llama2/tokenizer.json", "llama-spm");
    check_vectors("data/tokenizers/llama2/tokenizer.model", "llama-spm");
}

static void check_ids(const Tiny *tiny, JsonAt want, Str text, bool special)
{
    Ids got = {0};
    size_t n;

    CHECK_OK(json_to_array(want, &n));
    CHECK_OK(encoder_encode(tiny->e, text, special, &got));
    if (got.count != n)
        fail_msg("line %d: %zu ids, expected %zu", (int)want.up->line, got.count, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got.id[i], json_integer_value(json_array_get(want.value, i)));
    ids_release(&got);
}

/* llama2.c writes the piece of BOS too, in lines of its own. */
static void check_decoded(const Tiny *tiny, JsonAt row)
{
    static const char bos[] = "0a3c733e0a";
    const JsonAt list = json_member(&row, "ids");
    Ids ids = {0};
    StrBuf text, hex;
    Str want;
    size_t n;

    strbuf_init(&text);
    strbuf_init(&hex);
    CHECK_OK(json_to_array(list, &n));
    for (size_t i = 0; i < n; i++)
        CHECK_OK(ids_add(&ids, (int32_t)json_integer_value(json_array_get(list.value, i))));
    CHECK_OK(tokenizer_decode(tiny->t, ids.id, ids.count, false, &text));
    strbuf_add_text(&hex, bos);
    for (size_t i = 0; i < text.len; i++)
        strbuf_addf(&hex, "%02x", (unsigned)(uint8_t)text.data[i]);
    CHECK_OK(json_get_str(&row, "decoded_hex_bos", &want));
    check_str(strbuf_str(&hex), want.data, want.len);
    strbuf_release(&text);
    strbuf_release(&hex);
    ids_release(&ids);
}

static bool names_a_special_token(Str text)
{
    static const char *const names[] = {"<s>", "</s>", "<unk>"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_find(text, str_of(names[i]), 0) != SIZE_MAX)
            return true;
    return false;
}

/* But for the texts that name a special token, which llama2.c takes for ordinary characters. */
static void test_stories260k_has_llama2_c_ids(void **state)
{
    static const char rows[] = "golden/tokenizer/stories260K.jsonl.gz";
    Tiny tiny = open_file("golden/eval/tokenizer_stories260K/tokenizer.json");
    LineReader *lines;
    json_t *document;
    bool more;
    size_t n = 0;
    Str line, text;

    (void)state;
    CHECK_OK(lines_open(&lines, test_data(rows)));
    for (;;) {
        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&document, line, rows, lines_number(lines)));
        const JsonAt row = json_root(document, rows, lines_number(lines));
        CHECK_OK(json_get_str(&row, "text", &text));
        if (!names_a_special_token(text)) {
            check_ids(&tiny, json_member(&row, "ids"), text, false);
            check_ids(&tiny, json_member(&row, "ids_bos"), text, true);
            check_decoded(&tiny, row);
            n++;
        }
        json_decref(document);
    }
    lines_close(lines);
    assert_int_equal(n, 56);
    tiny_close(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_cpp_vectors),
        cmocka_unit_test(test_stories260k_has_llama2_c_ids),
    };
    return TEST_MAIN(tests);
}
