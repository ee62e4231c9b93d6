#include "tests/host_gemm.h"

#include "core/half.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

double read_at(Tensor t, int64_t row, int64_t col)
{
    const int64_t at = row * t.stride + col;

    switch (t.dtype) {
    case LT_F32: return (double)((const float *)t.data)[at];
    case LT_BF16: return (double)bf16_to_f32(((const uint16_t *)t.data)[at]);
    case LT_F16: return (double)f16_to_f32(((const uint16_t *)t.data)[at]);
    default: return ((const double *)t.data)[at];
    }
}

void write_at(Tensor t, int64_t row, int64_t col, double value)
{
    const int64_t at = row * t.stride + col;

    switch (t.dtype) {
    case LT_F32: ((float *)t.data)[at] = (float)value; break;
    case LT_BF16: ((uint16_t *)t.data)[at] = f32_to_bf16((float)value); break;
    case LT_F16: ((uint16_t *)t.data)[at] = f32_to_f16((float)value); break;
    default: ((double *)t.data)[at] = value; break;
    }
}

Tensor make_tensor(DType dtype, int64_t rows, int64_t cols, int64_t pad, int guard)
{
    const int64_t stride = cols + pad, all = rows + 2 * guard;
    Tensor t = {NULL, dtype, all, stride, stride};

    t.data = mem_take((size_t)(all * stride), dtype_bytes(dtype));
    assert_non_null(t.data);
    for (int64_t i = 0; i < all; i++)
        for (int64_t j = 0; j < stride; j++)
            write_at(t, i, j, (double)NAN);
    t.data = (char *)t.data + (size_t)(guard * stride) * dtype_bytes(dtype);
    t.rows = rows;
    t.cols = cols;
    return t;
}

void free_tensor(Tensor t, int guard)
{
    if (t.data != NULL)
        mem_free((char *)t.data - (size_t)(guard * t.stride) * dtype_bytes(t.dtype));
}

void fill(Tensor t, TestRandom *r)
{
    for (int64_t i = 0; i < t.rows; i++)
        for (int64_t j = 0; j < t.cols; j++)
            write_at(t, i, j, test_uniform(r, -1.0, 1.0));
}

Tensor make_operand(DType dtype, GemmOp op, int64_t rows, int64_t cols, int64_t pad, TestRandom *r)
{
    Tensor t = op == GEMM_N ? make_tensor(dtype, rows, cols, pad, 0) : make_tensor(dtype, cols, rows, pad, 0);

    fill(t, r);
    return t;
}

/* A tensor of the host on a device that cannot see it: the same strides, guards and place in a line of 256 bytes. */
typedef struct Copy {
    char *block;
    Tensor all; /* from the first guard row to the end of the last, as one row of bytes in pairs */
    void *host;
} Copy;

static Tensor copy_in(Device *dev, Copy *copy, Tensor t, int guard)
{
    const size_t size = dtype_bytes(t.dtype), before = (size_t)(guard * t.stride) * size;
    const size_t bytes = (size_t)((t.rows + 2 * guard - 1) * t.stride + (guard > 0 ? t.stride : t.cols)) * size;
    Tensor on_device = t;

    *copy = (Copy){0};
    if (!tensor_is_set(t))
        return t;
    copy->host = (char *)t.data - before;
    CHECK_OK(device_alloc(dev, bytes + 512, (void **)&copy->block));
    copy->all = tensor_of(copy->block + (uintptr_t)copy->host % 256, LT_U16, 1, (int64_t)(bytes / 2));
    CHECK_OK(device_upload(dev, copy->all, copy->host));
    on_device.data = (char *)copy->all.data + before;
    return on_device;
}

Status host_gemm(Device *dev, const GemmArgs *host, int guard)
{
    GemmArgs g = *host;
    Copy copy[4];
    Status st;

    if (strcmp(device_backend(dev), "cpu") == 0)
        return op_gemm(dev, host);
    g.a = copy_in(dev, &copy[0], host->a, 0);
    g.b = copy_in(dev, &copy[1], host->b, 0);
    g.bias = copy_in(dev, &copy[2], host->bias, 0);
    g.c = copy_in(dev, &copy[3], host->c, guard);
    st = op_gemm(dev, &g);
    CHECK_OK(device_download(dev, copy[3].host, copy[3].all));
    for (int i = 0; i < 4; i++)
        device_release(dev, copy[i].block);
    return st;
}
