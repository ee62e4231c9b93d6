#include "tests/check.h"

#include "kernels/device.h"
#include "model/params.h"

static ModelConfig small(void)
{
    return (ModelConfig){.arch = &architectures[0], .vocab_size = 11, .hidden_size = 6, .intermediate_size = 10, .num_hidden_layers = 3,
                         .num_attention_heads = 3, .num_key_value_heads = 1, .head_dim = 4, .max_position_embeddings = 8};
}

static void check_name(const ParamEntry *e, const char *want)
{
    StrBuf name;

    strbuf_init(&name);
    CHECK_OK(param_name(e, &name));
    check_str(strbuf_str(&name), want, strlen(want));
    strbuf_release(&name);
}

static void test_params_rows_stand_at_their_id(void **state)
{
    (void)state;
    for (int i = 0; i < PARAM_KINDS; i++) {
        assert_int_equal(param_rows[i].id, i);
        assert_int_equal(param_rows[i].per_layer, strstr(param_rows[i].name, "%d") != NULL);
        if (param_rows[i].joins_previous)
            assert_int_equal(param_rows[i].cols == param_rows[i - 1].cols || param_rows[i].rows == DIM_ONE, true);
    }
}

static void test_params_list_follows_config(void **state)
{
    ModelConfig cfg = small();
    ParamList list;

    (void)state;
    CHECK_OK(params_build(&list, &cfg));
    /* nine kinds a layer without biases and head norms; embedding, norm and head beside them */
    assert_int_equal(list.stride, 9);
    assert_int_equal(list.count, 3 * 9 + 3);
    assert_null(params_find(&list, PARAM_Q_BIAS, 0));
    check_name(params_find(&list, PARAM_EMBED, -1), "model.embed_tokens.weight");
    check_name(params_find(&list, PARAM_K, 2), "model.layers.2.self_attn.k_proj.weight");
    check_name(params_find(&list, PARAM_HEAD, -1), "lm_head.weight");
    assert_int_equal(params_find(&list, PARAM_DOWN, 1)->rows, 6);
    assert_int_equal(params_find(&list, PARAM_DOWN, 1)->cols, 10);
    assert_int_equal(params_find(&list, PARAM_O, 1)->cols, 12);
    assert_int_equal(params_find(&list, PARAM_V, 0)->rows, 4);
    params_release(&list);
    cfg.qkv_bias = cfg.o_bias = cfg.mlp_bias = cfg.qk_norm = cfg.tie_word_embeddings = true;
    CHECK_OK(params_build(&list, &cfg));
    assert_int_equal(list.stride, PARAM_KINDS - 3);
    assert_null(params_find(&list, PARAM_HEAD, -1));
    assert_int_equal(params_find(&list, PARAM_Q_BIAS, 1)->rows, 1);
    assert_int_equal(params_find(&list, PARAM_Q_BIAS, 1)->cols, 12);
    params_release(&list);
}

static void test_params_list_has_every_weight_once(void **state)
{
    ModelConfig cfg = small();
    ParamList list;

    (void)state;
    for (int bits = 0; bits < 32; bits++) {
        int64_t total = 0;

        cfg.qkv_bias = bits & 1;
        cfg.o_bias = bits & 2;
        cfg.mlp_bias = bits & 4;
        cfg.qk_norm = bits & 8;
        cfg.tie_word_embeddings = bits & 16;
        CHECK_OK(params_build(&list, &cfg));
        for (size_t i = 0; i < list.count; i++)
            total += list.entry[i].rows * list.entry[i].cols;
        assert_int_equal(total, config_parameter_count(&cfg));
        params_release(&list);
    }
}

/* The end of an entry's value. */
static const char *end_of(const ParamEntry *e)
{
    return (const char *)e->value.data + (size_t)(e->rows * e->cols) * dtype_bytes(e->value.dtype);
}

static void test_params_values_join_without_gaps(void **state)
{
    ModelConfig cfg = small();
    ParamList list;
    TensorArena arena;
    Device *dev;
    size_t planned;

    (void)state;
    cfg.qkv_bias = cfg.mlp_bias = true;
    CHECK_OK(device_open(&dev, "cpu", 1));
    CHECK_OK(params_build(&list, &cfg));
    tensor_arena_plan(&arena, dev);
    CHECK_OK(params_take_values(&list, &arena, LT_BF16));
    planned = arena.used;
    assert_null(list.entry[0].value.data);
    CHECK_OK(tensor_arena_open(&arena, dev, planned));
    CHECK_OK(params_take_values(&list, &arena, LT_BF16));
    assert_int_equal(arena.used, planned);
    for (size_t i = 1; i < list.count; i++) {
        const ParamEntry *e = &list.entry[i];

        if (e->row->joins_previous)
            assert_ptr_equal(e->value.data, end_of(e - 1));
        else
            assert_true((const char *)e->value.data >= end_of(e - 1));
    }
    tensor_arena_close(&arena);
    params_release(&list);
    device_close(dev);
}

static void test_params_build_survives_lack_of_memory(void **state)
{
    const ModelConfig cfg = small();
    const uint64_t before = mem_count();
    ParamList list;

    (void)state;
    CHECK_OK(params_build(&list, &cfg));
    params_release(&list);
    for (uint64_t n = 1, all = mem_count() - before; n <= all; n++) {
        const int64_t held = mem_held();

        mem_fail_at(n);
        CHECK_FAILS(params_build(&list, &cfg), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_rows_stand_at_their_id),     cmocka_unit_test(test_params_list_follows_config),
        cmocka_unit_test(test_params_list_has_every_weight_once), cmocka_unit_test(test_params_values_join_without_gaps),
        cmocka_unit_test(test_params_build_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
