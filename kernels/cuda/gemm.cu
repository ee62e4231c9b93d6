/* Matrix products: which of them our kernel for few rows takes (gemm_narrow.cu), and for all others, which cuBLASLt multiplies (blas.cu), the bias
 * that its epilogue does not take as it lies.
 *
 * A product of [m,k] and [k,n] is 2 m n k FLOPs over (m k + k n + m n) elements: with m rows a weight is worth m FLOPs a byte in 16 bits, so few
 * rows are bound by reading the weights (n k elements), and from about 300 rows on an H100 by its arithmetic. */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/gemm.h"

enum { BIAS_THREADS = 256, BIAS_ALIGNMENT = 16 };

/* c[i,j] = bias[j], or += */
static __global__ void bias_rows_f64(double *c, int64_t stride, const double *bias, int64_t rows, int64_t cols, bool add)
{
    for (int64_t i = (int64_t)blockIdx.x * BIAS_THREADS + threadIdx.x; i < rows * cols; i += (int64_t)gridDim.x * BIAS_THREADS) {
        double *at = c + i / cols * stride + i % cols;

        *at = add ? *at + bias[i % cols] : bias[i % cols];
    }
}

/* The library has no bias for F64: it goes into c first, in the precision in which the sum is formed. */
static Status gemm_f64_with_bias(Device *dev, const GemmArgs *args)
{
    GemmArgs g = *args;
    const unsigned blocks = cuda_blocks(g.c.rows * g.c.cols, BIAS_THREADS), most = 65535;

    LAUNCH(bias_rows_f64, blocks < most ? blocks : most, BIAS_THREADS, 0, cuda_of(dev)->stream, (double *)g.c.data, g.c.stride,
           (const double *)g.bias.data, g.c.rows, g.c.cols, g.beta != 0.0f);
    TRY(cuda_launched("gemm"));
    g.beta = 1.0f;
    return blas_gemm(dev, &g, NULL, 0);
}

/* The epilogue wants the bias in c's dtype and 16-byte aligned; one that is not is copied to the front of the workspace. F32 holds every BF16 and
 * F16. */
static Status gemm_with_bias(Device *dev, const GemmArgs *g)
{
    const size_t bytes = (size_t)g->c.cols * dtype_bytes(g->c.dtype), reserve = (bytes + 255) / 256 * 256;
    void *copy;

    if (g->bias.dtype == g->c.dtype && (uintptr_t)g->bias.data % BIAS_ALIGNMENT == 0)
        return blas_gemm(dev, g, g->bias.data, 0);
    TRY(cuda_workspace(dev, reserve + CUDA_WORKSPACE, &copy)); /* now, since growing it later would lose the copy */
    TRY(cuda_cast(dev, tensor_of(copy, g->c.dtype, 1, g->c.cols), g->bias));
    return blas_gemm(dev, g, copy, reserve);
}

Status cuda_gemm(Device *dev, const GemmArgs *g)
{
    if (gemm_narrow_serves(g))
        return gemm_narrow_run(dev, g);
    if (!tensor_is_set(g->bias))
        return blas_gemm(dev, g, NULL, 0);
    return g->c.dtype == LT_F64 ? gemm_f64_with_bias(dev, g) : gemm_with_bias(dev, g);
}
