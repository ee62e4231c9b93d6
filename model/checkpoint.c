#include "model/checkpoint.h"

#include "core/log.h"
#include "model/findings.h"

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

/* An adapter's folder may hold a config.json of its base, so it is looked for first; trainers' own formats come without one. */
static Status refuse_other_folders(const char *folder)
{
    StrBuf path;
    Status st;

    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, "adapter_config.json"), st, done);
    if (file_exists(path.data)) {
        st = FAIL(LT_E_INPUT, "%s: expected a model, found a PEFT adapter (adapter_config.json)",
                  folder);
        goto done;
    }
    TRY_GOTO(path_join(&path, folder, "config.json"), st, done);
    if (!file_exists(path.data))
        st = st_refuse_foreign(folder);
done:
    strbuf_release(&path);
    return st;
}

Status checkpoint_open(Checkpoint **out, const char *path)
{
    Checkpoint *ckpt;
    Status st;

    if (!dir_exists(path))
        return FAIL(LT_E_INPUT, "%s: expected a model folder, found none", path);
    TRY(refuse_other_folders(path));
    TRY(MEM_NEW(ckpt, 1));
    ckpt->path = mem_strdup(path);
    st = ckpt->path == NULL ? LT_E_NOMEM : config_load(&ckpt->cfg, &ckpt->config_digest, path);
    if (st == LT_OK)
        st = st_set_open(&ckpt->set, path);
    if (st == LT_OK)
        *out = ckpt;
    else
        checkpoint_close(ckpt);
    return st;
}

void checkpoint_close(Checkpoint *ckpt)
{
    if (ckpt == NULL)
        return;
    st_set_close(&ckpt->set);
    mem_free(ckpt->path);
    mem_free(ckpt);
}

/* ---- tensors against the parameter table ---------------------------------------------------------------------------------- */

/* Checks every entry and notes its name in `known`. */
static Status check_entries(const Checkpoint *ckpt, const ParamList *list, Map *known)
{
    Findings bad;
    StrBuf name;
    Status st = LT_OK;

    findings_init(&bad);
    strbuf_init(&name);
    for (size_t i = 0; i < list->count; i++) {
        const StFile *file;

        TRY_GOTO(param_name(&list->entry[i], &name), st, done);
        TRY_GOTO(map_put(known, strbuf_str(&name), 0, NULL), st, done);
        findings_compare(&bad, &list->entry[i], name.data, st_set_find(&ckpt->set, strbuf_str(&name), &file));
    }
    TRY_GOTO(findings_finish(&bad), st, done);
    if (bad.count > 0)
        st = FAIL(LT_E_INPUT, "%s: the weights do not fit config.json: %s", ckpt->path, bad.text.data);
done:
    strbuf_release(&name);
    findings_release(&bad);
    return st;
}

static bool ignored(const Checkpoint *ckpt, Str name)
{
    return str_ends(name, str_of("rotary_emb.inv_freq")) || (ckpt->cfg.tie_word_embeddings && str_is(name, "lm_head.weight"));
}

static Status warn_unknown(const Checkpoint *ckpt, const Map *known, size_t *unknown)
{
    Findings odd;
    Status st;

    findings_init(&odd);
    for (size_t i = 0; i < ckpt->set.by_name.count; i++) {
        const Str name = map_key(&ckpt->set.by_name, i);
        int64_t value;

        if (!map_get(known, name, &value) && !ignored(ckpt, name) && findings_next(&odd))
            strbuf_addf(&odd.text, "'" STR_FORMAT "'", STR_ARG(name));
    }
    st = findings_finish(&odd);
    if (st == LT_OK && odd.count > 0)
        log_warning("%s: tensors that %s does not have are ignored: %s", ckpt->path, ckpt->cfg.arch->name, odd.text.data);
    if (st == LT_OK)
        *unknown = odd.count;
    findings_release(&odd);
    return st;
}

Status checkpoint_check(const Checkpoint *ckpt, size_t *unknown)
{
    ParamList list;
    Map known;
    Status st;

    TRY(params_build(&list, &ckpt->cfg));
    map_init(&known);
    st = check_entries(ckpt, &list, &known);
    if (st == LT_OK)
        st = warn_unknown(ckpt, &known, unknown);
    map_release(&known);
    params_release(&list);
    return st;
}

Status checkpoint_stored_dtype(const Checkpoint *ckpt, DType *out)
{
    DType common = LT_F32, one;
    ParamList list;
    StrBuf name;
    Status st = LT_OK;

    TRY(params_build(&list, &ckpt->cfg));
    strbuf_init(&name);
    for (size_t i = 0; i < list.count; i++) {
        const StTensor *t;
        const StFile *file;

        TRY_GOTO(param_name(&list.entry[i], &name), st, done);
        t = st_set_find(&ckpt->set, strbuf_str(&name), &file);
        BUG_IF(t == NULL || !st_dtype(t, &one)); /* checkpoint_check has seen them */
        common = i == 0 || one == common ? one : LT_F32;
    }
    *out = common;
done:
    strbuf_release(&name);
    params_release(&list);
    return st;
}
