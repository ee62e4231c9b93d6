#include "model/config.h"

static const char *const torch_name[LT_DTYPES] = {[LT_F32] = "float32", [LT_BF16] = "bfloat16", [LT_F16] = "float16"};

static json_t *id_or_null(int32_t id) { return id < 0 ? json_null() : json_integer(id); }

/* One id as a number, several as a list, none as null: what transformers writes itself. */
static Status put_eos(json_t *object, const ModelConfig *cfg)
{
    json_t *list;
    Status st = LT_OK;

    if (cfg->n_eos < 2)
        return json_put(object, "eos_token_id", id_or_null(cfg->n_eos == 0 ? -1 : cfg->eos_token_id[0]));
    list = json_array();
    for (int i = 0; i < cfg->n_eos && st == LT_OK; i++)
        st = json_push(list, json_integer(cfg->eos_token_id[i]));
    if (st != LT_OK) {
        json_decref(list);
        return st;
    }
    return json_put(object, "eos_token_id", list);
}

static Status fill_llama3(json_t *o, const RopeConfig *rope)
{
    TRY(json_put(o, "low_freq_factor", json_real(rope->low_freq_factor)));
    return json_put(o, "high_freq_factor", json_real(rope->high_freq_factor));
}

static Status fill_yarn(json_t *o, const RopeConfig *rope)
{
    TRY(json_put(o, "beta_fast", json_real(rope->beta_fast)));
    TRY(json_put(o, "beta_slow", json_real(rope->beta_slow)));
    TRY(json_put(o, "truncate", json_boolean(rope->truncate)));
    if (rope->mscale != 0)
        TRY(json_put(o, "mscale", json_real(rope->mscale)));
    if (rope->mscale_all_dim != 0)
        TRY(json_put(o, "mscale_all_dim", json_real(rope->mscale_all_dim)));
    return LT_OK;
}

/* One number a frequency. `list` is put before it is filled, so that the object owns it. */
static Status put_stretch(json_t *o, const char *key, const double *stretch, int64_t n)
{
    json_t *list = json_array();

    TRY(json_put(o, key, list));
    for (int64_t i = 0; i < n; i++)
        TRY(json_push(list, json_real(stretch[i])));
    return LT_OK;
}

static Status fill_scaling(json_t *o, const ModelConfig *cfg)
{
    static const char *const name[] = {
        [ROPE_LINEAR] = "linear", [ROPE_DYNAMIC] = "dynamic", [ROPE_LLAMA3] = "llama3", [ROPE_YARN] = "yarn", [ROPE_LONGROPE] = "longrope",
    };
    const RopeConfig *rope = &cfg->rope;

    TRY(json_put(o, "rope_type", json_string(name[rope->type])));
    TRY(json_put(o, "factor", json_real(rope->factor)));
    if (rope->type == ROPE_LINEAR || rope->type == ROPE_DYNAMIC)
        return LT_OK;
    TRY(json_put(o, "original_max_position_embeddings", json_integer(rope->original_max_position)));
    if (rope->attention_factor != 0)
        TRY(json_put(o, "attention_factor", json_real(rope->attention_factor)));
    if (rope->type == ROPE_LLAMA3)
        return fill_llama3(o, rope);
    if (rope->type == ROPE_YARN)
        return fill_yarn(o, rope);
    TRY(put_stretch(o, "short_factor", rope->short_factor, cfg->head_dim / 2));
    return put_stretch(o, "long_factor", rope->long_factor, cfg->head_dim / 2);
}

static Status put_rope(json_t *object, const ModelConfig *cfg)
{
    json_t *scaling;

    TRY(json_put(object, "rope_theta", json_real(cfg->rope.theta)));
    if (cfg->rope.type == ROPE_DEFAULT)
        return json_put(object, "rope_scaling", json_null());
    scaling = json_object();
    TRY(json_put(object, "rope_scaling", scaling));
    return fill_scaling(scaling, cfg);
}

