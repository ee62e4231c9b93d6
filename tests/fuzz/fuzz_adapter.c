/* adapter_config.json. */
#include "tests/fuzz/fuzz.h"

#include "model/adapter_config.h"

#include <math.h>

/* An expression may be too costly to match, which is an answer; rank and factor of what does match are bounded. */
static void check_accepted(const AdapterConfig *cfg)
{
    static const char *const module[] = {"model.layers.0.self_attn.q_proj", "model.layers.31.mlp.down_proj", "model.embed_tokens", "lm_head"};

    BUG_IF(cfg->rank < 1 || cfg->rank > ADAPTER_MAX_RANK || !(fabs(cfg->alpha) <= 1e12));
    BUG_IF(!cfg->all_linear && cfg->target.regex == NULL && cfg->target.count == 0);
    BUG_IF(cfg->n_layer > 0 && cfg->n_layers_pattern == 0);
    for (size_t i = 0; i < sizeof module / sizeof *module; i++) {
        int64_t rank;
        double scale;
        bool wanted;

        (void)fuzz_succeeded(adapter_config_targets(cfg, str_of(module[i]), &wanted));
        if (fuzz_succeeded(adapter_config_scale(cfg, str_of(module[i]), &rank, &scale)))
            BUG_IF(rank < 1 || rank > ADAPTER_MAX_RANK || !(fabs(scale) <= 1e12));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t held = mem_held();
    AdapterConfig cfg;

    if (fuzz_succeeded(adapter_config_parse(&cfg, fuzz_str(data, size), "adapter_config.json"))) {
        check_accepted(&cfg);
        adapter_config_release(&cfg);
    }
    BUG_IF(mem_held() != held);
    return 0;
}

#define LORA "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"

void fuzz_adapter_seeds(SeedList *out)
{
    static const char *const text[] = {
        LORA "\"target_modules\":[\"q_proj\",\"v_proj\"],\"bias\":\"none\",\"use_dora\":false,\"modules_to_save\":null}",
        LORA "\"target_modules\":\"all-linear\",\"use_rslora\":true,\"base_model_name_or_path\":\"org/base\"}",
        LORA "\"target_modules\":\".*layers\\\\.1\\\\..*\\\\.(q_proj|up_proj)\",\"exclude_modules\":\".*up.*\"}",
        LORA "\"target_modules\":[\"q_proj\"],\"layers_to_transform\":[0,31],\"layers_pattern\":[\"h\",\"layers\"]}",
        LORA "\"target_modules\":[\"q_proj\"],\"layers_to_transform\":1,\"layers_pattern\":\"(layers)|x\"}",
        LORA "\"target_modules\":[\"q_proj\"],\"rank_pattern\":{\"q_proj\":2,\".*\\\\.0\\\\..*\":6},\"alpha_pattern\":{\"v_proj\":5.5,\"^model\":-1}}",
        LORA "\"target_modules\":[\"q_proj\"],\"use_dora\":true}",
        LORA "\"target_modules\":\"(a+)+$\",\"init_lora_weights\":\"pissa\"}",
        "{\"peft_type\":\"LORA\",\"r\":65536,\"lora_alpha\":1e308,\"target_modules\":[\"\"],\"exclude_modules\":[\"x\"]}",
    };

    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        seed_add_text(out, text[i]);
}
