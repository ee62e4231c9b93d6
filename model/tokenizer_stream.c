/* Decoding: ids to pieces, pieces through the decoder's steps. A text at once is a stream of one call. */
#include "model/tokenizer_private.h"

struct StreamDecoder {
    const Tokenizer *t;
    bool skip_special;
    bool begun; /* a token of this text has come */
    size_t bytes; /* of the tokens of this text */
    PieceList list[2];
    DecodeState state[STEPS_MAX];
};

static void clear_list(PieceList *list)
{
    strbuf_clear(&list->text);
    list->count = 0;
}

static Status list_tokens(StreamDecoder *d, const int32_t *id, size_t n, PieceList *list)
{
    const Tokenizer *t = d->t;

    for (size_t i = 0; i < n; i++) {
        if (!vocab_has(&t->vocab, id[i]) || (d->skip_special && tokenizer_is_special(t, id[i])))
            continue;
        if (t->decode_joins_by_space && d->begun)
            strbuf_add_char(&list->text, ' ');
        strbuf_add_str(&list->text, t->vocab.text[id[i]]);
        TRY(decode_end_piece(list));
        d->begun = true;
    }
    return LT_OK;
}

static Status run_step(const DecodeStep *step, DecodeState *state, PieceList *in, bool last, PieceList *out)
{
    if (!step->waits)
        return step->run(step, state, in, last, out);
    strbuf_add_str(&state->held, strbuf_str(&in->text));
    TRY(strbuf_status(&state->held));
    if (!last)
        return LT_OK;
    /* The held text becomes the only piece, and the step finds nothing held. */
    const StrBuf spare = in->text;
    in->text = state->held;
    state->held = spare;
    strbuf_clear(&state->held);
    in->count = 0;
    TRY(decode_end_piece(in));
    return step->run(step, state, in, last, out);
}

static Status feed(StreamDecoder *d, const int32_t *id, size_t n, bool last, StrBuf *out)
{
    size_t now = 0;

    clear_list(&d->list[now]);
    TRY(list_tokens(d, id, n, &d->list[now]));
    d->bytes += d->list[now].text.len;
    for (size_t i = 0; i < d->t->n_decode; i++) {
        clear_list(&d->list[1 - now]);
        TRY(run_step(&d->t->decode[i], &d->state[i], &d->list[now], last, &d->list[1 - now]));
        now = 1 - now;
        if (d->list[now].text.len > text_growth_max(d->bytes))
            return text_grew(d->bytes);
    }
    strbuf_add_str(out, strbuf_str(&d->list[now].text));
    return strbuf_status(out);
}

static void release(StreamDecoder *d)
{
    for (int i = 0; i < 2; i++) {
        strbuf_release(&d->list[i].text);
        mem_free(d->list[i].end);
    }
    for (size_t i = 0; i < STEPS_MAX; i++)
        strbuf_release(&d->state[i].held);
}

Status stream_decoder_create(StreamDecoder **out, const Tokenizer *t, bool skip_special)
{
    StreamDecoder *d;

    TRY(MEM_NEW(d, 1));
    d->t = t;
    d->skip_special = skip_special;
    *out = d;
    return LT_OK;
}

void stream_decoder_free(StreamDecoder *d)
{
    if (d == NULL)
        return;
    release(d);
    mem_free(d);
}

Status stream_decoder_push(StreamDecoder *d, int32_t id, StrBuf *out)
{
    return feed(d, &id, 1, false, out);
}

Status stream_decoder_flush(StreamDecoder *d, StrBuf *out)
{
    TRY(feed(d, NULL, 0, true, out));
    d->begun = false;
    d->bytes = 0;
    for (size_t i = 0; i < STEPS_MAX; i++) {
        strbuf_clear(&d->state[i].held);
        d->state[i].seen = 0;
    }
    return LT_OK;
}

Status tokenizer_decode(const Tokenizer *t, const int32_t *id, size_t n, bool skip_special, StrBuf *out)
{
    StreamDecoder d = {.t = t, .skip_special = skip_special};
    const Status st = feed(&d, id, n, true, out);

    release(&d);
    return st;
}
