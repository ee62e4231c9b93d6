/* Finding checkpoints, bases and tokenizers in made-up folders. */
#include "tests/trees.h"

#include "core/file.h"
#include "model/locate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- folders -------------------------------------------------------------------------------------------------------------- */

static void test_checkpoint_is_a_model_or_an_adapter_folder(void **state)
{
    const char *root = test_folder(), *model = tree_model(root, "m"), *sharded = tree_path(root, "s"), *adapter = tree_adapter(root, "a", "{}");
    Located got;

    (void)state;
    CHECK_OK(locate_checkpoint(&got, &tree_memory, model));
    assert_string_equal(got.path, model);
    assert_string_equal(got.given, model);
    assert_null(got.commit);
    assert_int_equal(got.kind, FOLDER_MODEL);
    tree_put(sharded, "model.safetensors.index.json", "{}");
    CHECK_OK(locate_checkpoint(&got, &tree_memory, sharded));
    assert_int_equal(got.kind, FOLDER_MODEL);
    tree_put(adapter, "config.json", "{}"); /* of its base */
    CHECK_OK(locate_checkpoint(&got, &tree_memory, adapter));
    assert_int_equal(got.kind, FOLDER_ADAPTER);
}

static void test_checkpoint_refuses_what_is_no_checkpoint(void **state)
{
    const char *root = test_folder();
    Located got;

    (void)state;
    tree_put(root, "file", "x");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, tree_path(root, "file")), LT_E_INPUT, "expected a folder, found a file");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, tree_path(root, "absent")), LT_E_INPUT, "found no such folder");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, ""), LT_E_INPUT, "'': expected a folder or a hub id ORG/NAME[@REVISION]");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, "expected model.safetensors or model.safetensors.index.json, found neither");
    tree_put(tree_path(root, "a"), "adapter_config.json", "{}");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, tree_path(root, "a")), LT_E_INPUT,
                "expected adapter_model.safetensors beside adapter_config.json");
}

static void check_foreign(const char *name, bool is_folder, const char *format, const char *conversion)
{
    const char *root = test_folder();
    Located got;

    if (is_folder)
        CHECK_OK(dir_make(tree_path(root, name)));
    else
        tree_put(root, name, "");
    tree_put(root, "config.json", "{}");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, format);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, conversion);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, name);
}

static void test_checkpoint_tells_how_to_convert_other_formats(void **state)
{
    (void)state;
    check_foreign("pytorch_model.bin", false, "pickle weights", "save_pretrained('OUT')");
    check_foreign("pytorch_model-00001-of-00002.bin", false, "pickle weights", "save_pretrained('OUT')");
    check_foreign("adapter_model.bin", false, "pickle weights", "safetensors.torch.save_file");
    check_foreign("__0_0.distcp", false, "a distributed checkpoint of PyTorch", "accelerate merge-weights FOLDER OUT");
    check_foreign("pytorch_model_fsdp_0", true, "a distributed checkpoint of PyTorch", "accelerate merge-weights FOLDER/pytorch_model_fsdp_0 OUT");
    check_foreign("global_step500", true, "a DeepSpeed checkpoint", "python FOLDER/zero_to_fp32.py FOLDER OUT");
    check_foreign("mp_rank_00_model_states.pt", false, "a DeepSpeed checkpoint", "python PARENT/zero_to_fp32.py PARENT OUT");
    check_foreign("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", false, "a DeepSpeed checkpoint",
                  "python PARENT/zero_to_fp32.py PARENT OUT");
    check_foreign("mp_rank_00", true, "a Megatron checkpoint", "convert_checkpoints.py export");
    check_foreign("latest_checkpointed_iteration.txt", false, "a Megatron checkpoint", "convert_checkpoints.py export");
}

static void test_pickled_adapter_is_refused_as_pickle(void **state)
{
    const char *root = test_folder();
    Located got;

    (void)state;
    tree_put(root, "adapter_config.json", "{}");
    tree_put(root, "adapter_model.bin", "");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, "no safetensors but pickle weights");
}

