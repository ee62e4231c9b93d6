#include "tests/fuzz/fuzz.h"

/* What the targets' files define; see tests/fuzz/fuzz.h. */
int fuzz_adapter(const uint8_t *data, size_t size);
int fuzz_config(const uint8_t *data, size_t size);
int fuzz_index(const uint8_t *data, size_t size);
int fuzz_log(const uint8_t *data, size_t size);
int fuzz_regex(const uint8_t *data, size_t size);
int fuzz_rows(const uint8_t *data, size_t size);
int fuzz_safetensors(const uint8_t *data, size_t size);
int fuzz_text(const uint8_t *data, size_t size);
int fuzz_tokenizer(const uint8_t *data, size_t size);
int fuzz_tokenizer_config(const uint8_t *data, size_t size);
int fuzz_tokenizer_model(const uint8_t *data, size_t size);

const FuzzTarget fuzz_targets[] = {
    {"adapter", fuzz_adapter, fuzz_adapter_seeds},
    {"config", fuzz_config, fuzz_config_seeds},
    {"index", fuzz_index, fuzz_index_seeds},
    {"log", fuzz_log, fuzz_log_seeds},
    {"regex", fuzz_regex, fuzz_regex_seeds},
    {"rows", fuzz_rows, fuzz_rows_seeds},
    {"safetensors", fuzz_safetensors, fuzz_safetensors_seeds},
    {"text", fuzz_text, fuzz_text_seeds},
    {"tokenizer", fuzz_tokenizer, fuzz_tokenizer_seeds},
    {"tokenizer_config", fuzz_tokenizer_config, fuzz_tokenizer_config_seeds},
    {"tokenizer_model", fuzz_tokenizer_model, fuzz_tokenizer_model_seeds},
    {.name = NULL},
};
