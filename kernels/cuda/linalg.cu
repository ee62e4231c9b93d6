/* Decompositions by cuSOLVER; q = min(m, n), k = max(m, n). Expected, not measured: the Gram matrix of 4096 x 11008 (k q^2 F64 FLOPs, cuBLAS) and its
 * eigenvalues (4/3 q^3, half of them bound by memory) in 0.15 to 0.3 s on an H200, Xgesvd in 0.6 to 1.5 s, Xgesvdp in 0.4 to 0.8 s.
 *
 * cuSOLVER counts columns first and wants at least as many rows as columns. A row-major a[m,n] that is wide is, as it lies, such a
 * matrix: its own transpose. A tall one is transposed on its way into memory of our own. */
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/solver.h"

extern "C" {
#include "core/mem.h"
}

#include <float.h>
#include <limits.h>
#include <math.h>

/* One decomposition, with memory of its own: next to what it costs, taking that costs nothing, and the device's workspace never shrinks. */
typedef struct Work {
    Device *dev;
    struct CudaSolver *s;
    const char *op;
    cudaDataType type; /* of matrix, left, right, tau; the results are F64 only for an F64 matrix too */
    int64_t rows, cols; /* in cuSOLVER's words: rows >= cols */
    Tensor matrix; /* [cols, rows]: what is decomposed, and destroyed */
    Tensor left;   /* [cols, rows]: left vectors, one a row */
    Tensor right;  /* [cols, cols] */
    Tensor values, info;
    Tensor signs; /* of r's diagonal */
    TensorArena arena;
    void *room, *host; /* the library's */
    size_t room_bytes, host_bytes;
} Work;

/* Takes the tensors of one op. */
typedef Status Take(Work *w);

static Status take_tensors(Work *w, Take *take)
{
    tensor_arena_plan(&w->arena, w->dev);
    TRY(take(w));
    TRY(tensor_arena_open(&w->arena, w->dev, w->arena.used));
    return take(w);
}

/* What the library asked for, instead of what an earlier call was given. */
static Status take_room(Work *w)
{
    if (w->room != NULL)
        cuda_release(w->dev, w->room);
    w->room = NULL;
    mem_free(w->host);
    w->host = mem_resize(NULL, w->host_bytes, 1);
    return w->host != NULL ? cuda_alloc(w->dev, w->room_bytes, &w->room) : LT_E_NOMEM;
}

/* Gives `st` back. Releasing waits for the device. */
static Status end(Work *w, Status st)
{
    if (w->room != NULL)
        cuda_release(w->dev, w->room);
    if (w->arena.base != NULL)
        tensor_arena_close(&w->arena);
    mem_free(w->host);
    return st;
}

static Status begin(Work *w, Device *dev, const char *op, Tensor a)
{
    memset(w, 0, sizeof *w);
    w->dev = dev;
    w->op = op;
    w->type = a.dtype == LT_F32 ? CUDA_R_32F : CUDA_R_64F;
    w->rows = a.rows > a.cols ? a.rows : a.cols;
    w->cols = a.rows > a.cols ? a.cols : a.rows;
    if (w->rows > INT_MAX)
        return FAIL(LT_E_UNSUPPORTED, "%s: a side of %lld does not fit cuSOLVER's 32-bit integers", op, (long long)w->rows);
    return solver_of(dev, &w->s);
}

/* Waits; info > 0 is no convergence, and below 0 a mistake of ours. function: cuSOLVER's. */
static Status finish(Work *w, const char *function)
{
    int32_t info;

    TRY(cuda_download(w->dev, &info, w->info));
    BUG_IF(info < 0);
    if (info > 0)
        return FAIL(LT_E_NUMERIC, "%s of a matrix with sides %lld and %lld: cuSOLVER's %s did not converge (info %d)", w->op, (long long)w->rows,
                    (long long)w->cols, function, (int)info);
    return LT_OK;
}

/* The values, as F64 on the host. */
static Status give_values(Work *w, double *to)
{
    const int64_t n = w->values.cols;
    float *narrow;
    Status st;

    if (w->values.dtype == LT_F64)
        return cuda_download(w->dev, to, w->values);
    narrow = (float *)mem_take((size_t)n, sizeof *narrow);
    if (narrow == NULL)
        return LT_E_NOMEM;
    st = cuda_download(w->dev, narrow, w->values);
    for (int64_t i = 0; i < n && st == LT_OK; i++)
        to[i] = (double)narrow[i];
    mem_free(narrow);
    return st;
}