static void test_run_folder_lists_its_checkpoints_by_number(void **state)
{
    const char *root = test_folder(), *many = test_folder(), *own = test_folder(), *repo = tree_path(tree_cache(test_folder()), "models--org--name");
    char name[32];
    Located got;

    (void)state;
    tree_model(root, "checkpoint-1000");
    tree_model(root, "checkpoint-200");
    tree_adapter(root, "code_adapter", "{}");
    CHECK_OK(dir_make(tree_path(root, "checkpoint-30"))); /* empty: still what was meant */
    CHECK_OK(dir_make(tree_path(root, "checkpoint-best")));
    CHECK_OK(dir_make(tree_path(root, "checkpoint-")));
    tree_put(root, "checkpoint-40", "a file");
    tree_put(root, "training_args.bin", "");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT,
                "found a folder of checkpoints; give one of them: checkpoint-30, checkpoint-200, checkpoint-1000, code_adapter");
    tree_model(own, "checkpoints/step-20");
    tree_model(own, "checkpoints/step-3");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, own), LT_E_INPUT, "one of them: checkpoints/step-3, checkpoints/step-20");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, tree_path(own, "checkpoints")), LT_E_INPUT, "one of them: step-3, step-20");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, repo), LT_E_INPUT, "one of them: snapshots/" COMMIT_A);
    for (int i = 1; i <= 15; i++) {
        snprintf(name, sizeof name, "checkpoint-%d", i);
        tree_model(many, name);
    }
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, many), LT_E_INPUT, "checkpoint-11, checkpoint-12, and 3 more");
    tree_put(many, "pytorch_model.bin", ""); /* then the final model was meant */
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, many), LT_E_INPUT, "no safetensors but pickle weights");
    tree_model(many, ".");
    CHECK_OK(locate_checkpoint(&got, &tree_memory, many));
}

/* PEFT's folder for an adapter called "code": meant if it is the only checkpoint there, and no step of a run. */
static void test_adapter_of_a_name_is_found_in_its_folder(void **state)
{
    const char *root = test_folder(), *run = test_folder();
    Located got;

    (void)state;
    tree_put(root, "README.md", "");
    const char *code = tree_adapter(root, "code", "{}");
    CHECK_OK(locate_checkpoint(&got, &tree_memory, root));
    assert_string_equal(got.path, code);
    assert_string_equal(got.given, root);
    assert_int_equal(got.kind, FOLDER_ADAPTER);
    tree_adapter(root, "math", "{}");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, root), LT_E_INPUT, "give one of them: code, math");
    tree_adapter(run, "checkpoint-500", "{}");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, run), LT_E_INPUT, "give one of them: checkpoint-500");
}

/* ---- bases ---------------------------------------------------------------------------------------------------------------- */

static Status base_of(Located *base, const char *adapter, const char *given)
{
    Located found;

    CHECK_OK(locate_checkpoint(&found, &tree_memory, adapter));
    return locate_base(base, &tree_memory, &found, given);
}

static void test_base_is_given_or_the_adapter_names_it(void **state)
{
    const char *root = test_folder(), *model = tree_model(root, "m"), *other = tree_model(root, "other");
    StrBuf config;
    Located base;

    (void)state;
    strbuf_init(&config);
    strbuf_addf(&config, "{\"base_model_name_or_path\": \"%s\", \"revision\": null}", model);
    const char *adapter = tree_adapter(root, "a", config.data);
    strbuf_release(&config);
    CHECK_OK(base_of(&base, adapter, NULL));
    assert_string_equal(base.path, model);
    CHECK_OK(base_of(&base, adapter, other));
    assert_string_equal(base.path, other);
    CHECK_FAILS(base_of(&base, adapter, adapter), LT_E_INPUT, "found another adapter");
    CHECK_FAILS(base_of(&base, adapter, "/nonexistent"), LT_E_INPUT, "'/nonexistent': expected a folder or a hub id");
}

static void test_relative_base_is_seen_from_here_then_from_the_adapter(void **state)
{
    const char *root = test_folder(), *adapter = tree_adapter(root, "runs/a", "{\"base_model_name_or_path\": \"../m\"}");
    char before[4096];
    Located base;

    (void)state;
    tree_model(root, "runs/m");
    CHECK_OK(base_of(&base, adapter, NULL));
    assert_string_equal(base.path, tree_path(adapter, "../m"));
    assert_string_equal(base.given, "../m");
    tree_model(root, "m");
    CHECK_OK(dir_make(tree_path(root, "here")));
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(tree_path(root, "here")), 0);
    const Status st = base_of(&base, adapter, NULL);
    assert_int_equal(chdir(before), 0);
    CHECK_OK(st);
    assert_string_equal(base.path, "../m");
}

