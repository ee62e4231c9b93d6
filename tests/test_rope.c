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

            CHECK_OK(rope_frequencies(&cfg, 512, got, &factor));
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
    CHECK_OK(rope_frequencies(&cfg, 1, inv, &factor));
    check_close("by formula", (double)factor, 0.1 * log(4) + 1, 0, 1e-7);
    cfg.rope.mscale = 0.7;
    CHECK_OK(rope_frequencies(&cfg, 1, inv, &factor));
    check_close("mscale alone changes nothing", (double)factor, 0.1 * log(4) + 1, 0, 1e-7);
    cfg.rope.mscale_all_dim = 0.4;
    CHECK_OK(rope_frequencies(&cfg, 1, inv, &factor));
    check_close("both", (double)factor, (0.07 * log(4) + 1) / (0.04 * log(4) + 1), 0, 1e-7);
    cfg.rope.attention_factor = 1.5;
    CHECK_OK(rope_frequencies(&cfg, 1, inv, &factor));
    check_close("as given", (double)factor, 1.5, 0, 0);
}

static void test_rope_refuses_types_without_a_table(void **state)
{
    const ModelConfig cfg = config(16, (RopeConfig){.type = ROPE_DYNAMIC, .theta = 10000, .factor = 2});
    float inv[MAX_HALF], factor;

    (void)state;
    CHECK_FAILS(rope_frequencies(&cfg, 1, inv, &factor), LT_E_UNSUPPORTED, "RoPE");
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
    CHECK_OK(rope_frequencies(&cfg, N, inv, &factor));
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
        cmocka_unit_test(test_rope_refuses_types_without_a_table),
        cmocka_unit_test(test_rope_table_is_rounded_from_the_f32_angle),
    };
    return TEST_MAIN(tests);
}
