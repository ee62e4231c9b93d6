#include "model/config.h"

#include "core/file.h"
#include "model/config_read.h"
#include "model/params.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

/* Bounds far above any real model: they keep every product of two sizes inside 63 bits and catch nonsense by its key. */
enum { MAX_VOCAB = 1 << 26, MAX_WIDTH = 1 << 22, MAX_HEADS = 1 << 14 };

const Architecture architectures[] = {
    {
        .name = "LlamaForCausalLM",
        .model_type = "llama",
        .default_rms_norm_eps = 1e-6,
        .default_max_position = 2048,
        .default_bos = 1,
        .default_eos = 2,
        .reads_attention_bias = true,
        .reads_mlp_bias = true,
        .window = WINDOW_NEVER,
    },
    {
        .name = "MistralForCausalLM",
        .model_type = "mistral",
        .default_rms_norm_eps = 1e-6,
        .default_kv_heads = 8,
        .default_max_position = 131072,
        .default_bos = 1,
        .default_eos = 2,
        .window = WINDOW_IF_SET,
        .default_window = 4096,
    },
    {
        .name = "Qwen2ForCausalLM",
        .model_type = "qwen2",
        .default_rms_norm_eps = 1e-6,
        .default_kv_heads = 32,
        .default_max_position = 32768,
        .default_bos = -1,
        .default_eos = -1,
        .always_qkv_bias = true,
        .window = WINDOW_IF_USED,
        .default_window = 4096,
    },
    {
        .name = "Qwen3ForCausalLM",
        .model_type = "qwen3",
        .default_rms_norm_eps = 1e-6,
        .default_head_dim = 128,
        .default_kv_heads = 32,
        .default_max_position = 32768,
        .default_bos = -1,
        .default_eos = -1,
        .reads_attention_bias = true,
        .qk_norm = true,
        .window = WINDOW_IF_USED,
        .default_window = 4096,
    },
    {.name = NULL},
};

static const struct {
    const char *name;
    DType dtype;
} torch_dtypes[] = {{"float32", LT_F32}, {"bfloat16", LT_BF16}, {"float16", LT_F16}};
enum { N_TORCH_DTYPE = sizeof torch_dtypes / sizeof *torch_dtypes };

/* "LlamaForCausalLM, ..." for the message that refuses another one. */
static void supported_names(StrBuf *out)
{
    for (const Architecture *a = architectures; a->name != NULL; a++)
        strbuf_addf(out, "%s%s", a == architectures ? "" : ", ", a->name);
}

/* architectures[0] decides; files without the list (old ones) say it by model_type. */
static Status read_architecture(ModelConfig *cfg, const JsonAt *root)
{
    const JsonAt list = json_member(root, "architectures");
    JsonAt at = json_here(list) ? json_element(&list, 0) : json_member(root, "model_type");
    const bool by_name = json_here(list);
    StrBuf names;
    Str name;
    size_t count;
    Status st;

    if (by_name) {
        TRY(json_to_array(list, &count));
        if (count != 1)
            return json_fail(list, "expected one architecture, found %zu", count);
    }
    TRY(json_to_str(at, &name));
    for (const Architecture *a = architectures; a->name != NULL; a++)
        if (str_is(name, by_name ? a->name : a->model_type)) {
            cfg->arch = a;
            return LT_OK;
        }
    strbuf_init(&names);
    supported_names(&names);
    st = strbuf_status(&names);
    if (st == LT_OK)
        st = json_fail(at, "architecture '" STR_FORMAT "' is not supported; supported: %s", STR_ARG(name), names.data);
    strbuf_release(&names);
    return st;
}

