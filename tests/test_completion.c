/* Where a completion ends and what its text is: against decoding everything again after each id. */
#include "eval/engine/completion.h"

#include "model/eos.h"
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

static const char ADDED[] = "[{\"id\":258,\"content\":\"</s>\",\"special\":true},{\"id\":259,\"content\":\"<sep>\",\"special\":true}]";
static const int32_t eos[] = {258};

/* Bytes are their own ids; 256 is "ab", 257 "b\n". */
static Tiny open_bytes(void)
{
    StrBuf json;

    strbuf_init(&json);
    tiny_bytes_json(&json, &(TinyFile){.added = ADDED, .vocab = ",\"ab\":256,\"b\xc4\x8a\":257", .merges = "[]"});
    return tiny_open(&json);
}

typedef struct Ended {
    size_t n_id;
    Finish finish;
    char text[256];
} Ended;

/* Adds ids that end in -1 until the completion ends. What is settled on the way has to stay. */
static Ended run(const Tiny *tiny, const char *const *stop, const int32_t *id, int32_t max_new, bool ignore_eos)
{
    const EndRules rules = {.tokenizer = tiny->t, .eos = eos, .n_eos = 1};
    const Sampling how = {.max_new = max_new, .stop = stop, .ignore_eos = ignore_eos};
    char settled[256] = "";
    size_t n_settled = 0;
    Ended end = {0};
    Completion c;

    CHECK_OK(completion_open(&c, &rules, &how));
    for (; *id >= 0 && c.finish == FINISH_NONE; id++) {
        CHECK_OK(completion_add(&c, *id, -1));
        const Str now = completion_settled(&c);

        assert_true(now.len >= n_settled && now.len < sizeof settled && memcmp(now.data, settled, n_settled) == 0);
        n_settled = now.len;
        memcpy(settled, now.data, n_settled);
    }
    end.n_id = c.ids.count;
    end.finish = c.finish;
    memcpy(end.text, strbuf_str(&c.text).data, c.text.len);
    assert_true(c.finish == FINISH_NONE || n_settled == c.text.len);
    completion_close(&c);
    return end;
}

#define STOPS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

static void check_end(Ended got, size_t n_id, Finish finish, const char *text)
{
    assert_int_equal(got.n_id, n_id);
    assert_string_equal(finish_name(got.finish), finish_name(finish));
    assert_string_equal(got.text, text);
}

static void test_completion_ends_by_its_rules(void **state)
{
    Tiny tiny = open_bytes();

    (void)state;
    check_end(run(&tiny, NULL, IDS('x', 'y', 'z'), 2, false), 2, FINISH_LENGTH, "xy");
    check_end(run(&tiny, NULL, IDS('x', 258, 'z'), 9, false), 2, FINISH_EOS, "x");
    check_end(run(&tiny, NULL, IDS('x', 258, 'z'), 3, true), 3, FINISH_LENGTH, "xz");
    check_end(run(&tiny, STOPS("yz"), IDS('x', 'y', 'z', 'q'), 9, false), 3, FINISH_STOP, "x");
    check_end(run(&tiny, STOPS("yz"), IDS('x', 'y', 'q', 'y'), 4, false), 4, FINISH_LENGTH, "xyqy");
    check_end(run(&tiny, STOPS("a"), IDS('x', 256, 'q'), 9, false), 2, FINISH_STOP, "x");       /* inside a token, with what follows */
    check_end(run(&tiny, STOPS("bc", "ab"), IDS('x', 256, 'c'), 9, false), 2, FINISH_STOP, "x"); /* ended before "bc" was there */
    check_end(run(&tiny, STOPS("b\n", "ab"), IDS('x', 'a', 257), 9, false), 3, FINISH_STOP, "xa"); /* both there: in the order of the list */
    check_end(run(&tiny, STOPS("ab", "b\n"), IDS('x', 'a', 257), 9, false), 3, FINISH_STOP, "x");
    check_end(run(&tiny, STOPS(""), IDS('x', 'y'), 9, false), 1, FINISH_STOP, "x");
    check_end(run(&tiny, STOPS("<sep>"), IDS('x', 259, 'y'), 9, true), 2, FINISH_STOP, "x"); /* the name of a special token */
    check_end(run(&tiny, STOPS("yz"), IDS('y', 259, 'z'), 9, false), 3, FINISH_STOP, "");    /* which no text contains */
    tiny_close(&tiny);
}

/* Half a character is held back; when the text ends there, it is what decoding at once makes of it. */
static void test_completion_holds_back_half_characters(void **state)
{
    Tiny tiny = open_bytes();

    (void)state;
    check_end(run(&tiny, STOPS("\xc3\xa9"), IDS('x', 0xc3, 0xa9, 'y'), 9, false), 3, FINISH_STOP, "x");
    check_end(run(&tiny, NULL, IDS('x', 0xc3), 2, false), 2, FINISH_LENGTH, "x\xef\xbf\xbd");
    check_end(run(&tiny, NULL, IDS('x', 0xc3, 258), 9, false), 3, FINISH_EOS, "x\xef\xbf\xbd");
    tiny_close(&tiny);
}

