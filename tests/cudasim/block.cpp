/* The scheduler: blocks one after another, the threads of a block as fibers.
 *
 * A fiber takes the next ready thread and runs it. A thread that ends leaves its fiber to the next one, so a kernel without barriers needs
 * one fiber and no switch. A thread that has to wait keeps its fiber and switches to the next ready thread, or, where that has not begun,
 * to an idle fiber. When nobody is ready and not everybody is done, the threads wait for what cannot come: that is reported. */
#include "tests/cudasim/fiber.h"
#include "tests/cudasim/order.h"
#include "tests/cudasim/pages.h"
#include "tests/cudasim/race.h"

#include <pthread.h>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
const SimLaunch *sim_current;
SimThread *sim_thread;
uint64_t sim_serial;

typedef struct Warp {
    void *give[SIM_WARP];
    int n_met;
    SimPlace place; /* of the first lane there */
    const char *what;
} Warp;

static const char BARRIER[] = "__syncthreads";
enum { QUEUE = 2 * SIM_MAX_THREADS };

static SimThread threads[SIM_MAX_THREADS];
static Warp warps[SIM_MAX_WARPS];
static int n_thread, n_done, n_at_barrier;
static SimThread *barrier_first; /* the first thread at the barrier */

static SimThread *queue[QUEUE]; /* a ring: threads that are ready, each at most once */
static unsigned queue_head, queue_tail;
static Fiber host, *idle;
alignas(16) static char parameters[SIM_MAX_PARAMETERS]; /* of the launch */

static void push_back(SimThread *thread) { queue[queue_tail++ % QUEUE] = thread; }
static void push_front(SimThread *thread) { queue[--queue_head % QUEUE] = thread; }
static SimThread *front(void) { return queue_head == queue_tail ? NULL : queue[queue_head % QUEUE]; }

static int number_of(const SimThread *thread) { return (int)(thread - threads); }

int sim_thread_number(void) { return number_of(sim_thread); }

static bool same_place(SimPlace a, SimPlace b) { return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0); }

/* Nobody is ready, somebody is not done. */
[[noreturn]] static void stop_stuck(void)
{
    const SimThread *waiting = NULL, *other = NULL;

    for (int i = 0; i < n_thread; i++)
        if (threads[i].waits != NULL && (waiting == NULL || waiting->waits == BARRIER))
            waiting = &threads[i];
    for (int i = 0; i < n_thread; i++)
        if (threads[i].done || (threads[i].waits != NULL && threads[i].waits != waiting->waits))
            other = &threads[i];
    sim_thread = NULL;
    if (other == NULL)
        sim_stop("thread %d waits at %s (%s:%d) for lanes that the warp does not have", number_of(waiting), waiting->waits,
                 waiting->place.file, waiting->place.line);
    if (other->done)
        sim_stop("thread %d waits at %s (%s:%d) for thread %d, which has ended", number_of(waiting), waiting->waits, waiting->place.file,
                 waiting->place.line, number_of(other));
    sim_stop("thread %d waits at %s (%s:%d) while thread %d waits at %s (%s:%d)", number_of(waiting), waiting->waits, waiting->place.file,
             waiting->place.line, number_of(other), other->waits, other->place.file, other->place.line);
}

/* The one that runs becomes `thread`. */
static void enter(SimThread *thread)
{
    sim_thread = thread;
    threadIdx = thread->index;
    thread->waits = NULL;
}

static void run_thread(SimThread *thread, Fiber *fiber)
{
    thread->fiber = fiber;
    enter(thread);
    sim_current->body(parameters);
    sim_copies_end_thread();
    thread->fiber = NULL;
    thread->done = true;
    n_done++;
}

/* What every fiber does, for ever. */
static void fiber_body(void)
{
    Fiber *const self = idle; /* whoever switches to an idle fiber leaves it at the head of the list */

    idle = self->next;
    for (;;) {
        SimThread *thread = front();

        if (thread != NULL && thread->fiber == NULL) {
            queue_head++;
            run_thread(thread, self);
            continue;
        }
        if (thread == NULL && n_done < n_thread)
            stop_stuck();
        self->next = idle;
        idle = self;
        if (thread == NULL) {
            fiber_switch(self, &host);
        } else {
            queue_head++;
            fiber_switch(self, thread->fiber);
        }
        idle = self->next;
    }
}

/* An idle fiber, to be switched to at once. */
static Fiber *idle_fiber(void)
{
    if (idle == NULL) {
        idle = fiber_create(fiber_body);
        idle->next = NULL;
    }
    return idle;
}

/* The calling thread, which is in the queue or will be put there by another, gives way until its turn comes. */
static void give_way(SimThread *self)
{
    SimThread *next = front();

    if (next == NULL)
        stop_stuck();
    if (next->fiber != NULL)
        queue_head++;
    if (next != self)
        fiber_switch(self->fiber, next->fiber != NULL ? next->fiber : idle_fiber());
    enter(self);
}

