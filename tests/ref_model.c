#include "tests/ref_model.h"

#include "core/mem.h"
#include "model/convert.h"
#include "tests/check.h"

#include <math.h>

ModelConfig ref_model_config(void)
{
    return (ModelConfig){
        .arch = &architectures[0],
        .vocab_size = 50,
        .hidden_size = 20,
        .intermediate_size = 28,
        .num_hidden_layers = 2,
        .num_attention_heads = 4,
        .num_key_value_heads = 2,
        .head_dim = 6,
        .max_position_embeddings = 128,
        .rms_norm_eps = 1e-5,
        .initializer_range = 0.3, /* large enough for attention to prefer some keys */
        .rope = {.type = ROPE_DEFAULT, .theta = 10000, .factor = 1, .original_max_position = 128},
        .bos_token_id = 1,
        .pad_token_id = -1,
        .eos_token_id = {2},
        .n_eos = 1,
    };
}

void ref_model_disturb(Model *m, uint64_t seed)
{
    TestRandom random = {seed};

    for (size_t i = 0; i < m->params.count; i++) {
        const ParamEntry *e = &m->params.entry[i];

        if (e->row->init == INIT_NORMAL)
            continue;
        for (int64_t k = 0; k < e->cols; k++) {
            const float x = (float)(test_normal(&random) * 0.1) + (e->row->init == INIT_ONE ? 1.0f : 0.0f);
            bool lossy = false;

            uint32_t element = 0;

            weights_convert(&element, m->dtype, &x, LT_F32, 1, &lossy);
            CHECK_OK(device_upload(m->dev, tensor_cols(e->value, k, 1), &element));
        }
    }
}

/* The model with its weights in host memory, wherever its device has them. */
static Model model_on_host(const Model *m)
{
    Model host = *m;

    CHECK_OK(MEM_NEW(host.params.entry, m->params.count));
    for (size_t i = 0; i < m->params.count; i++) {
        ParamEntry *e = &host.params.entry[i];

        *e = m->params.entry[i];
        e->value.data = mem_take((size_t)(e->rows * e->cols), dtype_bytes(e->value.dtype));
        assert_non_null(e->value.data);
        CHECK_OK(device_download(m->dev, e->value.data, m->params.entry[i].value));
    }
    return host;
}

static void host_model_release(Model *host)
{
    for (size_t i = 0; i < host->params.count; i++)
        mem_free(host->params.entry[i].value.data);
    mem_free(host->params.entry);
}

/* ---- pieces --------------------------------------------------------------------------------------------------------------- */


static double at(const ParamEntry *e, int64_t row, int64_t col)
{
    return (double)weights_at(e->value.data, e->value.dtype, row * e->cols + col);
}

/* y[n, out] = x[n, in] w^T + bias */
static void linear(double *y, const double *x, int n, const ParamEntry *w, const ParamEntry *bias)
{
    for (int t = 0; t < n; t++)
        for (int64_t o = 0; o < w->rows; o++) {
            double sum = bias == NULL ? 0 : at(bias, 0, o);

            for (int64_t i = 0; i < w->cols; i++)
                sum += x[t * w->cols + i] * at(w, o, i);
            y[t * w->rows + o] = sum;
        }
}

/* Groups of w->cols columns are normed each on its own. */
static void norm(double *y, const double *x, int64_t n_group, const ParamEntry *w, double eps)
{
    const int64_t c = w->cols;

    for (int64_t g = 0; g < n_group; g++) {
        double sum = 0;

        for (int64_t i = 0; i < c; i++)
            sum += x[g * c + i] * x[g * c + i];
        for (int64_t i = 0; i < c; i++)
            y[g * c + i] = x[g * c + i] / sqrt(sum / (double)c + eps) * at(w, 0, i);
    }
}

static void rotate(double *x, int n, int64_t heads, const ModelConfig *cfg)
{
    const int64_t d = cfg->head_dim, half = d / 2;
    float inv[128], factor;

    rope_frequencies(cfg, n, inv, &factor);
    for (int t = 0; t < n; t++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < half; i++) {
                const float angle = (float)t * inv[i];
                const double c = (double)((float)cos((double)angle) * factor), s = (double)((float)sin((double)angle) * factor);
                double *p = x + (t * heads + h) * d + i, a = p[0], b = p[half];

                p[0] = a * c - b * s;
                p[half] = b * c + a * s;
            }
}

static void attend(double *o, const double *q, const double *k, const double *v, int n, const ModelConfig *cfg, int64_t window)
{
    const int64_t d = cfg->head_dim, heads = cfg->num_attention_heads, kv = cfg->num_key_value_heads;
    double p[512];

    for (int t = 0; t < n; t++)
        for (int64_t h = 0; h < heads; h++) {
            const int64_t g = h / (heads / kv);
            double top = -INFINITY, sum = 0;

            for (int j = 0; j <= t; j++) {
                p[j] = 0;
                for (int64_t i = 0; i < d; i++)
                    p[j] += q[(t * heads + h) * d + i] * k[(j * kv + g) * d + i] / sqrt((double)d);
                if (window > 0 && j <= t - window)
                    p[j] = -INFINITY;
                top = fmax(top, p[j]);
            }
            for (int j = 0; j <= t; j++)
                sum += p[j] = exp(p[j] - top);
            for (int64_t i = 0; i < d; i++) {
                double value = 0;

                for (int j = 0; j <= t; j++)
                    value += p[j] / sum * v[(j * kv + g) * d + i];
                o[(t * heads + h) * d + i] = value;
            }
        }
}

