#include "core/random.h"

#include "core/mem.h"

#include <math.h>
#include <string.h>

/* MT19937 (Matsumoto and Nishimura 1998). */
enum { MT_WORDS = 624, MT_MIDDLE = 397 };

static void mt_init(PyRandom *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < MT_WORDS; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
}

void pyrandom_seed_words(PyRandom *r, const uint32_t *word, size_t n_word)
{
    static const uint32_t zero = 0;
    uint32_t *s = r->state;
    size_t i = 1, j = 0;

    /* CPython's key is the number without leading zero words, but at least one word. */
    while (n_word > 0 && word[n_word - 1] == 0)
        n_word--;
    if (n_word == 0) {
        word = &zero;
        n_word = 1;
    }

    mt_init(r, 19650218u);
    for (size_t k = n_word > MT_WORDS ? n_word : MT_WORDS; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + word[j] + (uint32_t)j;
        if (++i == MT_WORDS) {
            s[0] = s[MT_WORDS - 1];
            i = 1;
        }
        if (++j == n_word)
            j = 0;
    }
    for (size_t k = MT_WORDS - 1; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - (uint32_t)i;
        if (++i == MT_WORDS) {
            s[0] = s[MT_WORDS - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
    r->at = MT_WORDS;
    r->has_gauss = false;
    r->gauss = 0.0;
}

void pyrandom_seed(PyRandom *r, uint64_t seed)
{
    const uint32_t word[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    pyrandom_seed_words(r, word, 2);
}

static void mt_refill(PyRandom *r)
{
    for (uint32_t i = 0; i < MT_WORDS; i++) {
        const uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % MT_WORDS] & 0x7fffffffu);
        r->state[i] = r->state[(i + MT_MIDDLE) % MT_WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->at = 0;
}

uint32_t pyrandom_u32(PyRandom *r)
{
    if (r->at >= MT_WORDS)
        mt_refill(r);
    uint32_t y = r->state[r->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint64_t pyrandom_bits(PyRandom *r, unsigned k)
{
    BUG_IF(k < 1 || k > 64);
    /* Words come least significant first; the last one gives its top bits. */
    if (k <= 32)
        return pyrandom_u32(r) >> (32 - k);
    const uint64_t low = pyrandom_u32(r);
    return low | (uint64_t)(pyrandom_u32(r) >> (64 - k)) << 32;
}

double pyrandom_unit(PyRandom *r)
{
    const uint32_t high = pyrandom_u32(r) >> 5, low = pyrandom_u32(r) >> 6;
    return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

double pyrandom_uniform(PyRandom *r, double low, double high)
{
    return low + (high - low) * pyrandom_unit(r);
}

double pyrandom_gauss(PyRandom *r, double mean, double sd)
{
    double z = r->gauss;

    /* Box-Muller makes two at a time; the second waits for the next call. */
    if (!r->has_gauss) {
        const double angle = pyrandom_unit(r) * (2.0 * M_PI);
        const double radius = sqrt(-2.0 * log(1.0 - pyrandom_unit(r)));
        z = cos(angle) * radius;
        r->gauss = sin(angle) * radius;
    }
    r->has_gauss = !r->has_gauss;
    return mean + z * sd;
}

uint64_t pyrandom_below(PyRandom *r, uint64_t n)
{
    BUG_IF(n == 0);
    const unsigned bits = 64 - (unsigned)__builtin_clzll(n);
    uint64_t x;
    do
        x = pyrandom_bits(r, bits);
    while (x >= n);
    return x;
}

/* For small n: draw from a list that loses its drawn entries. */
static Status sample_pool(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out)
{
    uint64_t *pool;

    TRY(MEM_NEW(pool, n));
    for (uint64_t i = 0; i < n; i++)
        pool[i] = i;
    for (uint64_t i = 0; i < k; i++) {
        const uint64_t j = pyrandom_below(r, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    mem_free(pool);
    return LT_OK;
}

/* For large n: draw again what was drawn before. `seen` is an open-addressed set of value + 1. */
static Status sample_reject(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out)
{
    size_t cap = 16;
    uint64_t *seen;

    while (cap / 2 < k)
        cap *= 2;
    TRY(MEM_NEW(seen, cap));
    for (uint64_t i = 0; i < k;) {
        const uint64_t x = pyrandom_below(r, n);
        size_t at = (size_t)(x * 0x9e3779b97f4a7c15u >> 32) & (cap - 1);
        while (seen[at] != 0 && seen[at] != x + 1)
            at = (at + 1) & (cap - 1);
        if (seen[at] == 0) {
            seen[at] = x + 1;
            out[i++] = x;
        }
    }
    mem_free(seen);
    return LT_OK;
}

Status pyrandom_sample(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out)
{
    BUG_IF(k > n);
    /* CPython's guess of where a set takes less memory than a list. Which method runs decides what is drawn. */
    double set_size = 21.0;
    if (k > 5)
        set_size += pow(4.0, ceil(log((double)k * 3.0) / log(4.0)));
    return (double)n <= set_size ? sample_pool(r, n, k, out) : sample_reject(r, n, k, out);
}

void pyrandom_shuffle(PyRandom *r, uint64_t *item, size_t n)
{
    for (size_t i = n; i-- > 1;) {
        const size_t j = (size_t)pyrandom_below(r, i + 1);
        const uint64_t kept = item[i];
        item[i] = item[j];
        item[j] = kept;
    }
}

void pyrandom_choices(PyRandom *r, uint64_t n, uint64_t k, uint64_t *out)
{
    for (uint64_t i = 0; i < k; i++)
        out[i] = (uint64_t)(pyrandom_unit(r) * (double)n);
}

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        const uint64_t p = (uint64_t)c0 * 0xd2511f53u, q = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(q >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)q;
        c3 = (uint32_t)p;
        k0 += 0x9e3779b9u; /* golden ratio and sqrt(3) - 1: the key schedule of the paper */
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}
