#include "model/forward.h"

#include "model/layer.h"
#include "model/workspace.h"

/* ---- all layers ----------------------------------------------------------------------------------------------------------- */

/* Ids and positions come from files and options, so they are refused; a batch beyond its own limits is our mistake. */
static Status check_batch(const Model *m, const Workspace *ws, const Batch *batch)
{
    const bool by_length = rope_by_length(&m->cfg);

    BUG_IF(by_length && batch->length == NULL);
    BUG_IF(batch->n_token > ws->limits.n_token || batch->n_segment > ws->limits.n_segment || batch->n_pair > ws->limits.n_pair);
    BUG_IF(batch->adapter != NULL && batch->adapter->max_rank > ws->limits.max_rank);
    for (int32_t i = 0; i < batch->n_token; i++) {
        if (batch->id[i] < 0 || batch->id[i] >= m->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "token %d: expected an id below the model's vocab_size %lld, found %d", i, (long long)m->cfg.vocab_size,
                        batch->id[i]);
        if (batch->position[i] < 0 || batch->position[i] >= m->rope.n_position)
            return FAIL(LT_E_INPUT, "token %d: expected a position below %lld, found %d", i, (long long)m->rope.n_position,
                        batch->position[i]);
        BUG_IF(by_length && batch->length[i] <= batch->position[i]);
    }
    for (int32_t i = 0; i < batch->n_pair; i++) {
        BUG_IF(batch->pair[i].row < 0 || batch->pair[i].row >= batch->n_token || (i > 0 && batch->pair[i].row < batch->pair[i - 1].row));
        if (batch->pair[i].target < 0 || batch->pair[i].target >= m->cfg.vocab_size)
            return FAIL(LT_E_INPUT, "target %d: expected an id below the model's vocab_size %lld, found %d", i,
                        (long long)m->cfg.vocab_size, batch->pair[i].target);
    }
    return LT_OK;
}

/* Sends what a pass needs to the device. */
static Status start_run(LayerRun *run, const Model *m, Workspace *ws, const Batch *batch)
{
    *run = (LayerRun){.model = m, .adapter = batch->adapter, .phase = GEMM_WIDE, .h = ws->h, .qkv = ws->qkv, .gate_up = ws->gate_up,
                      .act = ws->act, .u = ws->u};
    TRY(device_upload(m->dev, tensor_cols(ws->id, 0, batch->n_token), batch->id));
    TRY(device_upload(m->dev, tensor_rows(ws->segment, 0, batch->n_segment), batch->segment));
    return rotation_set(&ws->rotation, m, batch->position, batch->length, batch->n_token, &run->rotation);
}

/* o = what the tokens see of one another; x is only read. */
static Status attention(const LayerRun *run, const Workspace *ws, int32_t layer, const Batch *batch, Tensor o, Tensor x)
{
    const ModelConfig *cfg = &run->model->cfg;
    LayerQkv qkv;

    TRY(layer_qkv(run, layer, x, &qkv));
    const AttnArgs args = {
        .o = o,
        .q = qkv.q,
        .k = qkv.k,
        .v = qkv.v,
        .seg = batch->segment,
        .seg_dev = tensor_rows(ws->segment, 0, batch->n_segment),
        .n_seg = batch->n_segment,
        .n_head = (int32_t)cfg->num_attention_heads,
        .n_kv_head = (int32_t)cfg->num_key_value_heads,
        .head_size = (int32_t)cfg->head_dim,
        .window = layer_window(cfg, layer),
        .scale = layer_attn_scale(cfg),
    };
    return op_attn(run->model->dev, &args);
}

/* Leaves in *hidden the residual stream after the last layer: of all tokens, or of the rows of ws->row alone. GEMM rows do not depend on
 * one another, so leaving rows out changes no bit of those that stay. */
