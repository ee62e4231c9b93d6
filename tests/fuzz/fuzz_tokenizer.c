/* tokenizer.json; texts are encoded and decoded with whatever is accepted. */
#include "tests/fuzz/fuzz.h"

#include "core/utf8.h"
#include "model/tokenizer.h"
#include "tests/tiny_tokenizer.h"

static void check_tables(const Tokenizer *t)
{
    const int32_t n = tokenizer_size(t);

    BUG_IF(n < 0);
    for (int32_t id = -1; id <= n && id < 1000; id++) {
        Str text;

        if (tokenizer_token(t, id, &text))
            BUG_IF(id < 0 || id >= n || text.data == NULL || utf8_valid_prefix(text) != text.len);
        BUG_IF(tokenizer_is_special(t, id) && (id < 0 || id >= n));
    }
    BUG_IF(tokenizer_bos(t) != -1 || tokenizer_eos(t) != -1 || tokenizer_pad(t) != -1);
}

/* A text may be refused (a pattern that explodes on it), but what comes out are ids of the vocabulary, and valid text. */
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

static void check_foreign_ids(const Tokenizer *t)
{
    static const int32_t ids[] = {0, 1, 255, -1, INT32_MIN, INT32_MAX, 3, 3};
    StrBuf back;

    strbuf_init(&back);
    fuzz_succeeded(tokenizer_decode(t, ids, sizeof ids / sizeof *ids, true, &back));
    strbuf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char fixed[] = "<s> ab abab  ba caf\xc3\xa9 e\xcc\x81 12 \xe2\x96\x81 <x> \xf0\x9f\x98\x80\n\t'll";
    const int64_t held = mem_held();
    const Str json = fuzz_str(data, size);
    Tokenizer *t = NULL;
    Encoder *e = NULL;

    if (fuzz_succeeded(tokenizer_parse(&t, json, "tokenizer.json"))) {
        check_tables(t);
        if (fuzz_must(encoder_create(&e, t))) {
            check_text(t, e, (Str){fixed, sizeof fixed - 1});
            check_text(t, e, (Str){"", 0});
            check_text(t, e, str_slice(json, 0, json.len < 128 ? utf8_valid_prefix(json) : 0)); /* the file's own words */
            check_foreign_ids(t);
        }
    }
    encoder_free(e);
    tokenizer_free(t);
    BUG_IF(mem_held() != held);
    return 0;
}

/* A dozen tokens: changes hit something that matters more often than in a real vocabulary. */
static void add_small(SeedList *out, const char *added, const char *steps, const char *options, const char *merges)
{
    StrBuf text;

    strbuf_init(&text);
    strbuf_addf(&text,
                "{\"version\": \"1.0\", \"added_tokens\": [%s], %s \"model\": {\"type\": \"BPE\", %s \"vocab\": {\"<unk>\": 0, \"a\": 1, \"b\": 2, "
                "\"ab\": 3, \"\\u2581\": 4, \"<0x20>\": 5, \"\\u0120\": 6, \"abab\": 7, \"1\": 8}, \"merges\": [%s]}}",
                added, steps, options, merges);
    seed_add_buf(out, &text);
}

static void add_steps(SeedList *out)
{
    static const char *const steps[] = {
        "\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"prepend_scheme\": "
        "\"first\", \"split\": true}, \"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\"},",
        "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"Prepend\", \"prepend\": \"a\"}, {\"type\": "
        "\"Replace\", \"pattern\": {\"Regex\": \"b+\"}, \"content\": \"ab\"}]},",
        "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": "
        "\"aaaaaaaaaaaaaaaa\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aaaaaaaaaaaaaaaa\"}]},",
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"Split\", "
        "\"pattern\": {\"Regex\": \"\\\\s+|[^\\\\s]\"}, \"behavior\": \"MergedWithNext\", \"invert\": true}, {\"type\": \"ByteLevel\"}]}, \"decoder\": "
        "{\"type\": \"ByteLevel\"},",
        "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?(DEFINE)(?<k>a\\\\K))(?=(?&k))\"}, \"behavior\": \"Isolated\"},",
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<unk>\", \"type_id\": 0}}, {\"Sequence\": "
        "{\"id\": \"A\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"<unk>\": {\"id\": \"<unk>\", \"ids\": [0], \"tokens\": "
        "[\"<unk>\"]}}},",
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\\u2581\"}, \"content\": \" \"}, "
        "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 1}]},",
        "\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}]}, \"truncation\": {\"max_length\": 3}, \"padding\": "
        "null,",
    };

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        add_small(out, "", steps[i], "\"unk_token\": \"<unk>\", \"byte_fallback\": true,", "[\"a\", \"b\"], [\"ab\", \"ab\"]");
}

void fuzz_tokenizer_seeds(SeedList *out)
{
    StrBuf text;

    add_small(out, "", "", "", "\"a b\"");
    add_small(out, "{\"id\": 9, \"content\": \"<x>\", \"special\": true, \"lstrip\": true, \"rstrip\": true}, {\"id\": 10, \"content\": \"[y]\", "
                   "\"single_word\": true, \"normalized\": true}", "", "\"fuse_unk\": true, \"unk_token\": \"<unk>\",", "");
    add_small(out, "{\"id\": 4294967295, \"content\": \"<x>\"}", "", "\"ignore_merges\": true,", "\"a b\", \"a b\"");
    add_small(out, "", "", "\"dropout\": null,", "[\"a\", \"zz\"]");
    add_steps(out);
    tiny_bytes_json(&text, &(TinyFile){.vocab = ", \"ab\": 256, \"\\u0120a\": 257", .merges = "[[\"a\", \"b\"], \"\\u0120 a\"]",
                                       .added = "[{\"id\": 258, \"content\": \"<s>\", \"special\": true}]"});
    seed_add_buf(out, &text);
    tiny_fallback_json(&text, &(TinyFile){.vocab = ", \"ab\": 262", .merges = "[[\"a\", \"b\"]]"});
    seed_add_buf(out, &text);
}
