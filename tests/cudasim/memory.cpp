/* Device memory: a range of addresses of its own, each allocation between pages without access and ending (but for CUDA's rounding to 256
 * bytes) at the second of them; poison when fresh, without access when freed, its addresses not used again soon. And pinned host memory. */
#include "tests/cudasim/memory.h"

#include "tests/cudasim/pages.h"
#include "tests/cudasim/race.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes) ((void)(p), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes) ((void)(p), (void)(bytes))
#endif

/* What the card has, and the addresses it is dealt from. */
static const size_t CARD_BYTES = (size_t)2 << 30, RANGE_BYTES = (size_t)16 << 30;
enum { ALIGNMENT = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *range, *cursor;
static SimBlock *blocks; /* by address */
static int n_block, block_cap;
static size_t used_bytes;

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
/* The pages that hold a block, and the guards around them. */
static char *region_begin(const SimBlock *b) { return b->base + b->room - round_up(b->room, SIM_GUARD) - SIM_GUARD; }
static char *region_end(const SimBlock *b) { return b->base + b->room + SIM_GUARD; }

/* The number of blocks that begin at or before p. */
static int blocks_before(const void *p)
{
    int low = 0, high = n_block;

    while (low < high) {
        const int middle = (low + high) / 2;

        if (blocks[middle].base <= (const char *)p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const SimBlock *block_of(const void *p)
{
    const int n = blocks_before(p);

    return n > 0 && (const char *)p < blocks[n - 1].base + blocks[n - 1].bytes ? &blocks[n - 1] : NULL;
}

/* Where a region of this size can begin: after the last one that was dealt, from the start again at the end. NULL: nowhere. */
static char *find_room(size_t region_bytes)
{
    bool again = false;

    for (;;) {
        if (cursor + region_bytes > range + RANGE_BYTES) {
            if (again)
                return NULL;
            again = true;
            cursor = range;
        }
        const int n = blocks_before(cursor + region_bytes + SIM_GUARD);

        if (n == 0 || region_end(&blocks[n - 1]) <= cursor)
            return cursor;
        cursor = region_end(&blocks[n - 1]);
    }
}

static void insert(SimBlock block)
{
    if (n_block == block_cap) {
        block_cap = block_cap == 0 ? 256 : 2 * block_cap;
        blocks = (SimBlock *)realloc(blocks, (size_t)block_cap * sizeof *blocks);
        if (blocks == NULL)
            sim_stop("no memory for a table of %d allocations", block_cap);
    }
    const int at = blocks_before(block.base);

    memmove(blocks + at + 1, blocks + at, (size_t)(n_block - at) * sizeof *blocks);
    blocks[at] = block;
    n_block++;
}

SimRange sim_device_range(void)
{
    if (range == NULL) {
        void *all = mmap(NULL, RANGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (all == MAP_FAILED)
            sim_stop("no address space for device memory");
        range = cursor = (char *)all;
    }
    return {range, RANGE_BYTES};
}

/* cudaMalloc under the lock. */
static cudaError_t take(void **out, size_t bytes)
{
    const size_t room = round_up(bytes, ALIGNMENT), pages = round_up(room, SIM_GUARD);

    sim_device_range();
    char *begin = bytes > CARD_BYTES - used_bytes ? NULL : find_room(pages + 2 * SIM_GUARD);

    if (begin == NULL || mprotect(begin + SIM_GUARD, pages, PROT_READ | PROT_WRITE) != 0)
        return cudaErrorMemoryAllocation;
    cursor = begin + pages + SIM_GUARD; /* neighbours share a guard */
    SimBlock block = {begin + SIM_GUARD + pages - room, bytes, room};

    memset(begin + SIM_GUARD, SIM_POISON, pages);
    ASAN_POISON_MEMORY_REGION(block.base + bytes, room - bytes);
    sim_pages_add(begin + SIM_GUARD, pages);
    insert(block);
    used_bytes += room;
    *out = block.base;
    return cudaSuccess;
}

static void check_margins(const SimBlock *b)
{
    for (size_t i = b->bytes; i < b->room; i++)
        if ((unsigned char)b->base[i] != SIM_POISON)
            sim_stop("device memory: written %zu bytes behind a block of %zu bytes", i - b->bytes, b->bytes);
    for (const char *p = region_begin(b) + SIM_GUARD; p < b->base; p++)
        if ((unsigned char)*p != SIM_POISON)
            sim_stop("device memory: written %td bytes before a block of %zu bytes", b->base - p, b->bytes);
}

static void give_back(void *base)
{
    const int at = blocks_before(base) - 1;

    if (at < 0 || blocks[at].base != base)
        sim_stop("cudaFree: %p is no block of device memory", base);
    const SimBlock b = blocks[at];
    char *begin = region_begin(&b) + SIM_GUARD, *end = b.base + b.room;

    ASAN_UNPOISON_MEMORY_REGION(b.base, b.room);
    check_margins(&b);
    if (mmap(begin, (size_t)(end - begin), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        sim_stop("cudaFree: the pages of %p stay", base);
    sim_pages_forget(begin, (size_t)(end - begin));
    sim_race_forget(b.base, b.room);
    used_bytes -= b.room;
    n_block--;
    memmove(blocks + at, blocks + at + 1, (size_t)(n_block - at) * sizeof *blocks);
}

cudaError_t cudaMalloc(void **block, size_t bytes)
{
    cudaError_t error = cudaSuccess;

    *block = NULL;
    if (bytes > 0) {
        pthread_mutex_lock(&lock);
        error = take(block, bytes);
        pthread_mutex_unlock(&lock);
    }
    return sim_error(error);
}

cudaError_t cudaFree(void *block)
{
    if (block == NULL)
        return cudaSuccess;
    cudaDeviceSynchronize();
    pthread_mutex_lock(&lock);
    give_back(block);
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = CARD_BYTES;
    *free_bytes = CARD_BYTES - used_bytes;
    return cudaSuccess;
}

bool sim_block_nearest(const void *p, SimBlock *block)
{
    bool found = true;

    pthread_mutex_lock(&lock);
    const int n = blocks_before(p);

    if (n > 0 && (const char *)p < region_end(&blocks[n - 1]))
        *block = blocks[n - 1];
    else if (n < n_block && (const char *)p >= region_begin(&blocks[n]))
        *block = blocks[n];
    else
        found = false;
    pthread_mutex_unlock(&lock);
    return found;
}

bool sim_is_device(const void *p) { return range != NULL && (uintptr_t)p - (uintptr_t)range < RANGE_BYTES; }

void sim_check_device(const char *what, const void *p, size_t bytes)
{
    pthread_mutex_lock(&lock);
    const SimBlock *b = block_of(p);
    const size_t left = b == NULL ? 0 : b->bytes - (size_t)((const char *)p - b->base);

    if (b == NULL)
        sim_stop("%s %p is not in device memory", what, p);
    if (bytes > left)
        sim_stop("%s %p: %zu bytes, but %zu are left of the block of %zu", what, p, bytes, left, b->bytes);
    pthread_mutex_unlock(&lock);
}

/* ---- pinned host memory ---- */

typedef struct Pinned {
    struct Pinned *next;
    char *base;
    size_t bytes;
} Pinned;

static Pinned *pinned;

cudaError_t cudaHostAlloc(void **block, size_t bytes, unsigned)
{
    Pinned *entry = (Pinned *)malloc(sizeof *entry);
    void *base = NULL;

    *block = NULL;
    if (entry == NULL || posix_memalign(&base, 4096, bytes > 0 ? bytes : 1) != 0) {
        free(entry);
        return sim_error(cudaErrorMemoryAllocation);
    }
    memset(base, SIM_POISON, bytes);
    pthread_mutex_lock(&lock);
    *entry = {pinned, (char *)base, bytes};
    pinned = entry;
    pthread_mutex_unlock(&lock);
    *block = base;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **block, size_t bytes) { return cudaHostAlloc(block, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *block)
{
    if (block == NULL)
        return cudaSuccess;
    cudaDeviceSynchronize();
    pthread_mutex_lock(&lock);
    Pinned **at = &pinned;

    while (*at != NULL && (*at)->base != block)
        at = &(*at)->next;
    if (*at == NULL)
        sim_stop("cudaFreeHost: %p is no block of pinned memory", block);
    Pinned *entry = *at;

    *at = entry->next;
    pthread_mutex_unlock(&lock);
    free(entry->base);
    free(entry);
    return cudaSuccess;
}

bool sim_is_pinned(const void *p)
{
    bool found = false;

    pthread_mutex_lock(&lock);
    for (const Pinned *b = pinned; b != NULL && !found; b = b->next)
        found = (uintptr_t)p - (uintptr_t)b->base < b->bytes;
    pthread_mutex_unlock(&lock);
    return found;
}
