#include "tests/check.h"

#include "model/rope.h"

#include <math.h>

enum { MAX_HALF = 128 };

static ModelConfig config(int64_t head_dim, RopeConfig rope)
{
    return (ModelConfig){.head_dim = head_dim, .max_position_embeddings = 512, .rope = rope};
}

/* The rules of the four types in double precision, written from their formulas. */
static double true_frequency(const ModelConfig *cfg, int64_t i)
{
    const RopeConfig *r = &cfg->rope;
    const double d = (double)cfg->head_dim, theta = pow(r->theta, -2.0 * (double)i / d);
    const double original = (double)r->original_max_position;

    if (r->type == ROPE_LINEAR)
        return theta / r->factor;
    if (r->type == ROPE_LLAMA3) {
        const double turns = original * theta / (2 * M_PI);
        const double t = fmin(1, fmax(0, (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor)));

        return t * theta + (1 - t) * theta / r->factor;
    }
    if (r->type == ROPE_YARN) {
        double low = d * log(original / (2 * M_PI * r->beta_fast)) / (2 * log(r->theta));
        double high = d * log(original / (2 * M_PI * r->beta_slow)) / (2 * log(r->theta));
        double t;

        low = fmax(0, r->truncate ? floor(low) : low);
        high = fmin(d - 1, r->truncate ? ceil(high) : high);
        t = fmin(1, fmax(0, ((double)i - low) / (high - low)));
        return t * theta / r->factor + (1 - t) * theta;
    }
    return theta;
}

static const RopeConfig types[] = {
    {.type = ROPE_DEFAULT, .theta = 10000},
    {.type = ROPE_LINEAR, .theta = 10000, .factor = 2.5},
    {.type = ROPE_LLAMA3, .theta = 5e5, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position = 64},
    {.type = ROPE_YARN, .theta = 1000, .factor = 4, .beta_fast = 4, .beta_slow = 1, .original_max_position = 40, .truncate = true},
    {.type = ROPE_YARN, .theta = 10000, .factor = 16, .beta_fast = 32, .beta_slow = 1, .original_max_position = 256, .truncate = false},
};
enum { N_TYPE = sizeof types / sizeof *types };

static void test_rope_frequencies_follow_the_formulas(void **state)
{
    (void)state;
    for (int k = 0; k < N_TYPE; k++)
        for (int64_t d = 8; d <= 2 * MAX_HALF; d *= 2) {
            const ModelConfig cfg = config(d, types[k]);
            float got[MAX_HALF], factor;
            double want[MAX_HALF];

            rope_frequencies(&cfg, 512, got, &factor);
            for (int64_t i = 0; i < d / 2; i++)
                want[i] = true_frequency(&cfg, i);
            /* each F32 step rounds by 2^-24; the exponent's rounding is multiplied by ln(theta) <= 14, the rest are six steps */
            check_close_f32("inverse frequency", got, want, (size_t)d / 2, 0, 20 * 0x1p-24);
        }
}

static void test_rope_yarn_attention_factor(void **state)
{
    RopeConfig rope = types[3];
    ModelConfig cfg = config(16, rope);
    float inv[MAX_HALF], factor;

    (void)state;
    rope_frequencies(&cfg, 1, inv, &factor);
    check_close("by formula", (double)factor, 0.1 * log(4) + 1, 0, 1e-7);
    cfg.rope.mscale = 0.7;
    rope_frequencies(&cfg, 1, inv, &factor);
    check_close("mscale alone changes nothing", (double)factor, 0.1 * log(4) + 1, 0, 1e-7);
    cfg.rope.mscale_all_dim = 0.4;
    rope_frequencies(&cfg, 1, inv, &factor);
    check_close("both", (double)factor, (0.07 * log(4) + 1) / (0.04 * log(4) + 1), 0, 1e-7);
    cfg.rope.attention_factor = 1.5;
    rope_frequencies(&cfg, 1, inv, &factor);
    check_close("as given", (double)factor, 1.5, 0, 0);
}

/* Beyond max_position_embeddings (512 here) every length has a base of its own, up to there all have the usual one. */
static void test_rope_dynamic_grows_with_the_sequence(void **state)
{
    static const int64_t lengths[] = {1, 511, 512, 513, 700, 5000};
    const ModelConfig cfg = config(16, (RopeConfig){.type = ROPE_DYNAMIC, .theta = 10000, .factor = 2.5});
    float inv[MAX_HALF], factor;

    (void)state;
    assert_true(rope_by_length(&cfg));
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const double length = fmax((double)lengths[k], 512);
        const double theta = 10000 * pow(2.5 * length / 512 - 1.5, 16.0 / 14);

        rope_frequencies(&cfg, lengths[k], inv, &factor);
        assert_true(factor == 1);
        /* roundings as below, those of the base come on top: four steps, and its exponent times ln(23) */
        for (int i = 0; i < 8; i++)
            check_close("inverse frequency", (double)inv[i], pow(theta, -i / 8.0), 0, 30 * 0x1p-24);
        assert_int_equal(rope_length_class(&cfg, lengths[k]), length);
    }
}

