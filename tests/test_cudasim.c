/* The simulator of tests/cudasim itself. */
#include "tests/cudasim/cases.h"

#include "tests/check.h"

static void test_shuffles_follow_their_definition(void **state)
{
    int got[192];

    (void)state;
    sim_case_shuffles(got);
    for (int lane = 0; lane < 32; lane++) {
        assert_int_equal(got[lane], lane ^ 5);
        assert_int_equal(got[32 + lane], lane + 3 < 32 ? lane + 3 : lane);
        assert_int_equal(got[64 + lane], lane >= 3 ? lane - 3 : lane);
        assert_int_equal(got[96 + lane], 7);
        assert_int_equal(got[128 + lane], 0x49249249);
        assert_int_equal(got[160 + lane], 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shuffles_follow_their_definition),
    };
    return TEST_MAIN(tests);
}
