/* The same bits wherever a row lies, whatever its stride, alone or in company: ops on rows at addresses that fit whole vectors and at others. */
#include "kernels/ops.h"

#include "tests/check.h"
#include "tests/tensor_box.h"

#include <stdio.h>

enum { ROWS = 5 };

/* What an op works on: rows of `out` from rows of a and b, with what is the same for all rows. */
typedef struct RowCall {
    Device *dev;
    Tensor out, a, b;
    Tensor w, table, rstd, zero; /* w: dtype T; table, rstd: F32; zero: I32 [ROWS] */
    int64_t n, first_row;
} RowCall;

static Status run_rmsnorm(const RowCall *c) { return op_rmsnorm(c->dev, c->out, (Tensor){0}, c->a, c->w, 1e-5f); }

static Status run_rmsnorm_grad(const RowCall *c)
{
    const Tensor rstd = {c->rstd.data, LT_F32, c->a.rows, c->a.cols / c->n, c->rstd.stride};

    TRY(op_rmsnorm_grad(c->dev, c->out, (Tensor){0}, c->a, c->b, c->w, rstd, 0.0f));
    return op_rmsnorm_grad(c->dev, c->out, (Tensor){0}, c->a, c->b, c->w, rstd, 1.0f);
}

static Status run_rope(const RowCall *c)
{
    TRY(device_copy(c->dev, c->out, c->a));
    return op_rope(c->dev, c->out, c->table, c->table, tensor_cols(c->zero, 0, c->a.rows), 1);
}

static Status run_swiglu(const RowCall *c) { return op_swiglu(c->dev, c->out, c->a); }
static Status run_swiglu_grad(const RowCall *c) { return op_swiglu_grad(c->dev, c->out, c->b, c->a); }

static Status run_dropout(const RowCall *c)
{
    return op_dropout(c->dev, c->out, c->a, 0.4f, &(DropoutKey){.seed = 3, .step = 1, .first_row = c->first_row});
}

static Status run_axpy(const RowCall *c)
{
    TRY(device_copy(c->dev, c->out, c->a));
    TRY(op_axpy(c->dev, c->out, c->b, 0.7f));
    return op_scale(c->dev, c->out, -1.3f);
}

static Status run_sub(const RowCall *c) { return op_sub(c->dev, c->out, c->a, c->b); }

/* Columns of each tensor, as a multiple of the case's width. */
static const struct RowOp {
    const char *name;
    Status (*run)(const RowCall *call);
    int64_t out, a, b;
    bool is_gradient; /* has no F16 */
} OP[] = {
    {"rmsnorm", run_rmsnorm, 1, 1, 1, false},
    {"rmsnorm of three heads", run_rmsnorm, 3, 3, 1, false},
    {"rmsnorm_grad", run_rmsnorm_grad, 1, 1, 1, true},
    {"rmsnorm_grad of three heads", run_rmsnorm_grad, 3, 3, 3, true},
    {"rope", run_rope, 6, 6, 1, false},
    {"swiglu", run_swiglu, 1, 2, 1, false},
    {"swiglu_grad", run_swiglu_grad, 2, 2, 1, true},
    {"dropout", run_dropout, 1, 1, 1, true},
    {"axpy and scale", run_axpy, 1, 1, 1, false},
    {"sub", run_sub, 1, 1, 1, false},
};

/* A box whose first `shift` columns are in nobody's way: the rest begins at no multiple of 16 bytes unless shift is 0. */
static Box placed(Device *dev, Box *from, DType dtype, int64_t cols, int64_t shift, int64_t pad)
{
    Box b = box_new(dev, dtype, ROWS, shift + cols, pad);

    if (from != NULL)
        CHECK_OK(device_copy(dev, tensor_cols(b.t, shift, cols), from->t));
    return b;
}

static void check_equal(const char *name, int64_t n, Device *dev, Tensor got, Tensor want)
{
    Box x = box_new(dev, got.dtype, got.rows, got.cols, 0), y = box_new(dev, got.dtype, got.rows, got.cols, 0);
    char text[96];

    CHECK_OK(device_copy(dev, x.t, got));
    CHECK_OK(device_copy(dev, y.t, want));
    snprintf(text, sizeof text, "%s, width %lld", name, (long long)n);
    check_same(text, &x, &y);
    box_free(&x);
    box_free(&y);
}

/* `base` once more with the tensors moved by shift columns and another stride, and then row by row. */
static void check_moved(const struct RowOp *op, const RowCall *base, Box *a, Box *b, int64_t shift)
{
    const DType dtype = base->a.dtype;
    Box a2 = placed(base->dev, a, dtype, base->a.cols, shift, 1), b2 = placed(base->dev, b, dtype, base->b.cols, shift, 2);
    Box out = placed(base->dev, NULL, dtype, base->out.cols, shift, 3);
    RowCall all = *base, one;

    all.out = tensor_cols(out.t, shift, base->out.cols);
    all.a = tensor_cols(a2.t, shift, base->a.cols);
    all.b = tensor_cols(b2.t, shift, base->b.cols);
    CHECK_OK(op->run(&all));
    check_equal(op->name, base->n, base->dev, all.out, base->out);
    CHECK_OK(device_fill_zero(base->dev, all.out));
    for (int64_t row = 0; row < ROWS; row++) {
        one = all;
        one.out = tensor_rows(all.out, row, 1);
        one.a = tensor_rows(all.a, row, 1);
        one.b = tensor_rows(all.b, row, 1);
        one.rstd = tensor_rows(all.rstd, row, 1);
        one.first_row = row;
        CHECK_OK(op->run(&one));
    }
    check_equal(op->name, base->n, base->dev, all.out, base->out);
    box_free(&a2);
    box_free(&b2);
    box_free(&out);
}

