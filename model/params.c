#include "model/params.h"

#define LAYER "model.layers.%d."

/* Order is the order in the arena; a layer's rows stand together. */
const ParamRow param_rows[PARAM_KINDS] = {
    /* id, name, module, per layer, rows, cols, presence, init, decays, lora, analysed, joins previous */
    {PARAM_EMBED, "model.embed_tokens.weight", "embed_tokens", false, DIM_VOCAB, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, false, true, false},
    {PARAM_ATTN_NORM, LAYER "input_layernorm.weight", "input_layernorm", true, DIM_ONE, DIM_HIDDEN, HAS_ALWAYS, INIT_ONE, false, false, false, false},
    {PARAM_Q, LAYER "self_attn.q_proj.weight", "q_proj", true, DIM_Q, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, true, true, false},
    {PARAM_K, LAYER "self_attn.k_proj.weight", "k_proj", true, DIM_KV, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, true, true, true},
    {PARAM_V, LAYER "self_attn.v_proj.weight", "v_proj", true, DIM_KV, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, true, true, true},
    {PARAM_Q_BIAS, LAYER "self_attn.q_proj.bias", "q_proj", true, DIM_ONE, DIM_Q, HAS_QKV_BIAS, INIT_ZERO, false, false, false, false},
    {PARAM_K_BIAS, LAYER "self_attn.k_proj.bias", "k_proj", true, DIM_ONE, DIM_KV, HAS_QKV_BIAS, INIT_ZERO, false, false, false, true},
    {PARAM_V_BIAS, LAYER "self_attn.v_proj.bias", "v_proj", true, DIM_ONE, DIM_KV, HAS_QKV_BIAS, INIT_ZERO, false, false, false, true},
    {PARAM_Q_NORM, LAYER "self_attn.q_norm.weight", "q_norm", true, DIM_ONE, DIM_HEAD, HAS_QK_NORM, INIT_ONE, false, false, false, false},
    {PARAM_K_NORM, LAYER "self_attn.k_norm.weight", "k_norm", true, DIM_ONE, DIM_HEAD, HAS_QK_NORM, INIT_ONE, false, false, false, false},
    {PARAM_O, LAYER "self_attn.o_proj.weight", "o_proj", true, DIM_HIDDEN, DIM_Q, HAS_ALWAYS, INIT_NORMAL, true, true, true, false},
    {PARAM_O_BIAS, LAYER "self_attn.o_proj.bias", "o_proj", true, DIM_ONE, DIM_HIDDEN, HAS_O_BIAS, INIT_ZERO, false, false, false, false},
    {PARAM_MLP_NORM, LAYER "post_attention_layernorm.weight", "post_attention_layernorm", true,
     DIM_ONE, DIM_HIDDEN, HAS_ALWAYS, INIT_ONE, false, false, false, false},
    {PARAM_GATE, LAYER "mlp.gate_proj.weight", "gate_proj", true, DIM_FFN, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, true, true, false},
    {PARAM_UP, LAYER "mlp.up_proj.weight", "up_proj", true, DIM_FFN, DIM_HIDDEN, HAS_ALWAYS, INIT_NORMAL, true, true, true, true},
    {PARAM_GATE_BIAS, LAYER "mlp.gate_proj.bias", "gate_proj", true, DIM_ONE, DIM_FFN, HAS_MLP_BIAS, INIT_ZERO, false, false, false, false},
    {PARAM_UP_BIAS, LAYER "mlp.up_proj.bias", "up_proj", true, DIM_ONE, DIM_FFN, HAS_MLP_BIAS, INIT_ZERO, false, false, false, true},
    {PARAM_DOWN, LAYER "mlp.down_proj.weight", "down_proj", true, DIM_HIDDEN, DIM_FFN, HAS_ALWAYS, INIT_NORMAL, true, true, true, false},
    {PARAM_DOWN_BIAS, LAYER "mlp.down_proj.bias", "down_proj", true, DIM_ONE, DIM_HIDDEN, HAS_MLP_BIAS, INIT_ZERO, false, false, false, false},
    {PARAM_NORM, "model.norm.weight", "norm", false, DIM_ONE, DIM_HIDDEN, HAS_ALWAYS, INIT_ONE, false, false, false, false},
    {PARAM_HEAD, "lm_head.weight", "lm_head", false, DIM_VOCAB, DIM_HIDDEN, HAS_UNTIED, INIT_NORMAL, true, false, true, false},
};

