/* What is known of how a checkpoint was made: from lethe.json and from other people's files. */
#include "tests/trees.h"

#include "model/runinfo.h"

static RunInfo read_folder(const char *folder)
{
    RunInfo info;

    CHECK_OK(runinfo_read(&info, &tree_memory, folder));
    return info;
}

/* ---- lethe.json ----------------------------------------------------------------------------------------------------------- */

static const char LETHE_JSON[] =
    "{\"label\": \"r16: math\", \"condition\": \"math\", \"run\": \"m16\", \"method\": \"lora\", \"rank\": 16, \"alpha\": 32, \"targets\": \"all\","
    " \"lr\": 0.0002, \"seed\": 17, \"step\": 100, \"tokens\": 12345678901, \"epochs\": 0.5, \"base\": \"models/b\", \"template\": \"plain\","
    " \"of a later time\": [1]}";
static const RunInfo LETHE_INFO = {.label = "r16: math", .condition = "math", .run = "m16", .method = "lora", .rank = 16, .alpha = 32,
                                   .targets = "all", .lr = 0.0002, .seed = 17, .step = 100, .tokens = 12345678901, .epochs = 0.5,
                                   .base = "models/b", .template_name = "plain"};

static void test_lethe_json_says_everything(void **state)
{
    const char *folder = test_folder();
    RunInfo unknown = runinfo_unknown(), got = read_folder(folder);

    (void)state;
    check_runinfo(&got, &unknown);
    tree_put(folder, "lethe.json", LETHE_JSON);
    tree_put(folder, "trainer_state.json", "not even JSON"); /* not asked */
    got = read_folder(folder);
    check_runinfo(&got, &LETHE_INFO);
    tree_put(folder, "lethe.json", "{\"label\": null, \"rank\": null, \"lr\": null, \"step\": 3.0}");
    got = read_folder(folder);
    unknown.step = 3;
    check_runinfo(&got, &unknown);
}

static void test_lethe_json_is_written_as_it_is_read(void **state)
{
    const char *folder = test_folder();
    RunInfo some = runinfo_unknown();
    const RunInfo *const want[] = {&LETHE_INFO, &some};
    StrBuf text;

    (void)state;
    some.method = "full";
    some.step = 0;
    some.lr = 1e-5;
    strbuf_init(&text);
    for (int i = 0; i < 2; i++) {
        strbuf_clear(&text);
        CHECK_OK(runinfo_write(&text, want[i]));
        tree_put(folder, "lethe.json", text.data);
        const RunInfo got = read_folder(folder);
        check_runinfo(&got, want[i]);
    }
    strbuf_release(&text);
}

static void check_own_refused(const char *text, const char *part)
{
    const char *folder = test_folder();
    RunInfo info;

    tree_put(folder, "lethe.json", text);
    CHECK_FAILS(runinfo_read(&info, &tree_memory, folder), LT_E_INPUT, part);
}

static void test_lethe_json_of_wrong_types_is_refused_by_key(void **state)
{
    StrBuf big;

    (void)state;
    check_own_refused("[]", "lethe.json: expected an object, found []");
    check_own_refused("{\"label\"", "lethe.json:1:");
    check_own_refused("{\"label\": 7}", "lethe.json: label: expected a string, found 7");
    check_own_refused("{\"condition\": \"a\\tb\"}", "condition: expected at most 4096 bytes of text without control characters");
    check_own_refused("{\"run\": \"a\\u0000b\"}", "run: expected at most 4096 bytes");
    check_own_refused("{\"method\": \"dora\"}", "method: expected \"base\", \"full\" or \"lora\", found \"dora\"");
    check_own_refused("{\"method\": 1}", "method: expected a string");
    check_own_refused("{\"rank\": \"16\"}", "rank: expected an integer of at least 0");
    check_own_refused("{\"rank\": -1}", "rank: expected an integer of at least 0");
    check_own_refused("{\"step\": 1.5}", "step: expected an integer");
    check_own_refused("{\"tokens\": 1e300}", "tokens: expected an integer");
    check_own_refused("{\"alpha\": true}", "alpha: expected a number, found true");
    check_own_refused("{\"targets\": 7}", "targets: expected a list of module names, or a string, found 7");
    check_own_refused("{\"targets\": [\"q_proj\", 7]}", "targets[1]: expected a string, found 7");
    strbuf_init(&big);
    strbuf_add_text(&big, "{\"label\": \"");
    for (int i = 0; i <= 1 << 20; i++)
        strbuf_add_char(&big, 'x');
    check_own_refused(big.data, "more than the 1048576 bytes allowed");
    strbuf_release(&big);
}

