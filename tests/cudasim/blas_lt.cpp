/* The stand-in for cuBLASLt: refuses what the documentation does not allow, and what the algorithm at hand was not chosen for. */
#include <cublasLt.h>

#include "tests/cudasim/product.h"
#include "tests/cudasim/sim.h"

#include <stdlib.h>

struct cublasLtContext {
    int device;
};
struct cublasLtMatmulDescOpaque {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t op_a, op_b;
    uint32_t epilogue;
    const void *bias;
};
struct cublasLtMatrixLayoutOpaque {
    SimMatrix matrix; /* data: NULL */
};
struct cublasLtMatmulPreferenceOpaque {
    uint64_t workspace;
    uint32_t reduction_mask, align[4];
};

/* What stands in an algorithm's 64 bytes. */
typedef struct Algo {
    uint32_t magic;
    int32_t split;
    uint32_t scheme, epilogue;
    uint16_t op_a, op_b, type_ab, type_d;
    uint16_t align[4], align_bias, unused[3];
    uint64_t workspace;
} Algo;
enum { MAGIC = 0x4c744c74 };
static const uint64_t ALGO_WORKSPACE = 1 << 16;
static const uint32_t ALIGN_MOST = 16;
static_assert(sizeof(Algo) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm has 64 bytes");

/* ---- handles and descriptions ----------------------------------------------------------------------------------------------- */

template <typename T> static cublasStatus_t make(T **out)
{
    *out = (T *)calloc(1, sizeof **out);
    return *out != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

static cublasStatus_t drop(void *object)
{
    free(object);
    return CUBLAS_STATUS_SUCCESS;
}

/* An attribute has one size, and a value of another is refused. */
template <typename T> static cublasStatus_t set(T *to, const void *value, size_t bytes)
{
    if (value == NULL || bytes != sizeof *to)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) { return make(handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return drop(handle); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale)
{
    const cublasStatus_t status = make(desc);

    if (status == CUBLAS_STATUS_SUCCESS)
        **desc = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    return status;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return drop(desc); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t which, const void *value, size_t bytes)
{
    switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(&desc->op_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(&desc->op_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(&desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(&desc->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld)
{
    const cublasStatus_t status = make(layout);

    if (status == CUBLAS_STATUS_SUCCESS)
        (*layout)->matrix = {NULL, type, rows, cols, ld};
    return status;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return drop(layout); }

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    const cublasStatus_t status = make(preference);

    if (status == CUBLAS_STATUS_SUCCESS)
        **preference = {0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}};
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) { return drop(preference); }

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t which,
                                                    const void *value, size_t bytes)
{
    switch (which) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set(&preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set(&preference->reduction_mask, value, bytes);
    default: break;
    }
    if (which < CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES || which > CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
        return CUBLAS_STATUS_INVALID_VALUE;
    return set(&preference->align[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
}

/* ---- what goes together ----------------------------------------------------------------------------------------------------- */

typedef struct Problem {
    const cublasLtMatmulDescOpaque *desc;
    SimMatrix a, b, c, d;
} Problem;

static bool types_are_supported(const Problem *p)
{
    const cudaDataType_t ab = p->a.type, d = p->d.type;

    if (p->b.type != ab || p->c.type != d)
        return false;
    if (p->desc->compute == CUBLAS_COMPUTE_64F) /* and no epilogue, says the documentation's table */
        return p->desc->scale == CUDA_R_64F && ab == CUDA_R_64F && d == CUDA_R_64F && p->desc->epilogue == CUBLASLT_EPILOGUE_DEFAULT;
    return p->desc->compute == CUBLAS_COMPUTE_32F && p->desc->scale == CUDA_R_32F && ab != CUDA_R_64F && (d == ab || d == CUDA_R_32F);
}

static cublasStatus_t check_problem(const Problem *p)
{
    const bool flip_a = p->desc->op_a != CUBLAS_OP_N, flip_b = p->desc->op_b != CUBLAS_OP_N;
    const uint64_t m = flip_a ? p->a.cols : p->a.rows, k = flip_a ? p->a.rows : p->a.cols;
    const SimMatrix *all[] = {&p->a, &p->b, &p->c, &p->d};

    if (!types_are_supported(p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (const SimMatrix *each : all)
        if (each->rows == 0 || each->cols == 0 || each->ld < (int64_t)each->rows)
            return CUBLAS_STATUS_INVALID_VALUE;
    if ((flip_b ? p->b.cols : p->b.rows) != k || p->d.rows != m || p->d.cols != (flip_b ? p->b.rows : p->b.cols))
        return CUBLAS_STATUS_INVALID_VALUE;
    return p->c.rows == m && p->c.cols == p->d.cols ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

/* Largest power of two that divides the address, at most 16. */
static uint16_t alignment(const void *p)
{
    const uintptr_t bits = (uintptr_t)p | ALIGN_MOST;

    return (uint16_t)(bits & -bits);
}

/* ---- algorithms ------------------------------------------------------------------------------------------------------------- */

static Algo algo_for(const Problem *p, const cublasLtMatmulPreferenceOpaque *preference)
{
    Algo a = {};

    a.magic = MAGIC;
    a.split = 1;
    a.epilogue = p->desc->epilogue;
    a.op_a = (uint16_t)p->desc->op_a;
    a.op_b = (uint16_t)p->desc->op_b;
    a.type_ab = (uint16_t)p->a.type;
    a.type_d = (uint16_t)p->d.type;
    for (int i = 0; i < 4; i++)
        a.align[i] = (uint16_t)(preference->align[i] < ALIGN_MOST ? preference->align[i] : ALIGN_MOST);
    a.align_bias = alignment(p->desc->bias);
    a.workspace = preference->workspace < ALGO_WORKSPACE ? preference->workspace : ALGO_WORKSPACE;
    return a;
}

/* The first answer splits the sum, unless the caller asked for none that does: as on a card it is what a short, deep product gets. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int n_asked, cublasLtMatmulHeuristicResult_t result[], int *n_given)
{
    const Problem p = {desc, a->matrix, b->matrix, c->matrix, d->matrix};
    Algo algo = algo_for(&p, preference);
    cublasStatus_t status;

    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (n_asked < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    status = check_problem(&p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (preference->reduction_mask & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) {
        algo.split = 4;
        algo.scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    }
    result[0] = {};
    memcpy(&result[0].algo, &algo, sizeof algo);
    result[0].workspaceSize = algo.workspace;
    result[0].state = CUBLAS_STATUS_SUCCESS;
    result[0].wavesCount = 1.0f;
    *n_given = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t get(const void *from, size_t have, void *value, size_t bytes, size_t *written)
{
    if (bytes != have || value == NULL)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, from, have);
    if (written != NULL)
        *written = have;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t which, void *value,
                                                    size_t bytes, size_t *written)
{
    Algo a;

    memcpy(&a, algo, sizeof a);
    switch (which) {
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM: return get(&a.split, sizeof a.split, value, bytes, written);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME: return get(&a.scheme, sizeof a.scheme, value, bytes, written);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* Was the algorithm chosen for such a product, and are its addresses, from row to row, as aligned as was said then? */
static bool algo_fits(const Algo *a, const Problem *p)
{
    const SimMatrix *all[] = {&p->a, &p->b, &p->c, &p->d};

    if (a->magic != MAGIC || a->epilogue != p->desc->epilogue || a->op_a != p->desc->op_a || a->op_b != p->desc->op_b ||
        a->type_ab != p->a.type || a->type_d != p->d.type)
        return false;
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)all[i]->data % a->align[i] != 0 || ((size_t)all[i]->ld * sim_type_bytes(all[i]->type)) % a->align[i] != 0)
            return false;
    return p->desc->epilogue != CUBLASLT_EPILOGUE_BIAS || alignment(p->desc->bias) >= a->align_bias;
}

/* ---- the product ------------------------------------------------------------------------------------------------------------ */

static double scalar(const void *value, cudaDataType_t type) { return type == CUDA_R_64F ? *(const double *)value : *(const float *)value; }

static SimMatrix at(cublasLtMatrixLayout_t layout, const void *data)
{
    SimMatrix m = layout->matrix;

    m.data = data;
    return m;
}

/* An algorithm that splits its sum is refused: the caller should have seen to it that none is offered. */
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c, cublasLtMatrixLayout_t c_layout,
                              void *d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream)
{
    const Problem p = {desc, at(a_layout, a), at(b_layout, b), at(c_layout, c), at(d_layout, d)};
    SimProduct s = {};
    cublasStatus_t status;
    Algo chosen;

    if (handle == NULL)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    status = check_problem(&p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    memcpy(&chosen, algo, sizeof chosen);
    if (!algo_fits(&chosen, &p) || workspace_bytes < chosen.workspace || (uintptr_t)workspace % ALIGN_MOST != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (chosen.split != 1 || c != d || c_layout->matrix.ld != d_layout->matrix.ld)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* by this stand-in */
    sim_check_device("cublasLtMatmul: workspace", workspace, chosen.workspace);
    s.a = p.a;
    s.b = p.b;
    s.d = p.d;
    s.op_a = (cublasOperation_t)desc->op_a;
    s.op_b = (cublasOperation_t)desc->op_b;
    s.alpha = scalar(alpha, desc->scale);
    s.beta = scalar(beta, desc->scale);
    s.bias = desc->epilogue == CUBLASLT_EPILOGUE_BIAS ? desc->bias : NULL;
    return sim_multiply(&s, stream);
}
