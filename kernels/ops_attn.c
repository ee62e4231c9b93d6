#include "kernels/ops.h"

#include "kernels/check_args.h"

enum { HEAD_SIZE_MAX = 256 };

typedef struct Heads {
    int32_t n_head, n_kv_head, head_size;
} Heads;

static Status check_heads(const char *op, Heads h)
{
    if (h.n_head <= 0 || h.n_kv_head <= 0 || h.n_head % h.n_kv_head != 0)
        return FAIL(LT_E_FAIL, "%s: %d query heads over %d key heads, expected a multiple", op, h.n_head, h.n_kv_head);
    if (h.head_size <= 0 || h.head_size % 2 != 0 || h.head_size > HEAD_SIZE_MAX)
        return FAIL(LT_E_FAIL, "%s: head size is %d, expected an even number up to %d", op, h.head_size, HEAD_SIZE_MAX);
    return LT_OK;
}

/* [begin, begin + len) lies within n rows. */
static bool is_within(int64_t begin, int64_t len, int64_t n) { return begin >= 0 && len >= 0 && begin + len <= n; }

static Status check_segments(const char *op, const AttnArgs *a)
{
    if (a->n_seg < 0 || (a->n_seg > 0 && a->seg == NULL))
        return FAIL(LT_E_FAIL, "%s: %d segments and no list", op, a->n_seg);
    for (int32_t i = 0; i < a->n_seg; i++) {
        const AttnSegment s = a->seg[i];

        if (!is_within(s.q_begin, s.q_len, a->q.rows) || !is_within(s.ctx_begin, s.ctx_len, a->k.rows) ||
            !is_within(s.own_begin, s.q_len, a->k.rows))
            return FAIL(LT_E_FAIL, "%s: segment %d {q %d+%d, ctx %d+%d, own %d} leaves the %lld rows of q or the %lld of k", op, i, s.q_begin,
                        s.q_len, s.ctx_begin, s.ctx_len, s.own_begin, (long long)a->q.rows, (long long)a->k.rows);
    }
    return a->n_seg == 0 ? LT_OK : check_tensor(op, "seg_dev", a->seg_dev, DT_I32, a->n_seg, sizeof(AttnSegment) / sizeof(int32_t));
}

static Status check_attn(const char *op, const AttnArgs *a, unsigned dtypes)
{
    const int64_t q_cols = (int64_t)a->n_head * a->head_size, k_cols = (int64_t)a->n_kv_head * a->head_size;

    TRY(check_heads(op, (Heads){a->n_head, a->n_kv_head, a->head_size}));
    TRY(check_tensor(op, "q", a->q, dtypes, ANY_SIZE, q_cols));
    TRY(check_tensor(op, "o", a->o, same_dtype(a->q), a->q.rows, q_cols));
    TRY(check_tensor(op, "k", a->k, same_dtype(a->q), ANY_SIZE, k_cols));
    TRY(check_tensor(op, "v", a->v, same_dtype(a->q), a->k.rows, k_cols));
    TRY(check_optional(op, "lse", a->lse, DT_F32, a->q.rows, a->n_head));
    if (a->window < 0)
        return FAIL(LT_E_FAIL, "%s: window is %d, expected 0 (none) or more", op, a->window);
    if (!(a->dropout >= 0.0f && a->dropout < 1.0f))
        return FAIL(LT_E_FAIL, "%s: dropout is %g, expected 0 <= p < 1", op, (double)a->dropout);
    return check_segments(op, a);
}

Status op_attn(Device *dev, const AttnArgs *args)
{
    CHECK_SLOT(dev, attn);
    TRY(check_attn("attn", args, DT_ACTIVATION));
    return args->n_seg == 0 || is_empty(args->q) ? LT_OK : dev->table->attn(dev, args);
}

Status op_attn_grad(Device *dev, const AttnGradArgs *args)
{
    const AttnArgs *f = &args->fwd;

    CHECK_SLOT(dev, attn_grad);
    TRY(check_attn("attn_grad", f, DT_TRAIN));
    TRY(check_tensor("attn_grad", "lse", f->lse, DT_F32, f->q.rows, f->n_head));
    TRY(check_tensor("attn_grad", "d_o", args->d_o, same_dtype(f->q), f->q.rows, f->q.cols));
    TRY(check_tensor("attn_grad", "dq", args->dq, same_dtype(f->q), f->q.rows, f->q.cols));
    TRY(check_tensor("attn_grad", "dk", args->dk, same_dtype(f->q), f->k.rows, f->k.cols));
    TRY(check_tensor("attn_grad", "dv", args->dv, same_dtype(f->q), f->k.rows, f->k.cols));
    for (int32_t i = 0; i < f->n_seg; i++)
        if (f->seg[i].ctx_len != 0 || f->seg[i].own_begin != f->seg[i].q_begin)
            return FAIL(LT_E_FAIL, "attn_grad: segment %d shares a context, which has no gradient", i);
    TRY(device_fill_zero(dev, args->dq));
    TRY(device_fill_zero(dev, args->dk));
    TRY(device_fill_zero(dev, args->dv));
    return f->n_seg == 0 || is_empty(f->q) ? LT_OK : dev->table->attn_grad(dev, args);
}

