/* Tensors: views of device memory as rows with a row stride, innermost dimension contiguous.
 *
 * A Tensor owns nothing. Memory comes from a TensorArena, which a role (weights, activations, KV pages, ...) takes once and
 * carves; run the carving code on an arena without memory first and it only adds up what it would need. */
#ifndef LETHE_KERNELS_TENSOR_H
#define LETHE_KERNELS_TENSOR_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Device Device;

typedef enum DType { LT_F32, LT_BF16, LT_F16, LT_F64, LT_I32, LT_U16, LT_DTYPES } DType;

size_t dtype_bytes(DType dtype);
/* "f32", "bf16", "f16", "f64", "i32", "u16". */
const char *dtype_name(DType dtype);

typedef struct Tensor {
    void *data;
    DType dtype;
    int64_t rows, cols;
    int64_t stride; /* elements from one row to the next, >= cols */
} Tensor;

/* A vector of n elements is a tensor of one row. */
static inline Tensor tensor_of(void *data, DType dtype, int64_t rows, int64_t cols)
{
    return (Tensor){data, dtype, rows, cols, cols};
}
static inline bool tensor_is_set(Tensor t) { return t.data != NULL; }
/* Rows [from, from + n) and columns [from, from + n) of t. */
Tensor tensor_rows(Tensor t, int64_t from, int64_t n);
Tensor tensor_cols(Tensor t, int64_t from, int64_t n);
static inline bool tensor_same_shape(Tensor a, Tensor b) { return a.rows == b.rows && a.cols == b.cols; }

/* Bump allocator over one block of device memory; blocks are 256-byte aligned. */
typedef struct TensorArena {
    Device *dev;
    char *base;     /* NULL while planning */
    size_t bytes;   /* size of the block */
    size_t used;    /* taken so far; while planning: needed so far */
} TensorArena;

/* A planning arena: takes give tensors with data NULL and only count. */
void tensor_arena_plan(TensorArena *a, Device *dev);
/* What the takes came to, by the status of them all. SIZE_MAX, and the failure's text cleared, where they do not add up: no device has so much. */
size_t tensor_arena_planned(const TensorArena *a, Status takes);
/* Allocates `bytes` on the device, then starts again from 0. LT_E_NOMEM names both figures. */
Status tensor_arena_open(TensorArena *a, Device *dev, size_t bytes);
void tensor_arena_close(TensorArena *a);
/* The next rows x cols block. Running past the end is LT_E_NOMEM (a plan and its use disagree). */
Status tensor_arena_take(TensorArena *a, Tensor *out, DType dtype, int64_t rows, int64_t cols);

#endif
