/* Races, in the variant whose kernels report every access (-fsanitize=thread with the functions of race.cpp instead of its own library).
 *
 * Two accesses to one place, one of them a write, are a race if nothing orders them: they come from different blocks of a launch; or from
 * different threads of a block with no __syncthreads between them, nor a __syncwarp where both are lanes of one warp. Shuffles and votes
 * order nothing, as on a card. Places are 2 bytes, the smallest element: two bytes of one place count as one.
 * Beside that, every access has to be inside an array of the device. */
#ifndef CUDASIM_RACE_H
#define CUDASIM_RACE_H

#include "tests/cudasim/sim.h"

#ifdef CUDASIM_RACE
void sim_race_begin_grid(void);
void sim_race_end_grid(void);
void sim_race_begin_block(void);
void sim_race_barrier(void);
void sim_race_syncwarp(void);
/* An access by the current thread that the simulator makes for it. */
void sim_race_access(const void *p, size_t bytes, bool write);
/* Memory that is no longer there. */
void sim_race_forget(const void *p, size_t bytes);
#else
static inline void sim_race_begin_grid(void) {}
static inline void sim_race_end_grid(void) {}
static inline void sim_race_begin_block(void) {}
static inline void sim_race_barrier(void) {}
static inline void sim_race_syncwarp(void) {}
static inline void sim_race_access(const void *, size_t, bool) {}
static inline void sim_race_forget(const void *, size_t) {}
#endif

#endif
