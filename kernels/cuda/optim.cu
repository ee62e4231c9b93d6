/* AdamW and Lion, all forms of OptimArgs in one kernel each: a tensor's dtype is looked at where it is read, alike for all threads.
 *
 * Bytes an element: AdamW F32 28 (reads p, g, m, v; writes p, m, v), with a BF16 weight beside the master 30, with split masters 28, with BF16
 * moments 8 less; Lion 20, 22, 20, 4 less. 15 to 20 operations, one exact division and root among them: a tenth of what H100 does while these
 * bytes pass. Bound by memory; expected 90 % of the byte floor, 189 GB for 6.74e9 parameters of AdamW F32: 56 ms of 3.35 TB/s, 62 ms *expected*.
 *
 * Nothing is fused and nothing approximate, so the bits are the CPU's. */
#include "kernels/cuda/quad.h"

extern "C" {
#include "kernels/optim.h"
}

enum { THREADS = 256 };

typedef struct View {
    char *data;
    int64_t stride;
    DType dtype;
    bool wide;
} View;

typedef struct OptimTask {
    View master, low, weight, grad, m, v;
    int64_t cols, quads; /* of a row */
    int64_t n_quad;
    OptimStep step;
} OptimTask;

template <typename T> __device__ __forceinline__ T *place(const View &t, int64_t row, int64_t col)
{
    return (T *)t.data + row * t.stride + col;
}

__device__ __forceinline__ Quad load_any(const View &t, int64_t row, int64_t col, int64_t n)
{
    return t.dtype == LT_F32 ? quad_load(place<float>(t, row, col), n, t.wide, 0) : quad_load(place<Bf16>(t, row, col), n, t.wide, 0);
}

__device__ __forceinline__ void store_any(const View &t, int64_t row, int64_t col, int64_t n, Quad q)
{
    if (t.dtype == LT_F32)
        quad_store(place<float>(t, row, col), q, n, t.wide);
    else if (t.dtype == LT_BF16)
        quad_store(place<Bf16>(t, row, col), q, n, t.wide);
    else
        quad_store(place<Half>(t, row, col), q, n, t.wide);
}

/* Split masters: see kernels/cpu/optim.c. */
__device__ __forceinline__ Quad load_master(const OptimTask &o, int64_t row, int64_t col, int64_t n)
{
    uint16_t high[QUAD] = {0}, low[QUAD] = {0};
    Quad p;

    if (o.low.data == NULL)
        return load_any(o.master, row, col, n);
    quad_read(high, place<const uint16_t>(o.weight, row, col), n, o.weight.wide);
    quad_read(low, place<const uint16_t>(o.low, row, col), n, o.low.wide);
    for (int i = 0; i < QUAD; i++)
        p.v[i] = __uint_as_float(((uint32_t)high[i] << 16) + (uint32_t)(int32_t)(int16_t)low[i]);
    return p;
}

__device__ __forceinline__ void store_master(const OptimTask &o, int64_t row, int64_t col, int64_t n, Quad p)
{
    uint16_t high[QUAD], low[QUAD];

    if (o.low.data == NULL) {
        store_any(o.master, row, col, n, p);
        if (o.weight.data != NULL)
            store_any(o.weight, row, col, n, p);
        return;
    }
    for (int i = 0; i < QUAD; i++) {
        const uint32_t bits = p.v[i] == p.v[i] ? __float_as_uint(p.v[i]) : 0x7fc00000u; /* another NaN might be rounded to a number */

        high[i] = (uint16_t)((bits + 0x8000u) >> 16);
        low[i] = (uint16_t)bits;
    }
    quad_write(place<uint16_t>(o.weight, row, col), high, n, o.weight.wide);
    quad_write(place<uint16_t>(o.low, row, col), low, n, o.low.wide);
}

