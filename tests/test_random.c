#include "tests/check.h"

#include "core/hash.h"
#include "core/json.h"
#include "core/random.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static json_t *golden(const char *name)
{
    json_t *document;
    CHECK_OK(json_load_path(&document, test_data(name), (size_t)1 << 24));
    return document;
}

static uint64_t number_at(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

enum { WORDS = 8 };

/* A decimal number of up to 256 bits as 32-bit words, least significant first. */
static void read_decimal(const json_t *decimal, uint32_t word[WORDS])
{
    assert_true(json_is_string(decimal));
    memset(word, 0, WORDS * sizeof *word);
    for (const char *c = json_string_value(decimal); *c != '\0'; c++) {
        uint64_t carry = (uint64_t)(*c - '0');
        for (size_t i = 0; i < WORDS; i++) {
            carry += (uint64_t)word[i] * 10;
            word[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
}

static void seed_with(PyRandom *r, const json_t *decimal)
{
    uint32_t word[WORDS];
    read_decimal(decimal, word);
    pyrandom_seed_words(r, word, WORDS);
}

/* getrandbits(k); CPython has no limit of 64 bits: more come from the words that follow. */
static void check_bits(PyRandom *r, unsigned k, const json_t *decimal)
{
    uint32_t want[WORDS];

    read_decimal(decimal, want);
    for (size_t at = 0; k > 0; at += 2) {
        const unsigned now = k < 64 ? k : 64;
        assert_int_equal(pyrandom_bits(r, now), want[at] | (uint64_t)want[at + 1] << 32);
        k -= now;
    }
}

static void check_draws(const json_t *seed)
{
    const json_t *decimal = json_object_get(seed, "seed"), *list;
    PyRandom r;

    seed_with(&r, decimal);
    list = json_object_get(seed, "getrandbits32");
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_int_equal(pyrandom_u32(&r), number_at(list, i));

    seed_with(&r, decimal);
    list = json_object_get(seed, "random_hex");
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_true(pyrandom_unit(&r) == strtod(json_string_value(json_array_get(list, i)), NULL));

    seed_with(&r, decimal);
    list = json_object_get(seed, "getrandbits_mixed");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        check_bits(&r, (unsigned)number_at(row, 0), json_array_get(row, 1));
    }

    seed_with(&r, decimal);
    list = json_object_get(seed, "randrange");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        assert_int_equal(pyrandom_below(&r, number_at(row, 0)), number_at(row, 1));
    }

    /* log, sqrt, sin, cos of another libm may each be off by an ulp or so. */
    seed_with(&r, decimal);
    list = json_object_get(seed, "gauss");
    for (size_t i = 0; i < json_array_size(list); i++)
        check_close("gauss", pyrandom_gauss(&r, 0.0, 1.0), json_real_value(json_array_get(list, i)), 1e-15, 8 * DBL_EPSILON);

    seed_with(&r, decimal);
    list = json_object_get(seed, "uniform_-3_5");
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_true(pyrandom_uniform(&r, -3.0, 5.0) == json_real_value(json_array_get(list, i)));
}

static void check_shuffle(const json_t *seed, size_t n, const char *first_key, const char *hash_key)
{
    const json_t *first = json_object_get(seed, first_key);
    uint64_t item[1000];
    PyRandom r;

    for (size_t i = 0; i < n; i++)
        item[i] = i;
    seed_with(&r, json_object_get(seed, "seed"));
    pyrandom_shuffle(&r, item, n);
    for (size_t i = 0; i < json_array_size(first); i++)
        assert_int_equal(item[i], number_at(first, i));
    if (hash_key == NULL)
        return;

    StrBuf list;
    Digest digest;
    strbuf_init(&list);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&list, "%s%llu", i > 0 ? "," : "", (unsigned long long)item[i]);
    CHECK_OK(sha256_of(list.data, list.len, &digest));
    assert_string_equal(digest_hex(&digest).text, json_string_value(json_object_get(seed, hash_key)));
    strbuf_release(&list);
}

static void test_pyrandom_repeats_cpython(void **state)
{
    json_t *document = golden("golden/random/cpython.json"), *seed;
    size_t i;

    (void)state;
    assert_true(json_array_size(json_object_get(document, "seeds")) > 0);
    json_array_foreach(json_object_get(document, "seeds"), i, seed) {
        const json_t *choice = json_object_get(seed, "choices_100_of_37_first");
        uint64_t drawn[100];
        PyRandom r;

        check_draws(seed);
        check_shuffle(seed, 20, "shuffle20", NULL);
        check_shuffle(seed, 1000, "shuffle1000_first10", "shuffle1000_sha256");
        seed_with(&r, json_object_get(seed, "seed"));
        pyrandom_choices(&r, 37, 100, drawn);
        for (size_t j = 0; j < json_array_size(choice); j++)
            assert_int_equal(drawn[j], number_at(choice, j));
    }
    json_decref(document);
}

static void check_sample(PyRandom *r, const json_t *row, const json_t *want)
{
    const uint64_t n = (uint64_t)json_integer_value(json_object_get(row, "n"));
    const uint64_t k = (uint64_t)json_integer_value(json_object_get(row, "k"));
    uint64_t drawn[200];

    assert_true(k <= 200 && json_array_size(want) == k);
    CHECK_OK(pyrandom_sample(r, n, k, drawn));
    for (size_t i = 0; i < k; i++)
        assert_int_equal(drawn[i], number_at(want, i));
}

static void test_sample_repeats_cpython(void **state)
{
    json_t *document = golden("golden/random/cpython.json"), *row, *want;
    PyRandom r;
    size_t i, j;

    (void)state;
    assert_true(json_array_size(json_object_get(document, "sample")) > 0);
    json_array_foreach(json_object_get(document, "sample"), i, row) {
        seed_with(&r, json_object_get(row, "seed"));
        check_sample(&r, row, json_object_get(row, "sample"));
        /* The next number shows that as much was drawn as in CPython. */
        assert_int_equal(pyrandom_u32(&r), json_integer_value(json_object_get(row, "next_getrandbits32")));
    }
    json_array_foreach(json_object_get(document, "sample_stream"), i, row) {
        seed_with(&r, json_object_get(row, "seed"));
        json_array_foreach(json_object_get(row, "samples"), j, want)
            check_sample(&r, row, want);
    }
    json_decref(document);
}

/* Known outside the golden data too: the first word of Random(1234) and gsm8k's first five shots. */
static void test_seed_1234_draws_known_shots(void **state)
{
    static const uint64_t want[] = {6374, 3610, 957, 61, 742};
    uint64_t drawn[5];
    PyRandom r;

    (void)state;
    pyrandom_seed(&r, 1234);
    assert_int_equal(pyrandom_u32(&r), 4150886329u);
    pyrandom_seed(&r, 1234);
    CHECK_OK(pyrandom_sample(&r, 7473, 5, drawn));
    assert_memory_equal(drawn, want, sizeof want);
}

/* init_by_array({0x123, 0x234, 0x345, 0x456}): the first numbers of the authors' own mt19937ar.out. */
static void test_seed_words_give_published_numbers(void **state)
{
    static const uint32_t key[] = {0x123, 0x234, 0x345, 0x456};
    PyRandom r;

    (void)state;
    pyrandom_seed_words(&r, key, 4);
    assert_int_equal(pyrandom_u32(&r), 1067595299u);
    assert_int_equal(pyrandom_u32(&r), 955945823u);
    assert_int_equal(pyrandom_u32(&r), 477289528u);
}

static void test_sample_gives_distinct_values_by_both_methods(void **state)
{
    static const uint64_t sizes[] = {300, 277, 5000, UINT64_MAX};
    uint64_t drawn[64];
    PyRandom r;

    (void)state;
    pyrandom_seed(&r, 7);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        CHECK_OK(pyrandom_sample(&r, sizes[s], 64, drawn));
        for (size_t i = 0; i < 64; i++) {
            assert_true(drawn[i] < sizes[s]);
            for (size_t j = 0; j < i; j++)
                assert_true(drawn[i] != drawn[j]);
        }
    }
}

