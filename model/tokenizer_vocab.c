#include "model/tokenizer_private.h"

Status vocab_name_id(Vocab *v, size_t id, Str text)
{
    if (id >= v->size) {
        TRY(MEM_GROW(v->text, v->text_cap, id + 1));
        memset(v->text + v->size, 0, (id + 1 - v->size) * sizeof *v->text);
        v->size = id + 1;
    }
    v->text[id] = text;
    return LT_OK;
}

typedef struct VocabReader {
    Vocab *v;
    const char *file;
    size_t id_limit;
} VocabReader;

static Status read_token(void *context, Str token, int64_t id)
{
    const VocabReader *r = context;
    Vocab *v = r->v;
    bool fresh;

    if (id < 0 || (uint64_t)id >= r->id_limit)
        return FAIL(LT_E_INPUT, "%s: model.vocab.%.40s: id %lld is not between 0 and %zu", r->file, token.data, (long long)id,
                    r->id_limit - 1);
    if (vocab_has(v, id))
        return FAIL(LT_E_INPUT, "%s: model.vocab.%.40s: id %lld is also that of '%.40s'", r->file, token.data, (long long)id,
                    v->text[id].data);
    TRY(map_put(&v->id, token, id, &fresh));
    if (!fresh)
        return FAIL(LT_E_INPUT, "%s: model.vocab.%.40s: this token is listed twice", r->file, token.data);
    return vocab_name_id(v, (size_t)id, map_key(&v->id, v->id.count - 1));
}

Status vocab_read(Vocab *v, Str table, const char *file, size_t id_limit)
{
    VocabReader reader = {v, file, id_limit};

    return table_read_vocab(table, file, read_token, &reader);
}

static Status merge_table_init(MergeTable *m, size_t count)
{
    size_t n_slot = 16;

    while (n_slot < 2 * count)
        n_slot *= 2;
    TRY(MEM_NEW(m->slot, n_slot));
    for (size_t i = 0; i < n_slot; i++)
        m->slot[i].pair = UINT64_MAX;
    m->mask = n_slot - 1;
    return LT_OK;
}

/* A merge that comes twice counts by its later rank, as in the reference. */
static void merge_table_put(MergeTable *m, Merge merge)
{
    size_t i = merge_slot(merge.pair) & m->mask;

    while (m->slot[i].pair != UINT64_MAX && m->slot[i].pair != merge.pair)
        i = (i + 1) & m->mask;
    m->count += m->slot[i].pair == UINT64_MAX;
    m->slot[i] = merge;
}

Status merge_table_build(MergeTable *m, const Merge *list, size_t n)
{
    TRY(merge_table_init(m, n));
    for (size_t i = 0; i < n; i++)
        merge_table_put(m, list[i]);
    return LT_OK;
}

typedef struct MergeReader {
    Vocab *v;
    const char *file;
    Merge *list; /* in file order; the table's size is known at the end only */
    size_t count, cap;
    StrBuf joined;
} MergeReader;

static Status read_part(const MergeReader *r, size_t index, Str token, int32_t *id)
{
    *id = vocab_find(r->v, token);
    if (*id < 0)
        return FAIL(LT_E_INPUT, "%s: model.merges[%zu]: '%.*s' is not in model.vocab", r->file, index, token.len < 40 ? (int)token.len : 40,
                    token.data);
    return LT_OK;
}

static Status read_merge(void *context, size_t index, Str left, Str right)
{
    MergeReader *r = context;
    int32_t a, b, ab;

    TRY(read_part(r, index, left, &a));
    TRY(read_part(r, index, right, &b));
    strbuf_clear(&r->joined);
    strbuf_add_str(&r->joined, left);
    strbuf_add_str(&r->joined, right);
    TRY(strbuf_status(&r->joined));
    TRY(read_part(r, index, strbuf_str(&r->joined), &ab));
    TRY(MEM_GROW(r->list, r->cap, r->count + 1));
    r->list[r->count++] = (Merge){(uint64_t)(uint32_t)a << 32 | (uint32_t)b, (uint32_t)index, ab};
    return LT_OK;
}

Status merges_read(Vocab *v, Str table, const char *file)
{
    MergeReader reader = {.v = v, .file = file};
    Status st;

    strbuf_init(&reader.joined);
    TRY_GOTO(table_read_merges(table, file, read_merge, &reader), st, done);
    st = merge_table_build(&v->merges, reader.list, reader.count);
done:
    strbuf_release(&reader.joined);
    mem_free(reader.list);
    return st;
}

void vocab_release(Vocab *v)
{
    map_release(&v->id);
    mem_free(v->text);
    mem_free(v->merges.slot);
}
