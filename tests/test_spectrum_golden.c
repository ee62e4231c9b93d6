/* From golden matrices to everything that is said of them: each method on the device, its values and what follows from them; real weights and their
 * rounding; adapters by their factors and multiplied out. LETHE_TEST_REDUCED leaves the larger matrices out. */
#include "tests/matrix_file.h"

#include "analysis/gauss.h"
#include "analysis/matrix_values.h"
#include "analysis/rounding.h"
#include "analysis/spectrum.h"
#include "core/half.h"
#include "core/json.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Device *dev;

static int open_device(void **state)
{
    (void)state;
    return device_open(&dev, test_device(), 2) == LT_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_number(value))
        fail_msg("no number '%s'", key);
    return json_number_value(value);
}

static double *copy_of(const double *x, int64_t n)
{
    double *copy = matrix_numbers(n);

    memcpy(copy, x, (size_t)n * sizeof *copy);
    return copy;
}

/* ---- what is said of values ----------------------------------------------------------------------------------------------- */

/* A method and how near its values come: |d sigma^power| <= share sigma_1^power. */
typedef enum Method { GRAM, SVD, SVD_F32, FULL, FULL_F32, METHODS } Method;
static const char *const method_name[METHODS] = {"gram", "svd", "svd f32", "full svd", "full svd f32"};
static bool is_f32(Method method) { return method == SVD_F32 || method == FULL_F32; }

typedef struct Case {
    const char *name;
    const double *value;
    int64_t m, n, q;
    const json_t *want; /* a matrix of expected.json */
} Case;

static void fail_case(const Case *c, Method method, const char *what, double got, double want)
{
    fail_msg("%s by %s: %s is %.17g, expected %.17g", c->name, method_name[method], what, got, want);
}

static void check_values(const Case *c, Method method, const double *sigma)
{
    const json_t *list = json_object_get(c->want, "singular_values");
    const double first = json_number_value(json_array_get(list, 0)), power = method == GRAM ? 2 : 1;
    double limit = (method == GRAM ? 1e-11 : is_f32(method) ? 2e-5 : 1e-12) * pow(first, power);

    if (is_f32(method))
        limit = fmax(limit, 0x1p-149); /* the smallest F32 */
    assert_int_equal(json_array_size(list), c->q);
    for (int64_t i = 0; i < c->q; i++) {
        const double want = json_number_value(json_array_get(list, (size_t)i));

        if (!(fabs(pow(sigma[i], power) - pow(want, power)) <= limit))
            fail_case(c, method, "a value", sigma[i], want);
    }
}

/* A tie is a share within 1e-9 of the threshold: one value more or less is right, and it is said to be one. F32 values can tell only thresholds that
 * both shares keep 1e-5 away from. */
static void check_ranks(const Case *c, Method method, const double *sigma)
{
    const char *tau;
    json_t *want;

    json_object_foreach(json_object_get(c->want, "threshold_rank"), tau, want)
    {
        const ThresholdRank r = spectrum_threshold(sigma, c->q, atof(tau));
        const int64_t k = (int64_t)number(want, "k");
        const bool tie = json_is_true(json_object_get(want, "tie"));

        if (is_f32(method) && k > 0 && !(number(want, "share_at") - atof(tau) > 1e-5 && atof(tau) - number(want, "share_before") > 1e-5))
            continue;
        if (r.k != k && !(tie && r.k == k + 1))
            fail_case(c, method, tau, (double)r.k, (double)k);
        if (!is_f32(method))
            assert_int_equal(r.tie, tie);
    }
}

static void check_number(const Case *c, Method method, const char *key, double got)
{
    const double want = number(c->want, key);

    if (!(fabs(got - want) <= 1e-9 * fabs(want)))
        fail_case(c, method, key, got, want);
}

/* Sums of squares hold for both methods in F64. Sums of the values themselves, and counts of the small ones, do not for the Gram matrix: its error of
 * 1e-14 in a square is one of 1e-7 in a value that is nearly zero. */
