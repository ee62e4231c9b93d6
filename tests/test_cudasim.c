/* The simulator of tests/cudasim itself: its primitives against their definitions, and the mistakes that it is there to find. */
#include "tests/cudasim/cases.h"

#include "tests/check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_shuffles_follow_their_definition(void **state)
{
    int got[192] = {0};

    (void)state;
    sim_case_shuffles(got);
    for (int lane = 0; lane < 32; lane++) {
        assert_int_equal(got[lane], lane ^ 5);
        assert_int_equal(got[32 + lane], lane + 3 < 32 ? lane + 3 : lane);
        assert_int_equal(got[64 + lane], lane >= 3 ? lane - 3 : lane);
        assert_int_equal(got[96 + lane], 7);
        assert_int_equal(got[128 + lane], 0x49249249);
        assert_int_equal(got[160 + lane], 2);
    }
}

/* PTX ISA, ldmatrix: lane l receives elements (l / 4, 2 (l % 4)) and the next; transposed: (2 (l % 4), l / 4) and the one below. */
static void test_ldmatrix_follows_its_definition(void **state)
{
    static const struct {
        int first, n_matrix, transposed;
    } FORM[] = {{0, 4, 0}, {4, 4, 1}, {8, 2, 0}, {10, 2, 1}};
    uint16_t tile[32 * 8];
    uint32_t got[12 * 32] = {0};

    (void)state;
    for (int i = 0; i < 32 * 8; i++)
        tile[i] = (uint16_t)(1000 + i);
    sim_case_ldmatrix(got, tile);
    for (int f = 0; f < 4; f++)
        for (int m = 0; m < FORM[f].n_matrix; m++)
            for (int lane = 0; lane < 32; lane++) {
                const uint16_t *matrix = tile + 64 * m;
                const int i = lane / 4, j = 2 * (lane % 4);
                const uint32_t low = FORM[f].transposed ? matrix[8 * j + i] : matrix[8 * i + j];
                const uint32_t high = FORM[f].transposed ? matrix[8 * (j + 1) + i] : matrix[8 * i + j + 1];

                assert_int_equal(got[32 * (FORM[f].first + m) + lane], low | high << 16);
            }
}

/* Small integers: every sum is exact, so the order of the sums does not matter. */
static void test_mma_multiplies(void **state)
{
    TestRandom r = {11};
    float a[16 * 16], b[16 * 8], d[16 * 8];
    double want[16 * 8];

    (void)state;
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 16 * 16; i++)
            a[i] = floorf((float)test_uniform(&r, -9, 9));
        for (int i = 0; i < 16 * 8; i++) {
            b[i] = floorf((float)test_uniform(&r, -9, 9));
            d[i] = floorf((float)test_uniform(&r, -9, 9));
        }
        for (int i = 0; i < 16 * 8; i++) {
            want[i] = (double)d[i];
            for (int k = 0; k < 16; k++)
                want[i] += (double)a[i / 8 * 16 + k] * (double)b[k * 8 + i % 8];
        }
        sim_case_mma(d, a, b, half);
        check_close_f32(half ? "mma of F16" : "mma of BF16", d, want, 16 * 8, 0, 0);
    }
}

static void test_copies_land_at_their_wait(void **state)
{
    const float in[12] = {1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0};
    float got[6] = {0};

    (void)state;
    sim_case_copy_async(got, in);
    assert_true(isnan(got[0]));
    assert_true(got[1] == 1);
    assert_true(isnan(got[2]));
    assert_true(got[3] == 5);
    assert_true(isnan(got[4]));
    assert_true(got[5] == 0);
}

static void test_memory_starts_as_nan(void **state)
{
    uint32_t got[5] = {0};

    (void)state;
    sim_case_fresh(got);
    for (int i = 0; i < 5; i++)
        assert_int_equal(got[i], 0xffffffffu);
}

static void test_launches_have_limits(void **state)
{
    static const int WANT[8] = {0, 1, 1, 0, 0, 9, 9, 9}; /* cudaErrorInvalidValue 1, cudaErrorInvalidConfiguration 9 */
    int got[8];

    (void)state;
    sim_case_limits(got);
    for (int i = 0; i < 8; i++)
        if (got[i] != WANT[i])
            fail_msg("number %d: error %d expected, %d found", i, WANT[i], got[i]);
}

static void test_streams_run_when_they_are_waited_for(void **state)
{
    int got[3];

    (void)state;
    sim_case_stream(got);
    assert_int_equal(got[0], -1);
    assert_int_equal(got[1], 600); /* cudaErrorNotReady */
    assert_int_equal(got[2], 7);
}

static void test_graphs_run_what_they_recorded(void **state)
{
    static const int WANT[6] = {0, 4, 0, 910, 24, 901}; /* ...GraphExecUpdateFailure 910, ...StreamCaptureInvalidated 901 */
    int got[6];

    (void)state;
    sim_case_graph(got);
    for (int i = 0; i < 6; i++)
        if (got[i] != WANT[i])
            fail_msg("number %d: error %d expected, %d found", i, WANT[i], got[i]);
}

/* ---- planted mistakes ---- */

