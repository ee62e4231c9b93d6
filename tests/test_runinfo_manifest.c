/* Manifests: what a user says of checkpoints, over what their files say. */
#include "tests/trees.h"

#include "core/file.h"
#include "model/runinfo_manifest.h"

#include <unistd.h>

static const RunInfo KNOWN = {.label = "r16: math", .condition = "math", .run = "m16", .method = "lora", .rank = 16, .alpha = 32,
                              .targets = "all", .lr = 0.0002, .seed = 17, .step = 100, .tokens = 12345678901, .epochs = 0.5,
                              .base = "models/b", .template_name = "plain"};

static Located folder_at(const char *path) { return (Located){.given = path, .path = path, .kind = FOLDER_MODEL}; }

static void test_manifest_reads_back_as_written(void **state)
{
    static const char *const path[] = {"/runs/a", "org/name@v1"};
    const RunInfo info[] = {KNOWN, runinfo_unknown()};
    const char *file;
    Located a = folder_at("/runs/a/");
    RunInfo got = runinfo_unknown();
    Manifest m;
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    CHECK_OK(manifest_write(&text, path, info, 2));
    static const char want[] = "path\tlabel\tcondition\trun\tmethod\trank\talpha\ttargets\tlr\tseed\tstep\ttokens\tepochs\tbase\ttemplate\n"
                               "/runs/a\tr16: math\tmath\tm16\tlora\t16\t32\tall\t0.0002\t17\t100\t12345678901\t0.5\tmodels/b\tplain\n"
                               "org/name@v1\t\t\t\t\t\t\t\t\t\t\t\t\t\t\n";
    check_str(strbuf_str(&text), want, sizeof want - 1);
    file = test_file(test_folder(), "m.tsv", text.data, text.len);
    strbuf_release(&text);
    CHECK_OK(manifest_read(&m, &tree_memory, file));
    assert_int_equal(m.n_row, 2);
    assert_true(manifest_apply(&m, &a, &got));
    check_runinfo(&got, &KNOWN);
}

static void test_manifest_refuses_a_path_that_is_no_cell(void **state)
{
    static const char *const path[] = {"a\tb"};
    const RunInfo info = runinfo_unknown();
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    CHECK_FAILS(manifest_write(&text, path, &info, 1), LT_E_INPUT, "column 'path'");
    strbuf_release(&text);
}

static void test_manifest_overrules_what_it_says_and_nothing_else(void **state)
{
    static const char text[] = "method\trank\tlr\tlabel\tpath\tepochs\tseed\n"
                               "full\t\t\tnew\t/runs/a\t4\t0\n";
    const char *file = test_file(test_folder(), "m.tsv", text, sizeof text - 1);
    Located a = folder_at("/runs/a"), b = folder_at("/runs/b");
    RunInfo got = KNOWN, want = KNOWN;
    Manifest m;

    (void)state;
    CHECK_OK(manifest_read(&m, &tree_memory, file));
    assert_false(manifest_apply(&m, &b, &got));
    check_runinfo(&got, &want);
    assert_true(manifest_apply(&m, &a, &got));
    want.method = "full";
    want.label = "new";
    want.epochs = 4;
    want.seed = 0;
    check_runinfo(&got, &want);
}

static void test_manifest_knows_a_folder_by_any_way_to_it(void **state)
{
    static const char text[] = "path\trank\nruns/a\t1\nlink\t2\norg/name@v1\t3\n/nonexistent/x\t4\n";
    const char *root = test_folder(), *file = test_file(root, "m.tsv", text, sizeof text - 1);
    char before[4096];
    StrBuf path;
    Manifest m;
    RunInfo got = runinfo_unknown();

    (void)state;
    strbuf_init(&path);
    CHECK_OK(path_join(&path, root, "runs/a"));
    CHECK_OK(dir_make(path.data));
    CHECK_OK(path_join(&path, root, "b"));
    CHECK_OK(dir_make(path.data));
    CHECK_OK(path_join(&path, root, "link"));
    assert_int_equal(symlink("b", path.data), 0);
    CHECK_OK(manifest_read(&m, &tree_memory, file)); /* relative to the manifest */
    CHECK_OK(path_join(&path, root, "./runs/../runs/a"));
    const Located a = folder_at(path.data);
    assert_true(manifest_apply(&m, &a, &got));
    assert_int_equal(got.rank, 1);
    const Located hub = {.given = "org/name@v1", .path = "/nonexistent/snapshot"}, gone = folder_at("/nonexistent/y");
    assert_true(manifest_apply(&m, &hub, &got));
    assert_int_equal(got.rank, 3);
    assert_false(manifest_apply(&m, &gone, &got));

    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    const Status st = manifest_read(&m, &tree_memory, "m.tsv");
    const Located b = folder_at("b");
    const bool found = st == LT_OK && manifest_apply(&m, &b, &got);
    assert_int_equal(chdir(before), 0);
    CHECK_OK(st);
    assert_true(found);
    assert_int_equal(got.rank, 2);
    strbuf_release(&path);
}

