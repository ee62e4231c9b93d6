/* op_gemm: right to the rounding, and the same bits whatever travels along. Every test walks the CPU's instruction levels this machine has, and the
 * device that LETHE_TEST_DEVICE names. */
#include "tests/check.h"

#include "core/half.h"
#include "core/mem.h"
#include "tests/host_gemm.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 3 }; /* rows in front of and behind C, which nobody may touch */

/* The CPU's levels stand first. */
enum { N_LEVEL = N_BOX_LEVEL, N_CPU_LEVEL = N_BOX_LEVEL - 1 };

/* False: this machine does not go that far. */
static bool open_at(Device **dev, int level, int n_thread)
{
    *dev = box_device(BOX_LEVELS[level], n_thread);
    return *dev != NULL;
}

/* ---- right to the rounding -------------------------------------------------------------------------------------------------- */

static double unit_of(DType dtype) { return dtype == LT_F64 ? 0x1p-53 : dtype == LT_F32 ? 0x1p-24 : dtype == LT_BF16 ? 0x1p-8 : 0x1p-11; }

/* One rounding a product and a sum in k steps, each of at most the sum of all sizes; three more for alpha, c and bias; one on writing. */
static void check_element(const GemmArgs *g, Tensor before, int64_t i, int64_t j, int64_t k)
{
    const double unit = g->a.dtype == LT_F64 ? 0x1p-53 : 0x1p-24, alpha = g->alpha == 0.0f ? 1.0 : (double)g->alpha;
    double sum = 0.0, size = 0.0, want, bound;
    const double got = read_at(g->c, i, j);

    for (int64_t p = 0; p < k; p++) {
        const double x = g->op_a == GEMM_N ? read_at(g->a, i, p) : read_at(g->a, p, i);
        const double y = g->op_b == GEMM_N ? read_at(g->b, p, j) : read_at(g->b, j, p);

        sum += x * y;
        size += fabs(x * y);
    }
    want = alpha * sum;
    size *= fabs(alpha);
    bound = (double)(2 * k) * unit * size;
    if (g->beta != 0.0f) {
        want += read_at(before, i, j);
        size += fabs(read_at(before, i, j));
    }
    if (tensor_is_set(g->bias)) {
        want += read_at(g->bias, 0, j);
        size += fabs(read_at(g->bias, 0, j));
    }
    bound += 3.0 * unit * size + unit_of(g->c.dtype) * fabs(want);
    if (!(fabs(got - want) <= 1.01 * bound + 0x1p-25)) /* F16 below 2^-14 is spaced 2^-24 apart */
        fail_msg("c[%lld,%lld] is %.9g, expected %.9g within %.3g (k %lld, a %s, c %s, op %d %d, beta %g)", (long long)i, (long long)j, got, want,
                 bound, (long long)k, dtype_name(g->a.dtype), dtype_name(g->c.dtype), (int)g->op_a, (int)g->op_b, (double)g->beta);
}

/* All NaN, as it was made. */
static void check_guard(Tensor c)
{
    for (int64_t i = -GUARD; i < c.rows + GUARD; i++)
        for (int64_t j = 0; j < c.stride; j++)
            if ((i < 0 || i >= c.rows || j >= c.cols) && !isnan(read_at(c, i, j)))
                fail_msg("wrote outside of c[%lld,%lld] at [%lld,%lld]", (long long)c.rows, (long long)c.cols, (long long)i, (long long)j);
}

typedef struct Shape {
    int64_t m, n, k, pad;
} Shape;

/* variant: 0 plain on a C of NaN, 1 beta 1, 2 bias and alpha, 3 all of it. The class NARROW takes any form. */
static void check_product(Device *dev, GemmClass phase, Shape s, DType ab, DType c, GemmOp op_a, GemmOp op_b, int variant, TestRandom *r)
{
    GemmArgs g = {.op_a = op_a, .op_b = op_b, .alpha = variant >= 2 ? -0.75f : 0.0f, .beta = variant % 2 ? 1.0f : 0.0f, .phase = phase};
    Tensor before = make_tensor(c, s.m, s.n, s.pad, GUARD);

    g.a = make_operand(ab, op_a, s.m, s.k, s.pad, r);
    g.b = make_operand(ab, op_b, s.k, s.n, s.pad, r);
    g.c = make_tensor(c, s.m, s.n, s.pad, GUARD);
    if (variant >= 2)
        g.bias = make_operand(variant == 2 ? c : ab, GEMM_N, 1, s.n, 0, r);
    if (variant % 2) {
        fill(before, r);
        for (int64_t i = 0; i < s.m; i++)
            memcpy((char *)g.c.data + (size_t)(i * g.c.stride) * dtype_bytes(c), (char *)before.data + (size_t)(i * before.stride) * dtype_bytes(c),
                   (size_t)s.n * dtype_bytes(c));
    }
    CHECK_OK(host_gemm(dev, &g, GUARD));
    for (int64_t i = 0; i < s.m; i++)
        for (int64_t j = 0; j < s.n; j++)
            check_element(&g, before, i, j, s.k);
    check_guard(g.c);
    free_tensor(g.a, 0);
    free_tensor(g.b, 0);
    free_tensor(g.bias, 0);
    free_tensor(g.c, GUARD);
    free_tensor(before, GUARD);
}

