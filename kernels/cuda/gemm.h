/* Private to kernels/cuda: the product of few rows by our own kernel. */
#ifndef LETHE_KERNELS_CUDA_GEMM_H
#define LETHE_KERNELS_CUDA_GEMM_H

#include "kernels/cuda/cuda.h"

/* 16-bit y = x W^T of the class narrow. Everything else is the library's. */
bool gemm_narrow_serves(const GemmArgs *g);
Status gemm_narrow_run(Device *dev, const GemmArgs *g);

#endif
