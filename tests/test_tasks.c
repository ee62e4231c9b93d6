#include "tests/rows.h"

#include "core/file.h"
#include "core/utf8.h"
#include "eval/tasks/hellaswag.h"

#include <stdio.h>

static void check_text(Str got, const char *want)
{
    check_str(got, want, strlen(want));
}

/* One row, written as JSON, and what is in it. */
static const char hella[] = "{\"ind\":1,\"activity_label\":\"Baking\",\"ctx_a\":\"[header] How to bake [title] Mix it.\",\"ctx_b\":\"\","
                            "\"endings\":[\"[step] Lead\",\"x  y\",\"z\",\" w \"],\"label\":\"2\"}\n";
static const char arc_columns[] =
    "{\"id\":\"q\",\"question\":\"Why?\",\"choices\":{\"text\":[\"a\",\"b\",\"c\"],\"label\":[\"1\",\"2\",\"3\"]},"
    "\"answerKey\":\"3\"}\n";
static const char arc_raw[] = "{\"id\":\"q\",\"question\":{\"stem\":\"Why?\",\"choices\":[{\"text\":\"a\",\"label\":\"1\"},{\"text\":\"b\","
                              "\"label\":\"2\"},{\"text\":\"c\",\"label\":\"3\"}]},\"answerKey\":\"3\"}\n";
static const char wino[] = "{\"sentence\":\"So _  , quite.\",\"option1\":\"Io\",\"option2\":\"Bo\",\"answer\":\"2\"}\n";
static const char gsm[] = "{\"question\":\"2+2?\",\"answer\":\"<<2+2=4>>4\\n#### 4\"}\n";

static void test_hellaswag_row_becomes_query_and_endings(void **state)
{
    (void)state;
    DataSet set;
    CHECK_OK(rows_from_text(&set, &task_hellaswag, str_of(hella)));
    const Doc *doc = &set.doc[0];
    assert_int_equal(set.n_doc, 1);
    assert_int_equal(doc->n_context, 1);
    assert_int_equal(doc->n_choice, 4);
    assert_int_equal(doc->gold, 2);
    check_text(doc->context[0], "Baking: How to bake. Mix it.");
    check_text(doc->choice[0], " Lead");
    check_text(doc->continuation[0], "  Lead");
    check_text(doc->choice[1], "x y");
    check_text(doc->choice[3], "w");
    check_text(doc->shot, "Baking: How to bake. Mix it. z");
    check_text(doc->target, "2");
    dataset_close(&set);
}

static void test_hellaswag_sample_holds_the_added_columns(void **state)
{
    (void)state;
    DataSet set;
    json_t *doc;
    StrBuf text;
    strbuf_init(&text);
    CHECK_OK(rows_from_text(&set, &task_hellaswag, str_of(hella)));
    CHECK_OK(task_hellaswag.sample_doc(&set.doc[0], &doc));
    CHECK_OK(json_write(&text, doc, (JsonStyle){.indent = -1}));
    static const char end[] =
        ", \"label\": \"2\", \"query\": \"Baking: How to bake. Mix it.\", \"choices\": [\" Lead\", \"x y\", \"z\", \"w\"], \"gold\": 2}";
    assert_true(str_ends(strbuf_str(&text), str_of(end)));
    assert_null(json_object_get(set.doc[0].row, "gold"));
    json_decref(doc);
    strbuf_release(&text);
    dataset_close(&set);
}

