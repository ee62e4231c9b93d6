/* A planted world: how much of a change is rounding is known, because the change is. And the records that spectra are made of. */
#include "tests/check.h"

#include "analysis/delta.h"
#include "analysis/matrix_values.h"
#include "analysis/rounding.h"
#include "analysis/run_record.h"
#include "analysis/spectrum.h"
#include "core/appendlog.h"
#include "core/half.h"
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

static double rounded(double x, DType dtype)
{
    const float f = (float)x;
    return dtype == LT_F32 ? (double)f : dtype == LT_BF16 ? (double)bf16_to_f32(f32_to_bf16(f)) : (double)f16_to_f32(f32_to_f16(f));
}

/* A change of rank 16 whose entries have this root mean square. */
static void plant(double *d, int64_t m, int64_t n, double rms, uint64_t seed)
{
    enum { RANK = 16 };
    double *u = mem_take((size_t)((m + n) * RANK), sizeof *u), *v = u + m * RANK, sum = 0;
    TestRandom random = {seed};

    assert_non_null(u);
    for (int64_t i = 0; i < (m + n) * RANK; i++)
        u[i] = test_normal(&random);
    for (int64_t i = 0; i < m * n; i++) {
        d[i] = 0;
        for (int l = 0; l < RANK; l++)
            d[i] += u[i / n * RANK + l] * v[i % n * RANK + l];
        sum += d[i] * d[i];
    }
    for (int64_t i = 0; i < m * n; i++)
        d[i] *= rms / sqrt(sum / (double)(m * n));
    mem_free(u);
}

/* ---- the table that says what BF16 does to a change of rank 16 -------------------------------------------------------------- */

typedef struct TableRow {
    double rms, noise, r90, r99, effective;
} TableRow;

/* Weights N(0, 0.02^2), 1536 x 1536: noise share, ranks and effective rank of bf16(W + D) - W, where W is in BF16. The table has one other draw, to two or
 * three digits; a rank of 16 x 1e6 entries varies by far less than those. */
static void test_rounding_raises_ranks_as_told(void **state)
{
    static const TableRow table[] = {{1e-3, .001, 14, 16, 68}, {3e-4, .012, 15, 84, 251}, {1e-4, .10, 16, 773, 671}, {3e-5, .54, 512, 1038, 1010}};
    const int first = getenv("LETHE_TEST_REDUCED") != NULL ? 3 : 0; /* the hardest alone */
    enum { N = 1536 };
    double *d = mem_take((size_t)N * N + N, sizeof *d), *sigma = d + N * N;

    (void)state;
    assert_non_null(d);
    for (int r = first; r < 4; r++) {
        TestRandom random = {7};
        double noise = 0, energy = 0;

        plant(d, N, N, table[r].rms, 1);
        for (int64_t i = 0; i < (int64_t)N * N; i++) {
            const double w = rounded(0.02 * test_normal(&random), LT_BF16), change = rounded(w + d[i], LT_BF16) - w;

            noise += (change - d[i]) * (change - d[i]);
            energy += change * change;
            d[i] = change;
        }
        CHECK_OK(matrix_values(dev, sigma, d, N, N, VALUES_GRAM));
        check_close("noise", noise / energy, table[r].noise, 5e-4, .05);
        check_close("r90", (double)spectrum_threshold(sigma, N, .9).k, table[r].r90, 0, .01);
        check_close("r99", (double)spectrum_threshold(sigma, N, .99).k, table[r].r99, 0, .01);
        check_close("effective rank", spectrum_stats(sigma, N).effective_rank, table[r].effective, .5, .01);
    }
    mem_free(d);
}

/* ---- every combination of stored types ------------------------------------------------------------------------------------ */

enum { SIDE = 128, ENTRIES = SIDE * SIDE };
#define Q "model.layers.0.self_attn.q_proj.weight"

typedef struct Cell {
    DType base, tuned;
    bool cast;    /* before training, to the tuned type */
    bool masters; /* kept */
    double rms;
} Cell;

