/* Draws: from the distribution that double precision gives, by the uniform number that Philox gives, whatever the level, threads and company. */
#include "kernels/ops.h"

#include "core/mem.h"
#include "core/random.h"
#include "tests/check.h"
#include "tests/ref_ops.h"
#include "tests/tensor_box.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 7000 };

typedef struct Draws {
    Box id, lp, logits, params;
    SampleParams *param; /* [rows], goes into params */
} Draws;

static Draws draws_new(Device *dev, int64_t rows, int64_t n, int64_t pad)
{
    Draws d = {box_new(dev, LT_I32, 1, rows, 0), box_new(dev, LT_F32, 1, rows, 0), box_new(dev, LT_F32, rows, n, pad),
               box_new(dev, LT_I32, rows, 6, 1), mem_take((size_t)rows, sizeof(SampleParams))};

    assert_non_null(d.param);
    return d;
}

static void draws_free(Draws *d)
{
    box_free(&d->id);
    box_free(&d->lp);
    box_free(&d->logits);
    box_free(&d->params);
    mem_free(d->param);
}

static void draws_put_params(Draws *d)
{
    for (int64_t row = 0; row < d->params.t.rows; row++) {
        int32_t word[6];

        memcpy(word, &d->param[row], sizeof word);
        for (int i = 0; i < 6; i++)
            d->params.v[row * 6 + i] = word[i];
    }
    box_put(&d->params);
}

static void draws_run(Draws *d)
{
    draws_put_params(d);
    CHECK_OK(op_sample(d->id.dev, d->id.t, d->lp.t, d->logits.t, d->params.t));
    box_get(&d->id);
    box_get(&d->lp);
}

static void at_all_levels(void (*check)(Device *dev))
{
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *dev = box_device(BOX_LEVELS[level], 2);

        if (dev != NULL)
            check(dev);
        device_close(dev);
    }
}

/* A simulated GPU takes its time: fewer draws there. */
static int on_cpu_else(Device *dev, int draws, int fewer) { return strcmp(device_backend(dev), "cpu") == 0 ? draws : fewer; }

static double philox_of(const SampleParams *p)
{
    const uint32_t counter[4] = {p->step, 0, 0, 0}, key[2] = {p->seed_low, p->seed_high};
    uint32_t word[4];

    philox4x32(counter, key, word);
    return (double)philox_unit(word[0]);
}

/* The id must be the one whose share of [0, 1) holds the number, or, where the number lies within rounding of a border, its neighbour. A weight is
 * off by 2 ulp and what (x - max) / temperature loses, x up to 20 and temperature down to 0.2: 100 x 2^-23 in all; the sums by less. */
static const double SLACK = 4e-5;

static void check_draw(const char *what, const double *x, int64_t n, const SampleParams *p, int32_t id)
{
    static double share[MOST];
    static int32_t order[MOST];
    const double u = philox_of(p);
    const int64_t count = ref_sample_shares(share, order, x, n, (double)p->temperature, p->top_k, (double)p->top_p);
    double before = 0;
    bool good = false;

    for (int64_t k = 0; k < count; before += share[k++])
        good = good || (order[k] == id && u >= before - SLACK && u <= before + share[k] + SLACK);
    if (!good)
        fail_msg("%s: %d drawn by %.9g of %lld ids, temperature %g, top-k %d, top-p %g", what, id, u, (long long)count,
                 (double)p->temperature, p->top_k, (double)p->top_p);
}

