#include "model/forward.h"

#include "model/workspace.h"

#include <math.h>

/* ---- one layer ------------------------------------------------------------------------------------------------------------ */

/* y = x w^T (+ bias) (+ y): every matrix of the model goes through here. */
static Status linear(const Model *m, Tensor y, Tensor x, Tensor w, Tensor bias, float beta)
{
    const GemmArgs args = {.c = y, .a = x, .b = w, .bias = bias, .op_a = GEMM_N, .op_b = GEMM_T, .beta = beta, .phase = GEMM_WIDE};

    return op_gemm(m->dev, &args);
}

static Status norm(const Model *m, Tensor y, Tensor x, Tensor w)
{
    return op_rmsnorm(m->dev, y, (Tensor){0}, x, w, (float)m->cfg.rms_norm_eps);
}

/* o = what the tokens see of one another; x is only read. */
static Status attention(const Model *m, Workspace *ws, int32_t layer, const Batch *batch, Tensor o)
{
    const ModelConfig *cfg = &m->cfg;
    const LayerWeights *w = &m->layer[layer];
    const int64_t n = batch->n_token, q_cols = param_dim(cfg, DIM_Q), kv_cols = param_dim(cfg, DIM_KV);
    const Tensor h = tensor_rows(ws->h, 0, n), qkv = tensor_rows(ws->qkv, 0, n), position = tensor_cols(ws->position, 0, n);
    const Tensor q = tensor_cols(qkv, 0, q_cols), k = tensor_cols(qkv, q_cols, kv_cols);
    const AttnArgs args = {
        .o = o,
        .q = q,
        .k = k,
        .v = tensor_cols(qkv, q_cols + kv_cols, kv_cols),
        .seg = batch->segment,
        .seg_dev = tensor_rows(ws->segment, 0, batch->n_segment),
        .n_seg = batch->n_segment,
        .n_head = (int32_t)cfg->num_attention_heads,
        .n_kv_head = (int32_t)cfg->num_key_value_heads,
        .head_size = (int32_t)cfg->head_dim,
        .window = layer >= cfg->first_window_layer ? (int32_t)cfg->sliding_window : 0,
        .scale = (float)(1 / sqrt((double)cfg->head_dim)),
    };

    TRY(norm(m, h, tensor_rows(ws->x, 0, n), w->attn_norm));
    TRY(linear(m, qkv, h, w->qkv, w->qkv_bias, 0));
    if (cfg->qk_norm) {
        TRY(norm(m, q, q, w->q_norm));
        TRY(norm(m, k, k, w->k_norm));
    }
    TRY(op_rope(m->dev, q, m->rope.cos, m->rope.sin, position, +1));
    TRY(op_rope(m->dev, k, m->rope.cos, m->rope.sin, position, +1));
    return op_attn(m->dev, &args);
}

/* The rest of a layer, row by row: x += o W_o^T, then x += MLP(norm(x)). */
static Status project_and_mlp(const Model *m, Workspace *ws, const LayerWeights *w, Tensor x, Tensor o)
{
    const Tensor h = tensor_rows(ws->h, 0, x.rows), gate_up = tensor_rows(ws->gate_up, 0, x.rows), act = tensor_rows(ws->act, 0, x.rows);

    TRY(linear(m, x, o, w->o, w->o_bias, 1));
    TRY(norm(m, h, x, w->mlp_norm));
    TRY(linear(m, gate_up, h, w->gate_up, w->gate_up_bias, 0));
    TRY(op_swiglu(m->dev, act, gate_up));
    return linear(m, x, act, w->down, w->down_bias, 1);
}

/* ---- all layers ----------------------------------------------------------------------------------------------------------- */

/* Ids and positions come from files and options, so they are refused; a batch beyond its own limits is our mistake. */
static Status check_batch(const Model *m, const Workspace *ws, const Batch *batch)
{
    BUG_IF(batch->n_token > ws->limits.n_token || batch->n_segment > ws->limits.n_segment || batch->n_pair > ws->limits.n_pair);
    for (int32_t i = 0; i < batch->n_token; i++) {
        if (batch->id[i] < 0 || batch->id[i] >= m->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "token %d: expected an id below the model's vocab_size %lld, found %d", i, (long long)m->cfg.vocab_size,
                        batch->id[i]);
        if (batch->position[i] < 0 || batch->position[i] >= m->rope.n_position)
            return FAIL(LT_E_INPUT, "token %d: expected a position below %lld, found %d", i, (long long)m->rope.n_position,
                        batch->position[i]);
    }
    for (int32_t i = 0; i < batch->n_pair; i++) {
        BUG_IF(batch->pair[i].row < 0 || batch->pair[i].row >= batch->n_token || (i > 0 && batch->pair[i].row < batch->pair[i - 1].row));
        if (batch->pair[i].target < 0 || batch->pair[i].target >= m->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "target %d: expected an id below the model's vocab_size %lld, found %d", i,
                        (long long)m->cfg.vocab_size, batch->pair[i].target);
    }
    return LT_OK;
}

static Status upload_batch(const Model *m, Workspace *ws, const Batch *batch)
{
    TRY(device_upload(m->dev, tensor_cols(ws->id, 0, batch->n_token), batch->id));
    TRY(device_upload(m->dev, tensor_cols(ws->position, 0, batch->n_token), batch->position));
    return device_upload(m->dev, tensor_rows(ws->segment, 0, batch->n_segment), batch->segment);
}

/* Leaves in *hidden the residual stream after the last layer: of all tokens, or of the rows of ws->row alone. GEMM rows do not depend on
 * one another, so leaving rows out changes no bit of those that stay. */
