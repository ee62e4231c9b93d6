/* lethe curve: what results.tsv says of learning and forgetting, as one table. */
#include "cli/print.h"
#include "cli/verbs.h"

#include "analysis/curve.h"
#include "analysis/stats/bootstrap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const x_choices[] = {"auto", "tokens", "epochs", "step", NULL};

typedef struct CurveLineOptions {
    CommonOptions common;
    const char *results, *out, *source, *line, *base;
    OptionList learning, reference, target;
    int x;
    double chance;
    int64_t draws;
    bool mixed;
} CurveLineOptions;

static const Option curve_options[] = {
    {.name = "results", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(CurveLineOptions, results), .required = true, .group = "Files",
     .help = "folder with the results.tsv of 'lethe score', and its samples files, from which intervals are drawn where all checkpoints have them"},
    {.name = "out", .kind = OPTION_TEXT, .value = "FILE.tsv", .offset = offsetof(CurveLineOptions, out), .required = true,
     .help = "the table: a row a quantity of a checkpoint, a line or a condition"},

    {.name = "learning", .kind = OPTION_LIST, .value = "[CONDITION=]TASK:METRIC[:FILTER]", .offset = offsetof(CurveLineOptions, learning),
     .group = "What is learned and forgotten",
     .help = "the score that training is for, in all conditions or in one (default: humaneval:pass@1 or gsm8k:exact_match:strict-match, whichever "
             "the condition has)"},
    {.name = "source", .kind = OPTION_TEXT, .value = "TASK:METRIC[:FILTER],...", .offset = offsetof(CurveLineOptions, source),
     .help = "the scores whose mean is forgotten (default hellaswag:acc,arc_challenge:acc,winogrande:acc)"},
    {.name = "base", .kind = OPTION_TEXT, .value = "LABEL", .offset = offsetof(CurveLineOptions, base),
     .help = "the checkpoint before training (default: the one of method base)"},
    {.name = "chance", .kind = OPTION_REAL, .value = "P", .offset = offsetof(CurveLineOptions, chance), .min = 0, .max = 1,
     .help = "what guessing scores on the mean of the sources, for forgetting relative to what there is to lose (default: not written)"},

    {.name = "line", .kind = OPTION_TEXT, .value = "COLUMN,...", .offset = offsetof(CurveLineOptions, line), .group = "Curves",
     .help = "columns in which the checkpoints of a line agree (default method,rank,targets)"},
    {.name = "x", .kind = OPTION_CHOICE, .offset = offsetof(CurveLineOptions, x), .choices = x_choices,
     .help = "what grows along a line; auto: the first that all checkpoints of a condition have (default auto)"},
    {.name = "target", .kind = OPTION_LIST, .value = "[CONDITION=]SCORE", .offset = offsetof(CurveLineOptions, target),
     .help = "learning score at which lines are compared (default: the best that every line reaches)"},
    {.name = "reference", .kind = OPTION_LIST, .value = "[CONDITION=]SOURCE,LEARNING", .offset = offsetof(CurveLineOptions, reference),
     .help = "corner of the hypervolumes (default: the multiple of 0.05 below all source scores, the base's learning score)"},
    {.name = "mixed", .kind = OPTION_FLAG, .offset = offsetof(CurveLineOptions, mixed),
     .help = "take scores together that were measured with different settings"},
    {.name = "draws", .kind = OPTION_INT, .value = "N", .offset = offsetof(CurveLineOptions, draws), .min = 0, .max = 10000000,
     .help = "replicates for the intervals; 0: no intervals (default 10000)"},
    {0},
};

static void set_defaults(void *options)
{
    CurveLineOptions *o = options;

    o->source = "hellaswag:acc,arc_challenge:acc,winogrande:acc";
    o->line = "method,rank,targets";
    o->chance = NAN;
    o->draws = BOOTSTRAP_DRAWS;
}

/* ---- what stands on stdout: a row a line -------------------------------------------------------------------------------- */

static bool same_cells(const Tsv *t, size_t a, size_t b, size_t n_column)
{
    for (size_t c = 0; c < n_column; c++)
        if (strcmp(tsv_get(t, a, t->column[c]), tsv_get(t, b, t->column[c])) != 0)
            return false;
    return true;
}

