#include "tests/check.h"

#include "core/filehash.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/* A cache of the test's own. */
static const char *fresh_cache(void)
{
    const char *folder = test_folder();
    assert_int_equal(setenv("LETHE_CACHE", folder, 1), 0);
    return folder;
}

/* Files younger than the step of the file system's clock are not remembered. */
static void let_it_age(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 40000000}, NULL);
}

static void check_hash(const Digest *digest, const char *want)
{
    assert_string_equal(digest_hex(digest).text, want);
}

/* Of the file as it lies there now. */
static Status lookup(const char *path, FileHashMode mode, Digest *out, bool *known)
{
    FileId id;

    TRY(file_id(path, &id));
    return filehash_lookup(path, &id, mode, out, known);
}

/* The one entry of a cache. */
static void entry_path(const char *cache, StrBuf *path)
{
    StrBuf folder;
    FileList list;

    strbuf_init(&folder);
    CHECK_OK(path_join(&folder, cache, "filehash"));
    CHECK_OK(dir_list(folder.data, &list));
    assert_int_equal(list.count, 1);
    CHECK_OK(path_join(path, folder.data, list.name[0]));
    file_list_release(&list);
    strbuf_release(&folder);
}

static void test_get_remembers(void **state)
{
    const char *path = test_file(test_folder(), "w", "abc", 3);
    Digest digest, other;
    bool known;

    (void)state;
    fresh_cache();
    let_it_age();
    CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
    assert_false(known);
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    check_hash(&digest, ABC);
    CHECK_OK(lookup(path, FILEHASH_CACHED, &other, &known));
    assert_true(known);
    check_hash(&other, ABC);
    CHECK_OK(lookup(path, FILEHASH_AGAIN, &other, &known));
    assert_false(known);
}

static void test_changed_file_is_read_again(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "w", "abd", 3);
    Digest digest;
    bool known;

    (void)state;
    fresh_cache();
    let_it_age();
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    test_file(folder, "w", "abc", 3);
    CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
    assert_false(known);
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    check_hash(&digest, ABC);
}

static void test_young_file_is_not_remembered(void **state)
{
    const char *path = test_file(test_folder(), "w", "abc", 3);
    Digest digest;
    FileId before;
    bool known;

    (void)state;
    fresh_cache();
    CHECK_OK(file_id(path, &before));
    CHECK_OK(sha256_of("abc", 3, &digest));
    filehash_store(path, &before, &digest);
    const int64_t begun = before.ctime_ns;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if ((int64_t)now.tv_sec * 1000000000 + now.tv_nsec - begun > 15000000)
        test_skip("the machine was too slow to catch a young file");
    CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
    assert_false(known);
}

static void test_store_refuses_a_file_that_changed(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "w", "xyz", 3);
    Digest digest;
    FileId before;
    bool known;

    (void)state;
    fresh_cache();
    CHECK_OK(file_id(path, &before));
    CHECK_OK(sha256_of("xyz", 3, &digest));
    let_it_age();
    test_file(folder, "w", "abc", 3);
    let_it_age();
    filehash_store(path, &before, &digest);
    CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
    assert_false(known);
}

/* Somebody puts another file in the place of one that is being read. */
static void test_lookup_is_about_the_file_that_was_opened(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "w", "abc", 3), *other = test_file(folder, "other", "xyz", 3);
    Digest digest;
    FileId opened;
    bool known;

    (void)state;
    fresh_cache();
    let_it_age();
    CHECK_OK(file_id(path, &opened));
    assert_int_equal(rename(other, path), 0);
    let_it_age();
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    CHECK_OK(filehash_lookup(path, &opened, FILEHASH_CACHED, &digest, &known));
    assert_false(known);
}

/* Every byte of an entry flipped, and every shorter entry: ignored, never a wrong hash. */
static void test_damaged_entry_is_ignored(void **state)
{
    const char *path = test_file(test_folder(), "w", "abc", 3), *cache = fresh_cache();
    StrBuf entry, text;
    Digest digest;
    bool known;

    (void)state;
    strbuf_init(&entry);
    strbuf_init(&text);
    let_it_age();
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    entry_path(cache, &entry);
    CHECK_OK(file_read(entry.data, 8192, &text));
    for (size_t i = 0; i < 2 * text.len; i++) {
        const size_t at = i / 2, n = i % 2 == 0 ? text.len : at;
        text.data[at] ^= 1;
        FILE *f = fopen(entry.data, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(text.data, 1, n, f), n);
        fclose(f);
        text.data[at] ^= 1;
        CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
        assert_false(known);
    }
    /* The next hash heals it. */
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    CHECK_OK(lookup(path, FILEHASH_CACHED, &digest, &known));
    assert_true(known);
    check_hash(&digest, ABC);
    strbuf_release(&entry);
    strbuf_release(&text);
}

