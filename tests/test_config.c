#include "tests/check.h"

#include "core/file.h"
#include "tests/config_text.h"

#include <stdio.h>

#define HEADS ",\"num_attention_heads\":8"
#define MISTRAL "\"architectures\":[\"MistralForCausalLM\"]"
#define QWEN2 "\"architectures\":[\"Qwen2ForCausalLM\"],\"num_key_value_heads\":2"
#define QWEN3 "\"architectures\":[\"Qwen3ForCausalLM\"],\"num_key_value_heads\":2"

/* Parses an architecture with `members`, number of heads among them, in a model of n_layer layers. */
static Status parse_sizes(ModelConfig *cfg, int n_layer, const char *members)
{
    char text[512];
    const int n = snprintf(text, sizeof text, "{\"vocab_size\":64,\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":%d,%s}",
                           n_layer, members);

    assert_true(n < (int)sizeof text);
    return config_parse(cfg, str_of(text), "config.json");
}

static void test_config_fills_defaults_of_the_architecture(void **state)
{
    ModelConfig cfg;

    (void)state;
    CHECK_OK(config_text_parse(&cfg, NULL, ""));
    assert_string_equal(cfg.arch->name, "LlamaForCausalLM");
    assert_int_equal(cfg.num_key_value_heads, 4);
    assert_int_equal(cfg.head_dim, 8);
    assert_int_equal(cfg.max_position_embeddings, 2048);
    check_close("rms_norm_eps", cfg.rms_norm_eps, 1e-6, 0, 0);
    assert_int_equal(cfg.bos_token_id, 1);
    assert_int_equal(cfg.n_eos, 1);
    assert_int_equal(cfg.eos_token_id[0], 2);
    assert_int_equal(cfg.pad_token_id, -1);
    assert_false(cfg.tie_word_embeddings || cfg.qkv_bias || cfg.o_bias || cfg.mlp_bias || cfg.qk_norm);
    assert_int_equal(cfg.rope.type, ROPE_DEFAULT);
    check_close("rope_theta", cfg.rope.theta, 10000, 0, 0);
    assert_int_equal(cfg.torch_dtype, LT_F32);
}

static void test_config_reads_what_is_written(void **state)
{
    ModelConfig cfg;

    (void)state;
    CHECK_OK(config_text_parse(&cfg, NULL,
                   "\"num_key_value_heads\":2,\"head_dim\":24.0,\"rms_norm_eps\":1e-5,\"attention_bias\":true,\"mlp_bias\":true,"
                   "\"tie_word_embeddings\":true,\"eos_token_id\":[7,9],\"bos_token_id\":null,\"pad_token_id\":3,\"dtype\":\"bfloat16\","
                   "\"max_position_embeddings\":77,\"rope_theta\":5e5"));
    assert_int_equal(cfg.num_key_value_heads, 2);
    assert_int_equal(cfg.head_dim, 24);
    assert_true(cfg.qkv_bias && cfg.o_bias && cfg.mlp_bias && cfg.tie_word_embeddings);
    assert_int_equal(cfg.n_eos, 2);
    assert_int_equal(cfg.eos_token_id[1], 9);
    assert_int_equal(cfg.bos_token_id, -1);
    assert_int_equal(cfg.pad_token_id, 3);
    assert_int_equal(cfg.torch_dtype, LT_BF16);
    assert_int_equal(cfg.max_position_embeddings, 77);
    check_close("rope_theta", cfg.rope.theta, 5e5, 0, 0);
}

static void test_config_takes_model_type_without_architectures(void **state)
{
    ModelConfig cfg;

    (void)state;
    CHECK_OK(config_text_parse(&cfg, "architectures", "\"model_type\":\"llama\""));
    assert_string_equal(cfg.arch->name, "LlamaForCausalLM");
    CHECK_FAILS(config_text_parse(&cfg, "architectures", "\"model_type\":\"gpt2\""), LT_E_INPUT, "gpt2");
}

