#include "tests/adapters.h"

#include "tests/check.h"

#include <stdio.h>

const char *adapter_config_file(const char *folder, const char *json)
{
    return test_file(folder, "adapter_config.json", json, strlen(json));
}

void adapter_tensors_random(AdapterTensors *t, const ParamList *params, uint64_t seed)
{
    TestRandom random = {seed};
    StrBuf name;

    *t = (AdapterTensors){0};
    strbuf_init(&name);
    assert_true(params->count <= sizeof t->item / sizeof *t->item);
    for (size_t i = 0; i < params->count; i++) {
        const ParamEntry *e = &params->entry[i];
        float *data = mem_take((size_t)(e->rows * e->cols), sizeof *data);

        assert_non_null(data);
        for (int64_t k = 0; k < e->rows * e->cols; k++)
            data[k] = (float)(test_normal(&random) * 0.2);
        CHECK_OK(param_name(e, &name));
        snprintf(t->name[i], sizeof t->name[i], "%s", name.data);
        t->item[i] = (StWrite){.name = t->name[i], .dtype = "F32", .rank = 2, .shape = {e->rows, e->cols}, .data = data};
    }
    t->count = params->count;
    strbuf_release(&name);
}

void adapter_tensors_free(AdapterTensors *t)
{
    for (size_t i = 0; i < t->count; i++)
        mem_free((void *)(uintptr_t)t->item[i].data);
}

StWrite *adapter_tensors_find(AdapterTensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->name[i], name) == 0)
            return &t->item[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

void adapter_tensors_write(const AdapterTensors *t, const char *folder)
{
    StrBuf path;

    strbuf_init(&path);
    CHECK_OK(dir_make(folder));
    CHECK_OK(path_join(&path, folder, "adapter_model.safetensors"));
    CHECK_OK(st_write(path.data, t->item, t->count, NULL, 0));
    strbuf_release(&path);
}

/* What the configuration wants of a base, asked of the configuration alone. */
static void list_wanted(ParamList *out, const char *json, const ModelConfig *base)
{
    AdapterConfig cfg;
    ParamList weights;
    StrBuf module;

    CHECK_OK(adapter_config_parse(&cfg, str_of(json), "adapter_config.json"));
    CHECK_OK(params_build(&weights, base));
    strbuf_init(&module);
    params_init_factors(out);
    for (size_t i = 0; i < weights.count; i++) {
        const ParamEntry *w = &weights.entry[i];
        int64_t rank;
        double scale;
        bool wanted;

        CHECK_OK(param_module(w, &module));
        CHECK_OK(adapter_config_targets(&cfg, strbuf_str(&module), &wanted));
        if (!wanted || !w->row->lora_target)
            continue;
        CHECK_OK(adapter_config_scale(&cfg, strbuf_str(&module), &rank, &scale));
        CHECK_OK(params_add_factors(out, base, w->row->id, w->layer, rank, scale));
    }
    strbuf_release(&module);
    params_release(&weights);
    adapter_config_release(&cfg);
}

const char *adapter_random(const char *json, const ModelConfig *base, uint64_t seed)
{
    static AdapterTensors tensors;
    const char *folder = test_folder();
    ParamList params;

    adapter_config_file(folder, json);
    list_wanted(&params, json, base);
    adapter_tensors_random(&tensors, &params, seed);
    adapter_tensors_write(&tensors, folder);
    adapter_tensors_free(&tensors);
    params_release(&params);
    return folder;
}

Adapter *adapter_of(const Model *m, const char *folder)
{
    AdapterFolder *opened;
    Adapter *a;

    CHECK_OK(adapter_folder_open(&opened, folder));
    CHECK_OK(adapter_load(&a, m, opened));
    adapter_folder_close(opened);
    return a;
}

/* An F32 tensor's elements, row after row. */
static float *on_host(Device *dev, Tensor t)
{
    float *data = mem_take((size_t)(t.rows * t.cols), sizeof *data);

    assert_non_null(data);
    CHECK_OK(device_download(dev, data, t));
    return data;
}

void adapter_merge_by_hand(Model *m, const Adapter *adapter)
{
    for (size_t i = 0; i < adapter->params.count; i += 2) {
        const ParamEntry *a = &adapter->params.entry[i], *b = a + 1;
        const ParamEntry *w = params_find(&m->params, a->row->id, a->layer);
        float *const a_data = on_host(m->dev, a->value), *const b_data = on_host(m->dev, b->value), *const w_data = on_host(m->dev, w->value);

        for (int64_t row = 0; row < w->rows; row++)
            for (int64_t col = 0; col < w->cols; col++) {
                double sum = 0;

                for (int64_t k = 0; k < a->rows; k++)
                    sum += (double)b_data[row * b->value.cols + k] * (double)a_data[k * a->value.cols + col];
                w_data[row * w->cols + col] = (float)((double)w_data[row * w->cols + col] + a->scale * sum);
            }
        CHECK_OK(device_upload(m->dev, w->value, w_data));
        mem_free(a_data);
        mem_free(b_data);
        mem_free(w_data);
    }
}