#ifdef CUDASIM_RACE
enum { SEES_RACES = 1 };
#else
enum { SEES_RACES = 0 };
#endif

/* Runs the plant in a child, in all three orders, and gives what it wrote to stderr. True if it stopped as the simulator stops. */
static bool plant_is_stopped(const char *name, char *text, size_t text_bytes)
{
    int ends[2], wait_status;
    size_t n = 0;
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        sim_set_order(SIM_ALL_ORDERS);
        sim_plant(name);
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], text + n, text_bytes - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(ends[0]);
    assert_true(waitpid(child, &wait_status, 0) == child);
    return WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGABRT && strncmp(text, "cudasim: ", 9) == 0;
}

/* race: what is said where every access is seen, NULL for the same; text NULL: it is seen only there. */
typedef struct Plant {
    const char *name, *text, *race;
} Plant;

static void check_plants(const Plant *plant, int n)
{
    char text[2000];

    for (int i = 0; i < n; i++) {
        const char *want = SEES_RACES && plant[i].race != NULL ? plant[i].race : plant[i].text;
        const bool stopped = plant_is_stopped(plant[i].name, text, sizeof text);

        if (want == NULL)
            continue;
        if (!stopped || strstr(text, want) == NULL)
            fail_msg("plant '%s': '%s' expected, found: %s", plant[i].name, want, text);
    }
}

static void test_races_are_found(void **state)
{
    static const Plant PLANTS[] = {
        {"missing barrier", "threads in descending order write", "with nothing to order them: shared array 'line'"},
        {"missing syncwarp", NULL, "race: reads"},
        {"blocks meet", "threads in descending order write", "what thread 0 of block (0,0,0) wrote"},
        {"last thread wins", "threads in descending order write", "race: writes"},
    };

    (void)state;
    check_plants(PLANTS, sizeof PLANTS / sizeof *PLANTS);
}

static void test_threads_that_do_not_meet_are_found(void **state)
{
    static const Plant PLANTS[] = {
        {"barrier without one", "for thread 5, which has ended", NULL},
        {"two barriers", "__syncthreads at tests/cudasim/plants.cu", NULL},
        {"half a warp", "while thread 31 waits at __syncthreads", NULL},
        {"two shuffles", "while lanes of its warp wait at __shfl_xor_sync", NULL},
        {"narrow mask", "with mask 0x0000ffff", NULL},
        {"half a block", "in a warp of 16 lanes", NULL},
    };

    (void)state;
    check_plants(PLANTS, sizeof PLANTS / sizeof *PLANTS);
}

static void test_wrong_places_are_found(void **state)
{
    static const Plant PLANTS[] = {
        {"shared overrun", "shared array 'line' of 128 bytes, at offset 128", NULL},
        {"shared underrun", "shared array 'line': written 1 bytes before its start", "shared array 'line' of 128 bytes, at offset -4"},
        {"dynamic overrun", "of 64 bytes, at offset 64", NULL},
        {"device overrun", "a block of 256 bytes of device memory, at offset 256", NULL},
        {"arrays and dynamic", "and 48912 dynamic, at most 49152 together", NULL},
        {"too many arrays", "49156 bytes of arrays in one kernel, at most 49152", NULL},
        {"host memory", NULL, "which is no memory of the device"},
        {"freed memory", "where the device has no memory", NULL},
        {"copy beyond", "260 bytes, but 256 are left of the block of 256", NULL},
        {"copy wrong way", "is device memory, host memory expected", NULL},
        {"free twice", "is no block of device memory", NULL},
    };

    (void)state;
    check_plants(PLANTS, sizeof PLANTS / sizeof *PLANTS);
}

static void test_misaligned_accesses_are_found(void **state)
{
    static const Plant PLANTS[] = {
        {"load16 odd", "no multiple of 16", NULL},
        {"load16 by chance", "load16 in shared array 'line', which is aligned to 4 bytes and only by chance to 16", NULL},
        {"copy odd", "cp_async: target at", NULL},
        {"copy from odd", "no multiple of 8", NULL},
        {"ldmatrix odd", "no multiple of 16", NULL},
        {"ldmatrix of device", "is not in an array of shared memory", NULL},
        {"copy never waited for", "1 asynchronous copies", NULL},
    };

    (void)state;
    check_plants(PLANTS, sizeof PLANTS / sizeof *PLANTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shuffles_follow_their_definition),
        cmocka_unit_test(test_ldmatrix_follows_its_definition),
        cmocka_unit_test(test_mma_multiplies),
        cmocka_unit_test(test_copies_land_at_their_wait),
        cmocka_unit_test(test_memory_starts_as_nan),
        cmocka_unit_test(test_launches_have_limits),
        cmocka_unit_test(test_streams_run_when_they_are_waited_for),
        cmocka_unit_test(test_graphs_run_what_they_recorded),
        cmocka_unit_test(test_races_are_found),
        cmocka_unit_test(test_threads_that_do_not_meet_are_found),
        cmocka_unit_test(test_wrong_places_are_found),
        cmocka_unit_test(test_misaligned_accesses_are_found),
    };
    return TEST_MAIN(tests);
}
