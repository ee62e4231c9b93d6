/* Gradient ops and the norm of gradients: right for all dtypes, sizes and strides, inside their tensors, and the same bits on any number of threads.
 * The references themselves are held against differences of the forward ones. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "tests/check.h"
#include "tests/ref_grad.h"
#include "tests/ref_ops.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <string.h>

static const DType TRAIN[] = {LT_F32, LT_BF16};

/* Around the borders of vectors and of what a team of threads holds. */
static const int64_t WIDTH[] = {3, 4, 5, 7, 8, 9, 17, 29, 127, 128, 129, 255, 256, 257, 389, 511, 512, 513, 1023, 1024, 1025, 1541, 2049, 4097};
enum { N_WIDTH = sizeof WIDTH / sizeof *WIDTH };

/* Runs a check per level that this machine has, on one thread and on three. */
static void at_all_levels(void (*check)(Device *one, Device *three))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *one = box_device(BOX_LEVELS[level], 1), *three = box_device(BOX_LEVELS[level], 3);

        if (one != NULL)
            check(one, three);
        device_close(one);
        device_close(three);
    }
}

static double *numbers(const double *from, size_t n)
{
    double *v = mem_take(n, sizeof *v);

    assert_non_null(v);
    memcpy(v, from, n * sizeof *v);
    return v;
}

/* A box with the same contents: for the second run, and where an op adds to what is there. */
static Box copy_of(const Box *b)
{
    Box copy = box_new(b->dev, b->t.dtype, b->t.rows, b->t.cols, b->t.stride - b->t.cols);

    memcpy(copy.v, b->v, (size_t)(b->t.rows * b->t.cols) * sizeof *b->v);
    box_put(&copy);
    return copy;
}

static size_t size_of(const Box *b) { return (size_t)(b->t.rows * b->t.cols); }

/* A call on the other device: each waits for its own work only. */
#define CHECK_OTHER(device, call)                                                                                      \
    do {                                                                                                               \
        CHECK_OK(device_sync(device));                                                                                 \
        CHECK_OK(call);                                                                                                \
    } while (0)

/* Reads both runs, the second of which `three` made: the same bits, and near the reference. Frees all of them. */
static void check_result(const char *what, Device *three, Box *got, Box *again, double *want)
{
    CHECK_OK(device_sync(three));
    box_get(got);
    box_get(again);
    check_same(what, got, again);
    check_nmse(what, got->v, want, size_of(got), box_tolerance(got->t.dtype, 1e-10));
    box_free(got);
    box_free(again);
    mem_free(want);
}

/* ---- the references against differences ----------------------------------------------------------------------------------- */

enum { N = 6, GROUPS = 2, ROWS = 3, ALL = ROWS * GROUPS * N };

static double loss_of(const double *y, const double *dy, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += y[i] * dy[i];
    return sum;
}

static double norm_loss(const double *x, const double *w, const double *dy)
{
    double y[ALL];

    ref_rmsnorm(y, NULL, x, w, ROWS, GROUPS, N, 1e-2);
    return loss_of(y, dy, ALL);
}

static double swiglu_loss(const double *x, const double *dy)
{
    double y[ALL / 2];

    ref_swiglu(y, x, ROWS, GROUPS * N / 2);
    return loss_of(y, dy, ALL / 2);
}

static void check_slope(const char *what, double got, double up, double down)
{
    const double want = (up - down) / 2e-5; /* central differences of 1e-5: error near 1e-10 */

    if (!(fabs(got - want) <= 1e-8 * (1 + fabs(want))))
        fail_msg("%s: gradient %.12g, difference quotient %.12g", what, got, want);
}

