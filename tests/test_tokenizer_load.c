/* Reading tokenizer files: what is refused, in which words, damaged files, folders, lack of memory. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/file.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "model/tokenizer_private.h"

#include <stdio.h>
#include <stdlib.h>

static Status parse_text(const char *text, size_t len)
{
    Tokenizer *t = NULL;
    const Status st = tokenizer_parse(&t, (Str){text, len}, "x.json");

    if (st == LT_OK)
        tokenizer_free(t);
    return st;
}

static void refuse_file(const TinyFile *file, const char *message)
{
    StrBuf json;

    tiny_bytes_json(&json, file);
    CHECK_FAILS(parse_text(json.data, json.len), LT_E_INPUT, message);
    strbuf_release(&json);
}

static void test_load_refuses_unknown_kinds_by_name(void **state)
{
    (void)state;
    refuse_file(&(TinyFile){.normalizer = "{\"type\": \"Lowercase\"}"}, "x.json: normalizer: normalizer 'Lowercase' is not supported");
    refuse_file(&(TinyFile){.normalizer = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Foo\"}]}"},
                "x.json: normalizer.normalizers[1]: normalizer 'Foo' is not supported");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Whitespace\"}"}, "x.json: pre_tokenizer: pre-tokenizer 'Whitespace'");
    refuse_file(&(TinyFile){.post = "{\"type\": \"BertProcessing\"}"}, "x.json: post_processor: post-processor 'BertProcessing'");
    refuse_file(&(TinyFile){.decoder = "{\"type\": \"WordPiece\"}"}, "x.json: decoder: decoder 'WordPiece'");
    refuse_file(&(TinyFile){.decoder = "{\"type\": 7}"}, "x.json: decoder.type: expected");
    refuse_file(&(TinyFile){.options = "\"end_of_word_suffix\": \"</w>\","}, "x.json: model.end_of_word_suffix");
    refuse_file(&(TinyFile){.options = "\"dropout\": 0.1,"}, "x.json: model.dropout");
    refuse_file(&(TinyFile){.options = "\"surprise\": {},"}, "x.json: model.surprise");
    refuse_file(&(TinyFile){.options = "\"unk_token\": \"<none>\","}, "x.json: model.unk_token: '<none>'");
    CHECK_FAILS(parse_text("{\"model\": {\"type\": \"Unigram\"}}", sizeof("{\"model\": {\"type\": \"Unigram\"}}") - 1), LT_E_INPUT,
                "model 'Unigram' is not supported");
}

static void test_load_refuses_bad_steps(void **state)
{
    (void)state;
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Isolated\"}"},
                "x.json: pre_tokenizer.pattern.Regex: regular expression");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, \"behavior\": \"Isolated\"}"},
                "x.json: pre_tokenizer.pattern.String");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Split\", \"pattern\": {}, \"behavior\": \"Isolated\"}"},
                "x.json: pre_tokenizer.pattern: expected");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Joined\"}"},
                "x.json: pre_tokenizer.behavior: expected Removed");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"Digits\"}]}"},
                "x.json: pre_tokenizer.pretokenizers[1]: pre-tokenizer 'Digits' behind ByteLevel");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Metaspace\", \"replacement\": \"--\"}"},
                "x.json: pre_tokenizer.replacement: expected one character");
    refuse_file(&(TinyFile){.pre = "{\"type\": \"Metaspace\", \"replacement\": \"-\", \"prepend_scheme\": \"last\"}"},
                "x.json: pre_tokenizer.prepend_scheme");
    refuse_file(&(TinyFile){.post = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<b>\"}}], "
                                    "\"special_tokens\": {}}"},
                "x.json: post_processor.single[0].SpecialToken.id: special token '<b>'");
    refuse_file(&(TinyFile){.post = "{\"type\": \"TemplateProcessing\", \"single\": [], \"special_tokens\": {}}"},
                "x.json: post_processor.single: the sequence 'A'");
}

static void test_load_refuses_bad_tables(void **state)
{
    (void)state;
    refuse_file(&(TinyFile){.vocab = ", \"zz\": 5"}, "x.json: model.vocab.zz: id 5 is also that of");
    refuse_file(&(TinyFile){.vocab = ", \"a\": 256"}, "x.json: model.vocab.a: this token is listed twice");
    refuse_file(&(TinyFile){.vocab = ", \"zz\": -1"}, "x.json: model.vocab.zz: id -1");
    refuse_file(&(TinyFile){.vocab = ", \"zz\": 4294967295"}, "x.json: model.vocab.zz: id 4294967295");
    refuse_file(&(TinyFile){.vocab = ", \"zz\": 99999999999999999999"}, "x.json: model.vocab.zz: expected a whole number");
    refuse_file(&(TinyFile){.vocab = ", \"zz\": 256.0"}, "x.json: model.vocab.zz: expected a whole number");
    refuse_file(&(TinyFile){.vocab = ", \"zz\": \"7\""}, "x.json: model.vocab.zz: expected a whole number");
    refuse_file(&(TinyFile){.vocab = ", \"\\ud800\": 256"}, "x.json: model.vocab: entry 256");
    refuse_file(&(TinyFile){.vocab = ", \"zz\" 256"}, "x.json: model.vocab: entry 256");
    refuse_file(&(TinyFile){.vocab = " \"zz\": 256"}, "x.json: model.vocab: expected ',' or '}' after entry 255");
    refuse_file(&(TinyFile){.merges = "[[\"a\", \"qqq\"]]"}, "x.json: model.merges[0]: 'qqq' is not in model.vocab");
    refuse_file(&(TinyFile){.merges = "[[\"a\", \"b\"]]"}, "x.json: model.merges[0]: 'ab' is not in model.vocab");
    refuse_file(&(TinyFile){.merges = "[\"a b c\"]"}, "x.json: model.merges[0]: expected two tokens");
    refuse_file(&(TinyFile){.vocab = ", \"ab\": 256", .merges = "[\"a b\", [\"a\", \"b\"]]"}, "x.json: model.merges[1]");
    refuse_file(&(TinyFile){.vocab = ", \"ab\": 256", .merges = "[[\"a\", \"b\"] [\"a\", \"b\"]]"}, "after entry 0");
    refuse_file(&(TinyFile){.merges = "{}"}, "x.json: model.merges: expected an array");
    CHECK_FAILS(parse_text("{\"model\": {\"vocab\": [], \"merges\": []}}", sizeof("{\"model\": {\"vocab\": [], \"merges\": []}}") - 1),
                LT_E_INPUT, "x.json: model.vocab: expected an object");
    CHECK_FAILS(
        parse_text("{\"model\": {\"voc\\u0061b\": {}, \"merges\": []}}", sizeof("{\"model\": {\"voc\\u0061b\": {}, \"merges\": []}}") - 1),
        LT_E_INPUT, "x.json: model.vocab: expected");
    CHECK_FAILS(parse_text("{\"x\": \"\xff\"}", sizeof("{\"x\": \"\xff\"}") - 1), LT_E_INPUT, "x.json: invalid UTF-8 at byte 7");
    CHECK_FAILS(parse_text("", sizeof("") - 1), LT_E_INPUT, "x.json");
}

static void test_load_refuses_bad_added_tokens(void **state)
{
    (void)state;
    refuse_file(&(TinyFile){.added = "[\"<x>\"]"}, "x.json: added_tokens[0]: expected an object");
    refuse_file(&(TinyFile){.added = "[{\"id\": 256, \"content\": \"\"}]"}, "x.json: added_tokens[0].content");
    refuse_file(&(TinyFile){.added = "[{\"id\": 256, \"content\": \"<x>\"}, {\"id\": 257, \"content\": \"<x>\"}]"},
                "x.json: added_tokens[1]: '<x>' is listed twice");
    refuse_file(&(TinyFile){.added = "[{\"content\": \"<x>\"}]"}, "x.json: added_tokens[0].id");
    refuse_file(&(TinyFile){.added = "[{\"id\": 258, \"content\": \"<x>\"}]", .vocab = ", \"zz\": 257"},
                "x.json: added_tokens[0]: the next free id, 257, is that of 'zz'");
}

/* The text of a table is cut out before the general reader sees the file: its messages must still count lines right. */
static void test_load_counts_lines_across_tables(void **state)
{
    static const char text[] = "{\"model\": {\"vocab\": {\n\"a\": 0,\n\"b\": 1}, \"merges\": [\n]},\n \"version\": oops}";

    (void)state;
    CHECK_FAILS(parse_text(text, sizeof text - 1), LT_E_INPUT, "x.json:5:");
}

