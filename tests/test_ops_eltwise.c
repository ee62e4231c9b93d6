/* Element-wise ops: any dtypes, sizes and strides, one rounding, every number of the narrow types. */
#include "kernels/ops.h"

#include "core/half.h"
#include "core/mem.h"
#include "tests/check.h"
#include "tests/tensor_box.h"

#include <math.h>

static const DType TYPE[] = {LT_F32, LT_BF16, LT_F16, LT_F64};

/* Runs a check per device that this machine has. */
static void at_all_levels(void (*check)(Device *dev))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL)
            check(dev);
        device_close(dev);
    }
}

typedef struct Shape {
    int64_t rows, cols, x_pad, y_pad;
} Shape;

/* All four ops for one pair of dtypes. With F32 arithmetic the result must be the rounding of a double one up to an ulp of F32. */
static void check_pair(Device *dev, DType y_type, DType x_type, Shape s)
{
    TestRandom r = {(uint64_t)(y_type * 10 + x_type)};
    Box x = box_normal(dev, x_type, s.rows, s.cols, s.x_pad, &r, 2), y = box_normal(dev, y_type, s.rows, s.cols, s.y_pad, &r, 2);
    Box d = box_new(dev, y_type, s.rows, s.cols, 0);
    const size_t n = (size_t)(s.rows * s.cols);
    const double tolerance = box_tolerance(y_type, 1e-13);
    double *want = mem_take(n, sizeof *want);

    assert_non_null(want);
    for (size_t i = 0; i < n; i++)
        want[i] = y.v[i] + (double)0.3f * x.v[i];
    CHECK_OK(op_axpy(dev, y.t, x.t, 0.3f));
    box_get(&y);
    check_nmse("axpy", y.v, want, n, tolerance);
    for (size_t i = 0; i < n; i++)
        want[i] = x.v[i] - y.v[i];
    CHECK_OK(op_sub(dev, d.t, x.t, y.t));
    box_get(&d);
    check_nmse("sub", d.v, want, n, tolerance);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)-0.7f * d.v[i];
    CHECK_OK(op_scale(dev, d.t, -0.7f));
    box_get(&d);
    check_nmse("scale", d.v, want, n, tolerance);
    CHECK_OK(op_cast(dev, y.t, x.t));
    box_get(&y);
    for (size_t i = 0; i < n; i++)
        assert_true(y.v[i] == box_round(y_type, x.v[i]));
    box_free(&x);
    box_free(&y);
    box_free(&d);
    mem_free(want);
}

static void check_pairs(Device *dev)
{
    static const Shape shape[] = {{0, 5, 0, 0},  {1, 1, 0, 0},  {3, 7, 3, 1},   {3, 8, 8, 8},    {3, 9, 7, 0},    {5, 29, 0, 0},
                                  {2, 16, 8, 0}, {2, 16, 0, 1}, {3, 1037, 3, 1}, {1, 2047, 0, 0}, {2, 1024, 0, 0}, {1, 2049, 0, 0}, {1, 6149, 0, 0}};

    for (size_t y = 0; y < 4; y++)
        for (size_t x = 0; x < 4; x++)
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
                check_pair(dev, TYPE[y], TYPE[x], shape[s]);
}

static void test_eltwise_any_pair_of_dtypes(void **state)
{
    (void)state;
    at_all_levels(check_pairs);
}

/* 1 + 2^-8 + 2^-40 lies above the middle of two BF16 numbers; by way of F32 it would fall onto it and then to the even one. */
static void check_double_rounding(Device *dev)
{
    Box x = box_new(dev, LT_F64, 1, 4, 0), y = box_new(dev, LT_BF16, 1, 4, 0), h = box_new(dev, LT_F16, 1, 4, 0);
    const double value[4] = {1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-11 + 0x1p-45, -(1 + 3 * 0x1p-8 - 0x1p-40), 1e300};

    for (int i = 0; i < 4; i++)
        x.v[i] = value[i];
    box_put(&x);
    CHECK_OK(op_cast(dev, y.t, x.t));
    CHECK_OK(op_cast(dev, h.t, x.t));
    box_get(&y);
    box_get(&h);
    assert_true(y.v[0] == 1 + 0x1p-7 && y.v[1] == 1 && y.v[2] == -(1 + 0x1p-7) && isinf(y.v[3]));
    assert_true(h.v[1] == 1 + 0x1p-10 && isinf(h.v[3]));
    box_free(&x);
    box_free(&y);
    box_free(&h);
}

static void test_cast_rounds_once(void **state)
{
    (void)state;
    at_all_levels(check_double_rounding);
}

/* Every number of a 16-bit type widens to itself and comes back; infinities and NaN too. */
static void check_every_half(Device *dev, DType dtype)
{
    enum { SIDE = 256, N = SIDE * SIDE };
    Box h = box_new(dev, dtype, SIDE, SIDE, 0), f = box_new(dev, LT_F32, SIDE, SIDE, 0), back = box_new(dev, dtype, SIDE, SIDE, 0);

    for (uint32_t i = 0; i < N; i++)
        h.v[i] = (double)(dtype == LT_BF16 ? bf16_to_f32((bf16_t)i) : f16_to_f32((f16_t)i));
    box_put(&h);
    CHECK_OK(op_cast(dev, f.t, h.t));
    CHECK_OK(op_cast(dev, back.t, f.t));
    box_get(&f);
    box_get(&back);
    for (int i = 0; i < N; i++)
        assert_true(isnan(h.v[i]) ? isnan(f.v[i]) && isnan(back.v[i]) : f.v[i] == h.v[i] && back.v[i] == h.v[i]);
    box_free(&h);
    box_free(&f);
    box_free(&back);
}

/* The middle of every two neighbours, and the F32 numbers on both sides of it, narrow as core/half does it. */
static void check_every_border(Device *dev, DType dtype)
{
    enum { ROWS = 3, COLS = 0x7c00 };
    Box f = box_new(dev, LT_F32, ROWS, COLS, 0), h = box_new(dev, dtype, ROWS, COLS, 0);

    for (uint32_t i = 0; i < COLS; i++) {
        const float low = dtype == LT_BF16 ? bf16_to_f32((bf16_t)i) : f16_to_f32((f16_t)i);
        const float high = dtype == LT_BF16 ? bf16_to_f32((bf16_t)(i + 1)) : f16_to_f32((f16_t)(i + 1));
        const float middle = i + 1 < COLS ? low + (high - low) / 2 : low * (1 + 0x1p-12f); /* behind the last lies infinity */

        f.v[i] = (double)nextafterf(middle, 0);
        f.v[COLS + i] = (double)middle;
        f.v[2 * COLS + i] = -(double)nextafterf(middle, INFINITY);
    }
    box_put(&f);
    CHECK_OK(op_cast(dev, h.t, f.t));
    box_get(&h);
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(h.v[i] == box_round(dtype, f.v[i]));
    box_free(&f);
    box_free(&h);
}

static void check_halves(Device *dev)
{
    for (int t = 0; t < 2; t++) {
        check_every_half(dev, t == 0 ? LT_BF16 : LT_F16);
        check_every_border(dev, t == 0 ? LT_BF16 : LT_F16);
    }
}

static void test_cast_of_every_number_of_16_bits(void **state)
{
    (void)state;
    at_all_levels(check_halves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eltwise_any_pair_of_dtypes),
        cmocka_unit_test(test_cast_rounds_once),
        cmocka_unit_test(test_cast_of_every_number_of_16_bits),
    };

    return TEST_MAIN(tests);
}
