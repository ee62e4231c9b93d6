/* Device memory as the checks see it. */
#ifndef CUDASIM_MEMORY_H
#define CUDASIM_MEMORY_H

#include "tests/cudasim/sim.h"

/* One allocation: what was asked for, and that rounded up to 256 bytes. */
typedef struct SimBlock {
    char *base;
    size_t bytes, room;
} SimBlock;

#endif
