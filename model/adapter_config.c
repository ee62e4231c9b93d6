#include "model/adapter_config.h"

#include <math.h>
#include <stdlib.h>

/* ---- keys ----------------------------------------------------------------------------------------------------------------- */

/* Read below, or without a say in what the adapter computes once its tensors are written: how it was made, by whom, and for what. */
static const char *const known_keys[] = {
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "layers_to_transform",
    "layers_pattern", "bias", "init_lora_weights", "base_model_name_or_path",
    "auto_mapping", "corda_config", "ensure_weight_tying", "eva_config", "inference_mode", "loftq_config",
    "lora_dropout", "lora_ga_config", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type",
};

/* Ways to start training that leave the base as it is. The others (PiSSA, OLoRA, CorDA, LoRA-GA, LoftQ) take their start out of the base's
 * weights, so that the adapter belongs to another base than the one it names, unless it was converted on saving, which sets true here. */
static const char *const harmless_inits[] = {"gaussian", "eva", "orthogonal"};

static bool listed(const char *const *list, size_t n, Str word)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(word, list[i]))
            return true;
    return false;
}
#define LISTED(list, word) listed((list), sizeof(list) / sizeof *(list), (word))

static bool says_nothing(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return json_object_size(value) == 0;
    case JSON_ARRAY: return json_array_size(value) == 0;
    case JSON_STRING: return json_string_length(value) == 0;
    case JSON_INTEGER: return json_integer_value(value) == 0;
    case JSON_REAL: return !(json_real_value(value) < 0 || json_real_value(value) > 0);
    case JSON_TRUE: return false;
    case JSON_FALSE:
    case JSON_NULL: return true;
    }
    return false;
}

static Status check_keys(const JsonAt *root)
{
    const char *key;
    json_t *value;

    json_object_foreach(root->value, key, value) {
        if (!LISTED(known_keys, str_of(key)) && !says_nothing(value))
            return json_expected(json_member(root, key), "null, false or nothing, since only plain LoRA can be applied");
    }
    return LT_OK;
}

static Status check_method(const JsonAt *root)
{
    const JsonAt init = json_member(root, "init_lora_weights");
    Str type = {0}, bias = str_of("none"), start = {0};

    TRY(json_get_str(root, "peft_type", &type));
    if (!str_is(type, "LORA"))
        return json_expected(json_member(root, "peft_type"), "\"LORA\"");
    TRY(json_opt_str(root, "bias", &bias));
    if (!str_is(bias, "none"))
        return json_expected(json_member(root, "bias"), "\"none\", since trained biases cannot be applied");
    if (!json_here(init) || json_is_boolean(init.value))
        return LT_OK;
    TRY(json_to_str(init, &start));
    if (!LISTED(harmless_inits, start))
        return json_expected(init, "true, since this start changes the base; save the adapter converted to plain LoRA");
    return LT_OK;
}

/* ---- regular expressions and lists ---------------------------------------------------------------------------------------- */

/* The pattern between two others; a broken one is named with its place. */
static Status compile(Regex **out, JsonAt at, const char *before, Str pattern, const char *after)
{
    StrBuf text;
    Status st;

    strbuf_init(&text);
    strbuf_add_text(&text, before);
    strbuf_add_str(&text, pattern);
    strbuf_add_text(&text, after);
    st = strbuf_status(&text);
    if (st == LT_OK)
        st = regex_compile(out, strbuf_str(&text), REGEX_DOLLAR_END_ONLY);
    strbuf_release(&text);
    if (st != LT_E_INPUT)
        return st;
    status_clear();
    return json_expected(at, "a regular expression");
}

/* Far beyond any real one, and far from where F32 ends. */
static Status read_alpha(JsonAt at, double *out)
{
    TRY(json_to_double(at, out));
    return fabs(*out) <= 1e12 ? LT_OK : json_expected(at, "a number from -1e12 to 1e12");
}

/* A key stands for the modules whose path ends in what it matches: PEFT's rule. */
static Status read_patterns(AdapterPatterns *out, AdapterConfig *cfg, const JsonAt *root, const char *name, bool whole_numbers)
{
    const JsonAt object = json_member(root, name);
    const char *key;
    json_t *value;

    if (!json_here(object))
        return LT_OK;
    TRY(json_to_object(object));
    TRY(ARENA_NEW(&cfg->memory, out->item, json_object_size(object.value)));
    json_object_foreach(object.value, key, value) {
        const JsonAt at = json_member(&object, key);
        int64_t whole = 0;

        if (whole_numbers)
            TRY(json_to_int(at, 1, ADAPTER_MAX_RANK, &whole));
        out->item[out->count].value = (double)whole;
        if (!whole_numbers)
            TRY(read_alpha(at, &out->item[out->count].value));
        TRY(compile(&out->item[out->count++].regex, at, "^(.*\\.)?(", str_of(key), ")$"));
    }
    return LT_OK;
}

