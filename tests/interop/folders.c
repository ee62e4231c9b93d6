#include "tests/interop/folders.h"

#include "core/file.h"
#include "tests/check.h"
#include "tests/made_factors.h"
#include "tests/ref_model.h"
#include "tests/saved.h"
#include "tests/world/world.h"

/* The sliding window is shorter than the rows that are compared; Qwen2 has no head size of its own, Qwen3 one that is not hidden / heads. */
static const struct {
    const char *name, *members;
} models[] = {
    {"mistral", "\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\", \"head_dim\": 8, \"sliding_window\": 16, "
                "\"tie_word_embeddings\": false"},
    {"qwen2", "\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"tie_word_embeddings\": true"},
    {"qwen3", "\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", \"head_dim\": 16, \"attention_bias\": false, "
              "\"tie_word_embeddings\": false"},
};

static void make_model(const char *folder, const char *members)
{
    ModelConfig cfg;
    Model *model;
    StrBuf text;
    Device *dev = saved_device(1);

    strbuf_init(&text);
    strbuf_addf(&text,
                "{%s, \"vocab_size\": 96, \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
                "\"num_key_value_heads\": 2, \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, "
                "\"initializer_range\": 0.15, \"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2, \"torch_dtype\": \"float32\"}",
                members);
    CHECK_OK(strbuf_status(&text));
    CHECK_OK(config_parse(&cfg, strbuf_str(&text), "config.json"));
    CHECK_OK(model_random(&model, dev, &cfg, LT_F32, 11));
    ref_model_disturb(model, 11);
    CHECK_OK(model_save(model, folder));
    model_free(model);
    strbuf_release(&text);
    device_close(dev);
}

static void make_adapters(const char *folder, const char *base)
{
    ModelConfig cfg;
    Digest digest;
    StrBuf path;

    strbuf_init(&path);
    CHECK_OK(config_load(&cfg, &digest, base));
    for (int shape = 0; shape < MADE_SHAPES; shape++) {
        const AdapterOrigin origin = made_origin((MadeShape)shape, base);
        Factors *made = made_factors(&cfg, (MadeShape)shape, 13);

        CHECK_OK(path_join(&path, folder, made_name[shape]));
        CHECK_OK(adapter_write(path.data, &made->params, &cfg, NULL, &origin));
        factors_free(made);
    }
    strbuf_release(&path);
}

void interop_make(const char *folder)
{
    StrBuf inside, model;

    strbuf_init(&inside);
    strbuf_init(&model);
    CHECK_OK(path_join(&inside, folder, "world"));
    CHECK_OK(world_make(inside.data, 1));
    CHECK_OK(path_join(&model, inside.data, "model"));
    make_adapters(inside.data, model.data);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        CHECK_OK(path_join(&inside, folder, models[i].name));
        CHECK_OK(path_join(&model, inside.data, "model"));
        make_model(model.data, models[i].members);
        make_adapters(inside.data, model.data);
    }
    strbuf_release(&model);
    strbuf_release(&inside);
}
