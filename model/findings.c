#include "model/findings.h"

enum { MAX_LISTED = 12 };

void findings_init(Findings *f)
{
    f->count = 0;
    strbuf_init(&f->text);
}

void findings_release(Findings *f)
{
    strbuf_release(&f->text);
}

bool findings_next(Findings *f)
{
    if (f->count++ >= MAX_LISTED)
        return false;
    strbuf_add_text(&f->text, f->count == 1 ? "" : "; ");
    return true;
}

Status findings_finish(Findings *f)
{
    if (f->count > MAX_LISTED)
        strbuf_addf(&f->text, "; and %zu more", f->count - MAX_LISTED);
    return strbuf_status(&f->text);
}

static void add_shape(StrBuf *out, const int64_t *shape, int rank)
{
    strbuf_add_char(out, '[');
    for (int i = 0; i < rank; i++)
        strbuf_addf(out, "%s%lld", i == 0 ? "" : ",", (long long)shape[i]);
    strbuf_add_char(out, ']');
}

void findings_compare(Findings *f, const ParamEntry *entry, const char *name, const StTensor *t)
{
    const int rank = entry->part == PART_W && entry->row->rows == DIM_ONE ? 1 : 2;
    const int64_t shape[2] = {rank == 1 ? entry->cols : entry->rows, entry->cols};
    DType dtype;

    if (t == NULL) {
        if (findings_next(f))
            strbuf_addf(&f->text, "tensor '%s' is missing", name);
        return;
    }
    if (t->rank != rank || memcmp(t->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        if (findings_next(f)) {
            strbuf_addf(&f->text, "tensor '%s': expected shape ", name);
            add_shape(&f->text, shape, rank);
            strbuf_add_text(&f->text, ", found ");
            add_shape(&f->text, t->shape, t->rank);
        }
        return;
    }
    if (!st_dtype(t, &dtype) || (dtype != LT_F32 && dtype != LT_BF16 && dtype != LT_F16))
        if (findings_next(f))
            strbuf_addf(&f->text, "tensor '%s': expected dtype F32, BF16 or F16, found %s", name, t->dtype);
}
