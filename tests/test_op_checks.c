/* The front doors of the ops: what does not fit together is refused by name, what is empty is done at once. */
#include "tests/check.h"

#include "kernels/ops.h"

#include <string.h>

static void test_op_gemm_refuses_what_does_not_fit(void **state)
{
    float x[64] = {0};
    Device *dev;
    const Tensor t46 = tensor_of(x, LT_F32, 4, 6), t56 = tensor_of(x, LT_F32, 5, 6), t45 = tensor_of(x, LT_F32, 4, 5);
    const GemmArgs good = {.a = t46, .b = t56, .c = t45, .op_b = GEMM_T};
    GemmArgs g;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_OK(op_gemm(dev, &good));
    g = good, g.b = t46;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: c is f32 [4, 5], expected f32 [4, 4]");
    g = good, g.op_b = GEMM_N;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: b is f32 [5, 6], expected f32 [6, 6]");
    g = good, g.b.dtype = LT_BF16;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: b is bf16");
    g = good, g.c.dtype = LT_BF16;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: c is bf16");
    g = good, g.a.dtype = LT_I32;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: a is i32");
    g.a.dtype = (DType)99;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: a is of an unknown dtype");
    g = good, g.bias = t45;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: bias is f32 [4, 5], expected f32 [1, 5]");
    g = good, g.beta = 0.5f;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "beta is 0.5");
    g = good, g.a.stride = 5;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: a has row stride 5");
    g = good, g.phase = GEMM_NARROW, g.packed = tensor_of(x, LT_F32, 1, 1);
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, op_gemm_pack_bytes(dev, g.b, GEMM_NARROW) > 0 ? "packed has 4 bytes, expected" : "packs nothing");
    g = good, g.a.data = NULL;
    CHECK_FAILS(op_gemm(dev, &g), LT_E_FAIL, "gemm: a [4, 6] has no memory");
    device_close(dev);
}

static void test_op_gemm_of_nothing(void **state)
{
    float c[6] = {1, 2, 3, 4, 5, 6};
    Device *dev;
    GemmArgs g = {.a = tensor_of(c, LT_F32, 0, 2), .b = tensor_of(c, LT_F32, 0, 3), .c = tensor_of(c, LT_F32, 2, 3), .op_a = GEMM_T, .beta = 1.0f};

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_OK(op_gemm(dev, &g));
    assert_true(c[0] == 1.0f && c[5] == 6.0f);
    g.beta = 0.0f;
    CHECK_OK(op_gemm(dev, &g));
    assert_true(c[0] == 0.0f && c[5] == 0.0f);
    g = (GemmArgs){.a = tensor_of(NULL, LT_F32, 0, 2), .b = tensor_of(c, LT_F32, 3, 2), .c = tensor_of(NULL, LT_F32, 0, 3), .op_b = GEMM_T};
    CHECK_OK(op_gemm(dev, &g));
    device_close(dev);
}

static void test_op_gemm_meter_counts_when_on(void **state)
{
    float x[64] = {0};
    Device *dev;
    const GemmArgs g = {.a = tensor_of(x, LT_F32, 4, 6), .b = tensor_of(x, LT_F32, 5, 6), .c = tensor_of(x, LT_F32, 4, 5), .op_b = GEMM_T};
    GemmMeter *meter;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    meter = device_gemm_meter(dev);
    CHECK_OK(op_gemm(dev, &g));
    assert_int_equal(meter->calls, 0);
    meter->on = true;
    CHECK_OK(op_gemm(dev, &g));
    CHECK_OK(op_gemm(dev, &g));
    assert_int_equal(meter->calls, 2);
    check_close("flops", meter->flops, 2.0 * 2 * 4 * 5 * 6, 0.0, 0.0);
    assert_true(meter->seconds > 0.0);
    device_close(dev);
}

static float memory[4096];
static int32_t page[16];

static Tensor tensor(DType dtype, int64_t rows, int64_t cols) { return tensor_of(memory, dtype, rows, cols); }

