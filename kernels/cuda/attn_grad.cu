/* Gradient of attention, without atomics: one kernel over queries makes dq, one over keys dk and dv, after a small one that makes
 * delta = d_o . o. 14 D operations for each head, query and key it sees (6 over queries, 8 over keys; 18 where head sizes above 128 share a strip
 * between two warps). From and to memory pass 8 (N H + M K) D elements and 20 N H bytes of lse and delta, the zeros written first included: rows
 * that a tile meets again are in the second-level cache, which has to give 128 HD bytes for every 16384 HD operations. */
#include "kernels/cuda/attn_grad_f32.h"
#include "kernels/cuda/attn_grad_mma.h"
#include "kernels/cuda/block.h"

/* ---- delta: a block a row, a warp a head ------------------------------------------------------------------------------------ */

enum { DELTA_WARPS = 4 };

template <typename T> __global__ void __launch_bounds__(DELTA_WARPS *WARP) delta_kernel(float *delta, Tensor o, Tensor d_o, int n_head, int size)
{
    const T *a = (const T *)o.data + blockIdx.x * o.stride, *b = (const T *)d_o.data + blockIdx.x * d_o.stride;

    for (int head = threadIdx.x / WARP; head < n_head; head += DELTA_WARPS) {
        float sum = 0;

        for (int d = threadIdx.x % WARP; d < size; d += WARP)
            sum = fmaf(to_f32(a[head * size + d]), to_f32(b[head * size + d]), sum);
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0)
            delta[(int64_t)blockIdx.x * n_head + head] = sum;
    }
}

/* ---- dq; dk and dv ---------------------------------------------------------------------------------------------------------- */

typedef struct GradProblem {
    AttnArgs fwd; /* window: never 0 */
    Tensor own0, own1, step0, step1, out0, out1;
    float *delta;
} GradProblem;

/* Step `at` of a block: rows first.. of `head`, in `stage`. The heads of a group one after the other. */
typedef struct GradStep {
    int first, head, stage;
} GradStep;
template <int STEP, int STAGES, GradKind KIND> __device__ __forceinline__ GradStep grad_step(const AttnArgs &a, const GradTask &t, int at)
{
    const int steps = (t.end - t.begin + STEP - 1) / STEP, group = a.n_head / a.n_kv_head;

    return {t.begin + at % steps * STEP, KIND == GRAD_KEYS ? t.head * group + at / steps : t.head / group, at % STAGES};
}

template <typename T, int HD, GradKind KIND>
__device__ __forceinline__ void grad_load(const GradShared<T> &m, const GradProblem &p, const GradTask &t, const GradStep &s)
{
    typedef GradLayout<T, HD, KIND> L;
    const int size = p.fwd.head_size, n = t.len - s.first, at = s.stage * L::STEP * L::PITCH;

    grad_copy<T, HD, L::PITCH, L::STEP, L::THREADS>(m.step0 + at, p.step0, t.row + s.first, n, (int64_t)s.head * size, size);
    grad_copy<T, HD, L::PITCH, L::STEP, L::THREADS>(m.step1 + at, p.step1, t.row + s.first, n, (int64_t)s.head * size, size);
    if (KIND == GRAD_KEYS)
        grad_copy_rows<L::QUERIES>(m.lse + s.stage * L::QUERIES, m.delta + s.stage * L::QUERIES, p.fwd, p.delta, t, s.first, s.head);
}

