/* The pages of device memory that a launch writes: kept as they were, so that the launch can be run again from the same memory.
 * Written pages are found by protection: the first write to each faults. */
#ifndef CUDASIM_PAGES_H
#define CUDASIM_PAGES_H

#include "tests/cudasim/sim.h"

void sim_pages_begin(void);
/* A fault at p: true if it was a first write, which may go on now. */
bool sim_pages_fault(void *p);
/* Keeps what the run wrote as the result to expect, and brings back the memory from before it. */
void sim_pages_expect(void);
/* Stops unless the memory is what was expected. order: for the message. Then brings back the memory from before, unless it was the last run. */
void sim_pages_compare(const char *order, bool last);
void sim_pages_end(void);

#endif
