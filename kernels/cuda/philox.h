/* Random numbers on the device: Philox4x32-10 with the bits of core/random.h, and the draw of the contract's dropout. */
#ifndef LETHE_KERNELS_CUDA_PHILOX_H
#define LETHE_KERNELS_CUDA_PHILOX_H

#include "kernels/cuda/cuda.h"

__device__ __forceinline__ void philox_words(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)c0 * 0xd2511f53u, q = (uint64_t)c2 * 0xcd9e8d57u;

        c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)q;
        c3 = (uint32_t)p;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* 24-bit uniform in [0, 1) from one word. */
__device__ __forceinline__ float philox_uniform(uint32_t word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }

/* What op_dropout draws for columns 4 quad .. 4 quad + 3 of a row (counted without key.first_row), as words. */
__device__ __forceinline__ void dropout_words(uint32_t out[4], const DropoutKey &key, int64_t row, uint32_t quad)
{
    const uint64_t at = (uint64_t)(key.first_row + row);
    const uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), quad, key.step};
    const uint32_t words[2] = {(uint32_t)key.seed, (uint32_t)(key.seed >> 32) ^ (key.layer << 8 | key.site)};

    philox_words(counter, words, out);
}
/* The same as numbers: an element stays where its number is not below p. */
__device__ __forceinline__ void dropout_draw(float u[4], const DropoutKey &key, int64_t row, uint32_t quad)
{
    uint32_t out[4];

    dropout_words(out, key, row, quad);
    for (int i = 0; i < 4; i++)
        u[i] = philox_uniform(out[i]);
}
/* One number, where neighbours are no use. The choice is spelled out so that the words stay in registers. */
__device__ __forceinline__ float dropout_number(const DropoutKey &key, int64_t row, uint32_t column)
{
    uint32_t out[4];

    dropout_words(out, key, row, column / 4);
    return philox_uniform(column & 2 ? (column & 1 ? out[3] : out[2]) : (column & 1 ? out[1] : out[0]));
}

#endif
