/* Log-probabilities, cross-entropy and argmax. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "tests/check.h"
#include "tests/ref_ops.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>

/* About the steps of both backends: quads, 16 lanes, 512 a piece, 2048 a block, 8192 in flight. */
static const int64_t SIZES[] = {1, 2, 3, 4, 5, 15, 16, 17, 511, 512, 513, 2047, 2048, 2049, 4097, 6149, 6400, 8191, 8192, 8193, 24581};
enum { N_SIZE = sizeof SIZES / sizeof *SIZES };

static void at_all_levels(void (*check)(Device *dev))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL)
            check(dev);
        device_close(dev);
    }
}

/* ---- logprob ------------------------------------------------------------------------------------------------------------ */

typedef struct Pairs {
    Box lp, best, row, target;
    int64_t n;
} Pairs;

static Pairs pairs_new(Device *dev, const int32_t *row, const int32_t *target, int64_t n)
{
    return (Pairs){box_new(dev, LT_F32, 1, n, 0), box_new(dev, LT_I32, 1, n, 0), box_index(dev, row, n), box_index(dev, target, n), n};
}

static void pairs_free(Pairs *p)
{
    box_free(&p->lp);
    box_free(&p->best);
    box_free(&p->row);
    box_free(&p->target);
}

static void pairs_run(Pairs *p, const Box *logits)
{
    CHECK_OK(op_logprob(logits->dev, p->lp.t, p->best.t, logits->t, p->row.t, p->target.t));
    box_get(&p->lp);
    box_get(&p->best);
}

/* Rows 0, 1, 1, 1, 4, 5, ...: some shared, some left out. lp is a difference of two numbers of size |x| + log n, each good to an ulp, and a sum
 * of n positive terms, good to far less than sqrt(n) ulp. */
static void check_logprobs(Device *dev)
{
    enum { PAIRS = 40 };
    int32_t row[PAIRS], target[PAIRS];
    double want[PAIRS];
    char what[64];

    for (size_t s = 0; s < N_SIZE; s++) {
        TestRandom r = {s};
        Box logits = box_normal(dev, LT_F32, PAIRS, SIZES[s], 3, &r, 4);

        for (int32_t i = 0; i < PAIRS; i++) {
            row[i] = i < 2 ? i : i < 4 ? 1 : i;
            target[i] = (int32_t)(test_random(&r) % (uint64_t)SIZES[s]);
        }
        Pairs p = pairs_new(dev, row, target, PAIRS);
        pairs_run(&p, &logits);
        ref_pair_logprob(want, logits.v, row, target, PAIRS, SIZES[s]);
        for (int i = 0; i < PAIRS; i++) {
            snprintf(what, sizeof what, "%s, %lld numbers, pair %d", device_class(dev), (long long)SIZES[s], i);
            check_close(what, p.lp.v[i], want[i], 1e-6, 1e-6);
            assert_true(p.best.v[i] == ref_argmax(logits.v + row[i] * SIZES[s], SIZES[s]));
        }
        CHECK_OK(op_logprob(dev, p.lp.t, (Tensor){0}, logits.t, p.row.t, p.target.t));
        pairs_free(&p);
        box_free(&logits);
    }
}

static void test_logprob_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_logprobs);
}

