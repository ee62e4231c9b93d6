#include "tests/made_factors.h"

#include "tests/check.h"

#include <math.h>

const char *const made_name[MADE_SHAPES] = {"plain", "patterns", "rslora"};

static void add(ParamList *list, const ModelConfig *cfg, MadeShape shape, ParamId id, int32_t layer)
{
    const bool last = layer + 1 == cfg->num_hidden_layers;
    int64_t rank = 8;
    double scale = 2;

    if (shape == MADE_PATTERNS) {
        if (id == PARAM_DOWN || (id == PARAM_O && !last))
            return;
        rank = id == PARAM_V ? 3 : 5 + layer;
        scale = (id == PARAM_GATE ? 7.5 : 11.0) / (double)rank;
    } else if (shape == MADE_RSLORA) {
        rank = last ? 6 : 4;
        scale = 8 / sqrt((double)rank);
    }
    CHECK_OK(params_add_factors(list, cfg, id, layer, rank, scale));
}

Factors *made_factors(const ModelConfig *cfg, MadeShape shape, uint64_t seed)
{
    TestRandom random = {seed};
    size_t total = 0, at = 0;
    Factors *f;

    CHECK_OK(MEM_NEW(f, 1));
    params_init_factors(&f->params);
    for (int32_t layer = 0; layer < cfg->num_hidden_layers; layer++)
        for (int p = 0; p < PARAM_KINDS; p++)
            if (param_rows[p].lora_target)
                add(&f->params, cfg, shape, (ParamId)p, layer);
    for (size_t i = 0; i < f->params.count; i++)
        total += (size_t)(f->params.entry[i].rows * f->params.entry[i].cols);
    CHECK_OK(MEM_NEW(f->memory, total));
    for (size_t i = 0; i < total; i++)
        f->memory[i] = (float)(test_normal(&random) * 0.1);
    for (size_t i = 0; i < f->params.count; i++) {
        ParamEntry *e = &f->params.entry[i];

        e->value = tensor_of(f->memory + at, LT_F32, e->rows, e->cols);
        at += (size_t)(e->rows * e->cols);
    }
    return f;
}

AdapterOrigin made_origin(MadeShape shape, const char *base)
{
    return (AdapterOrigin){.base = base, .dropout = 0.05, .rslora = shape == MADE_RSLORA};
}