typedef struct Planted {
    const char *base, *folder;
    Model *model;
    SavedTensors tensors;
    double w[ENTRIES], d[ENTRIES], value[ENTRIES];
    uint16_t narrow[ENTRIES];
    float wide[ENTRIES];
} Planted;

static void write_q(Planted *p, const double *x, DType dtype, const char *folder, const char *file)
{
    StWrite *t = saved_item(&p->tensors, Q);

    for (int i = 0; i < ENTRIES; i++) {
        p->wide[i] = (float)x[i];
        p->narrow[i] = dtype == LT_BF16 ? f32_to_bf16(p->wide[i]) : f32_to_f16(p->wide[i]);
    }
    t->data = dtype == LT_F32 ? (const void *)p->wide : p->narrow;
    t->dtype = st_dtype_name(dtype);
    saved_write(&p->tensors, folder, file);
}

static void write_cell(Planted *p, const Cell *c)
{
    char master[1024];

    plant(p->d, SIDE, SIDE, c->rms, 2);
    write_q(p, p->w, c->base, p->base, "model.safetensors");
    for (int i = 0; i < ENTRIES; i++) {
        const double from = rounded(rounded(p->w[i], c->base), c->cast ? c->tuned : LT_F32);
        p->value[i] = (double)(float)(from + p->d[i]);
    }
    snprintf(master, sizeof master, "%s/master.safetensors", p->folder);
    remove(master);
    if (c->masters)
        write_q(p, p->value, LT_F32, p->folder, "master.safetensors");
    write_q(p, p->value, c->tuned, p->folder, "model.safetensors");
}

static void read_cell(Planted *p, DeltaFacts *facts)
{
    const DeltaSettings settings = {DELTA_OF_DELTA, DELTA_CAST_AUTO, false};
    MatrixFolder base;
    DeltaPair pair;
    ParamList list;

    CHECK_OK(matrix_folder_open(&base, p->base, NULL));
    CHECK_OK(delta_open(&pair, &base, p->folder, &settings));
    CHECK_OK(params_build(&list, &base.variant.checkpoint->cfg));
    CHECK_OK(delta_read(&pair, params_find(&list, PARAM_Q, 0), p->value, facts));
    params_release(&list);
    delta_close(&pair);
    matrix_folder_close(&base);
}

/* What is told from the stored weights is what the planted change says. Levels are far enough from the thresholds for the noise foretold, which is off by up
 * to a half where a change is of the size of a unit in the last place, to be on the right side. */
static void check_cell(Planted *p, const Cell *c)
{
    static const double tau[] = {.5, .8, .9, .95, .99};
    double noise = 0, energy = 0, got, want;
    DeltaFacts facts;

    write_cell(p, c);
    read_cell(p, &facts);
    for (int i = 0; i < ENTRIES; i++) {
        noise += (p->value[i] - p->d[i]) * (p->value[i] - p->d[i]);
        energy += p->value[i] * p->value[i];
    }
    const Verdict verdict = rounding_verdict(facts.noise, energy, tau, 5, &got), truth = rounding_verdict(noise, energy, tau, 5, &want);

    if (verdict != truth || got < want || got > want || (c->rms <= 0 && verdict != VERDICT_ZERO))
        fail_msg("base %s, tuned %s, cast %d, masters %d, rms %g: %s, %g with a noise of %g expected; %s, %g with %g (base cast: %s) found",
                 dtype_name(c->base), dtype_name(c->tuned), c->cast, c->masters, c->rms, verdict_name(truth), want, noise / energy, verdict_name(verdict), got,
                 facts.noise / energy, delta_cast_name(facts.cast));
}

