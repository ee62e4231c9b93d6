/* Log-probabilities, cross-entropy and argmax over rows of F32 logits. A row is read twice, once for its maximum and once for the sum of
 * its exponentials; with the vocabularies of today it stays in cache between the two. */
#include "kernels/cpu/rows.h"
#include "kernels/cpu/softmax.h"

enum { IGNORED = -100 };

typedef struct LossArgs {
    Tensor out, best, dlogits, logits, row, target, weight;
} LossArgs;

static const float *logits_row(const LossArgs *a, int64_t row) { return (const float *)a->logits.data + row * a->logits.stride; }

/* Pairs from..to-1, but by whole rows: a row belongs to the task that has its first pair. */
SIMD_INLINE void logprob_pairs(const void *context, int64_t from, int64_t to, bool fused)
{
    const LossArgs *a = context;
    const int32_t *row = a->row.data, *target = a->target.data;
    float *lp = a->out.data;
    int32_t *best = a->best.data;
    int64_t p = from;

    while (p > 0 && p < to && row[p] == row[p - 1])
        p++;
    while (p < to) {
        const int32_t this_row = row[p];
        const float *x = logits_row(a, this_row);
        const RowTop top = row_top(x, a->logits.cols);
        const double lse = (double)top.max + log((double)row_mass(x, a->logits.cols, top.max, fused));

        for (; p < a->row.cols && row[p] == this_row; p++) {
            lp[p] = (float)((double)x[target[p]] - lse);
            if (best != NULL)
                best[p] = (int32_t)top.at;
        }
    }
}

static void logprob_generic(const void *args, int64_t from, int64_t to) { logprob_pairs(args, from, to, false); }
TARGET_AVX2 static void logprob_avx2(const void *args, int64_t from, int64_t to) { logprob_pairs(args, from, to, true); }
TARGET_AVX512 static void logprob_avx512(const void *args, int64_t from, int64_t to) { logprob_pairs(args, from, to, true); }
static const RowsBody logprob_body[CPU_LEVELS] = {logprob_generic, logprob_avx2, logprob_avx512, logprob_avx512};

Status cpu_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target)
{
    const LossArgs args = {.out = lp, .best = best, .logits = logits, .row = row, .target = target};

    return rows_run(dev, logprob_body, &args, row.cols, 4 * logits.cols); /* an exponential costs what four moves do */
}

/* dlogits = weight (softmax - onehot), piece by piece, so that it may lie where the logits are. */
SIMD_INLINE void write_gradient(const LossArgs *a, int64_t row, int32_t target, float weight, float max, float mass, bool fused)
{
    const float *x = logits_row(a, row), share = weight / mass;
    float d[SIMD_CHUNK];

    for (int64_t at = 0; at < a->logits.cols; at += SIMD_CHUNK) {
        const int64_t len = simd_min(a->logits.cols - at, SIMD_CHUNK);

        for (int64_t i = 0; i < len; i++)
            d[i] = simd_exp_down(x[at + i] - max, fused) * share;
        if (target >= at && target < at + len)
            d[target - at] -= weight;
        simd_narrow(a->dlogits, row, at, d, len);
    }
}

SIMD_INLINE void xent_rows(const void *context, int64_t from, int64_t to, bool fused)
{
    const LossArgs *a = context;

    for (int64_t row = from; row < to; row++) {
        const int32_t target = ((const int32_t *)a->target.data)[row];
        const float weight = ((const float *)a->weight.data)[row];
        const float *x = logits_row(a, row);
        float *loss = (float *)a->out.data + row, max, mass;

        if (target == IGNORED || weight == 0) {
            *loss = 0;
            if (tensor_is_set(a->dlogits))
                memset((char *)a->dlogits.data + (size_t)(row * a->dlogits.stride) * dtype_bytes(a->dlogits.dtype), 0,
                       (size_t)a->dlogits.cols * dtype_bytes(a->dlogits.dtype));
            continue;
        }
        max = row_top(x, a->logits.cols).max;
        mass = row_mass(x, a->logits.cols, max, fused);
        *loss = (float)((double)weight * ((double)max + log((double)mass) - (double)x[target]));
        if (tensor_is_set(a->dlogits))
            write_gradient(a, row, target, weight, max, mass, fused);
    }
}

static void xent_generic(const void *args, int64_t from, int64_t to) { xent_rows(args, from, to, false); }
TARGET_AVX2 static void xent_avx2(const void *args, int64_t from, int64_t to) { xent_rows(args, from, to, true); }
TARGET_AVX512 static void xent_avx512(const void *args, int64_t from, int64_t to) { xent_rows(args, from, to, true); }
static const RowsBody xent_body[CPU_LEVELS] = {xent_generic, xent_avx2, xent_avx512, xent_avx512};

Status cpu_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight)
{
    const LossArgs args = {.out = loss, .dlogits = dlogits, .logits = logits, .target = target, .weight = weight};

    return rows_run(dev, xent_body, &args, logits.rows, 4 * logits.cols);
}

SIMD_INLINE void argmax_rows(const void *context, int64_t from, int64_t to)
{
    const LossArgs *a = context;

    for (int64_t row = from; row < to; row++)
        ((int32_t *)a->out.data)[row] = (int32_t)row_top(logits_row(a, row), a->logits.cols).at;
}

static void argmax_generic(const void *args, int64_t from, int64_t to) { argmax_rows(args, from, to); }
TARGET_AVX2 static void argmax_avx2(const void *args, int64_t from, int64_t to) { argmax_rows(args, from, to); }
TARGET_AVX512 static void argmax_avx512(const void *args, int64_t from, int64_t to) { argmax_rows(args, from, to); }
static const RowsBody argmax_body[CPU_LEVELS] = {argmax_generic, argmax_avx2, argmax_avx512, argmax_avx512};

Status cpu_argmax(Device *dev, Tensor id, Tensor logits)
{
    return rows_run(dev, argmax_body, &(LossArgs){.out = id, .logits = logits}, logits.rows, logits.cols);
}
