/* config.json of the Llama family, in the forms of transformers 4 and 5, checked.
 * Facts: missing keys fall back per architecture, not to one global default; vocab_size may exceed the tokenizer's size;
 * head_dim need not be hidden_size / num_attention_heads; a non-null rope_scaling wins over rope_parameters and rope_type over type. */
#ifndef LETHE_MODEL_CONFIG_H
#define LETHE_MODEL_CONFIG_H

#include "core/hash.h"
#include "core/json.h"
#include "kernels/tensor.h"

enum { CONFIG_MAX_EOS = 16, CONFIG_MAX_LAYERS = 4096, CONFIG_MAX_HEAD_DIM = 256 };

typedef enum RopeType { ROPE_DEFAULT, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE } RopeType;

typedef struct RopeConfig {
    RopeType type;
    double theta, factor;
    double low_freq_factor, high_freq_factor;                /* llama3 */
    double beta_fast, beta_slow, attention_factor;           /* yarn; attention_factor (longrope too) 0: by formula */
    double mscale, mscale_all_dim;                           /* yarn; 0: not given */
    bool truncate;                                           /* yarn */
    int64_t original_max_position;                           /* llama3, yarn, longrope */
    double short_factor[CONFIG_MAX_HEAD_DIM / 2], long_factor[CONFIG_MAX_HEAD_DIM / 2]; /* longrope, a pair of dimensions each */
} RopeConfig;

/* Named as in config.json; const after config_parse. */
typedef struct ModelConfig {
    const struct Architecture *arch;
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int64_t num_attention_heads, num_key_value_heads, head_dim;
    int64_t max_position_embeddings;
    double rms_norm_eps, initializer_range;
    bool tie_word_embeddings;
    bool qkv_bias, o_bias, mlp_bias, qk_norm;
    int64_t sliding_window;      /* 0: none */
    uint64_t full_attention[CONFIG_MAX_LAYERS / 64]; /* bit per layer: it attends to everything although there is a window */
    RopeConfig rope;
    int32_t bos_token_id, pad_token_id; /* -1: none */
    int32_t eos_token_id[CONFIG_MAX_EOS];
    int n_eos;
    DType torch_dtype;           /* what the file says the weights are stored in */
} ModelConfig;

/* One supported architecture: what differs between the families, as data. Adding one is a row here and rows in model/params.c. */
typedef struct Architecture {
    const char *name;            /* "LlamaForCausalLM" */
    const char *model_type;      /* "llama" */
    double default_rms_norm_eps;
    int64_t default_head_dim;    /* 0: hidden_size / num_attention_heads */
    int64_t default_kv_heads;    /* 0: num_attention_heads, which is also what null means */
    int64_t default_max_position;
    int32_t default_bos, default_eos; /* -1: none */
    bool reads_attention_bias;   /* attention_bias covers q, k, v and o */
    bool always_qkv_bias;        /* Qwen2 */
    bool reads_mlp_bias, qk_norm;
    enum {
        WINDOW_NEVER,
        WINDOW_IF_SET,  /* in all layers unless sliding_window is null */
        WINDOW_IF_USED, /* if use_sliding_window says so, in the layers of layer_types or from max_window_layers on */
    } window;
    int64_t default_window;
} Architecture;
/* NULL-terminated by name NULL. */
extern const Architecture architectures[];

/* Pure: text to config. LT_E_INPUT names the key, expected and found; an architecture or RoPE type we cannot run is refused by name. */
Status config_parse(ModelConfig *out, Str text, const char *file);
/* FOLDER/config.json, and SHA-256 of its bytes. */
Status config_load(ModelConfig *out, Digest *digest, const char *folder);

/* The text of a config.json that transformers 4 and 5 both read: RoPE under the older keys, which the newer version takes as well. */
Status config_write(const ModelConfig *cfg, DType dtype, StrBuf *out);

/* How far back layer `layer` sees, itself included; 0: everything. */
static inline int64_t config_window(const ModelConfig *cfg, int64_t layer)
{
    return cfg->full_attention[layer / 64] >> (layer % 64) & 1 ? 0 : cfg->sliding_window;
}

/* Parameters with every weight counted once (tied: the embedding once). */
int64_t config_parameter_count(const ModelConfig *cfg);

#endif
