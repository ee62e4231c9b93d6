/* SentencePiece's tokenizer.model: ids by hand and against the reference, folders, damaged files, lack of memory. */
#include "tests/check.h"
#include "tests/tiny_model.h"
#include "tests/tiny_tokenizer.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdlib.h>

#define SIGN "\xe2\x96\x81" /* U+2581 */

static Tiny open_model(const TinyModel *model)
{
    Tiny tiny;
    StrBuf data;

    tiny_model(&data, model);
    CHECK_OK(tokenizer_parse_model(&tiny.t, strbuf_str(&data), "x.model"));
    CHECK_OK(encoder_create(&tiny.e, tiny.t));
    strbuf_release(&data);
    return tiny;
}

/* From 3: sign a b c, then what merges, best score first or not. */
static const TinyPiece pieces[] = {{SIGN, -9, 1}, {"a", -9, 1},   {"b", -9, 1}, {"c", -9, 1},       {"bc", -1, 1},
                                   {"ab", -2, 1}, {"abc", -3, 1}, {"aa", 0, 1}, {SIGN "a", 3.5, 1}, {NULL, 0, 0}};
enum { ID_SIGN = 3, ID_A, ID_B, ID_C, ID_BC, ID_AB, ID_ABC, ID_AA, ID_SIGN_A };

static void test_scores_order_the_merges(void **state)
{
    Tiny tiny = open_model(&(TinyModel){.piece = pieces, .no_prefix = true});

    (void)state;
    TINY_CHECK(&tiny, "abc", false, ID_ABC); /* b c first, then a bc, another way to cut it than ab c */
    TINY_CHECK(&tiny, "ab", false, ID_AB);
    TINY_CHECK(&tiny, "aaa", false, ID_AA, ID_A);
    TINY_CHECK(&tiny, " aa", false, ID_SIGN_A, ID_A);
    TINY_CHECK(&tiny, "", true, 1);
    TINY_DECODED(&tiny, false, "abc", ID_ABC);
    assert_int_equal(tokenizer_size(tiny.t), 12);
    assert_int_equal(tokenizer_bos(tiny.t), 1);
    assert_int_equal(tokenizer_eos(tiny.t), 2);
    assert_int_equal(tokenizer_pad(tiny.t), -1);
    tiny_close(&tiny);
}

static void test_equal_scores_merge_leftmost_first(void **state)
{
    static const TinyPiece equal[] = {{"a", -9, 1}, {"b", -9, 1}, {"c", -9, 1}, {"bc", -1, 1}, {"ab", -1, 1}, {NULL, 0, 0}};
    Tiny tiny = open_model(&(TinyModel){.piece = equal, .no_prefix = true});

    (void)state;
    TINY_CHECK(&tiny, "abc", false, 7, 5);
    tiny_close(&tiny);
}

static void test_spaces_become_signs(void **state)
{
    Tiny tiny = open_model(&(TinyModel){.piece = pieces});

    (void)state;
    TINY_CHECK(&tiny, "b  c", true, 1, ID_SIGN, ID_B, ID_SIGN, ID_SIGN, ID_C);
    TINY_CHECK(&tiny, " a ", false, ID_SIGN, ID_SIGN_A, ID_SIGN);
    TINY_DECODED(&tiny, false, " a ", ID_SIGN, ID_SIGN_A, ID_SIGN);
    tiny_close(&tiny);
    tiny = open_model(&(TinyModel){.piece = pieces, .squeeze = true});
    TINY_CHECK(&tiny, "  b   c  ", false, ID_SIGN, ID_B, ID_SIGN, ID_C);
    TINY_CHECK(&tiny, "   ", true, 1);
    TINY_CHECK(&tiny, SIGN "b" SIGN SIGN, false, ID_SIGN, ID_SIGN, ID_B);
    tiny_close(&tiny);
}

