/* cp.async: a copy is noted where it is asked for, its target poisoned, and done at the wait for its group: the latest that a card may. */
#include "tests/cudasim/race.h"

#include "kernels/cuda/port.h"

#include <stdlib.h>

typedef struct Copy {
    char *to;
    const char *from; /* NULL: zeros */
    size_t bytes;
    int group;
} Copy;

/* What one thread has under way. */
typedef struct Copies {
    Copy *copy;
    int n, cap;
    int group; /* the open one; counts up */
} Copies;

static Copies of_thread[SIM_MAX_THREADS];

static Copies *mine(void) { return &of_thread[sim_thread_number()]; }

void sim_copy_async(void *to, const void *from, size_t bytes, bool valid)
{
    Copies *c = mine();
    SimArray array;

    sim_check_aligned("cp_async: target", to, bytes);
    if (!sim_shared_find(to, bytes, &array))
        sim_stop("cp_async: target %p is not in an array of shared memory", to);
    if (valid) {
        sim_check_aligned("cp_async: source", from, bytes);
        sim_check_device("cp_async: source", from, bytes);
        sim_race_access(from, bytes, false);
    }
    if (c->n == c->cap) {
        c->cap = c->cap == 0 ? 64 : 2 * c->cap;
        c->copy = (Copy *)realloc(c->copy, (size_t)c->cap * sizeof *c->copy);
        if (c->copy == NULL)
            sim_stop("no memory for %d asynchronous copies", c->cap);
    }
    sim_race_access(to, bytes, true);
    memset(to, SIM_POISON, bytes);
    c->copy[c->n++] = {(char *)to, valid ? (const char *)from : NULL, bytes, c->group};
}

void sim_copy_commit(void) { mine()->group++; }

static void land(const Copy *copy)
{
    sim_race_access(copy->to, copy->bytes, true);
    if (copy->from != NULL)
        memcpy(copy->to, copy->from, copy->bytes);
    else
        memset(copy->to, 0, copy->bytes);
}

void sim_copy_wait(int n_left)
{
    Copies *c = mine();
    int kept = 0;

    for (int i = 0; i < c->n; i++) {
        const Copy *copy = &c->copy[i];

        if (copy->group >= c->group - n_left)
            c->copy[kept++] = *copy;
        else
            land(copy);
    }
    c->n = kept;
}

void sim_copies_end_thread(void)
{
    Copies *c = mine();

    if (c->n > 0)
        sim_stop("the thread ends with %d asynchronous copies that it has not waited for", c->n);
    c->group = 0;
}
