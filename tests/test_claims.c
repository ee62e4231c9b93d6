/* Claims: one holder a unit, freed by death and by age, and harmless when stolen. */
#include "tests/check.h"

#include "core/claims.h"
#include "core/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool take(Claim *claim, const Claims *c, const char *unit)
{
    bool taken;

    CHECK_OK(claim_take(claim, c, unit, &taken));
    assert_int_equal(taken, claim->path != NULL);
    return taken;
}

static void test_claims_have_one_holder(void **state)
{
    const char *folder = test_folder();
    Claim a, b;
    Claims c, d;

    (void)state;
    CHECK_OK(claims_open(&c, folder));
    CHECK_OK(claims_open(&d, folder));
    assert_true(take(&a, &c, "one"));
    assert_false(take(&b, &c, "one"));
    assert_false(take(&b, &d, "one"));
    assert_true(take(&b, &d, "two"));
    claim_drop(&b);
    claim_drop(&a);
    assert_true(take(&b, &d, "one"));
    claim_drop(&b);
    claim_drop(&b);
    FileList list = {0};
    CHECK_OK(dir_list(folder, &list));
    assert_int_equal(list.count, 0);
    file_list_release(&list);
    claims_close(&d);
    claims_close(&c);
}

/* Killed without a chance to clean up: the next one has the unit at once. */
static void test_claims_are_freed_by_death(void **state)
{
    const char *folder = test_folder();
    int ready[2], outcome;
    char byte = 0;
    Claim claim;
    Claims c;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        bool taken = false;

        if (claims_open(&c, folder) == LT_OK && claim_take(&claim, &c, "unit", &taken) == LT_OK && taken)
            byte = 1;
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    CHECK_OK(claims_open(&c, folder));
    assert_false(take(&claim, &c, "unit"));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(take(&claim, &c, "unit"));
    claim_drop(&claim);
    claims_close(&c);
    close(ready[0]);
    close(ready[1]);
}

/* A claim that another machine, whose death no lock tells, touched so many seconds ago. */
static void plant(const char *folder, const char *unit, int age_s)
{
    const char *path = test_file(folder, unit, "another-machine\n1\n0\n", 20);
    struct timespec at[2];

    clock_gettime(CLOCK_REALTIME, &at[0]);
    at[0].tv_sec -= age_s;
    at[1] = at[0];
    assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
}

static void test_claims_of_other_machines_are_freed_by_age(void **state)
{
    const char *folder = test_folder();
    Claim claim;
    Claims c;

    (void)state;
    CHECK_OK(claims_open(&c, folder));
    plant(folder, "fresh", 60);
    plant(folder, "nearly", 590);
    plant(folder, "stale", 610);
    plant(folder, "ahead", -3600); /* its clock is */
    assert_false(take(&claim, &c, "fresh"));
    assert_false(take(&claim, &c, "nearly"));
    assert_false(take(&claim, &c, "ahead"));
    assert_true(take(&claim, &c, "stale"));
    claim_drop(&claim);
    claims_close(&c);
}

/* Dropping what was stolen leaves the thief's claim alone. */
static void test_claims_that_were_stolen_stay_the_thiefs(void **state)
{
    const char *folder = test_folder();
    char path[4096];
    Claim a, b;
    Claims c;

    (void)state;
    CHECK_OK(claims_open(&c, folder));
    assert_true(take(&a, &c, "unit"));
    snprintf(path, sizeof path, "%s/unit", folder);
    assert_int_equal(unlink(path), 0);
    assert_true(take(&b, &c, "unit"));
    claim_drop(&a);
    assert_true(file_exists(path));
    assert_false(take(&a, &c, "unit"));
    claim_drop(&b);
    assert_false(file_exists(path));
    claims_close(&c);
}

static void test_claims_need_a_folder_to_write_in(void **state)
{
    const char *folder = test_folder();
    Claims c;

    (void)state;
    const char *file = test_file(folder, "file", "x", 1);
    CHECK_FAILS(claims_open(&c, file), LT_E_IO, "file");
}

/* Many processes, few units: each unit is held by at most one at a time. */
static void test_claims_exclude_under_contention(void **state)
{
    enum { PROCESSES = 4, ROUNDS = 200 };
    const char *folder = test_folder(), *work = test_folder();
    char path[4096];
    int outcome;

    (void)state;
    snprintf(path, sizeof path, "%s/inside", work);
    for (int p = 0; p < PROCESSES; p++)
        if (fork() == 0) {
            Claims c;
            Claim claim;
            bool taken;
            int bad = claims_open(&c, folder) != LT_OK;

            for (int i = 0; i < ROUNDS && !bad; i++) {
                bad = claim_take(&claim, &c, "unit", &taken) != LT_OK;
                if (bad || !taken)
                    continue;
                const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666); /* somebody else inside: it is there */
                bad = fd < 0 || unlink(path) != 0 || close(fd) != 0;
                claim_drop(&claim);
            }
            _exit(bad);
        }
    for (int p = 0; p < PROCESSES; p++) {
        assert_true(wait(&outcome) > 0);
        assert_int_equal(outcome, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_have_one_holder),
        cmocka_unit_test(test_claims_are_freed_by_death),
        cmocka_unit_test(test_claims_of_other_machines_are_freed_by_age),
        cmocka_unit_test(test_claims_that_were_stolen_stay_the_thiefs),
        cmocka_unit_test(test_claims_need_a_folder_to_write_in),
        cmocka_unit_test(test_claims_exclude_under_contention),
    };
    return TEST_MAIN(tests);
}
