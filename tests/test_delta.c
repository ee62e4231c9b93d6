/* Deltas against golden spectra: stories260K fine-tuned in full, stored F32 and BF16, and with LoRA. And what no pair of folders may be. */
#include "tests/check.h"

#include "analysis/delta.h"
#include "analysis/matrix_values.h"
#include "core/half.h"
#include "core/json.h"
#include "tests/made_factors.h"
#include "tests/ref_model.h"
#include "tests/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *golden;
static Device *dev;

static const DeltaSettings plain = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};

static int open_all(void **state)
{
    (void)state;
    setenv("LETHE_CACHE", test_folder(), 1);
    CHECK_OK(device_open(&dev, test_device(), 0));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    device_close(dev);
    json_decref(golden);
    return 0;
}

/* ---- golden --------------------------------------------------------------------------------------------------------------- */

static json_t *expected(const char *part, const char *name)
{
    if (golden == NULL)
        CHECK_OK(json_load_path(&golden, test_data("golden/delta/spectra.json"), 16 << 20));
    return json_object_get(json_object_get(golden, part), name);
}

/* Gram: an eigenvalue is off by 1e-11 of the largest at most. Small values of the product of factors: 1e-12 of the largest. */
static void check_values(const double *sigma, int64_t q, const json_t *want, bool squares)
{
    const json_t *list = json_object_get(want, "singular_values");
    const double first = json_real_value(json_array_get(list, 0));

    for (int64_t i = 0; i < q; i++) {
        const double w = i < (int64_t)json_array_size(list) ? json_real_value(json_array_get(list, (size_t)i)) : 0;

        if (squares)
            check_close("sigma^2", sigma[i] * sigma[i], w * w, 1e-11 * first * first, 0);
        else
            check_close("sigma", sigma[i], w, 1e-12 * first, 0);
    }
}

static void check_matrix(const DeltaPair *pair, const ParamEntry *e, const json_t *want, bool bf16, ValueMethod method)
{
    const ParamEntry *a = delta_factors(pair, e);
    const int64_t q = e->rows < e->cols ? e->rows : e->cols;
    double *value = mem_take((size_t)(e->rows * e->cols), sizeof *value), *sigma = mem_take((size_t)q, sizeof *sigma);
    DeltaFacts facts;

    assert_true(value != NULL && sigma != NULL);
    CHECK_OK(delta_read(pair, e, a != NULL ? NULL : value, &facts));
    if (a != NULL) {
        CHECK_OK(matrix_product_values(dev, sigma, a));
        assert_true(facts.noise <= 0);
        for (int64_t i = a->rows; i < q; i++)
            assert_true(sigma[i] >= 0 && sigma[i] <= 0);
    } else {
        CHECK_OK(matrix_values(dev, sigma, value, e->rows, e->cols, method));
        assert_true(facts.noise > 0);
        assert_int_equal(facts.dtype, bf16 ? LT_BF16 : LT_F32);
        assert_int_equal(facts.cast, DELTA_CAST_NONE); /* trained from the F32 base: a cast makes no zeros */
        check_close("zeros", facts.zero_share * (double)(e->rows * e->cols), json_number_value(json_object_get(want, "zero_entries")), 1e-9, 0);
        check_close("base fro", facts.base_fro, json_real_value(json_object_get(want, "base_fro")), 0, 1e-12);
    }
    check_values(sigma, q, want, a == NULL && method != VALUES_SVD);
    mem_free(sigma);
    mem_free(value);
}

static void check_run(const char *folder, const char *part, ValueMethod method)
{
    char path[256];
    MatrixFolder base;
    ParamList list;
    DeltaPair pair;
    StrBuf name;
    size_t seen = 0;

    snprintf(path, sizeof path, "golden/delta/%s", folder);
    CHECK_OK(matrix_folder_open(&base, test_data("data/models/stories260K"), NULL));
    CHECK_OK(delta_open(&pair, &base, test_data(path), &plain));
    CHECK_OK(params_build(&list, &base.variant.checkpoint->cfg));
    strbuf_init(&name);
    for (size_t i = 0; i < list.count; i++) {
        const ParamEntry *e = &list.entry[i];

        if (!e->row->analysed || !delta_has(&pair, e))
            continue;
        CHECK_OK(delta_check(&pair, &e, 1));
        CHECK_OK(param_name(e, &name));
        const json_t *want = expected(part, name.data);
        assert_non_null(want);
        check_matrix(&pair, e, want, strstr(folder, "bf16") != NULL, method);
        seen++;
    }
    assert_int_equal(seen, json_object_size(json_object_get(golden, part)));
    strbuf_release(&name);
    params_release(&list);
    delta_close(&pair);
    matrix_folder_close(&base);
}

static void test_delta_of_golden_runs(void **state)
{
    (void)state;
    check_run("stories260K_ft", "full_f32", VALUES_GRAM);
    check_run("stories260K_ft_bf16", "full_bf16", VALUES_SVD);
    check_run("stories260K_lora", "lora", VALUES_AUTO);
}

