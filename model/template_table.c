/* The templates we name, and the hashes of the Jinja texts that we know to be one of them. */
#include "model/template.h"

#define CHATML_TURNS                                                                                                                       \
    {                                                                                                                                      \
        [CHAT_SYSTEM] = {"<|im_start|>system\n", "<|im_end|>\n"}, [CHAT_USER] = {"<|im_start|>user\n", "<|im_end|>\n"},                    \
        [CHAT_ASSISTANT] = {"<|im_start|>assistant\n", "<|im_end|>\n"},                                                                    \
    }
#define CHATML_GENERATION "<|im_start|>assistant\n"

static const ChatTemplate templates[] = {
    {.name = "chatml", .bos = "", .turn = CHATML_TURNS, .generation = CHATML_GENERATION},
    /* Llama 2 begins every question anew, BOS and all. */
    {.name = "llama2",
     .bos = "",
     .turn = {[CHAT_SYSTEM] = {"<<SYS>>\n", "\n<</SYS>>\n\n"}, [CHAT_USER] = {"<s>[INST] ", " [/INST]"}, [CHAT_ASSISTANT] = {" ", " </s>"}},
     .generation = "",
     .trims = true,
     .folds_system = true},
    {.name = "llama3",
     .bos = "<|begin_of_text|>",
     .turn = {[CHAT_SYSTEM] = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
              [CHAT_USER] = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
              [CHAT_ASSISTANT] = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"}},
     .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .trims = true,
     .always_generates = true},
    {.name = "zephyr",
     .bos = "",
     .turn = {[CHAT_SYSTEM] = {"<|system|>\n", "</s>\n"},
              [CHAT_USER] = {"<|user|>\n", "</s>\n"},
              [CHAT_ASSISTANT] = {"<|assistant|>\n", "</s>\n"}},
     .generation = "<|assistant|>\n"},
    {.name = "qwen2.5",
     .bos = "",
     .turn = CHATML_TURNS,
     .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
     .generation = CHATML_GENERATION},
    {.name = "qwen3", .bos = "", .turn = CHATML_TURNS, .generation = CHATML_GENERATION, .thinks = true},
    /* The first instruct models' form (v0.1, v0.2). */
    {.name = "mistral",
     .bos = "<s>",
     .turn = {[CHAT_SYSTEM] = {"", "\n\n"}, [CHAT_USER] = {" [INST] ", " [/INST]"}, [CHAT_ASSISTANT] = {" ", "</s>"}},
     .generation = "",
     .folds_system = true},
    {.name = "minimind2",
     .bos = "",
     .turn = CHATML_TURNS,
     .default_system = "You are a helpful assistant",
     .generation = CHATML_GENERATION},
};

/* SHA-256 of the text of chat_template, as published with the model named behind it. */
static const struct {
    const char *hex, *name;
} known[] = {
    {"b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2", "llama3"},    /* Llama 3 8B */
    {"66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362", "zephyr"},    /* TinyLlama Chat */
    {"cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f", "qwen2.5"},   /* Qwen2.5 Instruct */
    {"4f57494cd38c0e4e50e27f4632fb6907414a68cc48d0bbc48da5449c596c69fa", "minimind2"}, /* MiniMind2 Small */
};

const ChatTemplate *template_find(Str name)
{
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (str_is(name, templates[i].name))
            return &templates[i];
    return NULL;
}

const ChatTemplate *template_known(const Digest *digest)
{
    const DigestHex hex = digest_hex(digest);

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(hex.text, known[i].hex) == 0)
            return template_find(str_of(known[i].name));
    return NULL;
}