static const Tensor NO_TENSOR = {};

/* matrix = a, seen column-major as `rows` by `cols`. */
static Status put_matrix(Work *w, Tensor a)
{
    return matrix_move(w->dev, w->op, w->matrix, a, a.rows > a.cols ? MATRIX_TRANSPOSED : MATRIX_AS_IT_LIES, NO_TENSOR);
}

/* ---- eigenvalues of the Gram matrix ----------------------------------------------------------------------------------------- */

/* Steps of the long side that are widened from F32 at a time. */
enum { WIDEN_STEPS = 2048 };

static int64_t widen_steps(const Work *w) { return w->rows < WIDEN_STEPS ? w->rows : (int64_t)WIDEN_STEPS; }

/* matrix: the Gram matrix; left: widened steps, for F32 only. */
static Status take_gram(Work *w)
{
    TRY(tensor_arena_take(&w->arena, &w->matrix, LT_F64, w->cols, w->cols));
    TRY(tensor_arena_take(&w->arena, &w->values, LT_F64, 1, w->cols));
    TRY(tensor_arena_take(&w->arena, &w->info, LT_I32, 1, 1));
    return w->type == CUDA_R_32F ? tensor_arena_take(&w->arena, &w->left, LT_F64, widen_steps(w), w->cols) : LT_OK;
}

/* matrix (+)= x xT or xT x, over x's long side. Column-major, x is its own transpose. */
static Status add_products(Work *w, Tensor x, bool rows_short, double beta)
{
    const double one = 1.0;
    const cublasStatus_t status = w->s->blas.dsyrk(w->s->blas_handle, CUBLAS_FILL_MODE_LOWER, rows_short ? CUBLAS_OP_T : CUBLAS_OP_N, (int)w->cols,
                                                   (int)(rows_short ? x.cols : x.rows), &one, (const double *)x.data, (int)x.stride, &beta,
                                                   (double *)w->matrix.data, (int)w->cols);

    return status == CUBLAS_STATUS_SUCCESS ? LT_OK : FAIL(LT_E_DEVICE, "cuBLAS: dsyrk: status %d", (int)status);
}

static Status make_gram(Work *w, Tensor a)
{
    const bool rows_short = a.rows <= a.cols;
    const int64_t steps = widen_steps(w);

    if (a.dtype == LT_F64)
        return add_products(w, a, rows_short, 0.0);
    for (int64_t from = 0; from < w->rows; from += steps) {
        const int64_t n = w->rows - from < steps ? w->rows - from : steps;
        const Tensor part = rows_short ? tensor_cols(a, from, n) : tensor_rows(a, from, n);
        const Tensor wide = tensor_of(w->left.data, LT_F64, part.rows, part.cols);

        TRY(matrix_move(w->dev, w->op, wide, part, MATRIX_AS_IT_LIES, NO_TENSOR));
        TRY(add_products(w, wide, rows_short, from == 0 ? 0.0 : 1.0));
    }
    return LT_OK;
}

static Status gram_values(Work *w, double *lambda, Tensor a)
{
    const Cusolver *lib = &w->s->lib;

    TRY(take_tensors(w, take_gram));
    SOLVER_TRY("room of Xsyevd",
               lib->syevd_size(w->s->handle, w->s->params, CUSOLVER_EIG_MODE_NOVECTOR, CUBLAS_FILL_MODE_LOWER, w->cols, CUDA_R_64F,
                               w->matrix.data, w->cols, CUDA_R_64F, w->values.data, CUDA_R_64F, &w->room_bytes, &w->host_bytes));
    TRY(take_room(w));
    TRY(make_gram(w, a));
    SOLVER_TRY("Xsyevd",
               lib->syevd(w->s->handle, w->s->params, CUSOLVER_EIG_MODE_NOVECTOR, CUBLAS_FILL_MODE_LOWER, w->cols, CUDA_R_64F,
                          w->matrix.data, w->cols, CUDA_R_64F, w->values.data, CUDA_R_64F, w->room, w->room_bytes, w->host, w->host_bytes,
                          (int *)w->info.data));
    TRY(finish(w, "Xsyevd"));
    return give_values(w, lambda);
}

Status cuda_gram_values(Device *dev, double *lambda, Tensor a)
{
    Work w;

    TRY(begin(&w, dev, "gram_values", a));
    return end(&w, gram_values(&w, lambda, a));
}

