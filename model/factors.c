#include "model/factors.h"

#include "model/convert.h"

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

static int64_t elements(const ParamEntry *e) { return e->rows * e->cols; }

static Status take_memory(Factors *f)
{
    size_t total = 0;
    float *at;

    for (size_t i = 0; i < f->params.count; i++)
        total += (size_t)elements(&f->params.entry[i]);
    TRY(MEM_NEW(f->memory, total));
    at = f->memory;
    for (size_t i = 0; i < f->params.count; i++) {
        ParamEntry *e = &f->params.entry[i];

        e->value = tensor_of(at, LT_F32, e->rows, e->cols);
        at += elements(e);
    }
    return LT_OK;
}

static Status read_entry(const AdapterFolder *a, const ParamEntry *e, StrBuf *scratch)
{
    const StTensor *t;
    const int64_t n = elements(e);
    DType dtype;
    bool lossy = false;
    void *raw;

    TRY(param_name(e, scratch));
    t = adapter_folder_tensor(a, strbuf_str(scratch));
    BUG_IF(t == NULL || !st_dtype(t, &dtype)); /* adapter_folder_params has seen them */
    raw = mem_take((size_t)n, dtype_bytes(dtype));
    if (raw == NULL)
        return LT_E_NOMEM;
    const Status st = st_read(&a->file, t, 0, raw, (size_t)n * dtype_bytes(dtype));
    if (st == LT_OK)
        weights_convert(e->value.data, LT_F32, raw, dtype, n, &lossy);
    mem_free(raw);
    TRY(st);
    const int64_t bad = weights_first_bad(e->value.data, LT_F32, n);
    if (bad < 0)
        return LT_OK;
    return FAIL(LT_E_INPUT, "%s: tensor '" STR_FORMAT "': element [%lld,%lld]: expected a finite number, found %g", a->file.path, STR_ARG(t->name),
                (long long)(bad / e->cols), (long long)(bad % e->cols), (double)weights_at(e->value.data, LT_F32, bad));
}

Status factors_read(Factors **out, const AdapterFolder *adapter, const ModelConfig *base)
{
    Factors *f;
    StrBuf name;
    Status st;

    TRY(MEM_NEW(f, 1));
    strbuf_init(&name);
    TRY_GOTO(adapter_folder_params(&f->params, adapter, base), st, done);
    TRY_GOTO(take_memory(f), st, done);
    for (size_t i = 0; i < f->params.count; i++)
        TRY_GOTO(read_entry(adapter, &f->params.entry[i], &name), st, done);
done:
    strbuf_release(&name);
    if (st == LT_OK)
        *out = f;
    else
        factors_free(f);
    return st;
}

void factors_free(Factors *factors)
{
    if (factors == NULL)
        return;
    params_release(&factors->params);
    mem_free(factors->memory);
    mem_free(factors);
}

/* ---- inert adapters ------------------------------------------------------------------------------------------------------- */

static bool all_zero(const ParamEntry *e)
{
    const float *x = e->value.data;

    for (int64_t i = 0; i < elements(e); i++)
        if (x[i] < 0 || x[i] > 0)
            return false;
    return true;
}

Status factors_refuse_inert(const Factors *factors, const char *path)
{
    const ParamEntry *e = factors->params.entry;
    bool scaled = false;

    for (size_t i = 0; i < factors->params.count; i += 2) {
        scaled = scaled || e[i].scale < 0 || e[i].scale > 0;
        if ((e[i].scale < 0 || e[i].scale > 0) && !all_zero(&e[i]) && !all_zero(&e[i + 1]))
            return LT_OK;
    }
    return FAIL(LT_E_INPUT, "%s: the adapter changes nothing: %s; was it saved before it was trained?", path,
                scaled ? "lora_A or lora_B is zero in every matrix" : "lora_alpha is 0");
}

/* ---- merging -------------------------------------------------------------------------------------------------------------- */

enum { BLOCK = 512 };

/* w[0..n) += scale sum over k of b[k] a[k][0..n), n at most BLOCK; a has rows of `stride`. */
static void add_row(float *w, const float *b, const float *a, int64_t rank, int64_t stride, int64_t n, double scale)
{
    double sum[BLOCK] = {0};

    for (int64_t k = 0; k < rank; k++)
        for (int64_t j = 0; j < n; j++)
            sum[j] += (double)b[k] * (double)a[k * stride + j];
    for (int64_t j = 0; j < n; j++)
        w[j] = (float)((double)w[j] + scale * sum[j]);
}

bool factors_touch(const Factors *factors, const ParamEntry *weight)
{
    return params_find_factors(&factors->params, weight->row->id, weight->layer) != NULL;
}

void factors_add(const Factors *factors, const ParamEntry *weight, int64_t from, float *w, int64_t count)
{
    const ParamEntry *a = params_find_factors(&factors->params, weight->row->id, weight->layer);
    const float *a_data = a[0].value.data, *b_data = a[1].value.data;

    for (int64_t done = 0, n; done < count; done += n) {
        const int64_t row = (from + done) / weight->cols, col = (from + done) % weight->cols, left = weight->cols - col;

        n = count - done < left ? count - done : left;
        n = n < BLOCK ? n : BLOCK;
        add_row(w + done, b_data + row * a->rows, a_data + col, a->rows, weight->cols, n, a->scale);
    }
}
