/* Gradients of ops once more in double precision, as ref_ops.h has the ops: plain loops over contiguous matrices. */
#ifndef LETHE_TESTS_REF_GRAD_H
#define LETHE_TESTS_REF_GRAD_H

#include "tests/ref_ops.h"

/* dx[rows, n_group n] =, dw[n] +=. */
void ref_rmsnorm_grad(double *dx, double *dw, const double *dy, const double *x, const double *w, int64_t rows, int64_t n_group, int64_t n,
                      double eps);
/* dgate_up[rows, 2 n]. */
void ref_swiglu_grad(double *dgate_up, const double *dy, const double *gate_up, int64_t rows, int64_t n);
/* dw[id[i]] += dy[i]. */
void ref_embed_grad(double *dw, const double *dy, const int32_t *id, int64_t rows, int64_t n);
/* db[n] += sum over rows. */
void ref_bias_grad(double *db, const double *dy, int64_t rows, int64_t n);

/* Attention with dropout p: attn.o and attn.lse (both there) from the rest. */
typedef struct RefAttnDrop {
    RefAttn attn;
    double p;
    DropoutKey key;
} RefAttnDrop;
void ref_attn_drop(const RefAttnDrop *a);

/* dq, dk, dv += from fwd (o and lse as they are), for segments without a context. */
typedef struct RefAttnGrad {
    RefAttnDrop fwd;
    double *dq, *dk, *dv;
    const double *d_o;
} RefAttnGrad;
/* Squares of all that was added, summed over dq, dk, dv: what rounding each of it costs. */
typedef struct RefTerms {
    double dq, dk, dv;
} RefTerms;
RefTerms ref_attn_grad(const RefAttnGrad *a);

#endif
