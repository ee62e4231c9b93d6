/* A Gaussian matrix has the rank that is printed beside every other's. */
#include "tests/check.h"

#include "analysis/gauss.h"
#include "analysis/matrix_values.h"
#include "analysis/spectrum.h"
#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>

static void check_noise(Device *dev, int64_t m, int64_t n, double share)
{
    double *value = mem_take((size_t)(m * n + m), sizeof *value), *sigma = value + m * n;
    TestRandom random = {(uint64_t)n};

    assert_non_null(value);
    for (int64_t i = 0; i < m * n; i++)
        value[i] = test_normal(&random);
    const double start = clock_s();
    CHECK_OK(matrix_values(dev, sigma, value, m, n, VALUES_AUTO));
    printf("%lld x %lld: %.1f s\n", (long long)m, (long long)n, clock_s() - start);
    /* A rank is a whole number, half a step above on average; one draw is off by less than one more. */
    check_close("r90", (double)spectrum_threshold(sigma, m, .9).k, gauss_rank(m, n, .9) + .5, 1.5, share);
    mem_free(value);
}

/* LETHE_TEST_LARGE: in the shapes of a Llama-2-7B too, where one per cent was promised. */
static void test_noise_has_the_rank_of_noise(void **state)
{
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, test_device(), 0));
    check_noise(dev, 512, 512, 0);
    check_noise(dev, 256, 688, 0);
    if (getenv("LETHE_TEST_LARGE") != NULL) {
        check_noise(dev, 4096, 4096, .01);
        check_noise(dev, 4096, 11008, .01);
    }
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise_has_the_rank_of_noise),
    };
    return TEST_MAIN(tests);
}
