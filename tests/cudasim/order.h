/* In which order the blocks of a launch and the threads of a block start, and go on after waiting. A kernel may not depend on it.
 * Ascending and descending run a warp as far as it gets before the next one; shuffled runs all warps side by side. */
#ifndef CUDASIM_ORDER_H
#define CUDASIM_ORDER_H

#include "tests/cudasim/cases.h"
#include "tests/cudasim/sim.h"

extern uint16_t sim_order_threads[SIM_MAX_THREADS]; /* of the block that runs */
extern uint8_t sim_order_lanes[SIM_WARP];
/* After a warp primitive, its lanes go on before the other threads. */
extern bool sim_order_warp_first;

/* What sim_set_order or the environment asks for. */
SimOrder sim_order_wanted(void);
const char *sim_order_name(SimOrder of);
/* of_grid: one of the three. */
void sim_order_begin_grid(SimOrder of_grid);
void sim_order_begin_block(int n_thread);
/* The i-th of n blocks to run. */
uint64_t sim_order_block(uint64_t i, uint64_t n);

#endif