static void test_base_may_be_a_hub_id_with_a_revision(void **state)
{
    const char *root = test_folder();
    Located base;

    (void)state;
    tree_use_only("HF_HUB_CACHE", tree_cache(root));
    CHECK_OK(base_of(&base, tree_adapter(root, "a", "{\"base_model_name_or_path\": \"org/name\"}"), NULL));
    assert_string_equal(base.commit, COMMIT_A);
    CHECK_OK(base_of(&base, tree_adapter(root, "b", "{\"base_model_name_or_path\": \"org/name\", \"revision\": \"refs/pr/1\"}"), NULL));
    assert_string_equal(base.commit, COMMIT_C);
    CHECK_OK(base_of(&base, tree_path(root, "b"), "org/name@main"));
    assert_string_equal(base.commit, COMMIT_A);
    CHECK_FAILS(base_of(&base, tree_adapter(root, "c", "{\"base_model_name_or_path\": \"org/gone\"}"), NULL), LT_E_INPUT,
                "c/adapter_config.json: base_model_name_or_path (another base can be named with --base): 'org/gone'");
}

static void check_base_refused(const char *config, const char *part)
{
    Located base;
    CHECK_FAILS(base_of(&base, tree_adapter(test_folder(), "a", config), NULL), LT_E_INPUT, part);
}

static void test_base_refuses_odd_adapter_configs(void **state)
{
    StrBuf config;
    Located base;

    (void)state;
    check_base_refused("{}", "adapter_config.json: base_model_name_or_path: the adapter does not say what its base is; name it with --base");
    check_base_refused("{\"base_model_name_or_path\": null}", "name it with --base");
    check_base_refused("{\"base_model_name_or_path\": \"\"}", "expected a folder or a hub id");
    check_base_refused("{\"base_model_name_or_path\": 7}", "base_model_name_or_path: expected a string, found 7");
    check_base_refused("{\"base_model_name_or_path\": \"a\\u0000b\"}", "without control characters");
    check_base_refused("{\"base_model_name_or_path\": \"a/b\", \"revision\": []}", "revision: expected a string");
    check_base_refused("{\"base_model_name_or_path\": \"a/b\", \"revision\": \"x/../..\"}", "expected a branch, a tag or a commit");
    check_base_refused("{\"base_model_name_or_path\": \"/gone/model\"}", "no such folder from here or from the adapter's");
    check_base_refused("[]", "adapter_config.json: expected an object");
    check_base_refused("{", "adapter_config.json:1:");
    const char *root = test_folder();
    tree_adapter(root, "b", "{}");
    CHECK_FAILS(base_of(&base, tree_adapter(root, "a", "{\"base_model_name_or_path\": \"../b\"}"), NULL), LT_E_INPUT, "found another adapter");
    strbuf_init(&config);
    strbuf_add_text(&config, "{\"base_model_name_or_path\": \"");
    for (int i = 0; i < 5000; i++)
        strbuf_add_char(&config, 'x');
    strbuf_add_text(&config, "\"}");
    check_base_refused(config.data, "at most 4096 bytes of text");
    strbuf_release(&config);
}

/* ---- tokenizers ----------------------------------------------------------------------------------------------------------- */

static void test_tokenizer_is_given_or_own_or_of_the_base(void **state)
{
    const char *root = test_folder(), *given = tree_path(root, "t");
    Located model, adapter;
    TokenizerPlace got;
    Digest one, two;

    (void)state;
    setenv("LETHE_CACHE", tree_path(root, "cache"), 1);
    CHECK_OK(sha256_of("1", 1, &one));
    CHECK_OK(sha256_of("2", 1, &two));
    CHECK_OK(locate_checkpoint(&model, &tree_memory, tree_model(root, "m")));
    CHECK_OK(locate_checkpoint(&adapter, &tree_memory, tree_adapter(root, "a", "{}")));
    CHECK_FAILS(locate_tokenizer(&got, &tree_memory, NULL, &model, NULL, FILEHASH_CACHED), LT_E_INPUT,
                "m: expected tokenizer.json or tokenizer.model, found neither");
    CHECK_FAILS(locate_tokenizer(&got, &tree_memory, NULL, &adapter, &model, FILEHASH_CACHED), LT_E_INPUT, "or in the base '");

    tree_put(model.path, "tokenizer.json", "1");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &adapter, &model, FILEHASH_CACHED));
    assert_string_equal(got.folder, model.path);
    assert_memory_equal(&got.digest, &one, sizeof one);
    assert_null(got.other);

    tree_put(adapter.path, "tokenizer.json", "1");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &adapter, &model, FILEHASH_CACHED));
    assert_string_equal(got.folder, adapter.path);
    assert_null(got.other);

    tree_put(adapter.path, "tokenizer.json", "2");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &adapter, &model, FILEHASH_AGAIN));
    assert_string_equal(got.folder, adapter.path);
    assert_memory_equal(&got.digest, &two, sizeof two);
    assert_string_equal(got.other, model.path);
    assert_memory_equal(&got.other_digest, &one, sizeof one);

    CHECK_OK(dir_make(given));
    CHECK_FAILS(locate_tokenizer(&got, &tree_memory, given, &adapter, &model, FILEHASH_CACHED), LT_E_INPUT, "--tokenizer");
    CHECK_FAILS(locate_tokenizer(&got, &tree_memory, "/nonexistent", &adapter, &model, FILEHASH_CACHED), LT_E_INPUT, "'/nonexistent'");
    tree_put(given, "tokenizer.json", "2");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, given, &adapter, &model, FILEHASH_AGAIN));
    assert_string_equal(got.folder, given);
    assert_string_equal(got.other, model.path); /* the adapter's is the same */

    /* Older folders have SentencePiece's file alone; beside a tokenizer.json it is not looked at, and the two cannot be compared. */
    CHECK_OK(locate_checkpoint(&model, &tree_memory, tree_model(root, "old")));
    tree_put(model.path, "tokenizer.model", "1");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &model, NULL, FILEHASH_AGAIN));
    assert_string_equal(got.file, "tokenizer.model");
    assert_memory_equal(&got.digest, &one, sizeof one);
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &adapter, &model, FILEHASH_AGAIN));
    assert_string_equal(got.file, "tokenizer.json");
    assert_null(got.other);
    tree_put(model.path, "tokenizer.json", "2");
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &model, NULL, FILEHASH_AGAIN));
    assert_memory_equal(&got.digest, &two, sizeof two);
}