static void test_unknown_characters(void **state)
{
    Tiny tiny = open_model(&(TinyModel){.piece = pieces, .no_prefix = true});

    (void)state;
    TINY_CHECK(&tiny, "axyb", false, ID_A, 0, ID_B); /* a run of unknown characters is one token */
    tiny_close(&tiny);
    tiny = open_model(&(TinyModel){.piece = pieces, .no_prefix = true, .byte_fallback = true});
    TINY_CHECK(&tiny, "a\xc3\xa9", false, 256 + ID_A, 3 + 0xc3, 3 + 0xa9);
    TINY_DECODED(&tiny, false, "a\xc3\xa9", 256 + ID_A, 3 + 0xc3, 3 + 0xa9);
    tiny_close(&tiny);
}

/* Control pieces in a text are characters, what the user defined is taken whole. */
static void test_only_user_defined_pieces_are_looked_for(void **state)
{
    static const TinyPiece some[] = {{SIGN, -9, 1}, {"a", -9, 1},  {"s", -9, 1},  {"<", -9, 1},
                                     {">", -9, 1},  {"<s", -1, 1}, {"<a>", 0, 4}, {NULL, 0, 0}};
    Tiny tiny = open_model(&(TinyModel){.piece = some});

    (void)state;
    TINY_CHECK(&tiny, "<s>", false, 3, 8, 7);
    TINY_CHECK(&tiny, "<a>a", false, 3, 9, 4); /* no sign behind it, unlike in a tokenizer.json */
    TINY_DECODED(&tiny, true, "<a>", 1, 3, 9);
    assert_true(tokenizer_is_special(tiny.t, 1));
    assert_false(tokenizer_is_special(tiny.t, 9));
    assert_int_equal(tokenizer_find(tiny.t, str_of("<s>")), 1);
    tiny_close(&tiny);
}

static void refuse(const TinyModel *model, const char *part)
{
    Tokenizer *t;
    StrBuf data;

    tiny_model(&data, model);
    CHECK_FAILS(tokenizer_parse_model(&t, strbuf_str(&data), "x.model"), LT_E_INPUT, part);
    strbuf_release(&data);
}

static void refuse_piece(TinyPiece piece, const char *part)
{
    const TinyPiece list[] = {{"a", 0, 1}, piece, {NULL, 0, 0}};

    refuse(&(TinyModel){.piece = list}, part);
}

static void test_load_refuses_by_name(void **state)
{
    static char long_text[258];

    (void)state;
    refuse(&(TinyModel){.model_type = 1}, "x.model: trainer_spec.model_type: bpe expected, unigram found");
    refuse(&(TinyModel){.model_type = 77}, "bpe expected, one that has no name found");
    refuse(&(TinyModel){.table = "abc"}, "normalizer 'nmt_nfkc' with a table of character replacements");
    refuse_piece((TinyPiece){"a", 0, 1}, "piece 4, 'a', is there twice");
    refuse_piece((TinyPiece){"<s>", 0, 3}, "piece 4, '<s>', is there twice");
    refuse_piece((TinyPiece){"", 0, 1}, "piece 4: a text of 1 to 256 bytes expected, 0 found");
    memset(long_text, 'a', 257);
    refuse_piece((TinyPiece){long_text, 0, 1}, "piece 4: a text of 1 to 256 bytes expected, 257 found");
    refuse_piece((TinyPiece){"b", NAN, 1}, "piece 4: a finite score expected");
    refuse_piece((TinyPiece){"b", INFINITY, 1}, "piece 4: a finite score expected");
    refuse_piece((TinyPiece){"b", 0, 5}, "piece 4: type 5 is not supported");
    refuse_piece((TinyPiece){"b", 0, 9}, "piece 4: type 9 is not supported");
    refuse_piece((TinyPiece){"<x>", 0, 2}, "one piece of type unknown expected, 2 found");
    refuse_piece((TinyPiece){"<0x41>", 0, 6}, "0 byte pieces expected, 1 found");
    refuse_piece((TinyPiece){"ab", 0, 1}, "piece 4, 'ab', has a character that is no piece of its own");
    refuse_piece((TinyPiece){"a b", 0, 4}, "piece 4, 'a b', has a space");
    refuse_piece((TinyPiece){"\xff", 0, 1}, "field 1: invalid UTF-8");
    const TinyPiece more[] = {{"<0x1G>", 0, 6}, {NULL, 0, 0}};
    refuse(&(TinyModel){.piece = more, .byte_fallback = true}, "256 byte pieces expected, 257 found");
}