static void test_gemm_is_right_for_all_dtypes_and_forms(void **state)
{
    static const Shape shape[] = {{1, 1, 1, 0},   {1, 64, 7, 0},   {3, 17, 33, 5},   {5, 130, 65, 1}, {16, 16, 128, 0},
                                  {2, 65, 2, 3}, {13, 32, 257, 0}, {65, 31, 300, 2}, {193, 70, 40, 0}, {257, 9, 24, 7}};
    static const DType type[][2] = {{LT_F32, LT_F32},  {LT_BF16, LT_BF16}, {LT_BF16, LT_F32}, {LT_F16, LT_F16},
                                    {LT_F16, LT_F32}, {LT_F64, LT_F64}};
    TestRandom r = {20};
    int variant = 0;

    (void)state;
    for (int level = 0; level < N_LEVEL; level++) {
        Device *dev;

        if (!open_at(&dev, level, 2))
            continue;
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            for (size_t t = 0; t < sizeof type / sizeof *type; t++)
                for (int form = 0; form < 8; form++)
                    check_product(dev, form & 4 ? GEMM_NARROW : GEMM_WIDE, shape[s], type[t][0], type[t][1], form & 1 ? GEMM_T : GEMM_N,
                                  form & 2 ? GEMM_T : GEMM_N, variant++ % 5 % 4, &r);
        device_close(dev);
    }
}

/* In each dimension around a tile of each kernel (8, 16, 32 and 64 rows, 16 and 32 columns, chunks of 32 in turns of 256), and a few tiles long, the
 * others a little over one. */
static void test_gemm_is_right_around_its_tiles(void **state)
{
    static const int64_t size[3][14] = {{7, 8, 9, 15, 16, 17, 29, 31, 32, 33, 63, 64, 65, 197}, {15, 16, 17, 31, 32, 33, 53, 101}, {31, 32, 33, 101, 255, 256, 257, 773}};
    TestRandom r = {21};

    (void)state;
    for (int level = 0; level < N_LEVEL; level++) {
        Device *dev;

        if (!open_at(&dev, level, 2))
            continue;
        for (int dimension = 0; dimension < 3; dimension++)
            for (int i = 0; i < 14 && size[dimension][i] > 0; i++)
                for (int variant = 0; variant < 4; variant++) {
                    int64_t s[3] = {9, 33, 65};

                    s[dimension] = size[dimension][i];
                    check_product(dev, GEMM_NARROW, (Shape){s[0], s[1], s[2], i % 2 ? 8 - s[2] % 8 : 3}, variant % 2 ? LT_BF16 : LT_F16,
                                  variant % 2 ? LT_BF16 : LT_F32, GEMM_N, GEMM_T, variant, &r);
                }
        device_close(dev);
    }
}

/* ---- the same bits ---------------------------------------------------------------------------------------------------------- */

typedef struct Form {
    const char *name;
    GemmOp op_a, op_b;
    float beta;
    GemmClass phase;
} Form;

static const Form FORM[] = {
    {"y = x W^T", GEMM_N, GEMM_T, 0.0f, GEMM_WIDE},
    {"dx = dy W", GEMM_N, GEMM_N, 0.0f, GEMM_WIDE},
    {"dW += dy^T x", GEMM_T, GEMM_N, 1.0f, GEMM_WIDE},
    {"y = x W^T, narrow", GEMM_N, GEMM_T, 0.0f, GEMM_NARROW},
};
enum { FORM_XW, FORM_DX, FORM_DW, FORM_NARROW, N_FORM };

