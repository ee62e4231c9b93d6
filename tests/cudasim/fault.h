/* Faults of the processor while the device works. */
#ifndef CUDASIM_FAULT_H
#define CUDASIM_FAULT_H

#include "tests/cudasim/sim.h"

/* Around everything that touches device memory: the handlers are the simulator's meanwhile, and the host's again afterwards. */
void sim_faults_begin(void);
void sim_faults_end(void);
/* Where an address is, seen from the array next to it. */
void sim_describe(const void *p, char *text, size_t text_bytes);

#endif
