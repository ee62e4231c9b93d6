/* lethe generate: prompts gone on with. */
#include "cli/common.h"
#include "cli/print.h"
#include "cli/prompts.h"
#include "cli/verbs.h"

#include "core/json.h"
#include "core/log.h"
#include "eval/engine/generate.h"
#include "kernels/ops.h"
#include "model/eos.h"
#include "model/variant.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct GenerateLine {
    CommonOptions common;
    const char *prompt, *ids, *prompts, *tokenizer, *base;
    int64_t max_new, samples, top_k, max_length, rows;
    double temperature, top_p, kv_memory;
    OptionList stop;
    bool ignore_eos, merge, rehash;
} GenerateLine;

static void generate_defaults(void *options)
{
    GenerateLine *line = options;

    line->samples = 1;
    line->top_p = 1;
}

static const Option generate_options[] = {
    {.name = "prompt", .kind = OPTION_TEXT, .value = "TEXT", .offset = offsetof(GenerateLine, prompt), .group = "Prompts",
     .help = "one prompt; its completion is printed as it comes"},
    {.name = "ids", .kind = OPTION_TEXT, .value = "FILE.json", .offset = offsetof(GenerateLine, ids),
     .help = "prompts as token ids: [[1, 15043], [1, 3186, 29991]]"},
    {.name = "prompts", .kind = OPTION_TEXT, .value = "FILE.jsonl", .offset = offsetof(GenerateLine, prompts),
     .help = "a line {\"prompt\": ...} for each prompt"},
    {.name = "tokenizer", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(GenerateLine, tokenizer),
     .help = "folder with the tokenizer to use (default: the checkpoint's own)"},
    {.name = "base", .kind = OPTION_TEXT, .value = "CKPT", .offset = offsetof(GenerateLine, base),
     .help = "the model that an adapter changes (default: the one its adapter_config.json names)"},
    {.name = "merge", .kind = OPTION_FLAG, .offset = offsetof(GenerateLine, merge), .help = "add the adapter to the weights, rounded to --dtype"},
    {.name = "rehash", .kind = OPTION_FLAG, .offset = offsetof(GenerateLine, rehash), .help = "do not trust remembered file hashes"},

    {.name = "max-new", .kind = OPTION_INT, .value = "N", .offset = offsetof(GenerateLine, max_new), .min = 1, .max = 1 << 24,
     .group = "Completions", .help = "new tokens at most (has to be given)"},
    {.name = "samples", .kind = OPTION_INT, .value = "N", .offset = offsetof(GenerateLine, samples), .min = 1, .max = 1 << 20,
     .help = "completions of each prompt (default 1)"},
    {.name = "temperature", .kind = OPTION_REAL, .value = "T", .offset = offsetof(GenerateLine, temperature), .min = 0, .max = 1000,
     .help = "0: always the likeliest token (default 0)"},
    {.name = "top-p", .kind = OPTION_REAL, .value = "P", .offset = offsetof(GenerateLine, top_p), .min = 0, .max = 1,
     .help = "draw from the likeliest tokens whose probabilities add up to P (default 1)"},
    {.name = "top-k", .kind = OPTION_INT, .value = "K", .offset = offsetof(GenerateLine, top_k), .min = 0, .max = 1 << 24,
     .help = "draw from the K likeliest tokens; 0: from all (default 0)"},
    {.name = "stop", .kind = OPTION_LIST, .value = "TEXT", .offset = offsetof(GenerateLine, stop),
     .help = "end at this text and leave it out (may be given several times)"},
    {.name = "ignore-eos", .kind = OPTION_FLAG, .offset = offsetof(GenerateLine, ignore_eos), .help = "go on behind an end-of-text token"},

    {.name = "max-length", .kind = OPTION_INT, .value = "N", .offset = offsetof(GenerateLine, max_length), .min = 2, .max = 1 << 30, .group = "How",
     .help = "tokens of prompt and completion; longer prompts lose their beginning (default: the model's)"},
    {.name = "kv-memory", .kind = OPTION_REAL, .value = "GIB", .offset = offsetof(GenerateLine, kv_memory), .min = 0, .max = 1 << 20,
     .help = "memory for keys and values: speed, never results (default: what is useful, at most half of what is free)"},
    {.name = "rows", .kind = OPTION_INT, .value = "N", .offset = offsetof(GenerateLine, rows), .min = 1, .max = 1 << 16,
     .help = "completions that grow side by side: speed, never results (default: by device)"},
    {0},
};

/* ---- requests and answers ----------------------------------------------------------------------------------------------- */

typedef struct Generating {
    const GenerateLine *line;
    const char **stop; /* NULL-terminated */
    Prompts prompts;
    Request *request;  /* samples of a prompt in a row */
    size_t next;       /* prompt */
    bool streams;
    const Tokenizer *tokenizer;
    json_t *answers;
} Generating;

