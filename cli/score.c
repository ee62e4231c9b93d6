/* lethe score: the command line made into ScoreOptions. */
#include "cli/common.h"
#include "cli/settings.h"
#include "cli/verbs.h"

#include "eval/score.h"

static const char *const bos_choices[] = {"auto", "yes", "no", NULL}; /* as BosRule */

typedef struct ScoreLine {
    CommonOptions common;
    const char *tasks, *out, *profile, *shots, *items, *split, *tokenizer, *base, *manifest;
    OptionList data;
    int64_t limit, max_length, batch_tokens, show_prompts;
    int bos;
    bool fresh, rehash, merge;
} ScoreLine;

static const Option score_options[] = {
    {.name = "tasks", .kind = OPTION_TEXT, .value = "LIST", .offset = offsetof(ScoreLine, tasks), .required = true, .group = "What to score",
     .help = "tasks, separated by commas ('lethe tasks' lists them)"},
    {.name = "profile", .kind = OPTION_TEXT, .value = "NAME|TASK=NAME,...", .offset = offsetof(ScoreLine, profile),
     .help = "whose rules: lm-eval, lm-eval@VERSION or openllm (default lm-eval)"},
    {.name = "shots", .kind = OPTION_TEXT, .value = "N|TASK=N,...", .offset = offsetof(ScoreLine, shots),
     .help = "examples before each question (default: the task's own)"},
    {.name = "limit", .kind = OPTION_INT, .value = "N", .offset = offsetof(ScoreLine, limit), .min = 1, .max = INT32_MAX,
     .help = "only the first N rows of each task (default: all)"},
    {.name = "items", .kind = OPTION_TEXT, .value = "TASK=FIRST-LAST,...", .offset = offsetof(ScoreLine, items),
     .help = "only these rows, from 0, with the prompts they have in the full run"},
    {.name = "split", .kind = OPTION_TEXT, .value = "TASK=NAME,...", .offset = offsetof(ScoreLine, split),
     .help = "another split than the task's own, as in arc_challenge=validation"},

    {.name = "data", .kind = OPTION_LIST, .value = "DIR|TASK=FILE", .offset = offsetof(ScoreLine, data), .required = true, .group = "Files",
     .help = "DIR/TASK/ holds each task's files; TASK=FILE and TASK.train=FILE name single ones (may be given several times)"},
    {.name = "out", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(ScoreLine, out), .required = true,
     .help = "results.tsv, lm-eval's files a checkpoint, and the log that a repeated command goes on from"},
    {.name = "tokenizer", .kind = OPTION_TEXT, .value = "DIR", .offset = offsetof(ScoreLine, tokenizer),
     .help = "folder with the tokenizer.json to use (default: each checkpoint's own)"},
    {.name = "base", .kind = OPTION_TEXT, .value = "CKPT", .offset = offsetof(ScoreLine, base),
     .help = "the model that the adapters among CKPT... change (default: the one each adapter names)"},
    {.name = "manifest", .kind = OPTION_TEXT, .value = "FILE.tsv", .offset = offsetof(ScoreLine, manifest),
     .help = "how checkpoints were made, a row each, over what their own files say ('lethe inspect --manifest' prints one)"},
    {.name = "fresh", .kind = OPTION_FLAG, .offset = offsetof(ScoreLine, fresh), .help = "score again what the log already holds"},
    {.name = "rehash", .kind = OPTION_FLAG, .offset = offsetof(ScoreLine, rehash), .help = "do not trust remembered file hashes"},

    {.name = "max-length", .kind = OPTION_INT, .value = "N", .offset = offsetof(ScoreLine, max_length), .min = 2, .max = INT32_MAX, .group = "How",
     .help = "tokens the model may read at once; longer prompts lose their beginning (default: the model's)"},
    {.name = "merge", .kind = OPTION_FLAG, .offset = offsetof(ScoreLine, merge),
     .help = "add adapters to the weights of their base instead of applying them on top"},
    {.name = "bos", .kind = OPTION_CHOICE, .offset = offsetof(ScoreLine, bos), .choices = bos_choices,
     .help = "whether prompts begin with the BOS token; auto: as the tokenizer's file says (default auto)"},
    {.name = "batch-tokens", .kind = OPTION_INT, .value = "N", .offset = offsetof(ScoreLine, batch_tokens), .min = 1, .max = 1 << 24,
     .help = "tokens of one forward pass: memory and speed, never results (default: by device)"},
    {.name = "show-prompts", .kind = OPTION_INT, .value = "K", .offset = offsetof(ScoreLine, show_prompts), .min = 0, .max = 1000000,
     .help = "print the first K prompts of each task before scoring, on stderr under --json (default 0)"},
    {0},
};

/* Everything that is text on the command line and a table in ScoreOptions. */
static Status read_settings(ScoreOptions *to, const ScoreLine *line)
{
    TRY(settings_parse(&to->profile, "profile", line->profile, SETTING_NAME));
    TRY(settings_parse(&to->shots, "shots", line->shots, SETTING_COUNT));
    TRY(settings_parse(&to->items, "items", line->items, SETTING_RANGE));
    TRY(settings_parse(&to->split, "split", line->split, SETTING_NAME));
    for (size_t i = 0; i < line->data.count; i++)
        TRY(settings_add_data(&to->data_file, &to->data, line->data.item[i]));
    return LT_OK;
}

static Status score_verb_run(void *options, const char *const *argument, size_t n_argument, const char *command_line)
{
    const ScoreLine *line = options;
    Device *dev = NULL;
    ScoreOptions to = {
        .checkpoint = argument,
        .n_checkpoint = n_argument,
        .tasks = line->tasks,
        .out = line->out,
        .tokenizer = line->tokenizer,
        .base = line->base,
        .manifest = line->manifest,
        .merge = line->merge,
        .limit = line->limit,
        .max_length = line->max_length,
        .bos = (BosRule)line->bos,
        .token_budget = (int32_t)line->batch_tokens,
        .show_prompts = (int)line->show_prompts,
        .fresh = line->fresh,
        .json = line->common.json,
        .quiet = line->common.quiet,
        .hash = line->rehash ? FILEHASH_AGAIN : FILEHASH_CACHED,
        .command_line = command_line,
    };
    Status st;

    TRY_GOTO(read_settings(&to, line), st, done);
    TRY_GOTO(common_open(&dev, &to.dtype, &line->common), st, done);
    TRY_GOTO(common_catch_signals(), st, done);
    st = score_run(dev, &to);
done:
    device_close(dev);
    settings_release(&to.data_file);
    settings_release(&to.split);
    settings_release(&to.items);
    settings_release(&to.shots);
    settings_release(&to.profile);
    return st;
}

const Verb verb_score = {
    .name = "score",
    .arguments = "CKPT... --tasks LIST --data DIR --out DIR",
    .summary = "score checkpoints on tasks, with lm-eval's numbers to the item",
    .option = score_options,
    .options_bytes = sizeof(ScoreLine),
    .min_arguments = 1,
    .max_arguments = -1,
    .run = score_verb_run,
    .examples = "  lethe score models/base runs/tuned --tasks hellaswag,winogrande --data data --out out\n"
                "  lethe score models/base --tasks arc_challenge --shots 25 --split arc_challenge=validation --data data --out out\n",
};