static void check_numbers(const Case *c, Method method, const double *sigma)
{
    const SpectrumStats s = spectrum_stats(sigma, c->q);
    const char *k;
    json_t *want;

    if (is_f32(method) || !(s.spectral > 0))
        return;
    check_number(c, method, "frobenius", s.fro);
    check_number(c, method, "spectral", s.spectral);
    check_number(c, method, "stable_rank", s.stable_rank);
    check_number(c, method, "energy_entropy_rank", s.energy_rank);
    check_number(c, method, "participation_ratio", s.participation);
    json_object_foreach(json_object_get(c->want, "energy_top"), k, want)
        check_close(c->name, spectrum_share(sigma, c->q, atoll(k)), json_number_value(want), 0, 1e-9);
    if (method == GRAM)
        return;
    check_number(c, method, "nuclear", s.nuclear);
    check_number(c, method, "nuclear_rank", s.nuclear_rank);
    check_number(c, method, "effective_rank", s.effective_rank);
    assert_int_equal(spectrum_numerical_rank(sigma, c->m, c->n, 0x1p-23), (int64_t)number(c->want, "numerical_rank_f32"));
}

/* ---- methods -------------------------------------------------------------------------------------------------------------- */

static Tensor take_tensor(TensorArena *arena, DType dtype, int64_t rows, int64_t cols)
{
    Tensor t;

    CHECK_OK(tensor_arena_take(arena, &t, dtype, rows, cols));
    return t;
}

/* By the op itself, in the dtype of the method. */
static void by_op(const Case *c, Method method, double *sigma)
{
    const DType dtype = is_f32(method) ? LT_F32 : LT_F64;
    TensorArena arena;

    tensor_arena_plan(&arena, dev);
    take_tensor(&arena, dtype, c->m, c->n);
    take_tensor(&arena, dtype, c->m, c->q);
    take_tensor(&arena, dtype, c->q, c->n);
    take_tensor(&arena, LT_F64, c->m, c->n);
    CHECK_OK(tensor_arena_open(&arena, dev, arena.used));
    const Tensor a = take_tensor(&arena, dtype, c->m, c->n), u = take_tensor(&arena, dtype, c->m, c->q);
    const Tensor vt = take_tensor(&arena, dtype, c->q, c->n), wide = take_tensor(&arena, LT_F64, c->m, c->n);
    CHECK_OK(device_upload(dev, wide, c->value));
    CHECK_OK(op_cast(dev, a, wide));
    if (method == FULL || method == FULL_F32)
        CHECK_OK(op_svd(dev, u, sigma, vt, a));
    else
        CHECK_OK(op_svd_values(dev, sigma, a));
    tensor_arena_close(&arena);
}

static void check_case(const Case *c, Method method)
{
    double *sigma = matrix_numbers(c->q);

    if (method == GRAM || method == SVD) {
        double *copy = copy_of(c->value, c->m * c->n);

        CHECK_OK(matrix_values(dev, sigma, copy, c->m, c->n, method == GRAM ? VALUES_GRAM : VALUES_SVD));
        mem_free(copy);
    } else {
        by_op(c, method, sigma);
    }
    check_values(c, method, sigma);
    check_ranks(c, method, sigma);
    check_numbers(c, method, sigma);
    mem_free(sigma);
}

/* The reference of noise does not need the device; it stands beside every matrix all the same. */
static void check_noise(const Case *c)
{
    const char *tau;
    json_t *want;

    json_object_foreach(json_object_get(c->want, "mp"), tau, want)
        check_close(c->name, gauss_rank(c->m, c->n, atof(tau)), number(want, "rank"), 1e-9 * (double)c->q, 0);
}

static void test_golden_matrices_by_every_method(void **state)
{
    const char *expected = test_data("golden/spectra/expected.json"), *matrices = test_data("golden/spectra/matrices.safetensors");
    StFile file = {0};
    json_t *doc, *want;
    Case c;
    int seen = 0;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, matrices));
    json_object_foreach(json_object_get(doc, "matrices"), c.name, want)
    {
        double *value = matrix_of_file(&file, c.name, &c.m, &c.n);

        c.q = c.m < c.n ? c.m : c.n;
        c.want = want;
        c.value = value;
        for (int method = 0; method < METHODS; method++)
            check_case(&c, (Method)method);
        check_noise(&c);
        mem_free(value);
        seen++;
    }
    assert_int_equal(seen, 24);
    st_close(&file);
    json_decref(doc);
}

/* ---- real weights --------------------------------------------------------------------------------------------------------- */

static void round_off(double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)bf16_to_f32(f32_to_bf16((float)x[i])) - x[i];
}