static void check_odd_logits(Device *dev)
{
    enum { N = 600 };
    static const int32_t row[] = {0, 0, 1, 2, 2, 3, 4}, target[] = {5, 6, 0, 7, 8, 0, 2};
    TestRandom r = {5};
    Box logits = box_normal(dev, LT_F32, 5, N, 0, &r, 1);

    for (int i = 0; i < N; i++) {
        logits.v[0 * N + i] = i == 5 ? 3 : -INFINITY; /* one survivor */
        logits.v[1 * N + i] = -1e30 + (i == 0 ? 1e30 : 0);
        logits.v[3 * N + i] = 1e5; /* all equal: log(1 / N) */
        logits.v[4 * N + i] = i == 2 ? 3e38 : -3e38;
    }
    logits.v[2 * N + 599] = NAN;
    box_put(&logits);
    Pairs p = pairs_new(dev, row, target, 7);
    pairs_run(&p, &logits);
    assert_true(p.lp.v[0] == 0 && isinf(p.lp.v[1]) && p.best.v[0] == 5 && p.best.v[1] == 5);
    assert_true(p.lp.v[2] == 0 && p.best.v[2] == 0);
    assert_true(isnan(p.lp.v[3]) && isnan(p.lp.v[4]) && p.best.v[3] == 599);
    check_close("log 1/600", p.lp.v[5], -log(N), 1e-6, 0);
    assert_true(p.best.v[5] == 0 && p.lp.v[6] == 0 && p.best.v[6] == 2);
    pairs_free(&p);
    box_free(&logits);
}

static void test_logprob_of_infinities_and_nan(void **state)
{
    (void)state;
    at_all_levels(check_odd_logits);
}

/* The same pairs one at a time, and with other thread counts. */
static void test_logprob_does_not_depend_on_company_or_threads(void **state)
{
    enum { ROWS = 30, N = 5000 };
    int32_t row[2 * ROWS], target[2 * ROWS];

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev[3] = {box_device(BOX_LEVELS[level], 1), box_device(BOX_LEVELS[level], 2), box_device(BOX_LEVELS[level], 4)};
        TestRandom r = {3};

        if (dev[0] == NULL)
            continue;
        Box logits = box_normal(dev[0], LT_F32, ROWS, N, 0, &r, 3);
        for (int32_t i = 0; i < 2 * ROWS; i++) {
            row[i] = i / 2;
            target[i] = (int32_t)(test_random(&r) % N);
        }
        Pairs all = pairs_new(dev[0], row, target, 2 * ROWS);
        pairs_run(&all, &logits);
        for (int t = 1; t < 3; t++) {
            Pairs other = pairs_new(dev[t], row, target, 2 * ROWS);
            Box same = logits;

            same.dev = dev[t];
            pairs_run(&other, &same);
            check_same("threads", &other.lp, &all.lp);
            pairs_free(&other);
        }
        for (int i = 0; i < 2 * ROWS; i++) {
            Pairs one = pairs_new(dev[0], row + i, target + i, 1);

            pairs_run(&one, &logits);
            assert_true(one.lp.v[0] == all.lp.v[i]);
            pairs_free(&one);
        }
        pairs_free(&all);
        box_free(&logits);
        for (int t = 0; t < 3; t++)
            device_close(dev[t]);
    }
}

/* More pairs than a block has threads share the first row, and what follows is served too. */
static void check_crowded_row(Device *dev)
{
    enum { PAIRS = 1100, N = 33 };
    int32_t row[PAIRS], target[PAIRS];
    double want[PAIRS];
    TestRandom r = {7};
    Box logits = box_normal(dev, LT_F32, 3, N, 0, &r, 2);

    for (int32_t i = 0; i < PAIRS; i++) {
        row[i] = i < 1090 ? 1 : 2;
        target[i] = i % N;
    }
    Pairs p = pairs_new(dev, row, target, PAIRS);
    pairs_run(&p, &logits);
    ref_pair_logprob(want, logits.v, row, target, PAIRS, N);
    for (int i = 0; i < PAIRS; i++) {
        check_close("pair of a crowded row", p.lp.v[i], want[i], 1e-6, 1e-6);
        assert_true(p.best.v[i] == ref_argmax(logits.v + row[i] * N, N));
    }
    pairs_free(&p);
    box_free(&logits);
}

static void test_logprob_of_many_pairs_in_a_row(void **state)
{
    (void)state;
    at_all_levels(check_crowded_row);
}

