#include "kernels/cpu/cpu.h"

#include "core/clock.h"
#include "core/mem.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/lapack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if CPU_X86
#include <cpuid.h>
#endif

enum { BLOCK_ALIGNMENT = 256, HUGE_PAGE = 1 << 21 };

static const char *const LEVEL_NAME[CPU_LEVELS] = {"generic", "avx2", "avx512", "avx512-bf16"};

const char *cpu_level_name(CpuLevel level) { return LEVEL_NAME[level]; }

/* The compiler's run-time test also asks the system (xgetbv) whether it saves the wide registers. */
static CpuLevel level_of_machine(void)
{
#if CPU_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return CPU_GENERIC;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq"))
        return CPU_AVX2;
    return __builtin_cpu_supports("avx512bf16") ? CPU_AVX512_BF16 : CPU_AVX512;
#else
    return CPU_GENERIC;
#endif
}

static Status choose_level(CpuLevel *level)
{
    const CpuLevel have = level_of_machine();
    const char *cap = getenv("LETHE_CPU");

    *level = have;
    if (cap == NULL)
        return LT_OK;
    for (int i = 0; i < CPU_LEVELS; i++)
        if (strcmp(cap, LEVEL_NAME[i]) == 0) {
            *level = (CpuLevel)i < have ? (CpuLevel)i : have;
            return LT_OK;
        }
    return FAIL(LT_E_USAGE, "environment variable LETHE_CPU: unknown value '%s', expected generic, avx2, avx512 or avx512-bf16", cap);
}

/* The processor's own name, without the blanks some makers put around it. */
static void processor_name(char out[49])
{
    strcpy(out, "unknown processor");
#if CPU_X86
    unsigned reg[12], max = __get_cpuid_max(0x80000000u, NULL);

    if (max < 0x80000004u)
        return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &reg[4 * i], &reg[4 * i + 1], &reg[4 * i + 2], &reg[4 * i + 3]);
    char text[49] = {0}, *start = text;
    memcpy(text, reg, sizeof reg);
    while (*start == ' ')
        start++;
    for (size_t n = strlen(start); n > 0 && start[n - 1] == ' ';)
        start[--n] = '\0';
    if (*start != '\0')
        memmove(out, start, strlen(start) + 1);
#endif
}

static void describe(Device *dev, const CpuDevice *cpu)
{
    char name[49], library[32];

    processor_name(name);
    gemm_library_name(library, sizeof library);
    snprintf(dev->class_name, sizeof dev->class_name, "cpu-%s", LEVEL_NAME[cpu->level]);
    snprintf(dev->description, sizeof dev->description, "%s, %d thread%s, %s, %s", name, cpu->n_thread, cpu->n_thread == 1 ? "" : "s",
             LEVEL_NAME[cpu->level], library);
}

Status cpu_open(Device *dev, const char *index, int n_thread)
{
    CpuLevel level;
    CpuDevice *cpu;
    Status st;

    if (index != NULL)
        return FAIL(LT_E_USAGE, "device 'cpu:%s': the cpu has no index", index);
    TRY(choose_level(&level));
    TRY(MEM_NEW(cpu, 1));
    cpu->level = level;
    cpu->n_thread = n_thread;
    TRY_GOTO(MEM_NEW(cpu->scratch, (size_t)n_thread), st, fail);
    TRY_GOTO(gemm_open(&cpu->gemm, level, n_thread), st, fail);
    dev->impl = cpu;
    describe(dev, cpu);
    return LT_OK;
fail:
    mem_free(cpu->scratch);
    mem_free(cpu);
    return st;
}

void cpu_close(Device *dev)
{
    CpuDevice *cpu = cpu_of(dev);

    lapack_close(cpu->lapack);
    gemm_close(cpu->gemm);
    for (int i = 0; i < cpu->n_thread; i++)
        mem_free(cpu->scratch[i].block);
    mem_free(cpu->scratch);
    mem_free(cpu);
    dev->impl = NULL;
}

