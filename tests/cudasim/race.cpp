#include "tests/cudasim/race.h"

#ifdef CUDASIM_RACE

#include "tests/cudasim/fault.h"
#include "tests/cudasim/fiber.h"
#include "tests/cudasim/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Time goes in epochs: one from a block's begin, or from a barrier of it, to the next. */
typedef struct Access {
    uint32_t epoch; /* 0: never */
    uint16_t thread, warp_phase;
} Access;

/* What is known of one place: its last writer, and two readers such that whoever writes next meets one of them, if it would meet any. */
typedef struct Cell {
    Access writer, reader[2];
} Cell;
enum { PLACE = 2 };

/* The cells of a range of memory; the system makes those that are touched. */
typedef struct Shadow {
    const char *begin;
    size_t bytes;
    Cell *cells;
    uint32_t since; /* what was before this epoch is history: other launches, for shared memory other blocks */
} Shadow;

static Shadow shared, device;
static uint32_t epoch, block_epoch; /* now, and where the block began */
static uint16_t warp_phase[SIM_MAX_WARPS];
static thread_local bool in_kernel; /* host code of the same files reports its accesses too */
static SimBlock last_block;         /* of device memory; most accesses are near the one before */

static uint32_t *block_begin; /* of the i-th block that ran, to name it */
static dim3 *block_index;
static uint32_t n_block, block_cap;

static Shadow make_shadow(SimRange of)
{
    const size_t bytes = of.bytes / PLACE * sizeof(Cell);
    void *cells = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (cells == MAP_FAILED)
        sim_stop("no address space to follow races");
    return {of.begin, of.bytes, (Cell *)cells, 0};
}

void sim_race_begin_grid(void)
{
    if (shared.cells == NULL)
        shared = make_shadow(sim_shared_range());
    if (device.cells == NULL)
        device = make_shadow(sim_device_range());
    last_block = {};
    device.since = epoch + 1;
    n_block = 0;
    in_kernel = true;
}

void sim_race_end_grid(void) { in_kernel = false; }

void sim_race_begin_block(void)
{
    shared.since = block_epoch = ++epoch;
    if (epoch == UINT32_MAX)
        sim_stop("more blocks and barriers than can be told apart");
    if (n_block == block_cap) {
        block_cap = block_cap == 0 ? 1024 : 2 * block_cap;
        block_begin = (uint32_t *)realloc(block_begin, block_cap * sizeof *block_begin);
        block_index = (dim3 *)realloc((void *)block_index, block_cap * sizeof *block_index);
        if (block_begin == NULL || block_index == NULL)
            sim_stop("no memory for a list of %u blocks", block_cap);
    }
    block_begin[n_block] = epoch;
    block_index[n_block++] = dim3(blockIdx.x, blockIdx.y, blockIdx.z);
}

void sim_race_barrier(void) { epoch++; }
void sim_race_syncwarp(void) { warp_phase[sim_thread_number() / SIM_WARP]++; }

/* ---- what is a race ---- */

static bool conflicts(const Shadow *shadow, Access a, unsigned thread)
{
    if (a.epoch < shadow->since)
        return false;
    if (a.epoch < block_epoch)
        return true;
    if (a.epoch < epoch || a.thread == thread)
        return false;
    return a.thread / SIM_WARP != thread / SIM_WARP || a.warp_phase == warp_phase[thread / SIM_WARP];
}

/* "file:line" of an instruction, by addr2line; its address where there is none. */
static void find_line(const char *pc, char *text, int text_bytes)
{
    extern const char __executable_start[];
    char command[120];

    snprintf(text, (size_t)text_bytes, "%p", (const void *)pc);
    snprintf(command, sizeof command, "addr2line -e /proc/%d/exe 0x%zx 2>&1", (int)getpid(), (size_t)(pc - __executable_start - 1));
    FILE *lines = popen(command, "r");

    if (lines != NULL && fgets(text, text_bytes, lines) != NULL)
        text[strcspn(text, "\n")] = '\0';
    if (lines != NULL)
        pclose(lines);
}

[[noreturn]] static void stop_race(const void *p, Access a, bool a_wrote, bool write, const char *pc)
{
    char where[200], line[400], other[80];
    uint32_t i = n_block;

    sim_describe(p, where, sizeof where);
    find_line(pc, line, sizeof line);
    while (block_begin[--i] > a.epoch)
        continue;
    snprintf(other, sizeof other, "thread %u of block (%u,%u,%u)", a.thread, block_index[i].x, block_index[i].y, block_index[i].z);
    sim_stop("race: %s at %s what %s %s, with nothing to order them: %s", write ? "writes" : "reads", line, other,
             a_wrote ? "wrote" : "read", where);
}

/* Notes a reader. One of an earlier block stays: every later write meets it. Else two of this epoch stay, of two warps where there are. */
static void note_reader(const Shadow *shadow, Cell *cell, Access now)
{
    Access *const r = cell->reader;

    for (int i = 0; i < 2; i++)
        if (r[i].epoch >= shadow->since && r[i].epoch < block_epoch)
            return;
    for (int i = 0; i < 2; i++)
        if (r[i].epoch == epoch && r[i].thread == now.thread) {
            r[i] = now;
            return;
        }
    for (int i = 0; i < 2; i++)
        if (r[i].epoch < epoch) {
            r[i] = now;
            return;
        }
    if (r[0].thread / SIM_WARP != r[1].thread / SIM_WARP)
        return;
    if (r[0].thread / SIM_WARP != now.thread / SIM_WARP || r[1].warp_phase != now.warp_phase)
        r[1] = now;
    else if (r[0].warp_phase != now.warp_phase)
        r[0] = now;
}

