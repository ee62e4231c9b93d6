#include "tests/check.h"

#include "core/mem.h"
#include "eval/score/key.h"

#include <string.h>

static ScoreKey sample_key(void)
{
    return (ScoreKey){
        .checkpoint = {{1}}, .tokenizer = {{2}}, .data = {{3}}, .shot_data = {{4}},
        .task = "hellaswag", .version = "1.0", .split = "validation", .profile = "lm-eval", .bos = "auto", .template_name = "none",
        .dtype = "f32", .device_class = "cpu-avx2", .shots = 5, .draws_one_more = true, .max_length = 512, .fewshot_seed = 1234,
    };
}

static DigestHex hex_of(const ScoreKey *k)
{
    DigestHex hex;
    CHECK_OK(score_key(k, &hex));
    return hex;
}

static void test_key_changes_with_every_field(void **state)
{
    const Digest adapter = {{9}}, other = {{10}};
    ScoreKey k[20];
    DigestHex hex[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        k[i] = sample_key();
    k[1].checkpoint.byte[31] = 1;
    k[2].tokenizer.byte[31] = 1;
    k[3].data.byte[31] = 1;
    k[4].shot_data.byte[31] = 1;
    k[5].task = "hellaswa";
    k[6].version = "2.0";
    k[7].split = "train";
    k[8].profile = "openllm";
    k[9].bos = "no";
    k[10].template_name = "chatml";
    k[11].dtype = "bf16";
    k[12].device_class = "cpu-avx512";
    k[13].shots = 4;
    k[14].draws_one_more = false;
    k[15].max_length = 513;
    k[16].fewshot_seed = 1;
    k[17].adapter = k[18].adapter = &adapter;
    k[18].merged = true;
    k[19].adapter = &other;
    for (int i = 0; i < 20; i++) {
        hex[i] = hex_of(&k[i]);
        assert_int_equal(strlen(hex[i].text), 64);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(hex[i].text, hex[j].text);
    }
    assert_string_equal(hex_of(&k[0]).text, hex[0].text);
    k[0].merged = true; /* nothing to merge */
    assert_string_equal(hex_of(&k[0]).text, hex[0].text);
}

/* Scores are found again by their key for years: a change of its spelling shows here, and must be a decision. */
static void test_key_is_spelled_as_ever(void **state)
{
    const ScoreKey k = sample_key();

    (void)state;
    assert_string_equal(hex_of(&k).text, "9170bb19e4bb3aa133957fde6452536f9ea19033d55f15c3f85e0cdafd9cf140");
}

static void test_key_without_shots_forgets_how_they_are_drawn(void **state)
{
    ScoreKey a = sample_key(), b = sample_key();

    (void)state;
    a.shots = b.shots = 0;
    b.shot_data.byte[0] = 9;
    b.draws_one_more = false;
    b.fewshot_seed = 7;
    assert_string_equal(hex_of(&a).text, hex_of(&b).text);
}

static void test_key_text_cannot_pretend_to_be_another_field(void **state)
{
    ScoreKey a = sample_key(), b = sample_key();

    (void)state;
    a.split = "x\nprofile 1 y";
    a.profile = "y";
    b.split = "x";
    b.profile = "y\nprofile 1 y";
    assert_string_not_equal(hex_of(&a).text, hex_of(&b).text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_changes_with_every_field),
        cmocka_unit_test(test_key_is_spelled_as_ever),
        cmocka_unit_test(test_key_without_shots_forgets_how_they_are_drawn),
        cmocka_unit_test(test_key_text_cannot_pretend_to_be_another_field),
    };
    return TEST_MAIN(tests);
}
