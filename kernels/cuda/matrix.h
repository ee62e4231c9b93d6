/* Private to kernels/cuda: matrices on their way to and from a library that counts columns first. */
#ifndef LETHE_KERNELS_CUDA_MATRIX_H
#define LETHE_KERNELS_CUDA_MATRIX_H

#include "kernels/cuda/cuda.h"

typedef enum MatrixTurn { MATRIX_AS_IT_LIES, MATRIX_TRANSPOSED } MatrixTurn;

/* to = from (or its transpose), each row of `from` times its element of `scale`, a vector of to's dtype (zero: left out). F32 or F64, or from F32 to F64. op:
 * for messages. */
Status matrix_move(Device *dev, const char *op, Tensor to, Tensor from, MatrixTurn turn, Tensor scale);
/* What a QR leaves behind: factor[n, m] holds, row by row, the columns of the factorised matrix. sign[1, n] = -1 where the diagonal is negative, else
 * 1; r[n, n] = the triangle, its rows times their sign, and zeros below. */
Status matrix_triangle(Device *dev, Tensor r, Tensor sign, Tensor factor);

#endif
