/* adapter_config.json of a PEFT adapter: which matrices it changes, with what rank and factor.
 *
 * Only plain LoRA is read. A key that changes the result and that we do not apply is refused by name, and so is every key we have never heard
 * of unless it is null, false, zero or empty: PEFT gains such keys with every release, and a wrong score must not look like a score. */
#ifndef LETHE_MODEL_ADAPTER_CONFIG_H
#define LETHE_MODEL_ADAPTER_CONFIG_H

#include "core/json.h"
#include "core/regex.h"

/* rank_pattern or alpha_pattern, in file order, which decides where keys overlap. */
typedef struct AdapterPattern {
    Regex *regex;
    double value;
} AdapterPattern;
typedef struct AdapterPatterns {
    AdapterPattern *item;
    size_t count;
} AdapterPatterns;

/* Modules named by a regular expression that matches all of the path, or by the last parts of it. */
typedef struct ModuleSet {
    Regex *regex; /* NULL: the names */
    Str *name;
    size_t count;
} ModuleSet;

typedef struct AdapterConfig {
    int64_t rank;
    double alpha;
    bool rslora, all_linear;
    AdapterPatterns rank_pattern, alpha_pattern;
    ModuleSet target, exclude;
    int64_t *layer;         /* layers_to_transform */
    size_t n_layer;         /* 0: all */
    Regex **layers_pattern; /* finds the layer's number in a path; at least one where n_layer > 0 */
    size_t n_layers_pattern;
    Str base;               /* base_model_name_or_path; len 0: not said */
    Arena memory;
} AdapterConfig;

enum { ADAPTER_MAX_RANK = 1 << 16 };

/* Pure: text to config. LT_E_INPUT names the key, expected and found. */
Status adapter_config_parse(AdapterConfig *out, Str text, const char *file);
/* A zeroed struct is allowed. */
void adapter_config_release(AdapterConfig *cfg);

/* Whether the module of this path ("model.layers.0.self_attn.q_proj") gets factors. all_linear is the caller's to judge. */
Status adapter_config_targets(const AdapterConfig *cfg, Str module, bool *out);
/* Its rank, and the factor on B A: alpha / rank, or alpha / sqrt(rank) with rsLoRA. */
Status adapter_config_scale(const AdapterConfig *cfg, Str module, int64_t *rank, double *scale);

#endif
