#include "tests/check.h"

#include "model/adapter_config.h"

#include <math.h>
#include <stdio.h>

static Status parse(AdapterConfig *out, const char *members)
{
    char text[2048];

    snprintf(text, sizeof text, "{\"peft_type\": \"LORA\"%s%s}", members[0] != '\0' ? ", " : "", members);
    return adapter_config_parse(out, str_of(text), "adapter_config.json");
}

static bool targets(const AdapterConfig *cfg, const char *module)
{
    bool yes;

    CHECK_OK(adapter_config_targets(cfg, str_of(module), &yes));
    return yes;
}

/* ---- which modules -------------------------------------------------------------------------------------------------------- */

static const char Q0[] = "model.layers.0.self_attn.q_proj", Q1[] = "model.layers.1.self_attn.q_proj", Q10[] = "model.layers.10.self_attn.q_proj",
                  UP1[] = "model.layers.1.mlp.up_proj", HEAD[] = "lm_head";

/* Bits of `want`: Q0, Q1, Q10, UP1, HEAD. The rules are PEFT's. */
static void test_config_targets_as_peft_does(void **state)
{
    static const char *const module[] = {Q0, Q1, Q10, UP1, HEAD};
    static const struct {
        const char *members, *want;
    } cases[] = {
        {"\"target_modules\": [\"q_proj\"]", "11100"},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"]", "11110"},
        {"\"target_modules\": [\"proj\"]", "00000"}, /* the end of a word is not the last part of a path */
        {"\"target_modules\": [\"self_attn.q_proj\", \"lm_head\"]", "11101"},
        {"\"target_modules\": [\"model.layers.1.self_attn.q_proj\"]", "01000"},
        {"\"target_modules\": \"q_proj\"", "00000"}, /* an expression matches all of the path */
        {"\"target_modules\": \".*q_proj\"", "11100"},
        {"\"target_modules\": \"lm_head|.*up_proj\"", "00011"}, /* either branch must match all of it */
        {"\"target_modules\": \".*layers\\\\.1\\\\..*\"", "01010"},
        {"\"target_modules\": \"all-linear\"", "11111"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [0, 10]", "10100"},
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"layers_to_transform\": 1", "01010"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": \"layers\"", "01000"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": [\"h\", \"layers\"]", "01000"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": \"blocks\"", "00000"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_pattern\": []", "01000"},
        {"\"target_modules\": [\"q_proj\"], \"layers_to_transform\": []", "11100"},
        {"\"target_modules\": [\"q_proj\", \"lm_head\"], \"layers_to_transform\": [1]", "01001"}, /* a whole path is meant anyway */
        {"\"target_modules\": [\"q_proj\", \"up_proj\"], \"exclude_modules\": [\"q_proj\"]", "00010"},
        {"\"target_modules\": [\"q_proj\"], \"exclude_modules\": \".*\\\\.1\\\\..*\"", "10100"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[6] = "";
        AdapterConfig cfg;

        CHECK_OK(parse(&cfg, cases[i].members));
        for (int m = 0; m < 5; m++)
            got[m] = targets(&cfg, module[m]) ? '1' : '0';
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got %s, expected %s", cases[i].members, got, cases[i].want);
        adapter_config_release(&cfg);
    }
}

/* ---- rank and factor ------------------------------------------------------------------------------------------------------ */

static void check_scale(const AdapterConfig *cfg, const char *module, int64_t want_rank, double want_scale)
{
    int64_t rank;
    double scale;

    CHECK_OK(adapter_config_scale(cfg, str_of(module), &rank, &scale));
    assert_int_equal(rank, want_rank);
    check_close(module, scale, want_scale, 0, 1e-15);
}