static void test_op_rows_have_to_match_their_indices(void **state)
{
    const Tensor y = tensor(LT_F32, 4, 6), w = tensor(LT_F32, 9, 6);
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_FAILS(op_embed(dev, y, tensor(LT_F32, 9, 5), tensor(LT_I32, 1, 4)), LT_E_FAIL, "embed: w is f32 [9, 5], expected f32 [any, 6]");
    CHECK_FAILS(op_embed(dev, y, tensor(LT_BF16, 9, 6), tensor(LT_I32, 1, 4)), LT_E_FAIL, "embed: w is bf16");
    CHECK_FAILS(op_embed(dev, y, w, tensor(LT_I32, 1, 3)), LT_E_FAIL, "embed: id is i32 [1, 3], expected i32 [1, 4]");
    CHECK_FAILS(op_embed(dev, y, w, tensor(LT_F32, 1, 4)), LT_E_FAIL, "embed: id is f32");
    CHECK_FAILS(op_gather(dev, y, w, tensor(LT_I32, 4, 1)), LT_E_FAIL, "gather: row is i32 [4, 1]");
    CHECK_OK(op_gather(dev, tensor(LT_F32, 0, 6), w, tensor(LT_I32, 1, 0)));
    CHECK_FAILS(op_argmax(dev, tensor(LT_I32, 1, 3), y), LT_E_FAIL, "argmax: id is i32 [1, 3], expected i32 [1, 4]");
    CHECK_FAILS(op_argmax(dev, tensor(LT_I32, 1, 4), tensor(LT_BF16, 4, 6)), LT_E_FAIL, "argmax: logits is bf16 [4, 6], expected f32 [any, any]");
    CHECK_FAILS(op_logprob(dev, tensor(LT_F32, 1, 5), (Tensor){0}, y, tensor(LT_I32, 1, 5), tensor(LT_I32, 1, 4)), LT_E_FAIL, "logprob: target");
    CHECK_FAILS(op_logprob(dev, tensor(LT_F32, 1, 5), (Tensor){0}, tensor(LT_F32, 0, 6), tensor(LT_I32, 1, 5), tensor(LT_I32, 1, 5)), LT_E_FAIL,
                "5 pairs and no logits");
    device_close(dev);
}

static void test_op_blocks_have_to_fit_their_columns(void **state)
{
    const Tensor x = tensor(LT_BF16, 4, 24), row = tensor(LT_I32, 1, 4), tables = tensor(LT_F32, 8, 4);
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_FAILS(op_rmsnorm(dev, x, (Tensor){0}, x, tensor(LT_F32, 1, 7), 1e-5f), LT_E_FAIL, "x has 24 columns, expected a multiple of the 7 of w");
    CHECK_FAILS(op_rmsnorm(dev, x, tensor(LT_F32, 4, 1), x, tensor(LT_F32, 1, 8), 1e-5f), LT_E_FAIL, "rstd is f32 [4, 1], expected f32 [4, 3]");
    CHECK_FAILS(op_rmsnorm(dev, x, (Tensor){0}, x, tensor(LT_F16, 1, 8), 1e-5f), LT_E_FAIL, "w is f16 [1, 8], expected f32 or bf16 [1, any]");
    CHECK_FAILS(op_rmsnorm(dev, x, (Tensor){0}, x, tensor(LT_F32, 1, 8), -1.0f), LT_E_FAIL, "eps is -1");
    CHECK_FAILS(op_rope(dev, tensor(LT_BF16, 4, 20), tables, tables, row, 1), LT_E_FAIL, "x has 20 columns, expected whole heads");
    CHECK_FAILS(op_rope(dev, x, tables, tables, row, 0), LT_E_FAIL, "direction is 0");
    CHECK_FAILS(op_swiglu(dev, x, tensor(LT_BF16, 4, 24)), LT_E_FAIL, "gate_up is bf16 [4, 24], expected bf16 [4, 48]");
    CHECK_FAILS(op_axpy(dev, x, tensor(LT_F32, 4, 23), 1.0f), LT_E_FAIL, "axpy: x is f32 [4, 23]");
    CHECK_FAILS(op_cast(dev, x, tensor(LT_I32, 4, 24)), LT_E_FAIL, "cast: x is i32");
    device_close(dev);
}

static void test_op_attn_segments_have_to_lie_inside(void **state)
{
    AttnSegment seg = {.q_begin = 0, .q_len = 3, .ctx_begin = 0, .ctx_len = 2, .own_begin = 2};
    const AttnArgs good = {
        .o = tensor(LT_F32, 3, 8),
        .q = tensor(LT_F32, 3, 8),
        .k = tensor(LT_F32, 5, 4),
        .v = tensor(LT_F32, 5, 4),
        .seg = &seg,
        .seg_dev = tensor(LT_I32, 1, 5),
        .n_seg = 1,
        .n_head = 2,
        .n_kv_head = 1,
        .head_size = 4,
        .scale = 0.5f,
    };
    AttnArgs a = good;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    seg.own_begin = 3;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "segment 0 {q 0+3, ctx 0+2, own 3} leaves the 3 rows of q or the 5 of k");
    seg = (AttnSegment){.q_begin = -1, .q_len = 3};
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "segment 0");
    seg = (AttnSegment){.q_len = 3, .ctx_begin = 4, .ctx_len = 2};
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "segment 0");
    seg = (AttnSegment){.q_len = 3};
    a = good, a.seg_dev = (Tensor){0};
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "attn: seg_dev is missing");
    a = good, a.n_head = 3;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "attn: q is f32 [3, 8], expected f32 or bf16 or f16 [any, 12]");
    a = good, a.n_kv_head = 0;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "2 query heads over 0 key heads");
    a = good, a.head_size = 3;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "head size is 3");
    a = good, a.window = -1;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "window is -1");
    a = good, a.dropout = 1.0f;
    CHECK_FAILS(op_attn(dev, &a), LT_E_FAIL, "dropout is 1");
    a = good, a.n_seg = 0;
    CHECK_OK(op_attn(dev, &a));
    device_close(dev);
}

