/* Gradient of attention, and attention's dropout: right for all dtypes, head sizes, groups and windows, zero where no segment is, and the same
 * bits however sequences are packed and on any number of threads. The reference is held against differences of the forward one. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "tests/check.h"
#include "tests/ref_grad.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct Shape {
    int32_t n_head, n_kv_head, size, window;
    float dropout;
} Shape;

/* Lengths around the tiles of both backends (32 and 64 rows), nothing and a single row; rows 6 to 12 and the last three are in no segment. */
static const AttnSegment MIXED[] = {{0, 5, 0, 0, 0},         {5, 0, 5, 0, 5},         {5, 1, 5, 0, 5},         {13, 63, 13, 0, 13},
                                    {76, 64, 76, 0, 76},     {140, 65, 140, 0, 140}, {205, 197, 205, 0, 205}, {402, 31, 402, 0, 402},
                                    {433, 33, 433, 0, 433}, {466, 32, 466, 0, 466}, {498, 101, 498, 0, 498}};
enum { N_MIXED = sizeof MIXED / sizeof *MIXED, MIXED_ROWS = 602 };

static const DropoutKey KEY = {.seed = 0x123456789abcdef0, .step = 7, .layer = 3, .site = 1, .first_row = 0x1fffffff0};

/* ---- the reference against differences ------------------------------------------------------------------------------------- */

enum { HEADS = 4, KV = 2, SIZE = 6, ROWS = 9, Q = ROWS * HEADS * SIZE, K = ROWS * KV * SIZE };

/* q, k, v one behind the other. */
static double loss_of(const double x[Q + 2 * K], const double *d_o, double *o, double *lse)
{
    static const AttnSegment seg[] = {{0, 3, 0, 0, 0}, {4, 5, 4, 0, 4}};
    const RefAttnDrop drop = {{o, lse, x, x + Q, x + Q + K, seg, 2, HEADS, KV, SIZE, 3, 0.7}, 0.25, KEY};
    double sum = 0;

    memset(o, 0, Q * sizeof *o);
    ref_attn_drop(&drop);
    for (int i = 0; i < Q; i++)
        sum += o[i] * d_o[i];
    return sum;
}

static void test_attn_grad_reference_matches_differences(void **state)
{
    static const AttnSegment seg[] = {{0, 3, 0, 0, 0}, {4, 5, 4, 0, 4}};
    double x[Q + 2 * K], grad[Q + 2 * K] = {0}, d_o[Q], o[Q], lse[ROWS * HEADS];
    TestRandom r = {3};

    (void)state;
    for (int i = 0; i < Q + 2 * K; i++)
        x[i] = test_normal(&r);
    for (int i = 0; i < Q; i++)
        d_o[i] = test_normal(&r);
    loss_of(x, d_o, o, lse);
    ref_attn_grad(&(RefAttnGrad){{{o, lse, x, x + Q, x + Q + K, seg, 2, HEADS, KV, SIZE, 3, 0.7}, 0.25, KEY}, grad, grad + Q, grad + Q + K, d_o});
    for (int i = 0; i < Q + 2 * K; i++) {
        double o2[Q], lse2[ROWS * HEADS], at = x[i], up, down;

        x[i] = at + 1e-5;
        up = loss_of(x, d_o, o2, lse2);
        x[i] = at - 1e-5;
        down = loss_of(x, d_o, o2, lse2);
        x[i] = at;
        check_close("gradient and difference quotient", grad[i], (up - down) / 2e-5, 1e-8, 1e-8); /* central: error near 1e-10 */
    }
}

/* ---- the op against the reference ------------------------------------------------------------------------------------------ */

typedef struct Call {
    Box q, k, v, o, lse, d_o, dq, dk, dv, seg;
    AttnGradArgs args;
} Call;

static Box segment_box(Device *dev, const AttnSegment *seg, int32_t n_seg)
{
    Box b = box_new(dev, LT_I32, n_seg, 5, 0);

    for (int32_t s = 0; s < n_seg; s++) {
        const int32_t field[5] = {seg[s].q_begin, seg[s].q_len, seg[s].ctx_begin, seg[s].ctx_len, seg[s].own_begin};

        for (int i = 0; i < 5; i++)
            b.v[5 * s + i] = field[i];
    }
    box_put(&b);
    return b;
}

