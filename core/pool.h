/* The one thread pool. Nobody else in Lethe makes threads for computing.
 *
 * pool_run hands out task indices 0..n-1 to the workers and the calling thread. What a task computes must depend on its
 * index only, never on which thread runs it or how many there are: that is what keeps results independent of --threads.
 * Workers spin for a few microseconds before they sleep, since a forward pass calls pool_run hundreds of times. */
#ifndef LETHE_CORE_POOL_H
#define LETHE_CORE_POOL_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Pool Pool;

/* thread: 0..n_thread-1, for scratch memory only. */
typedef Status (*PoolTask)(void *context, int64_t index, int thread);

/* n_thread counts the caller; 1 makes no thread at all. 0: as many as the process may run on (affinity, cgroup quota). */
Status pool_create(Pool **out, int n_thread);
void pool_free(Pool *pool);
int pool_threads(const Pool *pool);
/* Runs all tasks and returns when they are done. On failure the lowest failing index decides status and text; tasks not
 * yet started are skipped. Not re-entrant: a task must not call pool_run on the same pool. */
Status pool_run(Pool *pool, int64_t n_task, PoolTask task, void *context);
/* Processors this process may use. */
int pool_processors(void);

#endif