static Status keep(AdapterConfig *cfg, JsonAt at, Str *out)
{
    Str text = {0};

    TRY(json_to_str(at, &text));
    out->data = arena_strndup(&cfg->memory, text.data, text.len);
    out->len = text.len;
    return out->data == NULL ? LT_E_NOMEM : LT_OK;
}

static Status read_names(ModuleSet *out, AdapterConfig *cfg, JsonAt at)
{
    size_t n = 0;

    TRY(json_to_array(at, &n));
    TRY(ARENA_NEW(&cfg->memory, out->name, n));
    while (out->count < n) {
        TRY(keep(cfg, json_element(&at, out->count), &out->name[out->count]));
        out->count++;
    }
    return LT_OK;
}

static Status read_modules(ModuleSet *out, AdapterConfig *cfg, JsonAt at)
{
    if (json_is_string(at.value))
        return compile(&out->regex, at, "^(?:", (Str){json_string_value(at.value), json_string_length(at.value)}, ")$");
    return read_names(out, cfg, at);
}

static Status read_targets(AdapterConfig *cfg, const JsonAt *root)
{
    const JsonAt target = json_member(root, "target_modules"), exclude = json_member(root, "exclude_modules");

    if (!json_here(target) || says_nothing(target.value))
        return json_expected(target, "module names, a regular expression or \"all-linear\"");
    cfg->all_linear = json_is_string(target.value) && strcmp(json_string_value(target.value), "all-linear") == 0;
    if (!cfg->all_linear)
        TRY(read_modules(&cfg->target, cfg, target));
    return json_here(exclude) ? read_modules(&cfg->exclude, cfg, exclude) : LT_OK;
}

/* ---- layers --------------------------------------------------------------------------------------------------------------- */

static Status read_layer_numbers(AdapterConfig *cfg, JsonAt at)
{
    const bool is_list = json_is_array(at.value);
    size_t n = 1;

    if (is_list)
        TRY(json_to_array(at, &n));
    TRY(ARENA_NEW(&cfg->memory, cfg->layer, n));
    for (size_t i = 0; i < n; i++)
        TRY(json_to_int(is_list ? json_element(&at, i) : at, 0, INT32_MAX, &cfg->layer[i]));
    cfg->n_layer = n;
    return LT_OK;
}

/* Where a path carries its layer: behind a list of any name, or of the names given. */
static Status read_layer_patterns(AdapterConfig *cfg, JsonAt at)
{
    const bool is_list = json_is_array(at.value), given = json_here(at) && !says_nothing(at.value);
    const size_t n = given && is_list ? json_array_size(at.value) : 1;

    TRY(ARENA_NEW(&cfg->memory, cfg->layers_pattern, n));
    while (cfg->n_layers_pattern < n) {
        const JsonAt one = is_list ? json_element(&at, cfg->n_layers_pattern) : at;
        Str pattern = str_of("[^.]*");

        if (given)
            TRY(json_to_str(one, &pattern));
        TRY(compile(&cfg->layers_pattern[cfg->n_layers_pattern], one, "^.*\\.", pattern, "\\.(\\d+)\\."));
        cfg->n_layers_pattern++;
    }
    return LT_OK;
}

