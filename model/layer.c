#include "model/layer.h"

typedef struct Matrix {
    Tensor w, bias, packed;
} Matrix;

static Matrix matrix_of(const LayerRun *run, ParamId first, int32_t layer)
{
    const Model *m = run->model;
    const PackedWeights *p = run->phase == GEMM_NARROW ? run->packed : NULL;
    const Tensor *packed = p != NULL && first != PARAM_HEAD ? &p->matrix[layer * PACKED_A_LAYER] : (Tensor[PACKED_A_LAYER]){{0}};
    const LayerWeights *w = first == PARAM_HEAD ? NULL : &m->layer[layer];

    switch (first) {
    case PARAM_Q: return (Matrix){w->qkv, w->qkv_bias, packed[0]};
    case PARAM_O: return (Matrix){w->o, w->o_bias, packed[1]};
    case PARAM_GATE: return (Matrix){w->gate_up, w->gate_up_bias, packed[2]};
    case PARAM_DOWN: return (Matrix){w->down, w->down_bias, packed[3]};
    case PARAM_HEAD: return (Matrix){.w = m->head, .packed = p != NULL ? p->head : (Tensor){0}};
    default: BUG_IF(true);
    }
}

/* y[:, columns of a part] += s (x A^T) B^T. x A^T is rounded to the model's dtype on the way. */
static Status add_adapter(const LayerRun *run, Tensor y, Tensor x, const AdapterMatrix *m)
{
    Device *dev = run->model->dev;

    if (m->n_part == 0)
        return LT_OK;
    BUG_IF(run->u.cols < m->a.rows);
    const Tensor u = tensor_cols(tensor_rows(run->u, 0, x.rows), 0, m->a.rows);
    const GemmArgs down = {.c = u, .a = x, .b = m->a, .op_a = GEMM_N, .op_b = GEMM_T, .phase = run->phase};

    TRY(op_gemm(dev, &down));
    for (int p = 0; p < m->n_part; p++) {
        const AdapterPart *part = &m->part[p];
        const GemmArgs up = {.c = tensor_cols(y, part->y_col, part->b.rows), .a = tensor_cols(u, part->u_col, part->b.cols), .b = part->b,
                             .op_a = GEMM_N, .op_b = GEMM_T, .alpha = part->scale, .beta = 1, .phase = run->phase};

        if (part->scale < 0 || part->scale > 0) /* an alpha of 0 would mean 1 */
            TRY(op_gemm(dev, &up));
    }
    return LT_OK;
}

Status layer_linear(const LayerRun *run, Tensor y, Tensor x, ParamId first, int32_t layer, float beta)
{
    const Matrix matrix = matrix_of(run, first, layer);
    const GemmArgs args = {.c = y, .a = x, .b = matrix.w, .bias = matrix.bias, .op_a = GEMM_N, .op_b = GEMM_T, .beta = beta,
                           .phase = run->phase, .packed = matrix.packed};

    TRY(op_gemm(run->model->dev, &args));
    return run->adapter == NULL || first == PARAM_HEAD ? LT_OK : add_adapter(run, y, x, adapter_matrix(run->adapter, first, layer));
}

static Status norm(const LayerRun *run, Tensor y, Tensor x, Tensor w)
{
    return op_rmsnorm(run->model->dev, y, (Tensor){0}, x, w, (float)run->model->cfg.rms_norm_eps);
}

Status layer_qkv(const LayerRun *run, int32_t layer, Tensor x, LayerQkv *out)
{
    const Model *m = run->model;
    const LayerWeights *w = &m->layer[layer];
    const Rotation *r = &run->rotation;
    const int64_t q_cols = param_dim(&m->cfg, DIM_Q), kv_cols = param_dim(&m->cfg, DIM_KV);
    const Tensor h = tensor_rows(run->h, 0, x.rows), qkv = tensor_rows(run->qkv, 0, x.rows);
    const Tensor q = tensor_cols(qkv, 0, q_cols), k = tensor_cols(qkv, q_cols, kv_cols);

    TRY(norm(run, h, x, w->attn_norm));
    TRY(layer_linear(run, qkv, h, PARAM_Q, layer, 0));
    if (m->cfg.qk_norm) {
        TRY(norm(run, q, q, w->q_norm));
        TRY(norm(run, k, k, w->k_norm));
    }
    /* The rotation is the same for every head, and those of the keys lie behind those of the queries. */
    TRY(op_rope(m->dev, tensor_cols(qkv, 0, q_cols + kv_cols), r->cos, r->sin, r->row, +1));
    *out = (LayerQkv){q, k, tensor_cols(qkv, q_cols + kv_cols, kv_cols)};
    return LT_OK;
}

Status layer_finish(const LayerRun *run, int32_t layer, Tensor x, Tensor o)
{
    const Tensor h = tensor_rows(run->h, 0, x.rows), gate_up = tensor_rows(run->gate_up, 0, x.rows), act = tensor_rows(run->act, 0, x.rows);

    TRY(layer_linear(run, x, o, PARAM_O, layer, 1));
    TRY(norm(run, h, x, run->model->layer[layer].mlp_norm));
    TRY(layer_linear(run, gate_up, h, PARAM_GATE, layer, 0));
    TRY(op_swiglu(run->model->dev, act, gate_up));
    return layer_linear(run, x, act, PARAM_DOWN, layer, 1);
}

Status layer_final_norm(const LayerRun *run, Tensor x, Tensor *h)
{
    *h = tensor_rows(run->h, 0, x.rows);
    return norm(run, *h, x, run->model->norm);
}

Status layer_logits(const LayerRun *run, Tensor logits, Tensor h)
{
    return layer_linear(run, logits, h, PARAM_HEAD, -1, 0);
}
