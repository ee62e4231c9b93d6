#include "cli/inspect.h"

#include "model/adapter_folder.h"

static Status describe_config(json_t *out, const AdapterFolder *a)
{
    const AdapterConfig *cfg = &a->cfg;
    int64_t parameters = 0;

    for (size_t i = 0; i < a->file.n_tensor; i++)
        parameters += a->file.tensor[i].count;
    TRY(json_put(out, "path", print_name(a->path)));
    TRY(json_put(out, "adapter", json_string(cfg->rslora ? "LoRA, rank-stabilised" : "LoRA")));
    TRY(json_put(out, "base", cfg->base.len > 0 ? json_from_str(cfg->base) : json_null()));
    TRY(json_put(out, "parameters", json_integer(parameters)));
    TRY(inspect_dtypes(out, &a->file, 1));
    TRY(json_put(out, "rank", json_integer(cfg->rank)));
    TRY(json_put(out, "alpha", json_real(cfg->alpha)));
    return json_put(out, "overrides", json_integer((json_int_t)(cfg->rank_pattern.count + cfg->alpha_pattern.count)));
}

/* "modules": how many matrices of each kind it changes, "layers": of how many layers. */
static Status describe_targets(json_t *out, const ParamList *params)
{
    json_t *modules = json_object();
    json_int_t n_layer = 0;

    TRY(json_put(out, "modules", modules));
    for (size_t i = 0; i < params->count; i += 2) {
        const char *name = params->entry[i].row->module;

        TRY(json_put(modules, name, json_integer(json_integer_value(json_object_get(modules, name)) + 1)));
        n_layer += i == 0 || params->entry[i].layer != params->entry[i - 2].layer;
    }
    return json_put(out, "layers", json_integer(n_layer));
}

static Status describe_fit(json_t *out, const AdapterFolder *a, const char *base)
{
    ModelConfig cfg;
    ParamList params;
    Digest digest;

    TRY(config_load(&cfg, &digest, base));
    TRY(adapter_folder_params(&params, a, &cfg));
    const Status st = describe_targets(out, &params);
    params_release(&params);
    return st;
}

Status inspect_adapter(json_t *out, Arena *arena, const Located *place, const char *base)
{
    json_t *warnings = json_array();
    AdapterFolder *a = NULL;
    Located found;
    Status st;

    TRY_GOTO(warnings != NULL ? LT_OK : FAIL(LT_E_NOMEM, "out of memory"), st, done);
    TRY_GOTO(adapter_folder_open(&a, place->path), st, done);
    TRY_GOTO(describe_config(out, a), st, done);
    st = locate_base(&found, arena, place, base);
    if (st == LT_OK) {
        TRY_GOTO(describe_fit(out, a, found.path), st, done);
    } else if (st == LT_E_INPUT && base == NULL) {
        TRY_GOTO(inspect_warn(warnings, "not checked against its base: %s", status_text()), st, done);
        status_clear();
    } else {
        goto done;
    }
    TRY_GOTO(inspect_origin(out, a->path), st, done);
    TRY_GOTO(inspect_files(out, a->path), st, done);
    st = json_put(out, "warnings", json_incref(warnings));
done:
    adapter_folder_close(a);
    json_decref(warnings);
    return st;
}
