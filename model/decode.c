#include "model/decode.h"

#include "model/decode_record.h"
#include "model/layer.h"
#include "model/workspace.h"

/* What a pass is told, on the device and, in the same order, on the host: one transfer takes it over. */
typedef struct DecodeInput {
    Tensor block; /* I32, all of it */
    Tensor id, slot; /* I32 [1, N]: the tokens, and where their keys go */
    Tensor row;      /* I32 [1, rows that choices name] */
    Tensor table;    /* I32 [S, P] */
    Tensor segment;  /* I32 [S, 4] */
    Tensor group;    /* I32 [S, 3] */
    Tensor params;   /* I32 [choices, 6] */
    int32_t *host;
    int32_t *host_id, *host_slot, *host_row, *host_table;
    CachedSegment *host_segment;
    PrefixGroup *host_group;
    SampleParams *host_params;
} DecodeInput;

struct Decoder {
    const Model *model;
    KvCache *cache;
    DecodeLimits limits;
    Workspace *ws;
    TensorArena memory;
    DecodeInput in;
    Tensor drawn; /* I32 [2, choices]: ids, and under them the bits of their log-probabilities */
    int32_t *host_position, *host_length, *host_drawn;
    int32_t n_token, n_group, n_row, n_page; /* of the pass; n_page: of the page table, what its longest sequence needs and a little more */
    PassRecords records;
};

/* ---- memory ------------------------------------------------------------------------------------------------------------- */

static BatchLimits workspace_limits(const DecodeLimits *l)
{
    return (BatchLimits){.n_token = l->n_token, .n_segment = 1, .n_pair = l->n_choice, .max_rank = l->max_rank};
}

/* The next rows x cols words of the block; `at` is moved on. */
static Tensor cut(const DecodeInput *in, size_t *at, int64_t rows, int64_t cols, int32_t **host)
{
    int32_t *data = in->block.data;
    const Tensor t = tensor_of(data == NULL ? NULL : data + *at, LT_I32, rows, cols);

    *host = in->host == NULL ? NULL : in->host + *at;
    *at += (size_t)(rows * cols);
    return t;
}

/* The parts of the block; how many words they are. While the block is not there yet it only counts. */
static size_t cut_input(DecodeInput *in, const DecodeLimits *l)
{
    int32_t *segment, *group, *params;
    size_t at = 0;

    in->id = cut(in, &at, 1, l->n_token, &in->host_id);
    in->slot = cut(in, &at, 1, l->n_token, &in->host_slot);
    in->row = cut(in, &at, 1, l->n_choice, &in->host_row);
    in->table = cut(in, &at, l->n_sequence, l->n_page, &in->host_table);
    in->segment = cut(in, &at, l->n_sequence, sizeof(CachedSegment) / sizeof(int32_t), &segment);
    in->group = cut(in, &at, l->n_sequence, sizeof(PrefixGroup) / sizeof(int32_t), &group);
    in->params = cut(in, &at, l->n_choice, sizeof(SampleParams) / sizeof(int32_t), &params);
    in->host_segment = (CachedSegment *)segment;
    in->host_group = (PrefixGroup *)group;
    in->host_params = (SampleParams *)(void *)params;
    return at;
}

static Status carve(Decoder *d, TensorArena *a)
{
    TRY(tensor_arena_take(a, &d->in.block, LT_I32, 1, (int64_t)cut_input(&(DecodeInput){0}, &d->limits)));
    return tensor_arena_take(a, &d->drawn, LT_I32, 2, d->limits.n_choice);
}

static size_t plan_own(const Model *m, const DecodeLimits *limits)
{
    Decoder d = {.limits = *limits};
    TensorArena arena;

    tensor_arena_plan(&arena, m->dev);
    const Status st = carve(&d, &arena);
    return tensor_arena_planned(&arena, st);
}

size_t decoder_bytes(const Model *m, const DecodeLimits *limits)
{
    const BatchLimits ws = workspace_limits(limits);
    size_t bytes;

    return mem_add(plan_own(m, limits), workspace_bytes(m, &ws), &bytes) ? bytes : SIZE_MAX;
}

