/* Who am I among the processes of one job: from Open MPI's, Slurm's, PMI's or torchrun's environment, first
 * match wins; else 0 of 1. Reads the environment only: no MPI library, no MPI_Init. */
#ifndef LETHE_CORE_LAUNCH_H
#define LETHE_CORE_LAUNCH_H

#include "core/status.h"

typedef struct Launch {
    int rank, world, local_rank;
    const char *source; /* "alone", "openmpi", "slurm", "pmi", "torchrun" */
} Launch;

/* LT_E_USAGE if the variables contradict one another (rank >= world, half-parsed numbers). */
Status launch_from_environment(Launch *out);

#endif
