#include "tests/saved.h"

#include "tests/check.h"
#include "tests/ref_model.h"

#include <stdio.h>

Device *saved_device(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

const char *saved_model(Device *dev, const ModelConfig *cfg, DType dtype, uint64_t seed, Model **model)
{
    const char *folder = test_folder();

    CHECK_OK(model_random(model, dev, cfg, dtype, seed));
    ref_model_disturb(*model, seed);
    CHECK_OK(model_save(*model, folder));
    return folder;
}

Status saved_load(Model **out, Device *dev, const char *folder, DType dtype)
{
    Checkpoint *ckpt;
    Status st;

    TRY(checkpoint_open(&ckpt, folder));
    st = model_load(out, dev, ckpt, &(LoadOptions){.dtype = dtype, .hash = FILEHASH_AGAIN});
    checkpoint_close(ckpt);
    return st;
}

static size_t value_bytes(const ParamEntry *e) { return (size_t)(e->rows * e->cols) * dtype_bytes(e->value.dtype); }

bool saved_same(const Model *a, const Model *b)
{
    if (a->params.count != b->params.count)
        return false;
    for (size_t i = 0; i < a->params.count; i++)
        if (memcmp(a->params.entry[i].value.data, b->params.entry[i].value.data, value_bytes(&a->params.entry[i])) != 0)
            return false;
    return true;
}

void saved_collect(SavedTensors *t, const Model *m)
{
    StrBuf name;

    strbuf_init(&name);
    t->count = m->params.count;
    assert_true(t->count <= 60);
    for (size_t i = 0; i < t->count; i++) {
        const ParamEntry *e = &m->params.entry[i];
        const int rank = e->row->rows == DIM_ONE ? 1 : 2;

        CHECK_OK(param_name(e, &name));
        snprintf(t->name[i], sizeof t->name[i], "%s", name.data);
        t->item[i] = (StWrite){.name = t->name[i], .dtype = st_dtype_name(m->dtype), .rank = rank, .data = e->value.data};
        t->item[i].shape[0] = rank == 1 ? e->cols : e->rows;
        t->item[i].shape[1] = e->cols;
    }
    strbuf_release(&name);
}

StWrite *saved_item(SavedTensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->item[i].name, name) == 0)
            return &t->item[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

void saved_write(const SavedTensors *t, const char *folder, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(st_write(path, t->item, t->count, NULL, 0));
}
