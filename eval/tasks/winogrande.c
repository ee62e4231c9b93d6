/* WinoGrande 1.0 (Sakaguchi et al. 2020) by partial evaluation, as lm-eval 0.4.13 asks it: the sentence is cut behind the blank, each option
 * makes a context, and what is scored is the rest of the sentence, the same for both. */
#include "core/utf8.h"
#include "eval/tasks/task.h"
#include "eval/tasks/text.h"

enum { N_OPTION = 2 };

static Status read_row(JsonAt row, Arena *text, Doc *out)
{
    Str sentence, option[N_OPTION];
    int answer;
    TRY(json_get_str(&row, "sentence", &sentence));
    TRY(json_get_str(&row, "option1", &option[0]));
    TRY(json_get_str(&row, "option2", &option[1]));
    TRY(label_read(&row, "answer", 1, N_OPTION, &answer));
    const size_t blank = str_find(sentence, str_of("_"), 0);
    if (blank == SIZE_MAX)
        return json_expected(json_member(&row, "sentence"), "a sentence with a \"_\"");

    /* A space goes in front of the rest even where it is punctuation, and stands alone where it is empty. */
    const Str rest = py_strip(str_slice(sentence, blank + 1, sentence.len));
    Str whole[N_OPTION];
    for (int i = 0; i < N_OPTION; i++) {
        const Str part[] = {str_slice(sentence, 0, blank), option[i], str_of(" "), rest};
        TRY(text_join(text, &whole[i], part, 4));
        const size_t cut = whole[i].len - rest.len - 1;
        out->context[i] = str_slice(whole[i], 0, cut);
        out->continuation[i] = str_slice(whole[i], cut, whole[i].len);
        out->choice[i] = out->context[i]; /* as in lm-eval; acc divides by no length */
    }
    out->n_context = out->n_choice = N_OPTION;
    out->gold = answer - 1;
    out->shot = whole[out->gold];
    /* doc_to_target is the stripped rest, as its samples files show. */
    out->target = str_slice(out->continuation[out->gold], 1, rest.len + 1);
    return LT_OK;
}

const Task task_winogrande = {
    .name = "winogrande",
    .version = "1.0",
    .kind = TASK_CHOICE,
    .default_shots = 0,
    .score_split = "validation",
    .shot_split = "train",
    .draws_one_more = true,
    .metric = {"acc"},
    .split = {{"validation", {"validation", "dev", "val"}}, {"train", {"train", "train_xl"}}},
    .read = read_row,
};
