/* What the tests see of the simulator, in plain C. */
#ifndef CUDASIM_CASES_H
#define CUDASIM_CASES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The order of threads and blocks from now on; before the first call, what LETHE_SIM_ORDER names (ascending, descending, shuffled, all).
 * All: every launch runs in each of the three from the same memory, and has to write the same bits. */
typedef enum SimOrder { SIM_ASCENDING, SIM_DESCENDING, SIM_SHUFFLED, SIM_ALL_ORDERS } SimOrder;
void sim_set_order(SimOrder order);

/* Six rows of 32 lanes: xor 5, down 3, up 3, lane 7's, ballot of every third, 2 x any(lane 31) + all(lanes 0-30). */
void sim_case_shuffles(int out[192]);
/* What each lane gets of the 8x8 matrices in the tile, 32 lanes a register: x4 (4 registers), x4_trans (4), x2 (2), x2_trans (2). */
void sim_case_ldmatrix(uint32_t out[12 * 32], const uint16_t tile[32 * 8]);
/* d[16,8] += a[16,16] b[16,8] in one step; half: F16 in place of BF16. */
void sim_case_mma(float d[16 * 8], const float a[16 * 16], const float b[16 * 8], int half);
/* in[0]: before the wait, after it. in[4], in a later group: after the wait that leaves one group, after the next. What is not to be
 * copied: before its group is closed, after the wait for it. */
void sim_case_copy_async(float out[6], const float in[12]);
/* Static and dynamic shared memory of two blocks that write there, and device memory: as they start. */
void sim_case_fresh(uint32_t out[5]);
/* CUDA's errors for: 48 KiB of shared memory, a byte more than 48 KiB of dynamic, allowing 227 KiB and a byte, allowing 226 KiB, then asking for it,
 * 1025 threads, 65536 rows of blocks, no block. */
void sim_case_limits(int out[8]);
/* A value that comes from the device: before the wait, cudaStreamQuery there, after it. */
void sim_case_stream(int out[3]);
/* A graph that adds 1 twice: the sum after recording it, after two launches; update to adding 10 twice: its error; to adding once: its
 * error; the sum after one more launch; the error of a recording that somebody waited in. */
void sim_case_graph(int out[6]);

/* Runs what has the mistake of this name planted (plants.cu). Comes back if the simulator did not notice. */
void sim_plant(const char *name);

#ifdef __cplusplus
}
#endif

#endif