static void test_op_gradients_have_to_match_their_indices(void **state)
{
    float x[64] = {0};
    double sum = 0;
    int32_t index[8] = {0};
    Device *dev;
    const Tensor dw = tensor_of(x, LT_F32, 9, 6), dy = tensor_of(x, LT_F32, 4, 6), out = tensor_of(&sum, LT_F64, 1, 1);
    const Tensor id = tensor_of(index, LT_I32, 1, 2), first = tensor_of(index, LT_I32, 1, 3), order = tensor_of(index, LT_I32, 1, 4);

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_FAILS(op_embed_grad(dev, tensor_of(x, LT_F32, 9, 5), dy, id, first, order), LT_E_FAIL, "embed_grad: dw is f32 [9, 5]");
    CHECK_FAILS(op_embed_grad(dev, dw, dy, id, id, order), LT_E_FAIL, "embed_grad: first is i32 [1, 2], expected i32 [1, 3]");
    CHECK_FAILS(op_embed_grad(dev, dw, dy, id, first, first), LT_E_FAIL, "embed_grad: order is i32 [1, 3], expected i32 [1, 4]");
    CHECK_FAILS(op_bias_grad(dev, dw, dy), LT_E_FAIL, "bias_grad: db is f32 [9, 6], expected f32 [1, 6]");
    CHECK_FAILS(op_sumsq(dev, tensor_of(&sum, LT_F32, 1, 1), dy), LT_E_FAIL, "sumsq: out is f32 [1, 1], expected f64 [1, 1]");
    CHECK_OK(op_sumsq(dev, out, tensor_of(NULL, LT_F32, 0, 6)));
    assert_true(sum == 0);
    device_close(dev);
}

/* Whatever the backend: a group reads its first segment's pages for all, as far as the prefix goes. */
static void test_op_attn_cached_groups_have_to_lie_inside(void **state)
{
    CachedSegment seg[] = {{.q_len = 1, .past = 256}, {.q_begin = 1, .q_len = 1, .past = 300, .table_row = 1}};
    PrefixGroup group[] = {{.count = 2, .prefix_len = 256}, {.first = 1, .count = 1}};
    AttnCachedArgs a = {
        .o = tensor(LT_F32, 2, 4),
        .q = tensor(LT_F32, 2, 4),
        .k_pages = tensor(LT_F32, KV_PAGE, 4),
        .v_pages = tensor(LT_F32, KV_PAGE, 4),
        .table = tensor_of(page, LT_I32, 2, 5),
        .seg = seg,
        .seg_dev = tensor(LT_I32, 2, 4),
        .group = group,
        .group_dev = tensor(LT_I32, 1, 3),
        .n_seg = 2,
        .n_group = 1,
        .n_head = 1,
        .n_kv_head = 1,
        .head_size = 4,
        .scale = 0.5f,
    };
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_OK(op_attn_cached(dev, &a));
    group[0].prefix_len = 255;
    CHECK_FAILS(op_attn_cached(dev, &a), LT_E_FAIL, "group 0 {0+2, prefix 255}");
    group[0] = (PrefixGroup){.count = 3, .prefix_len = 256};
    CHECK_FAILS(op_attn_cached(dev, &a), LT_E_FAIL, "group 0 {0+3, prefix 256}");
    group[0] = (PrefixGroup){.count = 2, .prefix_len = 512};
    CHECK_FAILS(op_attn_cached(dev, &a), LT_E_FAIL, "group 0: a prefix of 512 positions, segment 0 has 257");
    seg[0].past = 255; /* a segment's own query may be the last of the prefix */
    group[0].prefix_len = 256;
    CHECK_OK(op_attn_cached(dev, &a));
    a.n_group = 2;
    a.group_dev = tensor(LT_I32, 2, 3);
    CHECK_FAILS(op_attn_cached(dev, &a), LT_E_FAIL, "group 1 begins at segment 1, expected 2 or later");
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op_gemm_refuses_what_does_not_fit),
        cmocka_unit_test(test_op_gemm_of_nothing),
        cmocka_unit_test(test_op_gemm_meter_counts_when_on),
        cmocka_unit_test(test_op_rows_have_to_match_their_indices),
        cmocka_unit_test(test_op_blocks_have_to_fit_their_columns),
        cmocka_unit_test(test_op_gradients_have_to_match_their_indices),
        cmocka_unit_test(test_op_attn_segments_have_to_lie_inside),
        cmocka_unit_test(test_op_attn_cached_groups_have_to_lie_inside),
    };

    return TEST_MAIN(tests);
}
