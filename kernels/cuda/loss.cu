/* Log-probabilities, cross-entropy and argmax: one block a row, whatever the number of rows.
 *
 * Bytes of a row of V logits: logprob and argmax 4 V; xent 4 V without gradient, 12 V with an F32 gradient (the second read comes from the
 * L2 cache only while the rows in flight fit it), 10 V with BF16. Operations: argmax 2 V; logprob about 20 V, an exponential among them; xent
 * twice that. H100 does 35 while four bytes pass: bound by memory. Expected share of the byte floor from 132 rows on: argmax, logprob 85 %, xent
 * 80 %. Fewer rows leave multiprocessors idle (one alone reads about 0.1 TB/s: 131,072 logits in 5 us), which beside the product that made the
 * logits is nothing. *expected* */
#include "kernels/cuda/softmax.h"

enum { IGNORED = -100 };

/* A block for every pair; that of a row's first pair serves all of them, the others have nothing to do. */
__global__ void __launch_bounds__(ROW_THREADS)
    logprob_rows(float *lp, int32_t *best, const float *logits, int64_t stride, int64_t cols, bool wide, const int32_t *row,
                 const int32_t *target, int64_t n_pair)
{
    SHARED(RowTop, part, ROW_WARPS + 1);
    const int64_t first = blockIdx.x;
    const int32_t this_row = row[first];
    const float *x = logits + this_row * stride;

    if (first > 0 && row[first - 1] == this_row)
        return;
    const RowTop top = row_softmax(x, cols, wide, part);
    const double lse = row_lse(top);
    for (int64_t p = first + threadIdx.x; p < n_pair && row[p] == this_row; p += ROW_THREADS) {
        lp[p] = (float)((double)x[target[p]] - lse);
        if (best != NULL)
            best[p] = top.at;
    }
}

Status cuda_logprob(Device *dev, Tensor lp, Tensor best, Tensor logits, Tensor row, Tensor target)
{
    LAUNCH(logprob_rows, (unsigned)row.cols, ROW_THREADS, 0, cuda_of(dev)->stream, (float *)lp.data, (int32_t *)best.data,
           (const float *)logits.data, logits.stride, logits.cols, quad_wide(logits), (const int32_t *)row.data, (const int32_t *)target.data,
           row.cols);
    return cuda_launched("logprob");
}

struct XentTask {
    float *loss;
    void *dlogits; /* may lie where the logits do, or be left out */
    int64_t d_stride;
    bool d_wide;
    const float *logits;
    int64_t stride, cols;
    bool wide;
    const int32_t *target;
    const float *weight;
};

/* Whoever writes an element has read it just before. */
template <typename T>
__device__ __forceinline__ void write_gradient(T *d, const float *x, const XentTask &t, int32_t target, float weight, RowTop top)
{
    const float share = weight / top.mass;

    for (int64_t at = (int64_t)threadIdx.x * QUAD; at < t.cols; at += ROW_THREADS * QUAD) {
        Quad q = quad_load(x + at, t.cols - at, t.wide, 0);

        for (int i = 0; i < QUAD; i++) {
            q.v[i] = expf(q.v[i] - top.max) * share;
            if (at + i == target)
                q.v[i] -= weight;
        }
        quad_store(d + at, q, t.cols - at, t.d_wide);
    }
}

template <typename T> __device__ __forceinline__ void write_zeros(T *d, const XentTask &t)
{
    const Quad zero = {{0, 0, 0, 0}};

    for (int64_t at = (int64_t)threadIdx.x * QUAD; at < t.cols; at += ROW_THREADS * QUAD)
        quad_store(d + at, zero, t.cols - at, t.d_wide);
}

template <typename T> __global__ void __launch_bounds__(ROW_THREADS) xent_rows(XentTask t)
{
    SHARED(RowTop, part, ROW_WARPS + 1);
    const int64_t row = blockIdx.x;
    const float *x = t.logits + row * t.stride, weight = t.weight[row];
    const int32_t target = t.target[row];
    T *d = t.dlogits == NULL ? NULL : (T *)t.dlogits + row * t.d_stride;

    if (target == IGNORED || weight == 0) {
        if (threadIdx.x == 0)
            t.loss[row] = 0;
        if (d != NULL)
            write_zeros(d, t);
        return;
    }
    const float aim = x[target]; /* before the first barrier: behind the last it may be gradient already */
    const RowTop top = row_softmax(x, t.cols, t.wide, part);
    if (threadIdx.x == 0)
        t.loss[row] = (float)((double)weight * (row_lse(top) - (double)aim));
    if (d != NULL)
        write_gradient(d, x, t, target, weight, top);
}

Status cuda_xent(Device *dev, Tensor loss, Tensor dlogits, Tensor logits, Tensor target, Tensor weight)
{
    const XentTask t = {(float *)loss.data, dlogits.data, dlogits.stride, tensor_is_set(dlogits) && quad_wide(dlogits),
                        (const float *)logits.data, logits.stride, logits.cols, quad_wide(logits), (const int32_t *)target.data,
                        (const float *)weight.data};

    if (dlogits.dtype == LT_BF16)
        LAUNCH(xent_rows<Bf16>, (unsigned)logits.rows, ROW_THREADS, 0, cuda_of(dev)->stream, t);
    else
        LAUNCH(xent_rows<float>, (unsigned)logits.rows, ROW_THREADS, 0, cuda_of(dev)->stream, t);
    return cuda_launched("xent");
}

__global__ void __launch_bounds__(ROW_THREADS) argmax_rows(int32_t *id, const float *logits, int64_t stride, int64_t cols, bool wide)
{
    SHARED(RowTop, part, ROW_WARPS + 1);
    const int64_t row = blockIdx.x;
    const RowTop top = row_argmax(logits + row * stride, cols, wide, part);

    if (threadIdx.x == 0)
        id[row] = top.at;
}

Status cuda_argmax(Device *dev, Tensor id, Tensor logits)
{
    LAUNCH(argmax_rows, (unsigned)logits.rows, ROW_THREADS, 0, cuda_of(dev)->stream, (int32_t *)id.data, (const float *)logits.data,
           logits.stride, logits.cols, quad_wide(logits));
    return cuda_launched("argmax");
}
