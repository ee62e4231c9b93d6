#include "tests/cudasim/product.h"

#include "tests/cudasim/sim.h"

extern "C" {
#include "core/half.h"
}

#include <stdlib.h>

size_t sim_type_bytes(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

size_t sim_matrix_bytes(const SimMatrix *m)
{
    return m->rows == 0 || m->cols == 0 ? 0 : ((m->cols - 1) * (size_t)m->ld + m->rows) * sim_type_bytes(m->type);
}

static double read_element(const void *data, cudaDataType_t type, size_t at)
{
    switch (type) {
    case CUDA_R_64F: return ((const double *)data)[at];
    case CUDA_R_32F: return ((const float *)data)[at];
    case CUDA_R_16BF: return bf16_to_f32(((const bf16_t *)data)[at]);
    default: return f16_to_f32(((const f16_t *)data)[at]);
    }
}

static void write_element(void *data, cudaDataType_t type, size_t at, double value)
{
    switch (type) {
    case CUDA_R_64F: ((double *)data)[at] = value; break;
    case CUDA_R_32F: ((float *)data)[at] = (float)value; break;
    case CUDA_R_16BF: ((bf16_t *)data)[at] = f32_to_bf16((float)value); break;
    default: ((f16_t *)data)[at] = f32_to_f16((float)value); break;
    }
}

/* Rows of d that are computed side by side, in vectors, so that a tiny model runs in bearable time. */
enum { PANEL = 32 };

template <typename T> struct Vector;
template <> struct Vector<float> {
    typedef float Type __attribute__((vector_size(32)));
};
template <> struct Vector<double> {
    typedef double Type __attribute__((vector_size(32)));
};

template <typename T> static T *take(size_t n)
{
    T *block = (T *)aligned_alloc(64, (n * sizeof(T) + 64) / 64 * 64);

    if (block == NULL)
        sim_stop("cuBLAS: no host memory for %zu elements", n);
    return block;
}

/* to[p * PANEL + i] = op(a)[row + i, p], zero below its last row. */
template <typename T> static void pack_panel(T *to, const SimProduct *s, uint64_t row, uint64_t k)
{
    for (uint64_t p = 0; p < k; p++)
        for (uint64_t i = 0; i < PANEL; i++) {
            const uint64_t at = row + i;

            to[p * PANEL + i] = at >= s->d.rows ? 0
                                : s->op_a == CUBLAS_OP_N ? (T)read_element(s->a.data, s->a.type, at + p * (size_t)s->a.ld)
                                                         : (T)read_element(s->a.data, s->a.type, p + at * (size_t)s->a.ld);
        }
}

template <typename T> static void pack_column(T *to, const SimProduct *s, uint64_t col, uint64_t k)
{
    for (uint64_t p = 0; p < k; p++)
        to[p] = s->op_b == CUBLAS_OP_N ? (T)read_element(s->b.data, s->b.type, p + col * (size_t)s->b.ld)
                                       : (T)read_element(s->b.data, s->b.type, col + p * (size_t)s->b.ld);
}

template <typename T> static void multiply_panel(T sum[PANEL], const T *panel, const T *column, uint64_t k)
{
    typedef typename Vector<T>::Type V;
    enum { WIDTH = sizeof(V) / sizeof(T), N_VECTOR = PANEL / WIDTH };
    V acc[N_VECTOR] = {};

    for (uint64_t p = 0; p < k; p++)
        for (int v = 0; v < N_VECTOR; v++)
            acc[v] += ((const V *)(panel + p * PANEL))[v] * column[p];
    memcpy(sum, acc, sizeof acc);
}

template <typename T> static void write_panel(const SimProduct *s, uint64_t row, uint64_t col, const T sum[PANEL])
{
    for (uint64_t i = row; i < s->d.rows && i < row + PANEL; i++) {
        const size_t at = i + col * (size_t)s->d.ld;
        T value = (T)s->alpha * sum[i - row];

        if ((s->lower && i < col) || (s->upper && i > col))
            continue;
        if (s->beta != 0)
            value += (T)s->beta * (T)read_element(s->d.data, s->d.type, at);
        if (s->bias != NULL)
            value += (T)read_element(s->bias, s->d.type, i);
        write_element((void *)s->d.data, s->d.type, at, value);
    }
}

template <typename T> static void multiply(const SimProduct *s)
{
    const uint64_t k = s->op_a == CUBLAS_OP_N ? s->a.cols : s->a.rows;
    T *panel = take<T>(PANEL * k), *column = take<T>(k * s->d.cols), sum[PANEL];

    for (uint64_t col = 0; col < s->d.cols; col++)
        pack_column(column + col * k, s, col, k);
    for (uint64_t row = 0; row < s->d.rows; row += PANEL) {
        pack_panel(panel, s, row, k);
        for (uint64_t col = 0; col < s->d.cols; col++) {
            multiply_panel(sum, panel, column + col * k, k);
            write_panel(s, row, col, sum);
        }
    }
    free(panel);
    free(column);
}

static void run_product(const void *args)
{
    const SimProduct *s = (const SimProduct *)args;

    if (s->d.type == CUDA_R_64F)
        multiply<double>(s);
    else
        multiply<float>(s);
}

cublasStatus_t sim_multiply(const SimProduct *product, cudaStream_t stream)
{
    sim_check_device("matrix product: first operand", product->a.data, sim_matrix_bytes(&product->a));
    sim_check_device("matrix product: second operand", product->b.data, sim_matrix_bytes(&product->b));
    sim_check_device("matrix product: result", product->d.data, sim_matrix_bytes(&product->d));
    if (product->bias != NULL)
        sim_check_device("matrix product: bias", product->bias, product->d.rows * sim_type_bytes(product->d.type));
    return sim_enqueue(stream, "matrix product", run_product, product, sizeof *product) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                                                       : CUBLAS_STATUS_EXECUTION_FAILED;
}