static void test_cache_that_cannot_be_written_is_no_error(void **state)
{
    const char *folder = test_folder(), *path = test_file(folder, "w", "abc", 3);
    Digest digest;

    (void)state;
    setenv("LETHE_CACHE", test_file(folder, "no_folder", "", 0), 1);
    let_it_age();
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    check_hash(&digest, ABC);
    /* Nowhere to put a cache at all. */
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
    char *kept_home = home != NULL ? mem_strdup(home) : NULL, *kept_xdg = xdg != NULL ? mem_strdup(xdg) : NULL;
    unsetenv("LETHE_CACHE");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    CHECK_OK(filehash_get(path, FILEHASH_CACHED, &digest));
    check_hash(&digest, ABC);
    if (kept_home != NULL)
        setenv("HOME", kept_home, 1);
    if (kept_xdg != NULL)
        setenv("XDG_CACHE_HOME", kept_xdg, 1);
    mem_free(kept_home);
    mem_free(kept_xdg);
}

static void test_blob_name_is_taken_as_the_hash(void **state)
{
    static const char name[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *folder = test_folder();
    StrBuf blobs, link, target;
    Digest digest;
    bool known;

    (void)state;
    strbuf_init(&blobs);
    strbuf_init(&link);
    strbuf_init(&target);
    fresh_cache();
    CHECK_OK(path_join(&blobs, folder, "blobs"));
    const char *blob = test_file(blobs.data, name, "abc", 3);
    CHECK_OK(path_join(&link, folder, "model.safetensors"));
    strbuf_addf(&target, "blobs/%s", name);
    assert_int_equal(symlink(target.data, link.data), 0);

    CHECK_OK(lookup(link.data, FILEHASH_CACHED, &digest, &known));
    assert_true(known);
    check_hash(&digest, name);
    CHECK_OK(filehash_lookup(link.data, &(FileId){0}, FILEHASH_CACHED, &digest, &known)); /* opened before the link led here */
    assert_false(known);
    /* Asked to compute, and for a file that is no link, the content decides. */
    CHECK_OK(filehash_get(link.data, FILEHASH_AGAIN, &digest));
    check_hash(&digest, ABC);
    CHECK_OK(filehash_get(blob, FILEHASH_CACHED, &digest));
    check_hash(&digest, ABC);
    strbuf_release(&blobs);
    strbuf_release(&link);
    strbuf_release(&target);
}

static void test_missing_file_is_an_input_error(void **state)
{
    Digest digest;
    bool known;

    (void)state;
    fresh_cache();
    CHECK_FAILS(filehash_get("nowhere/w", FILEHASH_CACHED, &digest), LT_E_INPUT, "nowhere/w");
    CHECK_FAILS(filehash_lookup("nowhere/w", &(FileId){0}, FILEHASH_AGAIN, &digest, &known), LT_E_INPUT, "nowhere/w");
}

static void test_get_survives_lack_of_memory(void **state)
{
    const char *path = test_file(test_folder(), "w", "abc", 3);
    const int64_t held = mem_held();
    const uint64_t before = mem_count();
    Digest digest;

    (void)state;
    fresh_cache();
    let_it_age();
    CHECK_OK(filehash_get(path, FILEHASH_AGAIN, &digest));
    const uint64_t taken = mem_count() - before;
    for (uint64_t n = 1; n <= taken; n++) {
        fresh_cache();
        mem_fail_at(n);
        const Status st = filehash_get(path, FILEHASH_CACHED, &digest);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
        /* Lack of memory for the cache entry is passed over: the hash is right then. */
        if (st == LT_OK)
            check_hash(&digest, ABC);
        CHECK_FAILS(st, st == LT_OK ? LT_OK : LT_E_NOMEM, NULL);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_remembers),
        cmocka_unit_test(test_changed_file_is_read_again),
        cmocka_unit_test(test_young_file_is_not_remembered),
        cmocka_unit_test(test_store_refuses_a_file_that_changed),
        cmocka_unit_test(test_lookup_is_about_the_file_that_was_opened),
        cmocka_unit_test(test_damaged_entry_is_ignored),
        cmocka_unit_test(test_cache_that_cannot_be_written_is_no_error),
        cmocka_unit_test(test_blob_name_is_taken_as_the_hash),
        cmocka_unit_test(test_missing_file_is_an_input_error),
        cmocka_unit_test(test_get_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