void *cpu_scratch(Device *dev, int thread, size_t bytes)
{
    CpuScratch *s = &cpu_of(dev)->scratch[thread];
    void *block;

    if (bytes <= s->bytes)
        return s->block;
    /* Nobody wants the old contents, so it is freed first: the peak stays at one block. */
    mem_free(s->block);
    *s = (CpuScratch){0};
    block = mem_resize(NULL, bytes, 1);
    if (block != NULL)
        *s = (CpuScratch){.block = block, .bytes = bytes};
    return block;
}

/* Weights are read from end to end for every product: with pages of 2 MiB a large one runs 1 to 4 % faster. Only a wish, so a refusal
 * is nobody's error. */
static void ask_for_huge_pages(char *block, size_t bytes)
{
    const uintptr_t from = ((uintptr_t)block + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, to = ((uintptr_t)block + bytes) / HUGE_PAGE * HUGE_PAGE;

    if (to > from)
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

/* core/mem aligns to a cache line; the contract promises more. Right in front of the block stands the address to free. */
Status cpu_alloc(Device *dev, size_t bytes, void **out)
{
    size_t whole;
    char *raw, *block;

    (void)dev;
    if (!mem_add(bytes, BLOCK_ALIGNMENT, &whole))
        return FAIL(LT_E_NOMEM, "out of memory: %zu bytes do not fit into the address space", bytes);
    raw = mem_resize(NULL, whole, 1);
    if (raw == NULL)
        return LT_E_NOMEM;
    block = (char *)(((uintptr_t)raw + BLOCK_ALIGNMENT) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT);
    memcpy(block - sizeof raw, &raw, sizeof raw);
    ask_for_huge_pages(block, bytes);
    *out = block;
    return LT_OK;
}

void cpu_release(Device *dev, void *block)
{
    void *raw;

    (void)dev;
    memcpy(&raw, (char *)block - sizeof raw, sizeof raw);
    mem_free(raw);
}

static void copy_rows(char *to, size_t to_step, const char *from, size_t from_step, size_t row_bytes, int64_t rows)
{
    if (to_step == row_bytes && from_step == row_bytes) {
        memmove(to, from, row_bytes * (size_t)rows);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memmove(to + (size_t)i * to_step, from + (size_t)i * from_step, row_bytes);
}

Status cpu_upload(Device *dev, Tensor to, const void *from)
{
    const size_t size = dtype_bytes(to.dtype), row = (size_t)to.cols * size;

    (void)dev;
    copy_rows(to.data, (size_t)to.stride * size, from, row, row, to.rows);
    return LT_OK;
}

Status cpu_download(Device *dev, void *to, Tensor from)
{
    const size_t size = dtype_bytes(from.dtype), row = (size_t)from.cols * size;

    (void)dev;
    copy_rows(to, row, from.data, (size_t)from.stride * size, row, from.rows);
    return LT_OK;
}

Status cpu_copy(Device *dev, Tensor to, Tensor from)
{
    const size_t size = dtype_bytes(to.dtype);

    (void)dev;
    copy_rows(to.data, (size_t)to.stride * size, from.data, (size_t)from.stride * size, (size_t)to.cols * size, to.rows);
    return LT_OK;
}

Status cpu_fill_zero(Device *dev, Tensor t)
{
    const size_t size = dtype_bytes(t.dtype);

    (void)dev;
    for (int64_t i = 0; i < t.rows; i++)
        memset((char *)t.data + (size_t)(i * t.stride) * size, 0, (size_t)t.cols * size);
    return LT_OK;
}

Status cpu_sync(Device *dev)
{
    (void)dev;
    return LT_OK;
}

Status cpu_memory(Device *dev, size_t *free_bytes, size_t *total_bytes)
{
    (void)dev;
    return memory_of_process("", free_bytes, total_bytes);
}

Status cpu_mark(Device *dev, int slot)
{
    cpu_of(dev)->mark[slot] = clock_s();
    return LT_OK;
}

Status cpu_elapsed(Device *dev, int from, int to, double *seconds)
{
    *seconds = cpu_of(dev)->mark[to] - cpu_of(dev)->mark[from];
    return LT_OK;
}