static Status open_parts(Decoder *d)
{
    const DecodeLimits *l = &d->limits;
    const BatchLimits ws = workspace_limits(l);
    const size_t n_token = (size_t)l->n_token;

    TRY(workspace_open(&d->ws, d->model, &ws));
    TRY(tensor_arena_open(&d->memory, d->model->dev, plan_own(d->model, l)));
    TRY(carve(d, &d->memory));
    TRY(MEM_NEW(d->host_position, n_token));
    TRY(MEM_NEW(d->host_length, n_token));
    TRY(MEM_NEW(d->host_drawn, 2 * (size_t)l->n_choice));
    TRY(MEM_NEW(d->in.host, (size_t)d->in.block.cols));
    cut_input(&d->in, l);
    return LT_OK;
}

Status decoder_open(Decoder **out, const Model *model, KvCache *cache, const DecodeLimits *limits)
{
    Decoder *d;

    TRY(MEM_NEW(d, 1));
    d->model = model;
    d->cache = cache;
    d->limits = *limits;
    d->records.dev = model->dev;
    const Status st = open_parts(d);
    if (st == LT_OK)
        *out = d;
    else
        decoder_close(d);
    return st;
}

void decoder_close(Decoder *d)
{
    if (d == NULL)
        return;
    pass_records_release(&d->records);
    workspace_close(d->ws);
    tensor_arena_close(&d->memory);
    mem_free(d->host_position);
    mem_free(d->host_length);
    mem_free(d->host_drawn);
    mem_free(d->in.host);
    mem_free(d);
}

/* ---- a pass is laid out ------------------------------------------------------------------------------------------------- */

static int32_t n_page_of(const DecodeSequence *s) { return (s->past + s->n_token + KV_PAGE - 1) / KV_PAGE; }

static void lay_sequence(Decoder *d, const DecodeSequence *s, int32_t index)
{
    const int32_t n_page = n_page_of(s);

    BUG_IF(n_page > d->limits.n_page || d->n_token + s->n_token > d->limits.n_token);
    while (d->n_page < n_page)
        d->n_page = 2 * d->n_page < d->limits.n_page ? 2 * d->n_page : d->limits.n_page;
    memcpy(d->in.host_table + (size_t)index * (size_t)d->limits.n_page, s->page, (size_t)n_page * sizeof *s->page);
    d->in.host_segment[index] = (CachedSegment){d->n_token, s->n_token, s->past, index};
    for (int32_t i = s->past; i < s->past + s->n_token; i++, d->n_token++) {
        d->host_position[d->n_token] = i;
        d->host_length[d->n_token] = s->length;
        d->in.host_slot[d->n_token] = s->page[i / KV_PAGE] * KV_PAGE + i % KV_PAGE;
    }
}

/* Positions, in whole splits, that lie in the same pages and are past for both. */
static int32_t common_prefix(const DecodeSequence *a, const DecodeSequence *b, int32_t most)
{
    int32_t n = 0;

    most = a->past < most ? a->past : most;
    most = b->past < most ? b->past : most;
    while ((n + 1) * KV_PAGE <= most && a->page[n] == b->page[n])
        n++;
    return n * KV_PAGE / ATTN_SPLIT * ATTN_SPLIT;
}

/* A group goes on for as long as any split is common to all of it. */
static void find_groups(Decoder *d, const DecodeBatch *batch)
{
    d->n_group = 0;
    for (int32_t first = 0, next; first < batch->n_sequence; first = next) {
        int32_t prefix = INT32_MAX;

        for (next = first + 1; next < batch->n_sequence; next++) {
            const int32_t common = common_prefix(&batch->sequence[first], &batch->sequence[next], prefix);

            if (common == 0)
                break;
            prefix = common;
        }
        if (next > first + 1)
            d->in.host_group[d->n_group++] = (PrefixGroup){first, next - first, prefix};
    }
}

