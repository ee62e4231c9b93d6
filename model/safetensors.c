#include "model/safetensors.h"

#include "core/json.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100000000, MAX_TENSORS = 1000000, MAX_NAME = 1024, MAX_DEPTH = 8 };
static const int64_t max_dimension = (int64_t)1 << 48;

/* Sizes in bits: the format also knows types of four and six. */
static const struct {
    const char *name;
    unsigned bits;
} dtypes[] = {
    {"F32", 32},     {"BF16", 16},    {"F16", 16},        {"F64", 64},        {"I32", 32},     {"I64", 64}, {"BOOL", 8},
    {"U8", 8},       {"I8", 8},       {"U16", 16},        {"I16", 16},        {"U32", 32},     {"U64", 64}, {"C64", 64},
    {"F8_E4M3", 8},  {"F8_E5M2", 8},  {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E8M0", 8},  {"F4", 4},
    {"F6_E2M3", 6},  {"F6_E3M2", 6},
};
enum { N_DTYPE = sizeof dtypes / sizeof *dtypes };

static const char *const computed[LT_DTYPES] = {[LT_F32] = "F32", [LT_BF16] = "BF16", [LT_F16] = "F16", [LT_F64] = "F64", [LT_I32] = "I32"};

const char *st_dtype_name(DType dtype) { return computed[dtype]; }

bool st_dtype(const StTensor *t, DType *out)
{
    for (int d = 0; d < LT_DTYPES; d++)
        if (computed[d] != NULL && strcmp(t->dtype, computed[d]) == 0) {
            *out = (DType)d;
            return true;
        }
    return false;
}

/* What the JSON parser cannot tell afterwards: nesting beyond what the format needs, and "-0", which it reads as a plain 0. */
static Status scan_header(const char *file, Str header)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < header.len; i++) {
        const char c = header.data[i], next = i + 1 < header.len ? header.data[i + 1] : '\0';

        if (in_string) {
            if (c == '\\')
                i++;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return FAIL(LT_E_INPUT, "%s: header byte %zu: expected nesting of at most %d, found more", file, i, MAX_DEPTH);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '-' && next == '0') {
            return FAIL(LT_E_INPUT, "%s: header byte %zu: expected a plain integer, found -0", file, i);
        }
    }
    return LT_OK;
}

/* A size in the header: digits only, so neither 4.0 nor 4e0. */
static Status plain_integer(JsonAt at, int64_t max, int64_t *out)
{
    if (!json_is_integer(at.value))
        return json_expected(at, "a plain integer");
    return json_to_int(at, 0, max, out);
}

static Status parse_shape(StTensor *t, JsonAt shape)
{
    size_t rank, count = 1;

    TRY(json_to_array(shape, &rank));
    if (rank > ST_MAX_RANK)
        return json_fail(shape, "expected at most %d dimensions, found %zu", ST_MAX_RANK, rank);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        TRY(plain_integer(json_element(&shape, i), max_dimension, &t->shape[i]));
        if (!mem_mul(count, (size_t)t->shape[i], &count) || count > INT64_MAX)
            return json_fail(shape, "the product of the dimensions does not fit 63 bits");
    }
    t->count = (int64_t)count;
    return LT_OK;
}

static Status parse_dtype(StTensor *t, JsonAt at, size_t *bytes)
{
    size_t bits;
    Str name;

    TRY(json_to_str(at, &name));
    for (int i = 0; i < N_DTYPE; i++) {
        if (!str_is(name, dtypes[i].name))
            continue;
        t->dtype = dtypes[i].name;
        if (!mem_mul((size_t)t->count, dtypes[i].bits, &bits) || bits % 8 != 0)
            return json_fail(at, "%lld elements of %u bits are no whole number of bytes", (long long)t->count, dtypes[i].bits);
        *bytes = bits / 8;
        return LT_OK;
    }
    return json_expected(at, "a dtype of the format (F32, BF16, F16, ...)");
}