static void test_grad_references_match_differences(void **state)
{
    double x[ALL], w[N], dy[ALL], dx[ALL], dw[N] = {0}, dgu[ALL];
    TestRandom r = {3};

    (void)state;
    for (int i = 0; i < ALL; i++) {
        x[i] = test_normal(&r);
        dy[i] = test_normal(&r);
    }
    for (int i = 0; i < N; i++)
        w[i] = test_normal(&r);
    ref_rmsnorm_grad(dx, dw, dy, x, w, ROWS, GROUPS, N, 1e-2);
    ref_swiglu_grad(dgu, dy, x, ROWS, GROUPS * N / 2);
    for (int i = 0; i < ALL; i++) {
        const double at = x[i];
        double up, swiglu_up;

        x[i] = at + 1e-5;
        up = norm_loss(x, w, dy), swiglu_up = swiglu_loss(x, dy);
        x[i] = at - 1e-5;
        check_slope("rmsnorm, x", dx[i], up, norm_loss(x, w, dy));
        check_slope("swiglu", dgu[i], swiglu_up, swiglu_loss(x, dy));
        x[i] = at;
    }
    for (int i = 0; i < N; i++) {
        const double at = w[i];
        double up;

        w[i] = at + 1e-5;
        up = norm_loss(x, w, dy);
        w[i] = at - 1e-5;
        check_slope("rmsnorm, w", dw[i], up, norm_loss(x, w, dy));
        w[i] = at;
    }
}

/* ---- rmsnorm -------------------------------------------------------------------------------------------------------------- */

typedef struct NormShape {
    int64_t rows, group, n;
} NormShape;

/* mode: 0 overwrites dx, 1 adds to it, 2 writes it over dy. */
static void check_norm_grad(Device *one, Device *three, DType dtype, NormShape s, int mode)
{
    TestRandom r = {(uint64_t)(s.rows * 100 + s.n)};
    Box x = box_normal(one, dtype, s.rows, s.group * s.n, 3, &r, 2), w = box_normal(one, mode ? LT_F32 : dtype, 1, s.n, 0, &r, 1);
    Box dy = box_normal(one, dtype, s.rows, s.group * s.n, 1, &r, 1), dw = box_normal(one, LT_F32, 1, s.n, 0, &r, 1), dw2 = copy_of(&dw);
    Box dx = mode == 2 ? copy_of(&dy) : box_normal(one, dtype, s.rows, s.group * s.n, 2, &r, 1), dx2 = copy_of(&dx), frozen = copy_of(&dx);
    Box rstd = box_new(one, LT_F32, s.rows, s.group, 2), y = box_new(one, dtype, s.rows, s.group * s.n, 0);
    double *want = numbers(dx.v, size_of(&dx)), *want_dw = numbers(dw.v, size_of(&dw)), *before = numbers(dx.v, size_of(&dx));

    CHECK_OK(op_rmsnorm(one, y.t, rstd.t, x.t, w.t, 1e-5f));
    CHECK_OK(op_rmsnorm_grad(one, dx.t, dw.t, mode == 2 ? dx.t : dy.t, x.t, w.t, rstd.t, mode == 1 ? 1.0f : 0.0f));
    CHECK_OTHER(one, op_rmsnorm_grad(three, dx2.t, dw2.t, mode == 2 ? dx2.t : dy.t, x.t, w.t, rstd.t, mode == 1 ? 1.0f : 0.0f));
    CHECK_OK(op_rmsnorm_grad(one, frozen.t, (Tensor){0}, mode == 2 ? frozen.t : dy.t, x.t, w.t, rstd.t, mode == 1 ? 1.0f : 0.0f));
    ref_rmsnorm_grad(want, want_dw, dy.v, x.v, w.v, s.rows, s.group, s.n, (double)1e-5f);
    for (size_t i = 0; i < size_of(&dx) && mode == 1; i++)
        want[i] += before[i];
    box_get(&dx);
    box_get(&frozen);
    check_same("rmsnorm_grad without dw", &dx, &frozen);
    box_free(&frozen);
    check_result("rmsnorm_grad, dx", three, &dx, &dx2, want);
    check_result("rmsnorm_grad, dw", three, &dw, &dw2, want_dw);
    mem_free(before);
    box_free(&x);
    box_free(&w);
    box_free(&dy);
    box_free(&rstd);
    box_free(&y);
}

static void check_norm_grads(Device *one, Device *three)
{
    /* One column alone has no gradient to speak of: all of it cancels. */
    static const NormShape shape[] = {{0, 1, 8},   {1, 1, 2},   {130, 1, 64}, {5, 4, 24},   {17, 3, 300}, {70, 1, 768},   {15, 1, 29},
                                      {16, 1, 29}, {17, 1, 29}, {53, 1, 29},  {2047, 1, 5}, {2049, 1, 5}, {17, 1, 4109}, {17, 1, 8203}};

    for (size_t t = 0; t < 2; t++)
        for (int mode = 0; mode < 3; mode++) {
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
                check_norm_grad(one, three, TRAIN[t], shape[s], mode);
            for (size_t w = 0; w < N_WIDTH; w++)
                check_norm_grad(one, three, TRAIN[t], (NormShape){2, 1, WIDTH[w]}, mode);
        }
}

