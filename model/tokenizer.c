#include "model/tokenizer.h"

#include "model/tokenizer_private.h"

#include "core/utf8.h"

Status ids_add(Ids *ids, int32_t id)
{
    TRY(MEM_GROW(ids->id, ids->cap, ids->count + 1));
    ids->id[ids->count++] = id;
    return LT_OK;
}

void ids_release(Ids *ids)
{
    mem_free(ids->id);
    *ids = (Ids){0};
}

void tokenizer_free(Tokenizer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_normal; i++)
        pattern_release(&t->normal[i].pattern);
    for (size_t i = 0; i < t->n_pre; i++)
        pattern_release(&t->pre[i].pattern);
    for (size_t i = 0; i < t->n_decode; i++)
        pattern_release(&t->decode[i].pattern);
    ids_release(&t->prefix);
    ids_release(&t->suffix);
    added_set_release(&t->raw);
    added_set_release(&t->normalized);
    vocab_release(&t->vocab);
    mem_free(t->added);
    map_release(&t->added_index);
    mem_free(t->added_of);
    arena_release(&t->arena);
    mem_free(t);
}

int32_t tokenizer_size(const Tokenizer *t)
{
    return (int32_t)t->vocab.size;
}

bool tokenizer_token(const Tokenizer *t, int32_t id, Str *text)
{
    if (!vocab_has(&t->vocab, id))
        return false;
    *text = t->added_of[id] > 0 ? t->added[t->added_of[id] - 1].content : t->vocab.text[id];
    return true;
}

int32_t tokenizer_find(const Tokenizer *t, Str token)
{
    int64_t i;

    return map_get(&t->added_index, token, &i) ? t->added[i].id : vocab_find(&t->vocab, token);
}

bool tokenizer_is_special(const Tokenizer *t, int32_t id)
{
    return vocab_has(&t->vocab, id) && t->added_of[id] > 0 && t->added[t->added_of[id] - 1].special;
}

int32_t tokenizer_bos(const Tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const Tokenizer *t)
{
    return t->eos;
}

int32_t tokenizer_pad(const Tokenizer *t)
{
    return t->pad;
}

int64_t tokenizer_max_length(const Tokenizer *t)
{
    return t->max_length;
}

Digest tokenizer_digest(const Tokenizer *t)
{
    return t->digest;
}

bool tokenizer_template_digest(const Tokenizer *t, Digest *out)
{
    if (t->has_template)
        *out = t->template_digest;
    return t->has_template;
}

Status encoder_create(Encoder **out, const Tokenizer *t)
{
    Encoder *e;

    TRY(MEM_NEW(e, 1));
    e->t = t;
    const Status st = cache_init(&e->cache);
    if (st != LT_OK) {
        mem_free(e);
        return st;
    }
    *out = e;
    return LT_OK;
}

void encoder_free(Encoder *e)
{
    if (e == NULL)
        return;
    normal_work_release(&e->normal);
    for (size_t i = 0; i < STEPS_MAX; i++)
        strbuf_release(&e->rewritten[i]);
    strbuf_release(&e->bpe.mapped);
    mem_free(e->bpe.symbol);
    mem_free(e->bpe.heap);
    cache_release(&e->cache);
    mem_free(e);
}

/* Text between the added tokens of the raw text. */
static Status encode_segment(Encoder *e, Str raw, bool first)
{
    AddedCut cut = {.set = &e->t->normalized};
    Stretch stretch;

    TRY(normal_run(e->t, &e->normal, raw, &cut.text));
    while (added_cut_next(&cut, &stretch)) {
        if (stretch.token != NULL)
            TRY(ids_add(e->out, stretch.token->id));
        else
            TRY(pre_run(e, 0, (Piece){stretch.text, first && stretch.text.data == cut.text.data}));
    }
    return LT_OK;
}

static Status encode_text(Encoder *e, Str text)
{
    AddedCut cut = {.set = &e->t->raw, .text = text};
    Stretch stretch;

    while (added_cut_next(&cut, &stretch)) {
        if (stretch.token != NULL)
            TRY(ids_add(e->out, stretch.token->id));
        else
            TRY(encode_segment(e, stretch.text, stretch.text.data == text.data));
    }
    return LT_OK;
}

static Status append_ids(Ids *out, const Ids *more)
{
    for (size_t i = 0; i < more->count; i++)
        TRY(ids_add(out, more->id[i]));
    return LT_OK;
}

Status encoder_encode(Encoder *e, Str text, bool special, Ids *out)
{
    const size_t valid = utf8_valid_prefix(text), before = out->count;
    Status st = LT_OK;

    if (valid != text.len)
        return FAIL(LT_E_INPUT, "text to encode: invalid UTF-8 at byte %zu", valid);
    e->out = out;
    if (special)
        TRY_GOTO(append_ids(out, &e->t->prefix), st, failed);
    TRY_GOTO(encode_text(e, text), st, failed);
    if (special)
        TRY_GOTO(append_ids(out, &e->t->suffix), st, failed);
    return LT_OK;
failed:
    out->count = before;
    return st;
}
