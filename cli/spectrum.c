/* lethe spectrum: the command line made into SpectraOptions. */
#include "cli/common.h"
#include "cli/verbs.h"

#include "analysis/run.h"
#include "eval/score/label.h"

#include <math.h>
#include <stdlib.h>

static const char *const of_choices[] = {"delta", "weights", NULL};             /* as DeltaOf */
static const char *const method_choices[] = {"auto", "gram", "svd", NULL};      /* as ValueMethod */
static const char *const cast_choices[] = {"auto", "none", "bf16", "f16", NULL}; /* as DeltaCast */
static const char *const stored_choices[] = {"rounded", "exact", NULL};

typedef struct SpectrumLine {
    CommonOptions common;
    const char *out, *thresholds, *modules, *manifest;
    int of, method, cast, stored;
    int64_t vectors;
    bool fresh, rehash;
} SpectrumLine;

static const Option spectrum_options[] = {
    {.name = "of", .kind = OPTION_CHOICE, .offset = offsetof(SpectrumLine, of), .choices = of_choices, .group = "What to take apart",
     .help = "the change from BASE, or the tuned weights themselves (default delta)"},
    {.name = "modules", .kind = OPTION_TEXT, .value = "REGEX", .offset = offsetof(SpectrumLine, modules),
     .help = "matrices whose tensor's name the expression is found in (default: all of the blocks, the embedding and the head)"},
    {.name = "vectors", .kind = OPTION_INT, .value = "K", .offset = offsetof(SpectrumLine, vectors), .min = 1, .max = INT32_MAX,
     .help = "also how the change and the tuned matrix lie to BASE: subspaces.tsv with overlaps, principal angles, intruder dimensions and alignment, for "
             "spaces of up to K singular vectors, chance beside each; three full decompositions a matrix (default: none)"},
    {.name = "thresholds", .kind = OPTION_TEXT, .value = "LIST", .offset = offsetof(SpectrumLine, thresholds),
     .help = "shares of the energy to give ranks for and to look for trusted_to among (default .5,.8,.9,.95,.99)"},

    {.name = "out", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(SpectrumLine, out), .required = true, .group = "Files",
     .help = "ranks.tsv, spectra.tsv, all singular values a checkpoint, and the log that a repeated command goes on from; any number of processes may "
             "share it"},
    {.name = "manifest", .kind = OPTION_TEXT, .value = "FILE.tsv", .offset = offsetof(SpectrumLine, manifest),
     .help = "how checkpoints were made, a row each, over what their own files say ('lethe inspect --manifest' prints one)"},
    {.name = "fresh", .kind = OPTION_FLAG, .offset = offsetof(SpectrumLine, fresh), .help = "do again, alone, what the log already holds"},
    {.name = "rehash", .kind = OPTION_FLAG, .offset = offsetof(SpectrumLine, rehash), .help = "do not trust remembered file hashes"},

    {.name = "method", .kind = OPTION_CHOICE, .offset = offsetof(SpectrumLine, method), .choices = method_choices, .group = "How",
     .help = "gram: eigenvalues of the Gram matrix, exact to 1e-11 of the largest square; svd: several times slower, small values too; auto: gram, and an "
             "adapter's values from its factors (default auto)"},
    {.name = "base-cast", .kind = OPTION_CHOICE, .offset = offsetof(SpectrumLine, cast), .choices = cast_choices,
     .help = "what the base was cast to before training; auto: to the type a tuned checkpoint is stored in where that makes the change smaller and more "
             "entries exactly equal (default auto)"},
    {.name = "stored", .kind = OPTION_CHOICE, .offset = offsetof(SpectrumLine, stored), .choices = stored_choices,
     .help = "rounded: weights lost bits when they were saved, and what these may look like is told from the change; exact: they were trained in the "
             "type they are stored in (default rounded)"},
    {0},
};

