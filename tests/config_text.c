#include "tests/config_text.h"

#include "tests/check.h"

/* What every file needs. A key twice is refused, so `without` can drop one. */
static const struct {
    const char *key, *member;
} basis[] = {
    {"architectures", "\"architectures\":[\"LlamaForCausalLM\"]"},
    {"vocab_size", "\"vocab_size\":64"},
    {"hidden_size", "\"hidden_size\":32"},
    {"intermediate_size", "\"intermediate_size\":48"},
    {"num_hidden_layers", "\"num_hidden_layers\":2"},
    {"num_attention_heads", "\"num_attention_heads\":4"},
};
enum { N_BASIS = sizeof basis / sizeof *basis };

Status config_text_parse(ModelConfig *cfg, const char *without, const char *more)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    strbuf_add_text(&text, "{\"use_cache\":true");
    for (int i = 0; i < N_BASIS; i++)
        if (without == NULL || strcmp(without, basis[i].key) != 0)
            strbuf_addf(&text, ",%s", basis[i].member);
    strbuf_addf(&text, "%s%s}", more[0] == '\0' ? "" : ",", more);
    CHECK_OK(strbuf_status(&text));
    st = config_parse(cfg, strbuf_str(&text), "config.json");
    strbuf_release(&text);
    return st;
}