static Status check_pages(const char *op, Tensor k_pages, Tensor v_pages, unsigned dtypes, int64_t cols)
{
    TRY(check_tensor(op, "k_pages", k_pages, dtypes, ANY_SIZE, cols));
    TRY(check_tensor(op, "v_pages", v_pages, dtypes, k_pages.rows, cols));
    if (k_pages.rows % KV_PAGE != 0)
        return FAIL(LT_E_FAIL, "%s: k_pages has %lld rows, expected whole pages of %d", op, (long long)k_pages.rows, KV_PAGE);
    return LT_OK;
}

Status op_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot)
{
    CHECK_SLOT(dev, kv_write);
    TRY(check_tensor("kv_write", "k", k, DT_ACTIVATION, ANY_SIZE, ANY_SIZE));
    TRY(check_tensor("kv_write", "v", v, same_dtype(k), k.rows, k.cols));
    TRY(check_pages("kv_write", k_pages, v_pages, same_dtype(k), k.cols));
    TRY(check_tensor("kv_write", "slot", slot, DT_I32, 1, k.rows));
    return is_empty(k) ? LT_OK : dev->table->kv_write(dev, k_pages, v_pages, k, v, slot);
}

static Status check_cached_segments(const AttnCachedArgs *a)
{
    const int64_t room = a->table.cols * KV_PAGE;

    if (a->n_seg < 0 || a->n_group < 0 || (a->n_seg > 0 && a->seg == NULL) || (a->n_group > 0 && a->group == NULL))
        return FAIL(LT_E_FAIL, "attn_cached: %d segments, %d groups and no list", a->n_seg, a->n_group);
    for (int32_t i = 0; i < a->n_seg; i++) {
        const CachedSegment s = a->seg[i];

        if (!is_within(s.q_begin, s.q_len, a->q.rows) || !is_within(s.past, s.q_len, room) || !is_within(s.table_row, 1, a->table.rows))
            return FAIL(LT_E_FAIL, "attn_cached: segment %d {q %d+%d, past %d, table row %d} leaves q or the table", i, s.q_begin, s.q_len,
                        s.past, s.table_row);
    }
    return LT_OK;
}

/* After the segments: a group is made of them. */
static Status check_groups(const AttnCachedArgs *a)
{
    int32_t free = 0;

    for (int32_t i = 0; i < a->n_group; i++) {
        const PrefixGroup g = a->group[i];

        if (!is_within(g.first, g.count, a->n_seg) || g.prefix_len < 0 || g.prefix_len % ATTN_SPLIT != 0)
            return FAIL(LT_E_FAIL, "attn_cached: group %d {%d+%d, prefix %d}: expected segments of this call and a multiple of %d", i, g.first,
                        g.count, g.prefix_len, ATTN_SPLIT);
        if (g.first < free)
            return FAIL(LT_E_FAIL, "attn_cached: group %d begins at segment %d, expected %d or later", i, g.first, free);
        for (free = g.first; free < g.first + g.count; free++) {
            const int64_t have = (int64_t)a->seg[free].past + a->seg[free].q_len;

            if (g.prefix_len > have) /* it would be read from pages that are not there */
                return FAIL(LT_E_FAIL, "attn_cached: group %d: a prefix of %d positions, segment %d has %lld", i, g.prefix_len, free,
                            (long long)have);
        }
    }
    return LT_OK;
}

Status op_attn_cached(Device *dev, const AttnCachedArgs *args)
{
    const AttnCachedArgs *a = args;
    const char *op = "attn_cached";

    CHECK_SLOT(dev, attn_cached);
    TRY(check_heads(op, (Heads){a->n_head, a->n_kv_head, a->head_size}));
    TRY(check_tensor(op, "q", a->q, DT_ACTIVATION, ANY_SIZE, (int64_t)a->n_head * a->head_size));
    TRY(check_tensor(op, "o", a->o, same_dtype(a->q), a->q.rows, a->q.cols));
    TRY(check_pages(op, a->k_pages, a->v_pages, same_dtype(a->q), (int64_t)a->n_kv_head * a->head_size));
    TRY(check_tensor(op, "table", a->table, DT_I32, ANY_SIZE, ANY_SIZE));
    TRY(check_cached_segments(a));
    TRY(check_groups(a));
    if (a->n_seg == 0 || is_empty(a->q))
        return LT_OK;
    TRY(check_tensor(op, "seg_dev", a->seg_dev, DT_I32, a->n_seg, sizeof(CachedSegment) / sizeof(int32_t)));
    if (a->n_group > 0)
        TRY(check_tensor(op, "group_dev", a->group_dev, DT_I32, a->n_group, sizeof(PrefixGroup) / sizeof(int32_t)));
    return dev->table->attn_cached(dev, args);
}