static void test_load_reads_escapes_in_tables(void **state)
{
    Tiny tiny;
    StrBuf json;

    (void)state;
    tiny_bytes_json(
        &json,
        &(TinyFile){.pre = "null", .decoder = "null", .vocab = ", \"\\u0000\\t\\/\": 256, \"\\ud83d\\ude00\": 257, \"\\\"\\\\\\n\": 258"});
    tiny = tiny_open(&json);
    assert_int_equal(tokenizer_find(tiny.t, (Str){"\0\t/", 3}), 256);
    assert_int_equal(tokenizer_find(tiny.t, str_of("\xf0\x9f\x98\x80")), 257);
    assert_int_equal(tokenizer_find(tiny.t, str_of("\"\\\n")), 258);
    TINY_CHECK(&tiny, "\xf0\x9f\x98\x80", false, 257);
    tiny_close(&tiny);
}

/* What a stricter reader than the reference may refuse though the reference takes it, and what neither may. */
static bool must_load(const char *file)
{
    static const char *const names[] = {"ok.json", "trailing_newlines.json", "nul_token.json", "merge_twice.json", "no_optional_keys.json"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(file, names[i]) == 0)
            return true;
    return false;
}

/* Refused by loading or by encoding, with a text that names the file; or the reference's ids. */
static void check_hostile(JsonAt item, Str text)
{
    const char *file = json_string_value(json_object_get(item.value, "file"));
    json_t *want = json_object_get(item.value, "ids");
    char path[128];
    Tokenizer *t = NULL;
    Encoder *e = NULL;
    StrBuf json;
    Ids ids = {0};

    snprintf(path, sizeof path, "golden/tokenizer/hostile/%s", file);
    strbuf_init(&json);
    CHECK_OK(file_read(test_data(path), 1 << 20, &json));
    Status st = tokenizer_parse(&t, strbuf_str(&json), file);
    if (st == LT_OK) {
        CHECK_OK(encoder_create(&e, t));
        st = encoder_encode(e, text, true, &ids);
    } else if (strstr(status_text(), file) == NULL) {
        fail_msg("%s: the message does not name the file: %s", file, status_text());
    }
    if (st != LT_OK) {
        if (st != LT_E_INPUT || must_load(file))
            fail_msg("%s: %s", file, status_text());
        status_clear();
    } else if (want == NULL) {
        fail_msg("%s: accepted, the reference refuses it", file);
    } else if (strcmp(file, "truncation_5.json") != 0 && strcmp(file, "padding_set.json") != 0) {
        /* Those two ask for cutting and filling up, which callers of the reference switch off. */
        assert_int_equal(ids.count, json_array_size(want));
        for (size_t i = 0; i < ids.count; i++)
            assert_int_equal(ids.id[i], json_integer_value(json_array_get(want, i)));
    }
    strbuf_release(&json);
    ids_release(&ids);
    encoder_free(e);
    tokenizer_free(t);
}

