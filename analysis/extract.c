#include "analysis/extract.h"

#include "analysis/matrix_values.h"
#include "analysis/spectrum.h"
#include "core/log.h"
#include "model/adapter_write.h"

#include <math.h>

typedef struct Extraction {
    Device *dev;
    const ExtractOptions *options;
    DeltaPair *pair;
    ParamList factors; /* those found so far; each value a block of its own */
    ExtractResult result;
} Extraction;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static double energy_of(const double *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* How many values to keep. By energy this takes them all first, from a copy. */
static Status choose_rank(const Extraction *x, const double *value, int64_t m, int64_t n, int64_t *k)
{
    const int64_t q = smaller(m, n);
    double *copy;

    *k = smaller(x->options->rank, q);
    if (x->options->rank > 0)
        return LT_OK;
    TRY(MEM_NEW(copy, (size_t)(m * n + q)));
    memcpy(copy, value, (size_t)(m * n) * sizeof *copy);
    const Status st = matrix_values(x->dev, copy + m * n, copy, m, n, VALUES_GRAM);
    if (st == LT_OK)
        *k = spectrum_threshold(copy + m * n, q, x->options->energy).k;
    mem_free(copy);
    return st;
}

/* Appends A and B of a matrix whose change is u diag(sigma) vt; of k values those above zero count. */
static Status add_factors(Extraction *x, const ParamEntry *e, const double *u, const double *sigma, const double *vt, int64_t stride, int64_t k)
{
    const int64_t m = e->rows, n = e->cols;
    float *a, *b;

    TRY(params_add_factors(&x->factors, &x->pair->base->variant.checkpoint->cfg, e->row->id, e->layer, k, 1));
    TRY(MEM_NEW(a, (size_t)((m + n) * k)));
    b = a + k * n;
    for (int64_t l = 0; l < k; l++)
        for (int64_t j = 0; j < n; j++)
            a[l * n + j] = (float)(sqrt(sigma[l]) * vt[l * n + j]);
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++)
            b[i * k + l] = (float)(u[i * stride + l] * sqrt(sigma[l]));
    x->factors.entry[x->factors.count - 2].value = tensor_of(a, LT_F32, k, n);
    x->factors.entry[x->factors.count - 1].value = tensor_of(b, LT_F32, m, k);
    return LT_OK;
}

static Status keep_top(Extraction *x, const ParamEntry *e, double *value)
{
    const int64_t m = e->rows, n = e->cols;
    ExtractResult *r = &x->result;
    int64_t k, kept;
    double *u;
    Status st;

    TRY(choose_rank(x, value, m, n, &k));
    TRY(MEM_NEW(u, (size_t)((m + n + 1) * k)));
    double *vt = u + m * k, *sigma = vt + k * n;
    TRY_GOTO(matrix_top(x->dev, u, sigma, vt, value, m, n, k), st, done);
    /* What is nothing beside the largest is rounding of the decomposition. */
    kept = smaller(k, spectrum_numerical_rank(sigma, k, k, 0x1p-50));
    TRY_GOTO(add_factors(x, e, u, sigma, vt, k, kept), st, done);
    r->kept += energy_of(sigma, kept);
    r->least_rank = r->n_matrix == 0 ? kept : smaller(kept, r->least_rank);
    r->most_rank = kept > r->most_rank ? kept : r->most_rank;
    r->n_matrix++;
done:
    mem_free(u);
    return st;
}

static Status extract_matrix(Extraction *x, const ParamEntry *e)
{
    const int64_t total = e->rows * e->cols;
    DeltaFacts facts;
    double *value;
    Status st;

    TRY(MEM_NEW(value, (size_t)total));
    TRY_GOTO(delta_read(x->pair, e, value, &facts), st, done);
    const double energy = energy_of(value, total);
    if (!e->row->lora_target) {
        x->result.outside += energy;
    } else if (energy > 0) {
        x->result.energy += energy;
        st = keep_top(x, e, value);
    }
done:
    mem_free(value);
    return st;
}

static Status extract_all(Extraction *x, const ParamList *list, Progress *progress)
{
    for (size_t i = 0; i < list->count; i++) {
        const ParamEntry *e = &list->entry[i];

        if (!e->row->analysed)
            continue;
        TRY(delta_check(x->pair, &e, 1));
        TRY(extract_matrix(x, e));
        progress_add(progress, 1, 0, "");
    }
    if (x->result.n_matrix > 0)
        return LT_OK;
    return FAIL(LT_E_INPUT, "%s: no matrix of the blocks has changed from '%s'", x->options->tuned, x->options->base);
}

static Status extract_pair(Extraction *x)
{
    const ModelConfig *cfg = &x->pair->base->variant.checkpoint->cfg;
    const AdapterOrigin origin = {.base = x->pair->base->variant.place.given};
    Progress progress;
    uint64_t n = 0;
    ParamList list;

    if (x->pair->factors != NULL)
        return FAIL(LT_E_INPUT, "%s: a fine-tuned model expected, an adapter found", x->options->tuned);
    TRY(params_build(&list, cfg));
    params_init_factors(&x->factors);
    for (size_t i = 0; i < list.count; i++)
        n += list.entry[i].row->analysed;
    progress_start(&progress, "extract", n);
    Status st = extract_all(x, &list, &progress);
    progress_end(&progress);
    if (st == LT_OK)
        st = adapter_write(x->options->out, &x->factors, cfg, NULL, &origin);
    for (size_t i = 0; i < x->factors.count; i += 2) /* A and B are one block */
        mem_free(x->factors.entry[i].value.data);
    params_release(&x->factors);
    params_release(&list);
    return st;
}

/* Now rather than when the work is done. */
static Status refuse_full_folder(const char *folder)
{
    FileList list = {0};

    if (!dir_exists(folder))
        return LT_OK;
    TRY(dir_list(folder, &list));
    const size_t n = list.count;
    file_list_release(&list);
    return n == 0 ? LT_OK : FAIL(LT_E_USAGE, "%s: a folder that is new or empty expected, %zu files found in it", folder, n);
}

Status extract_adapter(Device *dev, const ExtractOptions *options, ExtractResult *result)
{
    const DeltaSettings settings = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};
    MatrixFolder base;
    DeltaPair pair = {0};
    Extraction x = {.dev = dev, .options = options, .pair = &pair};
    Status st;

    TRY(refuse_full_folder(options->out));
    TRY(matrix_folder_open(&base, options->base, NULL));
    if (base.variant.folder != NULL) {
        st = FAIL(LT_E_INPUT, "%s: a model expected as the base, an adapter found", options->base);
        goto done;
    }
    TRY_GOTO(delta_open(&pair, &base, options->tuned, &settings), st, done);
    TRY_GOTO(extract_pair(&x), st, done);
    *result = x.result;
done:
    delta_close(&pair);
    matrix_folder_close(&base);
    return st;
}
