/* Shared memory of the block that runs: every array in a slot of its own between pages without access, its end at the second of them, so
 * that an overrun faults at once. What lies before an array in its slot is filled and looked at when the block ends. Arrays keep their
 * places for the blocks of a launch and start as poison in each. */
#include "tests/cudasim/sim.h"

#include "kernels/cuda/port.h"

#include <sys/mman.h>

enum { N_SLOT = 16, SLOT = (512 << 10) - SIM_GUARD, MARGIN = 256 }; /* guard and slot: a power of two, to find an array fast */
static_assert((int)SIM_SHARED_OPTIN <= (int)SLOT, "any array fits a slot");

typedef struct Array {
    const char *name;
    char *base;
    size_t bytes, align;
} Array;

static char *arena; /* N_SLOT times a guard and a slot, and a last guard */
static Array arrays[N_SLOT]; /* of this launch; the first one is the dynamic array */
static int n_array;
static size_t static_bytes;

static const size_t ARENA_BYTES = N_SLOT * (size_t)(SIM_GUARD + SLOT) + SIM_GUARD;

static void make_arena(void)
{
    void *range = mmap(NULL, ARENA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (range == MAP_FAILED)
        sim_stop("no address space for shared memory");
    arena = (char *)range;
    for (int i = 0; i < N_SLOT; i++)
        if (mprotect(arena + i * (size_t)(SIM_GUARD + SLOT) + SIM_GUARD, SLOT, PROT_READ | PROT_WRITE) != 0)
            sim_stop("no memory for shared memory");
}

static void poison(const Array *array) { memset(array->base - MARGIN, SIM_POISON, MARGIN + array->bytes); }

static Array *place(const char *name, size_t bytes, size_t align)
{
    if (n_array == N_SLOT)
        sim_stop("shared array '%s': a kernel has at most %d", name, N_SLOT - 1);
    char *const end = arena + (size_t)(n_array + 1) * (SIM_GUARD + SLOT);
    Array *array = &arrays[n_array++];

    *array = {name, end - bytes, bytes, align};
    poison(array);
    return array;
}

void sim_shared_begin_launch(void)
{
    if (arena == NULL)
        make_arena();
    n_array = 0;
    static_bytes = 0;
    place("dynamic shared memory", (sim_current->smem + 15) / 16 * 16, 16);
}

void sim_shared_begin_block(void)
{
    for (int i = 0; i < n_array; i++)
        poison(&arrays[i]);
}

void sim_shared_end_block(void)
{
    for (int i = 0; i < n_array; i++)
        for (int j = 1; j <= MARGIN; j++)
            if ((unsigned char)arrays[i].base[-j] != SIM_POISON)
                sim_stop("shared array '%s': written %d bytes before its start", arrays[i].name, j);
}

void *sim_shared_place(SimShared *array)
{
    const size_t limit = sim_current->shared_limit;

    static_bytes += (array->bytes + array->align - 1) / array->align * array->align;
    if (static_bytes > SIM_SHARED_DEFAULT)
        sim_stop("shared array '%s': %zu bytes of arrays in one kernel, at most %d", array->name, static_bytes, SIM_SHARED_DEFAULT);
    if (static_bytes + arrays[0].bytes > limit)
        sim_stop("shared array '%s': %zu bytes of arrays and %zu dynamic, at most %zu together", array->name, static_bytes, arrays[0].bytes,
                 limit);
    array->base = place(array->name, array->bytes, array->align)->base;
    array->serial = sim_serial;
    return array->base;
}

void *sim_shared_dynamic(void) { return arrays[0].base; }

SimRange sim_shared_range(void) { return {arena, ARENA_BYTES}; }
bool sim_in_shared(const void *p) { return (uintptr_t)p - (uintptr_t)arena < ARENA_BYTES; }

bool sim_shared_nearest(const void *p, SimArray *found)
{
    const size_t slot = (size_t)((const char *)p - arena) / (SIM_GUARD + SLOT);
    /* A slot begins with the guard behind the slot before. */
    const size_t behind = (size_t)((const char *)p - arena) % (SIM_GUARD + SLOT) < SIM_GUARD / 2 && slot > 0 ? slot - 1 : slot;

    if (behind >= (size_t)n_array)
        return false;
    const Array *array = &arrays[behind];

    *found = {array->name, (const char *)p - array->base, array->bytes, array->align};
    return true;
}

bool sim_shared_find(const void *p, size_t bytes, SimArray *found)
{
    return sim_in_shared(p) && sim_shared_nearest(p, found) && found->offset >= 0 && (size_t)found->offset + bytes <= found->bytes;
}

size_t sim_alignment(const void *p)
{
    const size_t offset = (size_t)((const char *)p - arena);

    return offset < ARENA_BYTES ? arrays[offset / (SIM_GUARD + SLOT) % N_SLOT].align : 16;
}

void sim_stop_misaligned(const char *what, const void *p, size_t bytes)
{
    SimArray array;

    if ((uintptr_t)p % bytes == 0 && sim_shared_find(p, bytes, &array))
        sim_stop("%s in shared array '%s', which is aligned to %zu bytes and only by chance to %zu", what, array.name, array.align, bytes);
    sim_stop("%s at %p, which is no multiple of %zu", what, p, bytes);
}
