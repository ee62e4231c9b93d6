/* op_svd_topk: the randomised range finder of Halko, Martinsson and Tropp 2011 made of other ops, so that one source serves every backend. A product with a
 * costs 2 m n l; there are 2 + 2 power_iterations of them. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "core/random.h"
#include "kernels/check_args.h"
#include "kernels/linalg_check.h"

#include <math.h>

typedef struct Topk {
    Device *dev;
    Tensor a;
    int64_t l; /* k + oversample, at most q */
    TensorArena arena;
    Tensor range;  /* [m, l]: orthonormal columns that catch most of a */
    Tensor corange; /* [n, l]: the Gaussian, then aT range */
    Tensor small;  /* [l, n] = rangeT a */
    Tensor core, r; /* [l, l] */
    double *sigma; /* [l] */
} Topk;

/* Two numbers from two words, by Box and Muller; the first uniform lies in (0, 1]. */
static void gaussian_pair(double out[2], uint32_t u, uint32_t v)
{
    const double radius = sqrt(-2.0 * log(((double)u + 1.0) * 0x1p-32)), angle = 2.0 * M_PI * ((double)v * 0x1p-32);

    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

/* Made on the host, so that every backend starts from the same bits. */
static Status send_gaussian(Topk *t, uint64_t seed)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const Tensor to = t->corange;
    void *row = mem_take((size_t)t->l + 4, dtype_bytes(to.dtype));
    Status st = row != NULL ? LT_OK : LT_E_NOMEM;

    for (int64_t i = 0; i < to.rows && st == LT_OK; i++) {
        for (int64_t j = 0; j < t->l; j += 4) {
            const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(j / 4), 0, 0};
            uint32_t word[4];
            double four[4];

            philox4x32(counter, key, word);
            gaussian_pair(four, word[0], word[1]);
            gaussian_pair(four + 2, word[2], word[3]);
            for (int c = 0; c < 4; c++)
                if (to.dtype == LT_F32)
                    ((float *)row)[j + c] = (float)four[c];
                else
                    ((double *)row)[j + c] = four[c];
        }
        st = device_upload(t->dev, tensor_rows(to, i, 1), row);
    }
    mem_free(row);
    return st;
}

static Status take_all(Topk *t)
{
    const DType dtype = t->a.dtype;

    TRY(tensor_arena_take(&t->arena, &t->range, dtype, t->a.rows, t->l));
    TRY(tensor_arena_take(&t->arena, &t->corange, dtype, t->a.cols, t->l));
    TRY(tensor_arena_take(&t->arena, &t->small, dtype, t->l, t->a.cols));
    TRY(tensor_arena_take(&t->arena, &t->core, dtype, t->l, t->l));
    return tensor_arena_take(&t->arena, &t->r, dtype, t->l, t->l);
}

static Status multiply(Topk *t, Tensor c, Tensor a, GemmOp op_a, Tensor b)
{
    return op_gemm(t->dev, &(GemmArgs){.c = c, .a = a, .op_a = op_a, .b = b});
}

/* range = orthonormal columns that span a (aT a)^power times a Gaussian. Without the QR in between, all columns would turn into the first
 * singular vector. */
static Status find_range(Topk *t, const TopkArgs *args)
{
    TRY(send_gaussian(t, args->seed));
    TRY(multiply(t, t->range, t->a, GEMM_N, t->corange));
    TRY(op_qr(t->dev, t->range, t->r, t->range));
    for (int32_t i = 0; i < args->power_iterations; i++) {
        TRY(multiply(t, t->corange, t->a, GEMM_T, t->range));
        TRY(op_qr(t->dev, t->corange, t->r, t->corange));
        TRY(multiply(t, t->range, t->a, GEMM_N, t->corange));
        TRY(op_qr(t->dev, t->range, t->r, t->range));
    }
    return LT_OK;
}

/* corange is done with, and its memory holds [l, n] as well. */
static Status project(Topk *t, Tensor u, double *sigma, Tensor vt)
{
    const Tensor right = tensor_of(t->corange.data, t->corange.dtype, t->l, t->a.cols);

    TRY(multiply(t, t->small, t->range, GEMM_T, t->a));
    TRY(op_svd(t->dev, t->core, t->sigma, right, t->small));
    TRY(multiply(t, u, t->range, GEMM_N, tensor_cols(t->core, 0, u.cols)));
    TRY(device_copy(t->dev, vt, tensor_rows(right, 0, vt.rows)));
    for (int64_t i = 0; i < vt.rows; i++)
        sigma[i] = t->sigma[i];
    return LT_OK;
}

static Status check_arguments(Tensor u, Tensor vt, Tensor a, const TopkArgs *args)
{
    TRY(check_tensor("svd_topk", "a", a, DT_WIDE, ANY_SIZE, ANY_SIZE));
    if (args->k < 1 || args->k > a.rows || args->k > a.cols || args->oversample < 0 || args->power_iterations < 0)
        return FAIL(LT_E_FAIL, "svd_topk: k is %d, oversample %d, power_iterations %d for [%lld, %lld]", args->k, args->oversample,
                    args->power_iterations, (long long)a.rows, (long long)a.cols);
    TRY(check_tensor("svd_topk", "u", u, same_dtype(a), a.rows, args->k));
    return check_tensor("svd_topk", "vt", vt, same_dtype(a), args->k, a.cols);
}

Status op_svd_topk(Device *dev, Tensor u, double *sigma, Tensor vt, Tensor a, const TopkArgs *args)
{
    const int64_t q = a.rows < a.cols ? a.rows : a.cols, asked = (int64_t)args->k + args->oversample;
    Topk t = {.dev = dev, .a = a, .l = asked < q ? asked : q};
    LinalgCheck check = {0};
    Status st;

    TRY(check_arguments(u, vt, a, args));
    TRY_GOTO(linalg_check_open(&check, dev, "svd_topk", a), st, done);
    TRY_GOTO(MEM_NEW(t.sigma, (size_t)t.l), st, done);
    tensor_arena_plan(&t.arena, dev);
    TRY_GOTO(take_all(&t), st, done);
    TRY_GOTO(tensor_arena_open(&t.arena, dev, t.arena.used), st, done);
    TRY_GOTO(take_all(&t), st, done);
    TRY_GOTO(find_range(&t, args), st, done);
    TRY_GOTO(project(&t, u, sigma, vt), st, done);
    TRY_GOTO(linalg_check_projection(&check, u, sigma, vt), st, done);
    TRY_GOTO(linalg_check_orthonormal(&check, "u", u, GEMM_N), st, done);
    TRY_GOTO(linalg_check_orthonormal(&check, "vt", vt, GEMM_T), st, done);
done:
    if (t.arena.base != NULL)
        tensor_arena_close(&t.arena);
    linalg_check_close(&check);
    mem_free(t.sigma);
    return st;
}
