/* tokenizer_config.json beside a good tokenizer.json. */
#include "tests/fuzz/fuzz.h"

#include "model/tokenizer.h"

static const char *make_folder(void)
{
    static const char json[] = "{\"added_tokens\": [{\"id\": 2, \"content\": \"<s>\", \"special\": true}], "
                               "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}";
    static const char *folder;

    if (folder == NULL) {
        folder = fuzz_folder();
        fuzz_put(folder, "tokenizer.json", str_of(json));
        fuzz_link(folder, "tokenizer_config.json");
    }
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = make_folder();
    const int64_t held = mem_held();
    Tokenizer *t;
    Digest digest;

    fuzz_file(fuzz_str(data, size));
    if (fuzz_succeeded(tokenizer_load(&t, folder))) {
        BUG_IF(tokenizer_size(t) != 3 || tokenizer_max_length(t) < 0);
        BUG_IF(tokenizer_bos(t) < -1 || tokenizer_bos(t) > 2 || tokenizer_eos(t) < -1 || tokenizer_eos(t) > 2);
        BUG_IF(tokenizer_pad(t) < -1 || tokenizer_pad(t) > 2);
        tokenizer_template_digest(t, &digest);
        tokenizer_free(t);
    }
    BUG_IF(mem_held() != held);
    return 0;
}

void fuzz_tokenizer_config_seeds(SeedList *out)
{
    seed_add_text(out, "{\"bos_token\": \"<s>\", \"eos_token\": null, "
                       "\"pad_token\": {\"content\": \"b\", \"lstrip\": false}, \"model_max_length\": 2048}");
    seed_add_text(out, "{\"model_max_length\": 1000000000000000019884624838656, \"chat_template\": \"{{ x }}\"}");
    seed_add_text(out, "{\"chat_template\": [{\"name\": \"tool\", \"template\": \"t\"}, {\"name\": \"default\", \"template\": \"d\"}]}");
    seed_add_text(out, "{\"model_max_length\": 1e400, \"added_tokens_decoder\": {\"0\": {\"content\": \"a\"}}}");
    seed_add_text(out, "{\"model_max_length\": -5}");
    seed_add_text(out, "{\"bos_token\": \"nobody\"}");
}