static void check_rows(Device *dev, int64_t n, double spread)
{
    static const struct {
        float temperature, top_p;
        int32_t top_k;
    } way[] = {{1, 1, 0}, {0.2f, 0.95f, 0}, {0.7f, 1, 5}, {1, 0.9f, 40}, {2, 0.5f, 0}, {1, 0.999f, 0}, {0.8f, 0.8f, 3}, {1, 1, 1 << 20}};
    const int rows = on_cpu_else(dev, 24, 8);
    TestRandom r = {(uint64_t)n};
    Draws d = draws_new(dev, rows, n, 3);
    char what[64];

    for (int64_t i = 0; i < rows * n; i++)
        d.logits.v[i] = (double)(float)(spread * test_normal(&r));
    box_put(&d.logits);
    for (int i = 0; i < rows; i++)
        d.param[i] = (SampleParams){way[i % 8].temperature, way[i % 8].top_p, way[i % 8].top_k, 5, (uint32_t)i, 7};
    draws_run(&d);
    for (int i = 0; i < rows; i++) {
        const double *x = d.logits.v + i * n;
        const int32_t id = (int32_t)d.id.v[i];

        snprintf(what, sizeof what, "%s, %lld numbers, row %d", device_class(dev), (long long)n, i);
        check_draw(what, x, n, &d.param[i], id);
        check_close(what, d.lp.v[i], x[id] - ref_lse(x, n), 2e-6, 1e-6);
    }
    draws_free(&d);
}

/* Row 0, flat and uncut: what lies before the drawn id, and with it, must be on both sides of the number. Row 1: three ids stand out, and the draw
 * is among them. */
static void check_long_row(Device *dev, int64_t n)
{
    const int32_t best[] = {7, (int32_t)(n / 2), (int32_t)(n - 1)};
    static const double logit[] = {20, 19.5, 19};
    TestRandom r = {(uint64_t)n};
    Draws d = draws_new(dev, 2, n, 1);
    double before = 0, mass = 0;
    int32_t index = 0;

    for (int64_t i = 0; i < 2 * n; i++)
        d.logits.v[i] = (double)(float)(0.1 * test_normal(&r));
    for (int i = 0; i < 3; i++)
        d.logits.v[n + best[i]] = logit[i];
    box_put(&d.logits);
    d.param[0] = (SampleParams){1, 1, 0, 11, 12, 13};
    d.param[1] = (SampleParams){1, 0.9f, 3, 11, 12, 14};
    draws_run(&d);
    for (int64_t i = 0; i < n; i++) {
        before += i < (int64_t)d.id.v[0] ? exp(d.logits.v[i]) : 0;
        mass += exp(d.logits.v[i]);
    }
    check_close("number of a flat row", philox_of(&d.param[0]) * mass, before, exp(d.logits.v[(int64_t)d.id.v[0]]), SLACK);
    while (index < 2 && best[index] != (int32_t)d.id.v[1])
        index++;
    assert_int_equal((int32_t)d.id.v[1], best[index]);
    check_draw("a row with three ids", logit, 3, &d.param[1], index);
    draws_free(&d);
}

/* Sizes about a warp's and a block's step; 5000 nearly flat logits are more than shared memory lists. */
static void check_sizes(Device *dev)
{
    static const int64_t size[] = {1, 2, 3, 4, 5, 17, 127, 128, 129, 389, 511, 513, 2047, 2048, 2049, 5000, 6149};

    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        check_rows(dev, size[s], 3);
        check_rows(dev, size[s], 0.1); /* nearly flat: cuts keep many */
    }
    check_long_row(dev, 70000);  /* shares of more than a step */
    check_long_row(dev, 270000); /* and of more ids than threads */
}

static void test_sample_draws_what_its_number_says(void **state)
{
    (void)state;
    at_all_levels(check_sizes);
}

/* Counts against expectations over many steps of one seed. Under the right distribution the sum has mean `df` and variance 2 df; eight standard
 * deviations is where no seed ever gets. */
static void check_frequencies(Device *dev, float temperature, int32_t top_k, float top_p)
{
    enum { N = 12 };
    const int draws = on_cpu_else(dev, 20000, 150);
    static const double logit[N] = {1, 0.3, -2, 2.5, 0, 1.7, -1, 0.9, -0.4, 2, 1.2, -3};
    Draws d = draws_new(dev, draws, N, 3);
    double share[N], sum = 0;
    int32_t order[N];
    int seen[N] = {0};
    const int64_t count = ref_sample_shares(share, order, logit, N, (double)temperature, top_k, (double)top_p);

    for (int64_t i = 0; i < draws * N; i++)
        d.logits.v[i] = logit[i % N];
    box_put(&d.logits);
    for (int i = 0; i < draws; i++)
        d.param[i] = (SampleParams){temperature, top_p, top_k, 1234, 0, (uint32_t)i};
    draws_run(&d);
    for (int i = 0; i < draws; i++)
        seen[(int)d.id.v[i]]++;
    for (int64_t k = 0; k < count; k++) {
        const double want = share[k] * draws, off = seen[order[k]] - want;

        sum += off * off / want;
        seen[order[k]] = 0;
    }
    for (int i = 0; i < N; i++)
        if (seen[i] != 0)
            fail_msg("id %d drawn %d times, though it was cut", i, seen[i]);
    if (sum > (double)(count - 1) + 8 * sqrt(2.0 * (double)count))
        fail_msg("temperature %g, top-k %d, top-p %g: chi-square %.1f of %lld ids", (double)temperature, top_k, (double)top_p, sum,
                 (long long)count);
    draws_free(&d);
}