static RefAttnDrop ref_of(const Call *c)
{
    const AttnArgs *a = &c->args.fwd;

    return (RefAttnDrop){{c->o.v, c->lse.v, c->q.v, c->k.v, c->v.v, a->seg, a->n_seg, a->n_head, a->n_kv_head, a->head_size, a->window, (double)a->scale},
                         (double)a->dropout, a->key};
}

static bool is_in_segment(const AttnArgs *a, int64_t row)
{
    bool in = false;

    for (int32_t s = 0; s < a->n_seg; s++)
        in = in || (row >= a->seg[s].q_begin && row < a->seg[s].q_begin + a->seg[s].q_len);
    return in;
}

/* o and lse are the reference's, as the dtypes hold them; rows of no segment are NaN everywhere. */
static Call call_new(Device *dev, DType dtype, Shape s, const AttnSegment *seg, int32_t n_seg, int64_t rows, int pad)
{
    const int64_t q_cols = s.n_head * s.size, k_cols = s.n_kv_head * s.size;
    TestRandom r = {17};
    Call c = {.q = box_new(dev, dtype, rows, q_cols, pad), .k = box_new(dev, dtype, rows + 1, k_cols, 2 * pad),
              .v = box_new(dev, dtype, rows + 1, k_cols, 0), .o = box_new(dev, dtype, rows, q_cols, 0), .lse = box_new(dev, LT_F32, rows, s.n_head, pad),
              .d_o = box_new(dev, dtype, rows, q_cols, pad), .dq = box_new(dev, dtype, rows, q_cols, pad),
              .dk = box_new(dev, dtype, rows + 1, k_cols, pad), .dv = box_new(dev, dtype, rows + 1, k_cols, 0), .seg = segment_box(dev, seg, n_seg)};
    Box *const random[] = {&c.q, &c.k, &c.v, &c.d_o};
    RefAttnDrop ref;

    c.args.fwd = (AttnArgs){.o = c.o.t, .lse = c.lse.t, .q = c.q.t, .k = c.k.t, .v = c.v.t, .seg = seg, .seg_dev = c.seg.t, .n_seg = n_seg,
                            .n_head = s.n_head, .n_kv_head = s.n_kv_head, .head_size = s.size, .window = s.window,
                            .scale = 1.5f / sqrtf((float)s.size), .dropout = s.dropout, .key = KEY};
    for (int b = 0; b < 4; b++) {
        const int64_t cols = random[b]->t.cols;

        for (int64_t i = 0; i < random[b]->t.rows * cols; i++) {
            const double number = test_normal(&r);

            random[b]->v[i] = is_in_segment(&c.args.fwd, i / cols) ? number : (double)NAN;
        }
        box_put(random[b]);
    }
    c.args.dq = c.dq.t, c.args.dk = c.dk.t, c.args.dv = c.dv.t, c.args.d_o = c.d_o.t;
    ref = ref_of(&c);
    ref_attn_drop(&ref);
    box_put(&c.o);
    box_put(&c.lse);
    return c;
}

