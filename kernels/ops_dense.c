#include "kernels/ops.h"

#include "core/clock.h"
#include "kernels/check_args.h"

typedef struct GemmSize {
    int64_t m, n, k;
} GemmSize;

static Status check_gemm(const GemmArgs *g, GemmSize *size)
{
    const unsigned c_types = g->a.dtype == LT_F64 ? DT_F64 : same_dtype(g->a) | DT_F32;
    const int64_t m = g->op_a == GEMM_N ? g->a.rows : g->a.cols, k = g->op_a == GEMM_N ? g->a.cols : g->a.rows;
    const int64_t n = g->op_b == GEMM_N ? g->b.cols : g->b.rows;

    TRY(check_tensor("gemm", "a", g->a, DT_ACTIVATION | DT_F64, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("gemm", "b", g->b, same_dtype(g->a), g->op_b == GEMM_N ? k : n, g->op_b == GEMM_N ? n : k));
    TRY(check_tensor("gemm", "c", g->c, c_types, m, n));
    TRY(check_optional("gemm", "bias", g->bias, same_dtype(g->a) | same_dtype(g->c), 1, n));
    if (g->beta < 0.0f || (g->beta > 0.0f && g->beta < 1.0f) || !(g->beta <= 1.0f))
        return FAIL(LT_E_FAIL, "gemm: beta is %g, expected 0 or 1", (double)g->beta);
    if (tensor_is_set(g->packed) && g->op_b != GEMM_T)
        return FAIL(LT_E_FAIL, "gemm: packed weights are used as op_b T only");
    *size = (GemmSize){m, n, k};
    return LT_OK;
}

/* Packed weights shorter than their matrix needs would be read past their end. */
static Status check_packed(Device *dev, const GemmArgs *g)
{
    const size_t need = op_gemm_pack_bytes(dev, g->b, g->phase);

    if (!tensor_is_set(g->packed))
        return LT_OK;
    if (need == 0)
        return FAIL(LT_E_FAIL, "gemm: packed weights where this device packs nothing");
    if ((size_t)g->packed.cols * dtype_bytes(g->packed.dtype) < need)
        return FAIL(LT_E_FAIL, "gemm: packed has %zu bytes, expected at least %zu", (size_t)g->packed.cols * dtype_bytes(g->packed.dtype), need);
    return LT_OK;
}

/* A sum over nothing: c = beta c + bias. */
static Status gemm_of_nothing(Device *dev, const GemmArgs *g)
{
    if (tensor_is_set(g->bias))
        return FAIL(LT_E_FAIL, "gemm: k is 0 and there is a bias");
    return g->beta == 0.0f ? dev->table->fill_zero(dev, g->c) : LT_OK;
}

/* Waits for the device at both ends: while it is on, the meter measures and nothing overlaps. */
static Status gemm_measured(Device *dev, const GemmArgs *g, GemmSize size)
{
    double start;

    TRY(dev->table->sync(dev));
    start = clock_s();
    TRY(dev->table->gemm(dev, g));
    TRY(dev->table->sync(dev));
    dev->meter.seconds += clock_s() - start;
    dev->meter.flops += 2.0 * (double)size.m * (double)size.n * (double)size.k;
    dev->meter.calls++;
    return LT_OK;
}

Status op_gemm(Device *dev, const GemmArgs *args)
{
    GemmArgs g = *args;
    GemmSize size = {0};

    CHECK_SLOT(dev, gemm);
    TRY(check_gemm(args, &size));
    if (g.alpha == 0.0f)
        g.alpha = 1.0f;
    if (size.m == 0 || size.n == 0)
        return LT_OK;
    if (size.k == 0)
        return gemm_of_nothing(dev, &g);
    TRY(check_packed(dev, &g));
    return dev->meter.on ? gemm_measured(dev, &g, size) : dev->table->gemm(dev, &g);
}

size_t op_gemm_pack_bytes(Device *dev, Tensor w, GemmClass phase)
{
    return dev->table->gemm_pack_bytes == NULL || is_empty(w) ? 0 : dev->table->gemm_pack_bytes(dev, w, phase);
}

Status op_gemm_pack(Device *dev, Tensor packed, Tensor w, GemmClass phase)
{
    size_t need;

    CHECK_SLOT(dev, gemm_pack);
    TRY(check_tensor("gemm_pack", "w", w, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("gemm_pack", "packed", packed, DT_U16 | DT_F32, 1, ANY_SIZE));
    need = op_gemm_pack_bytes(dev, w, phase);
    if ((size_t)packed.cols * dtype_bytes(packed.dtype) < need)
        return FAIL(LT_E_FAIL, "gemm_pack: packed has %zu bytes, expected at least %zu", (size_t)packed.cols * dtype_bytes(packed.dtype), need);
    return need == 0 ? LT_OK : dev->table->gemm_pack(dev, packed, w, phase);
}

Status op_embed(Device *dev, Tensor y, Tensor w, Tensor id)
{
    CHECK_SLOT(dev, embed);
    TRY(check_tensor("embed", "y", y, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("embed", "w", w, same_dtype(y), ANY_SIZE, y.cols));
    TRY(check_tensor("embed", "id", id, DT_I32, 1, y.rows));
    return is_empty(y) ? LT_OK : dev->table->embed(dev, y, w, id);
}

Status op_embed_grad(Device *dev, Tensor dw, Tensor dy, Tensor id, Tensor first, Tensor order)
{
    CHECK_SLOT(dev, embed_grad);
    TRY(check_tensor("embed_grad", "dy", dy, DT_TRAIN, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("embed_grad", "dw", dw, DT_F32, ANY_SIZE, dy.cols));
    TRY(check_tensor("embed_grad", "id", id, DT_I32, 1, ANY_SIZE));
    TRY(check_tensor("embed_grad", "first", first, DT_I32, 1, id.cols + 1));
    TRY(check_tensor("embed_grad", "order", order, DT_I32, 1, dy.rows));
    return is_empty(dy) || is_empty(id) ? LT_OK : dev->table->embed_grad(dev, dw, dy, id, first, order);
}

Status op_gather(Device *dev, Tensor y, Tensor x, Tensor row)
{
    CHECK_SLOT(dev, gather);
    TRY(check_tensor("gather", "y", y, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("gather", "x", x, same_dtype(y), ANY_SIZE, y.cols));
    TRY(check_tensor("gather", "row", row, DT_I32, 1, y.rows));
    return is_empty(y) ? LT_OK : dev->table->gather(dev, y, x, row);
}

Status op_scatter(Device *dev, Tensor x, Tensor y, Tensor row)
{
    CHECK_SLOT(dev, scatter);
    TRY(check_tensor("scatter", "y", y, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("scatter", "x", x, same_dtype(y), ANY_SIZE, y.cols));
    TRY(check_tensor("scatter", "row", row, DT_I32, 1, y.rows));
    return is_empty(y) ? LT_OK : dev->table->scatter(dev, x, y, row);
}

Status op_bias_grad(Device *dev, Tensor db, Tensor dy)
{
    CHECK_SLOT(dev, bias_grad);
    TRY(check_tensor("bias_grad", "dy", dy, DT_TRAIN, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("bias_grad", "db", db, DT_F32, 1, dy.cols));
    return is_empty(dy) ? LT_OK : dev->table->bias_grad(dev, db, dy);
}