static void refuse_bytes(const char *data, size_t len, const char *part)
{
    Tokenizer *t;

    CHECK_FAILS(tokenizer_parse_model(&t, (Str){data, len}, "x.model"), LT_E_INPUT, part);
}
#define REFUSE_BYTES(data, part) refuse_bytes((data), sizeof(data) - 1, (part))

static void test_load_refuses_broken_wire_format(void **state)
{
    (void)state;
    REFUSE_BYTES("", "x.model: trainer_spec.model_type: bpe expected, unigram found");
    REFUSE_BYTES("\x0a", "x.model: byte 1: a number runs over the end");
    REFUSE_BYTES("\x0a\x05"
                 "ab",
                 "x.model: byte 1: a length of 5, but 2 bytes are left");
    REFUSE_BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "x.model: byte 1: a length of 18446744073709551615");
    REFUSE_BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "x.model: byte 0: a number is longer than 64 bits");
    REFUSE_BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "x.model: byte 0: a number is longer than 64 bits");
    REFUSE_BYTES("\x02\x00", "x.model: byte 0: field number 0 is not between");
    REFUSE_BYTES("\x0b", "x.model: byte 0: field 1 has wire type 3");
    REFUSE_BYTES("\x08\x01", "x.model: byte 0: field 1: wire type 2 expected, 0 found");
    REFUSE_BYTES("\x0a\x02\x08\x01", "x.model: byte 2: field 1: wire type 2 expected, 0 found");
    REFUSE_BYTES("\x0a\x03\x15\x00\x00", "x.model: byte 3: a number runs over the end");
    REFUSE_BYTES("{\"version\": \"1.0\"}", "x.model: byte");
}

/* Every cut and every changed byte of a small file: refused or read, never a crash. */
static void test_damaged_files(void **state)
{
    static const char junk[] = {'\0', '\x7f', '\x80', '\xff', '\x0a', '\x01'};
    Tokenizer *t;
    StrBuf data;

    (void)state;
    tiny_model(&data, &(TinyModel){.piece = pieces, .squeeze = true});
    for (size_t i = 0; i < data.len; i++) {
        const char kept = data.data[i];
        for (size_t k = 0; k < sizeof junk; k++) {
            data.data[i] = junk[k];
            t = NULL;
            if (tokenizer_parse_model(&t, strbuf_str(&data), "x.model") != LT_OK)
                status_clear();
            tokenizer_free(t);
        }
        data.data[i] = kept;
        t = NULL;
        if (tokenizer_parse_model(&t, (Str){data.data, i}, "x.model") != LT_OK)
            status_clear();
        tokenizer_free(t);
    }
    strbuf_release(&data);
}

static const char *write_folder(void)
{
    const char *folder = test_folder();
    StrBuf data;

    tiny_model(&data, &(TinyModel){.piece = pieces});
    test_file(folder, "tokenizer.model", data.data, data.len);
    strbuf_release(&data);
    return folder;
}

static void check_ends(const char *folder, const int32_t *want)
{
    Tiny tiny;

    CHECK_OK(tokenizer_load(&tiny.t, folder));
    CHECK_OK(encoder_create(&tiny.e, tiny.t));
    tiny_check(&tiny, str_of("a"), true, want);
    tiny_close(&tiny);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    test_file(folder, name, text, strlen(text));
}