int64_t param_dim(const ModelConfig *cfg, Dim dim)
{
    switch (dim) {
    case DIM_ONE: return 1;
    case DIM_VOCAB: return cfg->vocab_size;
    case DIM_HIDDEN: return cfg->hidden_size;
    case DIM_Q: return cfg->num_attention_heads * cfg->head_dim;
    case DIM_KV: return cfg->num_key_value_heads * cfg->head_dim;
    case DIM_HEAD: return cfg->head_dim;
    case DIM_FFN: return cfg->intermediate_size;
    }
    BUG_IF(true);
}

bool param_present(const ModelConfig *cfg, ParamPresence presence)
{
    switch (presence) {
    case HAS_ALWAYS: return true;
    case HAS_QKV_BIAS: return cfg->qkv_bias;
    case HAS_O_BIAS: return cfg->o_bias;
    case HAS_MLP_BIAS: return cfg->mlp_bias;
    case HAS_QK_NORM: return cfg->qk_norm;
    case HAS_UNTIED: return !cfg->tie_word_embeddings;
    }
    BUG_IF(true);
}

static Status add_entry(ParamList *list, const ModelConfig *cfg, const ParamRow *row, int32_t layer)
{
    TRY(MEM_GROW(list->entry, list->cap, list->count + 1));
    if (list->at[row->id] < 0)
        list->at[row->id] = (int32_t)list->count;
    list->entry[list->count++] = (ParamEntry){
        .row = row, .layer = layer, .part = PART_W, .rows = param_dim(cfg, row->rows), .cols = param_dim(cfg, row->cols)};
    return LT_OK;
}

/* Adds the present rows of [from, to), a layer's or those without one. */
static Status add_rows(ParamList *list, const ModelConfig *cfg, int from, int to, int32_t layer)
{
    for (int i = from; i < to; i++)
        if (param_present(cfg, param_rows[i].presence))
            TRY(add_entry(list, cfg, &param_rows[i], layer));
    return LT_OK;
}

static Status build(ParamList *list, const ModelConfig *cfg)
{
    int from = 0, to;

    while (!param_rows[from].per_layer)
        from++;
    for (to = from; param_rows[to].per_layer;)
        to++;
    TRY(add_rows(list, cfg, 0, from, -1));
    for (int32_t layer = 0; layer < cfg->num_hidden_layers; layer++) {
        const size_t before = list->count;

        TRY(add_rows(list, cfg, from, to, layer));
        list->stride = (int32_t)(list->count - before);
    }
    return add_rows(list, cfg, to, PARAM_KINDS, -1);
}

Status params_build(ParamList *list, const ModelConfig *cfg)
{
    Status st;

    *list = (ParamList){0};
    for (int i = 0; i < PARAM_KINDS; i++)
        list->at[i] = -1;
    st = build(list, cfg);
    if (st != LT_OK)
        params_release(list);
    return st;
}

void params_release(ParamList *list)
{
    mem_free(list->entry);
    *list = (ParamList){0};
}

ParamEntry *params_find(const ParamList *list, ParamId id, int32_t layer)
{
    const int32_t at = list->at[id];

    if (at < 0)
        return NULL;
    return &list->entry[at + (param_rows[id].per_layer ? layer * list->stride : 0)];
}

void params_init_factors(ParamList *list)
{
    *list = (ParamList){0};
    for (int i = 0; i < PARAM_KINDS; i++)
        list->at[i] = -1;
}

