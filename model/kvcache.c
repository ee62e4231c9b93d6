#include "model/kvcache.h"

#include "kernels/ops.h"

static size_t part_bytes(const Model *m)
{
    return (size_t)KV_PAGE * (size_t)param_dim(&m->cfg, DIM_KV) * dtype_bytes(m->dtype);
}

size_t kvcache_page_bytes(const Model *m) { return 2 * (size_t)m->cfg.num_hidden_layers * part_bytes(m); }

static Status take_pools(KvCache *c, const Model *m)
{
    const int64_t rows = (int64_t)c->n_page * KV_PAGE, cols = param_dim(&m->cfg, DIM_KV);

    for (int32_t layer = 0; layer < c->n_layer; layer++) {
        TRY(tensor_arena_take(&c->memory, &c->k[layer], m->dtype, rows, cols));
        TRY(tensor_arena_take(&c->memory, &c->v[layer], m->dtype, rows, cols));
    }
    return LT_OK;
}

static Status open_parts(KvCache *c, const Model *m)
{
    size_t bytes;

    TRY(MEM_NEW(c->k, (size_t)c->n_layer));
    TRY(MEM_NEW(c->v, (size_t)c->n_layer));
    TRY(MEM_NEW(c->free_page, (size_t)c->n_page));
    TRY(MEM_NEW(c->n_use, (size_t)c->n_page));
    tensor_arena_plan(&c->memory, m->dev);
    TRY(take_pools(c, m));
    bytes = c->memory.used;
    TRY(tensor_arena_open(&c->memory, m->dev, bytes));
    TRY(take_pools(c, m));
    for (int32_t i = 0; i < c->n_page; i++)
        c->free_page[c->n_free++] = c->n_page - 1 - i; /* the first pages are taken first */
    return LT_OK;
}

Status kvcache_open(KvCache *c, const Model *m, int32_t n_page)
{
    *c = (KvCache){.dev = m->dev, .n_layer = (int32_t)m->cfg.num_hidden_layers, .n_page = n_page};
    const Status st = open_parts(c, m);
    if (st != LT_OK)
        kvcache_close(c);
    return st;
}

void kvcache_close(KvCache *c)
{
    tensor_arena_close(&c->memory);
    mem_free(c->k);
    mem_free(c->v);
    mem_free(c->free_page);
    mem_free(c->n_use);
    *c = (KvCache){0};
}

/* ---- pages -------------------------------------------------------------------------------------------------------------- */

static int32_t page_take(KvCache *c)
{
    BUG_IF(c->n_free == 0);
    const int32_t page = c->free_page[--c->n_free];
    c->n_use[page] = 1;
    return page;
}

static void page_give(KvCache *c, int32_t page)
{
    BUG_IF(c->n_use[page] < 1);
    if (--c->n_use[page] == 0)
        c->free_page[c->n_free++] = page;
}

static Tensor page_rows(Tensor pool, int32_t page) { return tensor_rows(pool, (int64_t)page * KV_PAGE, KV_PAGE); }

static Status page_copy(KvCache *c, int32_t to, int32_t from)
{
    for (int32_t layer = 0; layer < c->n_layer; layer++) {
        TRY(device_copy(c->dev, page_rows(c->k[layer], to), page_rows(c->k[layer], from)));
        TRY(device_copy(c->dev, page_rows(c->v[layer], to), page_rows(c->v[layer], from)));
    }
    return LT_OK;
}

static size_t rows_bytes(Tensor t) { return (size_t)t.rows * (size_t)t.cols * dtype_bytes(t.dtype); }

