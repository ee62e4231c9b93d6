/* Text to encode, with tokenizers that are known to be good. Any valid UTF-8 has ids, and those of a byte-level vocabulary give it back. */
#include "tests/fuzz/fuzz.h"

#include "core/utf8.h"
#include "model/tokenizer.h"
#include "tests/tiny_tokenizer.h"

#include <stdlib.h>

enum { N_TOKENIZER = 3 };

/* Kept for all inputs, so that the cache of pieces lives through them too. */
static Tokenizer *tokenizers[N_TOKENIZER];
static Encoder *encoders[N_TOKENIZER];

static void close_all(void)
{
    for (int i = 0; i < N_TOKENIZER; i++) {
        encoder_free(encoders[i]);
        tokenizer_free(tokenizers[i]);
    }
}

static void open_all(void)
{
    static const char more[] = ", \"ab\": 256, \"abab\": 257, \"\\u0120a\": 258, \"\\u0120\\u0120\": 259, \"aa\": 260, \"aaa\": 261";
    static const char merges[] =
        "[[\"\\u0120\", \"\\u0120\"], [\"a\", \"a\"], [\"a\", \"b\"], [\"ab\", \"ab\"], [\"\\u0120\", \"a\"], [\"aa\", \"a\"]]";
    StrBuf json[N_TOKENIZER];

    tiny_bytes_json(&json[0], &(TinyFile){.vocab = more, .merges = merges});
    tiny_bytes_json(&json[1], &(TinyFile){.normalizer = "{\"type\": \"NFC\"}", .vocab = more, .merges = merges,
                                          .added = "[{\"id\": 262, \"content\": \"<s>\", \"special\": true, \"rstrip\": true}, "
                                                   "{\"id\": 263, \"content\": \"ab c\", \"single_word\": true}]"});
    tiny_fallback_json(&json[2], &(TinyFile){.vocab = ", \"ab\": 262, \"\\u2581a\": 263, \"\\u2581\\u2581\": 264",
                                             .merges = "[[\"\\u2581\", \"\\u2581\"], [\"a\", \"b\"], [\"\\u2581\", \"a\"]]"});
    for (int i = 0; i < N_TOKENIZER; i++) {
        BUG_IF(tokenizer_parse(&tokenizers[i], strbuf_str(&json[i]), "tiny.json") != LT_OK);
        BUG_IF(encoder_create(&encoders[i], tokenizers[i]) != LT_OK);
        strbuf_release(&json[i]);
    }
    atexit(close_all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Str text = fuzz_str(data, size);
    const bool valid = utf8_valid_prefix(text) == text.len;

    if (tokenizers[0] == NULL)
        open_all();
    for (int i = 0; i < N_TOKENIZER; i++) {
        Ids ids = {0};
        StrBuf back;
        const Status st = encoder_encode(encoders[i], text, false, &ids);

        strbuf_init(&back);
        BUG_IF(valid != (st == LT_OK) && st != LT_E_NOMEM);
        fuzz_succeeded(st);
        for (size_t k = 0; k < ids.count; k++)
            BUG_IF(ids.id[k] < 0 || ids.id[k] >= tokenizer_size(tokenizers[i]));
        if (st == LT_OK && fuzz_must(tokenizer_decode(tokenizers[i], ids.id, ids.count, false, &back)))
            BUG_IF(i == 0 ? !str_equal(strbuf_str(&back), text) : utf8_valid_prefix(strbuf_str(&back)) != back.len);
        ids_release(&ids);
        strbuf_release(&back);
    }
    return 0;
}

void fuzz_text_seeds(SeedList *out)
{
    seed_add_text(out, "abab aaaa  ab <s>  ab c\n\n\tI'll say 12,345.");
    seed_add_text(out, "caf\xc3\xa9 e\xcc\x81\xcc\xa7 \xe2\x96\x81\xe2\x96\x81 a\xe2\x96\x81 \xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8 "
                       "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb");
    seed_add_text(out, "");
    seed_add_text(out, "\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\x80");
    seed_add(out, "a\0b \0\0", 6);
}
