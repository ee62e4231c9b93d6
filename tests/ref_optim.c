#include "tests/ref_optim.h"

#include <math.h>

/* torch.optim.AdamW's single-tensor loop: decay first; the corrected root of v, then eps. */
void ref_adamw(double *p, double *m, double *v, double grad, const OptimArgs *o)
{
    const double b1 = (double)o->beta1, b2 = (double)o->beta2, g = grad * (double)o->grad_scale;

    *p *= 1 - (double)o->decay;
    *m = b1 * *m + (1 - b1) * g;
    *v = b2 * *v + (1 - b2) * g * g;
    *p -= (double)o->lr * (*m / (1 - pow(b1, (double)o->step))) / (sqrt(*v / (1 - pow(b2, (double)o->step))) + (double)o->eps);
}

/* DecoupledLionW of Composer: decay, a step by the sign of one mixture, then m becomes another. */
double ref_lion(double *p, double *m, double grad, const OptimArgs *o)
{
    const double g = grad * (double)o->grad_scale, u = *m + (1 - (double)o->beta1) * (g - *m);

    *p *= 1 - (double)o->decay;
    *p -= (double)o->lr * (u > 0 ? 1 : u < 0 ? -1 : 0);
    *m += (1 - (double)o->beta2) * (g - *m);
    return u;
}
