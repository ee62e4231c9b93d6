/* Attention: right, and the same bits however a sequence is cut, shared, packed or spread over threads. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "tests/check.h"
#include "tests/ref_ops.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>

typedef struct Shape {
    int32_t n_head, n_kv_head, size, window;
    bool dense; /* no padding between rows: the widest copies that a head's size allows */
} Shape;

/* A call of op_attn with all that it needs; `lse` and `o` come out poisoned. */
typedef struct Call {
    Box q, k, v, o, lse, seg;
    AttnArgs args;
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

static Call call_new(Device *dev, DType dtype, Shape s, int64_t q_rows, int64_t k_rows, const AttnSegment *seg, int32_t n_seg, uint64_t seed)
{
    TestRandom r = {seed};
    const int64_t pad = s.dense ? 0 : 1;
    const int64_t q_cols = s.n_head * s.size, k_cols = s.n_kv_head * s.size;
    Call c = {.q = box_normal(dev, dtype, q_rows, q_cols, 3 * pad, &r, 2), .k = box_normal(dev, dtype, k_rows, k_cols, 5 * pad, &r, 1),
              .v = box_normal(dev, dtype, k_rows, k_cols, 0, &r, 1), .o = box_new(dev, dtype, q_rows, q_cols, pad),
              .lse = box_new(dev, LT_F32, q_rows, s.n_head, 2), .seg = segment_box(dev, seg, n_seg)};

    c.args = (AttnArgs){.o = c.o.t, .lse = c.lse.t, .q = c.q.t, .k = c.k.t, .v = c.v.t, .seg = seg, .seg_dev = c.seg.t, .n_seg = n_seg,
                        .n_head = s.n_head, .n_kv_head = s.n_kv_head, .head_size = s.size, .window = s.window,
                        .scale = 1 / sqrtf((float)s.size)};
    return c;
}

static void call_free(Call *c)
{
    Box *all[] = {&c->q, &c->k, &c->v, &c->o, &c->lse, &c->seg};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        box_free(all[i]);
}

/* Runs the call and compares it with the reference. Rows of no segment must still be NaN. */
static void check_call(Call *c, const char *what)
{
    const size_t n = (size_t)(c->o.t.rows * c->o.t.cols), n_lse = (size_t)(c->lse.t.rows * c->lse.t.cols);
    double *o = mem_take(n, sizeof *o), *lse = mem_take(n_lse, sizeof *lse);
    const AttnArgs *a = &c->args;
    const RefAttn ref = {o, lse, c->q.v, c->k.v, c->v.v, a->seg, a->n_seg, a->n_head, a->n_kv_head, a->head_size, a->window, (double)a->scale};

    assert_true(o != NULL && lse != NULL);
    for (size_t i = 0; i < n; i++)
        o[i] = NAN;
    for (size_t i = 0; i < n_lse; i++)
        lse[i] = NAN;
    ref_attn(&ref);
    CHECK_OK(op_attn(c->o.dev, a));
    box_get(&c->o);
    box_get(&c->lse);
    for (size_t i = 0; i < n; i++) {
        if (isnan(o[i]) != isnan(c->o.v[i]))
            fail_msg("%s: element %zu is %g, expected %g", what, i, c->o.v[i], o[i]);
        o[i] = isnan(o[i]) ? 0 : o[i];
        c->o.v[i] = isnan(c->o.v[i]) ? 0 : c->o.v[i];
    }
    check_nmse(what, c->o.v, o, n, box_tolerance(c->o.t.dtype, 1e-9));
    for (size_t i = 0; i < n_lse; i++)
        if (!isnan(lse[i]) || !isnan(c->lse.v[i]))
            check_close(what, c->lse.v[i], lse[i], 2e-6, 2e-6);
    mem_free(o);
    mem_free(lse);
}

static const AttnSegment MIXED[] = {
    {0, 7, 0, 0, 0},        /* a plain sequence */
    {7, 70, 7, 300, 307},   /* two tails behind one context that ends inside a block of the second split */
    {77, 1, 7, 300, 377},
    {78, 20, 7, 300, 378},
    {100, 130, 400, 0, 400}, /* rows 98 and 99 have no segment; keys 530.. have no query */
    {230, 0, 0, 5, 0},      /* nothing */
};
enum { MIXED_Q = 232, MIXED_K = 540, N_MIXED = sizeof MIXED / sizeof *MIXED };

static void test_attn_matches_reference(void **state)
{
    static const Shape shape[] = {{8, 2, 64, 0, false},    {1, 1, 2, 0, true},  {4, 4, 24, 0, true},   {7, 1, 80, 0, false},
                                  {2, 2, 256, 0, true},    {4, 1, 64, 100, true}, {6, 2, 6, 8, true},  {3, 3, 16, 1000, false},
                                  {4, 1, 8, 0, true},      {7, 1, 12, 0, true}, {4, 4, 96, 70, false}, {4, 1, 128, 0, true}};
    static const DType dtype[] = {LT_F32, LT_BF16, LT_F16};
    char what[96];

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (size_t s = 0; dev != NULL && s < sizeof shape / sizeof *shape; s++) {
            for (size_t t = 0; t < (s < 3 ? 3 : 2); t++) {
                Call c = call_new(dev, dtype[t], shape[s], MIXED_Q, MIXED_K, MIXED, N_MIXED, 41 + s);

                snprintf(what, sizeof what, "%s %s, shape %zu", BOX_LEVELS[level], dtype_name(dtype[t]), s);
                check_call(&c, what);
                call_free(&c);
            }
        }
        device_close(dev);
    }
}

