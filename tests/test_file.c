#include "tests/check.h"

#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path_in(const char *folder, const char *name, StrBuf *out)
{
    CHECK_OK(path_join(out, folder, name));
    return out->data;
}

static void check_content(const char *path, const char *want, size_t n)
{
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(file_read(path, n, &text));
    check_str(strbuf_str(&text), want, n);
    strbuf_release(&text);
}

static void test_exists_tells_files_from_folders(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "a", "x", 1);

    (void)state;
    assert_true(file_exists(path) && !dir_exists(path));
    assert_true(dir_exists(folder) && !file_exists(folder));
    assert_false(file_exists("nowhere/at all") || dir_exists("nowhere/at all"));
}

static void test_read_bounds_and_names(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "data", "a\0b\n", 4);
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    strbuf_add_text(&text, "old");
    CHECK_OK(file_read(path, 4, &text));
    check_str(strbuf_str(&text), "a\0b\n", 4);
    CHECK_FAILS(file_read(path, 3, &text), LT_E_INPUT, "has more than the 3 bytes allowed");
    CHECK_FAILS(file_read("nowhere/x", 3, &text), LT_E_INPUT, "cannot open 'nowhere/x'");
    CHECK_FAILS(file_read(folder, 3, &text), LT_E_INPUT, "cannot read");
    CHECK_OK(file_read(test_file(folder, "empty", "", 0), 0, &text));
    assert_int_equal(text.len, 0);
    strbuf_release(&text);
}

static void test_id_changes_with_the_file(void **state)
{
    const char *path = test_file(test_folder(), "data", "abc", 3);
    FileId before, after;

    (void)state;
    CHECK_OK(file_id(path, &before));
    assert_int_equal(before.size, 3);
    CHECK_OK(file_write_atomic(path, "abcd", 4));
    CHECK_OK(file_id(path, &after));
    assert_true(after.inode != before.inode && after.size == 4);
    CHECK_FAILS(file_id("nowhere/x", &after), LT_E_INPUT, "nowhere/x");
}

static void test_dir_make_and_list(void **state)
{
    const char *folder = test_folder();
    StrBuf path;
    FileList list;

    (void)state;
    strbuf_init(&path);
    CHECK_OK(dir_make(path_in(folder, "a/b//c/", &path)));
    CHECK_OK(dir_make(path.data));
    assert_true(dir_exists(path.data));
    test_file(folder, "b", "", 0);
    test_file(folder, "B", "", 0);
    test_file(folder, ".hidden", "", 0);
    CHECK_OK(dir_list(folder, &list));
    assert_int_equal(list.count, 4);
    assert_string_equal(list.name[0], ".hidden");
    assert_string_equal(list.name[1], "B");
    assert_string_equal(list.name[2], "a");
    assert_string_equal(list.name[3], "b");
    file_list_release(&list);
    CHECK_FAILS(dir_list("nowhere", &list), LT_E_INPUT, "cannot open folder 'nowhere'");
    CHECK_FAILS(dir_make(path_in(folder, "b/under", &path)), LT_E_IO, "b/under");
    strbuf_release(&path);
}

static void test_paths(void **state)
{
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    assert_string_equal(path_in("a", "b", &path), "a/b");
    assert_string_equal(path_in("a/", "b", &path), "a/b");
    assert_string_equal(path_in("", "b", &path), "b");
    strbuf_release(&path);
    assert_true(str_is(path_tail("a/b"), "b"));
    assert_true(str_is(path_tail("a/b//"), "b"));
    assert_true(str_is(path_tail("b"), "b"));
    assert_true(str_is(path_tail("/"), "/"));
    assert_true(str_is(path_tail(""), ""));
}

static size_t names_in(const char *folder)
{
    FileList list;

    CHECK_OK(dir_list(folder, &list));
    const size_t n = list.count;
    file_list_release(&list);
    return n;
}

