/* Device memory as the checks see it. */
#ifndef CUDASIM_MEMORY_H
#define CUDASIM_MEMORY_H

#include "tests/cudasim/sim.h"

/* One allocation: what was asked for, and that rounded up to 256 bytes. */
typedef struct SimBlock {
    char *base;
    size_t bytes, room;
} SimBlock;
/* The block that p lies in, or before which or behind which it lies; false if there is none near. */
bool sim_block_nearest(const void *p, SimBlock *block);

#endif