static void test_hostile_files(void **state)
{
    json_t *document;
    size_t n;
    Str text;

    (void)state;
    CHECK_OK(json_load_path(&document, test_data("golden/tokenizer/hostile.json"), 1 << 20));
    const JsonAt root = json_root(document, "hostile.json", 0), cases = json_member(&root, "cases");
    CHECK_OK(json_get_str(&root, "text", &text));
    CHECK_OK(json_to_array(cases, &n));
    assert_int_equal(n, 54);
    for (size_t i = 0; i < n; i++)
        check_hostile(json_element(&cases, i), text);
    json_decref(document);
}

/* Every cut and every changed byte of a small file: refused or read, never a crash. */
static void test_damaged_files(void **state)
{
    static const char junk[] = {'"', '{', '}', '[', ']', '\\', ',', '0', '\0', '\x7f'};
    StrBuf json;

    (void)state;
    tiny_fallback_json(&json, &(TinyFile){.vocab = ", \"ab\": 262", .merges = "[[\"a\", \"b\"]]"});
    for (size_t i = 0; i < json.len; i++) {
        const char kept = json.data[i];
        if (parse_text(json.data, i) != LT_OK)
            status_clear();
        json.data[i] = junk[i % sizeof junk];
        if (parse_text(json.data, json.len) != LT_OK)
            status_clear();
        json.data[i] = kept;
    }
    CHECK_OK(parse_text(json.data, json.len));
    strbuf_release(&json);
}

