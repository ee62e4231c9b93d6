#include "model/adapter_folder.h"

#include "model/findings.h"

static const char CONFIG[] = "adapter_config.json", TENSORS[] = "adapter_model.safetensors";
enum { CONFIG_MAX_BYTES = 16 << 20 };

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static Status read_config(AdapterFolder *a)
{
    StrBuf path, text;
    Status st;

    strbuf_init(&path);
    strbuf_init(&text);
    TRY_GOTO(path_join(&path, a->path, CONFIG), st, done);
    TRY_GOTO(file_read(path.data, CONFIG_MAX_BYTES, &text), st, done);
    TRY_GOTO(sha256_of(text.data, text.len, &a->config_digest), st, done);
    st = adapter_config_parse(&a->cfg, strbuf_str(&text), path.data);
done:
    strbuf_release(&text);
    strbuf_release(&path);
    return st;
}

/* The name as PEFT saves it now: of `...lora_A.NAME.weight` without NAME. */
static Status plain_name(StrBuf *out, Str name)
{
    static const char *const marks[] = {".lora_A.", ".lora_B."};
    const Str tail = str_of(".weight");

    strbuf_clear(out);
    strbuf_add_str(out, name);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const size_t at = str_find(name, str_of(marks[i]), 0), from = at + strlen(marks[i]);

        if (at == SIZE_MAX || !str_ends(name, tail) || from + tail.len >= name.len)
            continue;
        if (str_find(str_slice(name, from, name.len - tail.len), str_of("."), 0) != SIZE_MAX)
            continue;
        strbuf_clear(out);
        strbuf_add_str(out, str_slice(name, 0, from));
        strbuf_add_text(out, "weight");
    }
    return strbuf_status(out);
}

static Status read_index(AdapterFolder *a)
{
    StrBuf text;
    Status st;
    bool fresh;

    strbuf_init(&text);
    TRY_GOTO(path_join(&text, a->path, "adapter_model.bin"), st, done);
    const bool pickled = file_exists(text.data);
    TRY_GOTO(path_join(&text, a->path, TENSORS), st, done);
    if (!file_exists(text.data)) {
        st = FAIL(LT_E_INPUT, "%s: expected %s, found none%s", a->path, TENSORS,
                  pickled ? "; adapter_model.bin is a pickle: save the adapter again with PEFT's save_pretrained(..., safe_serialization=True)" : "");
        goto done;
    }
    TRY_GOTO(st_open(&a->file, text.data), st, done);
    for (size_t i = 0; i < a->file.n_tensor; i++) {
        TRY_GOTO(plain_name(&text, a->file.tensor[i].name), st, done);
        TRY_GOTO(map_put(&a->tensor, strbuf_str(&text), (int64_t)i, &fresh), st, done);
        if (!fresh) {
            st = FAIL(LT_E_INPUT, "%s: tensor '%s' is there twice, under two adapters' names", a->file.path, text.data);
            goto done;
        }
    }
done:
    strbuf_release(&text);
    return st;
}

Status adapter_folder_open(AdapterFolder **out, const char *path)
{
    AdapterFolder *a;
    Status st;

    TRY(MEM_NEW(a, 1));
    a->file.fd = -1;
    map_init(&a->tensor);
    a->path = mem_strdup(path);
    TRY_GOTO(a->path == NULL ? LT_E_NOMEM : read_config(a), st, failed);
    TRY_GOTO(read_index(a), st, failed);
    *out = a;
    return LT_OK;
failed:
    adapter_folder_close(a);
    return st;
}

void adapter_folder_close(AdapterFolder *adapter)
{
    if (adapter == NULL)
        return;
    st_close(&adapter->file);
    adapter_config_release(&adapter->cfg);
    map_release(&adapter->tensor);
    mem_free(adapter->path);
    mem_free(adapter);
}

/* ---- against a base ------------------------------------------------------------------------------------------------------- */

