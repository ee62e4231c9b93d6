/* GSM8K 3.0 (Cobbe et al. 2021) as lm-eval 0.4.13 asks it: the model writes the solution; its own file checks the answer. */
#include "eval/tasks/task.h"
#include "eval/tasks/text.h"

static Status read_row(JsonAt row, Arena *text, Doc *out)
{
    Str question, answer;
    TRY(json_get_str(&row, "question", &question));
    TRY(json_get_str(&row, "answer", &answer));
    TRY(question_join(text, question, answer, &out->shot, &out->context[0]));
    out->n_context = 1;
    /* The whole solution with its <<48/2=24>> notes: shots show it, and samples files hold it. */
    out->target = str_slice(out->shot, out->shot.len - answer.len, out->shot.len);
    return LT_OK;
}

static const char *const until[] = {"Question:", "</s>", "<|im_end|>", NULL};

const Task task_gsm8k = {
    .name = "gsm8k",
    .version = "3.0",
    .kind = TASK_GENERATE,
    .default_shots = 5,
    .score_split = "test",
    .shot_split = "train",
    .draws_one_more = false,
    .metric = {"exact_match"},
    .split = {{"test", {"test"}}, {"train", {"train"}}},
    .read = read_row,
    .until = until,
};