static const char *write_folder(const char *config)
{
    const char *folder = test_folder();
    StrBuf json;

    tiny_bytes_json(&json, &(TinyFile){.added = "[{\"id\": 256, \"content\": \"<s>\", \"special\": true},"
                                                " {\"id\": 257, \"content\": \"</s>\", \"special\": true}]"});
    test_file(folder, "tokenizer.json", json.data, json.len);
    strbuf_release(&json);
    if (config != NULL)
        test_file(folder, "tokenizer_config.json", config, strlen(config));
    return folder;
}

static void test_folder_gives_special_tokens(void **state)
{
    const char *folder = write_folder("{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\", \"special\": true},"
                                      " \"pad_token\": null, \"model_max_length\": 2048}");
    Tokenizer *t;
    Digest digest, want;

    (void)state;
    CHECK_OK(tokenizer_load(&t, folder));
    assert_int_equal(tokenizer_bos(t), 256);
    assert_int_equal(tokenizer_eos(t), 257);
    assert_int_equal(tokenizer_pad(t), -1);
    assert_int_equal(tokenizer_max_length(t), 2048);
    assert_false(tokenizer_template_digest(t, &digest));
    StrBuf json;
    tiny_bytes_json(&json, &(TinyFile){.added = "[{\"id\": 256, \"content\": \"<s>\", \"special\": true},"
                                                " {\"id\": 257, \"content\": \"</s>\", \"special\": true}]"});
    CHECK_OK(sha256_of(json.data, json.len, &want));
    digest = tokenizer_digest(t);
    assert_memory_equal(digest.byte, want.byte, sizeof want.byte);
    strbuf_release(&json);
    tokenizer_free(t);
}

static void check_template(const char *folder, const char *text)
{
    Tokenizer *t;
    Digest digest, want;

    CHECK_OK(tokenizer_load(&t, folder));
    CHECK_OK(sha256_of(text, strlen(text), &want));
    assert_true(tokenizer_template_digest(t, &digest));
    assert_memory_equal(digest.byte, want.byte, sizeof want.byte);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_max_length(t), 0);
    tokenizer_free(t);
}

static void test_folder_finds_chat_template(void **state)
{
    const char *folder = write_folder("{\"chat_template\": \"one\", \"model_max_length\": 1000000000000000019884624838656}");

    (void)state;
    check_template(folder, "one");
    check_template(write_folder("{\"model_max_length\": 1e30, \"chat_template\": [{\"name\": \"tools\", \"template\": \"two\"}, "
                                "{\"name\": \"default\", \"template\": \"three\"}]}"),
                   "three");
    test_file(folder, "chat_template.jinja", "four", 4);
    check_template(folder, "four");
}

static void test_folder_errors_name_the_place(void **state)
{
    Tokenizer *t;

    (void)state;
    CHECK_FAILS(tokenizer_load(&t, test_folder()), LT_E_INPUT, "tokenizer.json");
    CHECK_FAILS(tokenizer_load(&t, write_folder("{\"bos_token\": \"<bos>\"}")), LT_E_INPUT,
                "tokenizer_config.json: bos_token: '<bos>' is not a token");
    CHECK_FAILS(tokenizer_load(&t, write_folder("{\"model_max_length\": -3}")), LT_E_INPUT, "tokenizer_config.json: model_max_length");
    CHECK_FAILS(tokenizer_load(&t, write_folder("{")), LT_E_INPUT, "tokenizer_config.json");
    CHECK_OK(tokenizer_load(&t, write_folder("{\"pad_token\": \"[PAD]\"}")));
    assert_int_equal(tokenizer_pad(t), -1);
    tokenizer_free(t);
}

