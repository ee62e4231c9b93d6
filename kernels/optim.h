/* Private to kernels/: what an optimizer's step needs once per call, in the same bits for every backend. */
#ifndef LETHE_KERNELS_OPTIM_H
#define LETHE_KERNELS_OPTIM_H

#include "kernels/ops.h"

#include <math.h>

typedef struct OptimStep {
    float keep;                 /* 1 - decay */
    float beta1, rest1;         /* rest: 1 - beta */
    float beta2, rest2;
    float rate;                 /* lr; AdamW: lr / (1 - beta1^step) */
    float root;                 /* AdamW: 1 / sqrt(1 - beta2^step) */
    float eps, grad_scale;
    uint32_t dither;            /* AdamW: mixed into the bits that round v to BF16 */
} OptimStep;

static inline OptimStep optim_lion_step(const OptimArgs *o)
{
    return (OptimStep){.keep = (float)(1 - (double)o->decay),
                       .beta1 = o->beta1,
                       .rest1 = (float)(1 - (double)o->beta1),
                       .beta2 = o->beta2,
                       .rest2 = (float)(1 - (double)o->beta2),
                       .rate = o->lr,
                       .root = 1,
                       .eps = o->eps,
                       .grad_scale = o->grad_scale,
                       .dither = 0};
}

static inline OptimStep optim_adamw_step(const OptimArgs *o)
{
    OptimStep s = optim_lion_step(o);

    s.rate = (float)((double)o->lr / (1 - pow((double)o->beta1, (double)o->step)));
    s.root = (float)(1 / sqrt(1 - pow((double)o->beta2, (double)o->step)));
    s.dither = (uint32_t)o->step * 0x9e3779b9u; /* 2^32 over the golden ratio: neighbouring steps land far apart */
    return s;
}

#endif