/* Adds the factors of one weight of the base, if the configuration wants any. */
static Status add_targeted(ParamList *out, const AdapterFolder *a, const ModelConfig *base, const ParamEntry *weight, StrBuf *module)
{
    bool wanted;
    int64_t rank;
    double scale;

    if (!str_ends(str_of(weight->row->name), str_of(".weight")))
        return LT_OK;
    TRY(param_module(weight, module));
    /* "all-linear" means the blocks' matrices alone; a list or an expression may reach further, to where factors have another meaning. */
    if (a->cfg.all_linear && !weight->row->lora_target)
        return LT_OK;
    TRY(adapter_config_targets(&a->cfg, strbuf_str(module), &wanted));
    if (!wanted)
        return LT_OK;
    if (!weight->row->lora_target)
        return FAIL(LT_E_INPUT, "%s/%s: target_modules: '%s' is not a matrix of a block; adapters on embeddings, heads and norms cannot be applied",
                    a->path, CONFIG, module->data);
    TRY(adapter_config_scale(&a->cfg, strbuf_str(module), &rank, &scale));
    return params_add_factors(out, base, weight->row->id, weight->layer, rank, scale);
}

static Status list_targeted(ParamList *out, const AdapterFolder *a, const ModelConfig *base)
{
    ModelConfig untied = *base;
    ParamList weights;
    StrBuf module;
    Status st = LT_OK;

    untied.tie_word_embeddings = false; /* a tied head is a module too, and may be named */
    TRY(params_build(&weights, &untied));
    strbuf_init(&module);
    for (size_t i = 0; st == LT_OK && i < weights.count; i++)
        st = add_targeted(out, a, base, &weights.entry[i], &module);
    if (st == LT_OK && out->count == 0)
        st = FAIL(LT_E_INPUT, "%s/%s: target_modules: no module of the base, of %lld layers, is named by it", a->path, CONFIG,
                  (long long)base->num_hidden_layers);
    strbuf_release(&module);
    params_release(&weights);
    return st;
}

static Status compare_tensors(const AdapterFolder *a, const ParamList *params)
{
    Findings bad;
    Map known;
    StrBuf name;
    Status st = LT_OK;
    int64_t value;

    findings_init(&bad);
    map_init(&known);
    strbuf_init(&name);
    for (size_t i = 0; i < params->count; i++) {
        TRY_GOTO(param_name(&params->entry[i], &name), st, done);
        TRY_GOTO(map_put(&known, strbuf_str(&name), 0, NULL), st, done);
        findings_compare(&bad, &params->entry[i], name.data, adapter_folder_tensor(a, strbuf_str(&name)));
    }
    for (size_t i = 0; i < a->tensor.count; i++) {
        const Str found = map_key(&a->tensor, i);

        if (!map_get(&known, found, &value) && findings_next(&bad))
            strbuf_addf(&bad.text, "tensor '" STR_FORMAT "' is not expected", STR_ARG(found));
    }
    TRY_GOTO(findings_finish(&bad), st, done);
    if (bad.count > 0)
        st = FAIL(LT_E_INPUT, "%s: the adapter does not fit the base; was it made on another model? %s", a->path, bad.text.data);
done:
    strbuf_release(&name);
    map_release(&known);
    findings_release(&bad);
    return st;
}

const StTensor *adapter_folder_tensor(const AdapterFolder *adapter, Str name)
{
    int64_t index;

    return map_get(&adapter->tensor, name, &index) ? &adapter->file.tensor[index] : NULL;
}

Status adapter_folder_params(ParamList *out, const AdapterFolder *adapter, const ModelConfig *base)
{
    ParamList params;
    Status st;

    params_init_factors(&params);
    st = list_targeted(&params, adapter, base);
    if (st == LT_OK)
        st = compare_tensors(adapter, &params);
    if (st == LT_OK)
        *out = params;
    else
        params_release(&params);
    return st;
}

Status adapter_folder_digest(const AdapterFolder *adapter, FileHashMode mode, Digest *out)
{
    Digest tensors;
    Sha256 all;

    TRY(filehash_get(adapter->file.path, mode, &tensors));
    TRY(sha256_init(&all));
    sha256_add(&all, adapter->config_digest.byte, sizeof adapter->config_digest.byte);
    sha256_add(&all, tensors.byte, sizeof tensors.byte);
    *out = sha256_end(&all);
    return LT_OK;
}
