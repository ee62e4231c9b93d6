/* lethe forward: the logits of given ids, for comparing with other programs to the bit. */
#include "cli/common.h"
#include "cli/verbs.h"

#include "core/json.h"
#include "core/log.h"
#include "model/forward.h"
#include "model/variant.h"

#include <inttypes.h>

static const size_t IDS_MAX_BYTES = (size_t)1 << 30;

typedef struct ForwardOptions {
    CommonOptions common;
    const char *ids, *out, *base;
    bool merge, rehash;
} ForwardOptions;

static const Option forward_options[] = {
    {.name = "ids", .kind = OPTION_TEXT, .value = "FILE.json", .offset = offsetof(ForwardOptions, ids), .required = true, .group = "Files",
     .help = "rows of token ids: [[1, 15043], [1, 3186, 29991]]"},
    {.name = "out", .kind = OPTION_TEXT, .value = "FILE.safetensors", .offset = offsetof(ForwardOptions, out), .required = true,
     .help = "\"logits\" [all ids, vocabulary] F32 and \"logprob\" [all ids] F32 of the id that follows, 0 at each row's end"},
    {.name = "base", .kind = OPTION_TEXT, .value = "CKPT", .offset = offsetof(ForwardOptions, base),
     .help = "the model that an adapter changes (default: the one the adapter names)"},
    {.name = "merge", .kind = OPTION_FLAG, .offset = offsetof(ForwardOptions, merge),
     .help = "add an adapter to the weights of its base instead of applying it on top"},
    {.name = "rehash", .kind = OPTION_FLAG, .offset = offsetof(ForwardOptions, rehash), .help = "do not trust remembered file hashes"},
    {0},
};

/* Rows one after the other. */
typedef struct IdRows {
    int32_t *id;
    size_t n_id, id_cap;
    int32_t *length;
    size_t n_row, row_cap;
    int32_t longest;
} IdRows;

static void rows_release(IdRows *rows)
{
    mem_free(rows->id);
    mem_free(rows->length);
}

static Status read_row(IdRows *rows, JsonAt row, int64_t vocab)
{
    size_t n = 0;

    TRY(json_to_array(row, &n));
    if (n == 0 || n > INT32_MAX)
        return json_expected(row, "at least one token id");
    TRY(MEM_GROW(rows->id, rows->id_cap, rows->n_id + n));
    TRY(MEM_GROW(rows->length, rows->row_cap, rows->n_row + 1));
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        TRY(json_to_int(json_element(&row, i), 0, vocab - 1, &id));
        rows->id[rows->n_id++] = (int32_t)id;
    }
    rows->length[rows->n_row++] = (int32_t)n;
    rows->longest = (int32_t)n > rows->longest ? (int32_t)n : rows->longest;
    return LT_OK;
}

static Status read_rows(IdRows *rows, const char *path, int64_t vocab)
{
    json_t *document = NULL;
    size_t n = 0;
    Status st;

    TRY(json_load_path(&document, path, IDS_MAX_BYTES));
    const JsonAt root = json_root(document, path, 0);
    TRY_GOTO(json_to_array(root, &n), st, done);
    if (n == 0)
        TRY_GOTO(json_expected(root, "at least one row of token ids"), st, done);
    for (size_t i = 0; i < n; i++)
        TRY_GOTO(read_row(rows, json_element(&root, i), vocab), st, done);
done:
    json_decref(document);
    return st;
}

/* Host arrays for one row at a time: nothing a row computes can depend on another. */
typedef struct RowScratch {
    int32_t *position, *length;
    ScorePair *pair;
    bool *greedy;
} RowScratch;

static Status run_row(const Variant *v, Workspace *ws, const RowScratch *scratch, const int32_t *id, int32_t n, float *logits, float *logprob)
{
    const AttnSegment segment = {.q_len = n};
    const Batch batch = {
        .id = id, .position = scratch->position, .length = scratch->length, .n_token = n, .segment = &segment, .n_segment = 1,
        .pair = scratch->pair, .n_pair = n - 1, .adapter = v->adapter};

    for (int32_t i = 0; i < n; i++) {
        scratch->position[i] = i;
        scratch->length[i] = n;
        if (i + 1 < n)
            scratch->pair[i] = (ScorePair){.row = i, .target = id[i + 1]};
    }
    TRY(forward_logits(v->model, ws, &batch, logits));
    /* Asked again as scoring asks, instead of derived from the logits here: what is written are the numbers scores are made of. */
    return n > 1 ? forward_logprob(v->model, ws, &batch, logprob, scratch->greedy) : LT_OK;
}

