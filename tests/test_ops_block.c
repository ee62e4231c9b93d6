/* Row ops: right for all dtypes, sizes and strides, inside their tensors, and the same bits in any company. */
#include "kernels/ops.h"

#include "core/half.h"
#include "core/mem.h"
#include "kernels/cpu/simd.h"
#include "tests/check.h"
#include "tests/ref_ops.h"
#include "tests/tensor_box.h"

#include <math.h>

static const DType ACTIVATION[] = {LT_F32, LT_BF16, LT_F16};

/* Around the borders of vectors (4 and 8 elements, 16 and 512 on the CPU) and of what a team of threads holds (128, 256, 512, ...). */
static const int64_t WIDTH[] = {1,   3,   4,   5,   7,   8,   9,   17,  29,   127,  128,  129,  255,  256,
                                257, 389, 511, 512, 513, 773, 1023, 1024, 1025, 1541, 2048, 2049, 4096, 4097};
enum { N_WIDTH = sizeof WIDTH / sizeof *WIDTH };

/* Runs one check per level that this machine has. */
static void at_all_levels(void (*check)(Device *dev))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL)
            check(dev);
        device_close(dev);
    }
}

static double *numbers(size_t n)
{
    double *v = mem_take(n, sizeof *v);

    assert_non_null(v);
    return v;
}

/* ---- vector functions --------------------------------------------------------------------------------------------------- */

static double ulps(float got, double want)
{
    const float near = (float)want;

    return fabs((double)got - want) / ((double)nextafterf(fabsf(near), INFINITY) - (double)fabsf(near));
}

static void test_exp_is_within_two_ulp(void **state)
{
    double worst[2][2] = {{0}};

    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        for (float x = -103.9f; x < 88.7f; x += 0.00137f) {
            const double all = ulps(simd_exp(x, fused), exp((double)x));

            worst[fused][0] = all > worst[fused][0] ? all : worst[fused][0];
            if (x <= 0 && x >= -87.0f) {
                const double down = ulps(simd_exp_down(x, fused), exp((double)x));

                worst[fused][1] = down > worst[fused][1] ? down : worst[fused][1];
            }
        }
        assert_true(worst[fused][0] <= 2 && worst[fused][1] <= 2);
    }
}

static void test_exp_special_values(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        assert_true(simd_exp(0, fused) == 1 && simd_exp_down(0, fused) == 1 && simd_exp(-0.0f, fused) == 1);
        assert_true(simd_exp(-INFINITY, fused) == 0 && simd_exp(-1e30f, fused) == 0 && simd_exp(-104.0f, fused) == 0);
        assert_true(simd_exp_down(-INFINITY, fused) == 0 && simd_exp_down(-1e30f, fused) == 0 && simd_exp_down(-88.0f, fused) == 0);
        assert_true(isinf(simd_exp(INFINITY, fused)) && isinf(simd_exp(1e30f, fused)) && isinf(simd_exp(88.8f, fused)));
        assert_true(isfinite(simd_exp(88.72f, fused)));
        assert_true(isnan(simd_exp(NAN, fused)) && isnan(simd_exp_down(NAN, fused)));
    }
}

/* Every 16-bit pattern widens, and numbers of every size narrow, as core/half does it. */
static void test_half_conversions_match_core(void **state)
{
    TestRandom r = {17};

    (void)state;
    for (uint32_t h = 0; h < 65536; h++)
        assert_int_equal(simd_bits(simd_f16_widen((f16_t)h)), simd_bits(f16_to_f32((f16_t)h)));
    for (int i = 0; i < 1000000; i++) {
        const float any = simd_float((uint32_t)test_random(&r)), usual = (float)test_normal(&r) * simd_exp((float)test_uniform(&r, -20, 12), false);

        assert_int_equal(simd_f16_narrow(any), f32_to_f16(any));
        assert_int_equal(simd_f16_narrow(usual), f32_to_f16(usual));
        assert_int_equal(simd_bf16_narrow(any), f32_to_bf16(any));
    }
    for (uint32_t h = 0; h < 0x7c00; h++) { /* the borders between two halves, where ties are */
        const uint32_t low = simd_bits(f16_to_f32((f16_t)h)), high = simd_bits(f16_to_f32((f16_t)(h + 1))), middle = low + (high - low) / 2;

        for (uint32_t bits = middle - 1; bits <= middle + 1; bits++)
            assert_int_equal(simd_f16_narrow(simd_float(bits)), f32_to_f16(simd_float(bits)));
    }
}

/* ---- rmsnorm ------------------------------------------------------------------------------------------------------------ */