static void test_real_weights_and_their_rounding(void **state)
{
    const char *expected = test_data("golden/spectra/minimind2.json"), *weights = test_data("data/models/minimind2-small/model.safetensors");
    const bool reduced = getenv("LETHE_TEST_REDUCED") != NULL;
    StFile file = {0};
    json_t *doc, *want;
    size_t i, seen = 0;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, weights));
    json_array_foreach(json_object_get(doc, "matrices"), i, want)
    {
        Case c = {.name = json_string_value(json_object_get(want, "tensor")), .want = want};
        double *value = matrix_of_file(&file, c.name, &c.m, &c.n);
        const bool rounding = strcmp(json_string_value(json_object_get(want, "kind")), "bf16_rounding") == 0;

        c.q = c.m < c.n ? c.m : c.n;
        c.value = value;
        if (rounding)
            round_off(value, c.m * c.n);
        if (!reduced || c.q <= 128) {
            check_case(&c, GRAM);
            check_case(&c, SVD);
            check_noise(&c);
            seen++;
        }
        mem_free(value);
    }
    assert_true(seen == (reduced ? 2 : 6));
    st_close(&file);
    json_decref(doc);
}

/* ---- adapters ------------------------------------------------------------------------------------------------------------- */

/* A and B of a module, as a list of parameters has them. */
typedef struct Product {
    ParamEntry entry[2];
    double *wide[2];
    int64_t m, n, r, q;
} Product;

static void open_product(Product *p, const StFile *file, const char *module, double scale)
{
    static const char *const part[] = {"lora_A", "lora_B"};

    for (int i = 0; i < 2; i++) {
        int64_t rows, cols;
        char name[256];

        snprintf(name, sizeof name, "%s.%s.weight", module, part[i]);
        p->wide[i] = matrix_of_file(file, name, &rows, &cols);
        float *narrow = mem_take((size_t)(rows * cols), sizeof *narrow);
        assert_non_null(narrow);
        for (int64_t j = 0; j < rows * cols; j++)
            narrow[j] = (float)p->wide[i][j];
        p->entry[i] = (ParamEntry){.part = i == 0 ? PART_A : PART_B, .rows = rows, .cols = cols, .scale = scale,
                                   .value = tensor_of(narrow, LT_F32, rows, cols)};
    }
    p->r = p->entry[0].rows;
    p->n = p->entry[0].cols;
    p->m = p->entry[1].rows;
    p->q = p->m < p->n ? p->m : p->n;
    assert_int_equal(p->entry[1].cols, p->r);
}

static void close_product(Product *p)
{
    for (int i = 0; i < 2; i++) {
        mem_free(p->entry[i].value.data);
        mem_free(p->wide[i]);
    }
}

/* By the factors: the golden values, and exactly nothing behind them. */
static double *values_by_factors(const Product *p, const json_t *want)
{
    double *sigma = matrix_numbers(p->q);

    CHECK_OK(matrix_product_values(dev, sigma, p->entry));
    assert_int_equal(json_array_size(want), p->r);
    for (int64_t i = 0; i < p->r; i++)
        check_close("by factors", sigma[i], json_number_value(json_array_get(want, (size_t)i)), 1e-12 * sigma[0], 0);
    for (int64_t i = p->r; i < p->q; i++)
        assert_true(sigma[i] >= 0 && sigma[i] <= 0);
    return sigma;
}

static void check_dense(const Product *p, const double *sigma)
{
    double *dense = matrix_numbers(p->m * p->n), *values = matrix_numbers(p->q);

    for (int64_t i = 0; i < p->m; i++)
        for (int64_t l = 0; l < p->r; l++)
            for (int64_t j = 0; j < p->n; j++)
                dense[i * p->n + j] += p->entry[0].scale * p->wide[1][i * p->r + l] * p->wide[0][l * p->n + j];
    CHECK_OK(matrix_values(dev, values, dense, p->m, p->n, VALUES_SVD));
    for (int64_t i = 0; i < p->q; i++)
        check_close("multiplied out", values[i], sigma[i], 1e-12 * sigma[0], 0);
    mem_free(values);
    mem_free(dense);
}

