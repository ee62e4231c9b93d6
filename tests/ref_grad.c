#include "tests/ref_grad.h"

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
