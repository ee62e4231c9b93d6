#include "tests/check.h"

#include "core/hash.h"
#include "core/json.h"

#include <stdlib.h>

/* Bytes of a hex string; mem_free. */
static uint8_t *bytes_of(const json_t *hex, size_t *n)
{
    const char *text = json_string_value(hex);
    uint8_t *bytes;

    assert_non_null(text);
    *n = strlen(text) / 2;
    CHECK_OK(MEM_NEW(bytes, *n));
    for (size_t i = 0; i < *n; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

static void check_hashes(const uint8_t *bytes, size_t n, const json_t *row)
{
    const uint32_t crc = (uint32_t)strtoul(json_string_value(json_object_get(row, "crc32c")), NULL, 16);
    Digest digest;

    assert_int_equal(crc32c(0, bytes, n), crc);
    assert_int_equal(crc32c_plain(0, bytes, n), crc);
    CHECK_OK(sha256_of(bytes, n, &digest));
    assert_string_equal(digest_hex(&digest).text, json_string_value(json_object_get(row, "sha256")));
}

static void check_incremental(const json_t *row)
{
    size_t n_first, n_second;
    uint8_t *first = bytes_of(json_object_get(row, "first_hex"), &n_first);
    uint8_t *second = bytes_of(json_object_get(row, "second_hex"), &n_second);
    const uint32_t half = crc32c(0, first, n_first);
    Sha256 h;

    assert_int_equal(half, strtoul(json_string_value(json_object_get(row, "crc32c_first")), NULL, 16));
    assert_int_equal(crc32c(half, second, n_second), strtoul(json_string_value(json_object_get(row, "crc32c_both")), NULL, 16));
    CHECK_OK(sha256_init(&h));
    sha256_add(&h, first, n_first);
    sha256_add(&h, second, n_second);
    const Digest digest = sha256_end(&h);
    assert_string_equal(digest_hex(&digest).text, json_string_value(json_object_get(row, "sha256_both")));
    mem_free(first);
    mem_free(second);
}

static void test_hashes_match_golden(void **state)
{
    json_t *document, *row;
    size_t i, n;

    (void)state;
    CHECK_OK(json_load_path(&document, test_data("golden/random/hash.json"), (size_t)1 << 24));
    assert_true(json_array_size(json_object_get(document, "messages")) > 0);
    json_array_foreach(json_object_get(document, "messages"), i, row) {
        uint8_t *bytes = bytes_of(json_object_get(row, "hex"), &n);
        check_hashes(bytes, n, row);
        mem_free(bytes);
    }
    json_array_foreach(json_object_get(document, "repeated"), i, row) {
        uint8_t *bytes;
        n = (size_t)json_integer_value(json_object_get(row, "count"));
        CHECK_OK(MEM_NEW(bytes, n));
        memset(bytes, (int)strtoul(json_string_value(json_object_get(row, "byte")), NULL, 16), n);
        check_hashes(bytes, n, row);
        mem_free(bytes);
    }
    json_array_foreach(json_object_get(document, "incremental"), i, row)
        check_incremental(row);
    json_decref(document);
}

static void test_crc32c_of_digits(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c_plain(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void test_crc32c_instruction_equals_table(void **state)
{
    TestRandom random = {1};
    uint8_t bytes[80];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)test_random(&random);
    /* Every start within a word and every length around a few words. */
    for (size_t from = 0; from < 9; from++)
        for (size_t n = 0; n + from <= sizeof bytes; n++) {
            const uint32_t before = (uint32_t)test_random(&random);
            assert_int_equal(crc32c(before, bytes + from, n), crc32c_plain(before, bytes + from, n));
        }
}

static void test_sha256_of_abc_in_pieces(void **state)
{
    static const char want[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; /* FIPS 180-4 */
    Digest digest, back;
    Sha256 h;

    (void)state;
    CHECK_OK(sha256_init(&h));
    sha256_add(&h, "a", 1);
    sha256_add(&h, "bc", 2);
    sha256_add(&h, "", 0);
    digest = sha256_end(&h);
    assert_string_equal(digest_hex(&digest).text, want);
    assert_true(digest_from_hex(str_of(want), &back));
    assert_memory_equal(&digest, &back, sizeof back);
}

static void test_digest_from_hex_refuses_others(void **state)
{
    char text[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    Digest digest;

    (void)state;
    assert_false(digest_from_hex((Str){text, 63}, &digest));
    text[5] = 'B';
    assert_false(digest_from_hex(str_of(text), &digest));
    text[5] = 'g';
    assert_false(digest_from_hex(str_of(text), &digest));
}

static void test_release_takes_zeroed_and_unfinished(void **state)
{
    Sha256 h = {0};

    (void)state;
    sha256_release(&h);
    CHECK_OK(sha256_init(&h));
    sha256_add(&h, "x", 1);
    sha256_release(&h);
    assert_null(h.context);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes_match_golden),
        cmocka_unit_test(test_crc32c_of_digits),
        cmocka_unit_test(test_crc32c_instruction_equals_table),
        cmocka_unit_test(test_sha256_of_abc_in_pieces),
        cmocka_unit_test(test_digest_from_hex_refuses_others),
        cmocka_unit_test(test_release_takes_zeroed_and_unfinished),
    };
    return TEST_MAIN(tests);
}
