#include "model/config_read.h"

static void see_everything(ModelConfig *cfg, int64_t layer)
{
    cfg->full_attention[layer / 64] |= (uint64_t)1 << (layer % 64);
}

/* Version 5 lists the kind of every layer. */
static Status read_layer_types(ModelConfig *cfg, JsonAt list)
{
    size_t count;

    TRY(json_to_array(list, &count));
    if (count != (size_t)cfg->num_hidden_layers)
        return json_fail(list, "expected one kind for each of %lld layers, found %zu", (long long)cfg->num_hidden_layers, count);
    for (size_t i = 0; i < count; i++) {
        const JsonAt at = json_element(&list, i);
        Str kind;

        TRY(json_to_str(at, &kind));
        if (str_is(kind, "full_attention"))
            see_everything(cfg, (int64_t)i);
        else if (!str_is(kind, "sliding_attention"))
            return json_expected(at, "full_attention or sliding_attention");
        else if (cfg->sliding_window == 0)
            return json_fail(at, "sliding_attention needs use_sliding_window true and a sliding_window");
    }
    return LT_OK;
}

/* Version 4 says from which layer on there is a window. */
static Status read_first_layer(ModelConfig *cfg, const JsonAt *root)
{
    int64_t first = 28; /* the default of the configuration classes */

    TRY(json_opt_int(root, "max_window_layers", 0, CONFIG_MAX_POSITION, &first));
    for (int64_t i = 0; i < first && i < cfg->num_hidden_layers; i++)
        see_everything(cfg, i);
    return LT_OK;
}

/* Files say null for "none"; a missing key means the default of the class. */
static Status read_size(ModelConfig *cfg, const JsonAt *root)
{
    if (json_member(root, "sliding_window").value == NULL)
        cfg->sliding_window = cfg->arch->default_window;
    return json_opt_int(root, "sliding_window", 1, CONFIG_MAX_POSITION, &cfg->sliding_window);
}

Status config_read_window(ModelConfig *cfg, const JsonAt *root)
{
    const JsonAt kinds = json_member(root, "layer_types");
    bool used = cfg->arch->window == WINDOW_IF_SET;

    if (cfg->arch->window == WINDOW_IF_USED)
        TRY(json_opt_bool(root, "use_sliding_window", &used));
    if (used)
        TRY(read_size(cfg, root));
    if (cfg->arch->window != WINDOW_IF_USED)
        return LT_OK;
    return json_here(kinds) ? read_layer_types(cfg, kinds) : read_first_layer(cfg, root);
}