static Status read_sizes(ModelConfig *cfg, const JsonAt *root)
{
    const Architecture *arch = cfg->arch;
    const JsonAt kv = json_member(root, "num_key_value_heads"), head_dim = json_member(root, "head_dim");

    TRY(json_get_int(root, "vocab_size", 1, MAX_VOCAB, &cfg->vocab_size));
    TRY(json_get_int(root, "hidden_size", 1, MAX_WIDTH, &cfg->hidden_size));
    TRY(json_get_int(root, "intermediate_size", 1, MAX_WIDTH, &cfg->intermediate_size));
    TRY(json_get_int(root, "num_hidden_layers", 1, CONFIG_MAX_LAYERS, &cfg->num_hidden_layers));
    TRY(json_get_int(root, "num_attention_heads", 1, MAX_HEADS, &cfg->num_attention_heads));
    cfg->num_key_value_heads = kv.value == NULL && arch->default_kv_heads > 0 ? arch->default_kv_heads : cfg->num_attention_heads;
    TRY(json_opt_int(root, "num_key_value_heads", 1, MAX_HEADS, &cfg->num_key_value_heads));
    if (cfg->num_attention_heads % cfg->num_key_value_heads != 0)
        return json_fail(kv, "expected a divisor of num_attention_heads %lld, found %lld", (long long)cfg->num_attention_heads,
                         (long long)cfg->num_key_value_heads);
    cfg->head_dim = arch->default_head_dim;
    TRY(json_opt_int(root, "head_dim", 2, CONFIG_MAX_HEAD_DIM, &cfg->head_dim));
    if (cfg->head_dim == 0) {
        if (cfg->hidden_size % cfg->num_attention_heads != 0)
            return json_fail(json_member(root, "num_attention_heads"), "expected a divisor of hidden_size %lld (no head_dim given), found %lld",
                             (long long)cfg->hidden_size, (long long)cfg->num_attention_heads);
        cfg->head_dim = cfg->hidden_size / cfg->num_attention_heads;
    }
    if (cfg->head_dim % 2 != 0 || cfg->head_dim > CONFIG_MAX_HEAD_DIM)
        return json_fail(head_dim, "expected an even head size up to %d, found %lld", CONFIG_MAX_HEAD_DIM, (long long)cfg->head_dim);
    cfg->max_position_embeddings = arch->default_max_position;
    return json_opt_int(root, "max_position_embeddings", 1, CONFIG_MAX_POSITION, &cfg->max_position_embeddings);
}

static Status read_switches(ModelConfig *cfg, const JsonAt *root)
{
    const JsonAt act = json_member(root, "hidden_act");
    bool attention_bias = false;
    Str name = str_of("silu");

    TRY(json_opt_str(root, "hidden_act", &name));
    if (!str_is(name, "silu") && !str_is(name, "swish"))
        return json_expected(act, "the activation \"silu\"");
    cfg->rms_norm_eps = cfg->arch->default_rms_norm_eps;
    TRY(json_opt_double(root, "rms_norm_eps", &cfg->rms_norm_eps));
    if (cfg->rms_norm_eps < 0 || cfg->rms_norm_eps > 1)
        return json_expected(json_member(root, "rms_norm_eps"), "a number from 0 to 1");
    cfg->initializer_range = 0.02;
    TRY(json_opt_double(root, "initializer_range", &cfg->initializer_range));
    TRY(json_opt_bool(root, "tie_word_embeddings", &cfg->tie_word_embeddings));
    if (cfg->arch->reads_attention_bias)
        TRY(json_opt_bool(root, "attention_bias", &attention_bias));
    cfg->qkv_bias = attention_bias || cfg->arch->always_qkv_bias;
    cfg->o_bias = attention_bias;
    if (cfg->arch->reads_mlp_bias)
        TRY(json_opt_bool(root, "mlp_bias", &cfg->mlp_bias));
    cfg->qk_norm = cfg->arch->qk_norm;
    if (json_here(json_member(root, "quantization_config")))
        return json_fail(json_member(root, "quantization_config"), "quantised weights are not supported; use the unquantised model");
    return LT_OK;
}

static Status read_token(const JsonAt *root, const char *key, int32_t *out)
{
    int64_t id = *out;

    TRY(json_opt_int(root, key, -1, INT32_MAX, &id));
    *out = (int32_t)id;
    return LT_OK;
}

