#include "eval/engine/completion.h"

#include "core/random.h"

const char *finish_name(Finish finish)
{
    static const char *const name[] = {"none", "stop", "eos", "length"};
    return name[finish];
}

uint64_t sampling_seed(uint64_t seed, const int32_t *prompt, int32_t n_prompt, int32_t sample)
{
    uint32_t state[4] = {(uint32_t)n_prompt, (uint32_t)sample, 0, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    philox4x32(state, key, state);
    for (int32_t i = 0; i < n_prompt; i++) {
        state[i % 4] ^= (uint32_t)prompt[i];
        if (i % 4 == 3 || i + 1 == n_prompt)
            philox4x32(state, key, state);
    }
    return (uint64_t)state[1] << 32 | state[0];
}

/* ---- stop strings ------------------------------------------------------------------------------------------------------- */

typedef const char *const *StopList;

static StopList stops_of(const Completion *c)
{
    static const char *const none[] = {NULL};
    return c->sampling->stop != NULL ? c->sampling->stop : none;
}

/* Whether any is in s at or behind `from`; the empty one always is. */
static bool has_stop(const Completion *c, Str s, size_t from)
{
    for (StopList stop = stops_of(c); *stop != NULL; stop++)
        if (str_find(s, str_of(*stop), from) != SIZE_MAX)
            return true;
    return false;
}

static bool is_stop_token(const Completion *c, int32_t id)
{
    Str name;

    if (!tokenizer_is_special(c->rules->tokenizer, id) || !tokenizer_token(c->rules->tokenizer, id, &name))
        return false;
    for (StopList stop = stops_of(c); *stop != NULL; stop++)
        if (str_is(name, *stop))
            return true;
    return false;
}

static bool cut_text(Completion *c)
{
    const size_t whole = c->text.len;

    for (StopList stop = stops_of(c); *stop != NULL; stop++) {
        const size_t at = **stop != '\0' ? str_find(strbuf_str(&c->text), str_of(*stop), 0) : SIZE_MAX;
        if (at != SIZE_MAX)
            c->text.len = at;
    }
    return c->text.len < whole;
}

/* The last ids by themselves, as many as may hold the longest stop string: lm-eval's way of looking, and its number of ids. */
static Status look_at_tail(Completion *c, bool *found)
{
    const size_t most = c->longest_stop + 2, n = c->ids.count < most ? c->ids.count : most;

    strbuf_clear(&c->tail);
    TRY(tokenizer_decode(c->rules->tokenizer, c->ids.id + c->ids.count - n, n, true, &c->tail));
    *found = has_stop(c, strbuf_str(&c->tail), 0);
    return LT_OK;
}

/* ---- ids ---------------------------------------------------------------------------------------------------------------- */

Status completion_open(Completion *c, const EndRules *rules, const Sampling *sampling)
{
    *c = (Completion){.rules = rules, .sampling = sampling};
    strbuf_init(&c->text);
    strbuf_init(&c->tail);
    for (StopList stop = stops_of(c); *stop != NULL; stop++)
        c->longest_stop = strlen(*stop) > c->longest_stop ? strlen(*stop) : c->longest_stop;
    return rules->tokenizer != NULL ? stream_decoder_create(&c->decoder, rules->tokenizer, true) : LT_OK;
}

void completion_close(Completion *c)
{
    stream_decoder_free(c->decoder);
    ids_release(&c->ids);
    mem_free(c->lp);
    strbuf_release(&c->text);
    strbuf_release(&c->tail);
    *c = (Completion){0};
}

static Status end(Completion *c, Finish finish)
{
    c->finish = finish;
    if (c->decoder == NULL)
        return LT_OK;
    TRY(stream_decoder_flush(c->decoder, &c->text));
    TRY(strbuf_status(&c->text));
    if (cut_text(c) && finish == FINISH_LENGTH)
        c->finish = FINISH_STOP; /* the last id completed a stop string that the decoder had held back */
    return LT_OK;
}

static bool is_eos(const Completion *c, int32_t id)
{
    for (int i = 0; i < c->rules->n_eos && !c->sampling->ignore_eos; i++)
        if (c->rules->eos[i] == id)
            return true;
    return false;
}

/* The id's text goes to the others'; whether a stop string is in it now. */
static Status add_text(Completion *c, int32_t id, bool *found)
{
    const size_t before = c->text.len, overlap = c->longest_stop > 0 ? c->longest_stop - 1 : 0;

    TRY(stream_decoder_push(c->decoder, id, &c->text));
    TRY(strbuf_status(&c->text));
    if (*stops_of(c) == NULL)
        return LT_OK;
    *found = has_stop(c, strbuf_str(&c->text), before > overlap ? before - overlap : 0);
    return *found || c->text.len > before ? LT_OK : look_at_tail(c, found);
}

Status completion_add(Completion *c, int32_t id, float lp)
{
    bool found = false;

    BUG_IF(c->finish != FINISH_NONE);
    TRY(MEM_GROW(c->lp, c->lp_cap, c->ids.count + 1));
    c->lp[c->ids.count] = lp;
    TRY(ids_add(&c->ids, id));
    if (is_eos(c, id))
        return end(c, FINISH_EOS);
    if (c->decoder != NULL && is_stop_token(c, id))
        return end(c, FINISH_STOP);
    if (c->decoder != NULL)
        TRY(add_text(c, id, &found));
    if (found)
        return end(c, FINISH_STOP);
    return c->ids.count >= (size_t)c->sampling->max_new ? end(c, FINISH_LENGTH) : LT_OK;
}

Str completion_settled(const Completion *c)
{
    const Str text = strbuf_str(&c->text);
    size_t keep = 0; /* the longest end of the text that begins some stop string */

    for (StopList stop = stops_of(c); *stop != NULL && c->finish == FINISH_NONE; stop++) {
        const size_t len = strlen(*stop);

        for (size_t n = len < text.len + 1 ? len : text.len + 1; n > keep + 1; n--)
            if (memcmp(text.data + text.len - (n - 1), *stop, n - 1) == 0)
                keep = n - 1;
    }
    return (Str){text.data, text.len - keep};
}
