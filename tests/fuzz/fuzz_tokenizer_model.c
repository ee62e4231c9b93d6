/* tokenizer.model; texts are encoded and decoded with whatever is accepted. */
#include "tests/fuzz/fuzz.h"

#include "core/utf8.h"
#include "model/tokenizer.h"
#include "tests/tiny_model.h"

/* A text may be refused, but what comes out are ids of the vocabulary, and valid text. */
static void check_text(const Tokenizer *t, Encoder *e, Str text)
{
    Ids ids = {0};
    StrBuf back;

    strbuf_init(&back);
    if (fuzz_succeeded(encoder_encode(e, text, true, &ids))) {
        for (size_t i = 0; i < ids.count; i++)
            BUG_IF(ids.id[i] < 0 || ids.id[i] >= tokenizer_size(t));
        if (fuzz_succeeded(tokenizer_decode(t, ids.id, ids.count, false, &back)))
            BUG_IF(utf8_valid_prefix(strbuf_str(&back)) != back.len);
    }
    ids_release(&ids);
    strbuf_release(&back);
}

static void check_tables(const Tokenizer *t)
{
    const int32_t n = tokenizer_size(t);

    BUG_IF(n < 1);
    for (int32_t id = -1; id <= n && id < 1000; id++) {
        Str text;
        if (tokenizer_token(t, id, &text))
            BUG_IF(id < 0 || id >= n || text.len == 0 || utf8_valid_prefix(text) != text.len || tokenizer_find(t, text) < 0);
    }
    BUG_IF(tokenizer_bos(t) >= n || tokenizer_eos(t) >= n || tokenizer_pad(t) >= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char fixed[] = "<s> ab abc  ba caf\xc3\xa9 \xe2\x96\x81 <x> \xf0\x9f\x98\x80\n ";
    const int64_t held = mem_held();
    Tokenizer *t = NULL;
    Encoder *e = NULL;

    if (fuzz_succeeded(tokenizer_parse_model(&t, fuzz_str(data, size), "tokenizer.model"))) {
        check_tables(t);
        if (fuzz_must(encoder_create(&e, t))) {
            check_text(t, e, (Str){fixed, sizeof fixed - 1});
            check_text(t, e, (Str){"", 0});
        }
    }
    encoder_free(e);
    tokenizer_free(t);
    BUG_IF(mem_held() != held);
    return 0;
}

void fuzz_tokenizer_model_seeds(SeedList *out)
{
    static const TinyPiece pieces[] = {{"\xe2\x96\x81", -9, 1}, {"a", -9, 1},  {"b", -9, 1},   {"c", -9, 1},      {"bc", -1, 1},
                                       {"ab", -1, 1},           {"abc", 0, 1}, {"<x>", 0, 4}, {"\xc3\xa9", 1, 1}, {NULL, 0, 0}};
    static const TinyModel models[] = {
        {.piece = pieces},
        {.piece = pieces, .squeeze = true, .no_prefix = true},
        {.piece = pieces, .byte_fallback = true},
        {.piece = pieces, .model_type = 1},
        {.piece = pieces, .table = "table"},
        {.piece = NULL},
    };
    StrBuf data;

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        tiny_model(&data, &models[i]);
        seed_add_buf(out, &data);
    }
    seed_add(out, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    seed_add(out, "\x0b\x0c\x0e\x0f\x02", 5);
}
