#include "tests/trees.h"

#include "core/file.h"

#include <math.h>
#include <stdlib.h>

Arena tree_memory;

const char *tree_path(const char *folder, const char *name)
{
    StrBuf path;

    strbuf_init(&path);
    CHECK_OK(path_join(&path, folder, name));
    const char *kept = arena_strndup(&tree_memory, path.data, path.len);
    strbuf_release(&path);
    assert_non_null(kept);
    return kept;
}

void tree_put(const char *folder, const char *name, const char *text) { test_file(folder, name, text, strlen(text)); }

const char *tree_model(const char *parent, const char *name)
{
    const char *folder = tree_path(parent, name);

    tree_put(folder, "config.json", "{}");
    tree_put(folder, "model.safetensors", "");
    return folder;
}

const char *tree_adapter(const char *parent, const char *name, const char *config)
{
    const char *folder = tree_path(parent, name);

    tree_put(folder, "adapter_config.json", config);
    tree_put(folder, "adapter_model.safetensors", "");
    return folder;
}

const char *tree_cache(const char *parent)
{
    const char *cache = tree_path(parent, "hub"), *repo = tree_path(cache, "models--org--name"), *refs = tree_path(repo, "refs");

    tree_model(tree_path(repo, "snapshots"), COMMIT_A);
    tree_model(tree_path(repo, "snapshots"), COMMIT_B);
    tree_model(tree_path(repo, "snapshots"), COMMIT_C);
    tree_put(refs, "main", COMMIT_A);
    tree_put(tree_path(refs, "refs/pr"), "1", COMMIT_C "\n");
    return cache;
}

void tree_use_only(const char *variable, const char *value)
{
    static const char *const all[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unsetenv(all[i]);
    if (variable != NULL)
        setenv(variable, value, 1);
}

int tree_begin(void **state)
{
    (void)state;
    arena_init(&tree_memory);
    tree_use_only("HF_HUB_CACHE", "/nonexistent/hub");
    return 0;
}

int tree_end(void **state)
{
    (void)state;
    arena_release(&tree_memory);
    return 0;
}

void check_out_of_memory(TreeWork work, const char *argument, Status want)
{
    for (uint64_t n = 1;; n++) {
        const int64_t held = mem_held();
        Arena arena;

        arena_init(&arena);
        const uint64_t before = mem_count();
        mem_fail_at(n);
        const Status st = work(&arena, argument);
        const bool reached = mem_count() - before >= n;
        mem_fail_at(0);
        arena_release(&arena);
        status_clear();
        assert_int_equal(mem_held(), held);
        assert_int_equal(st, reached ? LT_E_NOMEM : want);
        if (!reached)
            return;
    }
}

static void check_same(double got, double want)
{
    assert_true(isnan(want) ? isnan(got) : got == want);
}

void check_runinfo(const RunInfo *got, const RunInfo *want)
{
    assert_string_equal(got->label, want->label);
    assert_string_equal(got->condition, want->condition);
    assert_string_equal(got->run, want->run);
    assert_string_equal(got->method, want->method);
    assert_string_equal(got->targets, want->targets);
    assert_string_equal(got->base, want->base);
    assert_string_equal(got->template_name, want->template_name);
    assert_int_equal(got->rank, want->rank);
    assert_int_equal(got->seed, want->seed);
    assert_int_equal(got->step, want->step);
    assert_int_equal(got->tokens, want->tokens);
    check_same(got->alpha, want->alpha);
    check_same(got->lr, want->lr);
    check_same(got->epochs, want->epochs);
}
