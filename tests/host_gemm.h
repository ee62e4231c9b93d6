/* Matrices in host memory for tests of op_gemm, and op_gemm on them wherever the device keeps its own. */
#ifndef LETHE_TESTS_HOST_GEMM_H
#define LETHE_TESTS_HOST_GEMM_H

#include "kernels/ops.h"
#include "tests/check.h"

double read_at(Tensor t, int64_t row, int64_t col);
void write_at(Tensor t, int64_t row, int64_t col, double value);

/* rows x cols of memory with `pad` columns behind each row and `guard` rows around; everything is NaN. */
Tensor make_tensor(DType dtype, int64_t rows, int64_t cols, int64_t pad, int guard);
void free_tensor(Tensor t, int guard);
/* Numbers of -1 to 1. */
void fill(Tensor t, TestRandom *r);
/* What op turns into rows x cols, filled. */
Tensor make_operand(DType dtype, GemmOp op, int64_t rows, int64_t cols, int64_t pad, TestRandom *r);

/* op_gemm on tensors of the host; c has `guard` rows of guard on both sides. */
Status host_gemm(Device *dev, const GemmArgs *host, int guard);

#endif
