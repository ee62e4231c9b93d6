/* Fibers: stacks that one host thread switches between by hand. A switch saves the registers that a call preserves and nothing else, about
 * 10 ns; signal masks and the floating-point mode are everyone's. Stacks are made on demand, lie between guard pages and are kept. */
#ifndef CUDASIM_FIBER_H
#define CUDASIM_FIBER_H

#include <stddef.h>

typedef struct Fiber {
    void *sp;             /* while it is not running */
    char *stack;          /* the lowest usable byte; NULL for the host thread's own */
    size_t stack_bytes;
    void *fake_stack;     /* AddressSanitizer's */
    struct Fiber *next;   /* in its user's list of idle fibers */
} Fiber;

/* A fiber that runs `body` at its first switch; body never returns. */
Fiber *fiber_create(void (*body)(void));
/* Leaves `from` (the one that runs) for `to`; returns when something switches back. */
void fiber_switch(Fiber *from, Fiber *to);
/* The stacks lie in one range of addresses. */
bool fiber_is_stack(const void *p);

#endif
