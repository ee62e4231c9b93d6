/* Hub ids in a made-up Hugging Face cache. */
#include "tests/trees.h"

#include "core/file.h"
#include "model/locate.h"
#include "model/locate_hub.h"

#include <stdlib.h>
#include <unistd.h>

static void check_commit(const char *argument, const char *commit)
{
    Located got;

    CHECK_OK(locate_checkpoint(&got, &tree_memory, argument));
    assert_string_equal(got.given, argument);
    assert_string_equal(got.commit, commit);
    check_str(path_tail(got.path), commit, strlen(commit));
    assert_int_equal(got.kind, FOLDER_MODEL);
}

static void test_hub_id_is_told_from_a_path(void **state)
{
    static const char *const yes[] = {"org/name", "org/name@main", "org/name@refs/pr/1", "o_1/n-a.me-2", "org/name@"};
    static const char *const no[] = {"name", "./name", "../name", "/org/name", "org/", "/name", "a/b/c", "org/na me", "-org/name", "org/.name",
                                     "org/na..me", "org/na--me", "org/name.", "name@org/x", "", "@", "~/x"};
    HubId id;
    bool is_id;

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        CHECK_OK(hub_parse(&id, &tree_memory, yes[i], &is_id));
        assert_true(is_id);
    }
    assert_string_equal(id.repo, "org/name");
    assert_string_equal(id.revision, "");
    CHECK_OK(hub_parse(&id, &tree_memory, "org/name", &is_id));
    assert_null(id.revision);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        CHECK_OK(hub_parse(&id, &tree_memory, no[i], &is_id));
        assert_false(is_id);
    }
}

static void test_cache_is_found_by_the_environment(void **state)
{
    const char *root = test_folder(), *cache = tree_cache(root);
    Located got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    check_commit("org/name", COMMIT_A);
    tree_use_only("HF_HOME", root);
    check_commit("org/name", COMMIT_A);
    tree_use_only("XDG_CACHE_HOME", test_folder());
    CHECK_OK(dir_make(tree_path(getenv("XDG_CACHE_HOME"), "huggingface")));
    assert_int_equal(symlink(cache, tree_path(getenv("XDG_CACHE_HOME"), "huggingface/hub")), 0);
    check_commit("org/name", COMMIT_A);
    tree_use_only("HOME", test_folder());
    CHECK_OK(dir_make(tree_path(getenv("HOME"), ".cache/huggingface")));
    assert_int_equal(symlink(cache, tree_path(getenv("HOME"), ".cache/huggingface/hub")), 0);
    check_commit("org/name", COMMIT_A);
    setenv("HF_HUB_CACHE", "", 1); /* empty is unset */
    check_commit("org/name", COMMIT_A);
    setenv("HF_HOME", "~/.cache/huggingface", 1);
    setenv("XDG_CACHE_HOME", "/nonexistent", 1);
    check_commit("org/name", COMMIT_A);
    setenv("HF_HUB_CACHE", "/nonexistent", 1); /* the first one counts, even where it holds nothing */
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name"), LT_E_INPUT, "/nonexistent/models--org--name");
    tree_use_only(NULL, NULL);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name"), LT_E_INPUT, "none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set");
}

static void test_revision_is_a_ref_or_a_commit_or_its_beginning(void **state)
{
    const char *cache = tree_cache(test_folder());
    Located got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    check_commit("org/name@main", COMMIT_A);
    check_commit("org/name@refs/pr/1", COMMIT_C);
    check_commit("org/name@" COMMIT_B, COMMIT_B);
    check_commit("org/name@fedcba9", COMMIT_C);
    check_commit("org/name@01234567", COMMIT_A);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@0123456"), LT_E_INPUT, "revision '0123456' begins several commits");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@fedcba"), LT_E_INPUT, "revision 'fedcba' is not in the Hugging Face cache");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@FEDCBA98"), LT_E_INPUT, "is not in the Hugging Face cache");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@aaaaaaa"), LT_E_INPUT, "is not in the Hugging Face cache");
    tree_put(tree_path(cache, "models--org--name/refs"), "0123456", COMMIT_B); /* a tag that looks like the beginning of commits */
    check_commit("org/name@0123456", COMMIT_B);
}

static void test_unknown_revision_lists_those_that_are_there(void **state)
{
    const char *cache = tree_cache(test_folder()), *empty = tree_path(cache, "models--org--empty");
    Located got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@v2"), LT_E_INPUT,
                "'org/name': revision 'v2' is not in the Hugging Face cache ('");
    tree_put(tree_path(cache, "models--org--name/refs"), "broken", "no commit"); /* not listed, and no obstacle */
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@v2"), LT_E_INPUT,
                "it has main (0123456789ab), refs/pr/1 (fedcba987654), 0123456fffff");
    CHECK_OK(dir_make(empty));
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/empty"), LT_E_INPUT, "revision 'main' is not");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/empty"), LT_E_INPUT, "it has no revision at all");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/absent"), LT_E_INPUT, "hf download org/absent");
}

static void test_hostile_refs_and_revisions_lead_nowhere(void **state)
{
    const char *cache = tree_cache(test_folder()), *refs = tree_path(cache, "models--org--name/refs");
    static const char *const bad[] = {"org/name@", "org/name@..", "org/name@../main", "org/name@a//b", "org/name@/etc", "org/name@a/./b",
                                      "org/name@a/", "org/name@a\nb"};
    Located got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", cache);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAILS(locate_checkpoint(&got, &tree_memory, bad[i]), LT_E_INPUT, "expected a branch, a tag or a commit as revision");
    tree_put(refs, "up", "../../../../../../../../../../../../../../..");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@up"), LT_E_INPUT, "refs/up: expected a commit of 40 hex digits");
    tree_put(refs, "gone", "1111111111111111111111111111111111111111");
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@gone"), LT_E_INPUT, "revision 'gone' is known, but its snapshot is not");
    tree_put(refs, "huge", "");
    assert_int_equal(truncate(tree_path(refs, "huge"), 1 << 20), 0);
    CHECK_FAILS(locate_checkpoint(&got, &tree_memory, "org/name@huge"), LT_E_INPUT, "more than the 4096 bytes");
}

static void test_folder_wins_over_a_hub_id(void **state)
{
    const char *root = test_folder();
    char before[4096];
    Located got;

    (void)state;
    tree_use_only("HF_HUB_CACHE", tree_cache(root));
    tree_model(root, "org/name");
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    const Status st = locate_checkpoint(&got, &tree_memory, "org/name");
    assert_int_equal(chdir(before), 0);
    CHECK_OK(st);
    assert_string_equal(got.path, "org/name");
    assert_null(got.commit);
}

static Status find_one(Arena *arena, const char *argument)
{
    Located found;
    return locate_checkpoint(&found, arena, argument);
}

static void test_hub_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    (void)state;
    tree_use_only("HF_HUB_CACHE", tree_cache(test_folder()));
    check_out_of_memory(find_one, "org/name@fedcba9", LT_OK);
    check_out_of_memory(find_one, "org/name@v2", LT_E_INPUT);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hub_id_is_told_from_a_path, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_cache_is_found_by_the_environment, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_revision_is_a_ref_or_a_commit_or_its_beginning, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_unknown_revision_lists_those_that_are_there, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_hostile_refs_and_revisions_lead_nowhere, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_folder_wins_over_a_hub_id, tree_begin, tree_end),
        cmocka_unit_test_setup_teardown(test_hub_out_of_memory_is_said_and_leaks_nothing, tree_begin, tree_end),
    };
    return TEST_MAIN(tests);
}
