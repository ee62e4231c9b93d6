#include "model/adapter.h"

#include "kernels/ops.h"

/* Matrix products run fastest on multiples of 8. */
enum { RANK_STEP = 8 };

static const struct {
    ParamId first, last;
} joints[ADAPTER_MATRICES] = {{PARAM_Q, PARAM_V}, {PARAM_O, PARAM_O}, {PARAM_GATE, PARAM_UP}, {PARAM_DOWN, PARAM_DOWN}};

static int64_t padded(int64_t rank) { return (rank + RANK_STEP - 1) / RANK_STEP * RANK_STEP; }

int64_t adapter_scratch_cols(int64_t max_rank) { return ADAPTER_PARTS * padded(max_rank); }

/* ---- layout --------------------------------------------------------------------------------------------------------------- */

static Status carve_matrix(AdapterMatrix *m, const ParamList *params, const ModelConfig *cfg, int joint, int32_t layer, TensorArena *arena,
                           DType dtype)
{
    int64_t y_col = 0, rows = 0;

    *m = (AdapterMatrix){0};
    for (int id = joints[joint].first; id <= (int)joints[joint].last; id++) {
        const ParamEntry *a = params_find_factors(params, (ParamId)id, layer);
        const int64_t out = param_dim(cfg, param_rows[id].rows);

        if (a != NULL) {
            AdapterPart *part = &m->part[m->n_part++];

            *part = (AdapterPart){.scale = (float)a->scale, .y_col = y_col, .u_col = rows, .entry = (size_t)(a - params->entry)};
            TRY(tensor_arena_take(arena, &part->b, dtype, out, padded(a->rows)));
            rows += padded(a->rows);
        }
        y_col += out;
    }
    return rows == 0 ? LT_OK : tensor_arena_take(arena, &m->a, dtype, rows, param_dim(cfg, param_rows[joints[joint].first].cols));
}

static Status carve(AdapterMatrix *to, const ParamList *params, const ModelConfig *cfg, TensorArena *arena, DType dtype)
{
    for (int32_t layer = 0; layer < cfg->num_hidden_layers; layer++)
        for (int joint = 0; joint < ADAPTER_MATRICES; joint++)
            TRY(carve_matrix(&to[layer * ADAPTER_MATRICES + joint], params, cfg, joint, layer, arena, dtype));
    return LT_OK;
}

/* In F32 the factors are the operands. */
static Status carve_both(Adapter *a, const Model *m, TensorArena *arena)
{
    TRY(carve(a->factor, &a->params, &m->cfg, arena, LT_F32));
    return m->dtype == LT_F32 ? LT_OK : carve(a->operand, &a->params, &m->cfg, arena, m->dtype);
}

static Status take_memory(Adapter *a, const Model *m)
{
    const size_t n = (size_t)m->cfg.num_hidden_layers * ADAPTER_MATRICES;
    TensorArena plan;

    TRY(MEM_NEW(a->factor, n));
    TRY(MEM_NEW(a->operand, n));
    tensor_arena_plan(&plan, m->dev);
    TRY(carve_both(a, m, &plan));
    TRY(tensor_arena_open(&a->memory, m->dev, plan.used));
    TRY(carve_both(a, m, &a->memory));
    if (m->dtype == LT_F32)
        memcpy(a->operand, a->factor, n * sizeof *a->factor);
    return LT_OK;
}

/* ---- contents ------------------------------------------------------------------------------------------------------------- */

/* Zeros first, for the padding; then the factors where they belong, and their copies. */
static Status fill_matrix(Adapter *a, const Factors *from, AdapterMatrix *factor, const AdapterMatrix *operand)
{
    if (factor->n_part == 0)
        return LT_OK;
    TRY(device_fill_zero(a->dev, factor->a));
    for (int p = 0; p < factor->n_part; p++) {
        const AdapterPart *part = &factor->part[p];
        ParamEntry *e = &a->params.entry[part->entry];
        const ParamEntry *host = &from->params.entry[part->entry];

        e[0].value = tensor_rows(factor->a, part->u_col, e[0].rows);
        e[1].value = tensor_cols(part->b, 0, e[1].cols);
        TRY(device_fill_zero(a->dev, part->b));
        TRY(device_upload(a->dev, e[0].value, host[0].value.data));
        TRY(device_upload(a->dev, e[1].value, host[1].value.data));
        if (operand->a.data != factor->a.data)
            TRY(op_cast(a->dev, operand->part[p].b, part->b));
    }
    return operand->a.data == factor->a.data ? LT_OK : op_cast(a->dev, operand->a, factor->a);
}

static Status copy_list(ParamList *to, const ParamList *from, const ModelConfig *cfg)
{
    params_init_factors(to);
    for (size_t i = 0; i < from->count; i += 2) {
        const ParamEntry *e = &from->entry[i];

        TRY(params_add_factors(to, cfg, e->row->id, e->layer, e->rows, e->scale));
    }
    return LT_OK;
}

static Status build(Adapter *a, const Model *model, const Factors *factors)
{
    TRY(copy_list(&a->params, &factors->params, &model->cfg));
    for (size_t i = 0; i < a->params.count; i += 2)
        a->max_rank = a->params.entry[i].rows > a->max_rank ? a->params.entry[i].rows : a->max_rank;
    TRY(take_memory(a, model));
    for (int64_t i = 0; i < model->cfg.num_hidden_layers * ADAPTER_MATRICES; i++)
        TRY(fill_matrix(a, factors, &a->factor[i], &a->operand[i]));
    return LT_OK;
}

static Status create(Adapter **out, const Model *model, const Factors *factors)
{
    Adapter *a;
    Status st;

    TRY(MEM_NEW(a, 1));
    a->dev = model->dev;
    st = build(a, model, factors);
    if (st == LT_OK)
        *out = a;
    else
        adapter_free(a);
    return st;
}

Status adapter_load(Adapter **out, const Model *model, const AdapterFolder *folder)
{
    Factors *factors;
    Status st;

    TRY(factors_read(&factors, folder, &model->cfg));
    st = factors_refuse_inert(factors, folder->path);
    if (st == LT_OK)
        st = create(out, model, factors);
    factors_free(factors);
    return st;
}

void adapter_free(Adapter *adapter)
{
    if (adapter == NULL)
        return;
    tensor_arena_close(&adapter->memory);
    params_release(&adapter->params);
    mem_free(adapter->factor);
    mem_free(adapter->operand);
    mem_free(adapter);
}

const AdapterMatrix *adapter_matrix(const Adapter *adapter, ParamId first, int32_t layer)
{
    for (int joint = 0; joint < ADAPTER_MATRICES; joint++)
        if (joints[joint].first == first)
            return &adapter->operand[layer * ADAPTER_MATRICES + joint];
    BUG_IF(true);
}
