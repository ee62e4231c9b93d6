#include "model/safetensors.h"

#include "core/json.h"

#include <stdlib.h>

/* Data is written in the reference's order, widest dtype first, then by name: every tensor then lies aligned to its own type. */
static size_t element_bytes(const StWrite *t)
{
    for (int d = 0; d < LT_DTYPES; d++)
        if (st_dtype_name((DType)d) != NULL && strcmp(t->dtype, st_dtype_name((DType)d)) == 0)
            return dtype_bytes((DType)d);
    return 0;
}

static int by_width_and_name(const void *a, const void *b)
{
    const StWrite *x = *(const StWrite *const *)a, *y = *(const StWrite *const *)b;
    const size_t x_bytes = element_bytes(x), y_bytes = element_bytes(y);

    if (x_bytes != y_bytes)
        return x_bytes > y_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static Status data_bytes(const StWrite *t, size_t *out)
{
    size_t bytes = element_bytes(t);

    BUG_IF(bytes == 0 || t->rank > ST_MAX_RANK);
    for (int i = 0; i < t->rank; i++)
        if (!mem_mul(bytes, (size_t)t->shape[i], &bytes))
            return FAIL(LT_E_FAIL, "tensor '%s' is too large to write", t->name);
    *out = bytes;
    return LT_OK;
}

static void add_metadata(StrBuf *out, const char *const metadata[][2], size_t n)
{
    if (n == 0)
        return;
    strbuf_add_text(out, "\"__metadata__\":{");
    for (size_t i = 0; i < n; i++) {
        strbuf_add_text(out, i == 0 ? "" : ",");
        json_write_str(out, str_of(metadata[i][0]), false);
        strbuf_add_char(out, ':');
        json_write_str(out, str_of(metadata[i][1]), false);
    }
    strbuf_add_char(out, '}');
}

static Status add_entry(StrBuf *out, const StWrite *t, uint64_t *at)
{
    size_t bytes;

    TRY(data_bytes(t, &bytes));
    json_write_str(out, str_of(t->name), false);
    strbuf_addf(out, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype);
    for (int i = 0; i < t->rank; i++)
        strbuf_addf(out, "%s%lld", i == 0 ? "" : ",", (long long)t->shape[i]);
    strbuf_addf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*at, (unsigned long long)(*at + bytes));
    *at += bytes;
    return LT_OK;
}

/* Length word and JSON, padded so that the data begins at a multiple of eight. */
static Status build_header(StrBuf *out, const StWrite *const *order, size_t n, const char *const metadata[][2], size_t n_metadata)
{
    const char placeholder[8] = {0};
    uint64_t at = 0, length;

    strbuf_add(out, placeholder, sizeof placeholder);
    strbuf_add_char(out, '{');
    add_metadata(out, metadata, n_metadata);
    for (size_t i = 0; i < n; i++) {
        strbuf_add_text(out, i == 0 && n_metadata == 0 ? "" : ",");
        TRY(add_entry(out, order[i], &at));
    }
    strbuf_add_char(out, '}');
    while (!out->failed && out->len % 8 != 0)
        strbuf_add_char(out, ' ');
    TRY(strbuf_status(out));
    length = out->len - sizeof placeholder;
    for (size_t i = 0; i < sizeof placeholder; i++)
        out->data[i] = (char)(length >> (8 * i));
    return LT_OK;
}

Status st_write(const char *path, const StWrite *tensor, size_t n_tensor, const char *const metadata[][2], size_t n_metadata)
{
    const StWrite **order = NULL;
    AtomicFile file = {0};
    StrBuf header;
    size_t bytes;
    Status st;

    strbuf_init(&header);
    TRY_GOTO(MEM_NEW(order, n_tensor), st, done);
    for (size_t i = 0; i < n_tensor; i++)
        order[i] = &tensor[i];
    qsort(order, n_tensor, sizeof *order, by_width_and_name);
    TRY_GOTO(build_header(&header, order, n_tensor, metadata, n_metadata), st, done);
    TRY_GOTO(atomic_open(&file, path), st, done);
    TRY_GOTO(atomic_write(&file, header.data, header.len), st, done);
    for (size_t i = 0; i < n_tensor; i++) {
        TRY_GOTO(data_bytes(order[i], &bytes), st, done);
        TRY_GOTO(atomic_write(&file, order[i]->data, bytes), st, done);
    }
    st = atomic_commit(&file);
done:
    atomic_close(&file);
    mem_free(order);
    strbuf_release(&header);
    return st;
}