static void test_atomic_file_appears_at_commit(void **state)
{
    const char *folder = test_folder();
    AtomicFile f = {0};
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    path_in(folder, "out", &path);
    CHECK_OK(file_write_atomic(path.data, "old", 3));
    CHECK_OK(atomic_open(&f, path.data));
    CHECK_OK(atomic_write(&f, "new ", 4));
    CHECK_OK(atomic_write(&f, "text", 4));
    assert_int_equal(f.written, 8);
    check_content(path.data, "old", 3);
    assert_int_equal(names_in(folder), 2);
    CHECK_OK(atomic_commit(&f));
    atomic_close(&f);
    check_content(path.data, "new text", 8);
    assert_int_equal(names_in(folder), 1);
    strbuf_release(&path);
}

static void test_atomic_close_without_commit_leaves_nothing(void **state)
{
    const char *folder = test_folder();
    AtomicFile f = {0}, zero = {0};
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    CHECK_OK(atomic_open(&f, path_in(folder, "out", &path)));
    CHECK_OK(atomic_write(&f, "x", 1));
    atomic_close(&f);
    atomic_close(&f);
    atomic_close(&zero);
    assert_int_equal(names_in(folder), 0);
    strbuf_release(&path);
}

static void test_atomic_errors_are_io(void **state)
{
    const char *folder = test_folder();
    AtomicFile f = {0};
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    CHECK_FAILS(file_write_atomic("nowhere/at/all", "x", 1), LT_E_IO, "nowhere/at/all");
    /* rename onto a folder fails at commit, and the temporary goes away. */
    CHECK_OK(dir_make(path_in(folder, "out/sub", &path)));
    CHECK_FAILS(file_write_atomic(path_in(folder, "out", &path), "x", 1), LT_E_IO, "cannot rename");
    assert_int_equal(names_in(folder), 1);
    /* A disk that is full: the kernel's own stand-in for one. */
    CHECK_OK(atomic_open(&f, path_in(folder, "new", &path)));
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full >= 0) {
        assert_int_equal(dup2(full, f.fd), f.fd);
        close(full);
        CHECK_FAILS(atomic_write(&f, "x", 1), LT_E_IO, "after 0 bytes: No space left");
    }
    atomic_close(&f);
    strbuf_release(&path);
}

static void test_atomic_survives_lack_of_memory(void **state)
{
    const char *folder = test_folder();
    const int64_t held = mem_held();
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    path_in(folder, "out", &path);
    for (uint64_t n = 1;; n++) {
        mem_fail_at(n);
        const Status st = file_write_atomic(path.data, "x", 1);
        mem_fail_at(0);
        if (st == LT_OK)
            break;
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
        /* The file itself may stand already: only the sync of its folder needs memory after the rename. */
        assert_true(names_in(folder) <= 1);
    }
    strbuf_release(&path);
    assert_int_equal(mem_held(), held);
}

/* The reason is the refusal's, not that of looking afterwards whether the folder is there. */
static void test_dir_make_says_why_it_may_not(void **state)
{
    const char *folder = test_folder();
    const bool root = geteuid() == 0;
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    CHECK_OK(path_join(&path, folder, "a/b"));
    assert_int_equal(chmod(folder, 0555), 0);
    /* Nothing is forbidden to root. */
    if (root)
        assert_int_equal(seteuid(65534), 0);
    const Status st = dir_make(path.data);
    if (root)
        assert_int_equal(seteuid(0), 0);
    CHECK_FAILS(st, LT_E_IO, "/a': Permission denied");
    chmod(folder, 0755);
    strbuf_release(&path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exists_tells_files_from_folders),
        cmocka_unit_test(test_read_bounds_and_names),
        cmocka_unit_test(test_id_changes_with_the_file),
        cmocka_unit_test(test_dir_make_and_list),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_atomic_file_appears_at_commit),
        cmocka_unit_test(test_atomic_close_without_commit_leaves_nothing),
        cmocka_unit_test(test_atomic_errors_are_io),
        cmocka_unit_test(test_atomic_survives_lack_of_memory),
        cmocka_unit_test(test_dir_make_says_why_it_may_not),
    };
    return TEST_MAIN(tests);
}