typedef struct NormShape {
    int64_t rows, group, n;
} NormShape;

static void check_rmsnorm(Device *dev, DType dtype, NormShape s, bool in_place)
{
    TestRandom r = {(uint64_t)(s.rows * 1000 + s.n)};
    Box x = box_normal(dev, dtype, s.rows, s.group * s.n, 3, &r, 5), w = box_normal(dev, in_place ? LT_F32 : dtype, 1, s.n, 0, &r, 1);
    Box y = box_new(dev, dtype, s.rows, s.group * s.n, 1), rstd = box_new(dev, LT_F32, s.rows, s.group, 2);
    const size_t n = (size_t)(s.rows * s.group * s.n), n_rstd = (size_t)(s.rows * s.group);
    double *want = numbers(n), *want_rstd = numbers(n_rstd);
    Box *out = in_place ? &x : &y;

    ref_rmsnorm(want, want_rstd, x.v, w.v, s.rows, s.group, s.n, (double)1e-5f);
    CHECK_OK(op_rmsnorm(dev, out->t, in_place ? (Tensor){0} : rstd.t, x.t, w.t, 1e-5f));
    box_get(out);
    check_nmse("rmsnorm", out->v, want, n, box_tolerance(dtype, 1e-10));
    box_get(&rstd);
    if (!in_place) /* m roundings in a row stray by about sqrt(m) 2^-25; no lane adds more than n / 16 numbers. Three times that, squared */
        check_nmse("rstd", rstd.v, want_rstd, n_rstd, 1e-12 + 9 * 0x1p-50 * (double)s.n / 16);
    box_free(&x);
    box_free(&w);
    box_free(&y);
    box_free(&rstd);
    mem_free(want);
    mem_free(want_rstd);
}

static void check_rmsnorms(Device *dev)
{
    static const NormShape shape[] = {{0, 1, 8},  {5, 8, 64},  {2, 3, 33},   {15, 1, 29},   {16, 1, 29},  {17, 1, 29},  {53, 1, 29},  {3, 1, 300},
                                      {4, 1, 300}, {5, 1, 300}, {17, 1, 300}, {130, 1, 1100}, {1, 1, 8192}, {2, 1, 8205}, {1, 1, 16397}};

    for (size_t t = 0; t < 3; t++)
        for (int in_place = 0; in_place < 2; in_place++) {
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
                check_rmsnorm(dev, ACTIVATION[t], shape[s], in_place);
            for (size_t w = 0; w < N_WIDTH; w++)
                check_rmsnorm(dev, ACTIVATION[t], (NormShape){2, 1, WIDTH[w]}, in_place);
        }
}

static void test_rmsnorm_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_rmsnorms);
}

/* ---- rope --------------------------------------------------------------------------------------------------------------- */

static void check_rope(Device *dev, DType dtype, int64_t rows, int64_t n_head, int64_t half)
{
    enum { TABLE = 50, ROWS_MAX = 400 };
    TestRandom r = {(uint64_t)(rows + 100 * n_head + 10000 * half)};
    Box x = box_normal(dev, dtype, rows, n_head * 2 * half, 5, &r, 1), cos_table = box_new(dev, LT_F32, TABLE, half, 1), sin_table = box_new(dev, LT_F32, TABLE, half, 2);
    const size_t n = (size_t)(rows * n_head * 2 * half);
    int32_t row[ROWS_MAX];
    double *want = numbers(n), *start = numbers(n);

    for (int64_t i = 0; i < TABLE * half; i++) {
        const double angle = test_uniform(&r, -3, 3);

        cos_table.v[i] = cos(angle);
        sin_table.v[i] = sin(angle);
    }
    box_put(&cos_table);
    box_put(&sin_table);
    for (int64_t i = 0; i < rows; i++)
        row[i] = (int32_t)(test_random(&r) % TABLE);
    for (size_t i = 0; i < n; i++)
        want[i] = start[i] = x.v[i];
    Box at = box_index(dev, row, rows);
    ref_rope(want, cos_table.v, sin_table.v, row, rows, n_head, half, 1);
    CHECK_OK(op_rope(dev, x.t, cos_table.t, sin_table.t, at.t, 1));
    box_get(&x);
    check_nmse("rope", x.v, want, n, box_tolerance(dtype, 1e-10));
    CHECK_OK(op_rope(dev, x.t, cos_table.t, sin_table.t, at.t, -1)); /* turns it back */
    box_get(&x);
    check_nmse("rope back", x.v, start, n, 2 * box_tolerance(dtype, 1e-10));
    box_free(&x);
    box_free(&cos_table);
    box_free(&sin_table);
    box_free(&at);
    mem_free(want);
    mem_free(start);
}

