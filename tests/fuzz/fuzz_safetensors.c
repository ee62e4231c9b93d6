/* A header and the size of the data behind it (8 bytes, little-endian, in front of the text). */
#include "tests/fuzz/fuzz.h"

#include "model/safetensors.h"

/* Every tensor lies where the one before it ends, and all of them fill the data. */
static void check_accepted(const StFile *f, uint64_t data_bytes)
{
    uint64_t at = 0;

    for (size_t i = 0; i < f->n_tensor; i++) {
        const StTensor *t = &f->tensor[i];
        int64_t count = 1;
        DType dtype;

        BUG_IF(t->begin != at || t->end < t->begin || t->rank < 0 || t->rank > ST_MAX_RANK);
        for (int d = 0; d < t->rank; d++) {
            BUG_IF(t->shape[d] < 0 || t->shape[d] > (int64_t)1 << 48);
            BUG_IF(__builtin_mul_overflow(count, t->shape[d], &count));
        }
        BUG_IF(count != t->count);
        BUG_IF(st_dtype(t, &dtype) && t->end - t->begin != (uint64_t)count * dtype_bytes(dtype));
        BUG_IF(t->name.len == 0 || strlen(t->name.data) != t->name.len);
        at = t->end;
    }
    BUG_IF(at != data_bytes);
    for (size_t i = 0; i < f->metadata_key.count; i++)
        BUG_IF((size_t)map_value(&f->metadata_key, i) >= f->n_metadata || f->metadata_value[map_value(&f->metadata_key, i)] == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t held = mem_held();
    StFile f = {.fd = -1, .path = mem_strdup("x.safetensors")};
    uint64_t data_bytes = 0;

    for (size_t i = 8; i-- > 0 && size >= 8;)
        data_bytes = data_bytes << 8 | data[i];
    if (size >= 8 && f.path != NULL && fuzz_succeeded(st_parse_header(&f, fuzz_str(data + 8, size - 8), data_bytes)))
        check_accepted(&f, data_bytes);
    status_clear();
    st_close(&f);
    BUG_IF(mem_held() != held);
    return 0;
}

#define ONE(dtype, shape, offsets) "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                                             \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" first "},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" second "}}"

static const struct {
    uint64_t data_bytes;
    const char *header;
} seeds[] = {
    {0, "{}"},
    {0, "{\"__metadata__\":null}"},
    {0, "{\"__metadata__\":{\"format\":\"pt\",\"\\u00e9\":\"\"}}      "},
    {8, ONE("F32", "[2]", "[0,8]")},
    {8, ONE("F64", "[]", "[0,8]")},
    {6, ONE("BF16", "[1,3,1]", "[0,6]")},
    {2, ONE("F4", "[4]", "[0,2]")},
    {3, ONE("F6_E2M3", "[4]", "[0,3]")},
    {0, ONE("C64", "[0,281474976710656]", "[0,0]")},
    {(uint64_t)1 << 50, ONE("F32", "[281474976710656]", "[0,1125899906842624]")},
    {4, TWO("[0,2]", "[2,4]")},
    {4, TWO("[2,4]", "[0,2]")},
    {3, TWO("[0,2]", "[1,3]")},
    {5, TWO("[0,2]", "[3,5]")},
    {2, TWO("[0,2]", "[0,2]")},
    {3, "{\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]},\"c\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[2,3]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[2,2]}}"},
    {8, ONE("F32", "[-2]", "[0,8]")},
    {8, ONE("F32", "[2.0]", "[0,8e0]")},
    {8, ONE("F32", "[18446744073709551615,0]", "[0,0]")},
    {8, ONE("F32", "[4294967296,4294967296]", "[0,8]")},
    {8, ONE("F32", "[2]", "[8,0]")},
    {4, "{\"a/../b\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":[[[[{\"y\":-0}]]]]}}"},
};

void fuzz_safetensors_seeds(SeedList *out)
{
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        StrBuf text;

        strbuf_init(&text);
        for (int k = 0; k < 8; k++)
            strbuf_add_char(&text, (char)(seeds[i].data_bytes >> (8 * k)));
        strbuf_add_text(&text, seeds[i].header);
        seed_add_buf(out, &text);
    }
}
