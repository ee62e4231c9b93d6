/* Decoding while ids come: what each push gives, what waits for the flush. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/mem.h"

static Tiny open_with(void (*make)(StrBuf *out, const TinyFile *file), const char *decoder)
{
    StrBuf json;

    make(&json, &(TinyFile){.decoder = decoder,
                            .added = "[{\"id\": 0, \"content\": \"<s>\", \"special\": true}, {\"id\": 0, \"content\": \"<tool>\"}]"});
    return tiny_open(&json);
}

/* Pushes ids that end in -1 and compares each delta with a text of `want`; the last text, behind a NULL-terminated row of deltas, is the
 * flush. */
static void check_stream(StreamDecoder *d, const int32_t *id, const char *const *want)
{
    StrBuf got;

    strbuf_init(&got);
    for (size_t i = 0; id[i] >= 0; i++) {
        strbuf_clear(&got);
        CHECK_OK(stream_decoder_push(d, id[i], &got));
        check_str(strbuf_str(&got), want[i], strlen(want[i]));
        if (id[i + 1] < 0) {
            strbuf_clear(&got);
            CHECK_OK(stream_decoder_flush(d, &got));
            check_str(strbuf_str(&got), want[i + 1], strlen(want[i + 1]));
        }
    }
    strbuf_release(&got);
}
#define IDS(...)                                                                                                                           \
    (const int32_t[])                                                                                                                      \
    {                                                                                                                                      \
        __VA_ARGS__, -1                                                                                                                    \
    }
#define TEXTS(...)                                                                                                                         \
    (const char *const[])                                                                                                                  \
    {                                                                                                                                      \
        __VA_ARGS__                                                                                                                        \
    }

static void test_stream_holds_half_characters_back(void **state)
{
    Tiny tiny = open_with(tiny_bytes_json, NULL);
    StreamDecoder *d;

    (void)state;
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS('a', 0xf0, 0x9f, 0x98, 0x80, 'b'), TEXTS("a", "", "", "", "\xf0\x9f\x98\x80", "b", ""));
    /* An end inside a character, and a fresh start behind it. */
    check_stream(d, IDS(0xc3), TEXTS("", "\xef\xbf\xbd"));
    check_stream(d, IDS(0xa9), TEXTS("\xef\xbf\xbd", ""));
    /* Wrong for good as soon as the second byte is known: no need to wait. */
    check_stream(d, IDS(0xe2, 'x', 0xe0, 0x80), TEXTS("", "\xef\xbf\xbdx", "", "\xef\xbf\xbd\xef\xbf\xbd", ""));
    stream_decoder_free(d);
    tiny_close(&tiny);
}

static void test_stream_skips_special_tokens_when_asked(void **state)
{
    Tiny tiny = open_with(tiny_bytes_json, NULL);
    const int32_t special = tokenizer_find(tiny.t, str_of("<s>")), tool = tokenizer_find(tiny.t, str_of("<tool>"));
    StreamDecoder *d;

    (void)state;
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS(0xc3, special, 0xa9, tool, 9999), TEXTS("", "", "\xc3\xa9", "<tool>", "", ""));
    stream_decoder_free(d);
    CHECK_OK(stream_decoder_create(&d, tiny.t, false));
    check_stream(d, IDS(0xc3, special), TEXTS("", "\xef\xbf\xbd<s>", ""));
    stream_decoder_free(d);
    tiny_close(&tiny);
}

static void test_stream_holds_byte_runs_back(void **state)
{
    Tiny tiny = open_with(tiny_fallback_json, NULL);
    StreamDecoder *d;

    (void)state;
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS(259, 260, 3 + 0xc3, 3 + 0xa9, 261, 259), TEXTS("", "a", "", "", "\xc3\xa9\x62", " ", ""));
    check_stream(d, IDS(3 + 'x', 3 + 0xc3), TEXTS("", "", "\xef\xbf\xbd\xef\xbf\xbd"));
    stream_decoder_free(d);
    tiny_close(&tiny);
}

/* Strip's end is known at the end only; a replacement over the joined text may join any two tokens. */
static void test_stream_waits_where_the_end_decides(void **state)
{
    Tiny tiny = open_with(tiny_fallback_json, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, "
                                              "{\"type\": \"Strip\", \"content\": \"a\", \"start\": 2, \"stop\": 1}]}");
    StreamDecoder *d;

    (void)state;
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS(260, 260, 260, 261, 260, 260), TEXTS("", "", "", "ab", "", "a", ""));
    check_stream(d, IDS(260), TEXTS("", ""));
    stream_decoder_free(d);
    tiny_close(&tiny);

    tiny = open_with(tiny_fallback_json, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Replace\", "
                                         "\"pattern\": {\"String\": \"ab\"}, \"content\": \"!\"}]}");
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS(260, 261, 260), TEXTS("", "", "", "!a"));
    check_stream(d, IDS(261), TEXTS("", "b"));
    stream_decoder_free(d);
    tiny_close(&tiny);
}

static void test_stream_without_decoder_joins_by_spaces(void **state)
{
    Tiny tiny = open_with(tiny_bytes_json, "null");
    StreamDecoder *d;

    (void)state;
    CHECK_OK(stream_decoder_create(&d, tiny.t, true));
    check_stream(d, IDS('a', 'b'), TEXTS("a", " b", ""));
    check_stream(d, IDS('c'), TEXTS("c", ""));
    stream_decoder_free(d);
    tiny_close(&tiny);
}

static Status stream_round(const Tokenizer *t)
{
    static const int32_t id[] = {259, 260, 3 + 0xc3, 261};
    StreamDecoder *d = NULL;
    StrBuf out;
    Status st;

    strbuf_init(&out);
    TRY_GOTO(stream_decoder_create(&d, t, true), st, done);
    for (size_t i = 0; i < sizeof id / sizeof *id; i++)
        TRY_GOTO(stream_decoder_push(d, id[i], &out), st, done);
    st = stream_decoder_flush(d, &out);
done:
    stream_decoder_free(d);
    strbuf_release(&out);
    return st;
}

static void test_stream_reports_lack_of_memory(void **state)
{
    Tiny tiny = open_with(tiny_fallback_json, NULL);
    const int64_t held = mem_held();
    const uint64_t before = mem_count();

    (void)state;
    CHECK_OK(stream_round(tiny.t));
    const uint64_t n = mem_count() - before;
    assert_true(n > 3);
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        CHECK_FAILS(stream_round(tiny.t), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
    }
    tiny_close(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_holds_half_characters_back),
        cmocka_unit_test(test_stream_skips_special_tokens_when_asked),
        cmocka_unit_test(test_stream_holds_byte_runs_back),
        cmocka_unit_test(test_stream_waits_where_the_end_decides),
        cmocka_unit_test(test_stream_without_decoder_joins_by_spaces),
        cmocka_unit_test(test_stream_reports_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
