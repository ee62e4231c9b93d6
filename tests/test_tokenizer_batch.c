/* Many texts on many threads: the ids of one encoder, whatever the number of threads. Runs under the race detector too. */
#include "tests/check.h"
#include "tests/tiny_tokenizer.h"

#include "core/mem.h"

#include <stdio.h>

enum { N_TEXT = 500, TEXT_MAX = 96 };

typedef struct Texts {
    char memory[N_TEXT][TEXT_MAX];
    Str text[N_TEXT];
    Ids ids[N_TEXT];
} Texts;

static Tokenizer *make_tokenizer(void)
{
    Tokenizer *t;
    StrBuf json;

    tiny_bytes_json(&json,
                    &(TinyFile){.added = "[{\"id\": 0, \"content\": \"<s>\", \"special\": true}]",
                                .normalizer = "{\"type\": \"NFC\"}",
                                .vocab = ", \"he\": 256, \"ll\": 257, \"hell\": 258, \"\\u0120t\": 259, \"hello\": 260",
                                .merges = "[[\"h\", \"e\"], [\"l\", \"l\"], [\"he\", \"ll\"], [\"\\u0120\", \"t\"], [\"hell\", \"o\"]]"});
    CHECK_OK(tokenizer_parse(&t, strbuf_str(&json), "tiny.json"));
    strbuf_release(&json);
    return t;
}

/* Words that come again, so that caches are filled and used, between ones that do not. */
static Texts *make_texts(void)
{
    static const char *const words[] = {"hello", " tell", " <s>", " e\xcc\x81", "  ", "\n", "12", "'ll"};
    TestRandom random = {7};
    Texts *x;

    CHECK_OK(MEM_NEW(x, 1));
    for (size_t i = 0; i < N_TEXT; i++) {
        int n = snprintf(x->memory[i], TEXT_MAX, "%zu", i);
        for (size_t k = test_random(&random) % 8; k > 0; k--)
            n += snprintf(x->memory[i] + n, (size_t)(TEXT_MAX - n), "%s", words[test_random(&random) % 8]);
        x->text[i] = (Str){x->memory[i], (size_t)n};
    }
    return x;
}

static void free_texts(Texts *x)
{
    for (size_t i = 0; i < N_TEXT; i++)
        ids_release(&x->ids[i]);
    mem_free(x);
}

static void check_against_one_encoder(const Tokenizer *t, const Texts *x, size_t n)
{
    Encoder *e;
    Ids want = {0};

    CHECK_OK(encoder_create(&e, t));
    for (size_t i = 0; i < n; i++) {
        want.count = 0;
        CHECK_OK(encoder_encode(e, x->text[i], true, &want));
        assert_int_equal(x->ids[i].count, want.count);
        for (size_t k = 0; k < want.count; k++)
            assert_int_equal(x->ids[i].id[k], want.id[k]);
    }
    ids_release(&want);
    encoder_free(e);
}

static void test_batch_equals_one_by_one(void **state)
{
    static const size_t counts[] = {0, 1, 15, 16, 17, N_TEXT};
    Tokenizer *t = make_tokenizer();

    (void)state;
    for (int n_thread = 1; n_thread <= 4; n_thread++) {
        Pool *pool;
        CHECK_OK(pool_create(&pool, n_thread));
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            Texts *x = make_texts();
            CHECK_OK(encode_batch(pool, t, x->text, counts[k], true, x->ids));
            check_against_one_encoder(t, x, counts[k]);
            free_texts(x);
        }
        pool_free(pool);
    }
    tokenizer_free(t);
}

typedef struct Sharing {
    const Tokenizer *t;
    Texts *x[2];
} Sharing;

static Status encode_all(void *context, int64_t index, int thread)
{
    const Sharing *s = context;
    Texts *x = s->x[index];
    Pool *pool;

    (void)thread;
    TRY(pool_create(&pool, 2));
    const Status st = encode_batch(pool, s->t, x->text, N_TEXT, true, x->ids);
    pool_free(pool);
    return st;
}

/* Two pools at once over one tokenizer, which nobody writes to. */
static void test_tokenizer_is_shared_by_batches(void **state)
{
    Tokenizer *t = make_tokenizer();
    Sharing sharing = {t, {make_texts(), make_texts()}};
    Pool *pool;

    (void)state;
    CHECK_OK(pool_create(&pool, 2));
    CHECK_OK(pool_run(pool, 2, encode_all, &sharing));
    pool_free(pool);
    for (int i = 0; i < 2; i++) {
        check_against_one_encoder(t, sharing.x[i], N_TEXT);
        free_texts(sharing.x[i]);
    }
    tokenizer_free(t);
}

static void test_batch_names_the_text(void **state)
{
    Tokenizer *t = make_tokenizer();
    Texts *x = make_texts();
    Pool *pool;

    (void)state;
    x->text[203] = str_of("a\xff");
    x->text[377] = str_of("\xff");
    CHECK_OK(pool_create(&pool, 2));
    CHECK_FAILS(encode_batch(pool, t, x->text, N_TEXT, true, x->ids), LT_E_INPUT, "text 203: text to encode: invalid UTF-8 at byte 1");
    pool_free(pool);
    free_texts(x);
    tokenizer_free(t);
}

static void test_batch_reports_lack_of_memory(void **state)
{
    Tokenizer *t = make_tokenizer();
    Pool *pool;

    (void)state;
    CHECK_OK(pool_create(&pool, 1));
    Texts *x = make_texts();
    const uint64_t before = mem_count();
    CHECK_OK(encode_batch(pool, t, x->text, 20, true, x->ids));
    const uint64_t n = mem_count() - before;
    free_texts(x);
    const int64_t held = mem_held();
    uint64_t n_failed = 0;
    for (uint64_t i = 1; i <= n; i++) {
        x = make_texts();
        mem_fail_at(i);
        const Status st = encode_batch(pool, t, x->text, 20, true, x->ids);
        mem_fail_at(0);
        /* LT_OK: the regex engine goes on without JIT where there is no memory for it. */
        if (st != LT_OK && st != LT_E_NOMEM)
            fail_msg("allocation %d of %d: %s: %s", (int)i, (int)n, status_name(st), status_text());
        n_failed += st == LT_E_NOMEM;
        status_clear();
        free_texts(x);
        assert_int_equal(mem_held(), held);
    }
    assert_true(n_failed > 20);
    pool_free(pool);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_equals_one_by_one),
        cmocka_unit_test(test_tokenizer_is_shared_by_batches),
        cmocka_unit_test(test_batch_names_the_text),
        cmocka_unit_test(test_batch_reports_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
