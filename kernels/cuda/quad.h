/* Four neighbouring elements of a row at a time: 16 bytes of F32, 8 of the 16-bit types. Where base or stride do not allow one access, four
 * single ones move the same elements to the same thread: same bits either way. */
#ifndef LETHE_KERNELS_CUDA_QUAD_H
#define LETHE_KERNELS_CUDA_QUAD_H

#include "kernels/cuda/cuda.h"

enum { QUAD = 4 };

struct Quad {
    float v[QUAD];
};
/* Four of a 16-bit type, whichever. */
struct __attribute__((aligned(8), may_alias)) Pack8 {
    uint32_t word[2];
};

/* Whether every quad of every row lies on a multiple of its own size. */
static inline bool quad_wide(Tensor t)
{
    return (uintptr_t)t.data % (QUAD * dtype_bytes(t.dtype)) == 0 && (t.rows == 1 || t.stride % QUAD == 0);
}

/* The first n elements of a quad, unconverted; all four where n >= 4. */
template <typename T> __device__ __forceinline__ void quad_read(T to[QUAD], const T *from, int64_t n, bool wide)
{
    if (!wide || n < QUAD) {
        for (int i = 0; i < QUAD; i++)
            if (i < n)
                to[i] = from[i];
    } else if (sizeof(T) == 4) {
        const Pack16 p = load16(from);

        memcpy(to, &p, sizeof p);
    } else {
        const Pack8 p = *(const Pack8 *)from; /* memcpy would become single bytes */

        memcpy(to, &p, sizeof p);
    }
}

template <typename T> __device__ __forceinline__ void quad_write(T *to, const T from[QUAD], int64_t n, bool wide)
{
    if (!wide || n < QUAD) {
        for (int i = 0; i < QUAD; i++)
            if (i < n)
                to[i] = from[i];
    } else if (sizeof(T) == 4) {
        Pack16 p;

        memcpy(&p, from, sizeof p);
        store16(to, p);
    } else {
        Pack8 p;

        memcpy(&p, from, sizeof p);
        *(Pack8 *)to = p;
    }
}

/* As F32. n: elements from `from` to the end of the row; `fill` stands for those behind it. */
template <typename T> __device__ __forceinline__ Quad quad_load(const T *from, int64_t n, bool wide, float fill)
{
    T raw[QUAD];
    Quad q;

    quad_read(raw, from, n, wide);
    for (int i = 0; i < QUAD; i++)
        q.v[i] = i < n ? to_f32(raw[i]) : fill;
    return q;
}

template <typename T> __device__ __forceinline__ void quad_store(T *to, Quad q, int64_t n, bool wide)
{
    T raw[QUAD];

    for (int i = 0; i < QUAD; i++)
        from_f32(&raw[i], q.v[i]);
    quad_write(to, raw, n, wide);
}

#endif