static void check_distribution(Device *dev)
{
    check_frequencies(dev, 1, 0, 1);
    check_frequencies(dev, 0.6f, 0, 1);
    check_frequencies(dev, 1, 4, 1);
    check_frequencies(dev, 1, 0, 0.8f);
    check_frequencies(dev, 1.5f, 6, 0.7f);
}

static void test_sample_follows_the_distribution(void **state)
{
    (void)state;
    at_all_levels(check_distribution);
}

/* One row, many steps: the set of ids that come. */
static void check_set(Device *dev, const double *logit, int n, SampleParams p, const char *want)
{
    const int draws = on_cpu_else(dev, 300, 32);
    Draws d = draws_new(dev, draws, n, 3);
    char got[16] = {0};

    for (int64_t i = 0; i < draws * n; i++)
        d.logits.v[i] = logit[i % n];
    box_put(&d.logits);
    for (int i = 0; i < draws; i++) {
        d.param[i] = p;
        d.param[i].step = (uint32_t)i;
    }
    draws_run(&d);
    for (int id = 0; id < n; id++)
        for (int i = 0; i < draws && got[id] == 0; i++)
            got[id] = (int)d.id.v[i] == id ? 'x' : 0;
    for (int id = 0; id < n; id++)
        got[id] = got[id] == 0 ? '.' : got[id];
    assert_string_equal(got, want);
    draws_free(&d);
}

static void check_edges(Device *dev)
{
    static const double tied[] = {0, 1, 1, 0.5, 1, 0}, flat[] = {2, 2, 2, 2}, none[] = {-INFINITY, 1, -INFINITY, 1}, zeros[] = {-0.0, 0, -1, 0};

    check_set(dev, tied, 6, (SampleParams){.temperature = 1, .top_p = 1, .top_k = 1}, ".xx.x."); /* equals of the last one stay */
    check_set(dev, tied, 6, (SampleParams){.temperature = 1, .top_p = 1, .top_k = 4}, ".xxxx.");
    check_set(dev, tied, 6, (SampleParams){.temperature = 1, .top_p = 1, .top_k = 100}, "xxxxxx");
    check_set(dev, tied, 6, (SampleParams){.temperature = 1, .top_p = 0}, ".x...."); /* one stays: the first of the best */
    check_set(dev, tied, 6, (SampleParams){.temperature = 0, .top_p = 1}, ".x....");
    check_set(dev, tied, 6, (SampleParams){.temperature = 1e-40f, .top_p = 1}, ".x...."); /* its inverse is no number */
    check_set(dev, tied, 6, (SampleParams){.temperature = 1e-40f, .top_p = 0.5f}, ".x....");
    check_set(dev, tied, 6, (SampleParams){.temperature = 1, .top_p = 0, .top_k = 4}, ".x....");
    check_set(dev, flat, 4, (SampleParams){.temperature = 1, .top_p = 0.5f}, "xx..");   /* exactly half is enough */
    check_set(dev, flat, 4, (SampleParams){.temperature = 1, .top_p = 0.51f}, "xxx.");
    check_set(dev, none, 4, (SampleParams){.temperature = 1, .top_p = 1}, ".x.x");
    check_set(dev, none, 4, (SampleParams){.temperature = 9, .top_p = 1, .top_k = 3}, ".x.x");
    check_set(dev, none, 4, (SampleParams){.temperature = 1, .top_p = 0.999f}, ".x.x");
    check_set(dev, zeros, 4, (SampleParams){.temperature = 1, .top_p = 1, .top_k = 1}, "xx.x"); /* -0 equals 0 */
    check_set(dev, zeros, 4, (SampleParams){.temperature = 1, .top_p = 0.5f}, "xx..");
}