/* ---- targets -------------------------------------------------------------------------------------------------------------- */

static void check_targets(const char *json, const char *want)
{
    const char *folder = test_folder();
    StrBuf text;

    strbuf_init(&text);
    strbuf_addf(&text, "{\"peft_type\": \"LORA\", \"target_modules\": %s}", json);
    tree_put(folder, "adapter_config.json", text.data);
    strbuf_release(&text);
    assert_string_equal(read_folder(folder).targets, want);
}

static void test_targets_are_named_by_the_set_they_are(void **state)
{
    (void)state;
    check_targets("[\"down_proj\", \"gate_proj\", \"k_proj\", \"o_proj\", \"q_proj\", \"up_proj\", \"v_proj\"]", "all");
    check_targets("[\"v_proj\", \"o_proj\", \"q_proj\", \"k_proj\"]", "attention");
    check_targets("[\"up_proj\", \"down_proj\", \"gate_proj\", \"gate_proj\"]", "mlp");
    check_targets("[\"v_proj\", \"q_proj\"]", "q_proj,v_proj");
    check_targets("[\"up_proj\", \"down_proj\", \"gate_proj\", \"o_proj\"]", "o_proj,gate_proj,up_proj,down_proj");
    check_targets("[\"model.layers.0.mlp.up_proj\", \"model.layers.1.mlp.up_proj\"]", "up_proj");
    check_targets("[\"lm_head\", \"down_proj\", \"gate_proj\", \"k_proj\", \"o_proj\", \"q_proj\", \"up_proj\", \"v_proj\", \"x_proj\"]",
                  "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,lm_head,x_proj");
    check_targets("[\"embed_tokens\"]", "embed_tokens");
    check_targets("[\"my_q_proj\"]", "my_q_proj");
    check_targets("[]", "");
    check_targets("null", "");
    check_targets("\"all-linear\"", "all");
    check_targets("\".*\\\\.(q|v)_proj\"", ".*\\.(q|v)_proj");
}

/* ---- other people's files ------------------------------------------------------------------------------------------------- */

static void test_adapter_and_trainer_state_tell_of_a_lora_run(void **state)
{
    const char *folder = test_folder();
    RunInfo want = runinfo_unknown();

    (void)state;
    tree_put(folder, "adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16.5, \"target_modules\": [\"q_proj\", \"v_proj\"],"
                                            " \"base_model_name_or_path\": \"org/name\", \"revision\": \"v1\"}");
    tree_put(folder, "trainer_state.json",
        "{\"global_step\": 300, \"epoch\": 2.25, \"num_input_tokens_seen\": 0, \"best_metric\": -Infinity, \"log_history\": ["
        "{\"step\": 100, \"learning_rate\": 1e-4, \"loss\": Infinity}, {\"step\": 200, \"learning_rate\": 5e-5, \"loss\": NaN},"
        "{\"step\": 300, \"eval_loss\": 1.5, \"note\": \"\\\" NaN\"}]}");
    const RunInfo got = read_folder(folder);
    want.method = "lora";
    want.rank = 8;
    want.alpha = 16.5;
    want.targets = "q_proj,v_proj";
    want.base = "org/name@v1";
    want.step = 300;
    want.epochs = 2.25;
    want.lr = 5e-5;
    check_runinfo(&got, &want);
}