static void test_logprob_refuses_what_does_not_fit(void **state)
{
    Device *dev = box_device("generic", 1);
    TestRandom r = {1};
    Box logits = box_normal(dev, LT_F32, 2, 10, 0, &r, 1), none = box_new(dev, LT_F32, 0, 10, 0), wide = box_new(dev, LT_F64, 2, 10, 0);
    Pairs p = pairs_new(dev, (int32_t[]){0, 1}, (int32_t[]){0, 1}, 2), empty = pairs_new(dev, (int32_t[]){0}, (int32_t[]){0}, 0);

    (void)state;
    CHECK_FAILS(op_logprob(dev, p.lp.t, p.best.t, none.t, p.row.t, p.target.t), LT_E_FAIL, "logprob");
    CHECK_FAILS(op_logprob(dev, p.lp.t, p.best.t, wide.t, p.row.t, p.target.t), LT_E_FAIL, "logits");
    CHECK_OK(op_logprob(dev, empty.lp.t, empty.best.t, logits.t, empty.row.t, empty.target.t));
    pairs_free(&p);
    pairs_free(&empty);
    box_free(&logits);
    box_free(&none);
    box_free(&wide);
    device_close(dev);
}

/* ---- argmax ------------------------------------------------------------------------------------------------------------- */

static void check_argmax(Device *dev)
{
    for (size_t s = 0; s < N_SIZE; s++) {
        TestRandom r = {s};
        Box x = box_normal(dev, LT_F32, 9, SIZES[s], 1, &r, 1), id = box_new(dev, LT_I32, 1, 9, 0);

        for (int64_t i = 0; i < SIZES[s]; i++) {
            x.v[1 * SIZES[s] + i] = -INFINITY;
            x.v[2 * SIZES[s] + i] = floor(x.v[2 * SIZES[s] + i]); /* ties in plenty */
            x.v[3 * SIZES[s] + i] = i == SIZES[s] - 1 ? 50 : x.v[3 * SIZES[s] + i];
        }
        x.v[4 * SIZES[s] + SIZES[s] - 1] = NAN;
        x.v[5 * SIZES[s] + SIZES[s] / 2] = x.v[5 * SIZES[s] + SIZES[s] - 1] = NAN;
        x.v[6 * SIZES[s] + SIZES[s] / 3] = INFINITY;
        box_put(&x);
        CHECK_OK(op_argmax(dev, id.t, x.t));
        box_get(&id);
        for (int64_t row = 0; row < 9; row++)
            assert_int_equal((int64_t)id.v[row], ref_argmax(x.v + row * SIZES[s], SIZES[s]));
        box_free(&x);
        box_free(&id);
    }
}

static void test_argmax_takes_the_lowest_index_and_the_first_nan(void **state)
{
    (void)state;
    at_all_levels(check_argmax);
}

/* ---- cross-entropy ------------------------------------------------------------------------------------------------------ */

static void check_xent_size(Device *dev, int64_t n, DType gradient, bool in_place)
{
    enum { ROWS = 7 };
    TestRandom r = {(uint64_t)n};
    Box logits = box_normal(dev, LT_F32, ROWS, n, 2, &r, 3), d = box_new(dev, gradient, ROWS, n, 1), loss = box_new(dev, LT_F32, 1, ROWS, 0);
    Box weight = box_normal(dev, LT_F32, 1, ROWS, 0, &r, 1), *out = in_place ? &logits : &d;
    double want_loss[ROWS], *want = mem_take((size_t)(ROWS * n), sizeof *want);
    int32_t target[ROWS];

    assert_non_null(want);
    for (int i = 0; i < ROWS; i++)
        target[i] = i == 2 ? -100 : (int32_t)(test_random(&r) % (uint64_t)n);
    weight.v[4] = 0;
    box_put(&weight);
    Box at = box_index(dev, target, ROWS);
    ref_xent(want_loss, want, logits.v, target, weight.v, ROWS, n);
    CHECK_OK(op_xent(dev, loss.t, (Tensor){0}, logits.t, at.t, weight.t));
    box_get(&loss);
    for (int i = 0; i < ROWS; i++)
        check_close("loss without gradient", loss.v[i], want_loss[i], 2e-6, 1e-6);
    CHECK_OK(op_xent(dev, loss.t, out->t, logits.t, at.t, weight.t));
    box_get(&loss);
    box_get(out);
    for (int i = 0; i < ROWS; i++)
        check_close("loss", loss.v[i], want_loss[i], 2e-6, 1e-6);
    if (n > 1) /* of one class the gradient is a rounding error of 0 */
        check_nmse("gradient", out->v, want, (size_t)(ROWS * n), box_tolerance(out->t.dtype, 1e-10));
    Box *all[] = {&logits, &d, &loss, &weight, &at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
    mem_free(want);
}

static void check_xent(Device *dev)
{
    for (size_t s = 0; s < N_SIZE; s++) {
        check_xent_size(dev, SIZES[s], LT_F32, false);
        check_xent_size(dev, SIZES[s], LT_F32, true);
        check_xent_size(dev, SIZES[s], LT_BF16, false);
    }
}

static void test_xent_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_xent);
}

