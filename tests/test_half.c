#include "tests/check.h"

#include "core/half.h"
#include "core/hash.h"
#include "core/json.h"

#include <math.h>
#include <stdlib.h>

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static bool f16_is_nan(f16_t h)
{
    return (h & 0x7fffu) > 0x7c00u;
}

static void check_narrow(const char *what, const char *want, uint16_t got, bool got_nan)
{
    const bool same = strcmp(want, "nan") == 0 ? got_nan : !got_nan && got == strtoul(want, NULL, 16);

    if (!same) {
        print_error("%s: got %04x, expected %s\n", what, (unsigned)got, want);
        fail();
    }
}

static void test_narrowing_matches_golden(void **state)
{
    json_t *document, *row;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&document, test_data("golden/random/convert.json"), (size_t)1 << 24));
    assert_true(json_array_size(json_object_get(document, "rows")) > 0);
    json_array_foreach(json_object_get(document, "rows"), i, row) {
        const char *f32 = json_string_value(json_array_get(row, 0));
        const float f = float_of((uint32_t)strtoul(f32, NULL, 16));
        const bf16_t b = f32_to_bf16(f);
        const f16_t h = f32_to_f16(f);
        check_narrow(f32, json_string_value(json_array_get(row, 1)), b, isnan(bf16_to_f32(b)));
        check_narrow(f32, json_string_value(json_array_get(row, 2)), h, f16_is_nan(h));
    }
    json_decref(document);
}

static void test_f16_widening_matches_golden(void **state)
{
    json_t *document, *row;
    Sha256 h;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&document, test_data("golden/random/convert.json"), (size_t)1 << 24));
    json_array_foreach(json_object_get(document, "f16_to_f32_some"), i, row) {
        const char *want = json_string_value(json_array_get(row, 1));
        const float f = f16_to_f32((f16_t)strtoul(json_string_value(json_array_get(row, 0)), NULL, 16));
        assert_true(strcmp(want, "nan") == 0 ? isnan(f) : bits_of(f) == strtoul(want, NULL, 16));
    }
    CHECK_OK(sha256_init(&h));
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        if ((bits & 0x7c00u) == 0x7c00u)
            continue;
        const float f = f16_to_f32((f16_t)bits);
        sha256_add(&h, &f, sizeof f);
    }
    const Digest digest = sha256_end(&h);
    assert_string_equal(digest_hex(&digest).text, json_string_value(json_object_get(document, "f16_to_f32_sha256_finite")));
    json_decref(document);
}

static void test_widening_and_back_is_the_same(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float from_f16 = f16_to_f32((f16_t)bits), from_bf16 = bf16_to_f32((bf16_t)bits);
        if (isnan(from_f16))
            assert_true(f16_is_nan(f32_to_f16(from_f16)));
        else
            assert_int_equal(f32_to_f16(from_f16), bits);
        if (isnan(from_bf16))
            assert_true(isnan(bf16_to_f32(f32_to_bf16(from_bf16))));
        else
            assert_int_equal(f32_to_bf16(from_bf16), bits);
    }
}

/* Half-way between two neighbours goes to the even one, anything beyond half-way up. */
static void test_narrowing_rounds_to_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        /* The mean of two F16 neighbours is an F32 number exactly. */
        const float middle = 0.5f * (f16_to_f32((f16_t)bits) + f16_to_f32((f16_t)(bits + 1)));
        assert_int_equal(f32_to_f16(middle), bits + (bits & 1));
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), bits + 1);
        assert_int_equal(f32_to_f16(-nextafterf(middle, 0.0f)), bits | 0x8000u);
    }
    assert_int_equal(f32_to_bf16(float_of(0x3f808000)), 0x3f80);
    assert_int_equal(f32_to_bf16(float_of(0x3f818000)), 0x3f82);
    assert_int_equal(f32_to_bf16(float_of(0x3f808001)), 0x3f81);
}

static void test_narrowing_keeps_nan_and_overflows_to_infinity(void **state)
{
    (void)state;
    /* A NaN whose payload lies in the lost bits only must not become an infinity. */
    assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(0x7f800001)))));
    assert_true(f16_is_nan(f32_to_f16(float_of(0xff800001))));
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_bf16(float_of(0x7f7fffff)), 0x7f80);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_narrowing_matches_golden),
        cmocka_unit_test(test_f16_widening_matches_golden),
        cmocka_unit_test(test_widening_and_back_is_the_same),
        cmocka_unit_test(test_narrowing_rounds_to_even),
        cmocka_unit_test(test_narrowing_keeps_nan_and_overflows_to_infinity),
    };
    return TEST_MAIN(tests);
}
