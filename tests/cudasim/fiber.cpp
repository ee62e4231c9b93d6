#include "tests/cudasim/fiber.h"

#include "tests/cudasim/sim.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" void sim_switch(void **save_sp, void *load_sp);

enum { STACK = 256 << 10, N_STACK = SIM_MAX_THREADS + 1 };

static char *stacks; /* N_STACK times a guard page and a stack, and a last guard page */
static int n_stack;

static char *next_stack(void)
{
    const size_t each = SIM_GUARD + STACK;

    if (stacks == NULL) {
        void *range = mmap(NULL, N_STACK * each + SIM_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (range == MAP_FAILED)
            sim_stop("no address space for %d stacks", N_STACK);
        stacks = (char *)range;
    }
    if (n_stack == N_STACK)
        sim_stop("more than %d fibers", N_STACK);
    char *stack = stacks + (size_t)n_stack++ * each + SIM_GUARD;

    if (mprotect(stack, STACK, PROT_READ | PROT_WRITE) != 0)
        sim_stop("no memory for a stack");
    return stack;
}

bool fiber_is_stack(const void *p) { return stacks != NULL && (uintptr_t)p - (uintptr_t)stacks < N_STACK * (size_t)(SIM_GUARD + STACK); }

static Fiber *leaving, *arriving; /* the two ends of the switch in progress, for AddressSanitizer */
static void (*first_call)(void);

static void arrive(void)
{
#ifdef __SANITIZE_ADDRESS__
    /* Which tells the bounds of the stack it left: the only way to learn the host thread's. */
    __sanitizer_finish_switch_fiber(arriving->fake_stack, (const void **)&leaving->stack, &leaving->stack_bytes);
#endif
}

/* The first frame of every fiber. */
static void begin(void)
{
    arrive();
    first_call();
    abort();
}

Fiber *fiber_create(void (*body)(void))
{
    Fiber *fiber = (Fiber *)calloc(1, sizeof *fiber);

    if (fiber == NULL)
        sim_stop("no memory for a fiber");
    fiber->stack = next_stack();
    fiber->stack_bytes = STACK;
    first_call = body;
    /* Tops at different places in their pages: at the same one, 32 stacks would fight for one set of the cache. */
    uintptr_t top = (uintptr_t)fiber->stack + STACK - (size_t)(n_stack * 17 % 64) * 64;
    void **frame = (void **)top - 22;

#if defined(__x86_64__)
    frame[6] = (void *)begin; /* after six registers; where `ret` leaves, the stack is as after a call */
#elif defined(__aarch64__)
    frame[11] = (void *)begin; /* x30 */
#endif
    fiber->sp = frame;
    return fiber;
}

void fiber_switch(Fiber *from, Fiber *to)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
    leaving = from, arriving = to;
    sim_switch(&from->sp, to->sp);
    arrive();
}