static Tensor rows_of(Tensor a, GemmOp op, int64_t from, int64_t n) { return op == GEMM_N ? tensor_rows(a, from, n) : tensor_cols(a, from, n); }

/* C of rows [from, from + m) of a; with beta 1 it starts from ones. */
static void multiply_rows(Device *dev, const Form *form, Tensor c, Tensor a, Tensor b, int64_t from, int64_t m)
{
    const GemmArgs g = {.a = rows_of(a, form->op_a, from, m), .b = b, .c = tensor_rows(c, 0, m), .op_a = form->op_a, .op_b = form->op_b,
                        .beta = form->beta, .phase = form->phase};

    for (int64_t i = 0; i < m * c.stride; i++)
        write_at(c, 0, i, form->beta != 0.0f ? 1.0 : (double)NAN);
    CHECK_OK(host_gemm(dev, &g, 0));
}

static void check_rows(Device *dev, const Form *form, Tensor want, Tensor c, Tensor a, Tensor b, int64_t from, int64_t m)
{
    const size_t row = (size_t)c.cols * dtype_bytes(c.dtype);

    multiply_rows(dev, form, c, a, b, from, m);
    for (int64_t i = 0; i < m; i++)
        if (memcmp((char *)c.data + (size_t)i * row, (char *)want.data + (size_t)(from + i) * row, row) != 0)
            fail_msg("%s, %s, %s: row %lld of %lld differs from row %lld of %lld", device_class(dev), form->name, dtype_name(a.dtype), (long long)i,
                     (long long)m, (long long)(from + i), (long long)want.rows);
}

enum { ROWS_MAX = 300 };

typedef struct Operands {
    Tensor a, b, c, want;
} Operands;

static Operands make_operands(const Form *form, DType dtype, int64_t n, int64_t k)
{
    TestRandom r = {(uint64_t)(n * k) + (uint64_t)dtype};
    const DType out = form->beta != 0.0f ? LT_F32 : dtype;

    return (Operands){
        .a = make_operand(dtype, form->op_a, ROWS_MAX, k, 0, &r),
        .b = make_operand(dtype, form->op_b, k, n, 0, &r),
        .c = make_tensor(out, ROWS_MAX, n, 0, 0),
        .want = make_tensor(out, ROWS_MAX, n, 0, 0),
    };
}

static void free_operands(Operands *o)
{
    free_tensor(o->a, 0);
    free_tensor(o->b, 0);
    free_tensor(o->c, 0);
    free_tensor(o->want, 0);
}

/* Rows moved, added and removed: m = 1, 1 + step, ..., 300, each at another start. */
static void check_all_m(int level, const Form *form, DType dtype, int64_t n, int64_t k, int full_step)
{
    const int step = full_step * (getenv("LETHE_TEST_REDUCED") != NULL ? 13 : 1);
    Operands o = make_operands(form, dtype, n, k);
    Device *dev;

    if (open_at(&dev, level, 2)) {
        multiply_rows(dev, form, o.want, o.a, o.b, 0, ROWS_MAX);
        for (int64_t m = 1; m <= ROWS_MAX; m += step)
            check_rows(dev, form, o.want, o.c, o.a, o.b, m * 97 % (ROWS_MAX - m + 1), m);
        device_close(dev);
    }
    free_operands(&o);
}

static void test_gemm_rows_do_not_depend_on_m(void **state)
{
    (void)state;
    for (int level = 0; level < N_LEVEL; level++)
        for (int f = 0; f < N_FORM; f++) {
            const int step = level == 0 ? 23 : level == 1 ? 5 : 1;

            check_all_m(level, &FORM[f], LT_F32, 80, 300, step);
            check_all_m(level, &FORM[f], LT_BF16, 80, 300, step);
            check_all_m(level, &FORM[f], LT_F16, 33, 61, 29);
        }
}

/* Long sums are where a library changes its blocks; n of a LoRA factor; k of one. */
static void test_gemm_rows_do_not_depend_on_m_in_long_sums(void **state)
{
    (void)state;
    for (int level = 1; level < N_LEVEL; level++)
        for (int f = 0; f < N_FORM; f++)
            for (int d = LT_F32; d <= LT_BF16; d++) {
                check_all_m(level, &FORM[f], (DType)d, 64, 4099, 31);
                check_all_m(level, &FORM[f], (DType)d, 16, 1408, 17);
                check_all_m(level, &FORM[f], (DType)d, 192, 16, 17);
            }
}