/* In both forms: version 4 counts the layers in front that see everything, version 5 names every layer's kind (and believes that). */
static Status put_layer_windows(json_t *o, const ModelConfig *cfg)
{
    json_t *kinds = json_array();
    int64_t first = 0;

    TRY(json_put(o, "layer_types", kinds));
    for (int64_t i = 0; i < cfg->num_hidden_layers; i++)
        TRY(json_push(kinds, json_string(config_window(cfg, i) > 0 ? "sliding_attention" : "full_attention")));
    while (first < cfg->num_hidden_layers && config_window(cfg, first) == 0)
        first++;
    return json_put(o, "max_window_layers", json_integer(first));
}

static Status put_window(json_t *o, const ModelConfig *cfg)
{
    const bool used = cfg->sliding_window > 0;

    if (cfg->arch->window == WINDOW_NEVER)
        return LT_OK;
    TRY(json_put(o, "sliding_window", used ? json_integer(cfg->sliding_window) : json_null()));
    if (cfg->arch->window == WINDOW_IF_SET)
        return LT_OK;
    TRY(json_put(o, "use_sliding_window", json_boolean(used)));
    return put_layer_windows(o, cfg);
}

static Status put_architecture(json_t *o, const ModelConfig *cfg)
{
    json_t *names = json_array();
    Status st = json_push(names, json_string(cfg->arch->name));

    if (st != LT_OK) {
        json_decref(names);
        return st;
    }
    TRY(json_put(o, "architectures", names));
    TRY(json_put(o, "model_type", json_string(cfg->arch->model_type)));
    if (cfg->arch->reads_attention_bias)
        TRY(json_put(o, "attention_bias", json_boolean(cfg->o_bias)));
    if (cfg->arch->reads_mlp_bias)
        TRY(json_put(o, "mlp_bias", json_boolean(cfg->mlp_bias)));
    return LT_OK;
}

static Status fill_config(json_t *o, const ModelConfig *cfg, DType dtype)
{
    const struct {
        const char *key;
        int64_t value;
    } size[] = {
        {"vocab_size", cfg->vocab_size},
        {"hidden_size", cfg->hidden_size},
        {"intermediate_size", cfg->intermediate_size},
        {"num_hidden_layers", cfg->num_hidden_layers},
        {"num_attention_heads", cfg->num_attention_heads},
        {"num_key_value_heads", cfg->num_key_value_heads},
        {"head_dim", cfg->head_dim},
        {"max_position_embeddings", cfg->max_position_embeddings},
    };

    TRY(put_architecture(o, cfg));
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        TRY(json_put(o, size[i].key, json_integer(size[i].value)));
    TRY(json_put(o, "hidden_act", json_string("silu")));
    TRY(json_put(o, "rms_norm_eps", json_real(cfg->rms_norm_eps)));
    TRY(json_put(o, "initializer_range", json_real(cfg->initializer_range)));
    TRY(json_put(o, "attention_dropout", json_real(0)));
    TRY(json_put(o, "tie_word_embeddings", json_boolean(cfg->tie_word_embeddings)));
    TRY(put_rope(o, cfg));
    TRY(put_window(o, cfg));
    TRY(json_put(o, "bos_token_id", id_or_null(cfg->bos_token_id)));
    TRY(put_eos(o, cfg));
    TRY(json_put(o, "pad_token_id", id_or_null(cfg->pad_token_id)));
    TRY(json_put(o, "torch_dtype", json_string(torch_name[dtype])));
    return json_put(o, "use_cache", json_true());
}

Status config_write(const ModelConfig *cfg, DType dtype, StrBuf *out)
{
    json_t *object = json_object();
    Status st;

    if (object == NULL)
        return FAIL(LT_E_NOMEM, "out of memory while writing config.json");
    st = fill_config(object, cfg, dtype);
    if (st == LT_OK)
        st = json_write(out, object, (JsonStyle){.indent = 2});
    if (st == LT_OK)
        strbuf_add_char(out, '\n');
    json_decref(object);
    return st == LT_OK ? strbuf_status(out) : st;
}