static void test_sample_cuts_at_the_edges(void **state)
{
    (void)state;
    at_all_levels(check_edges);
}

/* A NaN is pointed at; of infinity there is one draw, of nothing but -infinity the first id. */
static void check_no_numbers(Device *dev)
{
    enum { N = 5 };
    Draws d = draws_new(dev, 6, N, 3);

    for (int row = 0; row < 6; row++) {
        for (int i = 0; i < N; i++)
            d.logits.v[row * N + i] = row >= 4 ? -(double)INFINITY : i != 3 ? i : row < 2 ? (double)NAN : (double)INFINITY;
        d.param[row] = (SampleParams){.temperature = 1, .top_p = row % 2 == 0 ? 1 : 0.5f};
    }
    box_put(&d.logits);
    draws_run(&d);
    for (int row = 0; row < 6; row++) {
        assert_int_equal((int)d.id.v[row], row >= 4 ? 0 : 3);
        assert_true(isnan(d.lp.v[row]));
    }
    draws_free(&d);
}

static void test_sample_points_at_what_is_no_number(void **state)
{
    (void)state;
    at_all_levels(check_no_numbers);
}

/* Rows drawn alone, from where vectors begin, and on other numbers of threads. */
static void check_rows_alone(Device *four, Device *one)
{
    enum { N = 3001 };
    const int rows = on_cpu_else(one, 24, 6);
    TestRandom r = {4};
    Draws d = draws_new(four, rows, N, 0), alone = draws_new(one, 1, N, 0);

    for (int64_t i = 0; i < rows * N; i++)
        d.logits.v[i] = 2 * test_normal(&r);
    box_put(&d.logits);
    for (int i = 0; i < rows; i++)
        d.param[i] = (SampleParams){0.9f, i % 2 ? 0.9f : 1, i % 3 ? 0 : 50, 3, 4, (uint32_t)i};
    draws_run(&d);
    for (int i = 0; i < rows; i++) {
        memcpy(alone.logits.v, d.logits.v + (int64_t)i * N, N * sizeof(double));
        box_put(&alone.logits);
        alone.param[0] = d.param[i];
        draws_run(&alone);
        assert_true(alone.id.v[0] == d.id.v[i] && alone.lp.v[0] == d.lp.v[i]);
    }
    draws_free(&d);
    draws_free(&alone);
}

static void test_sample_rows_do_not_see_one_another(void **state)
{
    (void)state;
    for (int level = 0; level < N_BOX_LEVEL; level++) {
        Device *one = box_device(BOX_LEVELS[level], 1), *four = box_device(BOX_LEVELS[level], 4);

        if (one != NULL)
            check_rows_alone(four, one);
        device_close(one);
        device_close(four);
    }
}

static void test_sample_survives_lack_of_memory(void **state)
{
    enum { N = 5000 };
    Device *dev = box_device("generic", 1);
    Draws d = draws_new(dev, 1, N, 3);

    (void)state;
    for (int i = 0; i < N; i++)
        d.logits.v[i] = 0;
    box_put(&d.logits);
    d.param[0] = (SampleParams){.temperature = 1, .top_p = 0.5f};
    draws_put_params(&d);
    mem_fail_at(1);
    CHECK_FAILS(op_sample(dev, d.id.t, d.lp.t, d.logits.t, d.params.t), LT_E_NOMEM, NULL);
    mem_fail_at(0);
    draws_run(&d);
    draws_free(&d);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_draws_what_its_number_says),
        cmocka_unit_test(test_sample_follows_the_distribution),
        cmocka_unit_test(test_sample_cuts_at_the_edges),
        cmocka_unit_test(test_sample_points_at_what_is_no_number),
        cmocka_unit_test(test_sample_rows_do_not_see_one_another),
        cmocka_unit_test(test_sample_survives_lack_of_memory),
    };

    return TEST_MAIN(tests);
}
