#include "tests/ref_ops.h"

#include <math.h>

void ref_rmsnorm(double *y, double *rstd, const double *x, const double *w, int64_t rows, int64_t n_group, int64_t n, double eps)
{
    for (int64_t g = 0; g < rows * n_group; g++) {
        double sum = 0, scale;

        for (int64_t i = 0; i < n; i++)
            sum += x[g * n + i] * x[g * n + i];
        scale = 1 / sqrt(sum / (double)n + eps);
        for (int64_t i = 0; i < n; i++)
            y[g * n + i] = x[g * n + i] * scale * w[i];
        if (rstd != NULL)
            rstd[g] = scale;
    }
}

void ref_rope(double *x, const double *cos, const double *sin, const int32_t *row, int64_t rows, int64_t n_head, int64_t half, int direction)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t head = 0; head < n_head; head++) {
            double *p = x + (r * n_head + head) * 2 * half;

            for (int64_t i = 0; i < half; i++) {
                const double c = cos[row[r] * half + i], s = direction * sin[row[r] * half + i], a = p[i], b = p[i + half];

                p[i] = a * c - b * s;
                p[i + half] = b * c + a * s;
            }
        }
    }
}

void ref_swiglu(double *y, const double *gate_up, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            y[r * n + i] = gate_up[r * 2 * n + i] / (1 + exp(-gate_up[r * 2 * n + i])) * gate_up[r * 2 * n + n + i];
}

static int64_t key_row(const AttnSegment *s, int64_t position)
{
    return position < s->ctx_len ? s->ctx_begin + position : s->own_begin + position - s->ctx_len;
}

/* One query of one head: its largest score first, then everything relative to it. */
static void attend(const RefAttn *a, const AttnSegment *s, int64_t i, int64_t head)
{
    const int64_t size = a->size, kv = head / (a->n_head / a->n_kv_head), q_cols = a->n_head * size, k_cols = a->n_kv_head * size;
    const int64_t row = s->q_begin + i, last = s->ctx_len + i, first = a->window > 0 && last - a->window + 1 > 0 ? last - a->window + 1 : 0;
    double *o = a->o + row * q_cols + head * size, max = -INFINITY, mass = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (int64_t d = 0; d < size; d++)
            o[d] = 0;
        for (int64_t position = first; position <= last; position++) {
            const int64_t at = key_row(s, position) * k_cols + kv * size;
            double score = 0;

            for (int64_t d = 0; d < size; d++)
                score += a->q[row * q_cols + head * size + d] * a->k[at + d];
            score *= a->scale;
            if (pass == 0) {
                max = score > max ? score : max;
                continue;
            }
            mass += exp(score - max);
            for (int64_t d = 0; d < size; d++)
                o[d] += exp(score - max) * a->v[at + d];
        }
    }
    for (int64_t d = 0; d < size; d++)
        o[d] /= mass;
    if (a->lse != NULL)
        a->lse[row * a->n_head + head] = max + log(mass);
}

void ref_attn(const RefAttn *a)
{
    for (int32_t s = 0; s < a->n_seg; s++)
        for (int64_t i = 0; i < a->seg[s].q_len; i++)
            for (int64_t head = 0; head < a->n_head; head++)
                attend(a, &a->seg[s], i, head);
}

double ref_lse(const double *x, int64_t n)
{
    double max = -INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    return max + log(sum);
}

void ref_pair_logprob(double *lp, const double *logits, const int32_t *row, const int32_t *target, int64_t n_pair, int64_t n)
{
    for (int64_t p = 0; p < n_pair; p++)
        lp[p] = logits[row[p] * n + target[p]] - ref_lse(logits + row[p] * n, n);
}

int64_t ref_argmax(const double *x, int64_t n)
{
    int64_t best = 0;

    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i]))
            return i;
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

/* Insertion by descending number, ascending index. */
static void rank_ids(int32_t *order, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;

        for (; at > 0 && x[order[at - 1]] < x[i]; at--)
            order[at] = order[at - 1];
        order[at] = (int32_t)i;
    }
}

int64_t ref_sample_shares(double *share, int32_t *order, const double *x, int64_t n, double temperature, int64_t top_k, double top_p)
{
    const bool cut = top_k > 0 || top_p < 1;
    double mass = 0, kept = 0;
    int64_t count = n;

    rank_ids(order, x, n);
    for (int64_t k = top_k; k > 0 && k < count; k++)
        if (x[order[k]] < x[order[k - 1]])
            count = k;
    const double best = x[order[0]];
    for (int64_t i = 0; i < n && !cut; i++)
        order[i] = (int32_t)i;
    for (int64_t k = 0; k < count; k++)
        mass += share[k] = exp((x[order[k]] - best) / temperature);
    for (int64_t k = 0; k < count; k++) {
        if (k > 0 && kept >= top_p * mass)
            count = k;
        else
            kept += share[k];
    }
    for (int64_t k = 0; k < count; k++)
        share[k] /= kept;
    return count;
}

void ref_xent(double *loss, double *dlogits, const double *logits, const int32_t *target, const double *weight, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) {
        const double *x = logits + r * n, lse = ref_lse(x, n);
        const bool counts = target[r] != -100 && weight[r] != 0;

        loss[r] = counts ? weight[r] * (lse - x[target[r]]) : 0;
        for (int64_t i = 0; i < n && dlogits != NULL; i++)
            dlogits[r * n + i] = counts ? weight[r] * (exp(x[i] - lse) - (i == target[r])) : 0;
    }
}
