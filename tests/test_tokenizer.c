/* Encoding and decoding with tokenizers that can be checked by hand. Ids of a byte-level file are the bytes up to 255. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>

#define VOCAB_HELLO  ", \"he\": 256, \"ll\": 257, \"hell\": 258, \"\\u0120t\": 259, \"hello\": 260"
#define MERGES_HELLO "[[\"h\", \"e\"], [\"l\", \"l\"], [\"he\", \"ll\"], [\"\\u0120\", \"t\"], [\"hell\", \"o\"]]"

static Tiny open_bytes(const TinyFile *file)
{
    StrBuf json;

    tiny_bytes_json(&json, file);
    return tiny_open(&json);
}

static Tiny open_fallback(const TinyFile *file)
{
    StrBuf json;

    tiny_fallback_json(&json, file);
    return tiny_open(&json);
}

static void test_encode_byte_level_by_hand(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.vocab = VOCAB_HELLO, .merges = MERGES_HELLO});

    (void)state;
    TINY_CHECK(&tiny, "hello tell", false, 260, 259, 'e', 257);
    TINY_CHECK(&tiny, "he  t", false, 256, ' ', 259); /* a run of spaces leaves one to the word */
    TINY_CHECK(&tiny, "hel\n", false, 256, 'l', '\n');
    TINY_CHECK(&tiny, "\xc3\xa9", false, 0xc3, 0xa9);
    tiny_check(&tiny, (Str){"a\0b", 3}, false, (const int32_t[]){'a', 0, 'b', -1});
    tiny_check(&tiny, (Str){"", 0}, true, (const int32_t[]){-1});
    TINY_DECODED(&tiny, false, "hello tell", 260, 259, 'e', 257);
    TINY_DECODED(&tiny, false, "he", 256, 999, 261); /* ids that are not there */
    tiny_close(&tiny);
}

static void test_encode_accepts_old_form_of_merges(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.vocab = VOCAB_HELLO, .merges = "[\"h e\", \"l l\", \"he ll\", \"\\u0120 t\", \"hell o\"]"});

    (void)state;
    TINY_CHECK(&tiny, "hello tell", false, 260, 259, 'e', 257);
    tiny_close(&tiny);
}

static void test_merge_order_is_rank_then_leftmost(void **state)
{
    Tiny tiny = open_bytes(
        &(TinyFile){.vocab = ", \"aa\": 256, \"ab\": 257, \"aab\": 258", .merges = "[[\"a\", \"b\"], [\"a\", \"a\"], [\"a\", \"ab\"]]"});

    (void)state;
    TINY_CHECK(&tiny, "aaa", false, 256, 'a');
    TINY_CHECK(&tiny, "aaab", false, 256, 257); /* ab first; then aa, which leaves nothing for a+ab */
    TINY_CHECK(&tiny, "aab", false, 258);
    tiny_close(&tiny);
}

static void test_encode_ignores_merges_for_whole_words(void **state)
{
    const char *vocab = ", \"\\u0120xyz\": 256";
    Tiny with = open_bytes(&(TinyFile){.vocab = vocab, .options = "\"ignore_merges\": true,"});
    Tiny without = open_bytes(&(TinyFile){.vocab = vocab});

    (void)state;
    TINY_CHECK(&with, "a xyz", false, 'a', 256);
    TINY_CHECK(&without, "a xyz", false, 'a', ' ', 'x', 'y', 'z');
    tiny_close(&with);
    tiny_close(&without);
}

static void test_encode_byte_fallback_by_hand(void **state)
{
    static const char post[] =
        "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
        "\"A\", \"type_id\": 0}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}}";
    Tiny tiny = open_fallback(&(TinyFile){.post = post,
                                          .added = "[{\"id\": 1, \"content\": \"<s>\", \"special\": true}]",
                                          .vocab = ", \"\\u2581a\": 262, \"ab\": 263",
                                          .merges = "[[\"\\u2581\", \"a\"], [\"a\", \"b\"]]"});

    (void)state;
    TINY_CHECK(&tiny, "ab a", true, 1, 262, 261, 262);
    TINY_CHECK(&tiny, "bab", false, 259, 261, 263);
    TINY_CHECK(&tiny, "\xc3\xa9", false, 259, 3 + 0xc3, 3 + 0xa9);
    TINY_CHECK(&tiny, "a<s>a", false, 262, 1, 262); /* every segment gets its own sign */
    tiny_check(&tiny, (Str){"", 0}, true, (const int32_t[]){1, -1});

    TINY_DECODED(&tiny, false, "<s> a \xc3\xa9", 1, 262, 259, 3 + 0xc3, 3 + 0xa9);
    TINY_DECODED(&tiny, true, "a", 1, 262);
    /* One bad byte spoils its whole run; a special token between two bytes parts them only if it is kept. */
    TINY_DECODED(&tiny, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3 + 'x', 3 + 0xc3, 3 + 'y');
    TINY_DECODED(&tiny, true, "\xc3\xa9", 3 + 0xc3, 1, 3 + 0xa9);
    TINY_DECODED(&tiny, false, "\xef\xbf\xbd<s>\xef\xbf\xbd", 3 + 0xc3, 1, 3 + 0xa9);
    tiny_close(&tiny);
}