static Status read_layers(AdapterConfig *cfg, const JsonAt *root)
{
    const JsonAt layers = json_member(root, "layers_to_transform");

    if (!json_here(layers) || (json_is_array(layers.value) && json_array_size(layers.value) == 0))
        return LT_OK;
    if (cfg->target.regex != NULL)
        return json_fail(layers, "layers cannot be chosen here when target_modules is a regular expression; choose them there");
    TRY(read_layer_numbers(cfg, layers));
    return read_layer_patterns(cfg, json_member(root, "layers_pattern"));
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------ */

static Status read_base(AdapterConfig *cfg, const JsonAt *root)
{
    const JsonAt base = json_member(root, "base_model_name_or_path");

    return json_here(base) ? keep(cfg, base, &cfg->base) : LT_OK;
}

static Status read_config(AdapterConfig *cfg, const JsonAt *root)
{
    const JsonAt alpha = json_member(root, "lora_alpha");

    TRY(json_to_object(*root));
    TRY(check_keys(root));
    TRY(check_method(root));
    TRY(json_opt_int(root, "r", 1, ADAPTER_MAX_RANK, &cfg->rank));
    if (json_here(alpha))
        TRY(read_alpha(alpha, &cfg->alpha));
    TRY(json_opt_bool(root, "use_rslora", &cfg->rslora));
    TRY(read_patterns(&cfg->rank_pattern, cfg, root, "rank_pattern", true));
    TRY(read_patterns(&cfg->alpha_pattern, cfg, root, "alpha_pattern", false));
    TRY(read_targets(cfg, root));
    TRY(read_layers(cfg, root));
    return read_base(cfg, root);
}

Status adapter_config_parse(AdapterConfig *out, Str text, const char *file)
{
    AdapterConfig cfg = {.rank = 8, .alpha = 8}; /* PEFT's, where a file leaves them out */
    json_t *document;
    Status st;

    TRY(json_parse(&document, text, file, 0));
    const JsonAt root = json_root(document, file, 0);
    arena_init(&cfg.memory);
    st = read_config(&cfg, &root);
    json_decref(document);
    if (st == LT_OK)
        *out = cfg;
    else
        adapter_config_release(&cfg);
    return st;
}

void adapter_config_release(AdapterConfig *cfg)
{
    AdapterPatterns *const patterns[] = {&cfg->rank_pattern, &cfg->alpha_pattern};

    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++)
        for (size_t i = 0; i < patterns[p]->count; i++)
            regex_free(patterns[p]->item[i].regex);
    for (size_t i = 0; i < cfg->n_layers_pattern; i++)
        regex_free(cfg->layers_pattern[i]);
    regex_free(cfg->target.regex);
    regex_free(cfg->exclude.regex);
    arena_release(&cfg->memory);
    *cfg = (AdapterConfig){0};
}

/* ---- questions ------------------------------------------------------------------------------------------------------------ */

static bool ends_with_part(Str path, Str tail)
{
    return str_ends(path, tail) && (path.len == tail.len || path.data[path.len - tail.len - 1] == '.');
}

/* *exact: by a whole path rather than the end of one. */
static Status contains(const ModuleSet *set, Str module, bool *out, bool *exact)
{
    RegexMatch match;

    *out = *exact = false;
    if (set->regex != NULL)
        return regex_find(set->regex, module, 0, &match, out);
    for (size_t i = 0; i < set->count; i++) {
        *out = *out || ends_with_part(module, set->name[i]);
        *exact = *exact || str_equal(module, set->name[i]);
    }
    return LT_OK;
}

static Status layer_chosen(const AdapterConfig *cfg, Str module, bool *out)
{
    RegexMatch match;
    bool found = false;

    *out = false;
    for (size_t i = 0; i < cfg->n_layers_pattern && !found; i++)
        TRY(regex_find(cfg->layers_pattern[i], module, 0, &match, &found));
    if (!found || match.n_group < 2 || match.begin[1] == SIZE_MAX)
        return LT_OK;
    const long long layer = strtoll(module.data + match.begin[1], NULL, 10); /* ends at the dot behind it */
    for (size_t i = 0; i < cfg->n_layer; i++)
        *out = *out || cfg->layer[i] == layer;
    return LT_OK;
}

Status adapter_config_targets(const AdapterConfig *cfg, Str module, bool *out)
{
    bool excluded, exact = false, found = cfg->all_linear;

    TRY(contains(&cfg->exclude, module, &excluded, &exact));
    if (!cfg->all_linear)
        TRY(contains(&cfg->target, module, &found, &exact));
    /* As in PEFT, a module named by its whole path is meant whatever its layer. */
    if (found && !excluded && cfg->n_layer > 0 && !exact)
        TRY(layer_chosen(cfg, module, &found));
    *out = found && !excluded;
    return LT_OK;
}

/* The first match in file order, or `otherwise`. */
static Status look_up(const AdapterPatterns *patterns, Str module, double otherwise, double *out)
{
    RegexMatch match;
    bool found = false;

    *out = otherwise;
    for (size_t i = 0; i < patterns->count && !found; i++) {
        TRY(regex_find(patterns->item[i].regex, module, 0, &match, &found));
        if (found)
            *out = patterns->item[i].value;
    }
    return LT_OK;
}

Status adapter_config_scale(const AdapterConfig *cfg, Str module, int64_t *rank, double *scale)
{
    double r, alpha;

    TRY(look_up(&cfg->rank_pattern, module, (double)cfg->rank, &r));
    TRY(look_up(&cfg->alpha_pattern, module, cfg->alpha, &alpha));
    *rank = (int64_t)r;
    *scale = alpha / (cfg->rslora ? sqrt(r) : r);
    return LT_OK;
}
