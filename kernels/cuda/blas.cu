#include "kernels/cuda/blas.h"

extern "C" {
#include "core/mem.h"
}

#include <string.h>

/* A product's kind: all that may decide about its algorithm. The number of rows is not part of it, so that a row's bits do not depend on how many
 * travel along. Compared as bytes: no padding, zeroed before it is filled. */
typedef struct PlanKey {
    int64_t n, k;
    int32_t phase, type_ab, type_c, op_a, op_b, bias;
    uint32_t align_a, align_b, align_c, unused;
} PlanKey;

typedef struct BlasPlan {
    PlanKey key;
    cublasLtMatmulDesc_t desc;
    cublasLtMatmulAlgo_t algo;
    size_t workspace_bytes;
} BlasPlan;

/* Rows for which the library is asked what it would take: a training or scoring batch, a decoding one. */
enum { WIDE_ROWS = 4096, NARROW_ROWS = 32 };
/* A copy's width is what the library's kernels ask of addresses at most, and what our bias has. */
enum { LT_ALIGNMENT = 16, N_ANSWER = 16 };

static Status lt_check(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return LT_OK;
    return FAIL(status == CUBLAS_STATUS_ALLOC_FAILED ? LT_E_NOMEM : status == CUBLAS_STATUS_NOT_SUPPORTED ? LT_E_UNSUPPORTED : LT_E_DEVICE,
                "cuBLASLt: %s: status %d", what, (int)status);
}

Status blas_open(struct CudaBlas **out)
{
    struct CudaBlas *blas = (struct CudaBlas *)mem_take(1, sizeof *blas);
    Status st;

    if (blas == NULL)
        return LT_E_NOMEM;
    blas->plan = (BlasPlan *)mem_take(BLAS_PLANS, sizeof *blas->plan);
    TRY_GOTO(blas->plan != NULL ? LT_OK : LT_E_NOMEM, st, fail);
    TRY_GOTO(library_cublaslt(&blas->lt), st, fail);
    TRY_GOTO(lt_check(blas->lt.create(&blas->handle), "opening it"), st, fail);
    *out = blas;
    return LT_OK;
fail:
    blas_close(blas);
    return st;
}

void blas_close(struct CudaBlas *blas)
{
    if (blas == NULL)
        return;
    for (int i = 0; i < blas->n_plan; i++)
        (void)blas->lt.desc_destroy(blas->plan[i].desc);
    if (blas->handle != NULL)
        (void)blas->lt.destroy(blas->handle);
    mem_free(blas->plan);
    mem_free(blas);
}

/* ---- kinds of products ------------------------------------------------------------------------------------------------------ */

