/* Attention over paged keys and values. A task is some queries of one segment, or of a group of segments whose first pages are the same:
 * those it walks once with all its queries, the rest with each segment's alone. */
#include "kernels/cpu/attn_core.h"

/* The queries of a task that belong to one segment: the task's at..at+count-1, the segment's first..first+count-1. */
typedef struct CachedPart {
    const CachedSegment *segment;
    int first, at, count;
} CachedPart;

/* The part behind `part`, or the first one if its segment is NULL; false when there is none. Segments without queries have no part. */
static bool next_part(CachedPart *part, const AttnCachedArgs *a, const AttnTask *t)
{
    const bool start = part->segment == NULL;
    const int at = start ? 0 : part->at + part->count;
    const CachedSegment *s = start ? &a->seg[t->segment] : part->segment + 1;
    const int first = start ? t->first : 0;

    if (at == t->count)
        return false;
    while (s->q_len == 0)
        s++;
    *part = (CachedPart){s, first, at, (int)simd_min(s->q_len - first, t->count - at)};
    return true;
}

/* source: the sequence's row of the page table. */
static void page_rows(int64_t *row, const void *source, int begin, int end)
{
    const int32_t *page = source;

    for (int position = begin; position < end; position++)
        row[position - begin] = (int64_t)page[position / KV_PAGE] * KV_PAGE + position % KV_PAGE;
}

static AttnKeys keys_of(const AttnCachedArgs *a, const AttnTask *t, const CachedSegment *s)
{
    return (AttnKeys){a->k_pages, a->v_pages, (int64_t)t->kv_head * a->head_size, page_rows,
                      (const int32_t *)a->table.data + s->table_row * a->table.stride};
}

SIMD_INLINE void compute(const AttnCachedArgs *a, const AttnTask *t, void *block, const CpuLevel level)
{
    const int64_t col = (int64_t)t->kv_head * (a->n_head / a->n_kv_head) * a->head_size;
    const AttnKeys shared = keys_of(a, t, &a->seg[t->segment]);
    CachedPart part = {0};
    AttnWork w;

    attn_work_carve(&w, block, a->n_head / a->n_kv_head, a->head_size);
    w.n_query = t->count;
    w.window = a->window;
    while (next_part(&part, a, t)) {
        for (int i = 0; i < part.count; i++) {
            w.position[part.at + i] = part.segment->past + part.first + i;
            attn_load_query(&w, part.at + i, a->q, (int64_t)part.segment->q_begin + part.first + i, col, a->scale);
        }
    }
    attn_sums_reset(&w.split, t->count * w.group, w.width);
    attn_sums_reset(&w.total, t->count * w.group, w.width);
    attn_walk(&w, &shared, 0, t->prefix_len, level);
    part = (CachedPart){0};
    while (next_part(&part, a, t)) {
        const AttnWork own = attn_work_part(&w, part.at, part.count);
        const AttnKeys keys = keys_of(a, t, part.segment);

        attn_walk(&own, &keys, t->prefix_len, own.position[part.count - 1] + 1, level);
        for (int i = 0; i < part.count; i++)
            attn_store_query(&own, i, a->o, (int64_t)part.segment->q_begin + part.first + i, col);
    }
}

static void compute_generic(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_GENERIC); }
TARGET_AVX2 static void compute_avx2(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_AVX2); }
TARGET_AVX512 static void compute_avx512(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_AVX512); }

/* Cuts the queries of segments first..first+count-1 into tasks; writes them from task[n] on unless task is NULL. The new n. */
static int64_t list_queries(AttnTask *task, int64_t n, const AttnCachedArgs *a, PrefixGroup g)
{
    const int step = attn_task_queries(a->n_head / a->n_kv_head);
    int64_t left = 0;
    int32_t segment = g.first, first = 0;

    for (int32_t s = 0; s < g.count; s++)
        left += a->seg[g.first + s].q_len;
    while (left > 0) {
        const int32_t count = (int32_t)simd_min(left, step);
        int32_t behind = first + count;

        for (int32_t head = 0; head < a->n_kv_head; head++, n++)
            if (task != NULL)
                task[n] = (AttnTask){segment, first, count, head, g.prefix_len};
        for (left -= count; left > 0 && behind >= a->seg[segment].q_len; segment++)
            behind -= a->seg[segment].q_len;
        first = behind;
    }
    return n;
}

/* Groups ascend and do not overlap; what lies between them are groups of one segment and no prefix. */
static int64_t list_tasks(AttnTask *task, const void *args)
{
    const AttnCachedArgs *a = args;
    int64_t n = 0;
    int32_t s = 0;

    for (int32_t g = 0; g <= a->n_group; g++) {
        const int32_t stop = g < a->n_group ? a->group[g].first : a->n_seg;

        for (; s < stop; s++)
            n = list_queries(task, n, a, (PrefixGroup){s, 1, 0});
        if (g < a->n_group) {
            n = list_queries(task, n, a, a->group[g]);
            s = a->group[g].first + a->group[g].count;
        }
    }
    return n;
}

Status cpu_attn_cached(Device *dev, const AttnCachedArgs *args)
{
    return attn_run(dev, &(AttnPlan){args, list_tasks, {compute_generic, compute_avx2, compute_avx512, compute_avx512},
                                     attn_work_bytes(args->n_head / args->n_kv_head, args->head_size)});
}

Status cpu_kv_write(Device *dev, Tensor k_pages, Tensor v_pages, Tensor k, Tensor v, Tensor slot)
{
    TRY(cpu_scatter(dev, k_pages, k, slot));
    return cpu_scatter(dev, v_pages, v, slot);
}
