#include "tests/check.h"

#include "core/mem.h"
#include "core/pool.h"

#include <stdatomic.h>
#include <time.h>

enum { N_TASK = 1000 };

typedef struct Job {
    _Atomic int ran[N_TASK];
    _Atomic int bad_thread;
    int n_thread;
    int64_t fail_from;
} Job;

static Status mark(void *context, int64_t index, int thread)
{
    Job *job = context;

    atomic_fetch_add(&job->ran[index], 1);
    if (thread < 0 || thread >= job->n_thread)
        atomic_store(&job->bad_thread, 1);
    return LT_OK;
}

static Status mark_and_fail(void *context, int64_t index, int thread)
{
    Job *job = context;
    const struct timespec pause = {0, index == job->fail_from ? 2000000 : 0};

    (void)mark(context, index, thread);
    if (index < job->fail_from)
        return LT_OK;
    nanosleep(&pause, NULL); /* lets a higher index fail first */
    return FAIL(index == job->fail_from ? LT_E_NUMERIC : LT_E_IO, "task %lld", (long long)index);
}

static void test_run_does_every_task_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n++) {
        static Job job;
        Pool *pool;

        CHECK_OK(pool_create(&pool, n));
        assert_int_equal(pool_threads(pool), n);
        job.n_thread = n;
        for (int round = 0; round < 50; round++) {
            for (int i = 0; i < N_TASK; i++)
                atomic_store(&job.ran[i], 0);
            CHECK_OK(pool_run(pool, N_TASK - round, mark, &job));
            for (int i = 0; i < N_TASK; i++)
                assert_int_equal(job.ran[i], i < N_TASK - round);
        }
        assert_int_equal(job.bad_thread, 0);
        pool_free(pool);
    }
}

static void test_run_of_nothing_is_fine(void **state)
{
    Pool *pool;

    (void)state;
    CHECK_OK(pool_create(&pool, 2));
    CHECK_OK(pool_run(pool, 0, mark, NULL));
    pool_free(pool);
}

static void test_workers_wake_from_sleep(void **state)
{
    static Job job;
    Pool *pool;
    const struct timespec pause = {0, 5000000};

    (void)state;
    CHECK_OK(pool_create(&pool, 3));
    job.n_thread = 3;
    for (int round = 1; round <= 5; round++) {
        nanosleep(&pause, NULL);
        CHECK_OK(pool_run(pool, N_TASK, mark, &job));
        assert_int_equal(job.ran[N_TASK - 1], round);
    }
    pool_free(pool);
}

static void test_lowest_failing_index_wins(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        static Job job;
        Pool *pool;

        CHECK_OK(pool_create(&pool, n));
        job.n_thread = n;
        job.fail_from = 17;
        CHECK_FAILS(pool_run(pool, N_TASK, mark_and_fail, &job), LT_E_NUMERIC, "task 17");
        CHECK_OK(pool_run(pool, N_TASK, mark, &job)); /* the pool is usable afterwards */
        pool_free(pool);
    }
}

static void test_create_survives_lack_of_memory(void **state)
{
    const int64_t before = mem_held();
    Pool *pool;

    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n);
        CHECK_FAILS(pool_create(&pool, 2), LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), before);
    }
    mem_fail_at(0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_does_every_task_once),  cmocka_unit_test(test_run_of_nothing_is_fine),
        cmocka_unit_test(test_workers_wake_from_sleep),   cmocka_unit_test(test_lowest_failing_index_wins),
        cmocka_unit_test(test_create_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