/* "0.5,.9": each above 0 and below 1, none twice. */
static Status read_thresholds(SpectraOptions *to, const char *text)
{
    static const double usual[] = {.5, .8, .9, .95, .99};

    if (text == NULL) {
        memcpy(to->threshold, usual, sizeof usual);
        to->n_threshold = sizeof usual / sizeof *usual;
        return LT_OK;
    }
    for (const char *at = text;; at++) {
        char *end;
        const double x = strtod(at, &end);

        if (end == at || (*end != ',' && *end != '\0') || !(x > 0 && x < 1))
            return FAIL(LT_E_USAGE, "option '--thresholds': expected numbers above 0 and below 1, separated by commas, found '%s'", text);
        if (to->n_threshold == RUN_MAX_THRESHOLDS)
            return FAIL(LT_E_USAGE, "option '--thresholds': at most %d expected, more found in '%s'", RUN_MAX_THRESHOLDS, text);
        to->threshold[to->n_threshold++] = x;
        at = end;
        if (*end == '\0')
            return LT_OK;
    }
}

static const char *cell(const CheckpointName *name, const char *field)
{
    for (int i = 0; i < ORIGIN_FIELDS; i++)
        if (strcmp(origin_field[i], field) == 0)
            return name->origin[i];
    BUG_IF(true);
}

static Status read_names(RunName **out, const CheckpointName *name, const char *const *path, size_t n)
{
    TRY(MEM_NEW(*out, n));
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (RunName){.path = path[i], .label = name[i].label, .folder = name[i].folder, .condition = cell(&name[i], "condition"),
                              .run = cell(&name[i], "run"), .method = cell(&name[i], "method"), .rank = cell(&name[i], "rank"),
                              .tokens = cell(&name[i], "tokens"), .epochs = cell(&name[i], "epochs")};
    return LT_OK;
}

static Status spectrum_verb_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const SpectrumLine *line = options;
    const size_t n = n_argument - 1;
    CheckpointName *name = NULL;
    RunName *tuned = NULL;
    Device *dev = NULL;
    DType unused;
    SpectraOptions to = {
        .base = argument[0],
        .out = line->out,
        .n_tuned = n,
        .modules = line->modules,
        .delta = {.of = (DeltaOf)line->of, .cast = (DeltaCast)line->cast, .exact = line->stored == 1},
        .method = (ValueMethod)line->method,
        .vectors = line->vectors,
        .fresh = line->fresh,
        .json = line->common.json,
        .hash = line->rehash ? FILEHASH_AGAIN : FILEHASH_CACHED,
        .command_line = command_line,
    };
    Status st;

    if (to.vectors > 0 && to.delta.of != DELTA_OF_DELTA)
        return FAIL(LT_E_USAGE, "option '--vectors': spaces of a change are compared with its base; expected without '--of weights'");
    TRY_GOTO(read_thresholds(&to, line->thresholds), st, done);
    TRY_GOTO(names_make(&name, argument + 1, n, line->manifest), st, done);
    TRY_GOTO(read_names(&tuned, name, argument + 1, n), st, done);
    to.tuned = tuned;
    TRY_GOTO(common_open(&dev, &unused, &line->common), st, done);
    TRY_GOTO(common_catch_signals(), st, done);
    st = spectra_run(dev, &to);
done:
    device_close(dev);
    mem_free(tuned);
    names_free(name, n);
    return st;
}

const Verb verb_spectrum = {
    .name = "spectrum",
    .arguments = "BASE TUNED... --out DIR",
    .summary = "how high the rank of what fine-tuning changed is, matrix by matrix",
    .option = spectrum_options,
    .options_bytes = sizeof(SpectrumLine),
    .min_arguments = 2,
    .max_arguments = -1,
    .run = spectrum_verb_run,
    .examples = "  lethe spectrum models/base runs/full/checkpoints/* runs/lora/checkpoints/step-500 --out spectra\n"
                "  lethe spectrum models/base runs/full/checkpoints/step-500 --modules 'q_proj|down_proj' --method svd --out spectra\n",
};
