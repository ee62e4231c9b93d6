#include "model/workspace.h"

/* Logits are made a chunk of rows at a time; the chunk bounds memory and changes no bit. 128 MiB are a thousand rows of a vocabulary of
 * 32000: enough to fill a device. */
enum { LOGITS_BYTES = 128 << 20, LOGITS_MIN_ROWS = 16, LOGITS_MAX_ROWS = 2048 };

static int64_t chunk_rows(int64_t vocab, int64_t n_row)
{
    int64_t rows = LOGITS_BYTES / (vocab * (int64_t)sizeof(float));

    if (rows < LOGITS_MIN_ROWS)
        rows = LOGITS_MIN_ROWS;
    if (rows > LOGITS_MAX_ROWS)
        rows = LOGITS_MAX_ROWS;
    return rows < n_row ? rows : n_row;
}

static Status take_attention(Workspace *ws, TensorArena *a, const Model *m, int64_t last_rows)
{
    const int64_t n = ws->limits.n_token, q = param_dim(&m->cfg, DIM_Q), kv = param_dim(&m->cfg, DIM_KV);

    TRY(tensor_arena_take(a, &ws->qkv, m->dtype, n, q + 2 * kv));
    TRY(tensor_arena_take(a, &ws->o, m->dtype, n, q));
    return tensor_arena_take(a, &ws->o_last, m->dtype, last_rows, q);
}

static Status take_mlp(Workspace *ws, TensorArena *a, const Model *m)
{
    const int64_t n = ws->limits.n_token, f = m->cfg.intermediate_size;

    TRY(tensor_arena_take(a, &ws->gate_up, m->dtype, n, 2 * f));
    return tensor_arena_take(a, &ws->act, m->dtype, n, f);
}

static Status take_indices(Workspace *ws, TensorArena *a, int64_t n_row)
{
    const BatchLimits *l = &ws->limits;

    TRY(tensor_arena_take(a, &ws->id, LT_I32, 1, l->n_token));
    TRY(tensor_arena_take(a, &ws->segment, LT_I32, l->n_segment, sizeof(AttnSegment) / sizeof(int32_t)));
    TRY(tensor_arena_take(a, &ws->row, LT_I32, 1, n_row));
    TRY(tensor_arena_take(a, &ws->pair_row, LT_I32, 1, l->n_pair));
    TRY(tensor_arena_take(a, &ws->pair_target, LT_I32, 1, l->n_pair));
    TRY(tensor_arena_take(a, &ws->lp, LT_F32, 1, l->n_pair));
    return tensor_arena_take(a, &ws->best, LT_I32, 1, l->n_pair);
}

/* Carves everything, from a planning arena or a real one. */
static Status carve(Workspace *ws, TensorArena *a, const Model *m)
{
    const int64_t n = ws->limits.n_token, c = m->cfg.hidden_size;
    const int64_t n_row = ws->limits.n_pair < n ? ws->limits.n_pair : n;
    size_t shared, attention_end;

    TRY(tensor_arena_take(a, &ws->x, m->dtype, n, c));
    TRY(tensor_arena_take(a, &ws->h, m->dtype, n, c));
    TRY(tensor_arena_take(a, &ws->x_last, m->dtype, n_row, c));
    TRY(tensor_arena_take(a, &ws->logits, LT_F32, chunk_rows(m->cfg.vocab_size, n), m->cfg.vocab_size));
    TRY(take_indices(ws, a, n_row));
    TRY(rotation_take(&ws->rotation, a, m, n));
    if (ws->limits.max_rank > 0)
        TRY(tensor_arena_take(a, &ws->u, m->dtype, n, adapter_scratch_cols(ws->limits.max_rank)));
    shared = a->used;
    TRY(take_attention(ws, a, m, n_row));
    attention_end = a->used;
    a->used = shared;
    TRY(take_mlp(ws, a, m));
    if (a->used < attention_end)
        a->used = attention_end;
    return LT_OK;
}

/* Blocks of zero rows are allowed by the ops but not worth a special case in the arena. */
static BatchLimits at_least_one(const BatchLimits *l)
{
    return (BatchLimits){
        .n_token = l->n_token > 0 ? l->n_token : 1,
        .n_segment = l->n_segment > 0 ? l->n_segment : 1,
        .n_pair = l->n_pair > 0 ? l->n_pair : 1,
        .max_rank = l->max_rank,
    };
}

size_t workspace_bytes(const Model *model, const BatchLimits *limits)
{
    Workspace ws = {.dev = model->dev, .limits = at_least_one(limits)};

    tensor_arena_plan(&ws.memory, model->dev);
    const Status st = carve(&ws, &ws.memory, model);
    return tensor_arena_planned(&ws.memory, st);
}

static Status open_memory(Workspace *ws, const Model *model)
{
    TRY(tensor_arena_open(&ws->memory, ws->dev, workspace_bytes(model, &ws->limits)));
    TRY(carve(ws, &ws->memory, model));
    TRY(rotation_open(&ws->rotation, model, ws->limits.n_token));
    TRY(MEM_NEW(ws->host_row, (size_t)ws->row.cols));
    TRY(MEM_NEW(ws->host_pair_row, (size_t)ws->limits.n_pair));
    TRY(MEM_NEW(ws->host_target, (size_t)ws->limits.n_pair));
    return MEM_NEW(ws->host_best, (size_t)ws->limits.n_pair);
}

Status workspace_open(Workspace **out, const Model *model, const BatchLimits *limits)
{
    Workspace *ws;
    Status st;

    TRY(MEM_NEW(ws, 1));
    ws->dev = model->dev;
    ws->limits = at_least_one(limits);
    st = open_memory(ws, model);
    if (st == LT_OK)
        *out = ws;
    else
        workspace_close(ws);
    return st;
}

void workspace_close(Workspace *ws)
{
    if (ws == NULL)
        return;
    tensor_arena_close(&ws->memory);
    rotation_close(&ws->rotation);
    mem_free(ws->host_row);
    mem_free(ws->host_pair_row);
    mem_free(ws->host_target);
    mem_free(ws->host_best);
    mem_free(ws);
}
