/* The device side of the simulator's CUDA: keywords, built-in variables, barriers, warp primitives and the arithmetic that CUDA adds to C.
 *
 * Every primitive that threads meet at takes the place of its call as default arguments, so that an error can name it. */
#ifndef CUDASIM_DEVICE_H
#define CUDASIM_DEVICE_H

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

enum { warpSize = 32 };
/* Of the thread that runs now; set by the scheduler. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

struct SimPlace {
    const char *file;
    int line;
};
#define SIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

void sim_barrier(SimPlace place);
/* The calling lane waits until all 32 lanes of its warp are at this call; then `all` runs once with what each lane gave, and they go on. */
typedef void SimAll(void *const give[32]);
void sim_meet(const char *what, unsigned mask, void *give, SimAll *all, SimPlace place);
/* Beside meeting, orders the lanes' memory accesses. */
void sim_syncwarp(unsigned mask, SimPlace place);
[[noreturn]] void sim_stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void __syncthreads(SIM_HERE) { sim_barrier({file, line}); }
static inline void __syncwarp(unsigned mask = 0xffffffffu, SIM_HERE) { sim_syncwarp(mask, {file, line}); }

/* ---- shuffles: each lane gives a value and names a lane, and gets that lane's value ---- */

template <typename T> struct SimShuffle {
    T give, get;
    int from;
};
template <typename T> static void sim_shuffle_all(void *const give[32])
{
    for (int lane = 0; lane < 32; lane++) {
        SimShuffle<T> *s = (SimShuffle<T> *)give[lane];

        s->get = ((const SimShuffle<T> *)give[s->from])->give;
    }
}
template <typename T> static inline T sim_shuffle(const char *what, unsigned mask, T value, int from, int width, SimPlace place)
{
    SimShuffle<T> s = {value, value, from};

    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    if (width != 32)
        sim_stop("%s with width %d at %s:%d: only 32 is simulated", what, width, place.file, place.line);
    sim_meet(what, mask, &s, sim_shuffle_all<T>, place);
    return s.get;
}
static inline int sim_lane() { return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32); }

template <typename T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIM_HERE)
{
    return sim_shuffle("__shfl_sync", mask, value, lane & 31, width, {file, line});
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIM_HERE)
{
    return sim_shuffle("__shfl_xor_sync", mask, value, (sim_lane() ^ bits) & 31, width, {file, line});
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, SIM_HERE)
{
    const int lane = sim_lane(), from = lane + (int)by;

    return sim_shuffle("__shfl_down_sync", mask, value, from < 32 ? from : lane, width, {file, line});
}
template <typename T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, SIM_HERE)
{
    const int lane = sim_lane(), from = lane - (int)by;

    return sim_shuffle("__shfl_up_sync", mask, value, from >= 0 ? from : lane, width, {file, line});
}

unsigned sim_ballot(const char *what, unsigned mask, bool vote, SimPlace place);
static inline unsigned __ballot_sync(unsigned mask, int vote, SIM_HERE) { return sim_ballot("__ballot_sync", mask, vote != 0, {file, line}); }
static inline int __any_sync(unsigned mask, int vote, SIM_HERE) { return sim_ballot("__any_sync", mask, vote != 0, {file, line}) != 0; }
static inline int __all_sync(unsigned mask, int vote, SIM_HERE)
{
    return sim_ballot("__all_sync", mask, vote != 0, {file, line}) == 0xffffffffu;
}

/* ---- arithmetic ---- */

#define SIM_MIN_MAX(T)                                                                                                                     \
    static inline T min(T a, T b) { return b < a ? b : a; }                                                                                \
    static inline T max(T a, T b) { return a < b ? b : a; }
SIM_MIN_MAX(int)
SIM_MIN_MAX(unsigned)
SIM_MIN_MAX(long)
SIM_MIN_MAX(unsigned long)
SIM_MIN_MAX(long long)
SIM_MIN_MAX(unsigned long long)
#undef SIM_MIN_MAX
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
template <typename T> static inline T __ldg(const T *p) { return *p; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

template <typename To, typename From> static inline To sim_bits(From from)
{
    To to;

    static_assert(sizeof to == sizeof from, "the same bits");
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float f) { return sim_bits<unsigned>(f); }
static inline int __float_as_int(float f) { return sim_bits<int>(f); }
static inline float __uint_as_float(unsigned u) { return sim_bits<float>(u); }
static inline float __int_as_float(int i) { return sim_bits<float>(i); }

#endif