static void test_trainer_state_alone_tells_of_a_full_run(void **state)
{
    const char *folder = test_folder();
    RunInfo want = runinfo_unknown();

    (void)state;
    tree_put(folder, "trainer_state.json", "{\"global_step\": 7, \"epoch\": null, \"num_input_tokens_seen\": 4096, \"log_history\": []}");
    RunInfo got = read_folder(folder);
    want.method = "full";
    want.step = 7;
    want.tokens = 4096;
    check_runinfo(&got, &want);
    tree_put(folder, "trainer_state.json", "{}");
    want.step = want.tokens = -1;
    got = read_folder(folder);
    check_runinfo(&got, &want);
}

static void check_base(const char *base, const char *revision, const char *want)
{
    const char *folder = test_folder();
    StrBuf text;

    strbuf_init(&text);
    strbuf_addf(&text, "{\"peft_type\": \"LORA\", \"base_model_name_or_path\": %s, \"revision\": %s}", base, revision);
    tree_put(folder, "adapter_config.json", text.data);
    strbuf_release(&text);
    assert_string_equal(read_folder(folder).base, want);
}

static void test_base_is_written_as_a_user_would(void **state)
{
    (void)state;
    check_base("\"org/name\"", "null", "org/name");
    check_base("\"org/name\"", "\"\"", "org/name");
    check_base("\"org/name\"", "\"refs/pr/1\"", "org/name@refs/pr/1");
    check_base("\"org/name@a\"", "\"b\"", "org/name@a");
    check_base("\"/models/name\"", "\"v1\"", "/models/name");
    check_base("null", "\"v1\"", "");
}

static void check_foreign_refused(const char *name, const char *text, const char *part)
{
    const char *folder = test_folder();
    RunInfo info;

    tree_put(folder, name, text);
    CHECK_FAILS(runinfo_read(&info, &tree_memory, folder), LT_E_INPUT, part);
}

static void test_odd_foreign_files_are_refused_by_key(void **state)
{
    static const char adapter[] = "adapter_config.json", trainer[] = "trainer_state.json";
    StrBuf many;

    (void)state;
    check_foreign_refused(adapter, "[]", "adapter_config.json: expected an object");
    check_foreign_refused(adapter, "{}", "adapter_config.json: peft_type: expected a string, found nothing");
    check_foreign_refused(adapter, "{\"peft_type\": \"IA3\"}", "peft_type: expected \"LORA\", found \"IA3\"");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"r\": 0}", "r: expected an integer from 1");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"lora_alpha\": \"x\"}", "lora_alpha: expected a number");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"target_modules\": {}}",
                          "target_modules: expected a list of module names, or a string");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"target_modules\": [\"a\\nb\"]}", "target_modules[0]: expected at most 4096 bytes");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"base_model_name_or_path\": 1}", "base_model_name_or_path: expected a string");
    check_foreign_refused(adapter, "{\"peft_type\": \"LORA\", \"revision\": 1}", "revision: expected a string");
    check_foreign_refused(trainer, "[]", "trainer_state.json: expected an object");
    check_foreign_refused(trainer, "{\"global_step\": -1}", "global_step: expected an integer of at least 0");
    check_foreign_refused(trainer, "{\"epoch\": \"1\"}", "epoch: expected a number");
    check_foreign_refused(trainer, "{\"num_input_tokens_seen\": 0.5}", "num_input_tokens_seen: expected an integer");
    check_foreign_refused(trainer, "{\"log_history\": {}}", "log_history: expected an array");
    check_foreign_refused(trainer, "{\"log_history\": [1]}", "log_history[0]: expected an object");
    check_foreign_refused(trainer, "{\"log_history\": [{\"learning_rate\": \"x\"}]}", "log_history[0].learning_rate: expected a number");
    check_foreign_refused(trainer, "{\"log_history\": [NaNa]}", "trainer_state.json:1:");
    check_foreign_refused(trainer, "{\"a\": \"\\", "trainer_state.json:1:");
    strbuf_init(&many);
    strbuf_add_text(&many, "{\"peft_type\": \"LORA\", \"target_modules\": [\"first\"");
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&many, ", \"module_%d\"", i);
    strbuf_add_text(&many, "]}");
    check_foreign_refused(adapter, many.data, "target_modules: expected modules whose names fit 4096 bytes");
    strbuf_release(&many);
}