static void test_hellaswag_brackets_match_lazily_and_within_lines(void **state)
{
    static const char *const cases[][2] = {
        {"a [x [y] z] b", "a z] b"},
        {"Do  it.   Now", "Do it.  Now"},
        {"[step] Lead", " Lead"},
        {"open [ only", "open [ only"},
        {"[a\nb] [c]d", "[a\nb] d"},
        {"[[[ \n [x][y]", "[[[ \n "},
        {"[title] first [title] then", " first. then"},
        {"] [", "] ["},
        {"\xc2\xa0 x \xe2\x80\x83", "x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StrBuf out;
        strbuf_init(&out);
        CHECK_OK(hellaswag_preprocess(&out, str_of(cases[i][0])));
        check_text(strbuf_str(&out), cases[i][1]);
        strbuf_release(&out);
    }
}

/* A regular expression engine would need quadratic time here: 2^20 openings without a closing bracket. */
static void test_hellaswag_unclosed_brackets_take_linear_time(void **state)
{
    (void)state;
    StrBuf in, out;
    strbuf_init(&in);
    strbuf_init(&out);
    for (int i = 0; i < 1 << 20; i++)
        strbuf_add_char(&in, '[');
    CHECK_OK(hellaswag_preprocess(&out, strbuf_str(&in)));
    assert_int_equal(out.len, in.len);
    strbuf_release(&in);
    strbuf_release(&out);
}

static void test_arc_reads_both_forms_alike(void **state)
{
    (void)state;
    static const char *const form[] = {arc_columns, arc_raw};
    for (int i = 0; i < 2; i++) {
        DataSet set;
        CHECK_OK(rows_from_text(&set, &task_arc_challenge, str_of(form[i])));
        const Doc *doc = &set.doc[0];
        assert_int_equal(doc->n_choice, 3);
        assert_int_equal(doc->gold, 2);
        check_text(doc->context[0], "Question: Why?\nAnswer:");
        check_text(doc->continuation[1], " b");
        check_text(doc->choice[1], "b");
        check_text(doc->shot, "Question: Why?\nAnswer: c");
        check_text(doc->target, "2");
        dataset_close(&set);
    }
}

static void test_winogrande_cuts_behind_the_blank(void **state)
{
    (void)state;
    DataSet set;
    CHECK_OK(rows_from_text(&set, &task_winogrande, str_of(wino)));
    const Doc *doc = &set.doc[0];
    assert_int_equal(doc->n_context, 2);
    assert_int_equal(doc->n_choice, 2);
    assert_int_equal(doc->gold, 1);
    check_text(doc->context[0], "So Io");
    check_text(doc->context[1], "So Bo");
    check_text(doc->continuation[0], " , quite.");
    check_text(doc->continuation[1], " , quite.");
    check_text(doc->choice[1], "So Bo");
    check_text(doc->shot, "So Bo , quite.");
    check_text(doc->target, ", quite.");
    dataset_close(&set);
}

static void test_gsm8k_row_is_a_generation(void **state)
{
    (void)state;
    DataSet set;
    CHECK_OK(rows_from_text(&set, &task_gsm8k, str_of(gsm)));
    const Doc *doc = &set.doc[0];
    assert_int_equal(doc->n_choice, 0);
    check_text(doc->context[0], "Question: 2+2?\nAnswer:");
    check_text(doc->target, "<<2+2=4>>4\n#### 4");
    check_text(doc->shot, "Question: 2+2?\nAnswer: <<2+2=4>>4\n#### 4");
    assert_int_equal(task_gsm8k.kind, TASK_GENERATE);
    assert_string_equal(task_gsm8k.until[2], "<|im_end|>");
    assert_null(task_gsm8k.until[3]);
    dataset_close(&set);
}

static void test_labels_are_read_as_numbers_and_strings(void **state)
{
    (void)state;
    static const char *const label[] = {"1", "\"1\""};
    for (int i = 0; i < 2; i++) {
        char row[256];
        DataSet set;
        snprintf(row, sizeof row,
                 "{\"activity_label\":\"A\",\"ctx_a\":\"b\",\"ctx_b\":\"c\",\"endings\":[\"d\",\"e\",\"f\",\"g\"],\"label\":%s}", label[i]);
        CHECK_OK(rows_from_text(&set, &task_hellaswag, str_of(row)));
        assert_int_equal(set.doc[0].gold, 1);
        dataset_close(&set);
    }
}

/* A row that went wrong at one place, and what the message must name. The row is the second line of its file. */
typedef struct BadRow {
    const Task *task;
    const char *good, *from, *to, *named;
} BadRow;

static void test_bad_rows_name_line_and_field(void **state)
{
    static const BadRow bad[] = {
        {&task_hellaswag, hella, "\"ctx_b\":\"\",", "", "ctx_b"},
        {&task_hellaswag, hella, "\"ctx_b\":\"\"", "\"ctx_b\":null", "ctx_b"},
        {&task_hellaswag, hella, "\"Baking\"", "7", "activity_label"},
        {&task_hellaswag, hella, "\"2\"", "\"\"", "label"},
        {&task_hellaswag, hella, "\"2\"", "\"4\"", "label"},
        {&task_hellaswag, hella, "\"2\"", "-1", "label"},
        {&task_hellaswag, hella, "\"2\"", "true", "label"},
        {&task_hellaswag, hella, ",\"z\"", "", "endings"},
        {&task_hellaswag, hella, "\"z\"", "3", "endings"},
        {&task_arc_challenge, arc_columns, "\"answerKey\":\"3\"", "\"answerKey\":\"D\"", "answerKey"},
        {&task_arc_challenge, arc_columns, "\"answerKey\":\"3\"", "\"key\":\"3\"", "answerKey"},
        {&task_arc_challenge, arc_columns, ",\"c\"]", "]", "3 to 5 choices"},
        {&task_arc_challenge, arc_columns, ",\"3\"]", "]", "label"},
        {&task_arc_challenge, arc_columns, "\"text\":[\"a\"", "\"text\":[1", "text"},
        {&task_arc_challenge, arc_columns, "\"Why?\"", "[]", "question"},
        {&task_arc_challenge, arc_raw, "\"stem\"", "\"root\"", "stem"},
        {&task_arc_challenge, arc_raw, "{\"text\":\"b\",", "{", "text"},
        {&task_arc_challenge, arc_raw, "\"choices\":[",
         "\"choices\":[{\"text\":\"a\",\"label\":\"7\"},{\"text\":\"a\",\"label\":\"8\"},"
         "{\"text\":\"a\",\"label\":\"9\"},",
         "3 to 5 choices"},
        {&task_winogrande, wino, "So _", "So", "sentence"},
        {&task_winogrande, wino, "\"answer\":\"2\"", "\"answer\":\"0\"", "answer"},
        {&task_winogrande, wino, "\"answer\":\"2\"", "\"answer\":3", "answer"},
        {&task_winogrande, wino, "\"Io\"", "{}", "option1"},
        {&task_gsm8k, gsm, "\"question\"", "\"Question\"", "question"},
        {&task_gsm8k, gsm, "\"2+2?\"", "4", "question"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        StrBuf text;
        DataSet set;
        strbuf_init(&text);
        strbuf_add_text(&text, bad[i].good);
        const char *at = strstr(bad[i].good, bad[i].from);
        assert_non_null(at);
        strbuf_add(&text, bad[i].good, (size_t)(at - bad[i].good));
        strbuf_add_text(&text, bad[i].to);
        strbuf_add_text(&text, at + strlen(bad[i].from));
        CHECK_OK(strbuf_status(&text));
        const Status st = rows_from_text(&set, bad[i].task, strbuf_str(&text));
        if (st != LT_E_INPUT || strstr(status_text(), "rows.jsonl:2: ") == NULL)
            print_error("case %zu: %s\n", i, status_text());
        assert_non_null(strstr(status_text(), "rows.jsonl:2: "));
        CHECK_FAILS(st, LT_E_INPUT, bad[i].named);
        strbuf_release(&text);
    }
}

static void test_registry_finds_and_suggests(void **state)
{
    (void)state;
    assert_ptr_equal(task_find(str_of("winogrande")), &task_winogrande);
    assert_null(task_find(str_of("winogrand")));
    assert_null(task_find(str_of("")));
    const Task *task;
    CHECK_OK(task_get(&task, str_of("gsm8k")));
    assert_ptr_equal(task, &task_gsm8k);
    CHECK_FAILS(task_get(&task, str_of("winogrand")), LT_E_USAGE, "unknown task 'winogrand': did you mean 'winogrande'?");
    CHECK_FAILS(task_get(&task, str_of("hella_swag")), LT_E_USAGE, "did you mean 'hellaswag'?");
    CHECK_FAILS(task_get(&task, str_of("arc-challenge")), LT_E_USAGE, "did you mean 'arc_challenge'?");
    CHECK_FAILS(task_get(&task, str_of("gsm")), LT_E_USAGE, "did you mean 'gsm8k'?");
    CHECK_FAILS(task_get(&task, str_of("zzz")), LT_E_USAGE, "unknown task 'zzz': 'lethe tasks' lists them"); /* nothing is near */
    StrBuf lengthy;
    strbuf_init(&lengthy);
    for (int i = 0; i < 5000; i++)
        strbuf_add_char(&lengthy, 'g');
    CHECK_FAILS(task_get(&task, strbuf_str(&lengthy)), LT_E_USAGE, "unknown task 'ggg");
    strbuf_release(&lengthy);
    for (size_t i = 0; tasks[i] != NULL; i++) {
        assert_ptr_equal(task_find(str_of(tasks[i]->name)), tasks[i]);
        assert_non_null(tasks[i]->read);
        assert_non_null(tasks[i]->metric[0]);
    }
}

static Str str_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_string(value));
    return (Str){json_string_value(value), json_string_length(value)};
}