/* Six digits are enough for the eye; the file and --json have them all. */
static Status put_number(json_t *object, const char *key, const char *cell, bool in_full)
{
    char text[32];

    if (*cell == '\0')
        return json_put(object, key, json_null());
    snprintf(text, sizeof text, "%.6g", strtod(cell, NULL));
    return json_put(object, key, json_real(strtod(in_full ? cell : text, NULL)));
}

static Status start_line(json_t *lines, json_t **line, const Tsv *t, size_t row, size_t n_key)
{
    static const char *const quantity[] = {
        "area", "source_area", "to_target", "to_target_ratio", "forgetting_at_target", "forgetting_slope", "forgetting_r2", "hypervolume", "ci_low", "ci_high",
        "hypervolume_share",
    };

    *line = json_object();
    TRY(json_push(lines, *line));
    for (size_t c = 0; c < n_key; c++)
        TRY(json_put(*line, t->column[c], print_name(tsv_get(t, row, t->column[c]))));
    for (size_t q = 0; q < sizeof quantity / sizeof *quantity; q++)
        TRY(json_put(*line, quantity[q], json_null()));
    return LT_OK;
}

/* The rows without a label, those of one line together; its columns stand before "label". */
static Status list_lines(json_t *lines, const Tsv *t, bool in_full)
{
    size_t n_key = 0, last = SIZE_MAX;
    json_t *line = NULL;

    while (strcmp(t->column[n_key], "label") != 0)
        n_key++;
    for (size_t row = 0; row < t->n_row; row++) {
        const char *quantity = tsv_get(t, row, "quantity");

        if (*tsv_get(t, row, "label") != '\0')
            continue;
        if (last == SIZE_MAX || !same_cells(t, last, row, n_key))
            TRY(start_line(lines, &line, t, row, n_key));
        last = row;
        TRY(put_number(line, quantity, tsv_get(t, row, "value"), in_full));
        if (strcmp(quantity, "hypervolume") == 0) {
            TRY(put_number(line, "ci_low", tsv_get(t, row, "ci_low"), in_full));
            TRY(put_number(line, "ci_high", tsv_get(t, row, "ci_high"), in_full));
        }
    }
    return LT_OK;
}

static Status print_lines(const Tsv *t, const CurveLineOptions *o)
{
    json_t *root = json_object(), *lines = json_array();
    Status st;

    TRY_GOTO(json_put(root, "out", print_name(o->out)), st, done);
    TRY_GOTO(json_put(root, "lines", lines), st, done);
    TRY_GOTO(list_lines(lines, t, o->common.json), st, done);
    st = o->common.json ? print_json(root) : print_table(lines);
done:
    json_decref(root);
    return st;
}

static Status curve_verb_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const CurveLineOptions *o = options;
    const CurveOptions to = {
        .results = o->results,
        .out = o->out,
        .learning = {o->learning.item, o->learning.count},
        .reference = {o->reference.item, o->reference.count},
        .target = {o->target.item, o->target.count},
        .source = o->source,
        .line = o->line,
        .base = o->base,
        .x = o->x == 0 ? NULL : x_choices[o->x],
        .chance = o->chance,
        .mixed = o->mixed,
        .n_draw = (size_t)o->draws,
        .seed = (uint64_t)o->common.seed,
        .threads = (int)o->common.threads,
    };
    Tsv table;

    (void)argument, (void)n_argument, (void)command_line;
    TRY(curve_run(&table, &to));
    const Status st = print_lines(&table, o);
    tsv_release(&table);
    return st;
}

const Verb verb_curve = {
    .name = "curve",
    .arguments = "--results DIR --out FILE.tsv",
    .summary = "learning against forgetting: tokens to a target, areas, fronts and hypervolumes of scored checkpoints, with intervals",
    .option = curve_options,
    .options_bytes = sizeof(CurveLineOptions),
    .defaults = set_defaults,
    .run = curve_verb_run,
    .examples = "  lethe curve --results scores --out curves.tsv\n"
                "  lethe curve --results scores --learning mine:acc --source hellaswag:acc_norm,winogrande:acc --target 0.6 --out curves.tsv\n"
                "  lethe curve --results recipes/paper --source forgetting:mean --reference math_ift=0.5,0.145 --out paper.tsv\n",
};
