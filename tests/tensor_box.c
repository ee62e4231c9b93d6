#include "tests/tensor_box.h"

#include "core/half.h"
#include "core/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 256, GUARD = 0xfd, POISON = 0xff }; /* all ones are a NaN in every float type */

const char *const BOX_LEVELS[N_BOX_LEVEL] = {"generic", "avx2", "avx512", "avx512-bf16", "cuda"};

Device *box_device(const char *level, int n_thread)
{
    Device *dev;

    if (strcmp(level, "cuda") == 0) {
        if (strcmp(test_device(), "cpu") == 0)
            return NULL;
        CHECK_OK(device_open(&dev, test_device(), n_thread));
        return dev;
    }
    setenv("LETHE_CPU", level, 1);
    CHECK_OK(device_open(&dev, "cpu", n_thread));
    unsetenv("LETHE_CPU");
    if (strcmp(device_class(dev) + strlen("cpu-"), level) == 0)
        return dev;
    device_close(dev);
    return NULL;
}

static Tensor as_bytes(const Box *b) { return tensor_of(b->block, LT_U16, 1, (int64_t)(b->bytes / 2)); }

Box box_new(Device *dev, DType dtype, int64_t rows, int64_t cols, int64_t pad)
{
    const size_t size = dtype_bytes(dtype), row_bytes = (size_t)(cols + pad) * size;
    Box b = {.dev = dev, .bytes = 2 * GUARD_BYTES + ((size_t)rows * row_bytes + 7) / 8 * 8};
    unsigned char *host;

    CHECK_OK(device_alloc(dev, b.bytes, (void **)&b.block));
    b.t = (Tensor){b.block + GUARD_BYTES, dtype, rows, cols, cols + pad};
    b.v = mem_take((size_t)(rows * cols), sizeof *b.v);
    host = mem_take(b.bytes, 1);
    assert_true(b.v != NULL && host != NULL);
    memset(host, GUARD, b.bytes);
    for (int64_t row = 0; row < rows; row++)
        memset(host + GUARD_BYTES + (size_t)row * row_bytes, POISON, (size_t)cols * size);
    CHECK_OK(device_upload(dev, as_bytes(&b), host));
    for (int64_t i = 0; i < rows * cols; i++)
        b.v[i] = dtype == LT_I32 ? -1 : NAN;
    mem_free(host);
    return b;
}

static void put_element(void *to, DType dtype, double value)
{
    const float f = (float)value;
    const bf16_t bf = f32_to_bf16(f);
    const f16_t h = f32_to_f16(f);
    const int32_t i = dtype == LT_I32 ? (int32_t)value : 0;
    const uint16_t u = dtype == LT_U16 ? (uint16_t)value : 0;

    switch (dtype) {
    case LT_F64: memcpy(to, &value, 8); break;
    case LT_BF16: memcpy(to, &bf, 2); break;
    case LT_F16: memcpy(to, &h, 2); break;
    case LT_I32: memcpy(to, &i, 4); break;
    case LT_U16: memcpy(to, &u, 2); break;
    default: memcpy(to, &f, 4); break;
    }
}

static double get_element(const void *from, DType dtype)
{
    uint16_t half;
    float f;
    double d;
    int32_t i;

    memcpy(&half, from, 2);
    switch (dtype) {
    case LT_F64: memcpy(&d, from, 8); return d;
    case LT_BF16: return (double)bf16_to_f32(half);
    case LT_F16: return (double)f16_to_f32(half);
    case LT_I32: memcpy(&i, from, 4); return i;
    case LT_U16: return half;
    default: memcpy(&f, from, 4); return (double)f;
    }
}

double box_round(DType dtype, double value)
{
    unsigned char element[8];

    put_element(element, dtype, value);
    return get_element(element, dtype);
}

void box_put(Box *b)
{
    const size_t size = dtype_bytes(b->t.dtype), n = (size_t)(b->t.rows * b->t.cols);
    unsigned char *host = mem_take(n, size);

    assert_non_null(host);
    for (size_t i = 0; i < n; i++) {
        put_element(host + i * size, b->t.dtype, b->v[i]);
        b->v[i] = get_element(host + i * size, b->t.dtype);
    }
    if (n > 0)
        CHECK_OK(device_upload(b->dev, b->t, host));
    mem_free(host);
}

