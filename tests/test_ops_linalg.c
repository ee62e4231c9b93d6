/* The decompositions on matrices whose singular values are known by construction, at shapes that lie across the edges of a tile. */
#include "tests/tensor_box.h"

#include "core/mem.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* What README_tok.md of the golden data grants: of the largest value, of its square for the Gram matrix. */
#define SVD_F64 1e-12
#define GRAM_F64 1e-11
#define SVD_F32 2e-5

enum { MOST = 800 };

typedef enum Kind { DECAYING, DEFICIENT, EQUAL, ZERO, KINDS } Kind;

typedef struct Shape {
    int64_t m, n;
} Shape;

/* Around the CPU's tile of 256 and CUDA's of 32, and what is degenerate. */
static const Shape SHAPE[] = {{1, 1},   {1, 37},   {37, 1},   {5, 3},     {3, 5},     {31, 32},  {33, 101},  {101, 33},
                              {64, 64}, {255, 40}, {256, 256}, {257, 270}, {90, 513}, {600, 257}};
enum { N_SHAPE = sizeof SHAPE / sizeof *SHAPE };

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

static double known_value(Kind kind, int64_t i, int64_t q)
{
    switch (kind) {
    case DECAYING: return 3.0 * exp2(-(double)i / 4.0);
    case DEFICIENT: return i < 9 && i < (q + 2) / 3 ? 2.0 + (double)(q - i) : 0.0;
    case EQUAL: return 0.75;
    default: return 0.0;
    }
}

/* v -= 2 h (hT v) for every row (column) of a: a reflection from the right (left). */
static void reflect(double *a, Shape s, bool right, TestRandom *r)
{
    const int64_t length = right ? s.n : s.m, count = right ? s.m : s.n, step = right ? 1 : s.n, apart = right ? s.n : 1;
    double h[MOST], norm = 0;

    for (int64_t i = 0; i < length; i++) {
        h[i] = test_normal(r);
        norm += h[i] * h[i];
    }
    for (int64_t v = 0; v < count; v++) {
        double dot = 0;

        for (int64_t i = 0; i < length; i++)
            dot += h[i] * a[v * apart + i * step];
        for (int64_t i = 0; i < length; i++)
            a[v * apart + i * step] -= 2.0 * dot / norm * h[i];
    }
}

/* Orthogonal factors of three reflections a side around a diagonal. */
static Box known_matrix(Device *dev, DType dtype, Shape s, int64_t pad, Kind kind, TestRandom *r)
{
    const int64_t q = s.m < s.n ? s.m : s.n;
    Box a = box_new(dev, dtype, s.m, s.n, pad);

    memset(a.v, 0, (size_t)(s.m * s.n) * sizeof *a.v);
    for (int64_t i = 0; i < q; i++)
        a.v[i * s.n + i] = known_value(kind, i, q);
    for (int i = 0; i < 3; i++) {
        reflect(a.v, s, true, r);
        reflect(a.v, s, false, r);
    }
    box_put(&a);
    return a;
}

static double squares(const Box *a)
{
    double sum = 0;

    for (int64_t i = 0; i < a->t.rows * a->t.cols; i++)
        sum += a->v[i] * a->v[i];
    return sum;
}

/* Rounding a to F32 moves a singular value by no more than the norm of what it changed. */
static double tolerance(const Box *a, double f32, double f64)
{
    return a->t.dtype == LT_F64 ? f64 : f32 + 0x1p-24 * sqrt(squares(a));
}

static void check_known(const char *what, const double *got, const Box *a, Kind kind, double power, double tol)
{
    const int64_t q = a->t.rows < a->t.cols ? a->t.rows : a->t.cols;

    for (int64_t i = 0; i < q; i++) {
        const double want = pow(known_value(kind, i, q), power);

        if (!(fabs(got[i] - want) <= tol) || !(got[i] >= 0) || (i > 0 && got[i] > got[i - 1]))
            fail_msg("%s of a %s [%lld, %lld], kind %d: value %lld is %.17g, expected %.17g within %.3g, descending", what, dtype_name(a->t.dtype),
                     (long long)a->t.rows, (long long)a->t.cols, (int)kind, (long long)i, got[i], want, tol);
    }
}