/* Row by row, and where no row but the first begins as vectors do: the same bits. */
static void check_xent_place(Device *dev, DType gradient)
{
    enum { ROWS = 5, N = 2052 };
    TestRandom r = {9};
    Box logits = box_normal(dev, LT_F32, ROWS, N, 0, &r, 3), moved = box_new(dev, LT_F32, ROWS, N + 1, 0);
    Box d = box_new(dev, gradient, ROWS, N, 0), d_moved = box_new(dev, gradient, ROWS, N, 3);
    Box loss = box_new(dev, LT_F32, 1, ROWS, 0), loss_moved = box_new(dev, LT_F32, 1, ROWS, 0);
    Box weight = box_normal(dev, LT_F32, 1, ROWS, 0, &r, 1), at = box_index(dev, (int32_t[]){0, 2051, 17, 1024, 5}, ROWS);

    for (int64_t i = 0; i < ROWS * (N + 1); i++)
        moved.v[i] = i % (N + 1) == 0 ? 0 : logits.v[i / (N + 1) * N + i % (N + 1) - 1];
    box_put(&moved);
    CHECK_OK(op_xent(dev, loss.t, d.t, logits.t, at.t, weight.t));
    CHECK_OK(op_xent(dev, loss_moved.t, d_moved.t, tensor_cols(moved.t, 1, N), at.t, weight.t));
    check_same("loss, moved", &loss, &loss_moved);
    check_same("gradient, moved", &d, &d_moved);
    for (int64_t row = 0; row < ROWS; row++)
        CHECK_OK(op_xent(dev, tensor_cols(loss_moved.t, row, 1), tensor_rows(d_moved.t, row, 1), tensor_rows(logits.t, row, 1),
                         tensor_cols(at.t, row, 1), tensor_cols(weight.t, row, 1)));
    check_same("loss, alone", &loss, &loss_moved);
    check_same("gradient, alone", &d, &d_moved);
    Box *all[] = {&logits, &moved, &d, &d_moved, &loss, &loss_moved, &weight, &at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static void check_xent_places(Device *dev)
{
    check_xent_place(dev, LT_F32);
    check_xent_place(dev, LT_BF16);
}

static void test_xent_does_not_depend_on_place(void **state)
{
    (void)state;
    at_all_levels(check_xent_places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logprob_matches_reference),
        cmocka_unit_test(test_logprob_of_infinities_and_nan),
        cmocka_unit_test(test_logprob_does_not_depend_on_company_or_threads),
        cmocka_unit_test(test_logprob_of_many_pairs_in_a_row),
        cmocka_unit_test(test_logprob_refuses_what_does_not_fit),
        cmocka_unit_test(test_argmax_takes_the_lowest_index_and_the_first_nan),
        cmocka_unit_test(test_xent_matches_reference),
        cmocka_unit_test(test_xent_does_not_depend_on_place),
    };

    return TEST_MAIN(tests);
}
