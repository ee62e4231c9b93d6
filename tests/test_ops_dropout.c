/* Dropout: the mask that the contract describes, element by element; scaled and rounded once; the same wherever and with whomever a row lies. */
#include "kernels/ops.h"

#include "core/random.h"
#include "tests/check.h"
#include "tests/tensor_box.h"

#include <math.h>

static const DType TRAIN[] = {LT_F32, LT_BF16};
static const DropoutKey KEY = {.seed = 0x0123456789abcdefull, .step = 70000, .layer = 31, .site = 5, .first_row = 0xfffffffeLL};

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

/* ops.h, word for word. */
static bool is_kept(const DropoutKey *key, int64_t row, int64_t col, float p)
{
    const uint64_t at = (uint64_t)(key->first_row + row);
    const uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), (uint32_t)(col / 4), key->step};
    const uint32_t words[2] = {(uint32_t)key->seed, (uint32_t)(key->seed >> 32) ^ (key->layer << 8 | key->site)};
    uint32_t out[4];

    philox4x32(counter, words, out);
    return !(philox_unit(out[col % 4]) < p);
}

static void check_masked(const Box *y, const double *x, float p)
{
    const float scale = 1.0f / (1.0f - p);

    for (int64_t i = 0; i < y->t.rows * y->t.cols; i++) {
        const bool kept = is_kept(&KEY, i / y->t.cols, i % y->t.cols, p);
        const double want = kept ? box_round(y->t.dtype, (double)((float)x[i] * scale)) : 0;

        if (!(y->v[i] == want))
            fail_msg("row %lld, column %lld: %.9g expected, %.9g found", (long long)(i / y->t.cols), (long long)(i % y->t.cols), want, y->v[i]);
    }
}

static void check_shape(Device *dev, DType dtype, int64_t rows, int64_t cols, float p)
{
    TestRandom r = {(uint64_t)(rows * 1000 + cols)};
    Box x = box_normal(dev, dtype, rows, cols, 3, &r, 2), y = box_new(dev, dtype, rows, cols, 1);

    CHECK_OK(op_dropout(dev, y.t, x.t, p, &KEY));
    box_get(&y);
    check_masked(&y, x.v, p);
    CHECK_OK(op_dropout(dev, x.t, x.t, p, &KEY)); /* in place */
    check_same("dropout in place", &x, &y);
    box_free(&x);
    box_free(&y);
}

static void check_shapes(Device *dev)
{
    static const int64_t cols[] = {1, 3, 4, 5, 7, 8, 9, 17, 29, 511, 512, 513, 1037};

    for (size_t t = 0; t < 2; t++) {
        for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
            check_shape(dev, TRAIN[t], 5, cols[c], 0.3f);
        check_shape(dev, TRAIN[t], 0, 8, 0.3f);
        check_shape(dev, TRAIN[t], 67, 31, 0.05f);
        check_shape(dev, TRAIN[t], 3, 40, 0); /* keeps all */
    }
}

static void test_dropout_draws_what_the_contract_says(void **state)
{
    (void)state;
    at_all_levels(check_shapes);
}