/* A byte-fallback decoder waits for the end of a run of bytes; a stop string does not. */
static void test_completion_sees_stops_that_the_decoder_holds(void **state)
{
    StrBuf json;

    (void)state;
    strbuf_init(&json);
    tiny_fallback_json(&json, &(TinyFile){.merges = "[]"});
    Tiny tiny = tiny_open(&json);
    const int32_t newline = 3 + '\n', a = 260, b = 261;

    check_end(run(&tiny, STOPS("\n"), IDS(a, newline, b), 9, false), 2, FINISH_STOP, "a");
    check_end(run(&tiny, STOPS("\n\n"), IDS(a, newline, newline, b), 9, false), 3, FINISH_STOP, "a");
    check_end(run(&tiny, STOPS("\n\n"), IDS(a, newline, b, newline), 4, false), 4, FINISH_LENGTH, "a\nb\n");
    tiny_close(&tiny);
}

/* Random ids and stop strings: it ends at the first id after which the whole text holds a stop string, and is cut in list order. */
static void test_completion_agrees_with_decoding_again(void **state)
{
    static const char *const lists[][4] = {{"a", NULL}, {"ab", "ba", NULL}, {"bb", "aab", "\n", NULL}, {"ab\n", "\nb", "aaaa", NULL}};
    static const int32_t letters[] = {'a', 'b', '\n', 256, 257, 259};
    Tiny tiny = open_bytes();
    TestRandom random = {8};

    (void)state;
    for (int k = 0; k < 400; k++) {
        const char *const *stop = lists[k % 4];
        int32_t id[13] = {0};
        size_t n = 0;
        bool found = false;
        StrBuf text;

        for (int i = 0; i < 12; i++)
            id[i] = letters[test_random(&random) % 6];
        id[12] = -1;
        strbuf_init(&text);
        while (n < 12 && !found) {
            strbuf_clear(&text);
            CHECK_OK(tokenizer_decode(tiny.t, id, ++n, true, &text));
            for (const char *const *s = stop; *s != NULL; s++)
                found = found || str_find(strbuf_str(&text), str_of(*s), 0) != SIZE_MAX;
        }
        for (const char *const *s = stop; *s != NULL; s++) {
            const size_t at = str_find(strbuf_str(&text), str_of(*s), 0);
            text.len = at != SIZE_MAX ? at : text.len;
        }
        strbuf_add_char(&text, '\0');
        check_end(run(&tiny, stop, id, 12, false), n, found ? FINISH_STOP : FINISH_LENGTH, text.data);
        strbuf_release(&text);
    }
    tiny_close(&tiny);
}

static void test_completion_needs_no_tokenizer(void **state)
{
    const EndRules rules = {.eos = eos, .n_eos = 1};
    const Sampling how = {.max_new = 3};
    Completion c;

    (void)state;
    CHECK_OK(completion_open(&c, &rules, &how));
    CHECK_OK(completion_add(&c, 5, -1));
    CHECK_OK(completion_add(&c, 258, -2));
    assert_int_equal(c.finish, FINISH_EOS);
    assert_true(c.text.len == 0 && c.lp[1] == -2);
    completion_close(&c);
}

static void test_sampling_seed_follows_from_prompt_and_sample(void **state)
{
    static const int32_t prompt[] = {5, 6, 7, 8, 9}, other[] = {5, 6, 7, 8, 10};
    const uint64_t seed = sampling_seed(1, prompt, 5, 0);

    (void)state;
    assert_true(seed == sampling_seed(1, prompt, 5, 0));
    assert_true(seed != sampling_seed(2, prompt, 5, 0) && seed != sampling_seed(1, prompt, 5, 1) && seed != sampling_seed(1, prompt, 4, 0) &&
                seed != sampling_seed(1, other, 5, 0) && seed != sampling_seed(1ull << 32, prompt, 5, 0));
}

static EosIds eos_of(const char *json)
{
    const ModelConfig cfg = {.vocab_size = 100, .eos_token_id = {2}, .n_eos = 1};
    const char *folder = test_folder();
    EosIds ids;

    if (json != NULL)
        test_file(folder, "generation_config.json", json, strlen(json));
    CHECK_OK(eos_load(&ids, &cfg, folder));
    return ids;
}

static void test_eos_ids_of_both_files(void **state)
{
    const ModelConfig cfg = {.vocab_size = 100};
    const char *folder = test_folder();
    EosIds ids;

    (void)state;
    assert_int_equal(eos_of(NULL).n, 1);
    assert_int_equal(eos_of("{\"eos_token_id\": null}").n, 1);
    assert_int_equal(eos_of("{\"eos_token_id\": 2}").n, 1);
    ids = eos_of("{\"eos_token_id\": [7, 2, 9]}");
    assert_true(ids.n == 3 && ids.id[0] == 2 && ids.id[1] == 7 && ids.id[2] == 9);
    test_file(folder, "generation_config.json", "{\"eos_token_id\": [100]}", 23);
    CHECK_FAILS(eos_load(&ids, &cfg, folder), LT_E_INPUT, "eos_token_id[0]");
    test_file(folder, "generation_config.json", "{\"eos_token_id\": \"x\"}", 21);
    CHECK_FAILS(eos_load(&ids, &cfg, folder), LT_E_INPUT, "generation_config.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completion_ends_by_its_rules),
        cmocka_unit_test(test_completion_holds_back_half_characters),
        cmocka_unit_test(test_completion_sees_stops_that_the_decoder_holds),
        cmocka_unit_test(test_completion_agrees_with_decoding_again),
        cmocka_unit_test(test_completion_needs_no_tokenizer),
        cmocka_unit_test(test_sampling_seed_follows_from_prompt_and_sample),
        cmocka_unit_test(test_eos_ids_of_both_files),
    };

    return TEST_MAIN(tests);
}