static Status run_layers(const LayerRun *run, Workspace *ws, const Batch *batch, int32_t n_row, Tensor *hidden)
{
    const Model *m = run->model;
    const int32_t last = (int32_t)m->cfg.num_hidden_layers - 1;
    const Tensor x = tensor_rows(ws->x, 0, batch->n_token), o = tensor_rows(ws->o, 0, batch->n_token);
    const Tensor row = tensor_cols(ws->row, 0, n_row), x_last = tensor_rows(ws->x_last, 0, n_row), o_last = tensor_rows(ws->o_last, 0, n_row);

    TRY(op_embed(m->dev, x, m->embed, tensor_cols(ws->id, 0, batch->n_token)));
    for (int32_t layer = 0; layer < last || (layer == last && n_row == 0); layer++) {
        TRY(attention(run, ws, layer, batch, o, x));
        TRY(layer_finish(run, layer, x, o));
    }
    *hidden = x;
    if (n_row == 0)
        return LT_OK;
    TRY(attention(run, ws, last, batch, o, x));
    TRY(op_gather(m->dev, o_last, o, row));
    TRY(op_gather(m->dev, x_last, x, row));
    *hidden = x_last;
    return layer_finish(run, last, x_last, o_last);
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
static Status score_rows(const LayerRun *run, Workspace *ws, const Batch *batch, Tensor h)
{
    const int64_t chunk = ws->logits.rows;
    int32_t pair = 0;

    for (int64_t from = 0; from < h.rows; from += chunk) {
        const int64_t n = h.rows - from < chunk ? h.rows - from : chunk;
        const int32_t first = pair, last_row = ws->host_row[from + n - 1];
        const Tensor logits = tensor_rows(ws->logits, 0, n);

        while (pair < batch->n_pair && batch->pair[pair].row <= last_row)
            pair++;
        TRY(layer_logits(run, logits, tensor_rows(h, from, n)));
        TRY(op_logprob(run->model->dev, tensor_cols(ws->lp, first, pair - first), tensor_cols(ws->best, first, pair - first), logits,
                       tensor_cols(ws->pair_row, first, pair - first), tensor_cols(ws->pair_target, first, pair - first)));
    }
    return LT_OK;
}

Status forward_begin(const Model *model, Workspace *ws, const Batch *batch)
{
    LayerRun run;
    int32_t n_row;
    Tensor hidden, h;

    TRY(check_batch(model, ws, batch));
    if (batch->n_pair == 0)
        return LT_OK;
    n_row = list_rows(ws, batch);
    TRY(start_run(&run, model, ws, batch));
    TRY(upload_pairs(model, ws, n_row, batch->n_pair));
    TRY(run_layers(&run, ws, batch, n_row, &hidden));
    TRY(layer_final_norm(&run, hidden, &h));
    return score_rows(&run, ws, batch, h);
}

Status forward_finish(const Model *model, Workspace *ws, const Batch *batch, float *lp, bool *greedy)
{
    const int32_t n_pair = batch->n_pair;

    TRY(device_download(model->dev, lp, tensor_cols(ws->lp, 0, n_pair)));
    TRY(device_download(model->dev, ws->host_best, tensor_cols(ws->best, 0, n_pair)));
    for (int32_t i = 0; i < n_pair; i++)
        greedy[i] = ws->host_best[i] == batch->pair[i].target;
    return LT_OK;
}

Status forward_logprob(const Model *model, Workspace *ws, const Batch *batch, float *lp, bool *greedy)
{
    TRY(forward_begin(model, ws, batch));
    return forward_finish(model, ws, batch, lp, greedy);
}

Status forward_logits(const Model *model, Workspace *ws, const Batch *batch, float *logits)
{
    const int64_t n_token = batch->n_token, chunk = ws->logits.rows, vocab = model->cfg.vocab_size;
    LayerRun run;
    Tensor hidden, h;

    TRY(check_batch(model, ws, batch));
    TRY(start_run(&run, model, ws, batch));
    TRY(run_layers(&run, ws, batch, 0, &hidden));
    TRY(layer_final_norm(&run, hidden, &h));
    for (int64_t from = 0; from < n_token; from += chunk) {
        const int64_t n = n_token - from < chunk ? n_token - from : chunk;
        const Tensor part = tensor_rows(ws->logits, 0, n);

        TRY(layer_logits(&run, part, tensor_rows(h, from, n)));
        TRY(device_download(model->dev, logits + from * vocab, part));
    }
    return LT_OK;
}
