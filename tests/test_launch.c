#include "tests/check.h"

#include "core/launch.h"

#include <stdlib.h>

static int clear_environment(void **state)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_PROCID",
                                        "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",        "PMI_RANK",                   "PMI_SIZE",
                                        "MPI_LOCALRANKID",      "RANK",                 "WORLD_SIZE",                 "LOCAL_RANK"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    return 0;
}

static void check_launch(int rank, int world, int local_rank, const char *source)
{
    Launch l;

    CHECK_OK(launch_from_environment(&l));
    assert_int_equal(l.rank, rank);
    assert_int_equal(l.world, world);
    assert_int_equal(l.local_rank, local_rank);
    assert_string_equal(l.source, source);
}

static void test_alone_without_a_launcher(void **state)
{
    (void)state;
    check_launch(0, 1, 0, "alone");
    setenv("SLURM_PROCID", "0", 1); /* a batch script outside srun */
    check_launch(0, 1, 0, "alone");
}

static void test_each_launcher_is_known(void **state)
{
    (void)state;
    setenv("RANK", "3", 1), setenv("WORLD_SIZE", "4", 1), setenv("LOCAL_RANK", "1", 1);
    check_launch(3, 4, 1, "torchrun");
    setenv("PMI_RANK", "2", 1), setenv("PMI_SIZE", "8", 1);
    check_launch(2, 8, 2, "pmi");
    setenv("SLURM_PROCID", "5", 1), setenv("SLURM_STEP_NUM_TASKS", "6", 1), setenv("SLURM_LOCALID", "0", 1);
    check_launch(5, 6, 0, "slurm");
    setenv("OMPI_COMM_WORLD_RANK", "1", 1), setenv("OMPI_COMM_WORLD_SIZE", "2", 1), setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1", 1);
    check_launch(1, 2, 1, "openmpi");
}

static void test_contradictions_are_misuse(void **state)
{
    Launch l;

    (void)state;
    setenv("RANK", "4", 1), setenv("WORLD_SIZE", "4", 1);
    CHECK_FAILS(launch_from_environment(&l), LT_E_USAGE, "RANK=4 is not below WORLD_SIZE=4");
    setenv("RANK", "1x", 1);
    CHECK_FAILS(launch_from_environment(&l), LT_E_USAGE, "RANK: expected a number of at least 0, found '1x'");
    setenv("RANK", "0", 1), setenv("WORLD_SIZE", "99999999999", 1);
    CHECK_FAILS(launch_from_environment(&l), LT_E_USAGE, "WORLD_SIZE");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_alone_without_a_launcher, clear_environment),
        cmocka_unit_test_setup(test_each_launcher_is_known, clear_environment),
        cmocka_unit_test_setup(test_contradictions_are_misuse, clear_environment),
    };

    return TEST_MAIN(tests);
}
