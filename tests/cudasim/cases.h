/* What the tests see of the simulator, in plain C. */
#ifndef CUDASIM_CASES_H
#define CUDASIM_CASES_H

#ifdef __cplusplus
extern "C" {
#endif

/* The order of threads and blocks from now on; before the first call, what LETHE_SIM_ORDER names (ascending, descending, shuffled). */
typedef enum SimOrder { SIM_ASCENDING, SIM_DESCENDING, SIM_SHUFFLED } SimOrder;
void sim_set_order(SimOrder order);

/* Six rows of 32 lanes: xor 5, down 3, up 3, lane 7's, ballot of every third, 2 x any(lane 31) + all(lanes 0-30). */
void sim_case_shuffles(int out[192]);

#ifdef __cplusplus
}
#endif

#endif
