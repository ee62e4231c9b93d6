#include "tests/check.h"

static void test_sizes_refuse_overflow(void **state)
{
    size_t out = 7;

    (void)state;
    assert_true(mem_mul(6, 7, &out));
    assert_int_equal(out, 42);
    assert_true(mem_add(SIZE_MAX - 1, 1, &out));
    assert_false(mem_mul(SIZE_MAX / 2, 3, &out));
    assert_false(mem_add(SIZE_MAX, 1, &out));
    assert_null(mem_take(SIZE_MAX / 4, 8));
    CHECK_FAILS(LT_E_NOMEM, LT_E_NOMEM, NULL);
}

static void test_take_is_zeroed_and_aligned(void **state)
{
    (void)state;
    for (size_t n = 0; n < 600; n += 7) {
        unsigned char *p = mem_take(n, 1);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (n < 256 ? 16 : 64), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        mem_free(p);
    }
}

static void test_resize_keeps_what_fits(void **state)
{
    uint32_t *p = mem_take(3, sizeof *p), *q;

    (void)state;
    p[0] = 1, p[1] = 2, p[2] = 3;
    q = mem_resize(p, 100, sizeof *q);
    assert_non_null(q);
    assert_int_equal(q[2], 3);
    q = mem_resize(q, 1, sizeof *q);
    assert_int_equal(q[0], 1);
    mem_free(q);
}

static void test_resize_failure_leaves_the_old_block(void **state)
{
    int *p = mem_take(2, sizeof *p);

    (void)state;
    p[1] = 9;
    mem_fail_at(1);
    assert_null(mem_resize(p, 50, sizeof *p));
    CHECK_FAILS(LT_E_NOMEM, LT_E_NOMEM, "out of memory");
    assert_int_equal(p[1], 9);
    mem_free(p);
}

static void test_grow_doubles_and_reports_failure(void **state)
{
    int *p = NULL;
    size_t cap = 0;

    (void)state;
    CHECK_OK(MEM_GROW(p, cap, 1));
    assert_int_equal(cap, 8);
    CHECK_OK(MEM_GROW(p, cap, 9));
    assert_int_equal(cap, 16);
    mem_fail_at(1);
    CHECK_FAILS(MEM_GROW(p, cap, 17), LT_E_NOMEM, NULL);
    assert_int_equal(cap, 16);
    mem_free(p);
}

static void test_fail_at_hits_the_nth_once(void **state)
{
    void *a, *b, *c;

    (void)state;
    mem_fail_at(2);
    a = mem_take(1, 1), b = mem_take(1, 1), c = mem_take(1, 1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    status_clear();
    mem_free(a), mem_free(c);
}

static void test_held_counts_blocks(void **state)
{
    const int64_t before = mem_held();
    void *p = mem_take(10, 1);

    (void)state;
    assert_int_equal(mem_held(), before + 1);
    p = mem_resize(p, 20, 1);
    assert_int_equal(mem_held(), before + 1);
    mem_free(p);
    mem_free(NULL);
    assert_int_equal(mem_held(), before);
}

static void test_arena_gives_separate_zeroed_blocks(void **state)
{
    Arena arena;
    TestRandom random = {1};
    unsigned char *block[200];
    size_t bytes[200];

    (void)state;
    arena_init(&arena);
    for (int i = 0; i < 200; i++) {
        bytes[i] = i % 50 == 49 ? 100000 : test_random(&random) % 300;
        block[i] = arena_take(&arena, bytes[i], 1);
        assert_non_null(block[i]);
        assert_int_equal((uintptr_t)block[i] % 16, 0);
        for (size_t j = 0; j < bytes[i]; j++)
            assert_int_equal(block[i][j], 0);
        memset(block[i], i, bytes[i]);
    }
    for (int i = 0; i < 200; i++)
        for (size_t j = 0; j < bytes[i]; j++)
            assert_int_equal(block[i][j], i & 0xff);
    arena_release(&arena);
}

static void test_arena_copies_text_with_nul(void **state)
{
    Arena arena;

    (void)state;
    arena_init(&arena);
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    mem_fail_at(1);
    assert_null(arena_take(&arena, 1 << 22, 1));
    CHECK_FAILS(LT_E_NOMEM, LT_E_NOMEM, NULL);
    assert_null(arena_take(&arena, SIZE_MAX, 2));
    status_clear();
    arena_release(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_refuse_overflow),          cmocka_unit_test(test_take_is_zeroed_and_aligned),
        cmocka_unit_test(test_resize_keeps_what_fits),         cmocka_unit_test(test_resize_failure_leaves_the_old_block),
        cmocka_unit_test(test_grow_doubles_and_reports_failure), cmocka_unit_test(test_fail_at_hits_the_nth_once),
        cmocka_unit_test(test_held_counts_blocks),             cmocka_unit_test(test_arena_gives_separate_zeroed_blocks),
        cmocka_unit_test(test_arena_copies_text_with_nul),
    };

    return TEST_MAIN(tests);
}
