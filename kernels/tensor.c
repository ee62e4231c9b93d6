#include "kernels/tensor.h"

#include "kernels/device.h"

enum { BLOCK_ALIGNMENT = 256 };

typedef struct DTypeRow {
    const char *name;
    size_t bytes;
} DTypeRow;

static const DTypeRow DTYPE[LT_DTYPES] = {
    [LT_F32] = {"f32", 4}, [LT_BF16] = {"bf16", 2}, [LT_F16] = {"f16", 2},
    [LT_F64] = {"f64", 8}, [LT_I32] = {"i32", 4},   [LT_U16] = {"u16", 2},
};

size_t dtype_bytes(DType dtype)
{
    BUG_IF((unsigned)dtype >= LT_DTYPES);
    return DTYPE[dtype].bytes;
}

const char *dtype_name(DType dtype)
{
    BUG_IF((unsigned)dtype >= LT_DTYPES);
    return DTYPE[dtype].name;
}

/* A planning tensor has no memory, and a view of it has none either. */
static void *advance(Tensor t, int64_t elements)
{
    return t.data == NULL ? NULL : (char *)t.data + (size_t)elements * dtype_bytes(t.dtype);
}

Tensor tensor_rows(Tensor t, int64_t from, int64_t n)
{
    BUG_IF(from < 0 || n < 0 || from > t.rows - n);
    t.data = advance(t, from * t.stride);
    t.rows = n;
    return t;
}

Tensor tensor_cols(Tensor t, int64_t from, int64_t n)
{
    BUG_IF(from < 0 || n < 0 || from > t.cols - n);
    t.data = advance(t, from);
    t.cols = n;
    return t;
}

void tensor_arena_plan(TensorArena *a, Device *dev) { *a = (TensorArena){.dev = dev}; }

size_t tensor_arena_planned(const TensorArena *a, Status takes)
{
    if (takes == LT_OK)
        return a->used;
    status_clear();
    return SIZE_MAX;
}

Status tensor_arena_open(TensorArena *a, Device *dev, size_t bytes)
{
    size_t free_bytes, total_bytes;
    void *base;
    const Status st = device_alloc(dev, bytes, &base);

    if (st == LT_E_NOMEM && device_memory(dev, &free_bytes, &total_bytes) == LT_OK)
        return status_wrap(st, "%zu bytes needed on device '%s', %zu free", bytes, device_backend(dev), free_bytes);
    TRY(st);
    *a = (TensorArena){.dev = dev, .base = base, .bytes = bytes};
    return LT_OK;
}

void tensor_arena_close(TensorArena *a)
{
    if (a->base != NULL)
        device_release(a->dev, a->base);
    *a = (TensorArena){0};
}

/* rows * cols elements rounded up to whole blocks. */
static bool block_bytes(DType dtype, int64_t rows, int64_t cols, size_t *out)
{
    size_t bytes;

    if (__builtin_mul_overflow((size_t)rows, (size_t)cols, &bytes) || __builtin_mul_overflow(bytes, dtype_bytes(dtype), &bytes) ||
        __builtin_add_overflow(bytes, BLOCK_ALIGNMENT - 1, &bytes))
        return false;
    *out = bytes / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
    return true;
}

Status tensor_arena_take(TensorArena *a, Tensor *out, DType dtype, int64_t rows, int64_t cols)
{
    size_t bytes, end;

    BUG_IF(rows < 0 || cols < 0);
    if (!block_bytes(dtype, rows, cols, &bytes) || __builtin_add_overflow(a->used, bytes, &end))
        return FAIL(LT_E_NOMEM, "a tensor %s [%lld, %lld] does not fit into the address space", dtype_name(dtype), (long long)rows, (long long)cols);
    if (a->base != NULL && end > a->bytes)
        return FAIL(LT_E_NOMEM, "the arena of %zu bytes has %zu left, a tensor %s [%lld, %lld] needs %zu", a->bytes, a->bytes - a->used,
                    dtype_name(dtype), (long long)rows, (long long)cols, bytes);
    *out = tensor_of(a->base == NULL ? NULL : a->base + a->used, dtype, rows, cols);
    a->used = end;
    return LT_OK;
}
