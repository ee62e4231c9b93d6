/* Adapters extracted from full fine-tunes: as near as a matrix of that rank can come, and read back as any adapter is. */
#include "tests/check.h"

#include "analysis/extract.h"
#include "analysis/matrix_values.h"
#include "core/file.h"
#include "core/json.h"
#include "tests/program.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static Device *dev;

static int begin(void **state)
{
    (void)state;
    setenv("LETHE_CACHE", test_folder(), 1);
    CHECK_OK(device_open(&dev, test_device(), 0));
    return 0;
}

static int end(void **state)
{
    (void)state;
    device_close(dev);
    return 0;
}

/* |change - adapter|^2, and what the best matrix of each rank leaves of it, summed over the matrices of the blocks. */
typedef struct Distance {
    double left, best, change;
    int64_t most_rank;
} Distance;

static void measure_matrix(Distance *d, const DeltaPair *full, const DeltaPair *adapter, const ParamEntry *e)
{
    const ParamEntry *a = delta_factors(adapter, e);
    const int64_t m = e->rows, n = e->cols, q = m < n ? m : n, k = a != NULL ? a->rows : 0;
    double *value = mem_take((size_t)(m * n), sizeof *value), *sigma = mem_take((size_t)q, sizeof *sigma);
    DeltaFacts facts;

    assert_true(value != NULL && sigma != NULL);
    CHECK_OK(delta_read(full, e, value, &facts));
    for (int64_t i = 0; i < m * n; i++) {
        double x = value[i];

        d->change += x * x;
        for (int64_t l = 0; l < k; l++)
            x -= a->scale * (double)((const float *)a[1].value.data)[i / n * k + l] * (double)((const float *)a->value.data)[l * n + i % n];
        d->left += x * x;
    }
    CHECK_OK(matrix_values(dev, sigma, value, m, n, VALUES_SVD));
    for (int64_t i = k; i < q; i++)
        d->best += sigma[i] * sigma[i];
    d->most_rank = k > d->most_rank ? k : d->most_rank;
    mem_free(sigma);
    mem_free(value);
}

static Distance measure(const char *base_path, const char *full_path, const char *adapter_path)
{
    const DeltaSettings settings = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};
    DeltaPair full, adapter;
    Distance d = {0};
    MatrixFolder base;
    ParamList list;

    CHECK_OK(matrix_folder_open(&base, base_path, NULL));
    CHECK_OK(delta_open(&full, &base, full_path, &settings));
    CHECK_OK(delta_open(&adapter, &base, adapter_path, &settings));
    CHECK_OK(params_build(&list, &base.variant.checkpoint->cfg));
    for (size_t i = 0; i < list.count; i++)
        if (list.entry[i].row->lora_target)
            measure_matrix(&d, &full, &adapter, &list.entry[i]);
    params_release(&list);
    delta_close(&adapter);
    delta_close(&full);
    matrix_folder_close(&base);
    return d;
}

static const char *new_folder(void)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/adapter", test_folder());
    return path;
}

/* F32 factors: each of the m n entries of a matrix is off by some 2^-24 of what it holds. */
static void check_distance(const Distance *d, const ExtractResult *r)
{
    check_close("left over", sqrt(d->left), sqrt(d->best), 1e-6 * sqrt(d->change), 1e-6);
    check_close("energy", r->energy, d->change, 0, 1e-12);
    check_close("kept", r->energy - r->kept, d->best, 1e-11 * d->change, 1e-9);
    assert_int_equal(r->most_rank, d->most_rank);
}

static void test_extract_is_the_best_of_its_rank(void **state)
{
    const char *base = test_data("data/models/stories260K");
    char full[1024];
    ExtractResult r;

    (void)state;
    snprintf(full, sizeof full, "%s", test_data("golden/delta/stories260K_ft"));
    for (int64_t rank = 1; rank <= 64; rank *= 8) {
        const ExtractOptions o = {.base = base, .tuned = full, .out = new_folder(), .rank = rank};

        CHECK_OK(extract_adapter(dev, &o, &r));
        const Distance d = measure(base, full, o.out);
        check_distance(&d, &r);
        assert_int_equal(r.n_matrix, 35);
        assert_int_equal(r.most_rank, rank);
        assert_int_equal(r.least_rank, rank < 32 ? rank : 32); /* k and v have no more */
        assert_true(r.outside > 0); /* the embedding was trained too */
    }
}

/* The ranks are the golden r90. */
static void test_extract_by_energy(void **state)
{
    const ExtractOptions o = {.base = test_data("data/models/stories260K"), .tuned = test_data("golden/delta/stories260K_ft"), .out = new_folder(), .energy = .9};
    int64_t most = 0, least = INT64_MAX;
    ExtractResult r;
    const char *name;
    json_t *golden, *row;

    (void)state;
    CHECK_OK(extract_adapter(dev, &o, &r));
    const Distance d = measure(o.base, o.tuned, o.out);
    check_distance(&d, &r);
    assert_true(r.kept >= .9 * r.energy && r.kept < .96 * r.energy);
    CHECK_OK(json_load_path(&golden, test_data("golden/delta/spectra.json"), 16 << 20));
    json_object_foreach(json_object_get(golden, "full_f32"), name, row) {
        const int64_t k = json_integer_value(json_object_get(row, "k90"));

        if (strstr(name, "embed") != NULL)
            continue;
        most = k > most ? k : most;
        least = k < least ? k : least;
    }
    assert_int_equal(r.most_rank, most);
    assert_int_equal(r.least_rank, least);
    json_decref(golden);
}

