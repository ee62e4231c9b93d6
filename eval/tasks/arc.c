/* ARC-Challenge 1.0 (Clark et al. 2018) as lm-eval 0.4.13 asks it: a question, three to five answers, none of them shown. */
#include "eval/tasks/task.h"
#include "eval/tasks/text.h"

enum { MIN_CHOICES = 3, MAX_CHOICES = 5 };

static Status check_count(JsonAt choices, size_t count)
{
    if (count < MIN_CHOICES || count > MAX_CHOICES)
        return json_fail(choices, "expected %d to %d choices, found %zu", MIN_CHOICES, MAX_CHOICES, count);
    return LT_OK;
}

/* The upstream file: question {stem, choices [{text, label}]}. */
static Status read_raw_choices(const JsonAt *question, Str *choice, Str *label, size_t *n_choice)
{
    const JsonAt choices = json_member(question, "choices");
    TRY(json_to_array(choices, n_choice));
    TRY(check_count(choices, *n_choice));
    for (size_t i = 0; i < *n_choice; i++) {
        const JsonAt one = json_element(&choices, i);
        TRY(json_get_str(&one, "text", &choice[i]));
        TRY(json_get_str(&one, "label", &label[i]));
    }
    return LT_OK;
}

/* Hugging Face's copy: choices {text [], label []}. */
static Status read_column_choices(const JsonAt *row, Str *choice, Str *label, size_t *n_choice)
{
    const JsonAt choices = json_member(row, "choices");
    TRY(json_to_object(choices));
    const JsonAt texts = json_member(&choices, "text"), labels = json_member(&choices, "label");
    size_t n_label;
    TRY(json_to_array(texts, n_choice));
    TRY(check_count(texts, *n_choice));
    TRY(json_to_array(labels, &n_label));
    if (n_label != *n_choice)
        return json_fail(labels, "expected %zu labels, one for each text, found %zu", *n_choice, n_label);
    for (size_t i = 0; i < n_label; i++) {
        TRY(json_to_str(json_element(&texts, i), &choice[i]));
        TRY(json_to_str(json_element(&labels, i), &label[i]));
    }
    return LT_OK;
}

/* Labels are A to E or 1 to 5; the position counts, whatever they are called. The first of two equal labels wins, as in a Python list's index. */
static Status find_gold(const JsonAt *row, const Str *label, size_t n_label, int *gold)
{
    Str key;
    TRY(json_get_str(row, "answerKey", &key));
    for (size_t i = 0; i < n_label; i++)
        if (str_equal(label[i], key)) {
            *gold = (int)i;
            return LT_OK;
        }
    return json_expected(json_member(row, "answerKey"), "one of the row's labels");
}

static Status read_row(JsonAt row, Arena *text, Doc *out)
{
    Str stem, choice[MAX_CHOICES], label[MAX_CHOICES];
    size_t n_choice;
    const JsonAt question = json_member(&row, "question");
    if (json_is_object(question.value)) {
        TRY(json_get_str(&question, "stem", &stem));
        TRY(read_raw_choices(&question, choice, label, &n_choice));
    } else {
        TRY(json_to_str(question, &stem));
        TRY(read_column_choices(&row, choice, label, &n_choice));
    }
    TRY(find_gold(&row, label, n_choice, &out->gold));
    for (size_t i = 0; i < n_choice; i++) {
        const Str part[] = {str_of(" "), choice[i]};
        TRY(text_join(text, &out->continuation[i], part, 2));
        out->choice[i] = str_slice(out->continuation[i], 1, out->continuation[i].len);
    }
    TRY(question_join(text, stem, choice[out->gold], &out->shot, &out->context[0]));
    out->n_context = 1;
    out->n_choice = (int)n_choice;
    /* lm-eval's doc_to_target is the answer key's position among the labels: samples files hold its digit. */
    static const char digit[] = "01234";
    out->target = (Str){digit + out->gold, 1};
    return LT_OK;
}

const Task task_arc_challenge = {
    .name = "arc_challenge",
    .version = "1.0",
    .kind = TASK_CHOICE,
    .default_shots = 0,
    .score_split = "test",
    .shot_split = "train",
    .draws_one_more = false,
    .metric = {"acc", "acc_norm"},
    .own_metric = {"acc_bytes"},
    .split = {{"test", {"test", "ARC-Challenge-Test"}},
              {"validation", {"validation", "ARC-Challenge-Dev", "dev", "val"}},
              {"train", {"train", "ARC-Challenge-Train"}}},
    .read = read_row,
};