static void call_free(Call *c)
{
    Box *all[] = {&c->q, &c->k, &c->v, &c->o, &c->lse, &c->d_o, &c->dq, &c->dk, &c->dv, &c->seg};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

static double *zeros_for(const Box *b)
{
    double *v = mem_take((size_t)(b->t.rows * b->t.cols), sizeof *v);

    assert_non_null(v);
    return v;
}

/* F32: a score of size 10 is off by about sqrt(D) roundings of 2^-24 of it, 1e-5 of the weight at most; squared that is 1e-10. BF16: the result is
 * rounded and, where tensor cores take rounded weights, so is each term of it, whose squares add up to `terms`. */
static double tolerance_of(const Box *got, const double *want, double terms)
{
    const double rounding = box_tolerance(got->t.dtype, 1e-10);
    double norm = 0;

    for (int64_t i = 0; i < got->t.rows * got->t.cols; i++)
        norm += want[i] * want[i];
    return strncmp(device_class(got->dev), "cpu", 3) == 0 || norm <= 0 ? rounding : rounding * (1 + terms / norm);
}

static void check_part(const char *what, const char *part, const AttnArgs *a, Box *got, double *want, double terms)
{
    const int64_t cols = got->t.cols;
    char name[128];

    snprintf(name, sizeof name, "%s: %s", what, part);
    box_get(got);
    for (int64_t i = 0; i < got->t.rows * cols; i++)
        if (!is_in_segment(a, i / cols) && got->v[i] != 0)
            fail_msg("%s: row %lld of no segment is %g, expected 0", name, (long long)(i / cols), got->v[i]);
    check_nmse(name, got->v, want, (size_t)(got->t.rows * cols), tolerance_of(got, want, terms));
    mem_free(want);
}

static void check_call(Call *c, const char *what)
{
    const AttnArgs *a = &c->args.fwd;
    const RefAttnGrad ref = {ref_of(c), zeros_for(&c->dq), zeros_for(&c->dk), zeros_for(&c->dv), c->d_o.v};
    const RefTerms terms = ref_attn_grad(&ref);

    CHECK_OK(op_attn_grad(c->dq.dev, &c->args));
    check_part(what, "dq", a, &c->dq, ref.dq, terms.dq);
    check_part(what, "dk", a, &c->dk, ref.dk, terms.dk);
    check_part(what, "dv", a, &c->dv, ref.dv, terms.dv);
}

static void test_attn_grad_matches_reference(void **state)
{
    static const Shape shape[] = {{4, 1, 64, 0, 0},   {4, 4, 8, 0, 0},      {7, 1, 12, 0, 0.3f}, {1, 1, 24, 5, 0},  {2, 2, 80, 100, 0},
                                  {2, 1, 96, 0, 0.5f}, {2, 1, 128, 33, 0.1f}, {1, 1, 256, 0, 0},   {1, 1, 2, 1000, 0}, {1, 1, 16, 64, 0.2f}};
    char what[96];

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (size_t s = 0; dev != NULL && s < sizeof shape / sizeof *shape; s++) {
            for (int t = 0; t < 2; t++) {
                Call c = call_new(dev, t == 0 ? LT_F32 : LT_BF16, shape[s], MIXED, N_MIXED, MIXED_ROWS, s % 2 == 0 ? 0 : 3);

                snprintf(what, sizeof what, "%s %s, head size %d, shape %zu", BOX_LEVELS[level], dtype_name(c.q.t.dtype), shape[s].size, s);
                check_call(&c, what);
                call_free(&c);
            }
        }
        device_close(dev);
    }
}

/* With no segment, and with segments that have no rows, all is zero. */
static void test_attn_grad_of_nothing_is_zero(void **state)
{
    static const AttnSegment empty[] = {{0, 0, 0, 0, 0}, {3, 0, 3, 0, 3}};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 1);

        for (int32_t n_seg = 0; dev != NULL && n_seg <= 2; n_seg += 2) {
            Call c = call_new(dev, LT_F32, (Shape){2, 1, 8, 0, 0}, empty, n_seg, 5, 1);

            check_call(&c, "nothing");
            call_free(&c);
        }
        device_close(dev);
    }
}

/* ---- bits ------------------------------------------------------------------------------------------------------------------ */

static void check_rows(const char *what, const Box *all, int64_t at, const Box *alone, int64_t n)
{
    Box got = box_new(all->dev, all->t.dtype, n, all->t.cols, 0), want = box_new(all->dev, all->t.dtype, n, all->t.cols, 0);

    CHECK_OK(device_copy(all->dev, got.t, tensor_rows(all->t, at, n)));
    CHECK_OK(device_copy(all->dev, want.t, tensor_rows(alone->t, 0, n)));
    check_same(what, &got, &want);
    box_free(&got);
    box_free(&want);
}

static void copy_rows(Box *to, const Box *from, int64_t at)
{
    CHECK_OK(device_copy(to->dev, tensor_rows(to->t, 0, to->t.rows - 1), tensor_rows(from->t, at, to->t.rows - 1)));
}