static void test_adapters_of_peft_itself_are_read(void **state)
{
    (void)state;
    const RunInfo attention = read_folder(test_data("golden/adapters/stories260K.attn_r4"));
    assert_string_equal(attention.method, "lora");
    assert_string_equal(attention.targets, "attention");
    assert_int_equal(attention.rank, 4);
    assert_true(attention.alpha == 8);
    assert_string_equal(attention.base, "data/models/stories260K");
    assert_string_equal(read_folder(test_data("golden/adapters/llama3_tiny.mlp_r4")).targets, "mlp");
    assert_string_equal(read_folder(test_data("golden/adapters/llama3_tiny.all_linear")).targets, "all");
    assert_string_equal(read_folder(test_data("golden/adapters/llama3_tiny.regex_layer1")).targets, ".*layers\\.1\\..*\\.(q_proj|up_proj)");
}

/* ---- tables --------------------------------------------------------------------------------------------------------------- */

static void test_row_gets_the_columns_that_the_table_has(void **state)
{
    static const char *const column[] = {"rank", "label", "other", "lr", "alpha", "seed"};
    RunInfo info = LETHE_INFO;
    Tsv t;

    (void)state;
    info.seed = -1;
    CHECK_OK(tsv_init(&t, column, 6));
    CHECK_OK(tsv_row(&t));
    CHECK_OK(runinfo_set_row(&t, 0, &info));
    assert_string_equal(tsv_get(&t, 0, "rank"), "16");
    assert_string_equal(tsv_get(&t, 0, "label"), "r16: math");
    assert_string_equal(tsv_get(&t, 0, "other"), "");
    assert_string_equal(tsv_get(&t, 0, "lr"), "0.0002");
    assert_string_equal(tsv_get(&t, 0, "alpha"), "32");
    assert_string_equal(tsv_get(&t, 0, "seed"), "");
    tsv_release(&t);
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

static Status read_info(Arena *arena, const char *folder)
{
    RunInfo info;
    return runinfo_read(&info, arena, folder);
}

static void test_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    const char *own = test_folder(), *foreign = test_folder();

    (void)state;
    tree_put(own, "lethe.json", LETHE_JSON);
    check_out_of_memory(read_info, own, LT_OK);
    /* The longest key stands first: Jansson 2.14 writes out of bounds where the byte that its token buffer cannot grow for is a closing quote. */
    tree_put(foreign, "adapter_config.json", "{\"base_model_name_or_path\": \"org/name\", \"revision\": \"v1\", \"peft_type\": \"LORA\", \"r\": 8,"
                                             " \"target_modules\": [\"q_proj\", \"x\"]}");
    tree_put(foreign, "trainer_state.json", "{\"global_step\": 300, \"log_history\": [{\"learning_rate\": 1e-4, \"loss\": NaN}]}");
    check_out_of_memory(read_info, foreign, LT_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lethe_json_says_everything, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_lethe_json_is_written_as_it_is_read, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_lethe_json_of_wrong_types_is_refused_by_key, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_targets_are_named_by_the_set_they_are, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_adapter_and_trainer_state_tell_of_a_lora_run, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_trainer_state_alone_tells_of_a_full_run, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_base_is_written_as_a_user_would, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_odd_foreign_files_are_refused_by_key, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_adapters_of_peft_itself_are_read, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_row_gets_the_columns_that_the_table_has, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_out_of_memory_is_said_and_leaks_nothing, tree_begin, tree_end),
    };
    return TEST_MAIN(tests);
}
