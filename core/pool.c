#include "core/pool.h"

#include "core/mem.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* How long a waiting thread polls before it sleeps. A forward pass issues jobs a few microseconds apart; waking a sleeper costs about fifty. */
enum { SPINS = 2000 };

typedef struct Worker {
    Pool *pool;
    pthread_t thread;
    int number;
} Worker;

struct Pool {
    Worker *worker; /* [n_thread - 1] */
    int n_thread, n_started;

    pthread_mutex_t lock;
    pthread_cond_t job_cond, done_cond;
    _Atomic uint64_t job_number; /* raised once a job; workers wait for it to change */
    _Atomic int n_busy;          /* workers that have not finished the current job */
    _Atomic int n_sleeping;
    _Atomic bool quit;

    /* the current job */
    PoolTask task;
    void *context;
    int64_t n_task;
    _Atomic int64_t next;

    /* its first failure, by index; under lock */
    _Atomic bool failed;
    int64_t failed_index;
    Status failed_status;
    char failed_place[128], failed_text[4096];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Keeps the failure of the lowest index: indices are handed out in ascending order, so every lower one has been started and will report. */
static void note_failure(Pool *pool, int64_t index, Status st)
{
    pthread_mutex_lock(&pool->lock);
    if (!atomic_load(&pool->failed) || index < pool->failed_index) {
        pool->failed_index = index;
        pool->failed_status = st;
        snprintf(pool->failed_place, sizeof pool->failed_place, "%s", status_place());
        snprintf(pool->failed_text, sizeof pool->failed_text, "%s", status_text());
        atomic_store(&pool->failed, true);
    }
    pthread_mutex_unlock(&pool->lock);
    status_clear();
}

static void run_tasks(Pool *pool, int thread)
{
    while (!atomic_load_explicit(&pool->failed, memory_order_relaxed)) {
        const int64_t index = atomic_fetch_add(&pool->next, 1);
        Status st;

        if (index >= pool->n_task)
            return;
        st = pool->task(pool->context, index, thread);
        if (st != LT_OK)
            note_failure(pool, index, st);
    }
}

/* Waits for a job after number `seen`. */
static void wait_for_job(Pool *pool, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->job_number) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while (atomic_load(&pool->job_number) == seen)
        pthread_cond_wait(&pool->job_cond, &pool->lock);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument)
{
    const Worker *self = argument;
    Pool *pool = self->pool;

    for (uint64_t seen = 0;;) {
        wait_for_job(pool, seen);
        seen++;
        if (atomic_load(&pool->quit))
            return NULL;
        run_tasks(pool, self->number);
        if (atomic_fetch_sub(&pool->n_busy, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done_cond);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void announce_job(Pool *pool)
{
    atomic_store(&pool->n_busy, pool->n_started);
    atomic_fetch_add(&pool->job_number, 1);
    /* A worker going to sleep raises n_sleeping and then looks at job_number again, both in one total order with the line above: either it
     * sees the job or we see it. */
    if (atomic_load(&pool->n_sleeping) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->job_cond);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void wait_until_done(Pool *pool)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->n_busy) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->n_busy) > 0)
        pthread_cond_wait(&pool->done_cond, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

Status pool_run(Pool *pool, int64_t n_task, PoolTask task, void *context)
{
    if (n_task <= 1 || pool->n_started == 0) {
        for (int64_t i = 0; i < n_task; i++)
            TRY(task(context, i, 0));
        return LT_OK;
    }
    pool->task = task;
    pool->context = context;
    pool->n_task = n_task;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->failed, false);
    announce_job(pool);
    run_tasks(pool, 0);
    wait_until_done(pool);
    if (atomic_load(&pool->failed))
        return status_carry(pool->failed_status, pool->failed_place, pool->failed_text);
    return LT_OK;
}

/* Processors allowed by a cgroup v2 quota, rounded up; INT_MAX if there is none. A container with two processors' worth of time on a
 * machine with 64 would otherwise be throttled. */
static int quota_processors(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    long long quota = 0, period = 0;
    const int n = file == NULL ? 0 : fscanf(file, "%lld %lld", &quota, &period);

    if (file != NULL)
        fclose(file);
    if (n != 2 || quota <= 0 || period <= 0)
        return INT_MAX;
    return (int)((quota + period - 1) / period);
}

int pool_processors(void)
{
    cpu_set_t set;
    int n = 1;
    const int quota = quota_processors();

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    return n < quota ? n : quota;
}

Status pool_create(Pool **out, int n_thread)
{
    Pool *pool;

    TRY(MEM_NEW(pool, 1));
    pool->n_thread = n_thread > 0 ? n_thread : pool_processors();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->job_cond, NULL);
    pthread_cond_init(&pool->done_cond, NULL);
    pool->worker = mem_take((size_t)pool->n_thread, sizeof *pool->worker);
    if (pool->worker == NULL) {
        pool_free(pool);
        return LT_E_NOMEM;
    }
    for (int i = 0; i < pool->n_thread - 1; i++) {
        Worker *w = &pool->worker[i];
        int error;

        *w = (Worker){.pool = pool, .number = i + 1};
        error = pthread_create(&w->thread, NULL, worker_main, w);
        if (error != 0) {
            pool_free(pool);
            return FAIL(LT_E_FAIL, "cannot start thread %d of %d: %s", i + 2, n_thread, strerror(error));
        }
        pool->n_started++;
    }
    *out = pool;
    return LT_OK;
}

void pool_free(Pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->quit, true);
    announce_job(pool);
    for (int i = 0; i < pool->n_started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->done_cond);
    pthread_cond_destroy(&pool->job_cond);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool->worker);
    mem_free(pool);
}

int pool_threads(const Pool *pool) { return pool->n_thread; }