static void test_folder_without_tokenizer_json(void **state)
{
    const char *folder = write_folder();
    Tokenizer *t;
    StrBuf data;
    Digest want;

    (void)state;
    check_ends(folder, (const int32_t[]){1, ID_SIGN_A, -1});
    write_text(folder, "tokenizer_config.json",
               "{\"add_bos_token\": false, \"add_eos_token\": true, \"pad_token\": \"</s>\", \"added_tokens_decoder\": "
               "{\"1\": {\"content\": \"<s>\"}}}");
    check_ends(folder, (const int32_t[]){ID_SIGN_A, 2, -1});
    CHECK_OK(tokenizer_load(&t, folder));
    assert_int_equal(tokenizer_pad(t), 2);
    tiny_model(&data, &(TinyModel){.piece = pieces});
    CHECK_OK(sha256_of(data.data, data.len, &want));
    const Digest got = tokenizer_digest(t);
    assert_memory_equal(got.byte, want.byte, sizeof want.byte);
    strbuf_release(&data);
    tokenizer_free(t);
    /* Tokens that only another file has would be cut out of the text by that file's rules. */
    write_text(folder, "added_tokens.json", "{\"<s>\": 1, \"[PAD]\": 12}");
    CHECK_FAILS(tokenizer_load(&t, folder), LT_E_INPUT, "added_tokens.json: [PAD]: '[PAD]' is not in tokenizer.model");
    write_text(folder, "added_tokens.json", "{}");
    write_text(folder, "tokenizer_config.json", "{\"added_tokens_decoder\": {\"12\": {\"content\": \"[PAD]\"}}}");
    CHECK_FAILS(tokenizer_load(&t, folder), LT_E_INPUT, "added_tokens_decoder.12: '[PAD]' is not in tokenizer.model");
}

static Status whole_round(const char *folder)
{
    Tokenizer *t = NULL;
    Encoder *e = NULL;
    Ids ids = {0};
    Status st;

    TRY_GOTO(tokenizer_load(&t, folder), st, done);
    TRY_GOTO(encoder_create(&e, t), st, done);
    st = encoder_encode(e, str_of("abc \xc3\xa9"), true, &ids);
done:
    ids_release(&ids);
    encoder_free(e);
    tokenizer_free(t);
    return st;
}

static void test_lack_of_memory_is_reported(void **state)
{
    const char *folder = write_folder();

    (void)state;
    write_text(folder, "tokenizer_config.json", "{\"bos_token\": \"<s>\"}");
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

/* ---- the reference ---- */

static void check_row(const Tiny *tiny, JsonAt row)
{
    const JsonAt ids = json_member(&row, "ids_sp");
    Ids got = {0};
    Str text, want;
    StrBuf back;
    size_t n;

    strbuf_init(&back);
    CHECK_OK(json_get_str(&row, "text", &text));
    CHECK_OK(json_get_str(&row, "decoded_sp", &want));
    CHECK_OK(json_to_array(ids, &n));
    CHECK_OK(encoder_encode(tiny->e, text, false, &got));
    if (got.count != n)
        fail_msg("line %d: %zu ids, expected %zu", (int)row.line, got.count, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got.id[i], json_integer_value(json_array_get(ids.value, i)));
    CHECK_OK(tokenizer_decode(tiny->t, got.id, got.count, false, &back));
    check_str(strbuf_str(&back), want.data, want.len);
    strbuf_release(&back);
    ids_release(&got);
}

static void test_golden_llama2(void **state)
{
    static const char rows[] = "golden/tokenizer/llama2_sentencepiece.jsonl.gz";
    LineReader *lines;
    json_t *document;
    bool more;
    Tiny tiny;
    size_t n = 0;
    Str line;

    (void)state;
    CHECK_OK(tokenizer_load_file(&tiny.t, test_data("data/tokenizers/llama2/tokenizer.model")));
    CHECK_OK(encoder_create(&tiny.e, tiny.t));
    CHECK_OK(lines_open(&lines, test_data(rows)));
    for (;; n++) {
        CHECK_OK(lines_next(lines, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&document, line, rows, lines_number(lines)));
        check_row(&tiny, json_root(document, rows, lines_number(lines)));
        json_decref(document);
    }
    lines_close(lines);
    assert_int_equal(n, 980);
    tiny_close(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_order_the_merges),
        cmocka_unit_test(test_equal_scores_merge_leftmost_first),
        cmocka_unit_test(test_spaces_become_signs),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_only_user_defined_pieces_are_looked_for),
        cmocka_unit_test(test_load_refuses_by_name),
        cmocka_unit_test(test_load_refuses_broken_wire_format),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_folder_without_tokenizer_json),
        cmocka_unit_test(test_lack_of_memory_is_reported),
        cmocka_unit_test(test_golden_llama2),
    };
    return TEST_MAIN(tests);
}