static void touch(const Shadow *shadow, const char *p, size_t bytes, bool write, const char *pc)
{
    const unsigned thread = (unsigned)sim_thread_number();
    const Access now = {epoch, (uint16_t)thread, warp_phase[thread / SIM_WARP]};
    const size_t first = (size_t)(p - shadow->begin) / PLACE, last = (size_t)(p - shadow->begin + (ptrdiff_t)bytes - 1) / PLACE;

    for (size_t i = first; i <= last; i++) {
        Cell *cell = &shadow->cells[i];
        const char *at = shadow->begin + i * PLACE;

        if (conflicts(shadow, cell->writer, thread))
            stop_race(at, cell->writer, true, write, pc);
        if (!write) {
            note_reader(shadow, cell, now);
            continue;
        }
        for (int j = 0; j < 2; j++)
            if (conflicts(shadow, cell->reader[j], thread))
                stop_race(at, cell->reader[j], false, write, pc);
        cell->writer = now;
    }
}

/* ---- who is asked ---- */

[[noreturn]] static void stop_outside(const void *p, size_t bytes, bool write, const char *pc)
{
    char where[200], line[400];

    sim_describe(p, where, sizeof where);
    find_line(pc, line, sizeof line);
    sim_stop("%zu bytes %s at %s: %s", bytes, write ? "written" : "read", line, where);
}

/* The program itself: the simulator's variables, constants, a launch's parameters. */
static bool is_program(const void *p)
{
    extern const char __executable_start[], _end[];

    return (const char *)p >= __executable_start && (const char *)p < _end;
}

static void access(const void *address, size_t bytes, bool write, const void *pc)
{
    const char *const p = (const char *)address, *const from = (const char *)pc;
    SimArray array;

    if ((uintptr_t)p - (uintptr_t)shared.begin < shared.bytes) {
        if (!sim_shared_find(p, bytes, &array))
            stop_outside(p, bytes, write, from);
        touch(&shared, p, bytes, write, from);
    } else if ((uintptr_t)p - (uintptr_t)device.begin < device.bytes) {
        if ((size_t)(p - last_block.base) + bytes > last_block.bytes || p < last_block.base)
            if (!sim_block_nearest(p, &last_block) || p < last_block.base || (size_t)(p - last_block.base) + bytes > last_block.bytes)
                stop_outside(p, bytes, write, from);
        touch(&device, p, bytes, write, from);
    } else if (!fiber_is_stack(p) && !is_program(p)) {
        stop_outside(p, bytes, write, from);
    }
}

void sim_race_access(const void *p, size_t bytes, bool write) { access(p, bytes, write, __builtin_return_address(0)); }

void sim_race_forget(const void *p, size_t bytes)
{
    const uintptr_t page = 4096;

    if (device.cells == NULL)
        return;
    char *const cells = (char *)&device.cells[(size_t)((const char *)p - device.begin) / PLACE];
    char *const begin = (char *)(((uintptr_t)cells + page - 1) / page * page), *const end = cells + bytes / PLACE * sizeof(Cell);

    if (end > begin)
        madvise(begin, (size_t)(end - begin), MADV_DONTNEED);
}

/* ---- what the compiler calls: gcc's names (libsanitizer/tsan/tsan_interface.h) ---- */

extern "C" {
void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
#define SIM_ACCESS(name, bytes, write)                                                                                                     \
    void name(void *p)                                                                                                                     \
    {                                                                                                                                      \
        if (in_kernel)                                                                                                                     \
            access(p, bytes, write, __builtin_return_address(0));                                                                          \
    }
SIM_ACCESS(__tsan_read1, 1, false)
SIM_ACCESS(__tsan_read2, 2, false)
SIM_ACCESS(__tsan_read4, 4, false)
SIM_ACCESS(__tsan_read8, 8, false)
SIM_ACCESS(__tsan_read16, 16, false)
SIM_ACCESS(__tsan_write1, 1, true)
SIM_ACCESS(__tsan_write2, 2, true)
SIM_ACCESS(__tsan_write4, 4, true)
SIM_ACCESS(__tsan_write8, 8, true)
SIM_ACCESS(__tsan_write16, 16, true)
SIM_ACCESS(__tsan_unaligned_read2, 2, false)
SIM_ACCESS(__tsan_unaligned_read4, 4, false)
SIM_ACCESS(__tsan_unaligned_read8, 8, false)
SIM_ACCESS(__tsan_unaligned_read16, 16, false)
SIM_ACCESS(__tsan_unaligned_write2, 2, true)
SIM_ACCESS(__tsan_unaligned_write4, 4, true)
SIM_ACCESS(__tsan_unaligned_write8, 8, true)
SIM_ACCESS(__tsan_unaligned_write16, 16, true)
#undef SIM_ACCESS
void __tsan_read_range(void *p, size_t bytes)
{
    if (in_kernel && bytes > 0)
        access(p, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void *p, size_t bytes)
{
    if (in_kernel && bytes > 0)
        access(p, bytes, true, __builtin_return_address(0));
}
}

#endif