Status params_add_factors(ParamList *list, const ModelConfig *cfg, ParamId id, int32_t layer, int64_t rank, double scale)
{
    const ParamRow *row = &param_rows[id];
    ParamEntry entry = {.row = row, .layer = layer, .part = PART_A, .rows = rank, .cols = param_dim(cfg, row->cols), .scale = scale};

    BUG_IF(!row->lora_target);
    TRY(MEM_GROW(list->entry, list->cap, list->count + 2));
    list->entry[list->count++] = entry;
    entry.part = PART_B;
    entry.rows = param_dim(cfg, row->rows);
    entry.cols = rank;
    list->entry[list->count++] = entry;
    return LT_OK;
}

ParamEntry *params_find_factors(const ParamList *list, ParamId id, int32_t layer)
{
    size_t low = 0, high = list->count / 2;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const ParamEntry *e = &list->entry[2 * middle];

        if (e->layer < layer || (e->layer == layer && e->row->id < id))
            low = middle + 1;
        else
            high = middle;
    }
    if (2 * low == list->count || list->entry[2 * low].layer != layer || list->entry[2 * low].row->id != id)
        return NULL;
    return &list->entry[2 * low];
}

static void add_path(StrBuf *out, const ParamEntry *entry, size_t n)
{
    const char *name = entry->row->name, *hole = strstr(name, "%d");

    if (hole == NULL) {
        strbuf_add(out, name, n);
    } else {
        strbuf_add(out, name, (size_t)(hole - name));
        strbuf_addf(out, "%d", (int)entry->layer);
        strbuf_add(out, hole + 2, n - (size_t)(hole + 2 - name));
    }
}

static size_t module_length(const ParamEntry *entry) { return (size_t)(strrchr(entry->row->name, '.') - entry->row->name); }

Status param_module(const ParamEntry *entry, StrBuf *out)
{
    strbuf_clear(out);
    add_path(out, entry, module_length(entry));
    return strbuf_status(out);
}

Status param_name(const ParamEntry *entry, StrBuf *out)
{
    strbuf_clear(out);
    if (entry->part == PART_W) {
        add_path(out, entry, strlen(entry->row->name));
    } else {
        strbuf_add_text(out, "base_model.model.");
        add_path(out, entry, module_length(entry));
        strbuf_add_text(out, entry->part == PART_A ? ".lora_A.weight" : ".lora_B.weight");
    }
    return strbuf_status(out);
}

/* One block for an entry and those that join it, then each its part: arena blocks are aligned, so blocks of their own would leave gaps. */
static Status take_group(ParamEntry *entry, size_t n, TensorArena *arena, DType dtype)
{
    int64_t total = 0, at = 0;
    Tensor block;

    for (size_t i = 0; i < n; i++) {
        int64_t own;

        if (__builtin_mul_overflow(entry[i].rows, entry[i].cols, &own) || __builtin_add_overflow(total, own, &total))
            return FAIL(LT_E_NOMEM, "a tensor %s [%lld, %lld] does not fit into the address space", dtype_name(dtype), (long long)entry[i].rows,
                        (long long)entry[i].cols);
    }
    TRY(tensor_arena_take(arena, &block, dtype, 1, total));
    for (size_t i = 0; i < n; i++) {
        char *data = block.data;

        if (data != NULL)
            data += (size_t)at * dtype_bytes(dtype);
        entry[i].value = tensor_of(data, dtype, entry[i].rows, entry[i].cols);
        at += entry[i].rows * entry[i].cols;
    }
    return LT_OK;
}

Status params_take_values(ParamList *list, TensorArena *arena, DType dtype)
{
    for (size_t from = 0, to; from < list->count; from = to) {
        for (to = from + 1; to < list->count && list->entry[to].row->joins_previous;)
            to++;
        TRY(take_group(list->entry + from, to - from, arena, dtype));
    }
    return LT_OK;
}