/* v in BF16, rounded at random: the reason and the hash are the CPU's (kernels/cpu/optim.c). */
__device__ __forceinline__ void store_dithered(const View &t, int64_t row, int64_t col, int64_t n, Quad v, uint32_t dither)
{
    Bf16 to[QUAD];

    for (int i = 0; i < QUAD; i++) {
        const uint32_t bits = __float_as_uint(v.v[i]);
        uint32_t h = bits ^ dither;

        h = (h ^ (h >> 16)) * 0x85ebca6bu;
        h = (h ^ (h >> 13)) * 0xc2b2ae35u;
        h = (h ^ (h >> 16)) & 0xffffu;
        if (v.v[i] < INFINITY)
            to[i].bits = (uint16_t)((bits + h) >> 16);
        else
            from_f32(&to[i], v.v[i]);
    }
    quad_write(place<Bf16>(t, row, col), to, n, t.wide);
}

__global__ void __launch_bounds__(THREADS) adamw_quads(OptimTask o)
{
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = at / o.quads, col = at % o.quads * QUAD, n = o.cols - col;
    const OptimStep s = o.step;

    if (at >= o.n_quad)
        return;
    const Quad g = load_any(o.grad, row, col, n);
    Quad p = load_master(o, row, col, n), m = load_any(o.m, row, col, n), v = load_any(o.v, row, col, n);
    for (int i = 0; i < QUAD; i++) {
        const float grad = g.v[i] * s.grad_scale;

        m.v[i] = s.beta1 * m.v[i] + s.rest1 * grad;
        v.v[i] = s.beta2 * v.v[i] + s.rest2 * (grad * grad);
        p.v[i] = p.v[i] * s.keep - s.rate * (m.v[i] / (sqrtf(v.v[i]) * s.root + s.eps));
    }
    store_master(o, row, col, n, p);
    store_any(o.m, row, col, n, m);
    if (o.v.dtype == LT_BF16)
        store_dithered(o.v, row, col, n, v, s.dither);
    else
        store_any(o.v, row, col, n, v);
}

__global__ void __launch_bounds__(THREADS) lion_quads(OptimTask o)
{
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = at / o.quads, col = at % o.quads * QUAD, n = o.cols - col;
    const OptimStep s = o.step;

    if (at >= o.n_quad)
        return;
    const Quad g = load_any(o.grad, row, col, n);
    Quad p = load_master(o, row, col, n), m = load_any(o.m, row, col, n);
    for (int i = 0; i < QUAD; i++) {
        const float away = g.v[i] * s.grad_scale - m.v[i], u = m.v[i] + s.rest1 * away;
        const float sign = (float)((u > 0) - (u < 0));

        p.v[i] = p.v[i] * s.keep - s.rate * sign;
        m.v[i] = m.v[i] + s.rest2 * away;
    }
    store_master(o, row, col, n, p);
    store_any(o.m, row, col, n, m);
}

static View view_of(Tensor t)
{
    return tensor_is_set(t) ? View{(char *)t.data, t.stride, t.dtype, quad_wide(t)} : View{NULL, 0, LT_F32, false};
}

static OptimTask task_of(const OptimArgs *o, OptimStep step)
{
    const int64_t quads = (o->grad.cols + QUAD - 1) / QUAD;

    return OptimTask{view_of(o->master), view_of(o->low), view_of(o->weight), view_of(o->grad), view_of(o->m), view_of(o->v), o->grad.cols,
                     quads, quads * o->grad.rows, step};
}

Status cuda_adamw(Device *dev, const OptimArgs *args)
{
    const OptimTask task = task_of(args, optim_adamw_step(args));

    LAUNCH(adamw_quads, cuda_blocks(task.n_quad, THREADS), THREADS, 0, cuda_of(dev)->stream, task);
    return cuda_launched("adamw");
}

Status cuda_lion(Device *dev, const OptimArgs *args)
{
    const OptimTask task = task_of(args, optim_lion_step(args));

    LAUNCH(lion_quads, cuda_blocks(task.n_quad, THREADS), THREADS, 0, cuda_of(dev)->stream, task);
    return cuda_launched("lion");
}