static void test_rmsnorm_grad_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_norm_grads);
}

/* ---- swiglu --------------------------------------------------------------------------------------------------------------- */

static void check_swiglu_grad(Device *one, Device *three, DType dtype, int64_t rows, int64_t n)
{
    TestRandom r = {(uint64_t)n};
    Box x = box_normal(one, dtype, rows, 2 * n, 3, &r, 4), dy = box_normal(one, dtype, rows, n, 1, &r, 1);
    Box dx = box_new(one, dtype, rows, 2 * n, 0), in_place = copy_of(&x);
    double *want = numbers(x.v, size_of(&x));

    ref_swiglu_grad(want, dy.v, x.v, rows, n);
    CHECK_OK(op_swiglu_grad(one, dx.t, dy.t, x.t));
    CHECK_OTHER(one, op_swiglu_grad(three, in_place.t, dy.t, in_place.t));
    check_result("swiglu_grad", three, &dx, &in_place, want);
    box_free(&x);
    box_free(&dy);
}

static void check_swiglu_grads(Device *one, Device *three)
{
    static const int64_t shape[][2] = {{0, 4}, {1, 1}, {40, 88}, {7, 1408}, {255, 4}, {256, 8}, {257, 4}, {773, 8}};

    for (size_t t = 0; t < 2; t++) {
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            check_swiglu_grad(one, three, TRAIN[t], shape[s][0], shape[s][1]);
        for (size_t w = 0; w < N_WIDTH; w++)
            check_swiglu_grad(one, three, TRAIN[t], 2, WIDTH[w]);
    }
}

static void test_swiglu_grad_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_swiglu_grads);
}

/* ---- shared rows ------------------------------------------------------------------------------------------------------------ */

enum { VOCAB = 11, BATCH = 90 };

/* The ids of a batch as op_embed_grad wants them; how many different ones. */
static int64_t sort_batch(int32_t id[VOCAB], int32_t first[VOCAB + 1], int32_t order[BATCH], const int32_t *token)
{
    int32_t n = 0, at = 0;

    for (int32_t v = VOCAB - 1; v >= 0; v--) {
        const int32_t start = at;

        for (int32_t i = 0; i < BATCH; i++)
            if (token[i] == v)
                order[at++] = i;
        if (at == start)
            continue;
        id[n] = v;
        first[n++] = start;
    }
    first[n] = at;
    return n;
}

static void check_embed_grads(Device *one, Device *three)
{
    int32_t token[BATCH], id[VOCAB], first[VOCAB + 1], order[BATCH];
    TestRandom r = {8};
    int64_t n_id;

    for (int i = 0; i < BATCH; i++) { /* ids 0, 2, ... occur 7, 8, 9, 29 and 37 times, 1, 3, ... do not */
        const int at = i * 7 % BATCH;

        token[i] = at < 7 ? 0 : at < 15 ? 2 : at < 24 ? 4 : at < 53 ? 6 : 8;
    }
    n_id = sort_batch(id, first, order, token);
    for (size_t t = 0; t < 2; t++)
        for (size_t w = 0; w < N_WIDTH; w++) {
            const int64_t n = WIDTH[w];
            Box dy = box_normal(one, TRAIN[t], BATCH, n, n % 4, &r, 1), dw = box_normal(one, LT_F32, VOCAB, n, n % 4, &r, 1), again = copy_of(&dw);
            Box ids = box_index(one, id, n_id), firsts = box_index(one, first, n_id + 1), orders = box_index(one, order, BATCH);
            double *want = numbers(dw.v, size_of(&dw));

            ref_embed_grad(want, dy.v, token, BATCH, n);
            CHECK_OK(op_embed_grad(one, dw.t, dy.t, ids.t, firsts.t, orders.t));
            CHECK_OTHER(one, op_embed_grad(three, again.t, dy.t, ids.t, firsts.t, orders.t));
            check_result("embed_grad", three, &dw, &again, want);
            box_free(&dy);
            box_free(&ids);
            box_free(&firsts);
            box_free(&orders);
        }
}

