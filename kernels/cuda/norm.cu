/* RMSNorm. F32: 8 bytes an element, BF16 and F16: 4, and four operations; w comes from L2 and L1.
 * Bound by memory, and read once: a group stays in its team's registers until its scale is known. A thread has up to HOLD pieces, 64 bytes,
 * on their way. *Expected* on an H100 (3.35 TB/s): 85 % of the byte floor for rows of 1024 to 16384 columns of BF16, 80 % for heads of 64
 * to 256; a handful of rows (decode) costs the latency of one launch and three dependent steps. */
#include "kernels/cuda/norm.h"

typedef struct NormArgs {
    Rows y, x, w;
    Tensor rstd;
    float eps;
} NormArgs;

template <typename T> __device__ __forceinline__ float add_squares(float sum, Pack16 p)
{
    float v[Piece<T>::N];

    widen<T>(v, p);
    for (int i = 0; i < Piece<T>::N; i++)
        sum = fmaf(v[i], v[i], sum);
    return sum;
}

/* The piece at column `at` of a group. */
template <typename T> __device__ __forceinline__ void write_scaled(const NormArgs &a, T *group, int at, Pack16 x, float rstd)
{
    float v[Piece<T>::N], w[Piece<T>::N];

    widen<T>(v, x);
    load_weight<T>(w, a.w, at);
    for (int i = 0; i < Piece<T>::N; i++)
        v[i] = v[i] * rstd * w[i];
    store_piece(group + at, a.w.t.cols - at, a.y.wide, narrow<T>(v));
}

/* One group a team. y may be x: a thread writes nothing but what it has read. */
template <typename T, int TEAM> __global__ void __launch_bounds__(Teams<TEAM>::BLOCK) rmsnorm_kernel(NormArgs a)
{
    constexpr int N = Piece<T>::N;
    SHARED(float, part, WARP + 1);
    const int64_t n_group = a.x.t.cols / a.w.t.cols, item = (int64_t)blockIdx.x * Teams<TEAM>::N + threadIdx.x / TEAM;
    const int64_t row = quotient(item, n_group), group = item - row * n_group;
    const int n = row < a.x.t.rows ? (int)a.w.t.cols : 0; /* a team without a group only takes part in the sum */
    const int start = threadIdx.x % TEAM * N, step = TEAM * N;
    const T *x = row_at<T>(a.x, row) + group * a.w.t.cols;
    T *y = row_at<T>(a.y, row) + group * a.w.t.cols;
    Pack16 held[HOLD];
    float sum = 0, rstd;

    for (int k = 0; k < HOLD; k++)
        held[k] = load_piece(x + start + k * step, n - start - k * step, a.x.wide);
    for (int k = 0; k < HOLD; k++)
        sum = add_squares<T>(sum, held[k]);
    for (int at = start + HOLD * step; at < n; at += step)
        sum = add_squares<T>(sum, load_piece(x + at, n - at, a.x.wide));
    rstd = 1.0f / sqrtf(team_sum<TEAM>(sum, part) / (float)a.w.t.cols + a.eps);
    for (int k = 0; k < HOLD; k++)
        if (start + k * step < n)
            write_scaled(a, y, start + k * step, held[k], rstd);
    for (int at = start + HOLD * step; at < n; at += step)
        write_scaled(a, y, at, load_piece(x + at, n - at, a.x.wide), rstd);
    if (a.rstd.data != NULL && start == 0 && n > 0)
        ((float *)a.rstd.data)[row * a.rstd.stride + group] = rstd;
}

template <typename T> static void launch_norm(const NormArgs &a, cudaStream_t stream)
{
    const int64_t n_item = a.x.t.rows * (a.x.t.cols / a.w.t.cols);

    WITH_TEAM(pieces(a.w.t.cols, Piece<T>::N), TEAM,
              LAUNCH((rmsnorm_kernel<T, TEAM>), cuda_blocks(n_item, Teams<TEAM>::N), Teams<TEAM>::BLOCK, 0, stream, a));
}

Status cuda_rmsnorm(Device *dev, Tensor y, Tensor rstd, Tensor x, Tensor w, float eps)
{
    const NormArgs args = {groups_of(y, w.cols), groups_of(x, w.cols), rows_of(w), rstd, eps};

    WITH_FLOAT(x.dtype, T, launch_norm<T>(args, cuda_of(dev)->stream));
    return cuda_launched("rmsnorm");
}