/* The rows of preprocess.jsonl hold inputs in the task's own columns: read them as a data set of one row. */
static void check_processed(const Task *task, const json_t *in, const json_t *out)
{
    StrBuf text;
    DataSet set;
    strbuf_init(&text);
    CHECK_OK(json_write(&text, in, (JsonStyle){.indent = -1}));
    CHECK_OK(rows_from_text(&set, task, strbuf_str(&text)));
    const Doc *doc = &set.doc[0];
    assert_int_equal(doc->gold, json_integer_value(json_object_get(out, "gold")));
    const json_t *contexts = json_object_get(out, "contexts"), *choices = json_object_get(out, "choices");
    for (size_t i = 0; i < json_array_size(contexts); i++) {
        const json_t *one = json_array_get(contexts, i), *same = json_object_get(out, "continuation");
        check_str(doc->context[i], json_string_value(one), json_string_length(one));
        check_str(doc->continuation[i], json_string_value(same), json_string_length(same));
    }
    for (size_t i = 0; i < json_array_size(choices); i++) {
        const json_t *one = json_array_get(choices, i);
        check_str(doc->choice[i], json_string_value(one), json_string_length(one));
    }
    if (choices != NULL)
        check_str(doc->context[0], str_member(out, "query").data, str_member(out, "query").len);
    dataset_close(&set);
    strbuf_release(&text);
}

