#include "tests/check.h"

#include "core/map.h"

#include <stdio.h>

static Str numbered(char text[24], size_t i)
{
    const int n = snprintf(text, 24, "key %zu", i);
    return (Str){text, (size_t)n};
}

static void test_put_and_get(void **state)
{
    int64_t value = 0;
    bool fresh;
    Map m;

    (void)state;
    map_init(&m);
    assert_false(map_get(&m, str_of("a"), &value));
    CHECK_OK(map_put(&m, str_of("a"), 1, &fresh));
    assert_true(fresh);
    CHECK_OK(map_put(&m, str_of("a"), -5, &fresh));
    assert_false(fresh);
    CHECK_OK(map_put(&m, str_of(""), 3, NULL));
    assert_int_equal(m.count, 2);
    assert_true(map_get(&m, str_of("a"), &value));
    assert_int_equal(value, -5);
    assert_true(map_get(&m, (Str){NULL, 0}, &value));
    assert_int_equal(value, 3);
    map_release(&m);
}

static void test_keys_may_hold_nul_and_are_copied(void **state)
{
    char key[] = {'a', '\0', 'b'};
    int64_t value;
    Map m;

    (void)state;
    map_init(&m);
    CHECK_OK(map_put(&m, (Str){key, 3}, 7, NULL));
    key[2] = 'c';
    assert_true(map_get(&m, (Str){"a\0b", 3}, &value));
    assert_false(map_get(&m, (Str){key, 3}, &value));
    assert_false(map_get(&m, str_of("a"), &value));
    map_release(&m);
}

static void test_many_keys_keep_their_order(void **state)
{
    enum { N = 50000 };
    char text[24];
    int64_t value;
    Map m;

    (void)state;
    map_init(&m);
    for (size_t i = 0; i < N; i++)
        CHECK_OK(map_put(&m, numbered(text, i), (int64_t)i * 3, NULL));
    assert_int_equal(m.count, N);
    for (size_t i = 0; i < N; i++) {
        const Str key = numbered(text, i);
        assert_true(map_get(&m, key, &value));
        assert_int_equal(value, i * 3);
        assert_int_equal(map_value(&m, i), i * 3);
        check_str(map_key(&m, i), key.data, key.len);
    }
    assert_false(map_get(&m, numbered(text, N), &value));
    map_release(&m);
}

/* After a failed put the map is as before and goes on working. */
static void test_put_survives_lack_of_memory(void **state)
{
    const int64_t held = mem_held();
    char text[24];
    int64_t value;
    Map m;

    (void)state;
    map_init(&m);
    for (size_t i = 0; i < 200; i++) {
        mem_fail_at(1);
        if (map_put(&m, numbered(text, i), (int64_t)i, NULL) != LT_OK) {
            status_clear();
            assert_int_equal(m.count, i);
            assert_false(map_get(&m, numbered(text, i), &value));
            mem_fail_at(0);
            CHECK_OK(map_put(&m, numbered(text, i), (int64_t)i, NULL));
        }
        mem_fail_at(0);
    }
    for (size_t i = 0; i < 200; i++) {
        assert_true(map_get(&m, numbered(text, i), &value));
        assert_int_equal(value, i);
    }
    map_release(&m);
    assert_int_equal(mem_held(), held);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_keys_may_hold_nul_and_are_copied),
        cmocka_unit_test(test_many_keys_keep_their_order),
        cmocka_unit_test(test_put_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