template <typename T, int HD, GradKind KIND>
__device__ __forceinline__ void grad_work(float (*sum)[GradLayout<T, HD, KIND>::SUM_TILES][4], const GradShared<T> &m, const GradTile &t, int stage)
{
    typedef GradLayout<T, HD, KIND> L;
    const T *step0 = m.step0 + stage * L::STEP * L::PITCH, *step1 = m.step1 + stage * L::STEP * L::PITCH;
    const int row_at = KIND == GRAD_KEYS ? stage * L::QUERIES : 0;
    float weight[L::SCORE_TILES][4], ds[L::SCORE_TILES][4];

    grad_multiply<HD, KIND>(weight, m.own0, step0);
    grad_multiply<HD, KIND>(ds, m.own1, step1);
    UNROLL
    for (int tile = 0; tile < L::SCORE_TILES; tile++)
        UNROLL
        for (int e = 0; e < 4; e++) {
            const GradPlace at = grad_place<L::HALVES, 0>(tile, e, T());
            const int query = KIND == GRAD_KEYS ? at.col : at.row, key = KIND == GRAD_KEYS ? at.row : at.col;

            grad_soften<L::KEYS>(&weight[tile][e], &ds[tile][e], t, query, key, m.lse + row_at, m.delta + row_at, m.keep);
        }
    grad_add<HD, KIND>(sum[0], ds, step0);
    if (KIND == GRAD_KEYS)
        grad_add<HD, KIND>(sum[L::SUMS - 1], weight, step1);
}

template <typename T, int HD, GradKind KIND>
__device__ __forceinline__ void grad_store(const Tensor &to, const float (*sum)[4], const GradTask &t, int size, float scale)
{
    typedef GradLayout<T, HD, KIND> L;
    T *out = (T *)to.data + (t.row + t.first) * to.stride + (int64_t)t.head * size;

    UNROLL
    for (int tile = 0; tile < L::SUM_TILES; tile++)
        UNROLL
        for (int e = 0; e < 4; e++) {
            const GradPlace at = grad_place<L::HALVES, L::COLS>(tile, e, T());

            if (at.row < t.count && at.col < size)
                from_f32(&out[at.row * to.stride + at.col], sum[tile][e] * scale);
        }
}

template <typename T, int HD, GradKind KIND>
__global__ void __launch_bounds__((GradLayout<T, HD, KIND>::THREADS), 1) grad_kernel(const GradProblem p)
{
    typedef GradLayout<T, HD, KIND> L;
    SHARED_DYN(char, base);
    const GradShared<T> m = grad_carve<T, HD, KIND>(base);
    const int size = p.fwd.head_size;
    float sum[L::SUMS][L::SUM_TILES][4] = {};
    GradTask t;

    if (!grad_task<L::OWN, L::STEP, KIND>(&t, p.fwd))
        return;
    const int steps = (t.end - t.begin + L::STEP - 1) / L::STEP * (KIND == GRAD_KEYS ? p.fwd.n_head / p.fwd.n_kv_head : 1);
    grad_copy<T, HD, L::PITCH, L::OWN, L::THREADS>(m.own0, p.own0, t.row + t.first, t.count, (int64_t)t.head * size, size);
    grad_copy<T, HD, L::PITCH, L::OWN, L::THREADS>(m.own1, p.own1, t.row + t.first, t.count, (int64_t)t.head * size, size);
    if (KIND == GRAD_QUERIES)
        grad_copy_rows<L::QUERIES>(m.lse, m.delta, p.fwd, p.delta, t, t.first, t.head);
    for (int at = 0; at < L::STAGES - 1; at++) {
        grad_load<T, HD, KIND>(m, p, t, grad_step<L::STEP, L::STAGES, KIND>(p.fwd, t, at));
        cp_async_commit();
    }
    ROLLED
    for (int at = 0; at < steps; at++) {
        const GradStep s = grad_step<L::STEP, L::STAGES, KIND>(p.fwd, t, at);
        const GradTile tile = {KIND == GRAD_KEYS ? s.first : t.first, KIND == GRAD_KEYS ? t.first : s.first, p.fwd.window,
                               p.fwd.scale * 1.44269504f, 1.0f / (1.0f - p.fwd.dropout), p.fwd.dropout > 0};

        if (at + L::STAGES - 1 < steps)
            grad_load<T, HD, KIND>(m, p, t, grad_step<L::STEP, L::STAGES, KIND>(p.fwd, t, at + L::STAGES - 1));
        cp_async_commit();
        if (tile.drops)
            grad_draw<L::QUERIES, L::KEYS, L::THREADS>(m.keep, p.fwd, tile, t.row, KIND == GRAD_KEYS ? s.head : t.head);
        cp_async_wait<L::STAGES - 1>();
        __syncthreads();
        grad_work<T, HD, KIND>(sum, m, tile, s.stage);
        __syncthreads();
    }
    grad_store<T, HD, KIND>(p.out0, sum[0], t, size, p.fwd.scale);
    if (KIND == GRAD_KEYS)
        grad_store<T, HD, KIND>(p.out1, sum[L::SUMS - 1], t, size, 1.0f);
}

