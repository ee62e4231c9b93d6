/* Quantities of a spectrum, the ranks of noise, and what rounding leaves of them. */
#include "tests/check.h"

#include "analysis/gauss.h"
#include "analysis/rounding.h"
#include "analysis/spectrum.h"
#include "core/half.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers that can be seen ------------------------------------------------------------------------------------------- */

static void test_stats_of_a_flat_spectrum(void **state)
{
    const double flat[] = {3, 3, 3, 3};
    const SpectrumStats s = spectrum_stats(flat, 4);

    (void)state;
    check_close("fro", s.fro, 6, 1e-15, 0);
    check_close("nuclear", s.nuclear, 12, 1e-15, 0);
    check_close("stable", s.stable_rank, 4, 1e-14, 0);
    check_close("effective", s.effective_rank, 4, 1e-14, 0);
    check_close("energy", s.energy_rank, 4, 1e-14, 0);
    check_close("participation", s.participation, 4, 1e-14, 0);
    assert_int_equal(spectrum_threshold(flat, 4, 0.5).k, 2);
    assert_true(spectrum_threshold(flat, 4, 0.5).tie);
    assert_int_equal(spectrum_threshold(flat, 4, 0.51).k, 3);
    assert_false(spectrum_threshold(flat, 4, 0.51).tie);
    check_close("rest", spectrum_rest(flat, 4, 3), 0.5, 1e-15, 0);
}

static void test_stats_of_nothing(void **state)
{
    const double zeros[] = {0, 0, 0};
    const SpectrumStats s = spectrum_stats(zeros, 3);

    (void)state;
    assert_true(s.fro == 0 && s.spectral == 0 && s.nuclear == 0);
    assert_true(isnan(s.stable_rank) && isnan(s.effective_rank) && isnan(s.energy_rank) && isnan(s.participation) && isnan(s.nuclear_rank));
    assert_int_equal(spectrum_threshold(zeros, 3, 0.9).k, 0);
    assert_int_equal(spectrum_numerical_rank(zeros, 3, 3, 1e-7), 0);
    assert_true(isnan(spectrum_share(zeros, 3, 1)) && isnan(spectrum_rest(zeros, 3, 1)));
}

/* stable <= participation <= energy <= q, from the first to the last digit of F64's range. */
static void test_stats_keep_their_order(void **state)
{
    TestRandom random = {3};

    (void)state;
    for (int round = 0; round < 200; round++) {
        const double scale = ldexp(1, (int)(test_random(&random) % 1600) - 800);
        double sigma[40], last = scale;

        for (int i = 0; i < 40; i++)
            sigma[i] = last *= test_uniform(&random, 0.5, 1);
        const SpectrumStats s = spectrum_stats(sigma, 40);
        assert_true(1 <= s.stable_rank && s.stable_rank <= s.participation * (1 + 1e-14));
        assert_true(s.participation <= s.energy_rank * (1 + 1e-14) && s.energy_rank <= 40);
        assert_true(s.energy_rank <= s.effective_rank * (1 + 1e-14));
        assert_true(isfinite(s.fro) && s.fro >= s.spectral);
        check_close("share and rest", spectrum_share(sigma, 40, 7) + pow(spectrum_rest(sigma, 40, 7), 2), 1, 1e-14, 0);
    }
}

/* ---- the golden matrices ------------------------------------------------------------------------------------------------ */

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static void check_ranks(const char *name, const double *sigma, int64_t q, const json_t *want)
{
    const char *tau;
    json_t *rank;

    json_object_foreach((json_t *)want, tau, rank)
    {
        const ThresholdRank r = spectrum_threshold(sigma, q, atof(tau));
        const int64_t k = (int64_t)json_integer_value(json_object_get(rank, "k"));

        if (r.k != k)
            fail_msg("%s: rank at %s is %lld, expected %lld", name, tau, (long long)r.k, (long long)k);
        assert_int_equal(r.tie, json_is_true(json_object_get(rank, "tie")));
        if (json_is_number(json_object_get(rank, "share_at"))) {
            check_close(name, r.share_before, number(rank, "share_before"), 1e-12, 0);
            check_close(name, r.share_at, number(rank, "share_at"), 1e-12, 0);
        }
    }
}