static void check_manifest_refused(const char *text, const char *part)
{
    const char *file = test_file(test_folder(), "m.tsv", text, strlen(text));
    Manifest m;
    CHECK_FAILS(manifest_read(&m, &tree_memory, file), LT_E_INPUT, part);
}

static void test_manifest_errors_name_line_and_column(void **state)
{
    Manifest m;

    (void)state;
    CHECK_FAILS(manifest_read(&m, &tree_memory, "/nonexistent/m.tsv"), LT_E_INPUT, "/nonexistent/m.tsv");
    check_manifest_refused("path\trnak\na\t1\n", "m.tsv: unknown column 'rnak'; the columns of a manifest are path label condition");
    check_manifest_refused("label\trank\na\t1\n", "m.tsv: expected a column 'path', found none");
    check_manifest_refused("path\tpath\na\ta\n", "two columns 'path'");
    check_manifest_refused("path\trank\na\n", "line 2: expected 2 cells, found 1");
    check_manifest_refused("path\trank\na\t1\n\t2\n", "m.tsv: line 3: column 'path': expected a checkpoint, found ''");
    check_manifest_refused("path\na\nb\na/\n", "line 4: column 'path': expected each checkpoint once, found 'a'");
    check_manifest_refused("path\trank\na\t-1\n", "line 2: column 'rank': expected a whole number, found '-1'");
    check_manifest_refused("path\tstep\na\t1.5\n", "column 'step': expected a whole number, found '1.5'");
    check_manifest_refused("path\tseed\na\t 1\n", "column 'seed': expected a whole number");
    check_manifest_refused("path\ttokens\na\t99999999999999999999\n", "column 'tokens': expected a whole number");
    check_manifest_refused("path\tlr\na\tfast\n", "column 'lr': expected a number, found 'fast'");
    check_manifest_refused("path\tlr\na\tnan\n", "column 'lr': expected a number");
    check_manifest_refused("path\talpha\na\t1e999\n", "column 'alpha': expected a number");
    check_manifest_refused("path\tepochs\na\t 1\n", "column 'epochs': expected a number");
    check_manifest_refused("path\tmethod\na\tdora\n", "column 'method': expected base, full or lora, found 'dora'");
}

static void test_manifest_may_be_empty(void **state)
{
    const char *file = test_file(test_folder(), "m.tsv", "path\n", 5);
    Located a = folder_at("a");
    RunInfo info = KNOWN;
    Manifest m;

    (void)state;
    CHECK_OK(manifest_read(&m, &tree_memory, file));
    assert_false(manifest_apply(&m, &a, &info));
}

static Status read_and_write_manifest(Arena *arena, const char *file)
{
    StrBuf text;
    Manifest m;

    TRY(manifest_read(&m, arena, file));
    strbuf_init(&text);
    const Status st = manifest_write(&text, &m.row[0].path, &m.row[0].info, 1);
    strbuf_release(&text);
    return st;
}

static void test_manifest_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    static const char text[] = "path\tlabel\tmethod\trank\na\tb\tfull\t1\n";

    (void)state;
    check_out_of_memory(read_and_write_manifest, test_file(test_folder(), "m.tsv", text, sizeof text - 1), LT_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_manifest_reads_back_as_written, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_refuses_a_path_that_is_no_cell, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_overrules_what_it_says_and_nothing_else, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_knows_a_folder_by_any_way_to_it, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_errors_name_line_and_column, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_may_be_empty, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_manifest_out_of_memory_is_said_and_leaks_nothing, tree_begin, tree_end),
    };
    return TEST_MAIN(tests);
}
