/* What the contract of the decompositions promises beside numbers: the same bits on any number of threads, the same values on every backend, bad input
 * refused by name, wrong results noticed. */
#include "tests/tensor_box.h"

#include "kernels/backend.h"

#include <math.h>

/* LAPACK and cuSOLVER do not know our instruction levels: one CPU device, and the one that LETHE_TEST_DEVICE names. */
enum { N_DEVICE = 2 };
static Device *open_device(int which, int n_thread)
{
    Device *dev;

    if (which > 0)
        return box_device("cuda", n_thread);
    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

typedef struct Results {
    double gram[300], values[300], sigma[300], top[10];
    Box u, vt, q, r, top_u, top_vt;
} Results;

/* Every decomposition of the same [300, 520] matrix (qr: of its transpose's shape). */
static void decompose(Results *out, Device *dev, DType dtype)
{
    TestRandom r = {22};
    Box a = box_normal(dev, dtype, 300, 520, 0, &r, 1.0), tall = box_normal(dev, dtype, 520, 300, 0, &r, 1.0), used = box_new(dev, dtype, 300, 520, 0);

    *out = (Results){.u = box_new(dev, dtype, 300, 300, 0), .vt = box_new(dev, dtype, 300, 520, 0), .q = box_new(dev, dtype, 520, 300, 0),
                     .r = box_new(dev, dtype, 300, 300, 0), .top_u = box_new(dev, dtype, 300, 10, 0), .top_vt = box_new(dev, dtype, 10, 520, 0)};
    CHECK_OK(op_gram_values(dev, out->gram, a.t));
    CHECK_OK(op_svd_topk(dev, out->top_u.t, out->top, out->top_vt.t, a.t, &(TopkArgs){.k = 10, .oversample = 5, .power_iterations = 1, .seed = 3}));
    CHECK_OK(device_copy(dev, used.t, a.t));
    CHECK_OK(op_svd_values(dev, out->values, used.t));
    CHECK_OK(op_svd(dev, out->u.t, out->sigma, out->vt.t, a.t));
    CHECK_OK(op_qr(dev, out->q.t, out->r.t, tall.t));
    box_free(&a);
    box_free(&tall);
    box_free(&used);
}

static void free_results(Results *r)
{
    Box *const box[] = {&r->u, &r->vt, &r->q, &r->r, &r->top_u, &r->top_vt};

    for (size_t i = 0; i < sizeof box / sizeof *box; i++)
        box_free(box[i]);
}

static void test_linalg_does_not_depend_on_threads(void **state)
{
    (void)state;
    for (int which = 0; which < N_DEVICE; which++)
        for (int wide = 0; wide < 2; wide++) {
            Device *one = open_device(which, 1), *three;
            Results x, y;

            if (one == NULL)
                continue;
            three = open_device(which, 3);
            decompose(&x, one, wide ? LT_F64 : LT_F32);
            decompose(&y, three, wide ? LT_F64 : LT_F32);
            assert_memory_equal(x.gram, y.gram, sizeof x.gram);
            assert_memory_equal(x.values, y.values, sizeof x.values);
            assert_memory_equal(x.sigma, y.sigma, sizeof x.sigma);
            assert_memory_equal(x.top, y.top, sizeof x.top);
            check_same("u", &x.u, &y.u);
            check_same("vt", &x.vt, &y.vt);
            check_same("q", &x.q, &y.q);
            check_same("r", &x.r, &y.r);
            check_same("u of top k", &x.top_u, &y.top_u);
            check_same("vt of top k", &x.top_vt, &y.top_vt);
            free_results(&x);
            free_results(&y);
            device_close(one);
            device_close(three);
        }
}

static void check_near(const char *what, const double *got, const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        check_close(what, got[i], want[i], 1e-10 * fabs(want[0]), 0);
}

/* The same vectors but for their signs, which a library chooses. */
static void check_same_vectors(const char *what, Box *got, Box *want, bool columns)
{
    const int64_t cols = want->t.cols, count = columns ? cols : want->t.rows, length = columns ? want->t.rows : cols;

    box_get(got);
    box_get(want);
    for (int64_t i = 0; i < count; i++) {
        double dot = 0;

        for (int64_t p = 0; p < length; p++)
            dot += got->v[columns ? p * cols + i : i * cols + p] * want->v[columns ? p * cols + i : i * cols + p];
        check_close(what, fabs(dot), 1.0, 1e-10, 0);
    }
}

static void test_linalg_backends_agree(void **state)
{
    Device *cpu = open_device(0, 2), *other = open_device(1, 2);
    Results x, y;

    (void)state;
    if (other == NULL) {
        device_close(cpu);
        test_skip("LETHE_TEST_DEVICE names no other device");
    }
    decompose(&x, cpu, LT_F64);
    decompose(&y, other, LT_F64);
    check_near("gram_values", y.gram, x.gram, 300);
    check_near("svd_values", y.values, x.values, 300);
    check_near("svd", y.sigma, x.sigma, 300);
    check_near("svd_topk", y.top, x.top, 10);
    check_same_vectors("u", &y.u, &x.u, true);
    check_same_vectors("vt", &y.vt, &x.vt, false);
    check_same_vectors("u of top k", &y.top_u, &x.top_u, true);
    check_same_vectors("vt of top k", &y.top_vt, &x.top_vt, false);
    box_get(&x.r);
    box_get(&y.r);
    check_near("r", y.r.v, x.r.v, 300 * 300);
    check_same_vectors("q", &y.q, &x.q, true);
    free_results(&x);
    free_results(&y);
    device_close(cpu);
    device_close(other);
}

static void test_linalg_names_what_is_not_finite(void **state)
{
    TestRandom r = {23};

    (void)state;
    for (int which = 0; which < N_DEVICE; which++) {
        Device *dev = open_device(which, 2);
        double value[20];

        if (dev == NULL)
            continue;
        Box a = box_normal(dev, LT_F32, 30, 20, 3, &r, 1.0), u = box_new(dev, LT_F32, 30, 20, 0), vt = box_new(dev, LT_F32, 20, 20, 0);
        Box wide = box_normal(dev, LT_F64, 4, 4, 0, &r, 1e200);

        a.v[17 * 20 + 5] = INFINITY;
        a.v[17 * 20 + 6] = NAN;
        box_put(&a);
        CHECK_FAILS(op_gram_values(dev, value, a.t), LT_E_NUMERIC, "gram_values: a[17, 5] is inf");
        CHECK_FAILS(op_svd_values(dev, value, a.t), LT_E_NUMERIC, "svd_values: a[17, 5] is inf");
        CHECK_FAILS(op_svd(dev, u.t, value, vt.t, a.t), LT_E_NUMERIC, "svd: a[17, 5] is inf");
        CHECK_FAILS(op_qr(dev, u.t, vt.t, a.t), LT_E_NUMERIC, "qr: a[17, 5] is inf");
        CHECK_FAILS(op_svd_topk(dev, u.t, value, vt.t, a.t, &(TopkArgs){.k = 20}), LT_E_NUMERIC, "svd_topk: a[17, 5] is inf");
        CHECK_FAILS(op_gram_values(dev, value, wide.t), LT_E_NUMERIC, "more than an f64 can hold");
        CHECK_FAILS(op_svd_topk(dev, u.t, value, vt.t, a.t, &(TopkArgs){.k = 21}), LT_E_FAIL, "k is 21");
        box_free(&a);
        box_free(&u);
        box_free(&vt);
        box_free(&wide);
        device_close(dev);
    }
}

/* A backend that is right but for one element. */
static Status spoil_gram(Device *dev, double *lambda, Tensor a)
{
    TRY(backend_cpu.gram_values(dev, lambda, a));
    lambda[1] += 1e-9 * lambda[a.rows - 1];
    return LT_OK;
}

static Status spoil_values(Device *dev, double *sigma, Tensor a)
{
    TRY(backend_cpu.svd_values(dev, sigma, a));
    sigma[0] += 1e-9 * sigma[0];
    return LT_OK;
}

static Status spoil_u(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    TRY(backend_cpu.svd(dev, u, sigma, vt, a));
    ((double *)u.data)[u.stride] += 1e-9;
    return LT_OK;
}

/* The product stays as it is: only orthogonality tells. */
static Status stretch_q(Device *dev, Tensor q, Tensor r, Tensor a)
{
    TRY(backend_cpu.qr(dev, q, r, a));
    for (int64_t i = 0; i < q.rows; i++)
        ((double *)q.data)[i * q.stride] *= 1 + 0x1p-26;
    for (int64_t j = 0; j < r.cols; j++)
        ((double *)r.data)[j] /= 1 + 0x1p-26;
    return LT_OK;
}

static void test_linalg_notices_wrong_results(void **state)
{
    TestRandom r = {24};
    Backend wrong = backend_cpu;
    Device *dev;
    double value[30];

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    Box a = box_normal(dev, LT_F64, 30, 30, 0, &r, 1.0), u = box_new(dev, LT_F64, 30, 30, 0), vt = box_new(dev, LT_F64, 30, 30, 0);

    wrong.gram_values = spoil_gram;
    wrong.svd_values = spoil_values;
    wrong.svd = spoil_u;
    wrong.qr = stretch_q;
    dev->table = &wrong;
    CHECK_FAILS(op_gram_values(dev, value, a.t), LT_E_NUMERIC, "gram_values of [30, 30]: the values sum up to");
    CHECK_FAILS(op_svd(dev, u.t, value, vt.t, a.t), LT_E_NUMERIC, "svd of [30, 30]: the product of the factors is off by");
    box_put(&a);
    CHECK_FAILS(op_svd_values(dev, value, a.t), LT_E_NUMERIC, "svd_values of [30, 30]: the values have the norm");
    box_put(&a);
    CHECK_FAILS(op_qr(dev, u.t, vt.t, a.t), LT_E_NUMERIC, "qr of [30, 30]: orthogonality of q is off by");
    dev->table = &backend_cpu;
    box_free(&a);
    box_free(&u);
    box_free(&vt);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linalg_does_not_depend_on_threads),
        cmocka_unit_test(test_linalg_backends_agree),
        cmocka_unit_test(test_linalg_names_what_is_not_finite),
        cmocka_unit_test(test_linalg_notices_wrong_results),
    };

    return TEST_MAIN(tests);
}