static void check_ropes(Device *dev)
{
    static const int64_t shape[][3] = {{0, 2, 8},  {1, 1, 1},  {3, 3, 3},  {3, 4, 4},   {3, 5, 5},   {3, 17, 7},  {3, 3, 8},   {3, 4, 9},    {17, 10, 32},
                                       {5, 5, 17}, {5, 1, 29}, {64, 13, 24}, {127, 1, 4}, {128, 1, 8}, {129, 1, 4}, {389, 1, 3}, {5, 3, 128}};

    for (size_t t = 0; t < 3; t++)
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            check_rope(dev, ACTIVATION[t], shape[s][0], shape[s][1], shape[s][2]);
}

static void test_rope_matches_reference_and_turns_back(void **state)
{
    (void)state;
    at_all_levels(check_ropes);
}

static void test_rope_refuses_a_head_it_has_no_room_for(void **state)
{
    Device *dev = box_device("generic", 1);
    TestRandom r = {1};
    Box x = box_normal(dev, LT_F32, 1, 514, 0, &r, 1), table = box_normal(dev, LT_F32, 1, 257, 0, &r, 1), at = box_index(dev, &(int32_t){0}, 1);

    (void)state;
    CHECK_FAILS(op_rope(dev, x.t, table.t, table.t, at.t, 1), LT_E_UNSUPPORTED, "514 found");
    box_free(&x);
    box_free(&table);
    box_free(&at);
    device_close(dev);
}

/* ---- swiglu ------------------------------------------------------------------------------------------------------------- */

static void check_swiglus(Device *dev)
{
    static const int64_t shape[][2] = {{0, 4}, {40, 88}, {7, 1408}, {255, 4}, {256, 8}, {257, 4}, {773, 8}};

    for (size_t t = 0; t < 3; t++) {
        for (size_t s = 0; s < sizeof shape / sizeof *shape + N_WIDTH; s++) {
            const int64_t rows = s < N_WIDTH ? 2 : shape[s - N_WIDTH][0], n = s < N_WIDTH ? WIDTH[s] : shape[s - N_WIDTH][1];
            TestRandom r = {(uint64_t)n};
            Box x = box_normal(dev, ACTIVATION[t], rows, 2 * n, 3, &r, 4), y = box_new(dev, ACTIVATION[t], rows, n, 1);
            double *want = numbers((size_t)(rows * n));

            ref_swiglu(want, x.v, rows, n);
            CHECK_OK(op_swiglu(dev, y.t, x.t));
            box_get(&y);
            check_nmse("swiglu", y.v, want, (size_t)(rows * n), box_tolerance(ACTIVATION[t], 1e-10));
            box_free(&x);
            box_free(&y);
            mem_free(want);
        }
    }
}

static void test_swiglu_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_swiglus);
}

static void check_swiglu_extremes(Device *dev)
{
    Box x = box_new(dev, LT_F32, 1, 10, 0), y = box_new(dev, LT_F32, 1, 5, 0);
    const double gate[5] = {1e4, -1e4, 3e38, 0, NAN};

    for (int i = 0; i < 5; i++) {
        x.v[i] = gate[i];
        x.v[5 + i] = 1;
    }
    box_put(&x);
    CHECK_OK(op_swiglu(dev, y.t, x.t));
    box_get(&y);
    assert_true(y.v[0] == 1e4 && y.v[1] == 0 && y.v[2] == x.v[2] && y.v[3] == 0 && isnan(y.v[4]));
    box_free(&x);
    box_free(&y);
}

static void test_swiglu_of_extreme_gates(void **state)
{
    (void)state;
    at_all_levels(check_swiglu_extremes);
}

/* ---- rows by index ------------------------------------------------------------------------------------------------------ */