static void test_gemm_does_not_depend_on_threads(void **state)
{
    (void)state;
    for (int level = 0; level < N_LEVEL; level++)
        for (int f = 0; f < N_FORM; f++)
            for (int d = LT_F32; d <= LT_F16; d++) {
                Operands o = make_operands(&FORM[f], (DType)d, 200, 270);

                for (int n_thread = 1; n_thread <= 4; n_thread *= 2) {
                    Device *dev;

                    if (!open_at(&dev, level, n_thread))
                        continue;
                    if (n_thread == 1)
                        multiply_rows(dev, &FORM[f], o.want, o.a, o.b, 0, ROWS_MAX);
                    check_rows(dev, &FORM[f], o.want, o.c, o.a, o.b, 0, ROWS_MAX);
                    check_rows(dev, &FORM[f], o.want, o.c, o.a, o.b, 11, 21);
                    device_close(dev);
                }
                free_operands(&o);
            }
}

/* A neighbour full of NaN and infinity is somebody else's trouble. */
static void check_no_mixing(int level, const Form *form, DType dtype)
{
    Operands o = make_operands(form, dtype, 70, 45);
    Device *dev;

    if (open_at(&dev, level, 2)) {
        multiply_rows(dev, form, o.want, o.a, o.b, 0, ROWS_MAX);
        for (int64_t i = 0; i < ROWS_MAX; i++)
            for (int64_t p = 0; p < o.a.cols && i % 7 != 3; p++)
                write_at(o.a, i, p, i % 2 ? (double)NAN : (double)INFINITY);
        multiply_rows(dev, form, o.c, o.a, o.b, 0, ROWS_MAX);
        for (int64_t i = 0; i < ROWS_MAX; i++)
            for (int64_t j = 0; j < o.c.cols; j++)
                if (i % 7 == 3 ? read_at(o.c, i, j) != read_at(o.want, i, j) : isfinite(read_at(o.c, i, j)))
                    fail_msg("%s, %s: c[%lld,%lld] is %g", device_class(dev), form->name, (long long)i, (long long)j, read_at(o.c, i, j));
        device_close(dev);
    }
    free_operands(&o);
}

static void test_gemm_does_not_mix_rows(void **state)
{
    (void)state;
    for (int level = 0; level < N_LEVEL; level++)
        for (int d = LT_F32; d <= LT_F16; d++) {
            check_no_mixing(level, &FORM[FORM_XW], (DType)d);
            check_no_mixing(level, &FORM[FORM_NARROW], (DType)d);
        }
}

/* Weights in the backend's own layout give the bits of the weights as they lie. False: there is no such layout. */
static bool check_packed(Device *dev, DType dtype, int64_t n, int64_t k)
{
    Operands o = make_operands(&FORM[FORM_NARROW], dtype, n, k);
    const size_t bytes = op_gemm_pack_bytes(dev, o.b, GEMM_NARROW);
    Tensor packed = make_tensor(LT_F32, 1, (int64_t)(bytes / sizeof(float)), 0, 0);

    if (bytes > 0)
        CHECK_OK(op_gemm_pack(dev, packed, o.b, GEMM_NARROW));
    for (int64_t m = 1; m <= 130 && bytes > 0; m += m < 20 ? 1 : 37) {
        const GemmArgs plain = {.a = tensor_rows(o.a, 0, m), .b = o.b, .c = tensor_rows(o.want, 0, m), .op_b = GEMM_T, .phase = GEMM_NARROW};
        GemmArgs g = plain;

        g.c = tensor_rows(o.c, 0, m);
        g.packed = packed;
        CHECK_OK(op_gemm(dev, &plain));
        CHECK_OK(op_gemm(dev, &g));
        if (memcmp(o.c.data, o.want.data, (size_t)(m * n) * dtype_bytes(dtype)) != 0)
            fail_msg("%s: %lld rows times packed %s [%lld,%lld] differ", device_class(dev), (long long)m, dtype_name(dtype), (long long)n, (long long)k);
    }
    free_tensor(packed, 0);
    free_operands(&o);
    return bytes > 0;
}

