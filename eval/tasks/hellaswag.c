/* HellaSwag 1.0 (Zellers et al. 2019) as lm-eval 0.4.13 asks it: an activity, the start of a scene, four endings. */
#include "eval/tasks/hellaswag.h"

#include "core/utf8.h"
#include "eval/tasks/task.h"
#include "eval/tasks/text.h"

enum { N_ENDING = 4 };

/* Deletes what the regular expression \[.*?\] matches: each bracket up to the first closing one on the same line. Linear: once a line has no
 * closing bracket left, none of its further opening ones can match either. */
static void delete_brackets(StrBuf *out, Str s)
{
    size_t from = 0;
    while (from < s.len) {
        const char *open = memchr(s.data + from, '[', s.len - from);
        const size_t begin = open ? (size_t)(open - s.data) : s.len;
        strbuf_add(out, s.data + from, begin - from);
        if (!open)
            return;
        const char *newline = memchr(open, '\n', s.len - begin);
        const size_t line_end = newline ? (size_t)(newline - s.data) : s.len;
        const char *close = memchr(open, ']', line_end - begin);
        if (close) {
            from = (size_t)(close - s.data) + 1;
        } else {
            strbuf_add(out, open, line_end - begin);
            from = line_end;
        }
    }
}

/* Both steps that look at brackets; `bare` gets the result. */
static Status drop_marks(StrBuf *bare, Str text)
{
    StrBuf titled;
    strbuf_init(&titled);
    py_replace(&titled, text, str_of(" [title]"), str_of(". "));
    delete_brackets(bare, strbuf_str(&titled));
    Status st = strbuf_status(&titled);
    if (st == LT_OK)
        st = strbuf_status(bare);
    strbuf_release(&titled);
    return st;
}

Status hellaswag_preprocess(StrBuf *out, Str text)
{
    StrBuf bare;
    Status st = LT_OK;
    strbuf_init(&bare);
    text = py_strip(text);
    /* Half of all rows have no bracket: they need no copy on the way. */
    if (text.len > 0 && memchr(text.data, '[', text.len) != NULL) {
        TRY_GOTO(drop_marks(&bare, text), st, done);
        text = strbuf_str(&bare);
    }
    /* One pass: three spaces become two. lm-eval leaves it at that, and strips no second time. */
    py_replace(out, text, str_of("  "), str_of(" "));
    st = strbuf_status(out);
done:
    strbuf_release(&bare);
    return st;
}

/* activity_label + ": " + ctx_a + " " + capitalize(ctx_b), preprocessed as a whole. */
static Status build_query(const JsonAt *row, StrBuf *query)
{
    Str activity, first, second;
    TRY(json_get_str(row, "activity_label", &activity));
    TRY(json_get_str(row, "ctx_a", &first));
    TRY(json_get_str(row, "ctx_b", &second));
    StrBuf raw;
    strbuf_init(&raw);
    strbuf_add_str(&raw, activity);
    strbuf_add_text(&raw, ": ");
    strbuf_add_str(&raw, first);
    strbuf_add_text(&raw, " ");
    py_capitalize(&raw, second);
    Status st = strbuf_status(&raw);
    if (st == LT_OK)
        st = hellaswag_preprocess(query, strbuf_str(&raw));
    strbuf_release(&raw);
    return st;
}

static Status read_endings(const JsonAt *row, Arena *text, StrBuf *scratch, Doc *out)
{
    const JsonAt endings = json_member(row, "endings");
    size_t count;
    TRY(json_to_array(endings, &count));
    if (count != N_ENDING)
        return json_fail(endings, "expected %d endings, found %zu", N_ENDING, count);
    for (size_t i = 0; i < count; i++) {
        Str ending;
        TRY(json_to_str(json_element(&endings, i), &ending));
        strbuf_clear(scratch);
        strbuf_add_char(scratch, ' ');
        TRY(hellaswag_preprocess(scratch, ending));
        const Str spaced = strbuf_str(scratch);
        TRY(text_join(text, &out->continuation[i], &spaced, 1));
        out->choice[i] = str_slice(out->continuation[i], 1, spaced.len);
    }
    out->n_choice = N_ENDING;
    return LT_OK;
}

static Status read_row(JsonAt row, Arena *text, Doc *out)
{
    StrBuf scratch;
    strbuf_init(&scratch);
    Status st;
    TRY_GOTO(label_read(&row, "label", 0, N_ENDING - 1, &out->gold), st, done);
    TRY_GOTO(read_endings(&row, text, &scratch, out), st, done);
    strbuf_clear(&scratch);
    TRY_GOTO(build_query(&row, &scratch), st, done);
    const Str part[] = {strbuf_str(&scratch), out->continuation[out->gold]};
    TRY_GOTO(text_join(text, &out->shot, part, 2), st, done);
    out->context[0] = str_slice(out->shot, 0, part[0].len);
    out->n_context = 1;
    /* lm-eval's doc_to_target renders the label, which is also the gold index: samples files hold its digits. */
    static const char digit[] = "0123";
    out->target = (Str){digit + out->gold, 1};
done:
    strbuf_release(&scratch);
    return st;
}

/* lm-eval maps its preprocessing over the data set, which puts three columns behind the row's own; doc_hash is taken over all of them. */
static Status sample_doc(const Doc *doc, json_t **out)
{
    json_t *copy = json_copy(doc->row), *choices = json_array();
    Status st;
    TRY_GOTO(copy != NULL && choices != NULL ? LT_OK : FAIL(LT_E_NOMEM, "no memory for a sample's row"), st, done);
    for (int i = 0; i < doc->n_choice; i++)
        TRY_GOTO(json_push(choices, json_from_str(doc->choice[i])), st, done);
    TRY_GOTO(json_put(copy, "query", json_from_str(doc->context[0])), st, done);
    TRY_GOTO(json_put(copy, "choices", json_incref(choices)), st, done);
    TRY_GOTO(json_put(copy, "gold", json_integer(doc->gold)), st, done);
    *out = json_incref(copy);
done:
    json_decref(choices);
    json_decref(copy);
    return st;
}

const Task task_hellaswag = {
    .name = "hellaswag",
    .version = "1.0",
    .kind = TASK_CHOICE,
    .default_shots = 0,
    .score_split = "validation",
    .shot_split = "train",
    .draws_one_more = true,
    .metric = {"acc", "acc_norm"},
    .own_metric = {"acc_bytes"},
    .split = {{"validation", {"validation", "hellaswag_val", "val", "dev"}}, {"train", {"train", "hellaswag_train"}}},
    .read = read_row,
    .sample_doc = sample_doc,
};
