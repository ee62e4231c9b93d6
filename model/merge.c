#include "model/merge.h"

#include "core/log.h"
#include "model/runinfo.h"

/* What may belong to a tokenizer; transformers reads whichever are there. */
static const char *const tokenizer_files[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
    "chat_template.json", "chat_template.jinja",
};
enum { COPY_MAX_BYTES = 1 << 30 };

static Status copy_file(const char *to, const char *from, const char *name)
{
    StrBuf path, text;
    Status st;

    strbuf_init(&path);
    strbuf_init(&text);
    TRY_GOTO(path_join(&path, from, name), st, done);
    if (!file_exists(path.data))
        goto done;
    TRY_GOTO(file_read(path.data, COPY_MAX_BYTES, &text), st, done);
    TRY_GOTO(path_join(&path, to, name), st, done);
    st = file_write_atomic(path.data, text.data != NULL ? text.data : "", text.len);
done:
    strbuf_release(&text);
    strbuf_release(&path);
    return st;
}

static Status copy_tokenizer(const Variant *v, const char *folder)
{
    const char *from = v->base.path, *own;

    TRY(locate_tokenizer_file(v->folder->path, &own));
    if (own != NULL)
        from = v->folder->path;
    for (size_t i = 0; i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        TRY(copy_file(folder, from, tokenizer_files[i]));
    return copy_file(folder, v->base.path, "generation_config.json");
}

/* The merged model is still that adapter to whoever compares ranks. Without the label: both may stand in one table. */
static Status write_origin(Variant *v, const char *folder)
{
    StrBuf path, text;
    RunInfo info;
    Status st = runinfo_read(&info, &v->memory, v->folder->path);

    if (st == LT_E_INPUT) {
        log_warning("%s: how the adapter was made is not known: %s", v->place.given, status_text());
        status_clear();
        return LT_OK;
    }
    TRY(st);
    info.label = "";
    info.base = v->base.given;
    strbuf_init(&path);
    strbuf_init(&text);
    TRY_GOTO(runinfo_write(&text, &info), st, done);
    TRY_GOTO(path_join(&path, folder, "lethe.json"), st, done);
    st = file_write_atomic(path.data, text.data, text.len);
done:
    strbuf_release(&text);
    strbuf_release(&path);
    return st;
}

/* Writing into what is being read would destroy it, and the base's other shards would no longer belong to it. */
static Status refuse_own_folder(const char *folder, const char *source)
{
    FileId a, b;

    if (!dir_exists(folder))
        return LT_OK;
    TRY(file_id(folder, &a));
    TRY(file_id(source, &b));
    if (a.device != b.device || a.inode != b.inode)
        return LT_OK;
    return FAIL(LT_E_USAGE, "%s: expected another folder than that of the base or the adapter", folder);
}

Status merge_write(Variant *v, Device *dev, DType dtype, const char *folder)
{
    const LoadOptions load = {.dtype = dtype};
    ModelShelf none = {0};

    BUG_IF(v->folder == NULL);
    TRY(refuse_own_folder(folder, v->base.path));
    TRY(refuse_own_folder(folder, v->folder->path));
    TRY(variant_load(v, &none, dev, &load, ADAPTER_MERGED));
    TRY(dir_make(folder));
    TRY(copy_tokenizer(v, folder));
    TRY(write_origin(v, folder)); /* the weights come last: a folder with them is whole */
    return model_save(v->model, folder);
}