/* ---- factors -------------------------------------------------------------------------------------------------------------- */

/* Ranks below, at and above what the matrix can have, each beside the product multiplied out. */
static void test_values_of_products(void **state)
{
    static const int64_t ranks[] = {1, 3, 9, 12};
    enum { M = 9, N = 14 };
    TestRandom random = {11};
    float fa[12 * N], fb[M * 12];
    double dense[M * N], want[M], got[M];

    (void)state;
    for (int r = 0; r < 4; r++) {
        const int64_t k = ranks[r];
        const ParamEntry entry[2] = {{.part = PART_A, .rows = k, .cols = N, .scale = 1.0 / 3, .value = tensor_of(fa, LT_F32, k, N)},
                                     {.part = PART_B, .rows = M, .cols = k, .scale = 1.0 / 3, .value = tensor_of(fb, LT_F32, M, k)}};

        for (int64_t i = 0; i < k * N; i++)
            fa[i] = (float)test_normal(&random);
        for (int64_t i = 0; i < M * k; i++)
            fb[i] = (float)test_normal(&random);
        for (int64_t i = 0; i < M * N; i++) {
            dense[i] = 0;
            for (int64_t l = 0; l < k; l++)
                dense[i] += (double)fb[i / N * k + l] * (double)fa[l * N + i % N] / 3;
        }
        CHECK_OK(matrix_values(dev, want, dense, M, N, VALUES_SVD));
        CHECK_OK(matrix_product_values(dev, got, entry));
        for (int i = 0; i < M; i++)
            check_close("sigma", got[i], want[i], 1e-12 * want[0], 0);
    }
}

/* ---- folders that are made up --------------------------------------------------------------------------------------------- */

/* A base and what differs from it in one tensor. */
typedef struct Made {
    const char *base, *tuned;
    Model *model;
    SavedTensors tensors;
} Made;

static void make(Made *made)
{
    const ModelConfig cfg = ref_model_config();

    made->base = saved_model(dev, &cfg, LT_F32, 3, &made->model);
    made->tuned = test_folder();
    CHECK_OK(model_save(made->model, made->tuned));
    saved_collect(&made->tensors, made->model);
}

/* Writes the tensors again into the tuned folder, or as what another name holds. */
static void rewrite(const Made *made, const char *name) { saved_write(&made->tensors, made->tuned, name); }

static Status read_q(const Made *made, const DeltaSettings *settings, DeltaFacts *facts, double **value)
{
    MatrixFolder base = {0};
    DeltaPair pair = {0};
    ParamList list = {0};
    Status st;

    *value = NULL;
    TRY_GOTO(matrix_folder_open(&base, made->base, NULL), st, done);
    TRY_GOTO(delta_open(&pair, &base, made->tuned, settings), st, done);
    TRY_GOTO(params_build(&list, &base.variant.checkpoint->cfg), st, done);
    const ParamEntry *e = params_find(&list, PARAM_Q, 0);
    TRY_GOTO(delta_check(&pair, &e, 1), st, done);
    TRY_GOTO(MEM_NEW(*value, (size_t)(e->rows * e->cols)), st, done);
    st = delta_read(&pair, e, *value, facts);
done:
    if (st != LT_OK) {
        mem_free(*value);
        *value = NULL;
    }
    params_release(&list);
    delta_close(&pair);
    matrix_folder_close(&base);
    return st;
}

#define Q "model.layers.0.self_attn.q_proj.weight"

/* The same numbers in a narrower type; kept by the caller. */
static void *narrowed(StWrite *t, DType dtype)
{
    const float *from = t->data;
    const int64_t n = t->shape[0] * (t->rank == 2 ? t->shape[1] : 1);
    uint16_t *to = mem_take((size_t)n, sizeof *to);

    assert_non_null(to);
    for (int64_t i = 0; i < n; i++)
        to[i] = dtype == LT_BF16 ? f32_to_bf16(from[i]) : f32_to_f16(from[i]);
    t->data = to;
    t->dtype = st_dtype_name(dtype);
    return to;
}

/* Nothing was trained; only the stored types differ. Cast as the tune was, nothing has changed; not cast, the rounding is all there is. */
static void test_zero_training_is_zero_under_the_cast(void **state)
{
    static const DeltaSettings none = {DELTA_OF_DELTA, DELTA_CAST_NONE, false}, forced = {DELTA_OF_DELTA, DELTA_CAST_F16, false};
    static const DType types[] = {LT_BF16, LT_F16};
    DeltaFacts facts;
    double *value;
    Made made;

    (void)state;
    make(&made);
    for (int d = 0; d < 2; d++) {
        StWrite *t = saved_item(&made.tensors, Q);
        const StWrite before = *t;
        const double n = (double)(t->shape[0] * t->shape[1]);
        void *kept = narrowed(t, types[d]);
        double energy = 0;

        rewrite(&made, "model.safetensors");
        CHECK_OK(read_q(&made, &plain, &facts, &value));
        assert_int_equal(facts.cast, d == 0 ? DELTA_CAST_BF16 : DELTA_CAST_F16);
        assert_true(facts.zero_share >= 1);
        mem_free(value);
        CHECK_OK(read_q(&made, &none, &facts, &value));
        assert_int_equal(facts.cast, DELTA_CAST_NONE);
        assert_true(facts.zero_share < 0.1);
        for (int64_t i = 0; i < (int64_t)n; i++)
            energy += value[i] * value[i];
        check_close("noise foretold", facts.noise / energy, 1, 0.1, 0); /* n squares of uniform errors: sd below sqrt(0.8 / n) */
        mem_free(value);
        CHECK_OK(read_q(&made, &forced, &facts, &value));
        assert_int_equal(facts.cast, DELTA_CAST_F16);
        assert_true(d == 0 ? facts.zero_share < 0.5 : facts.zero_share >= 1);
        mem_free(value);
        *t = before;
        mem_free(kept);
    }
    model_free(made.model);
}