static void check_values(Device *dev, DType dtype, Shape s, Kind kind, TestRandom *r)
{
    Box a = known_matrix(dev, dtype, s, 3, kind, r), before = box_new(dev, dtype, s.m, s.n, 0);
    const double top = known_value(kind, 0, s.m < s.n ? s.m : s.n);
    double value[MOST];

    CHECK_OK(device_copy(dev, before.t, a.t));
    CHECK_OK(op_gram_values(dev, value, a.t));
    check_same("a after gram_values", &a, &before);
    check_known("gram_values", value, &a, kind, 2.0, 2 * top * tolerance(&a, 0, GRAM_F64 * top / 2));
    CHECK_OK(op_svd_values(dev, value, a.t));
    check_known("svd_values", value, &a, kind, 1.0, tolerance(&a, SVD_F32 * top, SVD_F64 * top));
    box_free(&a);
    box_free(&before);
}

/* sum over p of left[i, p] scale[p] right[p, j], and left and right orthonormal where asked. */
static void check_factors(const char *what, const Box *a, const Box *left, const double *scale, const Box *right)
{
    const int64_t m = a->t.rows, n = a->t.cols, r = left->t.cols;
    double *product = mem_take((size_t)(m * n), sizeof *product), error = 0;
    const double eps = a->t.dtype == LT_F64 ? DBL_EPSILON : (double)FLT_EPSILON, bound = eps * (double)(10 + (m > n ? m : n)) * sqrt(squares(a));

    assert_non_null(product);
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < r; p++) {
            const double x = left->v[i * r + p] * (scale != NULL ? scale[p] : 1.0);

            for (int64_t j = 0; j < n; j++)
                product[i * n + j] += x * right->v[p * n + j];
        }
    for (int64_t i = 0; i < m * n; i++)
        error += (product[i] - a->v[i]) * (product[i] - a->v[i]);
    if (!(sqrt(error) <= bound))
        fail_msg("%s of [%lld, %lld]: the factors are off by %.3g, expected at most %.3g", what, (long long)m, (long long)n, sqrt(error), bound);
    mem_free(product);
}

/* Vectors of t, of `length` elements `step` apart, `apart` from one to the next. */
static void check_orthonormal(const char *what, const Box *t, bool columns)
{
    const int64_t count = columns ? t->t.cols : t->t.rows, length = columns ? t->t.rows : t->t.cols;
    const int64_t step = columns ? t->t.cols : 1, apart = columns ? 1 : t->t.cols;
    const double bound = (t->t.dtype == LT_F64 ? DBL_EPSILON : (double)FLT_EPSILON) * (double)(10 + length);

    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j <= i; j++) {
            double dot = i == j ? -1.0 : 0.0;

            for (int64_t p = 0; p < length; p++)
                dot += t->v[i * apart + p * step] * t->v[j * apart + p * step];
            if (!(fabs(dot) <= bound))
                fail_msg("%s [%lld, %lld]: vectors %lld and %lld are off by %.3g, expected at most %.3g", what, (long long)t->t.rows,
                         (long long)t->t.cols, (long long)i, (long long)j, dot, bound);
        }
}

static void check_svd(Device *dev, DType dtype, Shape s, Kind kind, TestRandom *r)
{
    const int64_t q = s.m < s.n ? s.m : s.n;
    const double top = known_value(kind, 0, q);
    Box a = known_matrix(dev, dtype, s, 2, kind, r), u = box_new(dev, dtype, s.m, q, 1), vt = box_new(dev, dtype, q, s.n, 5);
    double sigma[MOST];

    CHECK_OK(op_svd(dev, u.t, sigma, vt.t, a.t));
    check_known("svd", sigma, &a, kind, 1.0, tolerance(&a, SVD_F32 * top, SVD_F64 * top));
    box_get(&u);
    box_get(&vt);
    check_factors("svd", &a, &u, sigma, &vt);
    check_orthonormal("u", &u, true);
    check_orthonormal("vt", &vt, false);
    box_free(&a);
    box_free(&u);
    box_free(&vt);
}

