#include "tests/planted.h"

#include "core/half.h"
#include "tests/check.h"
#include "tests/ref_model.h"

#include <math.h>
#include <stdio.h>

#define Q "model.layers.0.self_attn.q_proj.weight"

double planted_round(double x, DType dtype)
{
    const float f = (float)x;
    return dtype == LT_F32 ? (double)f : dtype == LT_BF16 ? (double)bf16_to_f32(f32_to_bf16(f)) : (double)f16_to_f32(f32_to_f16(f));
}

void planted_change(double *d, int64_t m, int64_t n, double rms, uint64_t seed)
{
    double *u = mem_take((size_t)((m + n) * PLANTED_RANK), sizeof *u), *v = u + m * PLANTED_RANK, sum = 0;
    TestRandom random = {seed};

    assert_non_null(u);
    for (int64_t i = 0; i < (m + n) * PLANTED_RANK; i++)
        u[i] = test_normal(&random);
    for (int64_t i = 0; i < m * n; i++) {
        d[i] = 0;
        for (int l = 0; l < PLANTED_RANK; l++)
            d[i] += u[i / n * PLANTED_RANK + l] * v[i % n * PLANTED_RANK + l];
        sum += d[i] * d[i];
    }
    for (int64_t i = 0; i < m * n; i++)
        d[i] *= rms / sqrt(sum / (double)(m * n));
    mem_free(u);
}

Planted *planted_open(Device *dev)
{
    Planted *p = mem_take(1, sizeof *p);
    ModelConfig cfg = ref_model_config();
    TestRandom random = {21};

    assert_non_null(p);
    cfg.hidden_size = PLANTED_SIDE;
    cfg.head_dim = PLANTED_SIDE / cfg.num_attention_heads;
    p->base = saved_model(dev, &cfg, LT_F32, 3, &p->model);
    p->folder = test_folder();
    CHECK_OK(model_save(p->model, p->folder));
    saved_collect(&p->tensors, p->model);
    for (int i = 0; i < PLANTED_ENTRIES; i++)
        p->w[i] = 0.02 * test_normal(&random);
    return p;
}

void planted_close(Planted *p)
{
    model_free(p->model);
    mem_free(p);
}

static void write_q(Planted *p, const double *x, DType dtype, const char *folder, const char *file)
{
    StWrite *t = saved_item(&p->tensors, Q);

    for (int i = 0; i < PLANTED_ENTRIES; i++) {
        p->wide[i] = (float)x[i];
        p->narrow[i] = dtype == LT_BF16 ? f32_to_bf16(p->wide[i]) : f32_to_f16(p->wide[i]);
    }
    t->data = dtype == LT_F32 ? (const void *)p->wide : p->narrow;
    t->dtype = st_dtype_name(dtype);
    saved_write(&p->tensors, folder, file);
}

/* As stored, and beside it what it was before, if that is kept. */
static void write_side(Planted *p, const double *x, DType dtype, bool masters, const char *folder)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/master.safetensors", folder);
    remove(path);
    if (masters)
        write_q(p, x, LT_F32, folder, "master.safetensors");
    write_q(p, x, dtype, folder, "model.safetensors");
}

static void write_cell(Planted *p, const PlantedCell *c)
{
    TestRandom random = {5};

    planted_change(p->d, PLANTED_SIDE, PLANTED_SIDE, c->rms * sqrt(1 - c->spread), 2);
    for (int i = 0; i < PLANTED_ENTRIES; i++) {
        const double stored = planted_round(p->w[i], c->from_masters ? LT_F32 : c->base), from = c->cast ? planted_round(stored, c->tuned) : stored;

        p->d[i] += c->rms * sqrt(c->spread) * test_normal(&random);
        p->value[i] = (double)(float)(from + p->d[i]);
    }
    write_side(p, p->w, c->base, c->base_masters, p->base);
    write_side(p, p->value, c->tuned, c->masters, p->folder);
}

void planted_run(Planted *p, const PlantedCell *c, DeltaFacts *facts)
{
    const DeltaSettings settings = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};
    MatrixFolder base;
    DeltaPair pair;
    ParamList list;

    write_cell(p, c);
    CHECK_OK(matrix_folder_open(&base, p->base, NULL));
    CHECK_OK(delta_open(&pair, &base, p->folder, &settings));
    CHECK_OK(params_build(&list, &base.variant.checkpoint->cfg));
    CHECK_OK(delta_read(&pair, params_find(&list, PARAM_Q, 0), p->value, facts));
    params_release(&list);
    delta_close(&pair);
    matrix_folder_close(&base);
}