static void test_every_pair_of_types_is_trusted_as_far_as_it_should_be(void **state)
{
    static const DType types[] = {LT_F32, LT_BF16, LT_F16};
    static const double levels[] = {0, 1.5e-5, 5e-5, 2e-4, 1e-2};
    Planted *p = mem_take(1, sizeof *p);
    ModelConfig cfg = ref_model_config();
    TestRandom random = {21};

    (void)state;
    assert_non_null(p);
    cfg.hidden_size = SIDE;
    cfg.head_dim = SIDE / cfg.num_attention_heads;
    p->base = saved_model(dev, &cfg, LT_F32, 3, &p->model);
    p->folder = test_folder();
    CHECK_OK(model_save(p->model, p->folder));
    saved_collect(&p->tensors, p->model);
    for (int i = 0; i < ENTRIES; i++)
        p->w[i] = 0.02 * test_normal(&random);
    for (int b = 0; b < 3; b++)
        for (int t = 0; t < 3; t++)
            for (int way = 0; way < 4; way++)
                for (int l = 0; l < 5; l++)
                    if (t > 0 || way == 0)
                        check_cell(p, &(Cell){types[b], types[t], way / 2 == 1, way % 2 == 1, levels[l]});
    model_free(p->model);
    mem_free(p);
}

/* ---- records -------------------------------------------------------------------------------------------------------------- */

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void log_record(const char *folder, const RunRecord *r)
{
    AppendLog log;
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(run_record_write(&text, KEY, "a.weight", r));
    CHECK_OK(appendlog_create(&log, folder));
    CHECK_OK(appendlog_add(&log, strbuf_str(&text)));
    CHECK_OK(appendlog_close(&log));
    strbuf_release(&text);
}

static void test_records_read_back_and_must_agree(void **state)
{
    const char *folder = test_folder();
    double sigma[3] = {1.0 / 3, 0x1p-1000, 0};
    SubspaceRow row[2] = {{"angle", "left", 4, 2, NAN, 1.0 / 7, 0.5}, {"intruders", "left", 10, 0, 0.5, 3, NAN}};
    const RunRecord r = {.m = 3, .n = 5, .facts = {LT_BF16, LT_F16, DELTA_CAST_BF16, 0.1, 1e-300, 2.0 / 3}, .sigma = sigma,
                         .subspaces = {.row = row, .count = 2}};
    RunRecords records;

    (void)state;
    run_records_init(&records);
    CHECK_OK(run_records_refresh(&records, "nowhere", NULL));
    assert_null(run_records_find(&records, KEY));
    log_record(folder, &r);
    log_record(folder, &r); /* twice the same: no harm */
    CHECK_OK(run_records_refresh(&records, folder, NULL));
    const RunRecord *got = run_records_find(&records, KEY);
    assert_non_null(got);
    assert_int_equal(records.count, 1);
    assert_memory_equal(got->sigma, sigma, sizeof sigma);
    assert_memory_equal(&got->facts.zero_share, &r.facts.zero_share, sizeof(double));
    assert_memory_equal(&got->facts.noise, &r.facts.noise, sizeof(double));
    assert_memory_equal(&got->facts.base_fro, &r.facts.base_fro, sizeof(double));
    assert_true(got->m == 3 && got->n == 5 && got->facts.dtype == LT_BF16 && got->facts.base_dtype == LT_F16 && got->facts.cast == DELTA_CAST_BF16);

    assert_int_equal(got->subspaces.count, 2);
    for (int i = 0; i < 2; i++) {
        const SubspaceRow *found = &got->subspaces.row[i];

        assert_string_equal(found->quantity, row[i].quantity);
        assert_string_equal(found->side, row[i].side);
        assert_true(found->k == row[i].k && found->index == row[i].index && isnan(found->epsilon) == isnan(row[i].epsilon) &&
                    isnan(found->chance) == isnan(row[i].chance));
        assert_memory_equal(&found->value, &row[i].value, sizeof(double));
    }

    row[0].value = nextafter(row[0].value, 1);
    log_record(folder, &r);
    CHECK_FAILS(run_records_refresh(&records, folder, NULL), LT_E_FAIL, "differ: the same work gave two results");
    run_records_release(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rounding_raises_ranks_as_told, begin),
        cmocka_unit_test(test_records_read_back_and_must_agree),
        cmocka_unit_test_teardown(test_every_pair_of_types_is_trusted_as_far_as_it_should_be, end),
    };
    return TEST_MAIN(tests);
}
