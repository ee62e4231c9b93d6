#include "eval/score/key.h"

/* Name, length, bytes: no two different keys can spell the same text. */
static void add_field(StrBuf *text, const char *name, Str value)
{
    strbuf_addf(text, "%s %zu ", name, value.len);
    strbuf_add_str(text, value);
    strbuf_add_char(text, '\n');
}

static void add_text(StrBuf *text, const char *name, const char *value)
{
    add_field(text, name, str_of(value));
}

static void add_digest(StrBuf *text, const char *name, const Digest *value)
{
    const DigestHex hex = digest_hex(value);
    add_text(text, name, hex.text);
}

static void add_number(StrBuf *text, const char *name, uint64_t value)
{
    strbuf_addf(text, "%s %llu\n", name, (unsigned long long)value);
}

Status score_key(const ScoreKey *k, DigestHex *out)
{
    StrBuf text;
    Digest digest;
    Status st;

    strbuf_init(&text);
    strbuf_add_text(&text, "lethe score key\n");
    add_number(&text, "numerics", NUMERICS_VERSION);
    add_digest(&text, "checkpoint", &k->checkpoint);
    if (k->adapter != NULL) {
        add_digest(&text, "adapter", k->adapter);
        add_number(&text, "merged", k->merged);
    }
    add_digest(&text, "tokenizer", &k->tokenizer);
    add_digest(&text, "data", &k->data);
    add_text(&text, "task", k->task);
    add_text(&text, "version", k->version);
    add_text(&text, "split", k->split);
    add_text(&text, "profile", k->profile);
    add_text(&text, "bos", k->bos);
    add_text(&text, "template", k->template_name);
    add_text(&text, "dtype", k->dtype);
    add_text(&text, "device", k->device_class);
    add_number(&text, "max_length", (uint64_t)k->max_length);
    add_number(&text, "shots", (uint64_t)k->shots);
    /* How shots are drawn, and from what, is nothing to a prompt without any. */
    if (k->shots > 0) {
        add_digest(&text, "shot_data", &k->shot_data);
        add_number(&text, "draws_one_more", k->draws_one_more);
        add_number(&text, "fewshot_seed", k->fewshot_seed);
    }
    TRY_GOTO(strbuf_status(&text), st, done);
    TRY_GOTO(sha256_of(text.data, text.len, &digest), st, done);
    *out = digest_hex(&digest);
done:
    strbuf_release(&text);
    return st;
}