static void test_gemm_packed_weights_give_the_same_bits(void **state)
{
    static const int64_t size[][2] = {{16, 32}, {80, 300}, {33, 61}, {1, 1}, {64, 17}, {200, 768}};
    bool any = false;

    (void)state;
    for (int level = 0; level < N_LEVEL; level++)
        for (size_t i = 0; i < sizeof size / sizeof *size; i++)
            for (int d = LT_F32; d <= LT_F16; d++) {
                Device *dev;

                if (!open_at(&dev, level, 2))
                    continue;
                any |= check_packed(dev, (DType)d, size[i][0], size[i][1]);
                assert_int_equal(op_gemm_pack_bytes(dev, tensor_of(&any, (DType)d, 16, 16), GEMM_WIDE), 0);
                device_close(dev);
            }
    if (!any)
        test_skip("no level here packs weights");
}

/* Our kernels with FMA promise one chain per element. It is what makes blocks of k free to change. */
static void test_gemm_f32_is_one_fused_chain(void **state)
{
    Operands o = make_operands(&FORM[0], LT_F32, 37, 700);
    Device *dev;

    (void)state;
    if (!open_at(&dev, 1, 2)) {
        free_operands(&o);
        test_skip("no AVX2 here");
    }
    multiply_rows(dev, &FORM[0], o.c, o.a, o.b, 0, 20);
    for (int64_t i = 0; i < 20; i++)
        for (int64_t j = 0; j < 37; j++) {
            float sum = 0.0f;

            for (int64_t p = 0; p < 700; p++)
                sum = fmaf((float)read_at(o.a, i, p), (float)read_at(o.b, j, p), sum);
            assert_true((double)sum == read_at(o.c, i, j));
        }
    device_close(dev);
    free_operands(&o);
}

/* More sizes than there are plans kept: the old ones make room, and come back with the same bits. */
static void test_gemm_of_many_sizes(void **state)
{
    Operands o = make_operands(&FORM[0], LT_F32, 3, 700);
    Device *dev;
    int64_t held = 0;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    for (int round = 0; round < 2; round++) {
        for (int64_t k = 700; k > 0; k--) {
            const Tensor c = round == 0 ? o.want : o.c;
            const GemmArgs g = {.a = tensor_cols(tensor_rows(o.a, 0, 2), 0, k), .b = tensor_cols(o.b, 0, k), .op_b = GEMM_T,
                                .c = tensor_of((float *)c.data + k, LT_F32, 2, 3)};

            CHECK_OK(op_gemm(dev, &g));
        }
        assert_true(round == 0 || mem_held() == held);
        held = mem_held();
    }
    assert_memory_equal(o.c.data, o.want.data, 706 * sizeof(float)); /* k elements in, 2 x 3 each */
    device_close(dev);
    free_operands(&o);
}

/* Wherever memory runs out, the call says so and the next one works. False: it did not run out. */
static bool check_lack_of_memory(Device *dev, const Form *form, uint64_t n)
{
    Operands o = make_operands(form, LT_BF16, 70, 40);
    const GemmArgs g = {.a = o.a, .b = o.b, .c = o.c, .op_a = form->op_a, .op_b = form->op_b, .phase = form->phase};
    Status st;

    mem_fail_at(n);
    st = op_gemm(dev, &g);
    mem_fail_at(0);
    if (st != LT_OK) {
        CHECK_FAILS(st, LT_E_NOMEM, "out of memory");
        CHECK_OK(op_gemm(dev, &g));
    }
    free_operands(&o);
    return st != LT_OK;
}

static void test_gemm_survives_lack_of_memory(void **state)
{
    (void)state;
    for (int level = 0; level < N_CPU_LEVEL; level++)
        for (int f = FORM_DW; f <= FORM_NARROW; f++) {
            Device *dev;

            for (uint64_t n = 1; open_at(&dev, level, 2); n++) {
                const bool ran_out = check_lack_of_memory(dev, &FORM[f], n);

                device_close(dev);
                assert_true(ran_out || n > 1);
                if (!ran_out)
                    break;
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_is_right_for_all_dtypes_and_forms),
        cmocka_unit_test(test_gemm_is_right_around_its_tiles),
        cmocka_unit_test(test_gemm_rows_do_not_depend_on_m),
        cmocka_unit_test(test_gemm_rows_do_not_depend_on_m_in_long_sums),
        cmocka_unit_test(test_gemm_does_not_depend_on_threads),
        cmocka_unit_test(test_gemm_does_not_mix_rows),
        cmocka_unit_test(test_gemm_packed_weights_give_the_same_bits),
        cmocka_unit_test(test_gemm_f32_is_one_fused_chain),
        cmocka_unit_test(test_gemm_of_many_sizes),
        cmocka_unit_test(test_gemm_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