static void test_rope_longrope_has_a_short_and_a_long_form(void **state)
{
    ModelConfig cfg = config(8, (RopeConfig){.type = ROPE_LONGROPE, .theta = 10000, .factor = 8, .original_max_position = 64,
                                             .short_factor = {1, 1.1, 1.5, 2}, .long_factor = {1, 3, 9, 27}});
    float inv[MAX_HALF], factor;

    (void)state;
    assert_true(rope_by_length(&cfg));
    assert_int_equal(rope_length_class(&cfg, 3), rope_length_class(&cfg, 64));
    assert_int_equal(rope_length_class(&cfg, 65), rope_length_class(&cfg, 512));
    assert_int_not_equal(rope_length_class(&cfg, 64), rope_length_class(&cfg, 65));
    for (int64_t length = 63; length <= 66; length++) {
        const double *stretch = length > 64 ? cfg.rope.long_factor : cfg.rope.short_factor;

        rope_frequencies(&cfg, length, inv, &factor);
        for (int i = 0; i < 4; i++)
            check_close("inverse frequency", (double)inv[i], pow(10000, -i / 4.0) / stretch[i], 0, 20 * 0x1p-24);
        check_close("attention factor", (double)factor, sqrt(1 + log(8) / log(64)), 0, 1e-7);
    }
    cfg.rope.factor = 0.5;
    rope_frequencies(&cfg, 64, inv, &factor);
    assert_true(factor == 1);
    cfg.rope.attention_factor = 1.25;
    rope_frequencies(&cfg, 64, inv, &factor);
    assert_true(factor == 1.25f);
}

/* What a row holds depends on its own position and length alone, wherever it stands. */
static void test_rope_rows_are_those_of_each_sequence(void **state)
{
    enum { N = 700, HALF = 8 };
    const ModelConfig cfg = config(2 * HALF, (RopeConfig){.type = ROPE_DYNAMIC, .theta = 10000, .factor = 2});
    static int32_t position[N], length[N];
    static float cos_rows[N * HALF], sin_rows[N * HALF];
    float inv[MAX_HALF], factor;
    Pool *pool;

    (void)state;
    for (int i = 0; i < N; i++) {
        length[i] = i < 300 ? 300 : i < 450 ? 513 + i / 50 : 4000;
        position[i] = i % 250;
    }
    CHECK_OK(pool_create(&pool, 2));
    CHECK_OK(rope_rows(pool, &cfg, position, length, N, cos_rows, sin_rows));
    for (int r = 0; r < N; r++) {
        rope_frequencies(&cfg, length[r], inv, &factor);
        for (int i = 0; i < HALF; i++) {
            const float angle = (float)position[r] * inv[i];

            assert_true(cos_rows[r * HALF + i] == (float)cos((double)angle));
            assert_true(sin_rows[r * HALF + i] == (float)sin((double)angle));
        }
    }
    pool_free(pool);
}

static void test_rope_table_is_rounded_from_the_f32_angle(void **state)
{
    enum { N = 600, HALF = 8 };
    const ModelConfig cfg = config(2 * HALF, types[3]);
    float cos_table[N * HALF], sin_table[N * HALF], inv[MAX_HALF], factor;
    RopeTable table;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, "cpu", 2));
    CHECK_OK(rope_open(&table, dev, &cfg, N));
    assert_int_equal(table.n_position, N);
    assert_true(table.memory.used <= rope_bytes(dev, &cfg, N));
    CHECK_OK(device_download(dev, cos_table, table.cos));
    CHECK_OK(device_download(dev, sin_table, table.sin));
    rope_frequencies(&cfg, N, inv, &factor);
    for (int p = 0; p < N; p++)
        for (int i = 0; i < HALF; i++) {
            const float angle = (float)p * inv[i];

            assert_true(cos_table[p * HALF + i] == (float)cos((double)angle) * factor);
            assert_true(sin_table[p * HALF + i] == (float)sin((double)angle) * factor);
        }
    rope_close(&table);
    device_close(dev);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rope_frequencies_follow_the_formulas),
        cmocka_unit_test(test_rope_yarn_attention_factor),
        cmocka_unit_test(test_rope_dynamic_grows_with_the_sequence),
        cmocka_unit_test(test_rope_longrope_has_a_short_and_a_long_form),
        cmocka_unit_test(test_rope_rows_are_those_of_each_sequence),
        cmocka_unit_test(test_rope_table_is_rounded_from_the_f32_angle),
    };
    return TEST_MAIN(tests);
}
