#include "tests/check.h"

#include "tests/config_text.h"

#include <stdio.h>
#include <unistd.h>

static void test_config_prefers_rope_scaling_and_rope_type(void **state)
{
    ModelConfig cfg;

    (void)state;
    CHECK_OK(config_text_parse(&cfg, NULL,
                   "\"rope_theta\":700.0,\"rope_scaling\":{\"type\":\"yarn\",\"rope_type\":\"linear\",\"factor\":4},"
                   "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":900.0}"));
    assert_int_equal(cfg.rope.type, ROPE_LINEAR);
    check_close("factor", cfg.rope.factor, 4, 0, 0);
    check_close("rope_theta", cfg.rope.theta, 700, 0, 0);
    CHECK_OK(config_text_parse(&cfg, NULL, "\"rope_scaling\":null,\"rope_theta\":700.0,\"rope_parameters\":{\"rope_theta\":900.0}"));
    check_close("rope_theta", cfg.rope.theta, 900, 0, 0);
}

static void test_config_finds_the_original_context(void **state)
{
    static const char *const llama3 = "\"max_position_embeddings\":512,\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,"
                                      "\"low_freq_factor\":1,\"high_freq_factor\":4";
    static const struct {
        const char *tail;
        int64_t original;
    } cases[] = {{"}", 512}, {",\"original_max_position_embeddings\":64}", 64},
                 {",\"original_max_position_embeddings\":64},\"original_max_position_embeddings\":128", 128}};
    ModelConfig cfg;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];

        snprintf(text, sizeof text, "%s%s", llama3, cases[i].tail);
        CHECK_OK(config_text_parse(&cfg, NULL, text));
        assert_int_equal(cfg.rope.original_max_position, cases[i].original);
    }
}

static void test_config_reads_longrope(void **state)
{
    ModelConfig cfg;

    (void)state;
    CHECK_OK(config_text_parse(&cfg, NULL, "\"max_position_embeddings\":512," LONGROPE ",\"original_max_position_embeddings\":64}"));
    assert_int_equal(cfg.rope.type, ROPE_LONGROPE);
    assert_int_equal(cfg.rope.original_max_position, 64);
    check_close("factor", cfg.rope.factor, 8, 0, 0);
    check_close("short", cfg.rope.short_factor[1], 1.1, 0, 0);
    check_close("long", cfg.rope.long_factor[3], 8, 0, 0);
    CHECK_OK(config_text_parse(&cfg, NULL, "\"max_position_embeddings\":512," LONGROPE ",\"factor\":3,\"attention_factor\":1.5},"
                               "\"original_max_position_embeddings\":128"));
    assert_int_equal(cfg.rope.original_max_position, 128);
    check_close("factor", cfg.rope.factor, 3, 0, 0);
    check_close("attention_factor", cfg.rope.attention_factor, 1.5, 0, 0);
}

/* What goes to stderr in between, as text that stays until the next capture. */
static const char *captured;
static int saved_stderr;

static void capture_start(void)
{
    if (captured == NULL)
        captured = test_file(test_folder(), "stderr", "", 0);
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_non_null(freopen(captured, "w", stderr));
}

static const char *capture_end(void)
{
    static char text[4096];
    size_t n;
    FILE *f;

    fflush(stderr);
    assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
    close(saved_stderr);
    f = fopen(captured, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* How often parsing with these members warns. */
static int warnings(const char *members)
{
    const char *text = "";
    ModelConfig cfg;
    int count = 0;

    capture_start();
    CHECK_OK(config_text_parse(&cfg, NULL, members));
    text = capture_end();
    while ((text = strstr(text, "warning")) != NULL) {
        text++;
        count++;
    }
    return count;
}

/* Two forms side by side are no contradiction as long as they say the same. */
static void test_config_warns_once_of_contradictions(void **state)
{
    (void)state;
    assert_int_equal(warnings(""), 0);
    assert_int_equal(warnings("\"rope_theta\":7e3,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
                              "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.0,\"rope_theta\":7e3}"), 0);
    assert_int_equal(warnings("\"rope_scaling\":null,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2}"), 0);
    assert_int_equal(warnings("\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4}"), 1);
    assert_int_equal(warnings("\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"default\"}"), 1);
    assert_int_equal(warnings("\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"linear\",\"factor\":2}"), 0);
    assert_int_equal(warnings("\"rope_scaling\":{\"type\":\"yarn\",\"rope_type\":\"linear\",\"factor\":2}"), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_prefers_rope_scaling_and_rope_type),
        cmocka_unit_test(test_config_finds_the_original_context),
        cmocka_unit_test(test_config_reads_longrope),
        cmocka_unit_test(test_config_warns_once_of_contradictions),
    };
    return TEST_MAIN(tests);
}