/* Segments whose rows end at, before and behind tiles of 64 and 32 rows, and whose contexts end around a split. */
static void test_attn_matches_reference_around_tiles(void **state)
{
    static const int32_t len[][2] = {{63, 255}, {64, 256}, {65, 257}, {197, 0}, {31, 0}, {32, 63}, {33, 64}, {101, 65}}; /* queries, context */
    static const Shape shape[] = {{1, 1, 8, 0, true}, {1, 1, 10, 64, false}, {4, 1, 8, 33, true}};
    enum { N = sizeof len / sizeof *len, CONTEXT = 257 };
    AttnSegment seg[N];
    int32_t rows = 0;
    char what[96];

    (void)state;
    for (int i = 0; i < N; i++) {
        seg[i] = (AttnSegment){rows, len[i][0], 0, len[i][1], CONTEXT + rows};
        rows += len[i][0];
    }
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (size_t s = 0; dev != NULL && s < sizeof shape / sizeof *shape; s++) {
            for (int t = 0; t < 2; t++) {
                Call c = call_new(dev, t == 0 ? LT_F32 : LT_BF16, shape[s], rows, CONTEXT + rows, seg, N, 23);

                snprintf(what, sizeof what, "%s %s, tiles, shape %zu", BOX_LEVELS[level], t == 0 ? "f32" : "bf16", s);
                check_call(&c, what);
                call_free(&c);
            }
        }
        device_close(dev);
    }
}

/* More segments than one launch takes, of 0, 1 and 2 queries. */
static void test_attn_matches_reference_with_many_segments(void **state)
{
    enum { N = 1100, CONTEXT = 3 };
    static AttnSegment seg[N];
    int32_t rows = 0;

    (void)state;
    for (int i = 0; i < N; i++) {
        seg[i] = (AttnSegment){rows, i * 7 % 3, 0, i % (CONTEXT + 1), CONTEXT + rows};
        rows += seg[i].q_len;
    }
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (int t = 0; dev != NULL && t < 2; t++) {
            Call c = call_new(dev, t == 0 ? LT_F32 : LT_BF16, (Shape){2, 1, 8, 0, true}, rows, CONTEXT + rows, seg, N, 29);

            check_call(&c, "many segments");
            call_free(&c);
        }
        device_close(dev);
    }
}

/* Copies rows of one box to rows of another, device and host. */
static void copy_rows(Box *to, int64_t at, const Box *from, int64_t begin, int64_t n)
{
    if (n > 0)
        CHECK_OK(device_copy(to->dev, tensor_rows(to->t, at, n), tensor_rows(from->t, begin, n)));
}