/* Segment s of the call in a call of its own, whose rows lie one row before they end; dropout counts on from where it lay. */
static void check_alone(const Call *all, Shape shape, int32_t s)
{
    const AttnSegment *seg = &all->args.fwd.seg[s], own = {0, seg->q_len, 0, 0, 0};
    Call c = call_new(all->q.dev, all->q.t.dtype, shape, &own, 1, seg->q_len + 1, 0);
    Box *const to[] = {&c.q, &c.o, &c.lse, &c.d_o};
    const Box *const from[] = {&all->q, &all->o, &all->lse, &all->d_o};
    char what[96];

    snprintf(what, sizeof what, "%s %s, heads %d:%d, %d rows alone", device_class(c.q.dev), dtype_name(c.q.t.dtype), shape.n_head, shape.n_kv_head,
             seg->q_len);
    for (int i = 0; i < 4; i++)
        copy_rows(to[i], from[i], seg->q_begin);
    CHECK_OK(device_copy(c.k.dev, tensor_rows(c.k.t, 0, seg->q_len), tensor_rows(all->k.t, seg->q_begin, seg->q_len)));
    CHECK_OK(device_copy(c.v.dev, tensor_rows(c.v.t, 0, seg->q_len), tensor_rows(all->v.t, seg->q_begin, seg->q_len)));
    c.args.fwd.key.first_row += (int64_t)seg->q_begin * shape.n_head;
    CHECK_OK(op_attn_grad(c.q.dev, &c.args));
    check_rows(what, &all->dq, seg->q_begin, &c.dq, seg->q_len);
    check_rows(what, &all->dk, seg->q_begin, &c.dk, seg->q_len);
    check_rows(what, &all->dv, seg->q_begin, &c.dv, seg->q_len);
    call_free(&c);
}

static void test_attn_grad_packing_changes_no_bit(void **state)
{
    static const Shape shape[] = {{4, 2, 16, 0, 0}, {3, 1, 24, 40, 0.3f}};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (int i = 0; dev != NULL && i < 4; i++) {
            Call all = call_new(dev, i / 2 == 0 ? LT_F32 : LT_BF16, shape[i % 2], MIXED, N_MIXED, MIXED_ROWS, 0);

            CHECK_OK(op_attn_grad(dev, &all.args));
            for (int32_t s = 0; s < N_MIXED; s++)
                if (MIXED[s].q_len > 0)
                    check_alone(&all, shape[i % 2], s);
            call_free(&all);
        }
        device_close(dev);
    }
}

static void test_attn_grad_threads_and_order_change_no_bit(void **state)
{
    const Shape shape = {8, 2, 32, 0, 0.1f};
    AttnSegment reversed[N_MIXED];

    (void)state;
    for (int i = 0; i < N_MIXED; i++)
        reversed[i] = MIXED[N_MIXED - 1 - i];
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev[3] = {box_device(BOX_LEVELS[level], 1), box_device(BOX_LEVELS[level], 2), box_device(BOX_LEVELS[level], 4)};

        if (dev[0] == NULL)
            continue;
        Call one = call_new(dev[0], LT_F32, shape, MIXED, N_MIXED, MIXED_ROWS, 0);
        CHECK_OK(op_attn_grad(dev[0], &one.args));
        for (int i = 0; i < 3; i++) {
            Call other = call_new(dev[i], LT_F32, shape, reversed, N_MIXED, MIXED_ROWS, 0);

            CHECK_OK(op_attn_grad(dev[i], &other.args));
            check_same(BOX_LEVELS[level], &other.dq, &one.dq);
            check_same(BOX_LEVELS[level], &other.dk, &one.dk);
            check_same(BOX_LEVELS[level], &other.dv, &one.dv);
            call_free(&other);
        }
        call_free(&one);
        for (int i = 0; i < 3; i++)
            device_close(dev[i]);
    }
}

/* ---- dropout of the forward op --------------------------------------------------------------------------------------------- */

