/* config.json. */
#include "tests/fuzz/fuzz.h"

#include "model/config.h"
#include "model/rope.h"

static void check_accepted(const ModelConfig *c)
{
    float inv_freq[CONFIG_MAX_HEAD_DIM / 2], factor;

    BUG_IF(c->arch == NULL || c->vocab_size < 1 || c->hidden_size < 1 || c->intermediate_size < 1 || c->num_hidden_layers < 1);
    BUG_IF(c->num_attention_heads < 1 || c->num_key_value_heads < 1 || c->num_attention_heads % c->num_key_value_heads != 0);
    BUG_IF(c->head_dim < 2 || c->head_dim > 256 || c->head_dim % 2 != 0 || c->max_position_embeddings < 1);
    BUG_IF(!(c->rms_norm_eps >= 0) || c->n_eos < 0 || c->n_eos > CONFIG_MAX_EOS || c->sliding_window < 0);
    for (int i = 0; i < c->n_eos; i++)
        BUG_IF(c->eos_token_id[i] < 0);
    BUG_IF(config_parameter_count(c) <= 0);
    for (int k = 1; k < 4; k++) { /* shorter than the model's positions, and longer */
        rope_frequencies(c, c->max_position_embeddings / 2 * k, inv_freq, &factor);
        for (int64_t i = 0; i < c->head_dim / 2; i++)
            BUG_IF(!(inv_freq[i] >= 0));
        BUG_IF(!(factor > 0));
    }
}

/* Written and read again, it is the same model. */
static void check_round(const ModelConfig *c)
{
    ModelConfig again;
    StrBuf text;

    strbuf_init(&text);
    if (fuzz_must(config_write(c, c->torch_dtype, &text)) && fuzz_must(config_parse(&again, strbuf_str(&text), "written.json"))) {
        BUG_IF(again.hidden_size != c->hidden_size || again.head_dim != c->head_dim || again.n_eos != c->n_eos);
        BUG_IF(again.rope.type != c->rope.type || again.rope.theta < c->rope.theta || again.rope.theta > c->rope.theta);
        BUG_IF(config_parameter_count(&again) != config_parameter_count(c));
        for (int64_t i = 0; i < c->num_hidden_layers; i++)
            BUG_IF(config_window(&again, i) != config_window(c, i));
    }
    strbuf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t held = mem_held();
    ModelConfig cfg;

    if (fuzz_succeeded(config_parse(&cfg, fuzz_str(data, size), "config.json"))) {
        check_accepted(&cfg);
        check_round(&cfg);
    }
    BUG_IF(mem_held() != held);
    return 0;
}

#define SIZES                                                                                                          \
    "\"vocab_size\":320,\"hidden_size\":64,\"intermediate_size\":176,\"num_hidden_layers\":2,\"num_attention_heads\":4"
#define LLAMA "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\"," SIZES

void fuzz_config_seeds(SeedList *out)
{
    static const char *const more[] = {
        "",
        ",\"num_key_value_heads\":2,\"head_dim\":32,\"rms_norm_eps\":1e-05,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"",
        ",\"attention_bias\":true,\"mlp_bias\":true,\"hidden_act\":\"swish\",\"bos_token_id\":null,\"eos_token_id\":[1,2,3],\"pad_token_id\":-1",
        ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
        "\"original_max_position_embeddings\":8192}",
        ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},\"max_position_embeddings\":4096",
        ",\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":0.7,\"mscale_all_dim\":0.7,"
        "\"attention_factor\":1.1,\"truncate\":false,\"rope_theta\":1e6},\"original_max_position_embeddings\":512",
        ",\"head_dim\":4,\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1.5],\"long_factor\":[1,8],"
        "\"original_max_position_embeddings\":64}",
        ",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2},\"max_position_embeddings\":16",
        ",\"quantization_config\":{\"bits\":4},\"partial_rotary_factor\":0.5,\"sliding_window\":4096,\"use_sliding_window\":true",
        ",\"head_dim\":0,\"num_key_value_heads\":3,\"auto_map\":{\"AutoModel\":\"evil.py\"}",
    };

    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        StrBuf text;

        strbuf_init(&text);
        strbuf_addf(&text, LLAMA "%s}", more[i]);
        seed_add_buf(out, &text);
    }
    for (const Architecture *a = architectures; a->name != NULL; a++) {
        StrBuf text;

        strbuf_init(&text);
        strbuf_addf(&text, "{\"model_type\":\"%s\"," SIZES ",\"num_key_value_heads\":4,\"sliding_window\":128,"
                           "\"use_sliding_window\":true,\"max_window_layers\":1,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
                    a->model_type);
        seed_add_buf(out, &text);
    }
}
