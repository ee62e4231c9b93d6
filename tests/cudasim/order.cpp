#include "tests/cudasim/order.h"

#include <stdlib.h>

uint16_t sim_order_threads[SIM_MAX_THREADS];
uint8_t sim_order_lanes[SIM_WARP];
bool sim_order_warp_first;

static SimOrder order;
static bool order_is_set;
static int n_ordered; /* threads that the table is filled for; 0: it is not */
static uint64_t random_state;

void sim_set_order(SimOrder wanted)
{
    order = wanted;
    order_is_set = true;
    n_ordered = 0;
    random_state = 1;
}

static void order_from_environment(void)
{
    const char *name = getenv("LETHE_SIM_ORDER");

    if (name == NULL || strcmp(name, "ascending") == 0)
        sim_set_order(SIM_ASCENDING);
    else if (strcmp(name, "descending") == 0)
        sim_set_order(SIM_DESCENDING);
    else if (strcmp(name, "shuffled") == 0)
        sim_set_order(SIM_SHUFFLED);
    else
        sim_stop("LETHE_SIM_ORDER: ascending, descending or shuffled expected, '%s' found", name);
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

void sim_order_begin_launch(void)
{
    if (!order_is_set)
        order_from_environment();
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