static void test_encode_unknown_characters(void **state)
{
    Tiny fused = open_fallback(&(TinyFile){.options = "\"unk_token\": \"<unk>\", \"fuse_unk\": true,"});
    Tiny single = open_fallback(&(TinyFile){.options = "\"unk_token\": \"<unk>\","});
    Tiny dropped = open_fallback(&(TinyFile){.options = "\"unk_token\": null,", .vocab = ", \"ab\": 262", .merges = "[[\"a\", \"b\"]]"});

    (void)state;
    TINY_CHECK(&fused, "axyb z", false, 259, 260, 0, 261, 259, 0);
    TINY_CHECK(&single, "axyb", false, 259, 260, 0, 0, 261);
    TINY_CHECK(&dropped, "axyb", false, 259, 262); /* neighbours of what is dropped merge */
    tiny_close(&fused);
    tiny_close(&single);
    tiny_close(&dropped);
}

static void test_added_tokens_flags(void **state)
{
    static const char added[] = "[{\"id\": 256, \"content\": \"<x>\", \"special\": true},"
                                " {\"id\": 257, \"content\": \"<x><y>\", \"normalized\": false},"
                                " {\"id\": 258, \"content\": \"[L]\", \"lstrip\": true},"
                                " {\"id\": 259, \"content\": \"[R]\", \"rstrip\": true, \"normalized\": false},"
                                " {\"id\": 260, \"content\": \"word\", \"single_word\": true, \"normalized\": false}]";
    Tiny tiny = open_bytes(&(TinyFile){.added = added});

    (void)state;
    TINY_CHECK(&tiny, "<x><y><x>", false, 257, 256); /* the longest wins */
    TINY_CHECK(&tiny, "a \xc2\xa0[L] b", false, 'a', 258, ' ', 'b');
    TINY_CHECK(&tiny, "[R] \n b[R]", false, 259, 'b', 259);
    TINY_CHECK(&tiny, "word words", false, 260, ' ', 'w', 'o', 'r', 'd', 's');
    TINY_CHECK(&tiny, "\xc3\xa9word", false, 0xc3, 0xa9, 'w', 'o', 'r', 'd');
    TINY_DECODED(&tiny, true, "a[L]", 256, 'a', 258);
    assert_int_equal(tokenizer_size(tiny.t), 261);
    assert_int_equal(tokenizer_find(tiny.t, str_of("[L]")), 258);
    assert_int_equal(tokenizer_find(tiny.t, str_of("[M]")), -1);
    assert_true(tokenizer_is_special(tiny.t, 256));
    assert_false(tokenizer_is_special(tiny.t, 257));
    assert_false(tokenizer_is_special(tiny.t, 1000));
    Str text;
    assert_true(tokenizer_token(tiny.t, 259, &text) && str_is(text, "[R]"));
    assert_false(tokenizer_token(tiny.t, 261, &text) || tokenizer_token(tiny.t, -1, &text));
    tiny_close(&tiny);
}

static void test_decode_replaces_invalid_bytes(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){0});

    (void)state;
    TINY_DECODED(&tiny, false, "a\xef\xbf\xbd\x62", 'a', 0xe2, 0x82, 'b');                /* a cut sequence is one */
    TINY_DECODED(&tiny, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 0xed, 0xa0, 0x80); /* a surrogate is three */
    TINY_DECODED(&tiny, false, "\xef\xbf\xbd\xef\xbf\xbd", 0xc0, 0xaf);
    TINY_DECODED(&tiny, false, "\xef\xbf\xbd", 0xf0, 0x9f, 0x98);
    tiny_close(&tiny);
}

static void test_decode_without_decoder_joins_by_spaces(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.decoder = "null"});

    (void)state;
    TINY_DECODED(&tiny, false, "a b", 'a', 'b');
    tiny_close(&tiny);
}

/* Up to 40 code points from all ranges of lengths, no surrogates. */
static void random_text(TestRandom *r, StrBuf *out)
{
    static const uint32_t below[] = {0x80, 0x80, 0x800, 0x10000, 0x110000};
    char text[4];

    strbuf_clear(out);
    for (uint64_t n = test_random(r) % 40; n > 0; n--) {
        uint32_t code = (uint32_t)(test_random(r) % below[test_random(r) % 5]);
        if (code >= 0xd800 && code < 0xe000)
            code -= 0x800;
        strbuf_add(out, text, utf8_put(text, code));
    }
}

