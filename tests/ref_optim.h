/* Optimizers once more in double precision, one element at a time, as ref_ops.h has the ops. */
#ifndef LETHE_TESTS_REF_OPTIM_H
#define LETHE_TESTS_REF_OPTIM_H

#include "kernels/ops.h"

/* o: numbers only, as the call had them; its tensors are not looked at. */
void ref_adamw(double *p, double *m, double *v, double grad, const OptimArgs *o);
/* The number whose sign is the step's direction. */
double ref_lion(double *p, double *m, double grad, const OptimArgs *o);

#endif