/* The rows of `shared`'s segment s must have the bits of a call of their own, where context and tail lie in one piece. */
static void check_alone(const Call *shared, int32_t s, Shape shape, const char *what)
{
    const AttnSegment *seg = &shared->args.seg[s];
    const int64_t len = seg->ctx_len + seg->q_len;
    const AttnSegment alone = {0, (int32_t)len, 0, 0, 0};
    Device *dev = shared->q.dev;
    Call c = call_new(dev, shared->q.t.dtype, shape, len, len, &alone, 1, 7); /* queries of the context: anything */
    Box got = box_new(dev, shared->o.t.dtype, seg->q_len, shared->o.t.cols, 0), want = box_new(dev, shared->o.t.dtype, seg->q_len, shared->o.t.cols, 0);
    Box got_lse = box_new(dev, LT_F32, seg->q_len, shape.n_head, 0), want_lse = box_new(dev, LT_F32, seg->q_len, shape.n_head, 0);

    copy_rows(&c.q, seg->ctx_len, &shared->q, seg->q_begin, seg->q_len);
    copy_rows(&c.k, 0, &shared->k, seg->ctx_begin, seg->ctx_len);
    copy_rows(&c.k, seg->ctx_len, &shared->k, seg->own_begin, seg->q_len);
    copy_rows(&c.v, 0, &shared->v, seg->ctx_begin, seg->ctx_len);
    copy_rows(&c.v, seg->ctx_len, &shared->v, seg->own_begin, seg->q_len);
    CHECK_OK(op_attn(dev, &c.args));
    copy_rows(&want, 0, &c.o, seg->ctx_len, seg->q_len);
    copy_rows(&got, 0, &shared->o, seg->q_begin, seg->q_len);
    copy_rows(&want_lse, 0, &c.lse, seg->ctx_len, seg->q_len);
    copy_rows(&got_lse, 0, &shared->lse, seg->q_begin, seg->q_len);
    check_same(what, &got, &want);
    check_same(what, &got_lse, &want_lse);
    box_free(&got);
    box_free(&want);
    box_free(&got_lse);
    box_free(&want_lse);
    call_free(&c);
}

/* One context and tails of 0, 1, 5 and 70 rows behind it, which lie in the buffers in another order. */
static void check_sharing(Device *dev, DType dtype, Shape shape, int32_t ctx_len)
{
    const AttnSegment seg[] = {{0, 5, 76, ctx_len, 0}, {5, 70, 76, ctx_len, 5}, {75, 1, 76, ctx_len, 75}, {76, 0, 76, ctx_len, 76}};
    Call c = call_new(dev, dtype, shape, 76, 76 + ctx_len, seg, 4, 3);
    char what[128];

    CHECK_OK(op_attn(dev, &c.args));
    for (int32_t s = 0; s < 3; s++) {
        snprintf(what, sizeof what, "%s %s, heads %d:%d, window %d, context %d, tail %d", device_class(dev), dtype_name(dtype), shape.n_head,
                 shape.n_kv_head, shape.window, ctx_len, seg[s].q_len);
        check_alone(&c, s, shape, what);
    }
    call_free(&c);
}

static void test_attn_shared_context_changes_no_bit(void **state)
{
    static const int32_t ctx[] = {0, 1, 63, 64, 65, 255, 256, 257, 300};
    static const Shape shape[] = {{4, 1, 16, 0, true},  {2, 2, 32, 0, false}, {7, 1, 12, 0, true},   {4, 2, 16, 20, true},
                                  {2, 1, 16, 64, true}, {1, 1, 16, 90, true}, {2, 2, 16, 270, false}};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        for (size_t s = 0; dev != NULL && s < sizeof shape / sizeof *shape; s++)
            for (size_t i = 0; i < sizeof ctx / sizeof *ctx; i++)
                check_sharing(dev, s % 2 == 1 ? LT_BF16 : LT_F32, shape[s], ctx[i]);
        /* A window over two splits, whose first block is not the same for both ways to cut the rows into tasks. */
        for (int t = 0; dev != NULL && t < 2; t++)
            check_sharing(dev, t == 0 ? LT_F32 : LT_BF16, (Shape){2, 2, 8, 400, false}, 650);
        device_close(dev);
    }
}

/* The same call with other thread counts and with its segments in reverse. */
static void test_attn_threads_and_order_change_no_bit(void **state)
{
    const Shape shape = {8, 2, 32, 0, false};
    AttnSegment reversed[N_MIXED];

    (void)state;
    for (int i = 0; i < N_MIXED; i++)
        reversed[i] = MIXED[N_MIXED - 1 - i];
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev[3] = {box_device(BOX_LEVELS[level], 1), box_device(BOX_LEVELS[level], 2), box_device(BOX_LEVELS[level], 4)};

        if (dev[0] == NULL)
            continue;
        Call one = call_new(dev[0], LT_F32, shape, MIXED_Q, MIXED_K, MIXED, N_MIXED, 5);
        CHECK_OK(op_attn(dev[0], &one.args));
        for (int i = 0; i < 3; i++) {
            Call other = call_new(dev[i], LT_F32, shape, MIXED_Q, MIXED_K, reversed, N_MIXED, 5);

            CHECK_OK(op_attn(dev[i], &other.args));
            check_same(BOX_LEVELS[level], &other.o, &one.o);
            check_same(BOX_LEVELS[level], &other.lse, &one.lse);
            call_free(&other);
        }
        call_free(&one);
        for (int i = 0; i < 3; i++)
            device_close(dev[i]);
    }
}

