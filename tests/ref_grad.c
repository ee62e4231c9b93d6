#include "tests/ref_grad.h"

#include "core/random.h"

#include <math.h>

void ref_rmsnorm_grad(double *dx, double *dw, const double *dy, const double *x, const double *w, int64_t rows, int64_t n_group, int64_t n,
                      double eps)
{
    for (int64_t g = 0; g < rows * n_group; g++, dx += n, dy += n, x += n) {
        double square = 0, product = 0, rstd;

        for (int64_t i = 0; i < n; i++) {
            square += x[i] * x[i];
            product += dy[i] * w[i] * x[i];
        }
        rstd = 1 / sqrt(square / (double)n + eps);
        for (int64_t i = 0; i < n; i++) {
            dw[i] += dy[i] * x[i] * rstd;
            dx[i] = rstd * dy[i] * w[i] - rstd * rstd * rstd / (double)n * product * x[i];
        }
    }
}

void ref_swiglu_grad(double *dgate_up, const double *dy, const double *gate_up, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            const double gate = gate_up[r * 2 * n + i], up = gate_up[r * 2 * n + n + i], s = 1 / (1 + exp(-gate)), d = dy[r * n + i];

            dgate_up[r * 2 * n + i] = d * up * (s + gate * s * (1 - s));
            dgate_up[r * 2 * n + n + i] = d * gate * s;
        }
}

void ref_embed_grad(double *dw, const double *dy, const int32_t *id, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            dw[id[i] * n + j] += dy[i * n + j];
}

void ref_bias_grad(double *db, const double *dy, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            db[j] += dy[i * n + j];
}

/* ---- attention ----------------------------------------------------------------------------------------------------------- */

typedef struct RefPair { /* a query of a head and a key it sees: where they lie, and how they meet */
    int64_t q, k;
    double p, factor;
} RefPair;

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double drop_factor(const RefAttnDrop *a, int64_t row, int64_t col)
{
    const uint64_t at = (uint64_t)(a->key.first_row + row);
    const uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), (uint32_t)(col / 4), a->key.step};
    const uint32_t key[2] = {(uint32_t)a->key.seed, (uint32_t)(a->key.seed >> 32) ^ (a->key.layer << 8 | a->key.site)};
    uint32_t word[4];

    philox4x32(counter, key, word);
    return (double)philox_unit(word[col % 4]) >= a->p ? 1 / (1 - a->p) : 0;
}

/* The pair of query i and the key at `position`, p relative to `lse`. */
static RefPair pair_of(const RefAttnDrop *a, const AttnSegment *s, int64_t i, int64_t position, int64_t head, double lse)
{
    const RefAttn *f = &a->attn;
    const int64_t q = ((s->q_begin + i) * f->n_head + head) * f->size, kv = head / (f->n_head / f->n_kv_head);
    const int64_t key = position < s->ctx_len ? s->ctx_begin + position : s->own_begin + position - s->ctx_len;
    const int64_t k = (key * f->n_kv_head + kv) * f->size;

    return (RefPair){q, k, exp(f->scale * dot(f->q + q, f->k + k, f->size) - lse), drop_factor(a, (s->q_begin + i) * f->n_head + head, position)};
}

static int64_t first_seen(const RefAttn *f, int64_t last) { return f->window > 0 && last >= f->window ? last - f->window + 1 : 0; }

void ref_attn_drop(const RefAttnDrop *a)
{
    const RefAttn *f = &a->attn;

    ref_attn(f); /* for lse */
    for (int32_t n = 0; n < f->n_seg; n++)
        for (int64_t i = 0; i < f->seg[n].q_len; i++)
            for (int64_t head = 0; head < f->n_head; head++) {
                const AttnSegment *s = &f->seg[n];
                const int64_t row = (s->q_begin + i) * f->n_head + head, last = s->ctx_len + i;

                for (int64_t d = 0; d < f->size; d++)
                    f->o[row * f->size + d] = 0;
                for (int64_t at = first_seen(f, last); at <= last; at++) {
                    const RefPair pair = pair_of(a, s, i, at, head, f->lse[row]);

                    for (int64_t d = 0; d < f->size; d++)
                        f->o[row * f->size + d] += pair.factor * pair.p * f->v[pair.k + d];
                }
            }
}

/* to += factor from; the sum of the squares of what was added. */
static double add_scaled(double *to, double factor, const double *from, int64_t n)
{
    for (int64_t d = 0; d < n; d++)
        to[d] += factor * from[d];
    return factor * factor * dot(from, from, n);
}

static void add_pair(RefTerms *terms, const RefAttnGrad *a, RefPair pair, double delta)
{
    const RefAttn *f = &a->fwd.attn;
    const double *d_o = a->d_o + pair.q, ds = pair.p * (pair.factor * dot(d_o, f->v + pair.k, f->size) - delta);

    terms->dv += add_scaled(a->dv + pair.k, pair.factor * pair.p, d_o, f->size);
    terms->dq += add_scaled(a->dq + pair.q, f->scale * ds, f->k + pair.k, f->size);
    terms->dk += add_scaled(a->dk + pair.k, f->scale * ds, f->q + pair.q, f->size);
}

RefTerms ref_attn_grad(const RefAttnGrad *a)
{
    const RefAttn *f = &a->fwd.attn;
    RefTerms terms = {0};

    for (int32_t n = 0; n < f->n_seg; n++)
        for (int64_t i = 0; i < f->seg[n].q_len; i++)
            for (int64_t head = 0; head < f->n_head; head++) {
                const int64_t row = (f->seg[n].q_begin + i) * f->n_head + head;
                const double delta = dot(a->d_o + row * f->size, f->o + row * f->size, f->size);

                for (int64_t at = first_seen(f, i); at <= i; at++)
                    add_pair(&terms, a, pair_of(&a->fwd, &f->seg[n], i, at, head, f->lse[row]), delta);
            }
    return terms;
}