static void test_random_text_comes_back(void **state)
{
    Tiny tiny[2] = {open_bytes(&(TinyFile){.vocab = VOCAB_HELLO, .merges = MERGES_HELLO}), open_fallback(&(TinyFile){0})};
    TestRandom r = {20};
    StrBuf text, back;
    Ids ids = {0};

    (void)state;
    strbuf_init(&text);
    strbuf_init(&back);
    for (int i = 0; i < 2000; i++) {
        const Tiny *one = &tiny[i % 2];
        random_text(&r, &text);
        /* U+2581 itself comes back as a space; it has its own rule and is left out. */
        if (str_find(strbuf_str(&text), str_of("\xe2\x96\x81"), 0) != SIZE_MAX)
            continue;
        ids.count = 0;
        strbuf_clear(&back);
        CHECK_OK(encoder_encode(one->e, strbuf_str(&text), false, &ids));
        CHECK_OK(tokenizer_decode(one->t, ids.id, ids.count, false, &back));
        check_str(strbuf_str(&back), text.len > 0 ? text.data : "", text.len);
    }
    strbuf_release(&text);
    strbuf_release(&back);
    ids_release(&ids);
    tiny_close(&tiny[0]);
    tiny_close(&tiny[1]);
}

/* Merging as the definition says it: the pair of the lowest rank, the leftmost of these, again and again. */
typedef struct PlainMerge {
    int32_t left, right, id;
} PlainMerge;

static size_t merge_plainly(const PlainMerge *merge, size_t n_merge, int32_t *id, size_t n)
{
    for (size_t m = 0; m < n_merge;) {
        size_t at = 0;
        while (at + 1 < n && (id[at] != merge[m].left || id[at + 1] != merge[m].right))
            at++;
        if (at + 1 >= n) {
            m++;
            continue;
        }
        id[at] = merge[m].id;
        memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof *id);
        n--;
        m = 0; /* the new token may bring a pair of lower rank */
    }
    return n;
}

static void test_merging_equals_the_definition(void **state)
{
    /* Ranks in an order that brings pairs of lower rank late. */
    static const char vocab[] = ", \"ab\": 256, \"ba\": 257, \"aa\": 258, \"aba\": 259, \"abab\": 260, \"bb\": 261, \"aab\": 262";
    static const char merges[] = "[[\"ab\", \"ab\"], [\"aa\", \"b\"], [\"b\", \"b\"], [\"a\", \"ba\"], [\"a\", \"b\"], [\"a\", "
                                 "\"a\"], [\"b\", \"a\"]]";
    static const PlainMerge plain[] = {{256, 256, 260}, {258, 'b', 262}, {'b', 'b', 261}, {'a', 257, 259},
                                       {'a', 'b', 256}, {'a', 'a', 258}, {'b', 'a', 257}};
    Tiny tiny = open_bytes(&(TinyFile){.vocab = vocab, .merges = merges});
    TestRandom r = {7};
    char text[400];
    int32_t want[401];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        const size_t len = 1 + test_random(&r) % (i % 100 == 0 ? 400 : 24); /* beyond what the cache takes, too */
        for (size_t k = 0; k < len; k++)
            want[k] = text[k] = test_random(&r) % 2 ? 'a' : 'b';
        want[merge_plainly(plain, sizeof plain / sizeof *plain, want, len)] = -1;
        tiny_check(&tiny, (Str){text, len}, false, want);
    }
    tiny_close(&tiny);
}

static void test_cache_overflow_changes_nothing(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.vocab = VOCAB_HELLO, .merges = MERGES_HELLO});
    char text[32];

    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 40000; i++) { /* the cache holds 32768 */
            const int n = snprintf(text, sizeof text, "he%c%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26, 'A' + i / 17576);
            Ids got = {0};
            CHECK_OK(encoder_encode(tiny.e, (Str){text, (size_t)n}, false, &got));
            const bool ll = text[2] == 'l' && text[3] == 'l';
            assert_int_equal(got.id[0], ll ? (text[4] == 'o' ? 260 : 258) : 256);
            assert_int_equal(got.id[got.count - 1], text[5]);
            ids_release(&got);
        }
    tiny_close(&tiny);
}

/* A million symbols in one piece: quadratic work would take hours. */
static void test_long_piece_is_not_quadratic(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.vocab = ", \"aa\": 256, \"aaaa\": 257", .merges = "[[\"a\", \"a\"], [\"aa\", \"aa\"]]"});
    const size_t n = 1 << 20;
    char *text = malloc(n);
    Ids got = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'a', n);
    CHECK_OK(encoder_encode(tiny.e, (Str){text, n}, false, &got));
    assert_int_equal(got.count, n / 4);
    free(text);
    ids_release(&got);
    tiny_close(&tiny);
}