/* pad 0 with whole vectors of columns is what moves fastest; anything else moves too. */
static void check_move(Device *dev, DType dtype, int64_t cols, int64_t pad)
{
    static const int32_t row[] = {6, 0, 3, 9, 1};
    TestRandom r = {(uint64_t)cols};
    Box table = box_normal(dev, dtype, 10, cols, 4 * pad, &r, 1), y = box_new(dev, dtype, 5, cols, pad), back = box_new(dev, dtype, 10, cols, 0);
    Box at = box_index(dev, row, 5), none = box_index(dev, row, 0), empty = box_new(dev, dtype, 0, cols, 0);

    CHECK_OK(op_embed(dev, y.t, table.t, at.t));
    box_get(&y);
    for (int64_t i = 0; i < 5 * cols; i++)
        assert_true(y.v[i] == table.v[row[i / cols] * cols + i % cols]);
    CHECK_OK(op_scatter(dev, back.t, y.t, at.t));
    box_get(&back);
    for (int64_t i = 0; i < 10 * cols; i++) {
        const int64_t from = i / cols;
        const bool moved = from == 6 || from == 0 || from == 3 || from == 9 || from == 1;

        assert_true(moved ? back.v[i] == table.v[i] : isnan(back.v[i]));
    }
    CHECK_OK(op_scatter(dev, back.t, empty.t, none.t));
    CHECK_OK(op_gather(dev, y.t, back.t, at.t));
    box_get(&y);
    for (int64_t i = 0; i < 5 * cols; i++)
        assert_true(y.v[i] == table.v[row[i / cols] * cols + i % cols]);
    CHECK_OK(op_gather(dev, empty.t, back.t, none.t));
    Box *all[] = {&table, &y, &back, &at, &none, &empty};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static void check_moves(Device *dev)
{
    for (size_t t = 0; t < 3; t++)
        for (int64_t pad = 0; pad < 2; pad++) {
            for (size_t w = 0; w < N_WIDTH; w++)
                check_move(dev, ACTIVATION[t], WIDTH[w], pad);
            check_move(dev, ACTIVATION[t], 408, pad); /* five rows of 51 units of eight: a block, less one */
        }
}

static void test_rows_move_by_index(void **state)
{
    (void)state;
    at_all_levels(check_moves);
}

/* ---- company ------------------------------------------------------------------------------------------------------------ */

/* Row `at` of a batch of 200, worked on by `dev`, against the same row alone at another place in memory. */
static void check_company(Device *dev, DType dtype, int64_t at)
{
    TestRandom r = {23};
    Box x = box_normal(dev, dtype, 200, 700, 1, &r, 1), one = box_new(dev, dtype, 1, 700, 0), w = box_normal(dev, dtype, 1, 700, 0, &r, 1);
    Box y = box_new(dev, dtype, 200, 700, 0), y_one = box_new(dev, dtype, 1, 700, 7), z = box_new(dev, dtype, 200, 350, 0), z_one = box_new(dev, dtype, 1, 350, 0);
    Box got = box_new(dev, dtype, 1, 700, 0), got_half = box_new(dev, dtype, 1, 350, 0);

    CHECK_OK(device_copy(dev, one.t, tensor_rows(x.t, at, 1)));
    CHECK_OK(op_rmsnorm(dev, y.t, (Tensor){0}, x.t, w.t, 1e-6f));
    CHECK_OK(op_rmsnorm(dev, y_one.t, (Tensor){0}, one.t, w.t, 1e-6f));
    CHECK_OK(device_copy(dev, got.t, tensor_rows(y.t, at, 1)));
    check_same("rmsnorm of a row in company", &got, &y_one);
    CHECK_OK(op_swiglu(dev, z.t, x.t));
    CHECK_OK(op_swiglu(dev, z_one.t, one.t));
    CHECK_OK(device_copy(dev, got_half.t, tensor_rows(z.t, at, 1)));
    check_same("swiglu of a row in company", &got_half, &z_one);
    Box *all[] = {&x, &one, &w, &y, &y_one, &z, &z_one, &got, &got_half};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static void test_rows_do_not_depend_on_company_or_threads(void **state)
{
    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        for (int threads = 1; threads <= 4; threads *= 2) {
            Device *dev = box_device(BOX_LEVELS[level], threads);

            for (int64_t at = 0; dev != NULL && at < 200; at += 61) {
                check_company(dev, LT_F32, at);
                check_company(dev, LT_BF16, at);
            }
            device_close(dev);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_is_within_two_ulp),
        cmocka_unit_test(test_exp_special_values),
        cmocka_unit_test(test_half_conversions_match_core),
        cmocka_unit_test(test_rmsnorm_matches_reference),
        cmocka_unit_test(test_rope_matches_reference_and_turns_back),
        cmocka_unit_test(test_rope_refuses_a_head_it_has_no_room_for),
        cmocka_unit_test(test_swiglu_matches_reference),
        cmocka_unit_test(test_swiglu_of_extreme_gates),
        cmocka_unit_test(test_rows_move_by_index),
        cmocka_unit_test(test_rows_do_not_depend_on_company_or_threads),
    };

    return TEST_MAIN(tests);
}