static Status parse_tensor(StTensor *t, JsonAt entry, uint64_t data_bytes)
{
    const JsonAt offsets = json_member(&entry, "data_offsets");
    int64_t begin, end;
    size_t bytes = 0, n;

    TRY(json_to_object(entry));
    TRY(parse_shape(t, json_member(&entry, "shape")));
    TRY(parse_dtype(t, json_member(&entry, "dtype"), &bytes));
    TRY(json_to_array(offsets, &n));
    if (n != 2)
        return json_fail(offsets, "expected two offsets, found %zu", n);
    TRY(plain_integer(json_element(&offsets, 0), INT64_MAX, &begin));
    TRY(plain_integer(json_element(&offsets, 1), INT64_MAX, &end));
    if (end < begin || (uint64_t)end > data_bytes)
        return json_fail(offsets, "expected a range within the %llu data bytes, found [%lld, %lld]", (unsigned long long)data_bytes,
                         (long long)begin, (long long)end);
    if ((uint64_t)(end - begin) != bytes)
        return json_fail(offsets, "expected %zu bytes by shape and dtype, found %lld", bytes, (long long)(end - begin));
    if (json_object_size(entry.value) != 3)
        log_warning("%s: tensor '" STR_FORMAT "' has fields beyond dtype, shape and data_offsets; they are ignored", entry.file,
                    STR_ARG(t->name));
    t->begin = (uint64_t)begin;
    t->end = (uint64_t)end;
    return LT_OK;
}

static Status parse_metadata(StFile *f, JsonAt at)
{
    const char *key;
    json_t *value;

    if (!json_here(at))
        return LT_OK;
    TRY(json_to_object(at));
    TRY(ARENA_NEW(&f->memory, f->metadata_value, json_object_size(at.value)));
    json_object_foreach(at.value, key, value)
    {
        Str text;

        TRY(json_to_str(json_member(&at, key), &text));
        TRY(map_put(&f->metadata_key, str_of(key), (int64_t)f->n_metadata, NULL));
        f->metadata_value[f->n_metadata] = arena_strndup(&f->memory, text.data, text.len);
        if (f->metadata_value[f->n_metadata++] == NULL)
            return LT_E_NOMEM;
    }
    return LT_OK;
}

static Status parse_name(StFile *f, StTensor *t, const char *key, size_t len)
{
    char *copy;

    if (len == 0 || len > MAX_NAME)
        return FAIL(LT_E_INPUT, "%s: expected tensor names of 1 to %d bytes, found one of %zu", f->path, MAX_NAME, len);
    if (memchr(key, '\0', len) != NULL)
        return FAIL(LT_E_INPUT, "%s: tensor name '%s...' holds a NUL", f->path, key);
    copy = arena_strndup(&f->memory, key, len);
    if (copy == NULL)
        return LT_E_NOMEM;
    t->name = (Str){copy, len};
    return LT_OK;
}

static int by_place(const void *a, const void *b)
{
    const StTensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1; /* an empty tensor stands before the one that begins at the same byte */
    return strcmp(x->name.data, y->name.data);
}

/* Holes would let a file carry foreign bytes, overlaps would let a small file ask for much memory. */
static Status check_tiling(const StFile *f, uint64_t data_bytes)
{
    uint64_t at = 0;

    for (size_t i = 0; i < f->n_tensor; i++) {
        const StTensor *t = &f->tensor[i];

        if (t->begin != at)
            return FAIL(LT_E_INPUT, "%s: tensor '%s': expected to begin at data byte %llu, found %llu (%s)", f->path, t->name.data,
                        (unsigned long long)at, (unsigned long long)t->begin, t->begin > at ? "a hole" : "an overlap");
        at = t->end;
    }
    if (at != data_bytes)
        return FAIL(LT_E_INPUT, "%s: expected %llu data bytes by the header, found %llu", f->path, (unsigned long long)at,
                    (unsigned long long)data_bytes);
    return LT_OK;
}

static Status parse_entries(StFile *f, JsonAt root, uint64_t data_bytes)
{
    const size_t n = json_object_size(root.value);
    size_t len;
    const char *key;
    json_t *value;

    if (n > MAX_TENSORS)
        return FAIL(LT_E_INPUT, "%s: expected at most %d tensors, found %zu", f->path, MAX_TENSORS, n);
    TRY(ARENA_NEW(&f->memory, f->tensor, n));
    json_object_keylen_foreach(root.value, key, len, value)
    {
        StTensor *t = &f->tensor[f->n_tensor];
        JsonAt entry;

        if (str_is((Str){key, len}, "__metadata__")) {
            TRY(parse_metadata(f, json_member(&root, key)));
            continue;
        }
        TRY(parse_name(f, t, key, len));
        entry = json_member(&root, t->name.data);
        TRY(parse_tensor(t, entry, data_bytes));
        f->n_tensor++;
    }
    qsort(f->tensor, f->n_tensor, sizeof *f->tensor, by_place);
    return check_tiling(f, data_bytes);
}