/* What a row may not see must not reach it, not even as a NaN times zero. Key 50 is no number (broken_key) or one column of its value is infinite. */
static void check_hidden(Device *dev, DType dtype, bool broken_key)
{
    const AttnSegment seg = {0, 100, 0, 0, 0};
    const Shape shape = {4, 2, 16, 30, true};
    Call clean = call_new(dev, dtype, shape, 100, 100, &seg, 1, 9), dirty = call_new(dev, dtype, shape, 100, 100, &seg, 1, 9);

    for (int64_t d = 0; d < dirty.k.t.cols && broken_key; d++)
        dirty.k.v[50 * dirty.k.t.cols + d] = NAN;
    dirty.v.v[50 * dirty.v.t.cols + 3] = INFINITY;
    box_put(&dirty.k);
    box_put(&dirty.v);
    CHECK_OK(op_attn(dev, &clean.args));
    CHECK_OK(op_attn(dev, &dirty.args));
    box_get(&clean.o);
    box_get(&dirty.o);
    for (int64_t i = 0; i < 100 * clean.o.t.cols; i++) {
        const int64_t row = i / clean.o.t.cols, col = i % clean.o.t.cols;
        const bool sees = row >= 50 && row < 80; /* a window of 30 */

        if (sees && broken_key)
            assert_true(isnan(dirty.o.v[i]));
        else if (sees && col % 16 == 3 && col < 32) /* the query heads of the first kv head */
            assert_true(isinf(dirty.o.v[i]));
        else
            assert_true(dirty.o.v[i] == clean.o.v[i]);
    }
    call_free(&clean);
    call_free(&dirty);
}

static void test_attn_hidden_keys_do_not_leak(void **state)
{
    static const DType dtype[] = {LT_F32, LT_BF16, LT_F16};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 1);

        for (int t = 0; dev != NULL && t < 3; t++) {
            check_hidden(dev, dtype[t], true);
            check_hidden(dev, dtype[t], false);
        }
        device_close(dev);
    }
}

/* Scores far apart: all but one key vanish; and far below: they still share one row. */
static void test_attn_survives_large_scores(void **state)
{
    const AttnSegment seg = {0, 300, 0, 0, 0};
    const Shape shape = {2, 1, 8, 0, false};

    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 1);

        if (dev == NULL)
            continue;
        Call c = call_new(dev, LT_F32, shape, 300, 300, &seg, 1, 13);
        for (int64_t i = 0; i < 300 * c.k.t.cols; i++)
            c.k.v[i] *= 300;
        box_put(&c.k);
        CHECK_OK(op_attn(dev, &c.args));
        box_get(&c.o);
        for (int64_t i = 0; i < 300 * c.o.t.cols; i++)
            assert_true(fabs(c.o.v[i]) < 6); /* a mean of values */
        for (int64_t i = 0; i < 300 * c.k.t.cols; i++)
            c.k.v[i] = -1e4;
        for (int64_t i = 0; i < 300 * c.q.t.cols; i++)
            c.q.v[i] = 1;
        box_put(&c.k);
        box_put(&c.q);
        check_call(&c, "equal scores of -28284");
        call_free(&c);
        device_close(dev);
    }
}

static void test_attn_reports_lack_of_memory(void **state)
{
    const AttnSegment seg = {0, 10, 0, 0, 0};
    Device *dev = box_device("generic", 1);
    Call c = call_new(dev, LT_F32, (Shape){2, 1, 8, 0, false}, 10, 10, &seg, 1, 1);

    (void)state;
    for (uint64_t n = 1; n <= 2; n++) { /* the task list, the scratch */
        mem_fail_at(n);
        CHECK_FAILS(op_attn(dev, &c.args), LT_E_NOMEM, NULL);
        mem_fail_at(0);
    }
    check_call(&c, "after lack of memory");
    c.args.lse = (Tensor){0};
    CHECK_OK(op_attn(dev, &c.args));
    call_free(&c);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attn_matches_reference),
        cmocka_unit_test(test_attn_matches_reference_around_tiles),
        cmocka_unit_test(test_attn_matches_reference_with_many_segments),
        cmocka_unit_test(test_attn_shared_context_changes_no_bit),
        cmocka_unit_test(test_attn_threads_and_order_change_no_bit),
        cmocka_unit_test(test_attn_hidden_keys_do_not_leak),
        cmocka_unit_test(test_attn_survives_large_scores),
        cmocka_unit_test(test_attn_reports_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