static void test_embed_grad_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_embed_grads);
}

static void check_bias_grads(Device *one, Device *three)
{
    static const int64_t shape[][2] = {{0, 4},   {1, 1},   {63, 65},   {64, 128}, {65, 31},   {197, 32},  {7, 33},
                                       {8, 101}, {9, 509}, {29, 1027}, {300, 700}, {8191, 3}, {8193, 4}, {24581, 5}};
    TestRandom r = {9};

    for (size_t t = 0; t < 2; t++)
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
            Box dy = box_normal(one, TRAIN[t], shape[s][0], shape[s][1], 2, &r, 1), db = box_normal(one, LT_F32, 1, shape[s][1], 0, &r, 1);
            Box again = copy_of(&db);
            double *want = numbers(db.v, size_of(&db));

            ref_bias_grad(want, dy.v, shape[s][0], shape[s][1]);
            CHECK_OK(op_bias_grad(one, db.t, dy.t));
            CHECK_OTHER(one, op_bias_grad(three, again.t, dy.t));
            check_result("bias_grad", three, &db, &again, want);
            box_free(&dy);
        }
}

static void test_bias_grad_matches_reference(void **state)
{
    (void)state;
    at_all_levels(check_bias_grads);
}

/* ---- sum of squares ------------------------------------------------------------------------------------------------------- */

/* n products and sums in F64, each rounded by at most 2^-53 of the whole. */
static void check_sumsq(Device *one, Device *three, DType dtype, int64_t rows, int64_t cols)
{
    TestRandom r = {(uint64_t)(rows * cols)};
    Box x = box_normal(one, dtype, rows, cols, 3, &r, 2), out = box_new(one, LT_F64, 1, 1, 0), again;
    double want = 5;

    out.v[0] = want;
    box_put(&out);
    again = copy_of(&out);
    for (size_t i = 0; i < size_of(&x); i++)
        want += x.v[i] * x.v[i];
    CHECK_OK(op_sumsq(one, out.t, x.t));
    CHECK_OTHER(one, op_sumsq(three, again.t, x.t));
    CHECK_OK(device_sync(three));
    box_get(&out);
    box_get(&again);
    check_same("sumsq", &out, &again);
    if (!(fabs(out.v[0] - want) <= (double)(2 * rows * cols + 2) * 0x1p-53 * want))
        fail_msg("sumsq: %.17g, expected %.17g", out.v[0], want);
    box_free(&x);
    box_free(&out);
    box_free(&again);
}

static void check_sumsqs(Device *one, Device *three)
{
    static const int64_t shape[][2] = {{0, 4}, {1, 1}, {1, 4095}, {1, 4096}, {1, 4097}, {33, 257}, {3, 9000}, {5000, 2}, {64, 192}};
    static const DType type[] = {LT_F32, LT_BF16, LT_F16, LT_F64};

    for (size_t t = 0; t < 4; t++)
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            check_sumsq(one, three, type[t], shape[s][0], shape[s][1]);
    check_sumsq(one, three, LT_BF16, 1, 1025 * 4096 + 5); /* more blocks than the GPU adds in one go */
}

static void test_sumsq_adds_to_what_is_there(void **state)
{
    (void)state;
    at_all_levels(check_sumsqs);
}

static void test_sumsq_without_memory(void **state)
{
    float x[8] = {1};
    double out = 0;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    mem_fail_at(1);
    CHECK_FAILS(op_sumsq(dev, tensor_of(&out, LT_F64, 1, 1), tensor_of(x, LT_F32, 1, 8)), LT_E_NOMEM, "out of memory");
    mem_fail_at(0);
    CHECK_OK(op_sumsq(dev, tensor_of(&out, LT_F64, 1, 1), tensor_of(x, LT_F32, 1, 8)));
    assert_true(out == 1);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grad_references_match_differences), cmocka_unit_test(test_rmsnorm_grad_matches_reference),
        cmocka_unit_test(test_swiglu_grad_matches_reference),     cmocka_unit_test(test_embed_grad_matches_reference),
        cmocka_unit_test(test_bias_grad_matches_reference),       cmocka_unit_test(test_sumsq_adds_to_what_is_there),
        cmocka_unit_test(test_sumsq_without_memory),
    };

    return TEST_MAIN(tests);
}
