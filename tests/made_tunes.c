#include "tests/made_tunes.h"

#include "tests/check.h"
#include "tests/ref_model.h"

#include <stdio.h>

void made_tunes_write(MadeTunes *made, char *path, const char *name, double size)
{
    TestRandom random = {99};

    for (size_t i = 0; size > 0 && i < made->tensors.count; i++) {
        StWrite *t = &made->tensors.item[i];
        float *x = (float *)(uintptr_t)t->data;

        for (int64_t k = 0; k < t->shape[0] * (t->rank == 2 ? t->shape[1] : 1); k++)
            x[k] += (float)(size * test_normal(&random));
    }
    snprintf(path, 1024, "%s/%s", made->base, name);
    CHECK_OK(model_save(made->model, path));
    saved_write(&made->tensors, path, "model.safetensors");
}

void made_tunes(MadeTunes *made, Device *dev)
{
    const ModelConfig cfg = ref_model_config();

    made->base = saved_model(dev, &cfg, LT_F32, 3, &made->model);
    saved_collect(&made->tensors, made->model);
    made_tunes_write(made, made->a, "a", 0.01);
    made_tunes_write(made, made->b, "b", 0.02);
}