static void check_shares(const char *name, const double *sigma, int64_t q, const json_t *matrix)
{
    const char *k;
    json_t *want;

    json_object_foreach(json_object_get(matrix, "energy_top"), k, want)
        if (json_is_number(want))
            check_close(name, spectrum_share(sigma, q, atoll(k)), json_number_value(want), 1e-12, 0);
    json_object_foreach(json_object_get(matrix, "eckart_young"), k, want)
        if (json_is_number(want))
            check_close(name, spectrum_rest(sigma, q, atoll(k)), json_number_value(want), 1e-7, 1e-9); /* 1 - share: half of the digits are gone there */
}

static void check_matrix(const char *name, const json_t *matrix)
{
    const json_t *values = json_object_get(matrix, "singular_values"), *shape = json_object_get(matrix, "shape");
    const int64_t q = (int64_t)json_array_size(values), m = json_integer_value(json_array_get(shape, 0));
    const int64_t n = json_integer_value(json_array_get(shape, 1));
    double *sigma = mem_take((size_t)q, sizeof *sigma);

    assert_non_null(sigma);
    for (int64_t i = 0; i < q; i++)
        sigma[i] = json_number_value(json_array_get(values, (size_t)i));
    const SpectrumStats s = spectrum_stats(sigma, q);
    check_close(name, s.fro, number(matrix, "frobenius"), 0, 1e-12);
    check_close(name, s.spectral, number(matrix, "spectral"), 0, 1e-12);
    check_close(name, s.nuclear, number(matrix, "nuclear"), 0, 1e-12);
    if (s.spectral > 0) {
        check_close(name, s.stable_rank, number(matrix, "stable_rank"), 0, 1e-9);
        check_close(name, s.nuclear_rank, number(matrix, "nuclear_rank"), 0, 1e-9);
        check_close(name, s.effective_rank, number(matrix, "effective_rank"), 0, 1e-9);
        check_close(name, s.energy_rank, number(matrix, "energy_entropy_rank"), 0, 1e-9);
        check_close(name, s.participation, number(matrix, "participation_ratio"), 0, 1e-9);
        assert_int_equal(spectrum_numerical_rank(sigma, m, n, 0x1p-23), json_integer_value(json_object_get(matrix, "numerical_rank_f32")));
    }
    check_ranks(name, sigma, q, json_object_get(matrix, "threshold_rank"));
    check_shares(name, sigma, q, matrix);
    mem_free(sigma);
}

static void test_quantities_match_the_golden(void **state)
{
    const char *path = test_data("golden/spectra/expected.json"), *name;
    json_t *doc, *matrix;
    int n = 0;

    (void)state;
    CHECK_OK(json_load_path(&doc, path, 1 << 24));
    json_object_foreach(json_object_get(doc, "matrices"), name, matrix)
    {
        check_matrix(name, matrix);
        n++;
    }
    assert_true(n >= 24);
    json_decref(doc);
}

/* ---- noise -------------------------------------------------------------------------------------------------------------- */

static void test_noise_has_the_known_ranks(void **state)
{
    (void)state;
    check_close("square", gauss_rank_fraction(4096, 4096, 0.9), 0.509806619214986, 1e-12, 0);
    check_close("llama's mlp", gauss_rank_fraction(11008, 4096, 0.9), 0.7120265711047618, 1e-12, 0);
    check_close("either way round", gauss_rank_fraction(4096, 11008, 0.9), gauss_rank_fraction(11008, 4096, 0.9), 1e-15, 0);
    check_close("of a nearly square one", gauss_rank_fraction(1000, 1001, 0.9), gauss_rank_fraction(1000, 1000, 0.9), 1e-3, 0);
    check_close("of one row", gauss_rank_fraction(1, 1 << 20, 0.9), 0.9, 1e-3, 0);
    check_close("values", gauss_rank(4096, 4096, 0.9), 2088.167912304583, 1e-8, 0);
}

