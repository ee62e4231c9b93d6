#include "kernels/check_args.h"

#include <stdio.h>

enum { TEXT_BYTES = 96 };

/* "f32 or bf16" */
static void write_dtypes(char out[TEXT_BYTES], unsigned dtypes)
{
    int at = 0;

    out[0] = '\0';
    for (int d = 0; d < LT_DTYPES; d++)
        if (dtypes & 1u << d)
            at += snprintf(out + at, (size_t)(TEXT_BYTES - at), "%s%s", at > 0 ? " or " : "", dtype_name((DType)d));
}

static void write_size(char out[24], int64_t size)
{
    if (size == ANY_SIZE)
        snprintf(out, 24, "any");
    else
        snprintf(out, 24, "%lld", (long long)size);
}

Status check_tensor(const char *op, const char *name, Tensor t, unsigned dtypes, int64_t rows, int64_t cols)
{
    char types[TEXT_BYTES], want_rows[24], want_cols[24];

    if (t.data == NULL && t.rows == 0 && t.cols == 0 && rows != 0 && cols != 0 && rows != ANY_SIZE && cols != ANY_SIZE)
        return FAIL(LT_E_FAIL, "%s: %s is missing", op, name);
    if ((unsigned)t.dtype >= LT_DTYPES || !(dtypes & 1u << t.dtype) || t.rows < 0 || t.cols < 0 || (rows != ANY_SIZE && t.rows != rows) ||
        (cols != ANY_SIZE && t.cols != cols)) {
        write_dtypes(types, dtypes);
        write_size(want_rows, rows);
        write_size(want_cols, cols);
        return FAIL(LT_E_FAIL, "%s: %s is %s [%lld, %lld], expected %s [%s, %s]", op, name,
                    (unsigned)t.dtype < LT_DTYPES ? dtype_name(t.dtype) : "of an unknown dtype", (long long)t.rows, (long long)t.cols, types,
                    want_rows, want_cols);
    }
    if (t.stride < t.cols)
        return FAIL(LT_E_FAIL, "%s: %s has row stride %lld, expected at least its %lld columns", op, name, (long long)t.stride,
                    (long long)t.cols);
    if (t.data == NULL && !is_empty(t))
        return FAIL(LT_E_FAIL, "%s: %s [%lld, %lld] has no memory", op, name, (long long)t.rows, (long long)t.cols);
    return LT_OK;
}

Status check_optional(const char *op, const char *name, Tensor t, unsigned dtypes, int64_t rows, int64_t cols)
{
    return tensor_is_set(t) ? check_tensor(op, name, t, dtypes, rows, cols) : LT_OK;
}
