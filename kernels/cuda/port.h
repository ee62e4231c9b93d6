/* The port header: the only way into CUDA for the files of kernels/cuda, and the only place with inline assembly.
 *
 * Built with nvcc it is CUDA. Built with g++ and -Itests/cudasim/include the same sources run on the CPU: <cuda_runtime.h> is then the
 * simulator's, which brings CUDA's own names (__global__, threadIdx, __syncthreads, __shfl_xor_sync, cudaMalloc, ...) and the primitives
 * below. Kernels are C-style CUDA; templates only over element types and tile sizes.
 *
 * Rules, so that the simulator sees what a card would do and a result stays a function of its own inputs:
 * - every warp primitive names all 32 lanes (FULL_WARP), and every lane of the warp reaches it;
 * - blocks do not talk to one another inside a kernel: a second kernel reduces. No atomics on floating point;
 * - shared memory comes from SHARED and SHARED_DYN, kernels start with LAUNCH and nothing else;
 * - no fast-math; nvcc runs with -fmad=false: where a fused multiply-add is meant, it says fmaf;
 * - 16-byte accesses only through load16 / store16 / cp_async_16, at addresses that are multiples of 16. */
#ifndef LETHE_KERNELS_CUDA_PORT_H
#define LETHE_KERNELS_CUDA_PORT_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#define FULL_WARP 0xffffffffu
enum { WARP = 32 };

/* Element types. Storage only: arithmetic is F32. */
struct Bf16 {
    uint16_t bits;
};
struct Half {
    uint16_t bits;
};
struct alignas(16) Pack16 {
    uint32_t word[4];
};

/* Before a loop of constant length over an array that has to stay in registers. */
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#else
#define UNROLL
#define ROLLED
#endif

#ifdef __CUDACC__

/* T name[n] in shared memory: a pointer to n elements for the whole block, whatever they held before. n is a constant. No sizeof(name). */
#define SHARED(T, name, n)                                                                                                                 \
    __shared__ T name##_block_[n];                                                                                                         \
    T *const name = name##_block_
/* The launch's dynamic shared memory, 16-byte aligned. */
#define SHARED_DYN(T, name)                                                                                                                \
    extern __shared__ Pack16 port_dynamic_[];                                                                                              \
    T *const name = (T *)port_dynamic_

/* kernel: its name, in parentheses where template arguments hold a comma. smem: bytes of dynamic shared memory; more than 48 KiB need
 * cuda_allow_shared (cuda.h) first. Check with cuda_launched (cuda.h). */
#define LAUNCH(kernel, grid, block, smem, stream, ...) kernel<<<(grid), (block), (smem), (stream)>>>(__VA_ARGS__)

__device__ __forceinline__ float to_f32(Half h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
    return f;
}

__device__ __forceinline__ void from_f32(Half *h, float f) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h->bits) : "f"(f)); }

/* 16 bytes from global to shared memory that land at the wait for their group. The variant with `valid` fills with zeros where it is false and does
 * not read `from` then. The smaller ones serve rows that are not 16-byte aligned. */
__device__ __forceinline__ unsigned port_shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void cp_async_16(void *to, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(port_shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ __forceinline__ void cp_async_8(void *to, const void *from, bool valid)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(port_shared_address(to)), "l"(from), "r"(valid ? 8 : 0) : "memory");
}
__device__ __forceinline__ void cp_async_4(void *to, const void *from, bool valid)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(port_shared_address(to)), "l"(from), "r"(valid ? 4 : 0) : "memory");
}
/* Closes the calling thread's group of copies; waits until at most N of its groups are still on their way. Other threads' copies are
 * visible after a barrier that follows their wait. */
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* Four (two) 8x8 matrices of 16-bit elements from shared memory: lane l gives the address of row l % 8 of matrix l / 8, 16-byte aligned, and
 * receives of each matrix the elements (l / 4, 2 (l % 4)) and the one beside it; _trans: of the transposed matrix. */
__device__ __forceinline__ void ldmatrix_x4(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(port_shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(port_shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t r[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(port_shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t r[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(port_shared_address(row))
                 : "memory");
}

/* d[16,8] += a[16,16] b[16,8] over one warp, F32 accumulation. Lane l, g = l / 4, t = l % 4, two elements a register, lower column (row for
 * b) in the lower half:
 *   a[0]: (g, 2t..)  a[1]: (g+8, 2t..)  a[2]: (g, 2t+8..)  a[3]: (g+8, 2t+8..)     b[0]: rows 2t.. of column g   b[1]: rows 2t+8..
 *   d[0], d[1]: (g, 2t), (g, 2t+1)      d[2], d[3]: (g+8, 2t), (g+8, 2t+1)          (PTX ISA, mma.m16n8k16) */
__device__ __forceinline__ void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], Bf16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], Half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Two numbers rounded to one register, `low` in the lower half: what from_f32 gives for each, but for the payload of a NaN. */
__device__ __forceinline__ uint32_t pack2(float low, float high, Bf16)
{
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
__device__ __forceinline__ uint32_t pack2(float low, float high, Half)
{
    uint32_t both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ Pack16 load16(const void *from) { return *(const Pack16 *)from; }
__device__ __forceinline__ void store16(void *to, Pack16 p) { *(Pack16 *)to = p; }

#else
#include <cudasim_port.h> /* the same names and meanings, checked */
#endif

/* BF16 as the CPU rounds it (core/half.h): to nearest even, NaN stays NaN, bit for bit the same in every build. */
__device__ __forceinline__ float to_f32(float f) { return f; }
__device__ __forceinline__ float to_f32(Bf16 h)
{
    const uint32_t bits = (uint32_t)h.bits << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
__device__ __forceinline__ void from_f32(float *to, float f) { *to = f; }
__device__ __forceinline__ void from_f32(Bf16 *to, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    to->bits = (bits & 0x7fffffffu) > 0x7f800000u ? (uint16_t)((bits >> 16) | 0x40u) : (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#ifndef __CUDACC__
template <typename T> static inline uint32_t pack2(float low, float high, T)
{
    T a, b;

    from_f32(&a, low);
    from_f32(&b, high);
    return (uint32_t)a.bits | (uint32_t)b.bits << 16;
}
#endif

#endif
