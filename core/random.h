/* Random numbers that other programs can repeat: CPython's Mersenne Twister (the harness's few-shot draws) and
 * Philox4x32-10 (Salmon et al. 2011), a counter-based generator without hidden state (dropout, init, sampling). */
#ifndef LETHE_CORE_RANDOM_H
#define LETHE_CORE_RANDOM_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

/* random.Random of CPython 3.11, bit for bit. */
typedef struct PyRandom {
    uint32_t state[624];
    uint32_t at;
    bool has_gauss;
    double gauss;
} PyRandom;

/* Random(seed) for 0 <= seed < 2^64: MT19937 init_by_array with the 32-bit little-endian words of the seed. */
void pyrandom_seed(PyRandom *r, uint64_t seed);
/* The same for any non-negative integer given as words, least significant first. */
void pyrandom_seed_words(PyRandom *r, const uint32_t *word, size_t n_word);
uint32_t pyrandom_u32(PyRandom *r);               /* getrandbits(32) */
uint64_t pyrandom_bits(PyRandom *r, unsigned k);  /* getrandbits(k), 1 <= k <= 64 */
double pyrandom_unit(PyRandom *r);                /* random(): 53 bits in [0, 1) */
double pyrandom_uniform(PyRandom *r, double low, double high);
double pyrandom_gauss(PyRandom *r, double mean, double sd);
uint64_t pyrandom_below(PyRandom *r, uint64_t n); /* randrange(n), n >= 1 */
/* sample(range(n), k): k distinct values into out, in the drawn order. k <= n. Takes memory for the pool method. */
Status pyrandom_sample(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out);
/* shuffle(list): permutes item[0..n). */
void pyrandom_shuffle(PyRandom *r, uint64_t *item, size_t n);
/* choices(range(n), k=k). */
void pyrandom_choices(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out);

/* Philox4x32, 10 rounds: 128 bits out for a 128-bit counter and a 64-bit key. Safe from any thread, any order. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* 24-bit uniform in [0, 1) from one word. */
static inline float philox_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

#endif