/* Missing keys fall back to the defaults of the architecture, not to one default for all. */
static void test_config_defaults_differ_by_architecture(void **state)
{
    static const struct {
        const char *members;
        int64_t kv_heads, head_dim, max_position, window;
        int32_t bos, n_eos;
        bool qkv_bias, o_bias, qk_norm;
    } cases[] = {
        {"\"architectures\":[\"LlamaForCausalLM\"],\"num_attention_heads\":4,\"sliding_window\":5", 4, 8, 2048, 0, 1, 1, false, false, false},
        {MISTRAL ",\"num_attention_heads\":16,\"attention_bias\":true", 8, 2, 131072, 4096, 1, 1, false, false, false},
        {MISTRAL ",\"num_attention_heads\":4,\"num_key_value_heads\":null", 4, 8, 131072, 4096, 1, 1, false, false, false},
        {"\"architectures\":[\"Qwen2ForCausalLM\"],\"num_attention_heads\":32,\"head_dim\":6", 32, 6, 32768, 0, -1, 0, true, false, false},
        {QWEN2 ",\"num_attention_heads\":4,\"attention_bias\":true", 2, 8, 32768, 0, -1, 0, true, false, false},
        {QWEN3 ",\"num_attention_heads\":4", 2, 128, 32768, 0, -1, 0, false, false, true},
        {QWEN3 ",\"num_attention_heads\":4,\"attention_bias\":true,\"mlp_bias\":true", 2, 128, 32768, 0, -1, 0, true, true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ModelConfig cfg;

        CHECK_OK(parse_sizes(&cfg, 2, cases[i].members));
        assert_int_equal(cfg.num_key_value_heads, cases[i].kv_heads);
        assert_int_equal(cfg.head_dim, cases[i].head_dim);
        assert_int_equal(cfg.max_position_embeddings, cases[i].max_position);
        assert_int_equal(config_window(&cfg, 0), cases[i].window);
        assert_int_equal(config_window(&cfg, 1), cases[i].window);
        assert_int_equal(cfg.bos_token_id, cases[i].bos);
        assert_int_equal(cfg.n_eos, cases[i].n_eos);
        assert_int_equal(cfg.qkv_bias, cases[i].qkv_bias);
        assert_int_equal(cfg.o_bias, cases[i].o_bias);
        assert_int_equal(cfg.qk_norm, cases[i].qk_norm);
        assert_false(cfg.mlp_bias);
        check_close("rms_norm_eps", cfg.rms_norm_eps, 1e-6, 0, 0);
    }
}

/* The windows of three layers, in the words of both versions. */
static void test_config_finds_the_window_of_every_layer(void **state)
{
    static const struct {
        const char *members;
        int64_t window[3];
    } cases[] = {
        {MISTRAL HEADS, {4096, 4096, 4096}},
        {MISTRAL HEADS ",\"sliding_window\":null", {0, 0, 0}},
        {MISTRAL HEADS ",\"sliding_window\":8,\"use_sliding_window\":false,\"max_window_layers\":1", {8, 8, 8}},
        {QWEN2 HEADS ",\"sliding_window\":8", {0, 0, 0}},
        {QWEN2 HEADS ",\"sliding_window\":8,\"use_sliding_window\":false,\"max_window_layers\":1", {0, 0, 0}},
        {QWEN2 HEADS ",\"sliding_window\":8,\"use_sliding_window\":true", {0, 0, 0}}, /* max_window_layers 28 */
        {QWEN2 HEADS ",\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":1", {0, 8, 8}},
        {QWEN2 HEADS ",\"use_sliding_window\":true,\"max_window_layers\":0", {4096, 4096, 4096}},
        {QWEN2 HEADS ",\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":null", {0, 0, 0}},
        {QWEN3 HEADS ",\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":2", {0, 0, 8}},
        {QWEN3 HEADS ",\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":2,"
               "\"layer_types\":[\"sliding_attention\",\"full_attention\",\"sliding_attention\"]", {8, 0, 8}},
        {QWEN3 HEADS ",\"sliding_window\":null,\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\"]", {0, 0, 0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ModelConfig cfg, again;
        StrBuf written;

        CHECK_OK(parse_sizes(&cfg, 3, cases[i].members));
        strbuf_init(&written);
        CHECK_OK(config_write(&cfg, LT_F32, &written));
        CHECK_OK(config_parse(&again, strbuf_str(&written), "written"));
        strbuf_release(&written);
        for (int layer = 0; layer < 3; layer++) {
            assert_int_equal(config_window(&cfg, layer), cases[i].window[layer]);
            assert_int_equal(config_window(&again, layer), cases[i].window[layer]);
        }
    }
}

/* What is wrong, and what the message has to name. */
static const struct {
    const char *without, *more, *named;
} bad[] = {
    {"vocab_size", "", "vocab_size"},
    {"hidden_size", "\"hidden_size\":0", "hidden_size"},
    {"hidden_size", "\"hidden_size\":-32", "hidden_size"},
    {"hidden_size", "\"hidden_size\":32.5", "hidden_size"},
    {"hidden_size", "\"hidden_size\":\"32\"", "hidden_size"},
    {"hidden_size", "\"hidden_size\":4611686018427387904", "hidden_size"},
    {"hidden_size", "\"hidden_size\":1e30", "hidden_size"},
    {"hidden_size", "\"hidden_size\":33", "num_attention_heads"},
    {"num_hidden_layers", "\"num_hidden_layers\":1000000000", "num_hidden_layers"},
    {NULL, "\"num_key_value_heads\":3", "num_key_value_heads"},
    {NULL, "\"num_key_value_heads\":0", "num_key_value_heads"},
    {NULL, "\"head_dim\":7", "head_dim"},
    {NULL, "\"head_dim\":258", "head_dim"},
    {NULL, "\"max_position_embeddings\":0", "max_position_embeddings"},
    {NULL, "\"hidden_act\":\"gelu\"", "gelu"},
    {NULL, "\"rms_norm_eps\":-1e-5", "rms_norm_eps"},
    {NULL, "\"rms_norm_eps\":NaN", "config.json"},
    {NULL, "\"rms_norm_eps\":\"small\"", "rms_norm_eps"},
    {NULL, "\"tie_word_embeddings\":1", "tie_word_embeddings"},
    {NULL, "\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
    {NULL, "\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}", "rope_parameters.partial_rotary_factor"},
    {NULL, "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", "rope_parameters.full_attention"},
    {NULL, "\"quantization_config\":{\"bits\":4}", "quantization_config"},
    {NULL, "\"eos_token_id\":\"</s>\"", "eos_token_id"},
    {NULL, "\"eos_token_id\":[1,2.5]", "eos_token_id"},
    {NULL, "\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", "eos_token_id"},
    {NULL, "\"vocab_size\":64", "vocab_size"},
    {NULL, "\"rope_theta\":0", "rope_theta"},
    {NULL, "\"rope_theta\":1e300", "rope_theta"},
    {NULL, "\"rope_scaling\":[]", "rope_scaling"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":0}", "attention_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"mscale\":-1}", "mscale"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":1,\"high_freq_factor\":1e308}", "high_freq_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"swirl\",\"factor\":2}", "swirl"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"dynamic\"}", "rope_scaling.factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":0.5}", "rope_scaling.factor"},
    {NULL, "\"head_dim\":2,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2}", "head_dim"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":2}", "short_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1,1]}", "long_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1],\"long_factor\":[1,1,1,1]}", "short_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,0,1],\"long_factor\":[1,1,1,1]}", "short_factor[2]"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,1,1],\"long_factor\":[1,1,1,\"x\"]}", "long_factor[3]"},
    {NULL, LONGROPE ",\"original_max_position_embeddings\":1}", "original_max_position_embeddings"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"linear\"}", "rope_scaling.factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":-2}", "rope_scaling.factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":1}", "high_freq_factor"},
    {NULL, "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2}", "low_freq_factor"},
    {"architectures", "\"architectures\":[\"GPTNeoXForCausalLM\"]", "'GPTNeoXForCausalLM' is not supported"},
    {"architectures", "\"architectures\":[\"GemmaForCausalLM\"]", "'GemmaForCausalLM' is not supported"},
    {"architectures", "\"architectures\":[\"MixtralForCausalLM\"]", "'MixtralForCausalLM' is not supported"},
    {"architectures", "\"architectures\":[\"Qwen2MoeForCausalLM\"]", "'Qwen2MoeForCausalLM' is not supported"},
    {"architectures", "\"architectures\":[\"PhiForCausalLM\"]",
     "supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM"},
    {"architectures", MISTRAL ",\"num_key_value_heads\":4,\"sliding_window\":0", "sliding_window"},
    {"architectures", MISTRAL ",\"num_key_value_heads\":4,\"sliding_window\":\"8\"", "sliding_window"},
    {"architectures", MISTRAL, "num_key_value_heads"},
    {"architectures", QWEN2 ",\"use_sliding_window\":1", "use_sliding_window"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"sliding_window\":-8", "sliding_window"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"max_window_layers\":-1", "max_window_layers"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"layer_types\":[\"full_attention\"]", "layer_types"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"layer_types\":[\"full_attention\",\"linear_attention\"]", "layer_types[1]"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"layer_types\":[\"full_attention\",7]", "layer_types[1]"},
    {"architectures", QWEN2 ",\"use_sliding_window\":true,\"layer_types\":\"full_attention\"", "layer_types"},
    {"architectures", QWEN2 ",\"layer_types\":[\"sliding_attention\",\"full_attention\"]", "layer_types[0]"},
    {"architectures", "\"architectures\":[]", "architectures"},
    {"architectures", "\"architectures\":\"LlamaForCausalLM\"", "architectures"},
    {"architectures", "", "model_type"},
};

static void test_config_refuses_and_names_the_key(void **state)
{
    ModelConfig cfg = {.vocab_size = 4711};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_FAILS(config_text_parse(&cfg, bad[i].without, bad[i].more), LT_E_INPUT, bad[i].named);
        assert_int_equal(cfg.vocab_size, 4711);
    }
}

static void test_config_refuses_what_is_no_object(void **state)
{
    ModelConfig cfg;
    Digest digest;

    (void)state;
    CHECK_FAILS(config_parse(&cfg, str_of("[1]"), "config.json"), LT_E_INPUT, "config.json");
    CHECK_FAILS(config_parse(&cfg, str_of("{\"a\":"), "config.json"), LT_E_INPUT, "config.json");
    CHECK_FAILS(config_parse(&cfg, (Str){"", 0}, "config.json"), LT_E_INPUT, "config.json");
    CHECK_FAILS(config_load(&cfg, &digest, test_folder()), LT_E_INPUT, "config.json");
}

static void check_same(const ModelConfig *a, const ModelConfig *b)
{
    assert_ptr_equal(a->arch, b->arch);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->num_key_value_heads, b->num_key_value_heads);
    assert_int_equal(a->max_position_embeddings, b->max_position_embeddings);
    assert_int_equal(a->tie_word_embeddings, b->tie_word_embeddings);
    assert_int_equal(a->qkv_bias, b->qkv_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_int_equal(a->bos_token_id, b->bos_token_id);
    assert_int_equal(a->pad_token_id, b->pad_token_id);
    assert_int_equal(a->n_eos, b->n_eos);
    assert_memory_equal(a->eos_token_id, b->eos_token_id, sizeof a->eos_token_id);
    assert_int_equal(a->torch_dtype, b->torch_dtype);
    assert_int_equal(a->rope.type, b->rope.type);
    assert_int_equal(a->rope.original_max_position, b->rope.original_max_position);
    check_close("eps", a->rms_norm_eps, b->rms_norm_eps, 0, 0);
    check_close("range", a->initializer_range, b->initializer_range, 0, 0);
    check_close("theta", a->rope.theta, b->rope.theta, 0, 0);
    check_close("factor", a->rope.factor, b->rope.factor, 0, 0);
    check_close("low", a->rope.low_freq_factor, b->rope.low_freq_factor, 0, 0);
    check_close("high", a->rope.high_freq_factor, b->rope.high_freq_factor, 0, 0);
    check_close("beta_fast", a->rope.beta_fast, b->rope.beta_fast, 0, 0);
    check_close("attention_factor", a->rope.attention_factor, b->rope.attention_factor, 0, 0);
    check_close("mscale", a->rope.mscale, b->rope.mscale, 0, 0);
    assert_int_equal(a->rope.truncate, b->rope.truncate);
    assert_memory_equal(a->rope.short_factor, b->rope.short_factor, sizeof a->rope.short_factor);
    assert_memory_equal(a->rope.long_factor, b->rope.long_factor, sizeof a->rope.long_factor);
    for (int64_t layer = 0; layer < a->num_hidden_layers; layer++)
        assert_int_equal(config_window(a, layer), config_window(b, layer));
    assert_int_equal(a->o_bias, b->o_bias);
    assert_int_equal(a->qk_norm, b->qk_norm);
}

static void test_config_write_reads_back_the_same(void **state)
{
    static const char *const more[] = {
        "\"attention_bias\":true,\"eos_token_id\":[3,4],\"torch_dtype\":\"float16\",\"pad_token_id\":0",
        "\"mlp_bias\":true,\"eos_token_id\":null,\"head_dim\":10,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},\"torch_dtype\":\"float16\"",
        "\"tie_word_embeddings\":true,\"torch_dtype\":\"float16\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
        "\"high_freq_factor\":4,\"original_max_position_embeddings\":32}",
        "\"torch_dtype\":\"float16\",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":3}",
        "\"torch_dtype\":\"float16\"," LONGROPE ",\"original_max_position_embeddings\":77,\"attention_factor\":1.5}",
        "\"torch_dtype\":\"float16\",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":8,\"truncate\":false,\"mscale\":0.7,"
        "\"mscale_all_dim\":0.5,\"attention_factor\":1.25}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        ModelConfig a, b;
        StrBuf text;

        strbuf_init(&text);
        CHECK_OK(config_text_parse(&a, NULL, more[i]));
        CHECK_OK(config_write(&a, LT_F16, &text));
        CHECK_OK(config_parse(&b, strbuf_str(&text), "written"));
        check_same(&a, &b);
        strbuf_release(&text);
    }
}

static void test_config_both_golden_forms_agree(void **state)
{
    static const char *const names[] = {"llama2_tiny",       "llama3_tiny",        "llama_yarn_tiny", "llama_bias_tiny",
                                        "llama_linear_tiny", "llama_dynamic_tiny", "mistral_tiny",    "qwen2_tiny",
                                        "qwen3_tiny"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const bool linear = strcmp(names[i], "llama_linear_tiny") == 0;
        const char *const form = linear ? "config_new_form.json" : "config_old_form.json";
        ModelConfig a, b;
        Digest digest;
        char path[256];
        StrBuf text;

        snprintf(path, sizeof path, "golden/models/%s", names[i]);
        CHECK_OK(config_load(&a, &digest, test_data(path)));
        snprintf(path, sizeof path, "golden/models/%s/%s", names[i], form);
        strbuf_init(&text);
        CHECK_OK(file_read(test_data(path), 1 << 20, &text));
        CHECK_OK(config_parse(&b, strbuf_str(&text), form));
        strbuf_release(&text);
        check_same(&a, &b);
    }
}

static void test_config_counts_parameters(void **state)
{
    ModelConfig cfg;

    (void)state;
    /* by hand: embedding 64 x 32; a layer: q, k, v, o of 32 x 32, three of 48 x 32, two norms; last norm; head */
    CHECK_OK(config_text_parse(&cfg, NULL, ""));
    assert_int_equal(config_parameter_count(&cfg), 2 * 64 * 32 + 2 * (4 * 32 * 32 + 3 * 48 * 32 + 2 * 32) + 32);
    CHECK_OK(config_text_parse(&cfg, NULL, "\"tie_word_embeddings\":true,\"attention_bias\":true,\"mlp_bias\":true"));
    assert_int_equal(config_parameter_count(&cfg), 64 * 32 + 2 * (4 * 32 * 32 + 3 * 48 * 32 + 2 * 32 + 4 * 32 + 2 * 48 + 32) + 32);
}

static void test_config_parse_survives_lack_of_memory(void **state)
{
    ModelConfig cfg;
    uint64_t before = mem_count();

    (void)state;
    CHECK_OK(config_text_parse(&cfg, NULL, "\"eos_token_id\":[3,4]"));
    for (uint64_t n = 1, all = mem_count() - before; n <= all; n++) {
        const int64_t held = mem_held();
        const char *const text = "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":8,\"hidden_size\":4,\"intermediate_size\":4,"
                                 "\"num_hidden_layers\":1,\"num_attention_heads\":2}";
        Status st;

        mem_fail_at(n);
        st = config_parse(&cfg, str_of(text), "config.json");
        mem_fail_at(0);
        if (st != LT_OK)
            assert_non_null(strstr(status_text(), "memory"));
        assert_int_equal(mem_held(), held);
        status_clear();
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_fills_defaults_of_the_architecture),
        cmocka_unit_test(test_config_reads_what_is_written),
        cmocka_unit_test(test_config_takes_model_type_without_architectures),
        cmocka_unit_test(test_config_defaults_differ_by_architecture),
        cmocka_unit_test(test_config_finds_the_window_of_every_layer),
        cmocka_unit_test(test_config_refuses_and_names_the_key),
        cmocka_unit_test(test_config_refuses_what_is_no_object),
        cmocka_unit_test(test_config_write_reads_back_the_same),
        cmocka_unit_test(test_config_both_golden_forms_agree),
        cmocka_unit_test(test_config_counts_parameters),
        cmocka_unit_test(test_config_parse_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