static void check_qr(Device *dev, DType dtype, Shape s, Kind kind, TestRandom *r)
{
    const Shape tall = s.m >= s.n ? s : (Shape){s.n, s.m};
    Box a = known_matrix(dev, dtype, tall, 4, kind, r), q = box_new(dev, dtype, tall.m, tall.n, 1), triangle = box_new(dev, dtype, tall.n, tall.n, 2);
    Box other = box_new(dev, dtype, tall.n, tall.n, 0), in_place = box_new(dev, dtype, tall.m, tall.n, 0);

    CHECK_OK(device_copy(dev, in_place.t, a.t));
    CHECK_OK(op_qr(dev, q.t, triangle.t, a.t));
    box_get(&q);
    box_get(&triangle);
    check_factors("qr", &a, &q, NULL, &triangle);
    check_orthonormal("q", &q, true);
    for (int64_t i = 0; i < tall.n; i++) {
        assert_true(triangle.v[i * tall.n + i] >= 0);
        for (int64_t j = 0; j < i; j++)
            assert_true(triangle.v[i * tall.n + j] == 0);
    }
    CHECK_OK(op_qr(dev, in_place.t, other.t, in_place.t));
    check_same("q in place", &in_place, &q);
    check_same("r in place", &other, &triangle);
    box_free(&a);
    box_free(&q);
    box_free(&triangle);
    box_free(&other);
    box_free(&in_place);
}

typedef void Check(Device *dev, DType dtype, Shape s, Kind kind, TestRandom *r);

/* On every device, in both dtypes, at every shape, with every spectrum. */
static void run_everywhere(Check *check)
{
    TestRandom r = {20};

    for (int which = 0; which < N_DEVICE; which++) {
        Device *dev = open_device(which, 2);

        if (dev == NULL)
            continue;
        for (int i = 0; i < N_SHAPE; i++)
            for (Kind kind = 0; kind < KINDS; kind++) {
                check(dev, LT_F64, SHAPE[i], kind, &r);
                check(dev, LT_F32, SHAPE[i], kind, &r);
            }
        device_close(dev);
    }
}

static void test_linalg_values_of_known_matrices(void **state)
{
    (void)state;
    run_everywhere(check_values);
}

/* Every way in which a matrix may end inside a panel of the CPU's reduction (48 columns), or be all of one; at every instruction level, since the second stage
 * has code for each. */
static void test_linalg_gram_values_at_every_size(void **state)
{
    TestRandom r = {25};
    double value[MOST];

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 3);

        if (dev == NULL)
            continue;
        for (int64_t n = 1; n <= 150; n += n < 4 || n % 48 > 44 || n % 48 < 3 ? 1 : 7) {
            Box a = known_matrix(dev, LT_F64, (Shape){n, n}, 0, DECAYING, &r);

            CHECK_OK(op_gram_values(dev, value, a.t));
            check_known("gram_values", value, &a, DECAYING, 2.0, GRAM_F64 * 9.0);
            box_free(&a);
        }
        device_close(dev);
    }
}

/* Squares of 2^+-490 lie just inside the range of F64, and products of two of them do not. */
static void test_linalg_gram_values_at_the_ends_of_the_range(void **state)
{
    TestRandom r = {26};
    double value[MOST];

    (void)state;
    for (int which = 0; which < N_DEVICE; which++) {
        Device *dev = open_device(which, 2);

        for (int exponent = -490; dev != NULL && exponent <= 490; exponent += 980) {
            Box a = known_matrix(dev, LT_F64, (Shape){120, 130}, 0, DECAYING, &r);

            for (int64_t i = 0; i < 120 * 130; i++)
                a.v[i] = ldexp(a.v[i], exponent);
            box_put(&a);
            CHECK_OK(op_gram_values(dev, value, a.t));
            for (int64_t i = 0; i < 120; i++)
                value[i] = ldexp(value[i], -2 * exponent);
            check_known("gram_values", value, &a, DECAYING, 2.0, GRAM_F64 * 9.0);
            box_free(&a);
        }
        if (dev != NULL)
            device_close(dev);
    }
}

static void test_linalg_svd_of_known_matrices(void **state)
{
    (void)state;
    run_everywhere(check_svd);
}

static void test_linalg_qr_of_known_matrices(void **state)
{
    (void)state;
    run_everywhere(check_qr);
}

/* ---- randomised top k --------------------------------------------------------------------------------------------------- */