/* Masters hold what the narrow type lost. */
static void test_masters_are_read_where_they_are(void **state)
{
    static const DeltaSettings exact = {DELTA_OF_DELTA, DELTA_CAST_AUTO, true};
    DeltaFacts facts;
    double *value;
    Made made;

    (void)state;
    make(&made);
    StWrite *t = saved_item(&made.tensors, Q);
    float *weights = (float *)(uintptr_t)t->data;
    weights[5] += 0.25f;
    const double want = (double)weights[5] - (double)(weights[5] - 0.25f);
    rewrite(&made, "master.safetensors");
    void *kept = narrowed(t, LT_BF16);
    rewrite(&made, "model.safetensors");
    CHECK_OK(read_q(&made, &plain, &facts, &value));
    assert_int_equal(facts.dtype, LT_F32);
    assert_int_equal(facts.cast, DELTA_CAST_NONE);
    for (int64_t i = 0; i < t->shape[0] * t->shape[1]; i++)
        check_close("delta", value[i], i == 5 ? want : 0, 1e-7, 0);
    mem_free(value);
    CHECK_OK(read_q(&made, &exact, &facts, &value));
    assert_true(facts.noise <= 0);
    mem_free(value);
    mem_free(kept);
    model_free(made.model);
}

static void test_weights_themselves(void **state)
{
    static const DeltaSettings weights = {DELTA_OF_WEIGHTS, DELTA_CAST_AUTO, false};
    DeltaFacts facts;
    double *value;
    Made made;

    (void)state;
    make(&made);
    CHECK_OK(read_q(&made, &weights, &facts, &value));
    const float *want = saved_item(&made.tensors, Q)->data;
    for (int i = 0; i < 10; i++)
        check_close("weight", value[i], (double)want[i], 0, 0);
    assert_true(facts.zero_share <= 0);
    mem_free(value);
    model_free(made.model);
}

/* ---- bad input ------------------------------------------------------------------------------------------------------------ */

static void test_pairs_that_do_not_fit_are_refused(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    ModelConfig other = ref_model_config();
    DeltaFacts facts;
    double *value;
    Model *model;
    Made made;

    (void)state;
    make(&made);
    StWrite *t = saved_item(&made.tensors, Q);
    float *weights = (float *)(uintptr_t)t->data, first = weights[t->shape[1] + 2];
    for (int i = 0; i < 3; i++) {
        weights[t->shape[1] + 2] = bad[i];
        rewrite(&made, "model.safetensors");
        CHECK_FAILS(read_q(&made, &plain, &facts, &value), LT_E_INPUT, "'" Q "': element [1,2]: expected a finite number");
    }
    weights[t->shape[1] + 2] = first;
    rewrite(&made, "model.safetensors");

    const char *own = made.tuned;
    other.hidden_size *= 2;
    made.tuned = saved_model(dev, &other, LT_F32, 3, &model);
    CHECK_FAILS(read_q(&made, &plain, &facts, &value), LT_E_INPUT, "expected, as in the base");
    model_free(model);

    made.tuned = test_folder();
    Factors *factors = made_factors(&other, MADE_PLAIN, 4);
    const AdapterOrigin origin = made_origin(MADE_PLAIN, made.base);
    CHECK_OK(adapter_write(made.tuned, &factors->params, &other, NULL, &origin));
    CHECK_FAILS(read_q(&made, &plain, &facts, &value), LT_E_INPUT, "does not fit the base");
    factors_free(factors);

    made.tuned = own;
    *t = made.tensors.item[--made.tensors.count]; /* the last one in its place: q is gone */
    rewrite(&made, "model.safetensors");
    CHECK_FAILS(read_q(&made, &plain, &facts, &value), LT_E_INPUT, Q);
    model_free(made.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_delta_of_golden_runs, open_all),
        cmocka_unit_test(test_values_of_products),
        cmocka_unit_test(test_zero_training_is_zero_under_the_cast),
        cmocka_unit_test(test_masters_are_read_where_they_are),
        cmocka_unit_test(test_weights_themselves),
        cmocka_unit_test_teardown(test_pairs_that_do_not_fit_are_refused, close_all),
    };
    return TEST_MAIN(tests);
}