static void list_choices(Decoder *d, const DecodeBatch *batch)
{
    d->n_row = 0;
    for (int32_t i = 0; i < batch->n_choice; i++) {
        const int32_t row = batch->choice[i].row;

        BUG_IF(row < 0 || row >= d->n_token || (i > 0 && row < batch->choice[i - 1].row));
        if (i == 0 || row != batch->choice[i - 1].row)
            d->in.host_row[d->n_row++] = row;
        d->in.host_params[i] = batch->choice[i].params;
    }
}

static Status start_run(LayerRun *run, Decoder *d, const DecodeBatch *batch)
{
    const Model *m = d->model;
    Workspace *ws = d->ws;

    BUG_IF(batch->n_sequence > d->limits.n_sequence || batch->n_choice > d->limits.n_choice);
    d->n_token = 0;
    d->n_page = 1;
    for (int32_t i = 0; i < batch->n_sequence; i++)
        lay_sequence(d, &batch->sequence[i], i);
    find_groups(d, batch);
    list_choices(d, batch);
    *run = (LayerRun){.model = m, .adapter = batch->adapter, .phase = batch->phase, .packed = batch->packed,
                      .h = ws->h, .qkv = ws->qkv, .gate_up = ws->gate_up, .act = ws->act, .u = ws->u};
    memcpy(d->in.host_id, batch->id, (size_t)d->n_token * sizeof *batch->id);
    TRY(device_upload(m->dev, d->in.block, d->in.host));
    return rotation_set(&ws->rotation, m, d->host_position, d->host_length, d->n_token, &run->rotation);
}

/* ---- and run ------------------------------------------------------------------------------------------------------------ */

static Status write_keys(const LayerRun *run, Decoder *d, int32_t layer, Tensor x, LayerQkv *qkv)
{
    TRY(layer_qkv(run, layer, x, qkv));
    return op_kv_write(d->model->dev, d->cache->k[layer], d->cache->v[layer], qkv->k, qkv->v, tensor_cols(d->in.slot, 0, d->n_token));
}

static Status attention(const LayerRun *run, Decoder *d, int32_t layer, int32_t n_sequence, Tensor o, Tensor x)
{
    const ModelConfig *cfg = &run->model->cfg;
    LayerQkv qkv;

    TRY(write_keys(run, d, layer, x, &qkv));
    const AttnCachedArgs args = {
        .o = o,
        .q = qkv.q,
        .k_pages = d->cache->k[layer],
        .v_pages = d->cache->v[layer],
        .table = tensor_cols(tensor_rows(d->in.table, 0, n_sequence), 0, d->n_page),
        .seg = d->in.host_segment,
        .seg_dev = tensor_rows(d->in.segment, 0, n_sequence),
        .group = d->in.host_group,
        .group_dev = tensor_rows(d->in.group, 0, d->n_group),
        .n_seg = n_sequence,
        .n_group = d->n_group,
        .n_head = (int32_t)cfg->num_attention_heads,
        .n_kv_head = (int32_t)cfg->num_key_value_heads,
        .head_size = (int32_t)cfg->head_dim,
        .window = layer_window(cfg, layer),
        .scale = layer_attn_scale(cfg),
    };
    return op_attn_cached(run->model->dev, &args);
}

/* *h: the normed rows that choices name. Where there are none, only the keys of the last layer are of use. */
static Status run_layers(const LayerRun *run, Decoder *d, int32_t n_sequence, Tensor *h)
{
    const Model *m = run->model;
    const int32_t last = (int32_t)m->cfg.num_hidden_layers - 1;
    Workspace *ws = d->ws;
    const Tensor x = tensor_rows(ws->x, 0, d->n_token), o = tensor_rows(ws->o, 0, d->n_token);
    const Tensor row = tensor_cols(d->in.row, 0, d->n_row), x_last = tensor_rows(ws->x_last, 0, d->n_row);
    const Tensor o_last = tensor_rows(ws->o_last, 0, d->n_row);

    TRY(op_embed(m->dev, x, m->embed, tensor_cols(d->in.id, 0, d->n_token)));
    for (int32_t layer = 0; layer < last; layer++) {
        TRY(attention(run, d, layer, n_sequence, o, x));
        TRY(layer_finish(run, layer, x, o));
    }
    if (d->n_row == 0)
        return write_keys(run, d, last, x, &(LayerQkv){0});
    TRY(attention(run, d, last, n_sequence, o, x));
    TRY(op_gather(m->dev, o_last, o, row));
    TRY(op_gather(m->dev, x_last, x, row));
    TRY(layer_finish(run, last, x_last, o_last));
    return layer_final_norm(run, x_last, h);
}