/* eos_token_id: an id, a list of ids, or null; the class default where the key is missing. */
static Status read_tokens(ModelConfig *cfg, const JsonAt *root)
{
    const JsonAt eos = json_member(root, "eos_token_id");
    size_t count = 1;
    int64_t id = cfg->arch->default_eos;

    cfg->pad_token_id = -1;
    TRY(read_token(root, "pad_token_id", &cfg->pad_token_id));
    cfg->bos_token_id = json_member(root, "bos_token_id").value == NULL ? cfg->arch->default_bos : -1;
    TRY(read_token(root, "bos_token_id", &cfg->bos_token_id));
    if (eos.value == NULL && id >= 0)
        cfg->eos_token_id[cfg->n_eos++] = (int32_t)id;
    if (!json_here(eos))
        return LT_OK;
    if (json_is_array(eos.value))
        TRY(json_to_array(eos, &count));
    if (count > CONFIG_MAX_EOS)
        return json_fail(eos, "expected at most %d ids, found %zu", CONFIG_MAX_EOS, count);
    for (size_t i = 0; i < count; i++) {
        TRY(json_to_int(json_is_array(eos.value) ? json_element(&eos, i) : eos, 0, INT32_MAX, &id));
        cfg->eos_token_id[cfg->n_eos++] = (int32_t)id;
    }
    return LT_OK;
}

/* The dtype key is information for people (the tensors say their own), so an unknown one is no error. */
static Status read_dtype(ModelConfig *cfg, const JsonAt *root)
{
    Str name = str_of("float32");

    TRY(json_opt_str(root, json_here(json_member(root, "dtype")) ? "dtype" : "torch_dtype", &name));
    cfg->torch_dtype = LT_F32;
    for (int i = 0; i < N_TORCH_DTYPE; i++)
        if (str_is(name, torch_dtypes[i].name))
            cfg->torch_dtype = torch_dtypes[i].dtype;
    return LT_OK;
}

Status config_parse(ModelConfig *out, Str text, const char *file)
{
    ModelConfig cfg = {0};
    json_t *document;
    JsonAt root;
    Status st;

    TRY(json_parse(&document, text, file, 0));
    root = json_root(document, file, 0);
    TRY_GOTO(json_to_object(root), st, done);
    TRY_GOTO(read_architecture(&cfg, &root), st, done);
    TRY_GOTO(read_sizes(&cfg, &root), st, done);
    TRY_GOTO(read_switches(&cfg, &root), st, done);
    TRY_GOTO(read_tokens(&cfg, &root), st, done);
    TRY_GOTO(config_read_window(&cfg, &root), st, done);
    TRY_GOTO(config_read_rope(&cfg, &root), st, done);
    TRY_GOTO(read_dtype(&cfg, &root), st, done);
    *out = cfg;
done:
    json_decref(document);
    return st;
}

Status config_load(ModelConfig *out, Digest *digest, const char *folder)
{
    StrBuf path, text;
    Status st;

    strbuf_init(&path);
    strbuf_init(&text);
    TRY_GOTO(path_join(&path, folder, "config.json"), st, done);
    if (!file_exists(path.data)) {
        st = FAIL(LT_E_INPUT, "%s: expected a model folder with config.json, found none", folder);
        goto done;
    }
    TRY_GOTO(file_read(path.data, CONFIG_MAX_BYTES, &text), st, done);
    TRY_GOTO(config_parse(out, strbuf_str(&text), path.data), st, done);
    st = sha256_of(text.data, text.len, digest);
done:
    strbuf_release(&text);
    strbuf_release(&path);
    return st;
}

int64_t config_parameter_count(const ModelConfig *cfg)
{
    int64_t total = 0;

    for (int i = 0; i < PARAM_KINDS; i++) {
        const ParamRow *row = &param_rows[i];
        const int64_t copies = row->per_layer ? cfg->num_hidden_layers : 1;

        if (param_present(cfg, row->presence))
            total += copies * param_dim(cfg, row->rows) * param_dim(cfg, row->cols);
    }
    return total;
}