/* ---- SVD -------------------------------------------------------------------------------------------------------------------- */

static Status take_values(Work *w)
{
    const DType dtype = w->type == CUDA_R_32F ? LT_F32 : LT_F64;

    TRY(tensor_arena_take(&w->arena, &w->matrix, dtype, w->cols, w->rows));
    TRY(tensor_arena_take(&w->arena, &w->values, dtype, 1, w->cols));
    return tensor_arena_take(&w->arena, &w->info, LT_I32, 1, 1);
}

static Status take_factors(Work *w)
{
    TRY(take_values(w));
    TRY(tensor_arena_take(&w->arena, &w->left, w->values.dtype, w->cols, w->rows));
    return tensor_arena_take(&w->arena, &w->right, w->values.dtype, w->cols, w->cols);
}

/* By QR iteration: slow and sound. right: the right vectors, one a column. job: 'N' or 'S'. */
static Status by_iteration(Work *w, signed char job, Tensor a)
{
    const Cusolver *lib = &w->s->lib;
    const int64_t ld = w->rows;

    SOLVER_TRY("room of Xgesvd",
               lib->gesvd_size(w->s->handle, w->s->params, job, job, w->rows, w->cols, w->type, w->matrix.data, ld, w->type, w->values.data,
                               w->type, w->left.data, ld, w->type, w->right.data, w->cols, w->type, &w->room_bytes, &w->host_bytes));
    TRY(take_room(w));
    TRY(put_matrix(w, a));
    SOLVER_TRY("Xgesvd",
               lib->gesvd(w->s->handle, w->s->params, job, job, w->rows, w->cols, w->type, w->matrix.data, ld, w->type, w->values.data,
                          w->type, w->left.data, ld, w->type, w->right.data, w->cols, w->type, w->room, w->room_bytes, w->host,
                          w->host_bytes, (int *)w->info.data));
    return finish(w, "Xgesvd");
}

/* By polar decomposition, several times faster. right: the right vectors, one a row. error: how far the library has shifted the values, which it does
 * where one is near zero. */
static Status by_polar(Work *w, Tensor a, double *error)
{
    const Cusolver *lib = &w->s->lib;
    const int64_t ld = w->rows;
    const int economy = 1;

    SOLVER_TRY("room of Xgesvdp",
               lib->gesvdp_size(w->s->handle, w->s->params, CUSOLVER_EIG_MODE_VECTOR, economy, w->rows, w->cols, w->type, w->matrix.data,
                                ld, w->type, w->values.data, w->type, w->left.data, ld, w->type, w->right.data, w->cols, w->type,
                                &w->room_bytes, &w->host_bytes));
    TRY(take_room(w));
    TRY(put_matrix(w, a));
    SOLVER_TRY("Xgesvdp",
               lib->gesvdp(w->s->handle, w->s->params, CUSOLVER_EIG_MODE_VECTOR, economy, w->rows, w->cols, w->type, w->matrix.data, ld,
                           w->type, w->values.data, w->type, w->left.data, ld, w->type, w->right.data, w->cols, w->type, w->room,
                           w->room_bytes, w->host, w->host_bytes, (int *)w->info.data, error));
    return finish(w, "Xgesvdp");
}

static Status svd_values(Work *w, double *sigma, Tensor a)
{
    TRY(take_tensors(w, take_values));
    TRY(by_iteration(w, 'N', a));
    return give_values(w, sigma);
}

Status cuda_svd_values(Device *dev, double *sigma, Tensor a)
{
    Work w;

    TRY(begin(&w, dev, "svd_values", a));
    return end(&w, svd_values(&w, sigma, a));
}

/* A wide a is its own transpose, so what cuSOLVER calls left is right. rows_are_vectors: how `right` lies. */
static Status give_factors(Work *w, Tensor u, Tensor vt, Tensor a, bool rows_are_vectors)
{
    const bool tall = a.rows > a.cols;
    const MatrixTurn to_rows = rows_are_vectors ? MATRIX_AS_IT_LIES : MATRIX_TRANSPOSED;
    const MatrixTurn to_columns = rows_are_vectors ? MATRIX_TRANSPOSED : MATRIX_AS_IT_LIES;

    TRY(matrix_move(w->dev, w->op, tall ? u : vt, w->left, tall ? MATRIX_TRANSPOSED : MATRIX_AS_IT_LIES, NO_TENSOR));
    return matrix_move(w->dev, w->op, tall ? vt : u, w->right, tall ? to_rows : to_columns, NO_TENSOR);
}