/* The choices of logits rows from.. of the pass, beginning with choice *next. Those of different rows go together; a row with several is drawn from
 * several times. */
static Status draw_rows(Decoder *d, const DecodeBatch *batch, Tensor logits, int64_t from, int32_t *next)
{
    const Tensor id = tensor_rows(d->drawn, 0, 1), bits = tensor_rows(d->drawn, 1, 1);
    const Tensor lp = tensor_of(bits.data, LT_F32, 1, bits.cols);
    int32_t first = *next;
    int64_t row = 0;

    while (row < logits.rows) {
        int32_t n = 1;

        while (first + n < batch->n_choice && row + n < logits.rows && batch->choice[first + n].row == d->in.host_row[from + row + n])
            n++;
        TRY(op_sample(d->model->dev, tensor_cols(id, first, n), tensor_cols(lp, first, n), tensor_rows(logits, row, n),
                      tensor_rows(d->in.params, first, n)));
        first += n;
        row += n - 1;
        if (first == batch->n_choice || batch->choice[first].row != d->in.host_row[from + row])
            row++;
    }
    *next = first;
    return LT_OK;
}

/* Everything between what a pass is told and what it answers. */
static Status run_pass(const LayerRun *run, Decoder *d, const DecodeBatch *batch)
{
    const Workspace *ws = d->ws;
    const int64_t chunk = ws->logits.rows;
    int32_t next = 0;
    Tensor h = {0};

    TRY(run_layers(run, d, batch->n_sequence, &h));
    for (int64_t from = 0; from < d->n_row; from += chunk) {
        const int64_t n = d->n_row - from < chunk ? d->n_row - from : chunk;
        const Tensor logits = tensor_rows(ws->logits, 0, n);

        TRY(layer_logits(run, logits, tensor_rows(h, from, n)));
        TRY(draw_rows(d, batch, logits, from, &next));
    }
    return LT_OK;
}

/* A token and a choice for each sequence, the usual step: its calls follow from the key. */
static bool is_plain_step(const Decoder *d, const DecodeBatch *batch)
{
    return batch->phase == GEMM_NARROW && d->n_token == batch->n_sequence && batch->n_choice == batch->n_sequence && d->n_row == batch->n_sequence;
}

static Status record_pass(const LayerRun *run, Decoder *d, const DecodeBatch *batch, PassRecord *pass)
{
    TRY(device_record_begin(d->model->dev));
    return device_record_end(d->model->dev, run_pass(run, d, batch), &pass->record);
}

static Status run_or_replay(const LayerRun *run, Decoder *d, const DecodeBatch *batch)
{
    const PassKey key = {batch->n_sequence, d->n_page, d->n_group, d->in.host_group, batch->adapter, batch->packed};
    PassRecord *pass;
    bool is_new;

    if (!device_can_record(d->model->dev) || !is_plain_step(d, batch))
        return run_pass(run, d, batch);
    TRY(pass_records_find(&d->records, &key, &pass, &is_new));
    if (is_new)
        return run_pass(run, d, batch);
    if (pass->record == NULL)
        TRY(record_pass(run, d, batch, pass));
    return device_replay(d->model->dev, pass->record);
}

Status decode_run(Decoder *d, const DecodeBatch *batch, int32_t *id, float *lp)
{
    LayerRun run;

    TRY(start_run(&run, d, batch));
    TRY(run_or_replay(&run, d, batch));
    if (batch->n_choice == 0)
        return LT_OK;
    TRY(device_download(d->model->dev, d->host_drawn, tensor_cols(d->drawn, 0, batch->n_choice)));
    memcpy(id, d->host_drawn, (size_t)batch->n_choice * sizeof *id);
    memcpy(lp, d->host_drawn + batch->n_choice, (size_t)batch->n_choice * sizeof *lp);
    return LT_OK;
}