static void test_noise_matches_the_golden(void **state)
{
    const char *path = test_data("golden/spectra/mp.json"), *tau;
    json_t *doc, *row, *want;
    size_t i, n = 0;

    (void)state;
    CHECK_OK(json_load_path(&doc, path, 1 << 24));
    json_array_foreach(json_object_get(doc, "table"), i, row)
    {
        const json_t *shape = json_object_get(row, "shape");

        json_object_foreach(json_object_get(row, "tau"), tau, want)
        {
            const double got = gauss_rank_fraction(json_integer_value(json_array_get(shape, 0)), json_integer_value(json_array_get(shape, 1)), atof(tau));

            check_close(tau, got, number(want, "fraction"), 1e-9, 0);
            n++;
        }
    }
    assert_true(n > 20);
    json_decref(doc);
}

/* ---- rounding ----------------------------------------------------------------------------------------------------------- */

/* The distance to the next number, for all of a format's ranges. */
static void test_ulp_is_the_distance_to_the_next_number(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7c00; bits += 7) {
        const double low = (double)f16_to_f32((f16_t)bits), high = bits + 1 < 0x7c00 ? (double)f16_to_f32((f16_t)(bits + 1)) : 65536;

        check_close("f16", rounding_ulp(low, LT_F16), high - low, 0, 1e-15);
    }
    for (uint32_t bits = 0; bits < 0x7f7f; bits += 13) {
        const double low = (double)bf16_to_f32((bf16_t)bits), high = (double)bf16_to_f32((bf16_t)(bits + 1));

        check_close("bf16", rounding_ulp(-low, LT_BF16), high - low, 0, 1e-15);
    }
    assert_true(rounding_ulp(1, LT_F32) == 0x1p-23);
    assert_true(rounding_ulp(1, LT_F64) == 0);
}

/* Rounding many numbers costs what the formula says it does. */
static void test_rounding_costs_what_it_should(void **state)
{
    enum { N = 200000 };
    TestRandom random = {9};
    double *x = mem_take(N, sizeof *x), lost = 0;

    (void)state;
    assert_non_null(x);
    for (int i = 0; i < N; i++) {
        const double before = 0.02 * test_normal(&random);

        x[i] = (double)bf16_to_f32(f32_to_bf16((float)before));
        lost += (x[i] - before) * (x[i] - before);
    }
    check_close("energy", rounding_energy(x, N, LT_BF16), lost, 0, 0.02); /* some ten times the scatter of the sum */
    mem_free(x);
}

static void test_verdict_follows_the_share(void **state)
{
    static const double tau[] = {0.5, 0.8, 0.9, 0.95, 0.99};
    double to;

    (void)state;
    assert_int_equal(rounding_verdict(0.001, 1, tau, 5, &to), VERDICT_OK);
    assert_true(to > 0.98);
    assert_int_equal(rounding_verdict(0.012, 1, tau, 5, &to), VERDICT_OK);
    check_close("one per cent", to, 0.95, 0, 0);
    assert_int_equal(rounding_verdict(0.15, 1, tau, 5, &to), VERDICT_OK);
    check_close("15 per cent", to, 0.8, 0, 0);
    assert_int_equal(rounding_verdict(0.54, 1, tau, 5, &to), VERDICT_ROUNDING);
    check_close("most of it", to, 0, 0, 0);
    assert_int_equal(rounding_verdict(0.54, 0, tau, 5, &to), VERDICT_ZERO);
    assert_string_equal(verdict_name(VERDICT_OK), "ok");
    assert_string_equal(verdict_name(VERDICT_ROUNDING), "rounding");
    assert_string_equal(verdict_name(VERDICT_ZERO), "zero");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_of_a_flat_spectrum),
        cmocka_unit_test(test_stats_of_nothing),
        cmocka_unit_test(test_stats_keep_their_order),
        cmocka_unit_test(test_quantities_match_the_golden),
        cmocka_unit_test(test_noise_has_the_known_ranks),
        cmocka_unit_test(test_noise_matches_the_golden),
        cmocka_unit_test(test_ulp_is_the_distance_to_the_next_number),
        cmocka_unit_test(test_rounding_costs_what_it_should),
        cmocka_unit_test(test_verdict_follows_the_share),
    };
    return TEST_MAIN(tests);
}