static void test_adapters_by_factors_and_multiplied_out(void **state)
{
    const char *expected = test_data("golden/spectra/lora.json"), *factors = test_data("golden/spectra/lora.safetensors");
    StFile file = {0};
    json_t *doc, *want;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, factors));
    json_array_foreach(json_object_get(doc, "synthetic"), i, want)
    {
        const char *name = json_string_value(json_object_get(want, "name"));
        Product p;

        open_product(&p, &file, name, number(want, "scale"));
        double *sigma = values_by_factors(&p, json_object_get(want, "values_qr"));
        const Case c = {.name = name, .m = p.m, .n = p.n, .q = p.q, .want = want};
        const SpectrumStats s = spectrum_stats(sigma, p.q);
        check_ranks(&c, SVD, sigma);
        check_number(&c, SVD, "frobenius", s.fro);
        check_number(&c, SVD, "nuclear", s.nuclear);
        check_number(&c, SVD, "stable_rank", s.stable_rank);
        check_number(&c, SVD, "effective_rank", s.effective_rank);
        check_number(&c, SVD, "energy_entropy_rank", s.energy_rank);
        check_number(&c, SVD, "participation_ratio", s.participation);
        check_dense(&p, sigma);
        mem_free(sigma);
        close_product(&p);
    }
    assert_int_equal(i, 6);
    st_close(&file);
    json_decref(doc);
}

static void test_a_real_adapter(void **state)
{
    const char *expected = test_data("golden/spectra/lora.json"), *path = test_data("data/adapters/qwen2.5-3b_lora_r4/adapter_model.safetensors");
    StFile file = {0};
    json_t *doc, *want;
    size_t i;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, path));
    const json_t *adapter = json_object_get(doc, "adapter");
    json_array_foreach(json_object_get(adapter, "modules"), i, want)
    {
        Product p;

        open_product(&p, &file, json_string_value(json_object_get(want, "module")), number(adapter, "scale"));
        double *sigma = values_by_factors(&p, json_object_get(want, "values"));
        check_close("fro", spectrum_stats(sigma, p.q).fro, number(want, "frobenius"), 0, 1e-9);
        mem_free(sigma);
        close_product(&p);
    }
    assert_int_equal(i, 36);
    st_close(&file);
    json_decref(doc);
}

/* ---- rounding ------------------------------------------------------------------------------------------------------------- */

/* Two stored sides: the truth, measured, is the noise of two roundings within its scatter, and not that of one. */
static void test_rounding_floor_of_the_golden_delta(void **state)
{
    const char *expected = test_data("golden/spectra/expected.json"), *matrices = test_data("golden/spectra/matrices.safetensors");
    StFile file = {0};
    int64_t m, n;
    json_t *doc;

    (void)state;
    CHECK_OK(json_load_path(&doc, expected, 1 << 24));
    CHECK_OK(st_open(&file, matrices));
    const json_t *want = json_object_get(json_object_get(doc, "rounding_floor"), "bf16_delta_stored");
    double *base = matrix_of_file(&file, "bf16_base", &m, &n), *meant = matrix_of_file(&file, "bf16_delta_f32", &m, &n);
    double *stored = matrix_of_file(&file, "bf16_delta_stored", &m, &n), energy = 0, lost = 0;
    for (int64_t i = 0; i < m * n; i++) {
        energy += stored[i] * stored[i];
        lost += (stored[i] - meant[i]) * (stored[i] - meant[i]);
        base[i] = (double)bf16_to_f32(f32_to_bf16((float)base[i] + (float)meant[i])); /* the fine-tune, as it was saved */
    }
    const double noise = rounding_energy(base, m * n, LT_BF16);
    check_close("mean", noise / (double)(m * n), number(want, "mean_ulp2_over_12"), 0, 1e-9);
    check_close("rms", sqrt(noise / (double)(m * n)), number(want, "predicted_rms"), 0, 1e-9);
    check_close("one rounding", noise / energy, number(want, "share_one_rounding"), 0, 1e-9);
    check_close("two roundings", 2 * noise / energy, number(want, "share_two_roundings"), 0, 1e-9);
    check_close("truth", lost / energy, number(want, "measured_noise_share"), 0, 1e-9);
    /* The sum of two uniform errors has a kurtosis of 2.4, and here mean(ulp^4) is 3.3 mean(ulp^2)^2: a relative sd of sqrt((2.4 * 3.3 - 1) / mn) = 0.0145.
     * Three of them; one rounding would be half of it. */
    check_close("foretold", 2 * noise / lost, 1, 3 * 0.0145, 0);
    mem_free(base);
    mem_free(meant);
    mem_free(stored);
    st_close(&file);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_golden_matrices_by_every_method, open_device),
        cmocka_unit_test(test_real_weights_and_their_rounding),
        cmocka_unit_test(test_adapters_by_factors_and_multiplied_out),
        cmocka_unit_test(test_a_real_adapter),
        cmocka_unit_test_teardown(test_rounding_floor_of_the_golden_delta, close_device),
    };
    return TEST_MAIN(tests);
}