Status st_parse_header(StFile *f, Str header, uint64_t data_bytes)
{
    json_t *document;
    size_t end = header.len;
    Status st;

    arena_init(&f->memory);
    map_init(&f->metadata_key);
    if (header.len == 0 || header.data[0] != '{')
        return FAIL(LT_E_INPUT, "%s: expected a header that begins with '{'", f->path);
    while (end > 0 && header.data[end - 1] == ' ')
        end--;
    if (end > 0 && header.data[end - 1] != '}')
        log_warning("%s: the header is padded with something other than spaces", f->path);
    TRY(scan_header(f->path, header));
    TRY(json_parse(&document, header, f->path, 0));
    st = parse_entries(f, json_root(document, f->path, 0), data_bytes);
    json_decref(document);
    return st;
}

static Status read_at(int fd, const char *path, uint64_t at, void *out, size_t bytes)
{
    char *to = out;

    while (bytes > 0) {
        const ssize_t got = pread(fd, to, bytes, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FAIL(LT_E_INPUT, "%s: cannot read %zu bytes at %llu: %s", path, bytes, (unsigned long long)at,
                        got < 0 ? strerror(errno) : "the file ends before");
        to += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return LT_OK;
}

/* Size and identity come from the open descriptor: the name may point elsewhere a moment later. */
static Status identify(StFile *f)
{
    struct stat s;

    if (fstat(f->fd, &s) != 0)
        return FAIL(LT_E_INPUT, "%s: %s", f->path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return FAIL(LT_E_INPUT, "%s: expected a regular file", f->path);
    f->file_bytes = (uint64_t)s.st_size;
    f->id = file_id_of(&s);
    return LT_OK;
}

static Status read_header(StFile *f)
{
    uint8_t raw[8];
    uint64_t n = 0;
    char *header;
    Status st;

    if (f->file_bytes < sizeof raw)
        return FAIL(LT_E_INPUT, "%s: expected a header length of 8 bytes, found a file of %llu", f->path, (unsigned long long)f->file_bytes);
    TRY(read_at(f->fd, f->path, 0, raw, sizeof raw));
    for (int i = 7; i >= 0; i--)
        n = n << 8 | raw[i];
    if (n > MAX_HEADER || n > f->file_bytes - sizeof raw)
        return FAIL(LT_E_INPUT, "%s: expected a header of at most %d bytes within the file of %llu, found length %llu", f->path, MAX_HEADER,
                    (unsigned long long)f->file_bytes, (unsigned long long)n);
    f->data_start = sizeof raw + n;
    TRY(MEM_NEW(header, n));
    st = read_at(f->fd, f->path, sizeof raw, header, n);
    if (st == LT_OK)
        st = st_parse_header(f, (Str){header, n}, f->file_bytes - f->data_start);
    mem_free(header);
    return st;
}

Status st_open(StFile *f, const char *path)
{
    StFile file = {.fd = -1, .path = mem_strdup(path)};
    Status st;

    if (file.path == NULL)
        return LT_E_NOMEM;
    file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for whoever writes to a pipe */
    if (file.fd < 0)
        st = FAIL(LT_E_INPUT, "cannot open '%s': %s", path, strerror(errno));
    else
        st = identify(&file);
    if (st == LT_OK)
        st = read_header(&file);
    if (st == LT_OK)
        *f = file;
    else
        st_close(&file);
    return st;
}

void st_close(StFile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    map_release(&f->metadata_key);
    arena_release(&f->memory);
    mem_free(f->path);
    *f = (StFile){.fd = -1};
}

Status st_read(const StFile *f, const StTensor *t, uint64_t from, void *out, size_t bytes)
{
    BUG_IF(from > t->end - t->begin || bytes > t->end - t->begin - from);
    return read_at(f->fd, f->path, f->data_start + t->begin + from, out, bytes);
}