static Status run_layers(const Model *m, Workspace *ws, const Batch *batch, int32_t n_row, Tensor *hidden)
{
    const int32_t last = (int32_t)m->cfg.num_hidden_layers - 1;
    const Tensor x = tensor_rows(ws->x, 0, batch->n_token), o = tensor_rows(ws->o, 0, batch->n_token);
    const Tensor row = tensor_cols(ws->row, 0, n_row), x_last = tensor_rows(ws->x_last, 0, n_row), o_last = tensor_rows(ws->o_last, 0, n_row);

    TRY(op_embed(m->dev, x, m->embed, tensor_cols(ws->id, 0, batch->n_token)));
    for (int32_t layer = 0; layer < last || (layer == last && n_row == 0); layer++) {
        TRY(attention(m, ws, layer, batch, o));
        TRY(project_and_mlp(m, ws, &m->layer[layer], x, o));
    }
    *hidden = x;
    if (n_row == 0)
        return LT_OK;
    TRY(attention(m, ws, last, batch, o));
    TRY(op_gather(m->dev, o_last, o, row));
    TRY(op_gather(m->dev, x_last, x, row));
    *hidden = x_last;
    return project_and_mlp(m, ws, &m->layer[last], x_last, o_last);
}

/* Logits of rows [from, from + n) of the normed hidden state. */
static Status head(const Model *m, Workspace *ws, int64_t from, int64_t n, Tensor *logits)
{
    *logits = tensor_rows(ws->logits, 0, n);
    return linear(m, *logits, tensor_rows(ws->h, from, n), m->head, (Tensor){0}, 0);
}

/* ---- what is asked of it -------------------------------------------------------------------------------------------------- */

/* The different rows of the pairs, and every pair's row within its chunk of logits. */
static int32_t list_rows(Workspace *ws, const Batch *batch)
{
    const int32_t chunk = (int32_t)ws->logits.rows;
    int32_t n_row = 0;

    for (int32_t i = 0; i < batch->n_pair; i++) {
        if (i == 0 || batch->pair[i].row != batch->pair[i - 1].row)
            ws->host_row[n_row++] = batch->pair[i].row;
        ws->host_pair_row[i] = (n_row - 1) % chunk;
        ws->host_target[i] = batch->pair[i].target;
    }
    return n_row;
}

static Status upload_pairs(const Model *m, Workspace *ws, int32_t n_row, int32_t n_pair)
{
    TRY(device_upload(m->dev, tensor_cols(ws->row, 0, n_row), ws->host_row));
    TRY(device_upload(m->dev, tensor_cols(ws->pair_row, 0, n_pair), ws->host_pair_row));
    return device_upload(m->dev, tensor_cols(ws->pair_target, 0, n_pair), ws->host_target);
}

/* Head and log-softmax, a chunk of rows after the other; the pairs of a chunk lie together since pairs are sorted. */
static Status score_rows(const Model *m, Workspace *ws, const Batch *batch, int32_t n_row)
{
    const int64_t chunk = ws->logits.rows;
    int32_t pair = 0;

    for (int64_t from = 0; from < n_row; from += chunk) {
        const int64_t n = n_row - from < chunk ? n_row - from : chunk;
        const int32_t first = pair, last_row = ws->host_row[from + n - 1];
        Tensor logits;

        while (pair < batch->n_pair && batch->pair[pair].row <= last_row)
            pair++;
        TRY(head(m, ws, from, n, &logits));
        TRY(op_logprob(m->dev, tensor_cols(ws->lp, first, pair - first), tensor_cols(ws->best, first, pair - first), logits,
                       tensor_cols(ws->pair_row, first, pair - first), tensor_cols(ws->pair_target, first, pair - first)));
    }
    return LT_OK;
}

Status forward_logprob(const Model *model, Workspace *ws, const Batch *batch, float *lp, bool *greedy)
{
    const int32_t n_pair = batch->n_pair;
    int32_t n_row;
    Tensor hidden;

    TRY(check_batch(model, ws, batch));
    if (n_pair == 0)
        return LT_OK;
    n_row = list_rows(ws, batch);
    TRY(upload_batch(model, ws, batch));
    TRY(upload_pairs(model, ws, n_row, n_pair));
    TRY(run_layers(model, ws, batch, n_row, &hidden));
    TRY(norm(model, tensor_rows(ws->h, 0, n_row), hidden, model->norm));
    TRY(score_rows(model, ws, batch, n_row));
    TRY(device_download(model->dev, lp, tensor_cols(ws->lp, 0, n_pair)));
    TRY(device_download(model->dev, ws->host_best, tensor_cols(ws->best, 0, n_pair)));
    for (int32_t i = 0; i < n_pair; i++)
        greedy[i] = ws->host_best[i] == batch->pair[i].target;
    return LT_OK;
}

Status forward_logits(const Model *model, Workspace *ws, const Batch *batch, float *logits)
{
    const int64_t n = batch->n_token, chunk = ws->logits.rows, vocab = model->cfg.vocab_size;
    Tensor hidden, part;

    TRY(check_batch(model, ws, batch));
    TRY(upload_batch(model, ws, batch));
    TRY(run_layers(model, ws, batch, 0, &hidden));
    TRY(norm(model, tensor_rows(ws->h, 0, n), hidden, model->norm));
    for (int64_t from = 0; from < n; from += chunk) {
        TRY(head(model, ws, from, n - from < chunk ? n - from : chunk, &part));
        TRY(device_download(model->dev, logits + from * vocab, part));
    }
    return LT_OK;
}