static Status run_rows(const Variant *v, const IdRows *rows, float *logits, float *logprob)
{
    const BatchLimits limits = {.n_token = rows->longest, .n_segment = 1, .n_pair = rows->longest,
                                .max_rank = v->adapter != NULL ? v->adapter->max_rank : 0};
    const size_t vocab = (size_t)v->model->cfg.vocab_size;
    RowScratch scratch = {0};
    Workspace *ws = NULL;
    Status st;

    TRY_GOTO(MEM_NEW(scratch.position, (size_t)rows->longest), st, done);
    TRY_GOTO(MEM_NEW(scratch.length, (size_t)rows->longest), st, done);
    TRY_GOTO(MEM_NEW(scratch.pair, (size_t)rows->longest), st, done);
    TRY_GOTO(MEM_NEW(scratch.greedy, (size_t)rows->longest), st, done);
    TRY_GOTO(workspace_open(&ws, v->model, &limits), st, done);
    for (size_t row = 0, at = 0; row < rows->n_row; row++) {
        TRY_GOTO(run_row(v, ws, &scratch, rows->id + at, rows->length[row], logits + at * vocab, logprob + at), st, done);
        at += (size_t)rows->length[row];
    }
done:
    workspace_close(ws);
    mem_free(scratch.greedy);
    mem_free(scratch.pair);
    mem_free(scratch.length);
    mem_free(scratch.position);
    return st;
}

static Status run_and_write(const Variant *v, const IdRows *rows, const char *path)
{
    const int64_t vocab = v->model->cfg.vocab_size;
    float *logits = NULL, *logprob = NULL;
    size_t n_logit = 0;
    Status st;

    if (!mem_mul(rows->n_id, (size_t)vocab, &n_logit))
        return FAIL(LT_E_NOMEM, "logits of %zu ids x %" PRId64 ": more than memory can hold", rows->n_id, vocab);
    TRY_GOTO(MEM_NEW(logits, n_logit), st, done);
    TRY_GOTO(MEM_NEW(logprob, rows->n_id), st, done);
    TRY_GOTO(run_rows(v, rows, logits, logprob), st, done);
    const StWrite tensor[] = {
        {.name = "logits", .dtype = "F32", .rank = 2, .shape = {(int64_t)rows->n_id, vocab}, .data = logits},
        {.name = "logprob", .dtype = "F32", .rank = 1, .shape = {(int64_t)rows->n_id}, .data = logprob},
    };
    st = st_write(path, tensor, sizeof tensor / sizeof *tensor, NULL, 0);
done:
    mem_free(logprob);
    mem_free(logits);
    return st;
}

static Status forward_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const ForwardOptions *o = options;
    ModelShelf shelf = {0};
    Device *dev = NULL;
    Variant v = {0};
    IdRows rows = {0};
    size_t unknown = 0;
    LoadOptions load = {.hash = o->rehash ? FILEHASH_AGAIN : FILEHASH_CACHED};
    Status st;

    (void)n_argument, (void)command_line;
    TRY_GOTO(variant_open(&v, argument[0], o->base, &unknown), st, done);
    TRY_GOTO(read_rows(&rows, o->ids, v.checkpoint->cfg.vocab_size), st, done);
    TRY_GOTO(common_open(&dev, &load.dtype, &o->common), st, done);
    load.max_position = rows.longest > v.checkpoint->cfg.max_position_embeddings ? rows.longest : 0;
    TRY_GOTO(variant_load(&v, &shelf, dev, &load, o->merge ? ADAPTER_MERGED : ADAPTER_ON_TOP), st, done);
    if (v.model->lossy_cast)
        log_warning("%s: weights stored as %s lost bits in %s", v.base.given, dtype_name(v.model->stored), dtype_name(v.model->dtype));
    st = run_and_write(&v, &rows, o->out);
done:
    rows_release(&rows);
    variant_close(&v);
    shelf_clear(&shelf);
    device_close(dev);
    return st;
}

const Verb verb_forward = {
    .name = "forward",
    .arguments = "CKPT --ids FILE.json --out FILE.safetensors",
    .summary = "write the logits and log-probabilities of given token ids",
    .option = forward_options,
    .options_bytes = sizeof(ForwardOptions),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = forward_run,
    .examples = "  echo '[[1, 15043, 3186]]' >ids.json\n  lethe forward models/llama --ids ids.json --out logits.safetensors\n"
                "  lethe forward adapters/a --base models/llama --ids ids.json --out logits.safetensors\n",
};
