#include "model/eos.h"

#include "core/file.h"

static const size_t MOST_BYTES = (size_t)1 << 24;

static void add(EosIds *ids, int32_t id)
{
    for (int i = 0; i < ids->n; i++)
        if (ids->id[i] == id)
            return;
    ids->id[ids->n++] = id;
}

/* An id, a list of ids, or null. */
static Status read_ids(EosIds *ids, JsonAt eos, const ModelConfig *cfg)
{
    size_t n = 1;

    if (!json_here(eos))
        return LT_OK;
    if (json_is_array(eos.value))
        TRY(json_to_array(eos, &n));
    if (n > CONFIG_MAX_EOS)
        return json_fail(eos, "expected at most %d ids, found %zu", CONFIG_MAX_EOS, n);
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        TRY(json_to_int(json_is_array(eos.value) ? json_element(&eos, i) : eos, 0, cfg->vocab_size - 1, &id));
        add(ids, (int32_t)id);
    }
    return LT_OK;
}

static Status read_file(EosIds *ids, const ModelConfig *cfg, const char *path)
{
    json_t *document = NULL;
    Status st;

    if (!file_exists(path))
        return LT_OK;
    TRY(json_load_path(&document, path, MOST_BYTES));
    const JsonAt root = json_root(document, path, 0);
    TRY_GOTO(json_to_object(root), st, done);
    st = read_ids(ids, json_member(&root, "eos_token_id"), cfg);
done:
    json_decref(document);
    return st;
}

Status eos_load(EosIds *out, const ModelConfig *cfg, const char *folder)
{
    EosIds ids = {0};
    StrBuf path;
    Status st;

    for (int i = 0; i < cfg->n_eos; i++)
        add(&ids, cfg->eos_token_id[i]);
    strbuf_init(&path);
    TRY_GOTO(path_join(&path, folder, "generation_config.json"), st, done);
    TRY_GOTO(read_file(&ids, cfg, path.data), st, done);
    *out = ids;
done:
    strbuf_release(&path);
    return st;
}