void sim_barrier(SimPlace place)
{
    SimThread *self = sim_thread;

    self->waits = BARRIER;
    self->place = place;
    if (n_at_barrier++ == 0)
        barrier_first = self;
    else if (!same_place(barrier_first->place, place))
        sim_stop("%s at %s:%d while thread %d waits at that of %s:%d", BARRIER, place.file, place.line, number_of(barrier_first),
                 barrier_first->place.file, barrier_first->place.line);
    if (n_at_barrier == n_thread) {
        n_at_barrier = 0;
        sim_race_barrier();
        for (int i = 0; i < n_thread; i++)
            push_back(&threads[sim_order_threads[i]]);
    }
    give_way(self);
}

/* All lanes are there: first what they came for, then they are ready, before everyone else or after (sim_order_warp_first). */
static void release_warp(Warp *warp, int first_thread, SimAll *all)
{
    warp->n_met = 0;
    all(warp->give);
    for (int i = 0; i < SIM_WARP; i++)
        if (sim_order_warp_first)
            push_front(&threads[first_thread + sim_order_lanes[SIM_WARP - 1 - i]]);
        else
            push_back(&threads[first_thread + sim_order_lanes[i]]);
}

void sim_meet(const char *what, unsigned mask, void *give, SimAll *all, SimPlace place)
{
    SimThread *self = sim_thread;
    const int number = number_of(self), lane = number % SIM_WARP;
    Warp *warp = &warps[number / SIM_WARP];

    if (mask != 0xffffffffu)
        sim_stop("%s at %s:%d with mask 0x%08x: all 32 lanes are wanted", what, place.file, place.line, mask);
    if (number - lane + SIM_WARP > n_thread)
        sim_stop("%s at %s:%d in a warp of %d lanes", what, place.file, place.line, n_thread - (number - lane));
    if (warp->n_met == 0) {
        warp->place = place;
        warp->what = what;
    } else if (warp->what != what || !same_place(warp->place, place)) {
        sim_stop("%s at %s:%d while lanes of its warp wait at %s (%s:%d)", what, place.file, place.line, warp->what, warp->place.file,
                 warp->place.line);
    }
    self->waits = what;
    self->place = place;
    warp->give[lane] = give;
    if (++warp->n_met == SIM_WARP)
        release_warp(warp, number - lane, all);
    give_way(self);
}

static void run_block(void)
{
    sim_shared_begin_block();
    sim_order_begin_block(n_thread);
    sim_race_begin_block();
    n_done = n_at_barrier = 0;
    queue_head = queue_tail = QUEUE;
    for (int i = 0; i < n_thread; i++) {
        SimThread *thread = &threads[sim_order_threads[i]];

        thread->done = false;
        push_back(thread);
    }
    for (int i = 0; i * SIM_WARP < n_thread; i++)
        warps[i].n_met = 0;
    fiber_switch(&host, idle_fiber());
    sim_thread = NULL;
    sim_shared_end_block();
}

static void run_grid(SimOrder order)
{
    const dim3 grid = sim_current->grid;
    const uint64_t n_block = (uint64_t)grid.x * grid.y * grid.z;

    sim_order_begin_grid(order);
    sim_race_begin_grid();
    for (uint64_t i = 0; i < n_block; i++) {
        const uint64_t at = sim_order_block(i, n_block);

        blockIdx.x = (unsigned)(at % grid.x);
        blockIdx.y = (unsigned)(at / grid.x % grid.y);
        blockIdx.z = (unsigned)(at / grid.x / grid.y);
        run_block();
    }
    sim_race_end_grid();
}

static void run_in_all_orders(void)
{
    sim_pages_begin();
    run_grid(SIM_ASCENDING);
    sim_pages_expect();
    run_grid(SIM_DESCENDING);
    sim_pages_compare(sim_order_name(SIM_DESCENDING), false);
    run_grid(SIM_SHUFFLED);
    sim_pages_compare(sim_order_name(SIM_SHUFFLED), true);
    sim_pages_end();
}

/* The threads of every block of a launch. */
static void number_threads(dim3 block)
{
    n_thread = (int)(block.x * block.y * block.z);
    for (int i = 0; i < n_thread; i++) {
        threads[i].index.x = (unsigned)i % block.x;
        threads[i].index.y = (unsigned)i / block.x % block.y;
        threads[i].index.z = (unsigned)i / block.x / block.y;
    }
}

void sim_run(const SimLaunch *launch)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&one_at_a_time);
    sim_serial++;
    sim_current = launch;
    blockDim = launch->block;
    gridDim = launch->grid;
    memcpy(parameters, launch->closure, launch->closure_bytes);
    number_threads(launch->block);
    sim_shared_begin_launch();
    if (sim_order_wanted() == SIM_ALL_ORDERS)
        run_in_all_orders();
    else
        run_grid(sim_order_wanted());
    sim_current = NULL;
    pthread_mutex_unlock(&one_at_a_time);
}