static Status make_requests(Generating *g)
{
    const GenerateLine *line = g->line;
    const size_t samples = (size_t)line->samples;
    size_t n;

    if (!mem_mul(g->prompts.count, samples, &n))
        return FAIL(LT_E_NOMEM, "%zu prompts of %zu samples: more than memory can hold", g->prompts.count, samples);
    TRY(MEM_NEW(g->request, n));
    for (size_t i = 0; i < n; i++) {
        Request *r = &g->request[i];

        *r = (Request){.kind = REQUEST_GENERATE, .id = (int64_t)i, .adapter = -1};
        r->token = prompts_at(&g->prompts, i / samples, &r->n_token);
        r->sampling = (Sampling){.temperature = (float)line->temperature, .top_p = (float)line->top_p, .top_k = (int32_t)line->top_k,
                                 .max_new = (int32_t)line->max_new, .stop = g->stop, .ignore_eos = line->ignore_eos,
                                 .seed = sampling_seed((uint64_t)line->common.seed, r->token, r->n_token, (int32_t)(i % samples))};
    }
    return LT_OK;
}

static Status give_group(void *context, RequestGroup *group, bool *more)
{
    Generating *g = context;

    *more = g->next < g->prompts.count;
    if (*more)
        *group = (RequestGroup){g->request + g->next++ * (size_t)g->line->samples, (int32_t)g->line->samples};
    return LT_OK;
}

static Status write_text(Str text)
{
    if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0)
        return FAIL(LT_E_IO, "cannot write to stdout");
    return LT_OK;
}

static Status show_more(void *context, const Request *request, Str more)
{
    (void)context, (void)request;
    return write_text(more);
}

static Status add_answer(json_t *answers, const Response *r)
{
    json_t *answer = json_object(), *ids = json_array();
    Status st = LT_OK;

    for (int32_t i = 0; i < r->n_score && st == LT_OK; i++)
        st = json_push(ids, json_integer(r->token[i]));
    if (st == LT_OK)
        st = json_put(answer, "ids", json_incref(ids));
    if (st == LT_OK)
        st = json_put(answer, "text", json_from_str(r->text));
    if (st == LT_OK)
        st = json_put(answer, "finish", json_string(finish_name(r->finish)));
    if (st == LT_OK)
        st = json_put(answer, "logprob", json_real(r->loglik));
    if (st == LT_OK)
        st = json_push(answers, json_incref(answer));
    json_decref(ids);
    json_decref(answer);
    return st;
}

/* Ids, where there is no tokenizer to make text of them. */
static Status print_answer(const Generating *g, const Response *r)
{
    StrBuf out;
    Status st;

    strbuf_init(&out);
    if (g->tokenizer != NULL && !g->streams)
        strbuf_add_str(&out, r->text);
    for (int32_t i = 0; i < r->n_score && g->tokenizer == NULL; i++)
        strbuf_addf(&out, "%s%d", i > 0 ? " " : "", (int)r->token[i]);
    strbuf_add_char(&out, '\n');
    st = strbuf_status(&out);
    if (st == LT_OK)
        st = write_text(strbuf_str(&out));
    strbuf_release(&out);
    return st;
}