/* Into a new block of host memory. */
static Status page_save(KvCache *c, int32_t page, void **saved)
{
    const size_t bytes = rows_bytes(page_rows(c->k[0], page));
    char *block = mem_take(2 * (size_t)c->n_layer, bytes);
    Status st = block != NULL ? LT_OK : LT_E_NOMEM;

    for (int32_t layer = 0; layer < c->n_layer && st == LT_OK; layer++) {
        char *to = block + 2 * (size_t)layer * bytes;

        st = device_download(c->dev, to, page_rows(c->k[layer], page));
        if (st == LT_OK)
            st = device_download(c->dev, to + bytes, page_rows(c->v[layer], page));
    }
    if (st == LT_OK)
        *saved = block;
    else
        mem_free(block);
    return st;
}

static Status page_restore(KvCache *c, int32_t page, const void *saved)
{
    const size_t bytes = rows_bytes(page_rows(c->k[0], page));

    for (int32_t layer = 0; layer < c->n_layer; layer++) {
        const char *from = (const char *)saved + 2 * (size_t)layer * bytes;

        TRY(device_upload(c->dev, page_rows(c->k[layer], page), from));
        TRY(device_upload(c->dev, page_rows(c->v[layer], page), from + bytes));
    }
    return LT_OK;
}

/* ---- sequences ---------------------------------------------------------------------------------------------------------- */

Status kvseq_open(KvSequence *s, int32_t max_page)
{
    *s = (KvSequence){.cap = max_page};
    TRY(MEM_NEW(s->page, (size_t)max_page));
    return MEM_NEW(s->saved, (size_t)max_page);
}

void kvseq_close(KvCache *c, KvSequence *s)
{
    for (int32_t i = 0; i < s->n_here; i++)
        page_give(c, s->page[i]);
    for (int32_t i = s->n_here; i < s->n_page; i++)
        mem_free(s->saved[i]);
    mem_free(s->page);
    mem_free(s->saved);
    *s = (KvSequence){0};
}

bool kvseq_grow(KvCache *c, KvSequence *s)
{
    BUG_IF(!kvseq_is_here(s) || s->n_page == s->cap);
    if (c->n_free == 0)
        return false;
    s->page[s->n_page++] = page_take(c);
    s->n_here++;
    return true;
}

void kvseq_share(KvCache *c, KvSequence *to, const KvSequence *from, int32_t n)
{
    BUG_IF(to->n_page != 0 || n > to->cap || n > from->n_here);
    for (int32_t i = 0; i < n; i++) {
        to->page[i] = from->page[i];
        c->n_use[to->page[i]]++;
    }
    to->n_page = to->n_here = n;
}

Status kvseq_fork(KvCache *c, KvSequence *to, const KvSequence *from, int32_t n_position)
{
    const int32_t n_full = n_position / KV_PAGE;

    kvseq_share(c, to, from, n_full);
    if (n_position % KV_PAGE == 0)
        return LT_OK;
    if (c->n_free == 0) {
        TRY(page_save(c, from->page[n_full], &to->saved[n_full]));
        to->n_page++;
        return LT_OK;
    }
    kvseq_grow(c, to);
    return page_copy(c, to->page[n_full], from->page[n_full]);
}

Status kvseq_page_out(KvCache *c, KvSequence *s, int32_t keep)
{
    /* From the end, so that what is here is always the beginning. */
    for (; s->n_here > keep; s->n_here--) {
        const int32_t i = s->n_here - 1;

        TRY(page_save(c, s->page[i], &s->saved[i]));
        page_give(c, s->page[i]);
    }
    return LT_OK;
}

Status kvseq_page_in(KvCache *c, KvSequence *s)
{
    if (c->n_free < s->n_page - s->n_here)
        return LT_OK;
    for (; s->n_here < s->n_page; s->n_here++) {
        const int32_t i = s->n_here, page = page_take(c);
        const Status st = page_restore(c, page, s->saved[i]);

        if (st != LT_OK) {
            page_give(c, page);
            return st;
        }
        mem_free(s->saved[i]);
        s->page[i] = page;
    }
    return LT_OK;
}

int32_t kvseq_n_shared(const KvCache *c, const KvSequence *s)
{
    int32_t n = 0;

    while (n < s->n_here && c->n_use[s->page[n]] > 1)
        n++;
    return n;
}
