#include "tests/tiny_tokenizer.h"

#include "tests/check.h"

#include "core/json.h"
#include "core/utf8.h"
#include "model/tokenizer_private.h"

static void add_member(StrBuf *out, const char *key, const char *value)
{
    if (value != NULL)
        strbuf_addf(out, "\"%s\": %s, ", key, value);
}

static const char *or_else(const char *given, const char *usual)
{
    return given != NULL ? given : usual;
}

static void write_head(StrBuf *out, const TinyFile *f)
{
    strbuf_add_text(out, "{\"version\": \"1.0\", ");
    add_member(out, "added_tokens", f->added);
    add_member(out, "post_processor", f->post);
}

static void write_tail(StrBuf *out, const TinyFile *f)
{
    strbuf_add_text(out, or_else(f->vocab, ""));
    strbuf_addf(out, "}, \"merges\": %s}}", or_else(f->merges, "[]"));
}

void tiny_bytes_json(StrBuf *out, const TinyFile *f)
{
    char text[4];

    strbuf_init(out);
    write_head(out, f);
    add_member(out, "normalizer", f->normalizer);
    add_member(out, "pre_tokenizer", or_else(f->pre, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"));
    add_member(out, "decoder", or_else(f->decoder, "{\"type\": \"ByteLevel\"}"));
    strbuf_addf(out, "\"model\": {\"type\": \"BPE\", %s \"vocab\": {", or_else(f->options, ""));
    for (int byte = 0; byte < 256; byte++) {
        const size_t n = utf8_put(text, byte_level_code((uint8_t)byte));
        strbuf_add_text(out, byte > 0 ? ", " : "");
        json_write_str(out, (Str){text, n}, false);
        strbuf_addf(out, ": %d", byte);
    }
    write_tail(out, f);
}

void tiny_fallback_json(StrBuf *out, const TinyFile *f)
{
    strbuf_init(out);
    write_head(out, f);
    add_member(out, "normalizer",
               or_else(f->normalizer, "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\\u2581\"}, "
                                      "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}]}"));
    add_member(out, "pre_tokenizer", f->pre);
    add_member(out, "decoder",
               or_else(f->decoder, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
                                   "\"\\u2581\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
                                   "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}"));
    strbuf_addf(out, "\"model\": {\"type\": \"BPE\", %s \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2",
                or_else(f->options, "\"unk_token\": \"<unk>\", \"byte_fallback\": true, \"fuse_unk\": true,"));
    for (unsigned byte = 0; byte < 256; byte++)
        strbuf_addf(out, ", \"<0x%02X>\": %u", byte, byte + 3);
    strbuf_add_text(out, ", \"\\u2581\": 259, \"a\": 260, \"b\": 261");
    write_tail(out, f);
}

Tiny tiny_open(StrBuf *json)
{
    Tiny tiny;

    CHECK_OK(strbuf_status(json));
    CHECK_OK(tokenizer_parse(&tiny.t, strbuf_str(json), "tiny.json"));
    CHECK_OK(encoder_create(&tiny.e, tiny.t));
    strbuf_release(json);
    return tiny;
}

void tiny_close(Tiny *tiny)
{
    encoder_free(tiny->e);
    tokenizer_free(tiny->t);
}

void tiny_check(const Tiny *tiny, Str text, bool special, const int32_t *want)
{
    Ids got = {0};
    size_t n = 0;

    while (want[n] >= 0)
        n++;
    CHECK_OK(encoder_encode(tiny->e, text, special, &got));
    for (size_t i = 0; i < n && i < got.count; i++)
        if (got.id[i] != want[i])
            fail_msg("'" STR_FORMAT "': id [%zu] is %d, expected %d", STR_ARG(text), i, (int)got.id[i], (int)want[i]);
    if (got.count != n)
        fail_msg("'" STR_FORMAT "': %zu ids, expected %zu", STR_ARG(text), got.count, n);
    ids_release(&got);
}

void tiny_check_decoded(const Tiny *tiny, const int32_t *id, bool skip_special, const char *want)
{
    StrBuf text;
    size_t n = 0;

    while (id[n] >= 0)
        n++;
    strbuf_init(&text);
    CHECK_OK(tokenizer_decode(tiny->t, id, n, skip_special, &text));
    check_str(strbuf_str(&text), want, strlen(want));
    strbuf_release(&text);
}
