/* axpy, sub, scale, cast: any dtype for each tensor; where one of them is F64, the arithmetic is F64. An element costs the bytes of its
 * operands and of its result (axpy in BF16: 6; cast of F32 to BF16: 6) and at most two operations.
 * Bound by memory. A thread has eight elements: 16 bytes of a 16-bit operand, 32 of F32, 64 of F64. The dtype of an operand is the same for
 * all threads: asking for it once per eight elements costs less than instances for 100 combinations.
 * *Expected* on an H100 (3.35 TB/s): 90 % of the byte floor. */
#include "kernels/cuda/rows.h"

enum { BLOCK = 256, N = 8 };

typedef enum EltwiseKind {
    ELTWISE_ADD,   /* y = a + alpha b */
    ELTWISE_SCALE, /* y = alpha a */
    ELTWISE_COPY,  /* y = a */
} EltwiseKind;

typedef struct EltwiseArgs {
    Rows y, a, b;
    float alpha;
    EltwiseKind kind;
} EltwiseArgs;

/* d as F32 with the last bit set if anything was cut off: rounding that to 16 bits rounds d itself, once. */
__device__ __forceinline__ float round_to_odd(double d)
{
    float f = (float)d;
    uint32_t bits;

    if ((double)f == d || f != f)
        return f;
    memcpy(&bits, &f, sizeof bits);
    bits = (fabs((double)f) > fabs(d) ? bits - 1 : bits) | 1u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* W, the arithmetic's type, is float or double. */
template <typename W, typename T> __device__ __forceinline__ W read_as(T x) { return (W)to_f32(x); }
template <> __device__ __forceinline__ float read_as<float, double>(double x) { return (float)x; }
template <> __device__ __forceinline__ double read_as<double, double>(double x) { return x; }

__device__ __forceinline__ void write_as(double *to, double v) { *to = v; }
__device__ __forceinline__ void write_as(float *to, double v) { *to = (float)v; }
template <typename T> __device__ __forceinline__ void write_as(T *to, double v) { from_f32(to, round_to_odd(v)); }
template <typename T> __device__ __forceinline__ void write_as(T *to, float v) { from_f32(to, v); }
__device__ __forceinline__ void write_as(double *to, float v) { *to = (double)v; }

template <typename W, typename T> __device__ __forceinline__ void read_part(W v[N], Rows r, int64_t row, int64_t col)
{
    constexpr int P = Piece<T>::N;
    T part[P];

    for (int i = 0; i < N; i += P) {
        const Pack16 p = load_piece(row_at<T>(r, row) + col + i, r.t.cols - col - i, r.wide);

        memcpy(part, &p, sizeof p);
        for (int j = 0; j < P; j++)
            v[i + j] = read_as<W>(part[j]);
    }
}

template <typename W, typename T> __device__ __forceinline__ void write_part(Rows r, int64_t row, int64_t col, const W v[N])
{
    constexpr int P = Piece<T>::N;
    T part[P];
    Pack16 p;

    for (int i = 0; i < N; i += P) {
        for (int j = 0; j < P; j++)
            write_as(&part[j], v[i + j]);
        memcpy(&p, part, sizeof p);
        store_piece(row_at<T>(r, row) + col + i, r.t.cols - col - i, r.wide, p);
    }
}

template <typename W> __device__ __forceinline__ void read(W v[N], Rows r, int64_t row, int64_t col)
{
    switch (r.t.dtype) {
    case LT_BF16: read_part<W, Bf16>(v, r, row, col); break;
    case LT_F16: read_part<W, Half>(v, r, row, col); break;
    case LT_F32: read_part<W, float>(v, r, row, col); break;
    default: read_part<W, double>(v, r, row, col); break;
    }
}

template <typename W> __device__ __forceinline__ void write(Rows r, int64_t row, int64_t col, const W v[N])
{
    switch (r.t.dtype) {
    case LT_BF16: write_part<W, Bf16>(r, row, col, v); break;
    case LT_F16: write_part<W, Half>(r, row, col, v); break;
    case LT_F32: write_part<W, float>(r, row, col, v); break;
    default: write_part<W, double>(r, row, col, v); break;
    }
}

template <typename W> __global__ void __launch_bounds__(BLOCK) eltwise_kernel(EltwiseArgs e)
{
    const Item at = thread_item(pieces(e.y.t.cols, N));
    const int64_t row = at.major, col = at.minor * N;
    const W alpha = (W)e.alpha;
    W a[N], b[N];

    if (row >= e.y.t.rows)
        return;
    read<W>(a, e.a, row, col);
    if (e.kind == ELTWISE_ADD) {
        read<W>(b, e.b, row, col);
        for (int i = 0; i < N; i++)
            a[i] += alpha * b[i];
    } else if (e.kind == ELTWISE_SCALE) {
        for (int i = 0; i < N; i++)
            a[i] *= alpha;
    }
    write<W>(e.y, row, col, a);
}

/* b: as `a` where the op has one operand. */
static Status run(Device *dev, const char *op, Tensor y, Tensor a, Tensor b, float alpha, EltwiseKind kind)
{
    const bool flat = is_contiguous(y) && is_contiguous(a) && is_contiguous(b);
    const EltwiseArgs e = {rows_of(flat ? as_one_row(y) : y), rows_of(flat ? as_one_row(a) : a), rows_of(flat ? as_one_row(b) : b), alpha,
                           kind};
    const unsigned grid = cuda_blocks(e.y.t.rows * pieces(e.y.t.cols, N), BLOCK);

    if (y.dtype == LT_F64 || a.dtype == LT_F64 || b.dtype == LT_F64)
        LAUNCH(eltwise_kernel<double>, grid, BLOCK, 0, cuda_of(dev)->stream, e);
    else
        LAUNCH(eltwise_kernel<float>, grid, BLOCK, 0, cuda_of(dev)->stream, e);
    return cuda_launched(op);
}

Status cuda_axpy(Device *dev, Tensor y, Tensor x, float alpha) { return run(dev, "axpy", y, y, x, alpha, ELTWISE_ADD); }
Status cuda_sub(Device *dev, Tensor y, Tensor a, Tensor b) { return run(dev, "sub", y, a, b, -1.0f, ELTWISE_ADD); }
Status cuda_scale(Device *dev, Tensor y, float alpha) { return run(dev, "scale", y, y, y, alpha, ELTWISE_SCALE); }
Status cuda_cast(Device *dev, Tensor y, Tensor x) { return run(dev, "cast", y, x, x, 1.0f, ELTWISE_COPY); }
