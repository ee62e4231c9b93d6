/* The end of a program that made a mistake: what, and where in the launch. A fault of the processor inside a kernel is told in terms of
 * the array that the address belongs to. */
#include "tests/cudasim/fault.h"

#include "tests/cudasim/fiber.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/pages.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sim_stop(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "cudasim: ");
    if (sim_current != NULL)
        fprintf(stderr, "kernel %s, block (%u,%u,%u): ", sim_current->name, blockIdx.x, blockIdx.y, blockIdx.z);
    if (sim_thread != NULL)
        fprintf(stderr, "thread (%u,%u,%u): ", sim_thread->index.x, sim_thread->index.y, sim_thread->index.z);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    abort();
}

/* Where an address is, seen from the array next to it: "shared array 'part' of 132 bytes, at offset 132". */
void sim_describe(const void *p, char *text, size_t text_bytes)
{
    SimArray array;
    SimBlock block;

    if (sim_in_shared(p) && sim_shared_nearest(p, &array))
        snprintf(text, text_bytes, "shared array '%s' of %zu bytes, at offset %td", array.name, array.bytes, array.offset);
    else if (sim_is_device(p) && sim_block_nearest(p, &block))
        snprintf(text, text_bytes, "a block of %zu bytes of device memory, at offset %td", block.bytes, (const char *)p - block.base);
    else if (sim_in_shared(p) || sim_is_device(p))
        snprintf(text, text_bytes, "%p, where the device has no memory", p);
    else if (fiber_is_stack(p))
        snprintf(text, text_bytes, "the stack of a thread, below its end");
    else
        snprintf(text, text_bytes, "%p, which is no memory of the device", p);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int n_running; /* host threads between begin and end, a thread perhaps more than once */
static struct sigaction outside_segv, outside_bus;

static void on_fault(int, siginfo_t *info, void *)
{
    char where[200];

    if (sim_pages_fault(info->si_addr))
        return;
    sim_describe(info->si_addr, where, sizeof where);
    sim_stop("access to %s", where);
}

/* A fault may be that a fiber's stack is used up. */
static void take_alternate_stack(void)
{
    alignas(16) static thread_local char stack[64 << 10];
    static thread_local bool taken;
    stack_t alternate = {};

    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    if (!taken)
        sigaltstack(&alternate, NULL);
    taken = true;
}

void sim_faults_begin(void)
{
    struct sigaction action = {};

    take_alternate_stack();
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    pthread_mutex_lock(&lock);
    if (n_running++ == 0) {
        sigaction(SIGSEGV, &action, &outside_segv);
        sigaction(SIGBUS, &action, &outside_bus);
    }
    pthread_mutex_unlock(&lock);
}

void sim_faults_end(void)
{
    pthread_mutex_lock(&lock);
    if (--n_running == 0) {
        sigaction(SIGSEGV, &outside_segv, NULL);
        sigaction(SIGBUS, &outside_bus, NULL);
    }
    pthread_mutex_unlock(&lock);
}