static void test_preprocessing_equals_the_harness(void **state)
{
    (void)state;
    const char *path = test_data("golden/eval/preprocess.jsonl");
    LineReader *reader;
    Str line;
    bool more = true;
    int seen = 0;
    CHECK_OK(lines_open(&reader, path));
    for (;;) {
        json_t *row;
        StrBuf got;
        CHECK_OK(lines_next(reader, &line, &more));
        if (!more)
            break;
        CHECK_OK(json_parse(&row, line, path, lines_number(reader)));
        const Str fn = str_member(row, "fn");
        strbuf_init(&got);
        if (str_is(fn, "hellaswag_process_doc")) {
            check_processed(&task_hellaswag, json_object_get(row, "in"), json_object_get(row, "out"));
        } else if (str_is(fn, "winogrande_doc")) {
            check_processed(&task_winogrande, json_object_get(row, "in"), json_object_get(row, "out"));
        } else if (str_is(fn, "hellaswag_preprocess")) {
            CHECK_OK(hellaswag_preprocess(&got, str_member(row, "in")));
            check_str(strbuf_str(&got), str_member(row, "out").data, str_member(row, "out").len);
        } else {
            assert_true(str_is(fn, "capitalize"));
            py_capitalize(&got, str_member(row, "in"));
            check_str(strbuf_str(&got), str_member(row, "out").data, str_member(row, "out").len);
        }
        seen++;
        strbuf_release(&got);
        json_decref(row);
    }
    lines_close(reader);
    assert_int_equal(seen, 227);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_hellaswag_row_becomes_query_and_endings),
        cmocka_unit_test(test_hellaswag_sample_holds_the_added_columns),
        cmocka_unit_test(test_hellaswag_brackets_match_lazily_and_within_lines),
        cmocka_unit_test(test_hellaswag_unclosed_brackets_take_linear_time),
        cmocka_unit_test(test_arc_reads_both_forms_alike),
        cmocka_unit_test(test_winogrande_cuts_behind_the_blank),
        cmocka_unit_test(test_gsm8k_row_is_a_generation),
        cmocka_unit_test(test_labels_are_read_as_numbers_and_strings),
        cmocka_unit_test(test_bad_rows_name_line_and_field),
        cmocka_unit_test(test_registry_finds_and_suggests),
        cmocka_unit_test(test_preprocessing_equals_the_harness),
    };
    return TEST_MAIN(all);
}