static void check_topk(Device *dev, DType dtype, Shape s, Kind kind, TestRandom *r)
{
    const int64_t q = s.m < s.n ? s.m : s.n;
    const int32_t k = (int32_t)(q < 12 ? (q + 1) / 2 : 12);
    const double top = known_value(kind, 0, q);
    const TopkArgs args = {.k = k, .oversample = 8, .power_iterations = 4, .seed = 7};
    Box a = known_matrix(dev, dtype, s, 2, kind, r), u = box_new(dev, dtype, s.m, k, 1), vt = box_new(dev, dtype, k, s.n, 5);
    Box before = box_new(dev, dtype, s.m, s.n, 0);
    double sigma[MOST];

    CHECK_OK(device_copy(dev, before.t, a.t));
    CHECK_OK(op_svd_topk(dev, u.t, sigma, vt.t, a.t, &args));
    check_same("a after svd_topk", &a, &before);
    /* By the factor 1 - c^2 / 2 (sigma_{k+oversample+1} / sigma_i)^(4 power + 2) a value may fall short (Gu 2015, theorem 4.3; c about 150 at the largest
     * shape): 2^-40 c^2 for DECAYING. DEFICIENT has fewer values than l, the others have equal ones. */
    for (int32_t i = 0; i < k; i++) {
        const double want = known_value(kind, i, q), loose = kind == DECAYING ? 1e-8 * want : 0;
        const double tol = tolerance(&a, SVD_F32 * top, SVD_F64 * top);

        if (!(sigma[i] <= want + tol) || !(sigma[i] >= want - loose - tol))
            fail_msg("svd_topk of a %s [%lld, %lld], kind %d: value %d is %.17g, expected %.17g", dtype_name(dtype), (long long)s.m, (long long)s.n,
                     (int)kind, i, sigma[i], want);
    }
    box_get(&u);
    box_get(&vt);
    check_orthonormal("u", &u, true);
    check_orthonormal("vt", &vt, false);
    box_free(&a);
    box_free(&u);
    box_free(&vt);
    box_free(&before);
}

static void test_linalg_topk_of_known_matrices(void **state)
{
    (void)state;
    run_everywhere(check_topk);
}

/* Of rank 9, asked for 9: exact, whatever the seed; and another seed draws other numbers where it cannot be exact. */
static void test_linalg_topk_is_exact_at_low_rank_and_follows_its_seed(void **state)
{
    TestRandom r = {21};
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 2));
    Box left = box_normal(dev, LT_F64, 80, 9, 0, &r, 1.0), right = box_normal(dev, LT_F64, 9, 110, 0, &r, 1.0), a = box_new(dev, LT_F64, 80, 110, 0);
    Box u = box_new(dev, LT_F64, 80, 9, 0), vt = box_new(dev, LT_F64, 9, 110, 0), noise = box_normal(dev, LT_F64, 80, 110, 0, &r, 1.0);
    double first[9], second[9];

    CHECK_OK(op_gemm(dev, &(GemmArgs){.c = a.t, .a = left.t, .b = right.t}));
    box_get(&a);
    CHECK_OK(op_svd_topk(dev, u.t, first, vt.t, a.t, &(TopkArgs){.k = 9, .seed = 1}));
    box_get(&u);
    box_get(&vt);
    check_factors("svd_topk", &a, &u, first, &vt);
    CHECK_OK(op_svd_topk(dev, u.t, first, vt.t, noise.t, &(TopkArgs){.k = 9, .seed = 1}));
    CHECK_OK(op_svd_topk(dev, u.t, second, vt.t, noise.t, &(TopkArgs){.k = 9, .seed = 1}));
    assert_memory_equal(first, second, sizeof first);
    CHECK_OK(op_svd_topk(dev, u.t, second, vt.t, noise.t, &(TopkArgs){.k = 9, .seed = (uint64_t)1 << 32 | 1}));
    assert_memory_not_equal(first, second, sizeof first);
    box_free(&left);
    box_free(&right);
    box_free(&a);
    box_free(&u);
    box_free(&vt);
    box_free(&noise);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linalg_values_of_known_matrices),
        cmocka_unit_test(test_linalg_gram_values_at_every_size),
        cmocka_unit_test(test_linalg_gram_values_at_the_ends_of_the_range),
        cmocka_unit_test(test_linalg_svd_of_known_matrices),
        cmocka_unit_test(test_linalg_qr_of_known_matrices),
        cmocka_unit_test(test_linalg_topk_of_known_matrices),
        cmocka_unit_test(test_linalg_topk_is_exact_at_low_rank_and_follows_its_seed),
    };

    return TEST_MAIN(tests);
}
