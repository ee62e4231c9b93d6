#include "model/model.h"

static int64_t table_length(const ModelConfig *cfg, int64_t max_position)
{
    return max_position > 0 ? max_position : cfg->max_position_embeddings;
}

static Tensor value_of(const Model *m, ParamId id, int32_t layer)
{
    const ParamEntry *e = params_find(&m->params, id, layer);

    return e == NULL ? (Tensor){0} : e->value;
}

/* The entries from `first` to `last`, which lie side by side, as one matrix (or one vector). */
static Tensor joined(const Model *m, ParamId first, ParamId last, int32_t layer)
{
    Tensor t = value_of(m, first, layer);

    if (!tensor_is_set(t))
        return t;
    for (int id = first + 1; id <= (int)last; id++) {
        const Tensor next = value_of(m, (ParamId)id, layer);

        if (param_rows[id].rows == DIM_ONE)
            t.cols += next.cols;
        else
            t.rows += next.rows;
    }
    t.stride = t.cols;
    return t;
}

static LayerWeights layer_view(const Model *m, int32_t layer)
{
    return (LayerWeights){
        .attn_norm = value_of(m, PARAM_ATTN_NORM, layer),
        .qkv = joined(m, PARAM_Q, PARAM_V, layer),
        .qkv_bias = joined(m, PARAM_Q_BIAS, PARAM_V_BIAS, layer),
        .q_norm = value_of(m, PARAM_Q_NORM, layer),
        .k_norm = value_of(m, PARAM_K_NORM, layer),
        .o = value_of(m, PARAM_O, layer),
        .o_bias = value_of(m, PARAM_O_BIAS, layer),
        .mlp_norm = value_of(m, PARAM_MLP_NORM, layer),
        .gate_up = joined(m, PARAM_GATE, PARAM_UP, layer),
        .gate_up_bias = joined(m, PARAM_GATE_BIAS, PARAM_UP_BIAS, layer),
        .down = value_of(m, PARAM_DOWN, layer),
        .down_bias = value_of(m, PARAM_DOWN_BIAS, layer),
    };
}

static Status set_views(Model *m)
{
    TRY(MEM_NEW(m->layer, (size_t)m->cfg.num_hidden_layers));
    for (int32_t i = 0; i < m->cfg.num_hidden_layers; i++)
        m->layer[i] = layer_view(m, i);
    m->embed = value_of(m, PARAM_EMBED, -1);
    m->norm = value_of(m, PARAM_NORM, -1);
    m->head = m->cfg.tie_word_embeddings ? m->embed : value_of(m, PARAM_HEAD, -1);
    return LT_OK;
}

static Status take_memory(Model *m)
{
    TensorArena plan;

    TRY(params_build(&m->params, &m->cfg));
    tensor_arena_plan(&plan, m->dev);
    TRY(params_take_values(&m->params, &plan, m->dtype));
    TRY(tensor_arena_open(&m->memory, m->dev, plan.used));
    return params_take_values(&m->params, &m->memory, m->dtype);
}

Status model_create(Model **out, Device *dev, const ModelConfig *cfg, DType dtype, int64_t max_position)
{
    Model *m;
    Status st;

    BUG_IF(dtype != LT_F32 && dtype != LT_BF16 && dtype != LT_F16);
    TRY(MEM_NEW(m, 1));
    m->cfg = *cfg;
    m->dev = dev;
    m->dtype = m->stored = dtype;
    TRY_GOTO(take_memory(m), st, failed);
    TRY_GOTO(set_views(m), st, failed);
    TRY_GOTO(rope_open(&m->rope, dev, cfg, table_length(cfg, max_position)), st, failed);
    *out = m;
    return LT_OK;
failed:
    model_free(m);
    return st;
}

void model_free(Model *model)
{
    if (model == NULL)
        return;
    rope_close(&model->rope);
    tensor_arena_close(&model->memory);
    params_release(&model->params);
    mem_free(model->layer);
    mem_free(model);
}

size_t model_bytes(const ModelConfig *cfg, Device *dev, DType dtype, int64_t max_position)
{
    const size_t tables = rope_bytes(dev, cfg, table_length(cfg, max_position));
    ParamList list;
    TensorArena plan;
    size_t bytes;
    Status st;

    tensor_arena_plan(&plan, dev);
    st = params_build(&list, cfg);
    if (st == LT_OK) {
        st = params_take_values(&list, &plan, dtype);
        params_release(&list);
    }
    return mem_add(tensor_arena_planned(&plan, st), tables, &bytes) ? bytes : SIZE_MAX;
}