/* A snapshot file as the hub's cache keeps it: a link to a blob whose name is the SHA-256 of what ought to be in it. */
#define BLOB "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
static void put_blob(const char *repo, const char *name)
{
    tree_put(tree_path(repo, "blobs"), BLOB, "");
    assert_int_equal(symlink("../../blobs/" BLOB, tree_path(tree_path(repo, "snapshots/" COMMIT_A), name)), 0);
}

static void test_tokenizer_of_a_hub_id_is_known_by_its_blob(void **state)
{
    const char *cache = tree_cache(test_folder());
    Located model;
    TokenizerPlace got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    put_blob(tree_path(cache, "models--org--name"), "tokenizer.json");
    CHECK_OK(locate_checkpoint(&model, &tree_memory, "org/name"));
    CHECK_OK(locate_tokenizer(&got, &tree_memory, NULL, &model, NULL, FILEHASH_CACHED));
    assert_string_equal(got.folder, model.path);
    assert_string_equal(digest_hex(&got.digest).text, BLOB);
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

static Status find_all(Arena *arena, const char *argument)
{
    Located adapter, base;
    TokenizerPlace place;

    TRY(locate_checkpoint(&adapter, arena, argument));
    TRY(locate_base(&base, arena, &adapter, NULL));
    return locate_tokenizer(&place, arena, "org/name", &adapter, &base, FILEHASH_CACHED);
}

static Status find_one(Arena *arena, const char *argument)
{
    Located found;
    return locate_checkpoint(&found, arena, argument);
}

static void test_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    const char *root = test_folder(), *cache = tree_cache(root), *runs = tree_path(root, "runs");

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    put_blob(tree_path(cache, "models--org--name"), "tokenizer.json"); /* its hash is known: the cache of hashes may swallow a failure */
    tree_model(runs, "checkpoint-1");
    check_out_of_memory(find_all, tree_adapter(root, "a", "{\"base_model_name_or_path\": \"org/name\", \"revision\": \"main\"}"), LT_OK);
    check_out_of_memory(find_one, runs, LT_E_INPUT);
    check_out_of_memory(find_one, test_folder(), LT_E_INPUT);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_checkpoint_is_a_model_or_an_adapter_folder, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_checkpoint_refuses_what_is_no_checkpoint, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_checkpoint_tells_how_to_convert_other_formats, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_pickled_adapter_is_refused_as_pickle, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_run_folder_lists_its_checkpoints_by_number, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_adapter_of_a_name_is_found_in_its_folder, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_base_is_given_or_the_adapter_names_it, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_relative_base_is_seen_from_here_then_from_the_adapter, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_base_may_be_a_hub_id_with_a_revision, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_base_refuses_odd_adapter_configs, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_tokenizer_is_given_or_own_or_of_the_base, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_tokenizer_of_a_hub_id_is_known_by_its_blob, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_out_of_memory_is_said_and_leaks_nothing, tree_begin, tree_end),
    };
    return TEST_MAIN(tests);
}
