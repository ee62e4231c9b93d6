/* lethe extract: the adapter nearest to a full fine-tune. */
#include "cli/common.h"
#include "cli/print.h"
#include "cli/verbs.h"

#include "analysis/extract.h"
#include "core/log.h"

typedef struct ExtractLine {
    CommonOptions common;
    const char *out;
    int64_t rank;
    double energy;
} ExtractLine;

static const Option extract_options[] = {
    {.name = "rank", .kind = OPTION_INT, .value = "K", .offset = offsetof(ExtractLine, rank), .min = 1, .max = ADAPTER_MAX_RANK, .group = "How much to keep",
     .help = "of each matrix the K largest singular values of its change"},
    {.name = "energy", .kind = OPTION_REAL, .value = "E", .offset = offsetof(ExtractLine, energy), .min = 1e-9, .max = 1,
     .help = "instead: of each matrix as many as hold the share E of the sum of their squares"},
    {.name = "out", .kind = OPTION_TEXT, .value = "ADAPTER", .offset = offsetof(ExtractLine, out), .required = true, .group = "Files",
     .help = "a PEFT folder, which must not exist or be empty: adapter_config.json and adapter_model.safetensors"},
    {0},
};

static Status print_extracted(const ExtractOptions *o, const ExtractResult *r, bool json)
{
    json_t *result = json_object();
    Status st;

    TRY_GOTO(json_put(result, "out", print_name(o->out)), st, done);
    TRY_GOTO(json_put(result, "base", print_name(o->base)), st, done);
    TRY_GOTO(json_put(result, "tuned", print_name(o->tuned)), st, done);
    TRY_GOTO(json_put(result, "matrices", json_integer((json_int_t)r->n_matrix)), st, done);
    TRY_GOTO(json_put(result, "least_rank", json_integer((json_int_t)r->least_rank)), st, done);
    TRY_GOTO(json_put(result, "most_rank", json_integer((json_int_t)r->most_rank)), st, done);
    TRY_GOTO(json_put(result, "energy_kept", json_real(r->kept / r->energy)), st, done);
    TRY_GOTO(json_put(result, "energy_outside", json_real(r->outside / (r->energy + r->outside))), st, done);
    st = json ? print_json(result) : print_fields(result);
done:
    json_decref(result);
    return st;
}

static Status extract_verb_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const ExtractLine *line = options;
    const ExtractOptions to = {.base = argument[0], .tuned = argument[1], .out = line->out, .rank = line->rank, .energy = line->energy};
    ExtractResult result;
    Device *dev = NULL;
    DType unused;
    Status st;

    (void)n_argument, (void)command_line;
    if ((to.rank > 0) == (to.energy > 0))
        return FAIL(LT_E_USAGE, "one of '--rank' and '--energy' expected, %s found", to.rank > 0 ? "both" : "neither");
    TRY_GOTO(common_open(&dev, &unused, &line->common), st, done);
    TRY_GOTO(extract_adapter(dev, &to, &result), st, done);
    if (result.outside > 0)
        log_note("the embedding or the head has changed too (%.1f %% of the change's energy); an adapter of the blocks' matrices leaves that out",
                 100 * result.outside / (result.energy + result.outside));
    st = print_extracted(&to, &result, line->common.json);
done:
    device_close(dev);
    return st;
}

const Verb verb_extract = {
    .name = "extract",
    .arguments = "BASE TUNED --rank K|--energy E --out ADAPTER",
    .summary = "the adapter that comes nearest to a full fine-tune",
    .option = extract_options,
    .options_bytes = sizeof(ExtractLine),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = extract_verb_run,
    .examples = "  lethe extract models/base runs/full/checkpoints/step-500 --rank 16 --out adapters/rank16\n"
                "  lethe extract models/base runs/full/checkpoints/step-500 --energy .9 --out adapters/ninety\n",
};