/* Rows 2 and 3 of five, by a rank that begins there, at addresses that fit no vector. */
static void check_place(Device *dev, DType dtype)
{
    enum { ROWS = 5, COLS = 61 };
    TestRandom r = {4};
    Box x = box_normal(dev, dtype, ROWS, COLS, 3, &r, 1), y = box_new(dev, dtype, ROWS, COLS, 3), want = box_new(dev, dtype, 2, COLS, 0);
    Box moved = box_new(dev, dtype, 2, COLS + 1, 0), got = box_new(dev, dtype, 2, COLS, 0);
    const Tensor place = tensor_cols(moved.t, 1, COLS);
    DropoutKey key = KEY;

    CHECK_OK(op_dropout(dev, y.t, x.t, 0.5f, &key));
    key.first_row += 2;
    CHECK_OK(op_dropout(dev, place, tensor_rows(x.t, 2, 2), 0.5f, &key));
    CHECK_OK(device_copy(dev, want.t, tensor_rows(y.t, 2, 2)));
    CHECK_OK(device_copy(dev, got.t, place));
    check_same("dropout of a part", &got, &want);
    Box *all[] = {&x, &y, &want, &moved, &got};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static void check_places(Device *dev)
{
    check_place(dev, LT_F32);
    check_place(dev, LT_BF16);
}

static void test_dropout_does_not_depend_on_the_split(void **state)
{
    (void)state;
    at_all_levels(check_places);
}

/* Of n independent draws n (1 - p) stay, give or take five standard deviations; two masks agree like independent ones. */
static void check_near_share(const char *what, int64_t count, int64_t n, double share)
{
    const double off = fabs((double)count - (double)n * share), deviation = sqrt((double)n * share * (1 - share));

    if (!(off <= 5 * deviation))
        fail_msg("%s: %lld of %lld, expected a share of %g", what, (long long)count, (long long)n, share);
}

static void check_keys(Device *dev)
{
    enum { ROWS = 40, COLS = 100, N = ROWS * COLS };
    const double p = 0.25;
    const DropoutKey other[] = {
        {KEY.seed + 1, KEY.step, KEY.layer, KEY.site, KEY.first_row},     {KEY.seed ^ 1ull << 40, KEY.step, KEY.layer, KEY.site, KEY.first_row},
        {KEY.seed, KEY.step + 1, KEY.layer, KEY.site, KEY.first_row},     {KEY.seed, KEY.step, KEY.layer + 1, KEY.site, KEY.first_row},
        {KEY.seed, KEY.step, KEY.layer, KEY.site + 1, KEY.first_row},     {KEY.seed, KEY.step, KEY.layer, KEY.site, KEY.first_row + ROWS},
        {KEY.seed, KEY.step, KEY.layer, KEY.site, KEY.first_row + (1ll << 32)},
    };
    Box x = box_new(dev, LT_F32, ROWS, COLS, 0), y = box_new(dev, LT_F32, ROWS, COLS, 0), z = box_new(dev, LT_F32, ROWS, COLS, 0);
    int64_t kept = 0;

    for (int64_t i = 0; i < N; i++)
        x.v[i] = 1;
    box_put(&x);
    CHECK_OK(op_dropout(dev, y.t, x.t, (float)p, &KEY));
    box_get(&y);
    for (int64_t i = 0; i < N; i++)
        kept += y.v[i] != 0;
    check_near_share("kept", kept, N, 1 - p);
    for (size_t k = 0; k < sizeof other / sizeof *other; k++) {
        int64_t both = 0;

        CHECK_OK(op_dropout(dev, z.t, x.t, (float)p, &other[k]));
        box_get(&z);
        for (int64_t i = 0; i < N; i++)
            both += y.v[i] != 0 && z.v[i] != 0;
        check_near_share("kept by both of two keys", both, N, (1 - p) * (1 - p));
    }
    box_free(&x);
    box_free(&y);
    box_free(&z);
}

static void test_dropout_every_part_of_the_key_draws_anew(void **state)
{
    (void)state;
    at_all_levels(check_keys);
}

/* What is dropped is gone, whatever it was. */
static void check_nan(Device *dev)
{
    enum { N = 64 };
    Box x = box_new(dev, LT_F32, 1, N, 0);

    for (int i = 0; i < N; i++)
        x.v[i] = i % 2 ? NAN : INFINITY;
    box_put(&x);
    CHECK_OK(op_dropout(dev, x.t, x.t, 0.5f, &KEY));
    box_get(&x);
    for (int i = 0; i < N; i++)
        if (!is_kept(&KEY, 0, i, 0.5f))
            assert_true(x.v[i] == 0);
        else
            assert_true(i % 2 ? isnan(x.v[i]) : isinf(x.v[i]));
    box_free(&x);
}

static void test_dropout_of_nan_and_infinity(void **state)
{
    (void)state;
    at_all_levels(check_nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_draws_what_the_contract_says),
        cmocka_unit_test(test_dropout_does_not_depend_on_the_split),
        cmocka_unit_test(test_dropout_every_part_of_the_key_draws_anew),
        cmocka_unit_test(test_dropout_of_nan_and_infinity),
    };

    return TEST_MAIN(tests);
}
