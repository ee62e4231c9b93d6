/* Private to tests/cudasim: what its files tell one another, and what the stand-ins for CUDA's libraries use.
 *
 * A launch is a closure in a stream's queue. When it runs, its blocks run one after another; the threads of a block are fibers on the
 * calling host thread, each until it waits for others. One launch runs at a time in a process. */
#ifndef CUDASIM_SIM_H
#define CUDASIM_SIM_H

#include <cuda_runtime.h>

enum { SIM_WARP = 32, SIM_MAX_THREADS = 1024, SIM_MAX_WARPS = SIM_MAX_THREADS / SIM_WARP };
/* The simulated card: an sm_90 with an odd number of small multiprocessors. */
enum { SIM_N_DEVICE = 4, SIM_N_SM = 3, SIM_SHARED_DEFAULT = 48 << 10, SIM_SHARED_OPTIN = 227 << 10 };
/* What fresh memory holds: NaN in every floating-point type, -1 as an integer. */
enum { SIM_POISON = 0xff };
/* Bytes without access on both sides of stacks, shared arrays and device memory: a multiple of every system's page size. */
enum { SIM_GUARD = 64 << 10 };

/* ---- streams (stream.cpp) ---- */

typedef void SimRun(const void *args);
/* Queues run(args) on the stream, or adds it to the graph that the stream records. args: plain data, copied. */
cudaError_t sim_enqueue(cudaStream_t stream, const char *what, SimRun *run, const void *args, size_t bytes);
/* Sets what cudaGetLastError gives, unless it is a success; returns it. */
cudaError_t sim_error(cudaError_t error);

/* ---- memory (memory.cpp) ---- */

/* Stops unless [p, p + bytes) lies in one live allocation of device memory. what: "cudaMemcpy: destination". */
void sim_check_device(const char *what, const void *p, size_t bytes);
bool sim_is_device(const void *p);
struct SimRange sim_device_range(void); /* what sim_is_device is true for */
bool sim_is_pinned(const void *p);

/* ---- launches (block.cpp) ---- */

typedef struct SimLaunch {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t smem;
    void (*body)(const void *closure);
    const void *closure;
    size_t closure_bytes;
    size_t shared_limit; /* static and dynamic together */
} SimLaunch;
enum { SIM_MAX_PARAMETERS = 4096 };

typedef struct SimRange {
    const char *begin;
    size_t bytes;
} SimRange;

typedef struct SimThread {
    struct Fiber *fiber; /* NULL: not started, or done */
    uint3 index;
    SimPlace place;    /* where it waits */
    const char *waits; /* for what; NULL: it does not */
    bool done;
} SimThread;

/* The launch that runs and the thread in it; NULL outside. */
extern const SimLaunch *sim_current;
extern SimThread *sim_thread;
/* The number of sim_thread in its block. */
int sim_thread_number(void);
/* Grows with every launch: what was placed for another launch is void. */
extern uint64_t sim_serial;

void sim_run(const SimLaunch *launch);

/* ---- shared memory (shared.cpp), asynchronous copies (async.cpp): the steps of a block's life ---- */

void sim_shared_begin_launch(void);
void sim_shared_begin_block(void);
void sim_shared_end_block(void);
/* The array whose slot p lies in, and p's offset in it, which may be outside; false if there is no such array. name: for messages. */
typedef struct SimArray {
    const char *name;
    ptrdiff_t offset;
    size_t bytes, align;
} SimArray;
bool sim_shared_nearest(const void *p, SimArray *array);
/* The same, false unless all of [p, p + bytes) is in the array. */
bool sim_shared_find(const void *p, size_t bytes, SimArray *array);
bool sim_in_shared(const void *p);
SimRange sim_shared_range(void);
void sim_copies_end_thread(void);

#endif
