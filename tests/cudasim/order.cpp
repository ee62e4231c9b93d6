#include "tests/cudasim/order.h"

#include <stdlib.h>

uint16_t sim_order_threads[SIM_MAX_THREADS];
uint8_t sim_order_lanes[SIM_WARP];
bool sim_order_warp_first;

static const char *const NAMES[] = {"ascending", "descending", "shuffled", "all"};
static SimOrder wanted, order; /* order: never SIM_ALL_ORDERS */
static bool is_set;
static int n_ordered; /* threads that the table is filled for; 0: it is not */
static uint64_t random_state;

void sim_set_order(SimOrder of_launches)
{
    wanted = of_launches;
    is_set = true;
}

SimOrder sim_order_wanted(void)
{
    const char *name = getenv("LETHE_SIM_ORDER");

    for (int i = 0; i <= SIM_ALL_ORDERS && !is_set; i++)
        if (strcmp(name == NULL ? NAMES[SIM_ASCENDING] : name, NAMES[i]) == 0)
            sim_set_order((SimOrder)i);
    if (!is_set)
        sim_stop("LETHE_SIM_ORDER: ascending, descending, shuffled or all expected, '%s' found", name);
    return wanted;
}

const char *sim_order_name(SimOrder of) { return NAMES[of]; }

void sim_order_begin_grid(SimOrder of_grid)
{
    order = of_grid;
    n_ordered = 0;
    random_state = 1; /* so that a failure can be had again */
}

/* SplitMix64. */
static unsigned random_below(unsigned n)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % n);
}

template <typename T> static void fill(T *at, int n)
{
    for (int i = 0; i < n; i++)
        at[i] = (T)(order == SIM_DESCENDING ? n - 1 - i : i);
    if (order != SIM_SHUFFLED)
        return;
    for (int i = n - 1; i > 0; i--) {
        const unsigned j = random_below((unsigned)i + 1);
        const T kept = at[i];

        at[i] = at[j];
        at[j] = kept;
    }
}

void sim_order_begin_block(int n_thread)
{
    if (order != SIM_SHUFFLED && n_ordered == n_thread)
        return;
    n_ordered = n_thread;
    sim_order_warp_first = order != SIM_SHUFFLED;
    fill(sim_order_threads, n_thread);
    fill(sim_order_lanes, SIM_WARP);
}

uint64_t sim_order_block(uint64_t i, uint64_t n)
{
    static const uint64_t PRIME = 2654435761u; /* shares no factor with a number of blocks, which is smaller */

    if (order == SIM_DESCENDING)
        return n - 1 - i;
    return order == SIM_SHUFFLED ? (i * PRIME + n / 2) % n : i;
}