static void test_config_scales_by_rank_or_its_root(void **state)
{
    AdapterConfig cfg;

    (void)state;
    CHECK_OK(parse(&cfg, "\"r\": 4, \"lora_alpha\": 6, \"target_modules\": [\"q_proj\"]"));
    check_scale(&cfg, Q0, 4, 1.5);
    adapter_config_release(&cfg);
    CHECK_OK(parse(&cfg, "\"r\": 9, \"lora_alpha\": 6.5, \"use_rslora\": true, \"target_modules\": [\"q_proj\"]"));
    check_scale(&cfg, Q0, 9, 6.5 / 3);
    adapter_config_release(&cfg);
    CHECK_OK(parse(&cfg, "\"target_modules\": [\"q_proj\"]")); /* PEFT's defaults */
    check_scale(&cfg, Q0, 8, 1);
    adapter_config_release(&cfg);
}

/* The first key in file order that matches the end of the path, from a dot on. */
static void test_config_patterns_go_by_file_order(void **state)
{
    AdapterConfig cfg;

    (void)state;
    CHECK_OK(parse(&cfg, "\"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\", \"up_proj\"],"
                         "\"rank_pattern\": {\"layers.0.self_attn.q_proj\": 2, \"q_proj\": 16, \"^model.*up_proj\": 5, \"_proj\": 99},"
                         "\"alpha_pattern\": {\"q_proj\": 3, \"layers.0.self_attn.q_proj\": 100, \"lm_head|up_proj\": 10}"));
    check_scale(&cfg, Q0, 2, 3.0 / 2);
    check_scale(&cfg, Q1, 16, 3.0 / 16);
    check_scale(&cfg, UP1, 5, 10.0 / 5);
    check_scale(&cfg, HEAD, 4, 10.0 / 4);
    adapter_config_release(&cfg);
}

/* ---- what is refused ------------------------------------------------------------------------------------------------------ */

static void test_config_refuses_by_name(void **state)
{
    static const struct {
        const char *members, *part;
    } cases[] = {
        {"\"use_dora\": true", "use_dora: expected null"},
        {"\"modules_to_save\": [\"lm_head\"]", "modules_to_save"},
        {"\"bias\": \"all\"", "bias: expected \"none\""},
        {"\"lora_bias\": true", "lora_bias"},
        {"\"fan_in_fan_out\": true", "fan_in_fan_out"},
        {"\"alora_invocation_tokens\": [5]", "alora_invocation_tokens"},
        {"\"layer_replication\": [[0, 1]]", "layer_replication"},
        {"\"target_parameters\": [\"w\"]", "target_parameters"},
        {"\"trainable_token_indices\": {\"embed_tokens\": [1]}", "trainable_token_indices"},
        {"\"use_qalora\": true", "use_qalora"},
        {"\"kasa_config\": {\"x\": 1}", "kasa_config"},
        {"\"a_key_of_tomorrow\": 3", "a_key_of_tomorrow: expected null, false or nothing, since only plain LoRA can be applied, found 3"},
        {"\"init_lora_weights\": \"pissa_niter_4\"", "init_lora_weights"},
        {"\"init_lora_weights\": \"olora\"", "init_lora_weights"},
        {"\"r\": 0", "r: expected"},
        {"\"r\": 4.5", "r: expected"},
        {"\"lora_alpha\": \"16\"", "lora_alpha: expected a number"},
        {"\"lora_alpha\": 1e13", "lora_alpha: expected a number from -1e12 to 1e12"},
        {"\"alpha_pattern\": {\"q_proj\": -1e300}", "alpha_pattern.q_proj: expected a number from -1e12"},
        {"\"lora_alpha\": 1e999", "adapter_config.json"},
        {"\"lora_alpha\": NaN", "adapter_config.json"},
        {"\"rank_pattern\": {\"q_proj\": 0}", "rank_pattern.q_proj"},
        {"\"rank_pattern\": {\"q_(\": 2}", "regular expression"},
        {"\"alpha_pattern\": {\"q_proj\": null}", "alpha_pattern.q_proj"},
        {"\"alpha_pattern\": [1]", "alpha_pattern"},
        {"\"target_modules\": []", "target_modules: expected module names"},
        {"\"target_modules\": null", "target_modules: expected module names"},
        {"\"target_modules\": [3]", "target_modules[0]: expected"},
        {"\"target_modules\": \"(\"", "target_modules: expected a regular expression"},
        {"\"target_modules\": {\"a\": 1}", "target_modules: expected"},
        {"\"target_modules\": \".*\", \"layers_to_transform\": [1]", "layers_to_transform"},
        {"\"layers_to_transform\": [-1]", "layers_to_transform[0]"},
        {"\"layers_to_transform\": [1], \"layers_pattern\": \"(\"", "layers_pattern"},
        {"\"base_model_name_or_path\": 3", "base_model_name_or_path"},
    };
    AdapterConfig cfg;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char members[512];
        const bool own = strstr(cases[i].members, "target_modules") != NULL;

        snprintf(members, sizeof members, "%s%s", cases[i].members, own ? "" : ", \"target_modules\": [\"q_proj\"]");
        CHECK_FAILS(parse(&cfg, members), LT_E_INPUT, cases[i].part);
    }
    CHECK_FAILS(adapter_config_parse(&cfg, str_of("{\"peft_type\": \"LOHA\"}"), "f"), LT_E_INPUT, "peft_type: expected \"LORA\"");
    CHECK_FAILS(adapter_config_parse(&cfg, str_of("{\"r\": 4}"), "f"), LT_E_INPUT, "peft_type");
    CHECK_FAILS(adapter_config_parse(&cfg, str_of("[]"), "f"), LT_E_INPUT, "object");
    CHECK_FAILS(adapter_config_parse(&cfg, str_of("{"), "f"), LT_E_INPUT, "f");
}