/* ---- launches --------------------------------------------------------------------------------------------------------------- */

template <typename T, int HD, GradKind KIND> static Status run_kind(Device *dev, const GradProblem *p)
{
    typedef GradLayout<T, HD, KIND> L;
    int64_t n_tile = 0, n_block;

    for (int32_t s = 0; s < p->fwd.n_seg; s++)
        if ((p->fwd.seg[s].q_len + L::OWN - 1) / L::OWN > n_tile)
            n_tile = (p->fwd.seg[s].q_len + L::OWN - 1) / L::OWN;
    n_block = n_tile * p->fwd.n_seg * (KIND == GRAD_KEYS ? p->fwd.n_kv_head : p->fwd.n_head);
    if (n_block > INT32_MAX)
        return FAIL(LT_E_UNSUPPORTED, "attn_grad: %lld blocks, at most %d can be launched; cut the batch", (long long)n_block, INT32_MAX);
    if (n_block == 0)
        return LT_OK;
    TRY(cuda_allow_shared(dev, (const void *)grad_kernel<T, HD, KIND>, L::BYTES, "attn_grad"));
    LAUNCH((grad_kernel<T, HD, KIND>), (unsigned)n_block, L::THREADS, L::BYTES, cuda_of(dev)->stream, *p);
    return cuda_launched("attn_grad");
}

template <typename T, int HD> static Status run_kinds(Device *dev, const AttnGradArgs *a, const AttnArgs *fwd, float *delta)
{
    const GradProblem queries = {*fwd, fwd->q, a->d_o, fwd->k, fwd->v, a->dq, {}, delta};
    const GradProblem keys = {*fwd, fwd->k, fwd->v, fwd->q, a->d_o, a->dk, a->dv, delta};

    TRY((run_kind<T, HD, GRAD_QUERIES>(dev, &queries)));
    return run_kind<T, HD, GRAD_KEYS>(dev, &keys);
}

template <typename T> static Status run_type(Device *dev, const AttnGradArgs *a, const AttnArgs *fwd, float *delta)
{
    LAUNCH(delta_kernel<T>, (unsigned)fwd->q.rows, DELTA_WARPS * WARP, 0, cuda_of(dev)->stream, delta, fwd->o, a->d_o, fwd->n_head, fwd->head_size);
    TRY(cuda_launched("attn_grad"));
    if (fwd->head_size <= 32)
        return run_kinds<T, 32>(dev, a, fwd, delta);
    if (fwd->head_size <= 64)
        return run_kinds<T, 64>(dev, a, fwd, delta);
    if (fwd->head_size <= 128)
        return run_kinds<T, 128>(dev, a, fwd, delta);
    return run_kinds<T, 256>(dev, a, fwd, delta);
}

Status cuda_attn_grad(Device *dev, const AttnGradArgs *args)
{
    AttnArgs fwd = args->fwd;
    void *delta;

    if (fwd.window == 0)
        fwd.window = INT32_MAX;
    TRY(cuda_workspace(dev, (size_t)(fwd.q.rows * fwd.n_head) * sizeof(float), &delta));
    if (fwd.q.dtype == LT_BF16)
        return run_type<Bf16>(dev, args, &fwd, (float *)delta);
    return run_type<float>(dev, args, &fwd, (float *)delta);
}
