/* Bad input from a user's side: each case breaks one thing in a made-up world, runs the program, and wants the right exit code, one line that names the
 * culprit, and nothing half-written. */
#include "tests/program.h"

#include "core/file.h"
#include "core/json.h"
#include "tests/world/world.h"

#include <math.h>

enum { PATH_BYTES = 1024, MODEL_MAX = 64 << 20, MOST_WORDS = 5 };

/* Where a case may break things: FOLDER/model is a copy of the world's, FOLDER/data its own. */
typedef struct Place {
    const char *folder;
    char model[PATH_BYTES], data[PATH_BYTES], out[PATH_BYTES];
} Place;

/* The unbroken world, made once. */
static const char *world(void)
{
    static const char *folder;

    if (folder == NULL) {
        const char *fresh = test_folder();
        CHECK_OK(world_make(fresh, 1));
        folder = fresh;
    }
    return folder;
}

static void join(char out[PATH_BYTES], const char *folder, const char *name)
{
    assert_true(snprintf(out, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES);
}

static void copy_folder(const char *from, const char *to)
{
    FileList list = {0};
    char path[PATH_BYTES];
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(dir_list(from, &list));
    for (size_t i = 0; i < list.count; i++) {
        join(path, from, list.name[i]);
        strbuf_clear(&text);
        CHECK_OK(file_read(path, MODEL_MAX, &text));
        test_file(to, list.name[i], text.data, text.len);
    }
    file_list_release(&list);
    strbuf_release(&text);
}

/* ---- ways to break things ---- */

static void read_whole(StrBuf *text, const char *folder, const char *name)
{
    char path[PATH_BYTES];

    join(path, folder, name);
    strbuf_init(text);
    CHECK_OK(file_read(path, MODEL_MAX, text));
}

static void remove_file(const char *folder, const char *name)
{
    char path[PATH_BYTES];

    join(path, folder, name);
    assert_int_equal(remove(path), 0);
}

static void edit_file(const char *folder, const char *name, const char *from, const char *to)
{
    StrBuf text, edited;

    read_whole(&text, folder, name);
    strbuf_init(&edited);
    const size_t at = str_find(strbuf_str(&text), str_of(from), 0);
    assert_true(at != SIZE_MAX);
    strbuf_add(&edited, text.data, at);
    strbuf_add_text(&edited, to);
    strbuf_add(&edited, text.data + at + strlen(from), text.len - at - strlen(from));
    CHECK_OK(strbuf_status(&edited));
    test_file(folder, name, edited.data, edited.len);
    strbuf_release(&edited);
    strbuf_release(&text);
}

static void no_config(const Place *p) { remove_file(p->model, "config.json"); }
static void config_no_json(const Place *p) { edit_file(p->model, "config.json", "{", "{,"); }
static void config_wrong_type(const Place *p) { edit_file(p->model, "config.json", "\"hidden_size\": 64", "\"hidden_size\": \"64\""); }
static void foreign_architecture(const Place *p) { edit_file(p->model, "config.json", "LlamaForCausalLM", "GPT2LMHeadModel"); }
static void wrong_shape(const Place *p) { edit_file(p->model, "config.json", "\"intermediate_size\": 176", "\"intermediate_size\": 192"); }
static void missing_tensor(const Place *p) { edit_file(p->model, "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"); }
static void no_tokenizer(const Place *p) { remove_file(p->model, "tokenizer.json"); }
static void foreign_tokenizer(const Place *p) { edit_file(p->model, "tokenizer.json", "\"BPE\"", "\"Unigram\""); }

static void truncated_weights(const Place *p)
{
    StrBuf text;

    read_whole(&text, p->model, "model.safetensors");
    test_file(p->model, "model.safetensors", text.data, text.len - 100);
    strbuf_release(&text);
}

static void weights_of_four_bytes(const Place *p) { test_file(p->model, "model.safetensors", "\x08\0\0\0", 4); }

static void huge_header(const Place *p) { test_file(p->model, "model.safetensors", "\0\0\0\0\0\0\0\x80{}", 10); }

static void overlapping_tensors(const Place *p)
{
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
                                 "\"data_offsets\":[4,12]}}";
    const uint64_t bytes = sizeof header - 1;
    StrBuf text;

    strbuf_init(&text);
    for (int i = 0; i < 8; i++)
        strbuf_add_char(&text, (char)(bytes >> (8 * i)));
    strbuf_add(&text, header, bytes);
    strbuf_add(&text, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    test_file(p->model, "model.safetensors", text.data, text.len);
    strbuf_release(&text);
}

/* The last four bytes of the file are a weight. */
static void nan_weight(const Place *p)
{
    const float nan_value = NAN;
    StrBuf text;

    read_whole(&text, p->model, "model.safetensors");
    memcpy(text.data + text.len - sizeof nan_value, &nan_value, sizeof nan_value);
    test_file(p->model, "model.safetensors", text.data, text.len);
    strbuf_release(&text);
}

static void pickle_weights(const Place *p)
{
    remove_file(p->model, "model.safetensors");
    test_file(p->model, "pytorch_model.bin", "PK\3\4", 4);
}

/* A good row with its own text in the middle. */
#define ROW(middle) "{\"ind\": 1, \"activity_label\": \"a\", \"ctx_a\": \"b\", \"ctx_b\": \"c\", \"ctx\": \"b c\", " middle "}\n"
#define ENDINGS "\"endings\": [\"d\", \"e\", \"f\", \"g\"]"

static void write_rows(const Place *p, const char *name, const char *text)
{
    char folder[PATH_BYTES];

    join(folder, p->data, "hellaswag");
    test_file(folder, name, text, strlen(text));
}

static void row_without_endings(const Place *p)
{
    write_rows(p, "validation.jsonl", ROW(ENDINGS ", \"label\": 1") ROW("\"label\": 1"));
}
static void row_of_bad_utf8(const Place *p) { write_rows(p, "validation.jsonl", ROW(ENDINGS ", \"label\": 1") ROW("\"x\": \"\xff\", " ENDINGS)); }
static void row_of_bad_label(const Place *p) { write_rows(p, "validation.jsonl", ROW(ENDINGS ", \"label\": 7")); }
static void no_rows(const Place *p) { write_rows(p, "validation.jsonl", "\n"); }
static void damaged_gzip(const Place *p) { write_rows(p, "validation.jsonl.gz", "\x1f\x8b\x08\x01\x01\x01"); }
static void parquet_rows(const Place *p) { write_rows(p, "validation-00000-of-00001.parquet", "PAR1"); }
static void no_data(const Place *p) { write_rows(p, "readme.txt", "nothing here"); }

/* ---- the table ---- */

typedef struct BadInput {
    const char *name;
    void (*plant)(const Place *place);
    enum { IN_MODEL, IN_DATA } where; /* which copy the command reads */
    int code;
    const char *says[MOST_WORDS + 1]; /* what, where, expected, found */
} BadInput;

static const BadInput bad_inputs[] = {
    {"folder without config", no_config, IN_MODEL, 3, {"/model", "config.json"}},
    {"config is no JSON", config_no_json, IN_MODEL, 3, {"/model/config.json"}},
    {"config of a wrong type", config_wrong_type, IN_MODEL, 3, {"/model/config.json", "hidden_size", "expected an integer", "found \"64\""}},
    {"foreign architecture", foreign_architecture, IN_MODEL, 3, {"/model/config.json", "architectures", "GPT2LMHeadModel", "LlamaForCausalLM"}},
    {"wrong shape", wrong_shape, IN_MODEL, 3, {"/model", "mlp.gate_proj.weight", "expected shape [192,64]", "found [176,64]"}},
    {"missing tensor", missing_tensor, IN_MODEL, 3, {"/model", "model.layers.3.input_layernorm.weight"}},
    {"truncated weights", truncated_weights, IN_MODEL, 3, {"/model/model.safetensors"}},
    {"weights of four bytes", weights_of_four_bytes, IN_MODEL, 3, {"/model/model.safetensors"}},
    {"header of 2^63 bytes", huge_header, IN_MODEL, 3, {"/model/model.safetensors", "9223372036854775808"}},
    {"overlapping tensors", overlapping_tensors, IN_MODEL, 3, {"/model/model.safetensors", "'b'"}},
    {"NaN weight", nan_weight, IN_MODEL, 3, {"/model/model.safetensors", "nan"}},
    {"pickle weights", pickle_weights, IN_MODEL, 3, {"/model", "pytorch_model.bin", "safetensors"}},
    {"no tokenizer", no_tokenizer, IN_MODEL, 3, {"/model: expected tokenizer.json"}},
    {"foreign tokenizer", foreign_tokenizer, IN_MODEL, 3, {"/model/tokenizer.json", "model", "Unigram"}},
    {"row without a field", row_without_endings, IN_DATA, 3, {"/hellaswag/validation.jsonl:2", "endings", "expected", "found nothing"}},
    {"row of invalid UTF-8", row_of_bad_utf8, IN_DATA, 3, {"/hellaswag/validation.jsonl:2", "0xff"}},
    {"row with an impossible label", row_of_bad_label, IN_DATA, 3, {"/hellaswag/validation.jsonl:1", "label", "found 7"}},
    {"file without rows", no_rows, IN_DATA, 3, {"/hellaswag/validation.jsonl"}},
    {"damaged gzip", damaged_gzip, IN_DATA, 3, {"/hellaswag/validation.jsonl.gz", "gzip"}},
    {"parquet file", parquet_rows, IN_DATA, 3, {"/data/hellaswag", "parquet", "hf_export.py"}},
    {"no data file", no_data, IN_DATA, 3, {"hellaswag", "validation", "looked for"}},
};

/* Nothing may lie in OUT but the record of the run and the log of what was scored before the failure; above all nothing temporary. */
static void check_out_folder(const char *out)
{
    FileList list = {0};
    char path[PATH_BYTES];

    if (!dir_exists(out))
        return;
    CHECK_OK(dir_list(out, &list));
    for (size_t i = 0; i < list.count; i++) {
        json_t *document = NULL;
        if (strcmp(list.name[i], "log") == 0)
            continue;
        if (strcmp(list.name[i], "run.json") != 0)
            fail_msg("'%s' was left in the output folder", list.name[i]);
        join(path, out, list.name[i]);
        CHECK_OK(json_load_path(&document, path, MODEL_MAX));
        assert_string_equal(json_string_value(json_object_get(document, "status")), "failed");
        json_decref(document);
    }
    file_list_release(&list);
}

/* Runs and compares; false with everything printed, so that one case does not hide the next. */
static bool failed_well(const char *name, const char *const *argument, int code, const char *const *says)
{
    ProgramRun run;
    bool good;

    program_run(&run, "", argument);
    good = run.code == code && count_lines(&run.err) == 1 && strncmp(run.err.data, "lethe: ", 7) == 0 && run.out.len == 0;
    for (size_t i = 0; says[i] != NULL; i++)
        good = good && strstr(run.err.data, says[i]) != NULL;
    if (!good) {
        print_error("%s: code %d, expected %d and one line with", name, run.code, code);
        for (size_t i = 0; says[i] != NULL; i++)
            print_error(" '%s'", says[i]);
        print_error("\n%s%s", run.out.data, run.err.data);
    }
    program_release(&run);
    return good;
}

static void make_place(Place *p)
{
    char from[PATH_BYTES];

    p->folder = test_folder();
    join(p->model, p->folder, "model");
    join(p->data, p->folder, "data");
    join(p->out, p->folder, "out");
    join(from, world(), "model");
    copy_folder(from, p->model);
}

static void test_bad_input_is_named_and_leaves_nothing(void **state)
{
    size_t n_bad = 0;
    char world_data[PATH_BYTES];
    Place p;

    (void)state;
    join(world_data, world(), "data");
    for (size_t i = 0; i < sizeof bad_inputs / sizeof *bad_inputs; i++) {
        const BadInput *c = &bad_inputs[i];
        make_place(&p);
        c->plant(&p);
        n_bad += !failed_well(c->name,
                              ARGUMENTS("score", p.model, "--tasks", "hellaswag", "--data", c->where == IN_DATA ? p.data : world_data, "--out", p.out,
                                        "--limit", "2", "--quiet"),
                              c->code, c->says);
        check_out_folder(p.out);
    }
    assert_int_equal(n_bad, 0);
}

/* The same command on the unbroken world, or the test above would pass for a wrong reason. */
static void test_good_input_succeeds(void **state)
{
    char data[PATH_BYTES], results[PATH_BYTES];
    ProgramRun run;
    Place p;

    (void)state;
    make_place(&p);
    join(data, world(), "data");
    program_run(&run, "", ARGUMENTS("score", p.model, "--tasks", "hellaswag", "--data", data, "--out", p.out, "--limit", "2", "--quiet"));
    if (run.code != 0)
        print_error("%s", run.err.data);
    assert_int_equal(run.code, 0);
    assert_int_equal(run.err.len, 0);
    assert_non_null(strstr(run.out.data, "hellaswag"));
    join(results, p.out, "results.tsv");
    assert_true(file_exists(results));
    program_release(&run);
}

static void test_unwritable_out_is_named(void **state)
{
    char data[PATH_BYTES], out[PATH_BYTES];
    Place p;

    (void)state;
    make_place(&p);
    join(data, world(), "data");
    join(out, test_file(p.folder, "file", "x", 1), "out");
    /* Below a regular file nobody may write, root included. */
    assert_true(failed_well("unwritable out",
                            ARGUMENTS("score", p.model, "--tasks", "hellaswag", "--data", data, "--out", out, "--limit", "2", "--quiet"), 1,
                            (const char *const[]){"cannot make folder", "/file", NULL}));
}

static void test_misuse_writes_nothing(void **state)
{
    char data[PATH_BYTES];
    size_t n_bad = 0;
    Place p;

    (void)state;
    make_place(&p);
    join(data, world(), "data");
    const struct {
        const char *option, *value, *says[MOST_WORDS];
    } cases[] = {
        {"--tasks", "hellswag", {"hellswag", "did you mean 'hellaswag'?"}},
        {"--limit", "2x", {"--limit", "expected an integer", "found '2x'"}},
        {"--shots", "hellaswag=-1", {"--shots", "found '-1'"}},
        {"--split", "hellaswag=tset", {"hellaswag", "tset"}},
        {"--items", "hellaswag=5", {"--items", "FIRST-LAST", "found '5'"}},
        {"--profile", "lm-evall", {"lm-evall", "lm-eval"}},
        {"--device", "cpuu", {"cpuu"}},
        {"--workers", "2", {"unknown option '--workers'"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n_bad += !failed_well(cases[i].value,
                              ARGUMENTS("score", p.model, "--tasks", "hellaswag", "--data", data, "--out", p.out, "--quiet", cases[i].option,
                                        cases[i].value),
                              2, cases[i].says);
        if (dir_exists(p.out))
            fail_msg("'%s %s' made the output folder", cases[i].option, cases[i].value);
    }
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_input_succeeds),
        cmocka_unit_test(test_bad_input_is_named_and_leaves_nothing),
        cmocka_unit_test(test_unwritable_out_is_named),
        cmocka_unit_test(test_misuse_writes_nothing),
    };

    return TEST_MAIN(tests);
}
