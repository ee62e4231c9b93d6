/* What kernels/cuda/port.h wraps in assembly and keywords, on the CPU and checked. Included by port.h only. */
#ifndef CUDASIM_PORT_H
#define CUDASIM_PORT_H

extern "C" {
#include "core/half.h"
}

/* One array in shared memory, static in the function that declares it; base holds for launch `serial`. */
struct SimShared {
    const char *name;
    size_t bytes, align;
    uint64_t serial;
    void *base;
};
extern uint64_t sim_serial; /* of the launch that runs */
void *sim_shared_place(SimShared *array);
static inline void *sim_shared(SimShared *array) { return array->serial == sim_serial ? array->base : sim_shared_place(array); }
void *sim_shared_dynamic(void);

#define SHARED(T, name, n)                                                                                                                 \
    static SimShared name##_array_ = {#name, sizeof(T) * (n), alignof(T), 0, NULL};                                                        \
    T *const name = (T *)sim_shared(&name##_array_)
#define SHARED_DYN(T, name) T *const name = (T *)sim_shared_dynamic()

/* ---- launches: the arguments are converted to the kernel's parameters and kept in a closure until the stream gets there ---- */

typedef void SimBody(const void *closure);
void sim_launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, SimBody *body,
                const void *closure, size_t closure_bytes);

template <typename T> struct SimSame {
    typedef T type;
};
template <typename... P>
static inline void sim_launch_kernel(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
                                     typename SimSame<P>::type... args)
{
    auto call = [=] { kernel(args...); };
    typedef decltype(call) Call;

    static_assert(__is_trivially_copyable(Call), "a kernel's parameters are plain data");
    sim_launch(name, (const void *)kernel, grid, block, smem, stream, [](const void *closure) { (*(const Call *)closure)(); }, &call, sizeof call);
}
#define LAUNCH(kernel, grid, block, smem, stream, ...) sim_launch_kernel(#kernel, kernel, (grid), (block), (smem), (stream), __VA_ARGS__)

/* ---- 16-byte accesses ---- */

/* Stops unless p may be read or written `bytes` at a time: a multiple of `bytes`, and in shared memory an array declared so. */
[[noreturn]] void sim_stop_misaligned(const char *what, const void *p, size_t bytes);
size_t sim_alignment(const void *p); /* that p's array was declared with; no less than 16 outside shared memory */
static inline void sim_check_aligned(const char *what, const void *p, size_t bytes)
{
    if ((uintptr_t)p % bytes != 0 || sim_alignment(p) < bytes)
        sim_stop_misaligned(what, p, bytes);
}

static inline Pack16 load16(const void *from)
{
    Pack16 p;

    sim_check_aligned("load16", from, 16);
    memcpy(&p, __builtin_assume_aligned(from, 16), sizeof p);
    return p;
}
static inline void store16(void *to, Pack16 p)
{
    sim_check_aligned("store16", to, 16);
    memcpy(__builtin_assume_aligned(to, 16), &p, sizeof p);
}

/* ---- asynchronous copies ---- */

void sim_copy_async(void *to, const void *from, size_t bytes, bool valid);
void sim_copy_commit(void);
void sim_copy_wait(int n_left);
static inline void cp_async_16(void *to, const void *from, bool valid) { sim_copy_async(to, from, 16, valid); }
static inline void cp_async_8(void *to, const void *from, bool valid) { sim_copy_async(to, from, 8, valid); }
static inline void cp_async_4(void *to, const void *from, bool valid) { sim_copy_async(to, from, 4, valid); }
static inline void cp_async_commit() { sim_copy_commit(); }
template <int N> static inline void cp_async_wait() { sim_copy_wait(N); }

/* ---- tensor cores ---- */

void sim_ldmatrix(uint32_t *r, const void *row, int n_matrix, bool transposed, SimPlace place);
static inline void ldmatrix_x4(uint32_t r[4], const void *row, SIM_HERE) { sim_ldmatrix(r, row, 4, false, {file, line}); }
static inline void ldmatrix_x4_trans(uint32_t r[4], const void *row, SIM_HERE) { sim_ldmatrix(r, row, 4, true, {file, line}); }
static inline void ldmatrix_x2(uint32_t r[2], const void *row, SIM_HERE) { sim_ldmatrix(r, row, 2, false, {file, line}); }
static inline void ldmatrix_x2_trans(uint32_t r[2], const void *row, SIM_HERE) { sim_ldmatrix(r, row, 2, true, {file, line}); }

enum SimFormat { SIM_BF16, SIM_F16 };
void sim_mma(float *d, const uint32_t *a, const uint32_t *b, SimFormat format, SimPlace place);
static inline void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], Bf16, SIM_HERE) { sim_mma(d, a, b, SIM_BF16, {file, line}); }
static inline void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], Half, SIM_HERE) { sim_mma(d, a, b, SIM_F16, {file, line}); }

static inline float to_f32(Half h) { return f16_to_f32(h.bits); }
static inline void from_f32(Half *h, float f) { h->bits = f32_to_f16(f); }

#endif