static void test_sample_says_when_memory_is_out(void **state)
{
    const int64_t held = mem_held();
    uint64_t drawn[30];
    PyRandom r;

    (void)state;
    pyrandom_seed(&r, 1);
    mem_fail_at(1);
    CHECK_FAILS(pyrandom_sample(&r, 50, 30, drawn), LT_E_NOMEM, NULL);
    mem_fail_at(1);
    CHECK_FAILS(pyrandom_sample(&r, 50000, 30, drawn), LT_E_NOMEM, NULL);
    assert_int_equal(mem_held(), held);
}

static void words(const json_t *array, uint32_t *out, size_t n)
{
    assert_int_equal(json_array_size(array), n);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)strtoul(json_string_value(json_array_get(array, i)), NULL, 16);
}

static void test_philox_gives_golden_words(void **state)
{
    static const char *const lists[] = {"published", "computed"};
    json_t *document = golden("golden/random/philox4x32.json"), *row;
    size_t i;

    (void)state;
    for (size_t l = 0; l < 2; l++) {
        assert_true(json_array_size(json_object_get(document, lists[l])) > 0);
        json_array_foreach(json_object_get(document, lists[l]), i, row) {
            uint32_t counter[4], key[2], want[4], got[4];
            words(json_object_get(row, "counter"), counter, 4);
            words(json_object_get(row, "key"), key, 2);
            words(json_object_get(row, "output"), want, 4);
            philox4x32(counter, key, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    json_decref(document);
}

static void test_philox_of_zeros_and_pi(void **state)
{
    /* Known answers of the paper's library (Random123, kat_vectors). */
    static const uint32_t zero[4] = {0}, from_zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    static const uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, key[2] = {0xa4093822, 0x299f31d0};
    static const uint32_t from_pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    uint32_t got[4];

    (void)state;
    philox4x32(zero, zero, got);
    assert_memory_equal(got, from_zero, sizeof got);
    philox4x32(pi, key, got);
    assert_memory_equal(got, from_pi, sizeof got);
    assert_true(philox_unit(0) == 0.0f && philox_unit(UINT32_MAX) < 1.0f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pyrandom_repeats_cpython),
        cmocka_unit_test(test_sample_repeats_cpython),
        cmocka_unit_test(test_seed_1234_draws_known_shots),
        cmocka_unit_test(test_seed_words_give_published_numbers),
        cmocka_unit_test(test_sample_gives_distinct_values_by_both_methods),
        cmocka_unit_test(test_sample_says_when_memory_is_out),
        cmocka_unit_test(test_philox_gives_golden_words),
        cmocka_unit_test(test_philox_of_zeros_and_pi),
    };
    return TEST_MAIN(tests);
}
