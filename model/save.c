#include "model/checkpoint.h"
#include "model/stream.h"

/* What st_write needs of every entry: names in one arena, values where host code can read them. */
typedef struct Saver {
    StWrite *tensor;
    Arena names;
    char *host; /* copies, where the device's memory cannot be read in place */
} Saver;

static Status download_values(Saver *s, const Model *m)
{
    size_t at = 0, total = 0;

    for (size_t i = 0; i < m->params.count; i++)
        total += (size_t)(m->params.entry[i].rows * m->params.entry[i].cols) * dtype_bytes(m->dtype);
    TRY(MEM_NEW(s->host, total));
    for (size_t i = 0; i < m->params.count; i++) {
        const ParamEntry *e = &m->params.entry[i];

        TRY(device_download(m->dev, s->host + at, e->value));
        s->tensor[i].data = s->host + at;
        at += (size_t)(e->rows * e->cols) * dtype_bytes(m->dtype);
    }
    return LT_OK;
}

static Status describe(Saver *s, const Model *m)
{
    StrBuf name;
    Status st = LT_OK;

    strbuf_init(&name);
    for (size_t i = 0; st == LT_OK && i < m->params.count; i++) {
        const ParamEntry *e = &m->params.entry[i];
        StWrite *t = &s->tensor[i];

        st = param_name(e, &name);
        if (st == LT_OK && (t->name = arena_strndup(&s->names, name.data, name.len)) == NULL)
            st = LT_E_NOMEM;
        t->dtype = st_dtype_name(m->dtype);
        t->rank = e->row->rows == DIM_ONE ? 1 : 2;
        t->shape[0] = t->rank == 1 ? e->cols : e->rows;
        t->shape[1] = e->cols;
        t->data = e->value.data;
    }
    strbuf_release(&name);
    return st;
}

static Status save_weights(const Model *m, const char *path)
{
    static const char *const metadata[][2] = {{"format", "pt"}}; /* transformers refuses files without it */
    Saver s = {0};
    Status st;

    arena_init(&s.names);
    TRY_GOTO(MEM_NEW(s.tensor, m->params.count), st, done);
    TRY_GOTO(describe(&s, m), st, done);
    if (!device_is_host(m->dev))
        TRY_GOTO(download_values(&s, m), st, done);
    st = st_write(path, s.tensor, m->params.count, metadata, 1);
done:
    mem_free(s.host);
    mem_free(s.tensor);
    arena_release(&s.names);
    return st;
}

Status model_save(const Model *model, const char *folder)
{
    StrBuf path, config;
    Status st;

    strbuf_init(&path);
    strbuf_init(&config);
    TRY_GOTO(dir_make(folder), st, done);
    TRY_GOTO(config_write(&model->cfg, model->dtype, &config), st, done);
    TRY_GOTO(path_join(&path, folder, "config.json"), st, done);
    TRY_GOTO(file_write_atomic(path.data, config.data, config.len), st, done);
    TRY_GOTO(path_join(&path, folder, "model.safetensors"), st, done);
    st = save_weights(model, path.data);
done:
    strbuf_release(&config);
    strbuf_release(&path);
    return st;
}
