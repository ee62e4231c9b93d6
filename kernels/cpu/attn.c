/* Attention over packed sequences with shared contexts: attn_core.h cut into tasks of (segment, queries, kv head). */
#include "kernels/cpu/attn_core.h"

/* A segment's keys: its context's, then its own. */
static void key_rows(int64_t *row, const void *source, int begin, int end)
{
    const AttnSegment *s = source;

    for (int position = begin; position < end; position++)
        row[position - begin] = position < s->ctx_len ? (int64_t)s->ctx_begin + position : (int64_t)s->own_begin + position - s->ctx_len;
}

SIMD_INLINE void store(const AttnArgs *a, const AttnTask *t, const AttnWork *w)
{
    for (int i = 0; i < w->n_query; i++) {
        const int64_t row = (int64_t)a->seg[t->segment].q_begin + t->first + i, head = (int64_t)t->kv_head * w->group;

        attn_store_query(w, i, a->o, row, head * w->head_size);
        for (int h = 0; h < w->group && tensor_is_set(a->lse); h++) {
            const int64_t r = (int64_t)i * w->group + h;

            ((float *)a->lse.data)[row * a->lse.stride + head + h] = w->total.max[r] + logf(w->total.mass[r]);
        }
    }
}

SIMD_INLINE void compute(const AttnArgs *a, const AttnTask *t, void *block, const CpuLevel level)
{
    const AttnSegment *s = &a->seg[t->segment];
    const int64_t head = (int64_t)t->kv_head * (a->n_head / a->n_kv_head), row = (int64_t)s->q_begin + t->first;
    const AttnKeys keys = {a->k, a->v, (int64_t)t->kv_head * a->head_size, key_rows, s};
    AttnWork w;

    attn_work_carve(&w, block, a->n_head / a->n_kv_head, a->head_size);
    w.n_query = t->count;
    w.window = a->window;
    w.drop = (AttnDrop){&a->key, a->dropout, row * a->n_head + head, a->n_head};
    for (int i = 0; i < t->count; i++) {
        w.position[i] = s->ctx_len + t->first + i;
        attn_load_query(&w, i, a->q, row + i, head * w.head_size, a->scale);
    }
    attn_sums_reset(&w.split, t->count * w.group, w.width);
    attn_sums_reset(&w.total, t->count * w.group, w.width);
    attn_walk(&w, &keys, 0, w.position[t->count - 1] + 1, level);
    store(a, t, &w);
}

static void compute_generic(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_GENERIC); }
TARGET_AVX2 static void compute_avx2(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_AVX2); }
TARGET_AVX512 static void compute_avx512(const void *args, const AttnTask *t, void *block) { compute(args, t, block, CPU_AVX512); }

/* Within a segment the last queries see most keys and come first, so that the threads finish close together. */
static int64_t list_tasks(AttnTask *task, const void *args)
{
    const AttnArgs *a = args;
    const int step = attn_task_queries(a->n_head / a->n_kv_head);
    int64_t n = 0;

    for (int32_t s = 0; s < a->n_seg; s++) {
        for (int32_t end = a->seg[s].q_len; end > 0; end -= step) {
            const int32_t first = end > step ? end - step : 0;

            for (int32_t head = 0; head < a->n_kv_head; head++, n++)
                if (task != NULL)
                    task[n] = (AttnTask){s, first, end - first, head, 0};
        }
    }
    return n;
}

Status cpu_attn(Device *dev, const AttnArgs *args)
{
    return attn_run(dev, &(AttnPlan){args, list_tasks, {compute_generic, compute_avx2, compute_avx512, compute_avx512},
                                     attn_work_bytes(args->n_head / args->n_kv_head, args->head_size)});
}