/* ---- the model ------------------------------------------------------------------------------------------------------------ */

typedef struct Scratch {
    double *h, *q, *k, *v, *o, *gate, *up, *y;
} Scratch;

static double *room(int64_t n)
{
    double *block = mem_take((size_t)n, sizeof *block);

    assert_non_null(block);
    return block;
}

static void layer_forward(const Model *m, int32_t layer, double *x, int n, const Scratch *s)
{
    const ModelConfig *cfg = &m->cfg;
    const int64_t c = cfg->hidden_size, f = cfg->intermediate_size;
    const ParamList *p = &m->params;

    norm(s->h, x, n, params_find(p, PARAM_ATTN_NORM, layer), cfg->rms_norm_eps);
    linear(s->q, s->h, n, params_find(p, PARAM_Q, layer), params_find(p, PARAM_Q_BIAS, layer));
    linear(s->k, s->h, n, params_find(p, PARAM_K, layer), params_find(p, PARAM_K_BIAS, layer));
    linear(s->v, s->h, n, params_find(p, PARAM_V, layer), params_find(p, PARAM_V_BIAS, layer));
    if (cfg->qk_norm) {
        norm(s->q, s->q, n * cfg->num_attention_heads, params_find(p, PARAM_Q_NORM, layer), cfg->rms_norm_eps);
        norm(s->k, s->k, n * cfg->num_key_value_heads, params_find(p, PARAM_K_NORM, layer), cfg->rms_norm_eps);
    }
    rotate(s->q, n, cfg->num_attention_heads, cfg);
    rotate(s->k, n, cfg->num_key_value_heads, cfg);
    attend(s->o, s->q, s->k, s->v, n, cfg, config_window(cfg, layer));
    linear(s->y, s->o, n, params_find(p, PARAM_O, layer), params_find(p, PARAM_O_BIAS, layer));
    for (int64_t i = 0; i < n * c; i++)
        x[i] += s->y[i];
    norm(s->h, x, n, params_find(p, PARAM_MLP_NORM, layer), cfg->rms_norm_eps);
    linear(s->gate, s->h, n, params_find(p, PARAM_GATE, layer), params_find(p, PARAM_GATE_BIAS, layer));
    linear(s->up, s->h, n, params_find(p, PARAM_UP, layer), params_find(p, PARAM_UP_BIAS, layer));
    for (int64_t i = 0; i < n * f; i++)
        s->up[i] *= s->gate[i] / (1 + exp(-s->gate[i]));
    linear(s->y, s->up, n, params_find(p, PARAM_DOWN, layer), params_find(p, PARAM_DOWN_BIAS, layer));
    for (int64_t i = 0; i < n * c; i++)
        x[i] += s->y[i];
}

void ref_model_logits(const Model *m, const int32_t *id, int n, double *logits)
{
    Model host = model_on_host(m);
    const ModelConfig *cfg = &m->cfg;
    const int64_t c = cfg->hidden_size, q = param_dim(cfg, DIM_Q), kv = param_dim(cfg, DIM_KV), f = cfg->intermediate_size;
    const ParamEntry *embed = params_find(&host.params, PARAM_EMBED, -1), *head = params_find(&host.params, PARAM_HEAD, -1);
    Scratch s = {room(n * c), room(n * q), room(n * kv), room(n * kv), room(n * q), room(n * f), room(n * f), room(n * c)};
    double *const blocks[] = {s.h, s.q, s.k, s.v, s.o, s.gate, s.up, s.y};
    double *x = room(n * c);

    for (int t = 0; t < n; t++)
        for (int64_t i = 0; i < c; i++)
            x[t * c + i] = at(embed, id[t], i);
    for (int32_t layer = 0; layer < cfg->num_hidden_layers; layer++)
        layer_forward(&host, layer, x, n, &s);
    norm(s.h, x, n, params_find(&host.params, PARAM_NORM, -1), cfg->rms_norm_eps);
    linear(logits, s.h, n, head != NULL ? head : embed, NULL);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(blocks[i]);
    mem_free(x);
    host_model_release(&host);
}

double ref_model_logprob(const double *logits, int64_t vocab, int32_t target)
{
    double top = -INFINITY, sum = 0;

    for (int64_t i = 0; i < vocab; i++)
        top = fmax(top, logits[i]);
    for (int64_t i = 0; i < vocab; i++)
        sum += exp(logits[i] - top);
    return logits[target] - top - log(sum);
}