static Status take_answers(void *context, const RequestGroup *group, const Response *response)
{
    Generating *g = context;

    for (int32_t i = 0; i < group->n_request; i++)
        TRY(g->line->common.json ? add_answer(g->answers, &response[i]) : print_answer(g, &response[i]));
    return LT_OK;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static void note_plan(const Generator *generator, const Model *m)
{
    const double mib = 1024.0 * 1024.0;
    const GeneratorPlan plan = generator_plan(generator);

    log_note("memory: weights %.1f MiB (a second copy for decoding %.1f MiB), keys and values of %lld tokens %.1f MiB, a pass %.1f MiB; up to "
             "%d completions side by side",
             (double)model_bytes(&m->cfg, m->dev, m->dtype, m->rope.n_position) / mib,
             (double)plan.packed_bytes / mib, (long long)plan.n_position, (double)plan.kv_bytes / mib,
             (double)plan.pass_bytes / mib, plan.max_rows);
}

static void note_work(const GeneratorStats *s)
{
    log_note("%" PRIu64 " prompts: read %" PRIu64 " of %" PRIu64 " tokens in %.2f s, drew %" PRIu64 " in %.2f s", s->prompts, s->tokens_read,
             s->tokens_asked, s->read_s, s->tokens_drawn, s->decode_s);
}

static Status print_answers(json_t *answers)
{
    json_t *document = json_object();
    Status st = json_put(document, "generations", json_incref(answers));

    if (st == LT_OK)
        st = print_json(document);
    json_decref(document);
    return st;
}

/* Every completion in pages of its own, prompts uncut. */
static int64_t count_positions(const Generating *g)
{
    int64_t n = 0;

    for (size_t i = 0; i < g->prompts.count; i++) {
        int32_t n_prompt;

        prompts_at(&g->prompts, i, &n_prompt);
        n += (n_prompt + g->line->max_new + KV_PAGE) * g->line->samples;
    }
    return n;
}

static Status run_generator(Generating *g, const Variant *v, const EosIds *eos)
{
    const GenerateLine *line = g->line;
    const GeneratorOptions options = {
        .rules = {.tokenizer = g->tokenizer, .eos = eos->id, .n_eos = eos->n},
        .adapter = v->adapter,
        .max_length = (int32_t)line->max_length,
        .max_rows = (int32_t)line->rows,
        .kv_bytes = (size_t)(line->kv_memory * 0x1p30),
        .most_positions = count_positions(g),
        .on_text = g->streams ? show_more : NULL,
    };
    Generator *generator = NULL;
    Status st;

    TRY(make_requests(g));
    TRY(generator_open(&generator, v->model, &options));
    note_plan(generator, v->model);
    st = generator_run(generator, give_group, g, take_answers, g);
    if (st == LT_OK)
        note_work(generator_stats(generator));
    if (st == LT_OK && line->common.json)
        st = print_answers(g->answers);
    generator_close(generator);
    return st;
}

static Status check_line(const GenerateLine *line)
{
    const int given = (line->prompt != NULL) + (line->ids != NULL) + (line->prompts != NULL);

    if (given != 1)
        return FAIL(LT_E_USAGE, "expected one of --prompt, --ids and --prompts, found %d of them", given);
    if (line->max_new == 0)
        return FAIL(LT_E_USAGE, "option '--max-new' is missing: new tokens at most");
    return LT_OK;
}

/* Ids need no tokenizer: without one they stay ids. */
static Status open_tokenizer(Tokenizer **out, Variant *v, const GenerateLine *line)
{
    const FileHashMode mode = line->rehash ? FILEHASH_AGAIN : FILEHASH_CACHED;
    TokenizerPlace place;
    const Status st = locate_tokenizer(&place, &v->memory, line->tokenizer, &v->place, v->folder != NULL ? &v->base : NULL, mode);

    if (st == LT_E_INPUT && line->ids != NULL && line->tokenizer == NULL && line->stop.count == 0) {
        status_clear();
        return LT_OK;
    }
    TRY(st);
    return tokenizer_load(out, place.folder);
}

static Status read_prompts(Generating *g)
{
    const GenerateLine *line = g->line;
    Encoder *encoder = NULL;
    Status st;

    if (line->ids != NULL)
        return prompts_read_ids(&g->prompts, line->ids);
    TRY(encoder_create(&encoder, g->tokenizer));
    st = line->prompt != NULL ? prompts_add_text(&g->prompts, encoder, str_of(line->prompt), "option '--prompt'")
                              : prompts_read_texts(&g->prompts, encoder, line->prompts);
    encoder_free(encoder);
    return st;
}

static Status prepare(Generating *g)
{
    const GenerateLine *line = g->line;

    TRY(read_prompts(g));
    TRY(MEM_NEW(g->stop, line->stop.count + 1));
    for (size_t i = 0; i < line->stop.count; i++)
        g->stop[i] = line->stop.item[i];
    g->answers = json_array();
    TRY(g->answers != NULL ? LT_OK : LT_E_NOMEM);
    g->streams = g->prompts.count == 1 && line->samples == 1 && !line->common.json && g->tokenizer != NULL;
    return LT_OK;
}

static Status generate_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const GenerateLine *line = options;
    Generating g = {.line = line};
    ModelShelf shelf = {0};
    Tokenizer *tokenizer = NULL;
    Device *dev = NULL;
    Variant v = {0};
    EosIds eos;
    size_t unknown = 0;
    LoadOptions load = {.hash = line->rehash ? FILEHASH_AGAIN : FILEHASH_CACHED, .max_position = line->max_length};
    Status st;

    (void)n_argument, (void)command_line;
    TRY(check_line(line));
    TRY_GOTO(variant_open(&v, argument[0], line->base, &unknown), st, done);
    TRY_GOTO(eos_load(&eos, &v.checkpoint->cfg, v.base.path), st, done);
    TRY_GOTO(open_tokenizer(&tokenizer, &v, line), st, done);
    g.tokenizer = tokenizer;
    TRY_GOTO(prepare(&g), st, done);
    TRY_GOTO(common_open(&dev, &load.dtype, &line->common), st, done);
    TRY_GOTO(variant_load(&v, &shelf, dev, &load, line->merge ? ADAPTER_MERGED : ADAPTER_ON_TOP), st, done);
    TRY_GOTO(common_catch_signals(), st, done);
    st = run_generator(&g, &v, &eos);
done:
    json_decref(g.answers);
    mem_free(g.request);
    mem_free(g.stop);
    prompts_release(&g.prompts);
    tokenizer_free(tokenizer);
    variant_close(&v);
    shelf_clear(&shelf);
    device_close(dev);
    return st;
}

const Verb verb_generate = {
    .name = "generate",
    .arguments = "CKPT (--prompt TEXT | --ids FILE.json | --prompts FILE.jsonl) --max-new N",
    .summary = "go on with prompts; what a prompt gets depends on it, its options and --seed alone",
    .option = generate_options,
    .options_bytes = sizeof(GenerateLine),
    .defaults = generate_defaults,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = generate_run,
    .examples = "  lethe generate models/llama --prompt 'Once upon a time' --max-new 100 --stop 'The end'\n"
                "  lethe generate models/llama --prompts prompts.jsonl --max-new 256 --samples 20 --temperature 0.2 --top-p 0.95 --json\n",
};