/* One matrix that has changed, by a matrix of rank 2: the adapter is that, and no more. */
static void test_extract_takes_no_more_than_there_is(void **state)
{
    const ModelConfig cfg = ref_model_config();
    SavedTensors tensors;
    ExtractResult r;
    Model *model;

    (void)state;
    const char *base = saved_model(dev, &cfg, LT_F32, 3, &model), *tuned = test_folder();
    CHECK_OK(model_save(model, tuned));
    ExtractOptions o = {.base = base, .tuned = tuned, .out = new_folder(), .rank = 4};
    CHECK_FAILS(extract_adapter(dev, &o, &r), LT_E_INPUT, "has changed");
    assert_false(dir_exists(o.out));

    saved_collect(&tensors, model);
    StWrite *t = saved_item(&tensors, "model.layers.1.mlp.up_proj.weight");
    float *x = (float *)(uintptr_t)t->data;
    for (int64_t j = 0; j < t->shape[1]; j++) { /* whole numbers far above the weights' own bits: differences are exact */
        x[j] = truncf(x[j]) + 3;
        x[t->shape[1] + j] = truncf(x[t->shape[1] + j]) + (float)(j % 5);
    }
    saved_write(&tensors, tuned, "model.safetensors");
    for (int64_t j = 0; j < t->shape[1]; j++) { /* the base without the fractions, so that rows 0 and 1 are all the change */
        x[j] -= 3;
        x[t->shape[1] + j] -= (float)(j % 5);
    }
    saved_write(&tensors, base, "model.safetensors");
    CHECK_OK(extract_adapter(dev, &o, &r));
    assert_int_equal(r.n_matrix, 1);
    assert_int_equal(r.most_rank, 2);
    assert_true(r.outside <= 0);
    const Distance d = measure(base, tuned, o.out);
    check_distance(&d, &r);
    CHECK_FAILS(extract_adapter(dev, &o, &r), LT_E_USAGE, "2 files found");
    o.tuned = o.out;
    o.out = test_folder();
    CHECK_FAILS(extract_adapter(dev, &o, &r), LT_E_INPUT, "an adapter found");
    model_free(model);
}

static void test_extract_as_a_user_calls_it(void **state)
{
    const char *base = test_data("data/models/stories260K");
    char full[1024];
    ProgramRun run;
    json_t *root;

    (void)state;
    snprintf(full, sizeof full, "%s", test_data("golden/delta/stories260K_ft"));
    program_run(&run, "", ARGUMENTS("extract", base, full, "--rank", "4", "--out", new_folder(), "--json"));
    assert_int_equal(run.code, 0);
    CHECK_OK(json_parse(&root, strbuf_str(&run.out), "stdout", 0));
    assert_int_equal(json_integer_value(json_object_get(root, "matrices")), 35);
    json_decref(root);
    assert_non_null(strstr(run.err.data, "embedding"));
    program_release(&run);
    program_run(&run, "", ARGUMENTS("extract", base, full, "--out", new_folder()));
    assert_int_equal(run.code, 2);
    program_release(&run);
    program_run(&run, "", ARGUMENTS("extract", base, full, "--rank", "4", "--energy", ".5", "--out", new_folder()));
    assert_int_equal(run.code, 2);
    program_release(&run);
}

/* The random way, where few values of many are asked for: a planted low rank under a floor of noise. */
static void test_top_of_a_large_matrix(void **state)
{
    enum { M = 600, N = 700, K = 5 };
    double *value = mem_take(2 * M * N + M + (M + N + 1) * K, sizeof *value);
    TestRandom random = {5};

    (void)state;
    assert_non_null(value);
    double *copy = value + M * N, *sigma = copy + M * N, *u = sigma + M, *vt = u + M * K, *top = vt + K * N;
    for (int l = 0; l < K; l++)
        for (int i = 0; i < M + N; i++)
            *(i < M ? &u[i * K + l] : &vt[l * N + i - M]) = test_normal(&random);
    for (int64_t i = 0; i < M * N; i++) {
        value[i] = 0.1 * test_normal(&random);
        for (int l = 0; l < K; l++)
            value[i] += (l + 1) * u[i / N * K + l] * vt[l * N + i % N];
    }
    memcpy(copy, value, M * N * sizeof *copy);
    CHECK_OK(matrix_top(dev, u, top, vt, value, M, N, K));
    memcpy(value, copy, M * N * sizeof *copy);
    CHECK_OK(matrix_values(dev, sigma, copy, M, N, VALUES_SVD));
    for (int l = 0; l < K; l++)
        check_close("sigma", top[l], sigma[l], 1e-9 * sigma[0], 0);
    double left = 0, best = 0;
    for (int64_t i = 0; i < M * N; i++) {
        for (int l = 0; l < K; l++)
            value[i] -= u[i / N * K + l] * top[l] * vt[l * N + i % N];
        left += value[i] * value[i];
    }
    for (int i = K; i < M; i++)
        best += sigma[i] * sigma[i];
    check_close("left over", left, best, 0, 1e-9);
    mem_free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_extract_is_the_best_of_its_rank, begin),
        cmocka_unit_test(test_extract_by_energy),
        cmocka_unit_test(test_extract_takes_no_more_than_there_is),
        cmocka_unit_test(test_extract_as_a_user_calls_it),
        cmocka_unit_test_teardown(test_top_of_a_large_matrix, end),
    };
    return TEST_MAIN(tests);
}