static void check_forward(Device *dev, DType dtype, Shape shape)
{
    Call c = call_new(dev, dtype, shape, MIXED, N_MIXED, MIXED_ROWS, 1);
    Box o = box_new(dev, dtype, MIXED_ROWS, c.o.t.cols, 1), lse = box_new(dev, LT_F32, MIXED_ROWS, shape.n_head, 0);
    Box plain_lse = box_new(dev, LT_F32, MIXED_ROWS, shape.n_head, 2);
    char what[96];

    snprintf(what, sizeof what, "%s %s, dropout %g", device_class(dev), dtype_name(dtype), (double)shape.dropout);
    c.args.fwd.o = o.t;
    c.args.fwd.lse = plain_lse.t;
    c.args.fwd.dropout = 0;
    CHECK_OK(op_attn(dev, &c.args.fwd));
    c.args.fwd.lse = lse.t;
    c.args.fwd.dropout = shape.dropout;
    CHECK_OK(op_attn(dev, &c.args.fwd));
    check_same(what, &lse, &plain_lse);
    box_get(&o);
    for (int64_t i = 0; i < MIXED_ROWS * o.t.cols; i++)
        if (!is_in_segment(&c.args.fwd, i / o.t.cols)) {
            assert_true(isnan(o.v[i]));
            o.v[i] = c.o.v[i] = 0;
        }
    check_nmse(what, o.v, c.o.v, (size_t)(MIXED_ROWS * o.t.cols), 2 * box_tolerance(dtype, 1e-10)); /* both sides are rounded */
    box_free(&o);
    box_free(&lse);
    box_free(&plain_lse);
    call_free(&c);
}

static void test_attn_dropout_matches_reference(void **state)
{
    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL) {
            check_forward(dev, LT_F32, (Shape){4, 2, 16, 0, 0.25f});
            check_forward(dev, LT_BF16, (Shape){3, 1, 24, 50, 0.1f});
        }
        device_close(dev);
    }
}

static void test_attn_grad_reports_lack_of_memory(void **state)
{
    const AttnSegment seg = {0, 70, 0, 0, 0};
    Device *dev = box_device("generic", 1);
    Call c = call_new(dev, LT_F32, (Shape){2, 1, 8, 0, 0}, &seg, 1, 70, 0);

    (void)state;
    for (uint64_t n = 1; n <= 4; n++) { /* delta, tasks, scratch, tasks */
        mem_fail_at(n);
        CHECK_FAILS(op_attn_grad(dev, &c.args), LT_E_NOMEM, NULL);
        mem_fail_at(0);
    }
    check_call(&c, "after lack of memory");
    call_free(&c);
    device_close(dev);
}

static void test_attn_grad_refuses_what_has_no_gradient(void **state)
{
    const AttnSegment seg = {0, 10, 0, 0, 0}, shared = {5, 5, 0, 5, 5}, apart = {0, 5, 0, 0, 5};
    Device *dev = box_device("generic", 1);
    Call c = call_new(dev, LT_F32, (Shape){2, 1, 8, 0, 0}, &seg, 1, 10, 0);

    (void)state;
    c.args.fwd.seg = &shared;
    CHECK_FAILS(op_attn_grad(dev, &c.args), LT_E_FAIL, "segment 0");
    c.args.fwd.seg = &apart;
    CHECK_FAILS(op_attn_grad(dev, &c.args), LT_E_FAIL, "segment 0");
    c.args.fwd.seg = &seg;
    c.args.fwd.lse = (Tensor){0};
    CHECK_FAILS(op_attn_grad(dev, &c.args), LT_E_FAIL, "lse");
    call_free(&c);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_grad_reference_matches_differences),
        cmocka_unit_test(test_attn_grad_matches_reference),
        cmocka_unit_test(test_attn_grad_of_nothing_is_zero),
        cmocka_unit_test(test_attn_grad_packing_changes_no_bit),
        cmocka_unit_test(test_attn_grad_threads_and_order_change_no_bit),
        cmocka_unit_test(test_attn_dropout_matches_reference),
        cmocka_unit_test(test_attn_grad_reports_lack_of_memory),
        cmocka_unit_test(test_attn_grad_refuses_what_has_no_gradient),
    };

    return TEST_MAIN(tests);
}
