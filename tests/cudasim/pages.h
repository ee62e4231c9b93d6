/* The pages of device memory that a launch writes: kept as they were, so that the launch can be run again from the same memory.
 *
 * Written pages are found by protection. Once a launch has asked for it, device memory can only be read; the first write to a page faults,
 * and opens the page until the next such launch. So a launch costs what it writes, and not what the device holds. */
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

/* New memory, which is open, and memory that is gone: whole pages. */
void sim_pages_add(char *begin, size_t bytes);
void sim_pages_forget(char *begin, size_t bytes);

#endif