void box_get(Box *b)
{
    const size_t size = dtype_bytes(b->t.dtype), n = (size_t)(b->t.rows * b->t.cols);
    unsigned char *host = mem_take(n, size);

    assert_non_null(host);
    if (n > 0)
        CHECK_OK(device_download(b->dev, host, b->t));
    for (size_t i = 0; i < n; i++)
        b->v[i] = get_element(host + i * size, b->t.dtype);
    mem_free(host);
}

Box box_normal(Device *dev, DType dtype, int64_t rows, int64_t cols, int64_t pad, TestRandom *r, double scale)
{
    Box b = box_new(dev, dtype, rows, cols, pad);

    for (int64_t i = 0; i < rows * cols; i++)
        b.v[i] = scale * test_normal(r);
    box_put(&b);
    return b;
}

Box box_index(Device *dev, const int32_t *value, int64_t n)
{
    Box b = box_new(dev, LT_I32, 1, n, 0);

    for (int64_t i = 0; i < n; i++)
        b.v[i] = value[i];
    box_put(&b);
    return b;
}

void box_free(Box *b)
{
    const size_t size = dtype_bytes(b->t.dtype), row_bytes = (size_t)b->t.stride * size, body = (size_t)b->t.rows * row_bytes;
    unsigned char *host = mem_take(b->bytes, 1);

    assert_non_null(host);
    CHECK_OK(device_download(b->dev, host, as_bytes(b)));
    for (size_t i = 0; i < b->bytes; i++) {
        const bool inside = i >= GUARD_BYTES && i < GUARD_BYTES + body && (i - GUARD_BYTES) % row_bytes < (size_t)b->t.cols * size;

        if (!inside && host[i] != GUARD)
            fail_msg("byte %zu of %zu outside a %s tensor of %lld rows, %lld columns, stride %lld was written", i, b->bytes,
                     dtype_name(b->t.dtype), (long long)b->t.rows, (long long)b->t.cols, (long long)b->t.stride);
    }
    mem_free(host);
    mem_free(b->v);
    device_release(b->dev, b->block);
}

/* Rounding to a p-bit significand costs 2^-2p / 6 on average over a binade (BF16 2.5e-6, F16 4e-8); four times that leaves room for
 * results that lie on the other side of a boundary. */
double box_tolerance(DType dtype, double exact)
{
    return dtype == LT_BF16 ? 1e-5 : dtype == LT_F16 ? 2e-7 : exact;
}

void check_nmse(const char *what, const double *got, const double *want, size_t n, double tolerance)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        if (got[i] != want[i]) { /* equal infinities are no error */
            const double off = got[i] - want[i];

            error += off * off;
        }
        norm += isfinite(want[i]) ? want[i] * want[i] : 0;
    }
    if (!(error <= tolerance * norm))
        fail_msg("%s: normalised mean squared error %.3g, expected at most %.3g", what, error / norm, tolerance);
}

void check_same(const char *what, const Box *a, const Box *b)
{
    const size_t size = dtype_bytes(a->t.dtype), n = (size_t)(a->t.rows * a->t.cols);
    unsigned char *x = mem_take(n, size), *y = mem_take(n, size);

    assert_true(x != NULL && y != NULL && a->t.dtype == b->t.dtype && tensor_same_shape(a->t, b->t));
    CHECK_OK(device_download(a->dev, x, a->t));
    CHECK_OK(device_download(b->dev, y, b->t));
    for (size_t i = 0; i < n; i++)
        if (memcmp(x + i * size, y + i * size, size) != 0)
            fail_msg("%s: row %zu, column %zu differs: %.9g and %.9g", what, i / (size_t)a->t.cols, i % (size_t)a->t.cols,
                     get_element(x + i * size, a->t.dtype), get_element(y + i * size, a->t.dtype));
    mem_free(x);
    mem_free(y);
}
