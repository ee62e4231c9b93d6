#include "model/variant.h"

#include "core/log.h"

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

/* The last part of a path or hub id, without its revision: what is left of a base's name when its folder has moved. */
static Str base_name(Str name)
{
    const size_t revision = str_find(name, str_of("@"), 0);

    if (revision != SIZE_MAX)
        name.len = revision;
    while (name.len > 1 && name.data[name.len - 1] == '/')
        name.len--;
    for (size_t i = name.len; i > 0; i--)
        if (name.data[i - 1] == '/')
            return str_slice(name, i, name.len);
    return name;
}

static void compare_base_names(const Variant *v)
{
    const Str own = v->folder->cfg.base;

    if (own.len > 0 && !str_equal(base_name(own), base_name(str_of(v->base.given))))
        log_warning("%s: the adapter was made on '" STR_FORMAT "', and is used on '%s'", v->place.given, STR_ARG(own), v->base.given);
}

static Status open_adapter(Variant *v, const char *base)
{
    TRY(locate_base(&v->base, &v->memory, &v->place, base));
    TRY(adapter_folder_open(&v->folder, v->place.path));
    if (base != NULL)
        compare_base_names(v);
    return LT_OK;
}

static Status check_fit(const Variant *v)
{
    ParamList params;

    if (v->folder == NULL)
        return LT_OK;
    const Status st = adapter_folder_params(&params, v->folder, &v->checkpoint->cfg);
    if (st != LT_OK)
        return status_wrap(st, "base '%s'", v->base.given);
    params_release(&params);
    return LT_OK;
}

static Status open_parts(Variant *v, const char *argument, const char *base, size_t *unknown)
{
    TRY(locate_checkpoint(&v->place, &v->memory, argument));
    v->base = v->place;
    if (v->place.kind == FOLDER_ADAPTER)
        TRY(open_adapter(v, base));
    TRY(checkpoint_open(&v->checkpoint, v->base.path));
    TRY(checkpoint_check(v->checkpoint, unknown));
    return check_fit(v);
}

Status variant_open(Variant *v, const char *argument, const char *base, size_t *unknown)
{
    Variant fresh = {0};
    Status st;

    arena_init(&fresh.memory);
    st = open_parts(&fresh, argument, base, unknown);
    if (st == LT_OK)
        *v = fresh;
    else
        variant_close(&fresh);
    return st;
}

void variant_close(Variant *v)
{
    adapter_free(v->adapter);
    if (v->owns_model)
        model_free(v->model);
    adapter_folder_close(v->folder);
    checkpoint_close(v->checkpoint);
    arena_release(&v->memory);
    *v = (Variant){0};
}

/* ---- loading -------------------------------------------------------------------------------------------------------------- */

void shelf_clear(ModelShelf *shelf)
{
    model_free(shelf->model);
    *shelf = (ModelShelf){0};
}

/* A path would not do: a folder may be written again, and the same files may be found by several ways. */
static Status files_of(const Checkpoint *ckpt, Digest *out)
{
    Sha256 all;

    TRY(sha256_init(&all));
    sha256_add(&all, ckpt->config_digest.byte, sizeof ckpt->config_digest.byte);
    for (size_t i = 0; i < ckpt->set.n_file; i++)
        sha256_add(&all, &ckpt->set.file[i].id, sizeof ckpt->set.file[i].id);
    *out = sha256_end(&all);
    return LT_OK;
}

static bool on_shelf(const ModelShelf *shelf, const Digest *files, const ModelConfig *cfg, const Device *dev, const LoadOptions *o)
{
    const Model *m = shelf->model;
    const int64_t positions = o->max_position > 0 ? o->max_position : cfg->max_position_embeddings;

    return m != NULL && memcmp(&shelf->files, files, sizeof *files) == 0 && m->dev == dev && m->dtype == o->dtype && m->rope.n_position == positions;
}

/* One model at a time: the old one goes before the new one comes. */
static Status take_from_shelf(Variant *v, ModelShelf *shelf, Device *dev, const LoadOptions *options)
{
    Digest files;

    TRY(files_of(v->checkpoint, &files));
    if (!on_shelf(shelf, &files, &v->checkpoint->cfg, dev, options)) {
        shelf_clear(shelf);
        TRY(model_load(&shelf->model, dev, v->checkpoint, options));
        shelf->files = files;
    }
    v->model = shelf->model;
    return LT_OK;
}

static Status load_merged(Variant *v, ModelShelf *shelf, Device *dev, const LoadOptions *options)
{
    LoadOptions merging = *options;
    Factors *factors;
    Status st;

    TRY(factors_read(&factors, v->folder, &v->checkpoint->cfg));
    merging.merge = factors;
    st = factors_refuse_inert(factors, v->folder->path);
    if (st == LT_OK) {
        shelf_clear(shelf);
        st = model_load(&v->model, dev, v->checkpoint, &merging);
        v->owns_model = st == LT_OK;
    }
    factors_free(factors);
    return st;
}

Status variant_load(Variant *v, ModelShelf *shelf, Device *dev, const LoadOptions *options, AdapterUse use)
{
    BUG_IF(v->adapter != NULL || v->owns_model);
    if (v->folder != NULL && use == ADAPTER_MERGED)
        return load_merged(v, shelf, dev, options);
    TRY(take_from_shelf(v, shelf, dev, options));
    return v->folder == NULL ? LT_OK : adapter_load(&v->adapter, v->model, v->folder);
}