/* One round through everything; whatever fails must leave nothing behind. */
static Status whole_round(const char *folder)
{
    static const char text[] = "<s> a caf\xc3\xa9 e\xcc\x81 12 [N] word";
    Tokenizer *t = NULL;
    Encoder *e = NULL;
    StrBuf back;
    Ids ids = {0};
    Status st;

    strbuf_init(&back);
    TRY_GOTO(tokenizer_load(&t, folder), st, done);
    TRY_GOTO(encoder_create(&e, t), st, done);
    TRY_GOTO(encoder_encode(e, str_of(text), true, &ids), st, done);
    TRY_GOTO(tokenizer_decode(t, ids.id, ids.count, false, &back), st, done);
done:
    strbuf_release(&back);
    ids_release(&ids);
    encoder_free(e);
    tokenizer_free(t);
    return st;
}

static void sweep(const TinyFile *file, void (*make)(StrBuf *out, const TinyFile *file))
{
    const char *folder = test_folder();
    StrBuf json;

    make(&json, file);
    test_file(folder, "tokenizer.json", json.data, json.len);
    strbuf_release(&json);
    static const char config[] = "{\"bos_token\": \"<s>\", \"chat_template\": \"x\"}";
    test_file(folder, "tokenizer_config.json", config, sizeof config - 1);

    /* Jansson reads on behind a token whose buffer could not grow, so its own allocations are left out. */
    json_set_alloc_funcs(malloc, free);
    CHECK_OK(whole_round(folder));
    const int64_t held = mem_held();
    const uint64_t before = mem_count();
    CHECK_OK(whole_round(folder));
    const uint64_t n = mem_count() - before;
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        const Status st = whole_round(folder);
        mem_fail_at(0);
        /* LT_OK: the regex engine runs without JIT where there is no memory for it. */
        if (st != LT_OK && st != LT_E_NOMEM)
            fail_msg("allocation %d of %d: %s: %s", (int)i, (int)n, status_name(st), status_text());
        status_clear();
        assert_int_equal(mem_held(), held);
    }
    json_use_mem();
}

static void test_lack_of_memory_is_reported(void **state)
{
    (void)state;
    sweep(&(TinyFile){.added = "[{\"id\": 256, \"content\": \"<s>\", \"special\": true}, {\"id\": 257, \"content\": \"[N]\"}]",
                      .normalizer = "{\"type\": \"NFC\"}",
                      .pre = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": \"ByteLevel\"}]}",
                      .post = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": "
                              "{\"id\": \"A\"}}], \"special_tokens\": {\"<s>\": {\"ids\": [256]}}}",
                      .options = "\"ignore_merges\": true,"},
          tiny_bytes_json);
    sweep(&(TinyFile){.added = "[{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 257, \"content\": \"[N]\"}]",
                      .pre = "{\"type\": \"Metaspace\", \"replacement\": \"\\u2581\"}",
                      .vocab = ", \"\\u2581a\": 262",
                      .merges = "[[\"\\u2581\", \"a\"]]"},
          tiny_fallback_json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_refuses_unknown_kinds_by_name),
        cmocka_unit_test(test_load_refuses_bad_steps),
        cmocka_unit_test(test_load_refuses_bad_tables),
        cmocka_unit_test(test_load_refuses_bad_added_tokens),
        cmocka_unit_test(test_load_counts_lines_across_tables),
        cmocka_unit_test(test_load_reads_escapes_in_tables),
        cmocka_unit_test(test_hostile_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_folder_gives_special_tokens),
        cmocka_unit_test(test_folder_finds_chat_template),
        cmocka_unit_test(test_folder_errors_name_the_place),
        cmocka_unit_test(test_lack_of_memory_is_reported),
    };
    return TEST_MAIN(tests);
}