/* a is kept until the end, for the second try. Values that are all shifted by `error` move their product by its sqrt(cols)-fold, of which the check of the
 * result (kernels/linalg_check.h) allows eps rows |a|: the shift may have half of it, rounding needs the rest. */
static Status svd(Work *w, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    const double eps = a.dtype == LT_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    double error = 0;

    TRY(take_tensors(w, take_factors));
    TRY(by_polar(w, a, &error));
    TRY(give_values(w, sigma));
    if (error * sqrt((double)w->cols) <= 0.5 * eps * (double)w->rows * sigma[0] && sigma[0] > 0)
        return give_factors(w, u, vt, a, true);
    TRY(by_iteration(w, 'S', a));
    TRY(give_values(w, sigma));
    return give_factors(w, u, vt, a, false);
}

Status cuda_svd(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a)
{
    Work w;

    TRY(begin(&w, dev, "svd", a));
    return end(&w, svd(&w, u, sigma, vt, a));
}

/* ---- QR --------------------------------------------------------------------------------------------------------------------- */

/* values: the reflections' factors. */
static Status take_qr(Work *w)
{
    TRY(take_values(w));
    return tensor_arena_take(&w->arena, &w->signs, w->values.dtype, 1, w->cols);
}

/* orgqr's room, in elements, beside geqrf's, in bytes. */
static Status qr_room(Work *w, int *n_room)
{
    const Cusolver *lib = &w->s->lib;
    const int m = (int)w->rows, n = (int)w->cols;
    size_t bytes;

    SOLVER_TRY("room of Xgeqrf",
               lib->geqrf_size(w->s->handle, w->s->params, m, n, w->type, w->matrix.data, m, w->type, w->values.data, w->type,
                               &w->room_bytes, &w->host_bytes));
    if (w->type == CUDA_R_32F)
        SOLVER_TRY("room of orgqr",
                   lib->sorgqr_size(w->s->handle, m, n, n, (const float *)w->matrix.data, m, (const float *)w->values.data, n_room));
    else
        SOLVER_TRY("room of orgqr",
                   lib->dorgqr_size(w->s->handle, m, n, n, (const double *)w->matrix.data, m, (const double *)w->values.data, n_room));
    bytes = (size_t)*n_room * dtype_bytes(w->matrix.dtype);
    w->room_bytes = bytes > w->room_bytes ? bytes : w->room_bytes;
    return LT_OK;
}

static Status make_q(Work *w, int n_room)
{
    const Cusolver *lib = &w->s->lib;
    const int m = (int)w->rows, n = (int)w->cols;

    if (w->type == CUDA_R_32F)
        SOLVER_TRY("orgqr",
                   lib->sorgqr(w->s->handle, m, n, n, (float *)w->matrix.data, m, (const float *)w->values.data, (float *)w->room, n_room,
                               (int *)w->info.data));
    else
        SOLVER_TRY("orgqr",
                   lib->dorgqr(w->s->handle, m, n, n, (double *)w->matrix.data, m, (const double *)w->values.data, (double *)w->room,
                               n_room, (int *)w->info.data));
    return finish(w, "orgqr");
}

static Status qr(Work *w, Tensor q, Tensor r, Tensor a)
{
    int n_room = 0;

    TRY(take_tensors(w, take_qr));
    TRY(qr_room(w, &n_room));
    TRY(take_room(w));
    TRY(matrix_move(w->dev, w->op, w->matrix, a, MATRIX_TRANSPOSED, NO_TENSOR));
    SOLVER_TRY("Xgeqrf",
               w->s->lib.geqrf(w->s->handle, w->s->params, w->rows, w->cols, w->type, w->matrix.data, w->rows, w->type, w->values.data,
                               w->type, w->room, w->room_bytes, w->host, w->host_bytes, (int *)w->info.data));
    TRY(finish(w, "Xgeqrf"));
    TRY(matrix_triangle(w->dev, r, w->signs, w->matrix));
    TRY(make_q(w, n_room));
    return matrix_move(w->dev, w->op, q, w->matrix, MATRIX_TRANSPOSED, w->signs);
}

Status cuda_qr(Device *dev, Tensor q, Tensor r, Tensor a)
{
    Work w;

    TRY(begin(&w, dev, "qr", a));
    return end(&w, qr(&w, q, r, a));
}
