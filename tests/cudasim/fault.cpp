/* The end of a program that made a mistake: what, and where in the launch. */
#include "tests/cudasim/sim.h"

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
