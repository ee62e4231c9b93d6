/* What ops.h says, once more: double precision, plain loops, contiguous matrices, nothing shared with kernels/ but the structs of its
 * arguments. Every backend is tested against this. */
#ifndef LETHE_TESTS_REF_OPS_H
#define LETHE_TESTS_REF_OPS_H

#include "kernels/ops.h"

/* x, y[rows, n_group * n], w[n]; rstd[rows, n_group] may be NULL. */
void ref_rmsnorm(double *y, double *rstd, const double *x, const double *w, int64_t rows, int64_t n_group, int64_t n, double eps);
/* x[rows, n_head * 2 half] in place; cos, sin[., half]. */
void ref_rope(double *x, const double *cos, const double *sin, const int32_t *row, int64_t rows, int64_t n_head, int64_t half, int direction);
/* y[rows, n], gate_up[rows, 2 n]. */
void ref_swiglu(double *y, const double *gate_up, int64_t rows, int64_t n);

/* q, o[., n_head * size], k, v[., n_kv_head * size], lse[., n_head]. Rows of o and lse that belong to no segment are left alone. */
typedef struct RefAttn {
    double *o, *lse;
    const double *q, *k, *v;
    const AttnSegment *seg;
    int32_t n_seg, n_head, n_kv_head, size, window;
    double scale;
} RefAttn;
void ref_attn(const RefAttn *a);

/* log(sum(exp(x))) of n numbers. */
double ref_lse(const double *x, int64_t n);
void ref_pair_logprob(double *lp, const double *logits, const int32_t *row, const int32_t *target, int64_t n_pair, int64_t n);
int64_t ref_argmax(const double *x, int64_t n);
/* What op_sample draws from: the ids that the cuts leave, in the order in which they take up the interval [0, 1), and what each takes of it.
 * share[k] belongs to order[k]. How many there are. */
int64_t ref_sample_shares(double *share, int32_t *order, const double *x, int64_t n, double temperature, int64_t top_k, double top_p);
/* dlogits may be NULL. */
void ref_xent(double *loss, double *dlogits, const double *logits, const int32_t *target, const double *weight, int64_t rows, int64_t n);

#endif
