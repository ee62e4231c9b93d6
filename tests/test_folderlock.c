#include "tests/check.h"

#include "core/file.h"
#include "core/folderlock.h"
#include "core/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path_in(const char *folder, const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* As another process would try it: locks belong to open files, not to processes. */
static bool is_free(const char *folder)
{
    const int fd = open(path_in(folder, ".lock"), O_RDWR);
    assert_true(fd >= 0);
    const bool got = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return got;
}

static void test_lock_is_held_until_it_is_given_back(void **state)
{
    FolderLock lock;
    char folder[4096];

    (void)state;
    snprintf(folder, sizeof folder, "%s/made/for it", test_folder());
    CHECK_OK(folder_lock(&lock, folder));
    assert_true(lock.held);
    assert_false(is_free(folder));
    folder_unlock(&lock);
    assert_true(is_free(folder));
    folder_unlock(&lock); /* harmless */
}

static void test_lock_says_which_folder_cannot_be_written(void **state)
{
    const char *folder = test_folder();
    FolderLock lock;

    (void)state;
    CHECK_FAILS(folder_lock(&lock, test_file(folder, "file", "", 0)), LT_E_IO, "file");
    assert_int_equal(mkdir(path_in(folder, ".lock"), 0777), 0);
    CHECK_FAILS(folder_lock(&lock, folder), LT_E_IO, ".lock");
}

static void test_lock_survives_lack_of_memory(void **state)
{
    const int64_t held = mem_held();
    FolderLock lock;
    Status st = LT_E_NOMEM;

    (void)state;
    for (uint64_t n = 1; st != LT_OK; n++) {
        status_clear();
        mem_fail_at(n);
        st = folder_lock(&lock, test_folder());
        mem_fail_at(0);
        assert_true(st == LT_OK || st == LT_E_NOMEM);
        assert_true(n < 100);
    }
    folder_unlock(&lock);
    assert_int_equal(mem_held(), held);
}

static void test_sweep_removes_what_killed_writers_left(void **state)
{
    static const char left[] = ".results.tsv.123.0123456789abcdef.tmp";
    static const char *const kept[] = {"results.tsv", ".mine.tmp", "results.tsv.123.0123456789abcdef.tmp", ".a.12.0123456789abcde.tmp"};
    const char *folder = test_folder();
    FolderLock lock;

    (void)state;
    test_file(folder, left, "x", 1);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        test_file(folder, kept[i], "x", 1);
    CHECK_OK(folder_sweep(&(FolderLock){.fd = -1}, folder)); /* without the lock it could be in use */
    assert_true(file_exists(path_in(folder, left)));
    CHECK_OK(folder_lock(&lock, folder));
    CHECK_OK(folder_sweep(&lock, folder));
    CHECK_OK(folder_sweep(&lock, path_in(folder, "nowhere")));
    folder_unlock(&lock);
    assert_false(file_exists(path_in(folder, left)));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(file_exists(path_in(folder, kept[i])));
}

/* The pattern is that of the writer. */
static void test_sweep_knows_the_names_of_atomic_files(void **state)
{
    const char *folder = test_folder();
    AtomicFile file = {0};

    (void)state;
    CHECK_OK(atomic_open(&file, path_in(folder, "a.b_c.json")));
    const Str name = path_tail(file.temporary);
    assert_true(file_is_temporary(name.data));
    atomic_close(&file);
    assert_false(file_is_temporary(".tmp"));
    assert_false(file_is_temporary(".0123456789abcdef.tmp"));
    assert_false(file_is_temporary(".12.0123456789abcdef.tmp"));
    assert_false(file_is_temporary("..12.0123456789abcdef.tmp"));
    assert_true(file_is_temporary(".x.12.0123456789abcdef.tmp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_is_held_until_it_is_given_back),
        cmocka_unit_test(test_lock_says_which_folder_cannot_be_written),
        cmocka_unit_test(test_lock_survives_lack_of_memory),
        cmocka_unit_test(test_sweep_removes_what_killed_writers_left),
        cmocka_unit_test(test_sweep_knows_the_names_of_atomic_files),
    };
    return TEST_MAIN(tests);
}