/* Lines are words of their own, unless a merge says otherwise. */
static void test_line_breaks_are_merged_only_by_merges(void **state)
{
    const int32_t br = 3 + '\n';
    Tiny plain = open_fallback(&(TinyFile){.vocab = ", \"ab\": 262", .merges = "[[\"a\", \"b\"]]"});
    Tiny merged =
        open_fallback(&(TinyFile){.vocab = ", \"a<0x0A>\": 262, \"<0x0A>b\": 263", .merges = "[[\"a\", \"<0x0A>\"], [\"<0x0A>\", \"b\"]]"});
    Tiny known = open_fallback(&(TinyFile){.vocab = ", \"\\n\": 262, \"a\\n\": 263", .merges = "[[\"a\", \"\\n\"]]"});

    (void)state;
    TINY_CHECK(&plain, "ab\n\nab\n a\nb", false, 259, 262, br, br, 262, br, 259, 260, br, 261);
    TINY_CHECK(&plain, "\n", false, 259, br);
    TINY_CHECK(&merged, "a\n\nb", false, 259, 262, 263);
    TINY_CHECK(&known, "a\n\n", false, 259, 263, 262);
    tiny_close(&plain);
    tiny_close(&merged);
    tiny_close(&known);
}

static void test_many_lines_are_not_quadratic(void **state)
{
    Tiny tiny = open_fallback(&(TinyFile){0});
    const size_t n = 1 << 20;
    char *text = malloc(n);
    Ids got = {0};

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 2 == 0 ? 'a' : '\n';
    CHECK_OK(encoder_encode(tiny.e, (Str){text, n}, false, &got));
    assert_int_equal(got.count, n + 1);
    free(text);
    ids_release(&got);
    tiny_close(&tiny);
}

static void test_encode_refuses_invalid_utf8(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){0});
    Ids ids = {0};

    (void)state;
    CHECK_OK(ids_add(&ids, 7));
    CHECK_FAILS(encoder_encode(tiny.e, str_of("abc\xc3("), true, &ids), LT_E_INPUT, "invalid UTF-8 at byte 3");
    assert_int_equal(ids.count, 1);
    ids_release(&ids);
    tiny_close(&tiny);
}

static void test_encode_bounds_exploding_patterns(void **state)
{
    Tiny tiny = open_bytes(&(TinyFile){.pre = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(e+)+$\"}, \"behavior\": \"Isolated\"}"});
    Ids ids = {0};

    (void)state;
    CHECK_FAILS(encoder_encode(tiny.e, str_of("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeex"), false, &ids), LT_E_INPUT, "steps");
    ids_release(&ids);
    tiny_close(&tiny);
}

static void test_metaspace_prepends_by_scheme(void **state)
{
    static const char added[] = "[{\"id\": 1, \"content\": \"<s>\", \"special\": true}]";
    Tiny first = open_fallback(
        &(TinyFile){.added = added,
                    .normalizer = "null",
                    .pre = "{\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"prepend_scheme\": \"first\", \"split\": true}"});
    Tiny never = open_fallback(&(TinyFile){.added = added,
                                           .normalizer = "null",
                                           .pre = "{\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"add_prefix_space\": false}"});

    (void)state;
    TINY_CHECK(&first, "a b<s>a", false, 259, 260, 259, 261, 1, 260);
    TINY_CHECK(&first, " a", false, 259, 260);
    TINY_CHECK(&never, "a b", false, 260, 259, 261);
    tiny_close(&first);
    tiny_close(&never);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_byte_level_by_hand),
        cmocka_unit_test(test_encode_accepts_old_form_of_merges),
        cmocka_unit_test(test_merge_order_is_rank_then_leftmost),
        cmocka_unit_test(test_encode_ignores_merges_for_whole_words),
        cmocka_unit_test(test_encode_byte_fallback_by_hand),
        cmocka_unit_test(test_encode_unknown_characters),
        cmocka_unit_test(test_added_tokens_flags),
        cmocka_unit_test(test_decode_replaces_invalid_bytes),
        cmocka_unit_test(test_decode_without_decoder_joins_by_spaces),
        cmocka_unit_test(test_random_text_comes_back),
        cmocka_unit_test(test_merging_equals_the_definition),
        cmocka_unit_test(test_cache_overflow_changes_nothing),
        cmocka_unit_test(test_long_piece_is_not_quadratic),
        cmocka_unit_test(test_line_breaks_are_merged_only_by_merges),
        cmocka_unit_test(test_many_lines_are_not_quadratic),
        cmocka_unit_test(test_encode_refuses_invalid_utf8),
        cmocka_unit_test(test_encode_bounds_exploding_patterns),
        cmocka_unit_test(test_metaspace_prepends_by_scheme),
    };
    return TEST_MAIN(tests);
}
