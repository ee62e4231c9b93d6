/* Private to tests/cudasim: the matrix product behind the stand-ins for cuBLASLt and cuBLAS. */
#ifndef CUDASIM_PRODUCT_H
#define CUDASIM_PRODUCT_H

#include <cublas_v2.h>

/* A column-major matrix as it lies in device memory. */
typedef struct SimMatrix {
    const void *data;
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
} SimMatrix;

size_t sim_type_bytes(cudaDataType_t type);
/* Bytes from the first element to the end of the last. */
size_t sim_matrix_bytes(const SimMatrix *m);

/* d = alpha op(a) op(b) + beta d + bias, bias down each column. F64 in F64, all else in F32: products and sums rounded one by one in ascending
 * order of the index summed over, an order that knows nothing of d's size; one rounding on writing. With beta 0, d is not read. */
typedef struct SimProduct {
    SimMatrix a, b, d;
    cublasOperation_t op_a, op_b;
    double alpha, beta;
    const void *bias; /* d's type; NULL: none */
    bool lower, upper; /* only that triangle of d, and the diagonal; both false: all of it */
} SimProduct;

/* Queued on the stream. */
cublasStatus_t sim_multiply(const SimProduct *product, cudaStream_t stream);

#endif