static cudaDataType_t cuda_type(int32_t dtype)
{
    return dtype == LT_F64 ? CUDA_R_64F : dtype == LT_F32 ? CUDA_R_32F : dtype == LT_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* Largest power of two up to 16 that divides the address of every row: a view of other rows has the same. */
static uint32_t alignment_of(Tensor t)
{
    const uint64_t bits = (uint64_t)(uintptr_t)t.data | (uint64_t)t.stride * dtype_bytes(t.dtype) | LT_ALIGNMENT;

    return (uint32_t)(bits & -bits);
}

static PlanKey key_of(const GemmArgs *g, bool bias)
{
    PlanKey key;

    memset(&key, 0, sizeof key);
    key.n = g->c.cols;
    key.k = g->op_a == GEMM_N ? g->a.cols : g->a.rows;
    key.phase = g->phase;
    key.type_ab = g->a.dtype;
    key.type_c = g->c.dtype;
    key.op_a = g->op_a;
    key.op_b = g->op_b;
    key.bias = bias;
    key.align_a = alignment_of(g->a);
    key.align_b = alignment_of(g->b);
    key.align_c = alignment_of(g->c);
    return key;
}

/* ---- what the library calls a product --------------------------------------------------------------------------------------- */

/* Matrices in the library's words: its first operand is our b. */
typedef struct Layouts {
    cublasLtMatrixLayout_t first, second, c;
} Layouts;

static void free_layouts(const Cublaslt *lt, Layouts *l)
{
    if (l->first != NULL)
        (void)lt->layout_destroy(l->first);
    if (l->second != NULL)
        (void)lt->layout_destroy(l->second);
    if (l->c != NULL)
        (void)lt->layout_destroy(l->c);
}

/* A row-major [rows, cols] with a stride is their column-major [cols, rows] with that leading dimension. */
static Status make_layouts(const Cublaslt *lt, Layouts *out, const PlanKey *key, int64_t m, const int64_t stride[3])
{
    const cudaDataType_t ab = cuda_type(key->type_ab), c = cuda_type(key->type_c);
    const uint64_t rows = (uint64_t)m, n = (uint64_t)key->n, k = (uint64_t)key->k;
    Status st;

    memset(out, 0, sizeof *out);
    TRY_GOTO(lt_check(key->op_b == GEMM_N ? lt->layout_create(&out->first, ab, n, k, stride[1]) : lt->layout_create(&out->first, ab, k, n, stride[1]),
                      "layout of b"),
             st, fail);
    TRY_GOTO(lt_check(key->op_a == GEMM_N ? lt->layout_create(&out->second, ab, k, rows, stride[0])
                                          : lt->layout_create(&out->second, ab, rows, k, stride[0]),
                      "layout of a"),
             st, fail);
    TRY_GOTO(lt_check(lt->layout_create(&out->c, c, n, rows, stride[2]), "layout of c"), st, fail);
    return LT_OK;
fail:
    free_layouts(lt, out);
    return st;
}

#define DESC_SET(attribute, value) lt_check(lt->desc_set(desc, (attribute), &(value), sizeof(value)), #attribute)

/* CUBLAS_COMPUTE_32F: F32 products of F32 are no TF32, and sums of 16-bit products are F32. */
static Status fill_desc(const Cublaslt *lt, cublasLtMatmulDesc_t desc, const PlanKey *key, const void *bias)
{
    const cublasOperation_t first = key->op_b == GEMM_N ? CUBLAS_OP_N : CUBLAS_OP_T, second = key->op_a == GEMM_N ? CUBLAS_OP_N : CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;

    TRY(DESC_SET(CUBLASLT_MATMUL_DESC_TRANSA, first));
    TRY(DESC_SET(CUBLASLT_MATMUL_DESC_TRANSB, second));
    if (!key->bias)
        return LT_OK;
    TRY(DESC_SET(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue));
    return DESC_SET(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

/* ---- the choice of an algorithm --------------------------------------------------------------------------------------------- */

#define PREFERENCE_SET(attribute, value) lt_check(lt->preference_set(p, (attribute), &(value), sizeof(value)), #attribute)

static Status fill_preference(const Cublaslt *lt, cublasLtMatmulPreference_t p, const PlanKey *key)
{
    const uint64_t workspace = CUDA_WORKSPACE;
    const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;

    TRY(PREFERENCE_SET(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace));
    TRY(PREFERENCE_SET(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, none));
    TRY(PREFERENCE_SET(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->align_b));
    TRY(PREFERENCE_SET(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->align_a));
    TRY(PREFERENCE_SET(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->align_c));
    return PREFERENCE_SET(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->align_c);
}

/* One sum an element, walked in one go? The mask above asks for that; an answer is believed only after it says so itself. */
static bool sums_once(const Cublaslt *lt, const cublasLtMatmulAlgo_t *algo)
{
    uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_MASK;
    int32_t split = 0;
    size_t written;

    return lt->algo_get(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme, sizeof scheme, &written) == CUBLAS_STATUS_SUCCESS &&
           lt->algo_get(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split, sizeof split, &written) == CUBLAS_STATUS_SUCCESS &&
           scheme == CUBLASLT_REDUCTION_SCHEME_NONE && split <= 1;
}

static Status ask(const struct CudaBlas *blas, BlasPlan *plan, const Layouts *l, cublasLtMatmulPreference_t preference)
{
    cublasLtMatmulHeuristicResult_t answer[N_ANSWER];
    int n = 0;

    TRY(lt_check(blas->lt.heuristic(blas->handle, plan->desc, l->first, l->second, l->c, l->c, preference, N_ANSWER, answer, &n), "heuristic"));
    for (int i = 0; i < n; i++)
        if (answer[i].state == CUBLAS_STATUS_SUCCESS && sums_once(&blas->lt, &answer[i].algo)) {
            plan->algo = answer[i].algo;
            plan->workspace_bytes = answer[i].workspaceSize;
            return LT_OK;
        }
    return FAIL(LT_E_UNSUPPORTED, "gemm: of %d algorithms that cuBLASLt offers none adds up a sum in one go", n);
}

/* The smallest stride that a matrix of this alignment may have: the choice must not depend on the strides of whoever comes first. */
static int64_t tightest(int64_t cols, uint32_t alignment, int32_t dtype)
{
    const int64_t step = alignment > dtype_bytes((DType)dtype) ? (int64_t)(alignment / dtype_bytes((DType)dtype)) : 1;

    return (cols + step - 1) / step * step;
}

/* What is promised: one algorithm a kind, taken from the library's own order for a number of rows that stands above, the same in every run with
 * this library on this card. That an algorithm without split or reduction gives a row the same bits among few and among many rows is what NVIDIA's
 * kernels do and does not write down: test_gemm and test_invariance, run on a card, hold it to that. */
static Status choose(const struct CudaBlas *blas, BlasPlan *plan)
{
    const Cublaslt *lt = &blas->lt;
    const PlanKey *key = &plan->key;
    const int64_t m = key->phase == GEMM_NARROW ? NARROW_ROWS : WIDE_ROWS;
    const int64_t stride[3] = {
        tightest(key->op_a == GEMM_N ? key->k : m, key->align_a, key->type_ab),
        tightest(key->op_b == GEMM_N ? key->n : key->k, key->align_b, key->type_ab),
        tightest(key->n, key->align_c, key->type_c),
    };
    cublasLtMatmulPreference_t preference = NULL;
    Layouts l;
    Status st;

    TRY(make_layouts(lt, &l, key, m, stride));
    TRY_GOTO(lt_check(lt->preference_create(&preference), "preference"), st, done);
    TRY_GOTO(fill_preference(lt, preference, key), st, done);
    st = ask(blas, plan, &l, preference);
done:
    if (preference != NULL)
        (void)lt->preference_destroy(preference);
    free_layouts(lt, &l);
    return st;
}

static Status make_plan(const struct CudaBlas *blas, BlasPlan *plan, const PlanKey *key)
{
    const cudaDataType_t scale = key->type_c == LT_F64 ? CUDA_R_64F : CUDA_R_32F;
    const void *example = (const void *)(uintptr_t)LT_ALIGNMENT; /* never read: its alignment is what counts */
    Status st;

    memset(plan, 0, sizeof *plan);
    plan->key = *key;
    TRY(lt_check(blas->lt.desc_create(&plan->desc, key->type_c == LT_F64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, scale), "description"));
    TRY_GOTO(fill_desc(&blas->lt, plan->desc, key, example), st, fail);
    TRY_GOTO(choose(blas, plan), st, fail);
    return LT_OK;
fail:
    (void)blas->lt.desc_destroy(plan->desc);
    return st;
}

static Status plan_of(struct CudaBlas *blas, const PlanKey *key, BlasPlan **out)
{
    BlasPlan fresh;
    int at = blas->n_plan;

    for (int i = 0; i < blas->n_plan; i++)
        if (memcmp(&blas->plan[i].key, key, sizeof *key) == 0) {
            *out = &blas->plan[i];
            return LT_OK;
        }
    TRY(make_plan(blas, &fresh, key));
    if (blas->n_plan < BLAS_PLANS) {
        blas->n_plan++;
    } else {
        at = blas->oldest;
        blas->oldest = (at + 1) % BLAS_PLANS;
        (void)blas->lt.desc_destroy(blas->plan[at].desc);
    }
    blas->plan[at] = fresh;
    *out = &blas->plan[at];
    return LT_OK;
}

/* ---- the product ------------------------------------------------------------------------------------------------------------ */

Status blas_gemm(Device *dev, const GemmArgs *g, const void *bias, size_t reserve)
{
    CudaDevice *cuda = cuda_of(dev);
    const Cublaslt *lt = &cuda->blas->lt;
    const PlanKey key = key_of(g, bias != NULL);
    const int64_t stride[3] = {g->a.stride, g->b.stride, g->c.stride};
    const double alpha64 = (double)g->alpha, beta64 = (double)g->beta;
    const bool wide = g->c.dtype == LT_F64;
    const void *alpha = wide ? (const void *)&alpha64 : &g->alpha, *beta = wide ? (const void *)&beta64 : &g->beta;
    BlasPlan *plan;
    void *workspace;
    Layouts l;
    Status st;

    TRY(plan_of(cuda->blas, &key, &plan));
    if (bias != NULL)
        TRY(lt_check(lt->desc_set(plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "bias"));
    TRY(cuda_workspace(dev, reserve + plan->workspace_bytes, &workspace));
    TRY(make_layouts(lt, &l, &key, g->c.rows, stride));
    st = lt_check(lt->matmul(cuda->blas->handle, plan->desc, alpha, g->b.data, l.first, g->a.data, l.second, beta, g->c.data, l.c, g->c.data, l.c,
                             &plan->algo, (char *)workspace + reserve, plan->workspace_bytes, cuda->stream),
                  "matmul");
    free_layouts(lt, &l);
    return st;
}