static void check_width(Device *dev, const struct RowOp *op, DType dtype, int64_t n)
{
    TestRandom r = {(uint64_t)n};
    Box a = box_normal(dev, dtype, ROWS, op->a * n, -op->a * n & 7, &r, 1), b = box_normal(dev, dtype, ROWS, op->b * n, -op->b * n & 7, &r, 1);
    Box out = box_new(dev, dtype, ROWS, op->out * n, -op->out * n & 7), w = box_normal(dev, dtype, 1, n, 0, &r, 1);
    Box table = box_normal(dev, LT_F32, 1, n, 0, &r, 1), rstd = box_normal(dev, LT_F32, ROWS, 3, 0, &r, 1);
    Box zero = box_index(dev, (const int32_t[ROWS]){0}, ROWS);
    const RowCall base = {dev, out.t, a.t, b.t, w.t, table.t, rstd.t, zero.t, n, 0};

    CHECK_OK(op->run(&base));
    for (int64_t shift = 1; shift <= 4; shift += 3)
        check_moved(op, &base, &a, &b, shift);
    Box *all[] = {&a, &b, &out, &w, &table, &rstd, &zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static void test_rows_have_the_same_bits_everywhere(void **state)
{
    static const DType type[] = {LT_F32, LT_BF16, LT_F16};
    static const int64_t width[] = {1, 3, 4, 5, 7, 8, 9, 17, 29, 128, 133, 256, 261, 517, 1029, 2056};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (size_t o = 0; dev != NULL && o < sizeof OP / sizeof *OP; o++)
            for (int t = 0; t < (OP[o].is_gradient ? 2 : 3); t++)
                for (size_t w = 0; w < sizeof width / sizeof *width; w++)
                    if (OP[o].run != run_rope || width[w] <= 256) /* the CPU has no larger heads */
                        check_width(dev, &OP[o], type[t], width[w]);
        device_close(dev);
    }
}

/* ---- sums over rows ------------------------------------------------------------------------------------------------------- */

/* bias: with zeros behind it. What is added to a box's guard would be lost in a number as large as that. */
enum { BEHIND = 3 };
typedef struct Sums {
    Box bias, embed, square;
} Sums;

static Sums sums_of(Device *dev, Tensor dy)
{
    static const int32_t first[] = {0, 3, ROWS}, id[] = {1, 0}, order[] = {0, 2, 4, 1, 3};
    Sums s = {box_new(dev, LT_F32, 1, dy.cols + BEHIND, 0), box_new(dev, LT_F32, 2, dy.cols, 0), box_new(dev, LT_F64, 1, 1, 0)};
    Box ids = box_index(dev, id, 2), firsts = box_index(dev, first, 3), orders = box_index(dev, order, ROWS);

    CHECK_OK(device_fill_zero(dev, s.bias.t));
    CHECK_OK(device_fill_zero(dev, s.embed.t));
    CHECK_OK(device_fill_zero(dev, s.square.t));
    CHECK_OK(op_bias_grad(dev, tensor_cols(s.bias.t, 0, dy.cols), dy));
    CHECK_OK(op_embed_grad(dev, s.embed.t, dy, ids.t, firsts.t, orders.t));
    CHECK_OK(op_sumsq(dev, s.square.t, dy));
    box_free(&ids);
    box_free(&firsts);
    box_free(&orders);
    box_get(&s.bias);
    for (int64_t i = 0; i < BEHIND; i++)
        assert_true(s.bias.v[dy.cols + i] == 0);
    return s;
}

static void sums_free(Sums *s)
{
    box_free(&s->bias);
    box_free(&s->embed);
    box_free(&s->square);
}

static void check_sums(Device *dev, DType dtype, int64_t n)
{
    TestRandom r = {(uint64_t)n};
    Box dy = box_normal(dev, dtype, ROWS, n, 0, &r, 1);
    Sums want = sums_of(dev, dy.t);

    for (int64_t shift = 0; shift <= 4; shift += 2) {
        Box moved = placed(dev, &dy, dtype, n, shift, 8 - shift);
        Sums got = sums_of(dev, tensor_cols(moved.t, shift, n));

        check_same("bias_grad", &got.bias, &want.bias);
        check_same("embed_grad", &got.embed, &want.embed);
        check_same("sumsq", &got.square, &want.square);
        sums_free(&got);
        box_free(&moved);
    }
    sums_free(&want);
    box_free(&dy);
}

static void test_sums_have_the_same_bits_everywhere(void **state)
{
    static const int64_t width[] = {1, 3, 4, 5, 7, 8, 9, 17, 29, 819, 824, 4104};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (int t = 0; dev != NULL && t < 2; t++)
            for (size_t w = 0; w < sizeof width / sizeof *width; w++)
                check_sums(dev, t == 0 ? LT_F32 : LT_BF16, width[w]);
        device_close(dev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_have_the_same_bits_everywhere),
        cmocka_unit_test(test_sums_have_the_same_bits_everywhere),
    };

    return TEST_MAIN(tests);
}
