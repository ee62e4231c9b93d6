/* Singular values in F64, values only: our Gram matrix and its eigenvalues (the default of lethe spectrum) beside LAPACK's dgesdd called directly with all
 * threads and beside numpy.linalg.svd where python3 has it, seconds a matrix; then the seven matrices of one layer of Llama-2-7B.
 *   bench_spectra [--large yes]     default: 1024 and 2048 square; large: 4096 square, 4096 x 11008 and the layer too (minutes)
 * Floor: the Gram matrix (q q p FLOPs, q the shorter side) and the reduction of its triangle (4/3 q^3) at the speed of OpenBLAS' F64 product. */
#include "benchmarks/bench.h"
#include "core/clock.h"
#include "core/mem.h"
#include "kernels/cpu/lapack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 3 };

/* Sums of uniform numbers are near enough to normal ones: the time does not depend on them. */
static void fill(double *value, int64_t n)
{
    uint64_t state = 1;

    for (int64_t i = 0; i < n; i++) {
        double sum = 0;

        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(int32_t)(state >> 32) * 0x1p-32;
        }
        value[i] = sum;
    }
}

static double time_gram(Device *dev, double *sigma, Tensor a)
{
    const double start = clock_s();

    BENCH_TRY(op_gram_values(dev, sigma, a));
    return clock_s() - start;
}

/* FLOP/s of OpenBLAS' F64 product of 1024 rows and columns with all threads. */
static double f64_rate(Device *dev)
{
    enum { N = 1024 };
    const Lapack *lapack;
    double *value = mem_take((size_t)3 * N * N, sizeof *value), best = 0;

    BENCH_TRY(lapack_of(dev, &lapack));
    BENCH_TRY(value != NULL ? LT_OK : LT_E_NOMEM);
    fill(value, (int64_t)2 * N * N);
    lapack->set_num_threads(pool_threads(device_pool(dev)));
    for (int i = 0; i < SAMPLES; i++) {
        const double start = clock_s();

        lapack->dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, value, N, value + N * N, N, 0, value + 2 * N * N, N);
        best = fmax(best, 2.0 * N * N * N / (clock_s() - start));
    }
    lapack->set_num_threads(1);
    mem_free(value);
    return best;
}

/* dgesdd, job N, on a copy; the row-major matrix is its transpose to LAPACK, which has the same values. */
static double time_lapack(Device *dev, const double *value, int64_t m, int64_t n)
{
    const Lapack *lapack;
    double *copy = mem_take((size_t)(m * n), sizeof *copy), *sigma = mem_take((size_t)(m < n ? m : n), sizeof *sigma), best = INFINITY, query;
    lapack_int *index = mem_take((size_t)(8 * (m < n ? m : n)), sizeof *index);

    BENCH_TRY(lapack_of(dev, &lapack));
    BENCH_TRY(copy != NULL && sigma != NULL && index != NULL ? LT_OK : LT_E_NOMEM);
    const lapack_int rows = (lapack_int)n, cols = (lapack_int)m;
    BENCH_TRY(lapack_done(lapack->dgesdd(LAPACK_COL_MAJOR, 'N', rows, cols, copy, rows, sigma, NULL, 1, NULL, 1, &query, -1, index), "bench", "dgesdd", (Tensor){0}));
    double *work = mem_take((size_t)query, sizeof *work);
    BENCH_TRY(work != NULL ? LT_OK : LT_E_NOMEM);
    lapack->set_num_threads(pool_threads(device_pool(dev)));
    for (int i = 0; i < (m < 4096 ? SAMPLES : 1); i++) {
        memcpy(copy, value, (size_t)(m * n) * sizeof *copy);
        const double start = clock_s();
        BENCH_TRY(lapack_done(lapack->dgesdd(LAPACK_COL_MAJOR, 'N', rows, cols, copy, rows, sigma, NULL, 1, NULL, 1, work, (lapack_int)query, index), "bench",
                              "dgesdd", (Tensor){0}));
        best = fmin(best, clock_s() - start);
    }
    lapack->set_num_threads(1);
    mem_free(work);
    mem_free(index);
    mem_free(sigma);
    mem_free(copy);
    return best;
}

/* NaN where there is no numpy. */
static double time_numpy(int64_t m, int64_t n)
{
    char command[512];
    double seconds = NAN;

    snprintf(command, sizeof command,
             "python3 -c \"import time, numpy as np; a = np.random.default_rng(0).standard_normal((%lld, %lld)); t = []\n"
             "for _ in range(%d):\n s = time.perf_counter(); np.linalg.svd(a, compute_uv=False); t.append(time.perf_counter() - s)\n"
             "print(min(t))\" 2>/dev/null",
             (long long)m, (long long)n, m < 4096 ? SAMPLES : 1);
    FILE *f = popen(command, "r");
    if (f == NULL)
        return NAN;
    if (fscanf(f, "%lf", &seconds) != 1)
        seconds = NAN;
    pclose(f);
    return seconds;
}

static double measure(Device *dev, int64_t m, int64_t n, double flops_s, bool beside)
{
    const int64_t q = m < n ? m : n, p = m < n ? n : m;
    double *value = mem_take((size_t)(m * n), sizeof *value), *sigma = mem_take((size_t)q, sizeof *sigma), ours = INFINITY;
    const double flops = (double)q * (double)q * (double)p + 4.0 / 3.0 * pow((double)q, 3);

    BENCH_TRY(value != NULL && sigma != NULL ? LT_OK : LT_E_NOMEM);
    fill(value, m * n);
    for (int i = 0; i < (q < 4096 ? SAMPLES : 1); i++)
        ours = fmin(ours, time_gram(dev, sigma, tensor_of(value, LT_F64, m, n)));
    if (beside) {
        const double lapack = time_lapack(dev, value, m, n), numpy = time_numpy(m, n);

        printf("%5lld x %-5lld  ours %7.3f s (%2.0f %% of the floor)   dgesdd %7.3f s (%4.1f times ours)   numpy %7.3f s (%4.1f times ours)\n",
               (long long)m, (long long)n, ours, 100 * flops / flops_s / ours, lapack, lapack / ours, numpy, numpy / ours);
        fflush(stdout);
    }
    mem_free(sigma);
    mem_free(value);
    return ours;
}

int main(int argc, char **argv)
{
    const bool large = strcmp(bench_option(argc, argv, "--large", "no"), "yes") == 0;
    Device *dev;

    BENCH_TRY(device_open(&dev, "cpu", 0));
    const double flops_s = f64_rate(dev);
    printf("%s; F64 product %.1f GFLOP/s; best of %d\n", device_description(dev), flops_s * 1e-9, SAMPLES);
    measure(dev, 1024, 1024, flops_s, true);
    measure(dev, 2048, 2048, flops_s, true);
    if (large) {
        const double square = measure(dev, 4096, 4096, flops_s, true), mlp = measure(dev, 4096, 11008, flops_s, true);
        const double layer = 4 * square + 3 * mlp;

        printf("a layer of Llama-2-7B (4 of 4096 x 4096, 3 of 4096 x 11008): %.1f s; its 32 layers %.0f min\n", layer, 32 * layer / 60);
    }
    device_close(dev);
    return 0;
}