/* What says nothing, and what only tells how the adapter came to be. */
static void test_config_accepts_what_changes_nothing(void **state)
{
    AdapterConfig cfg;

    (void)state;
    CHECK_OK(parse(&cfg, "\"target_modules\": [\"q_proj\"], \"use_dora\": false, \"modules_to_save\": null, \"layer_replication\": [], \"bias\": \"none\","
                         "\"kasa_config\": null, \"a_key_of_tomorrow\": {}, \"another\": 0, \"a_third\": \"\", \"fan_in_fan_out\": false,"
                         "\"lora_dropout\": 0.1, \"task_type\": \"CAUSAL_LM\", \"inference_mode\": true, \"qalora_group_size\": 16,"
                         "\"megatron_core\": \"megatron.core\", \"peft_version\": \"0.21.2\", \"auto_mapping\": {\"base_model_class\": \"X\"},"
                         "\"init_lora_weights\": \"gaussian\", \"base_model_name_or_path\": \"org/base\", \"revision\": \"main\""));
    check_str(cfg.base, "org/base", 8);
    adapter_config_release(&cfg);
    CHECK_OK(parse(&cfg, "\"target_modules\": [\"q_proj\"], \"init_lora_weights\": false, \"base_model_name_or_path\": null"));
    assert_int_equal(cfg.base.len, 0);
    adapter_config_release(&cfg);
}

static void test_config_survives_without_memory(void **state)
{
    static const char members[] = "\"target_modules\": [\"q_proj\", \"up_proj\"], \"exclude_modules\": \"x\", \"rank_pattern\": {\"a\": 1, \"b\": 2},"
                                  "\"alpha_pattern\": {\"a\": 1}, \"layers_to_transform\": [1], \"layers_pattern\": [\"a\", \"b\"],"
                                  "\"base_model_name_or_path\": \"org/base\"";
    const int64_t held = mem_held();
    Status st = LT_E_NOMEM;
    AdapterConfig cfg;

    (void)state;
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = parse(&cfg, members);
        mem_fail_at(0);
        if (st != LT_OK) {
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
            assert_int_equal(mem_held(), held);
        }
        assert_true(n < 1000);
    }
    adapter_config_release(&cfg);
    json_use_mem();
    assert_int_equal(mem_held(), held);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_targets_as_peft_does),
        cmocka_unit_test(test_config_scales_by_rank_or_its_root),
        cmocka_unit_test(test_config_patterns_go_by_file_order),
        cmocka_unit_test(test_config_refuses_by_name),
        cmocka_unit_test(test_config_accepts_what_changes_nothing),
        cmocka_unit_test(test_config_survives_without_memory),
    };

    return TEST_MAIN(tests);
}
