/* Devices, transfers, and the tensors and arenas on them. */
#include "tests/check.h"

#include "core/file.h"
#include "core/mem.h"
#include "kernels/cpu/memory.h"
#include "kernels/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Device *open_cpu(int n_thread)
{
    Device *dev;

    CHECK_OK(device_open(&dev, "cpu", n_thread));
    return dev;
}

static void test_device_open_knows_its_names(void **state)
{
    Device *dev = NULL;

    (void)state;
    CHECK_FAILS(device_open(&dev, "gpu", 1), LT_E_USAGE, "unknown device 'gpu'");
    CHECK_FAILS(device_open(&dev, "", 1), LT_E_USAGE, "unknown device ''");
    CHECK_FAILS(device_open(&dev, "cpu:1", 1), LT_E_USAGE, "'cpu:1': the cpu has no index");
    CHECK_FAILS(device_open(&dev, "cpux", 1), LT_E_USAGE, "unknown device 'cpux'");
    CHECK_FAILS(device_open(&dev, "cpu", -1), LT_E_USAGE, "-1 threads");
    assert_null(dev);
}

static void test_device_open_counts_threads(void **state)
{
    Device *dev = open_cpu(3);

    (void)state;
    assert_int_equal(pool_threads(device_pool(dev)), 3);
    assert_non_null(strstr(device_description(dev), "3 threads"));
    assert_non_null(strstr(device_description(dev), "oneDNN "));
    assert_string_equal(device_backend(dev), "cpu");
    device_close(dev);
    dev = open_cpu(0);
    assert_int_equal(pool_threads(device_pool(dev)), pool_processors());
    device_close(dev);
    CHECK_OK(device_open(&dev, "auto", 1));
    assert_non_null(strstr(device_description(dev), "1 thread,"));
    device_close(dev);
    device_close(NULL);
}

static void test_device_level_is_lowered_by_the_environment(void **state)
{
    static const char *const name[] = {"generic", "avx2", "avx512", "avx512-bf16"};
    char full[32], was[32] = "";
    Device *dev = open_cpu(1);

    (void)state;
    snprintf(full, sizeof full, "%s", device_class(dev));
    device_close(dev);
    assert_memory_equal(full, "cpu-", 4);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        setenv("LETHE_CPU", name[i], 1);
        dev = open_cpu(1);
        /* either what was asked for or, above what the machine has, what it has: from there on it stays the same */
        if (strcmp(device_class(dev) + 4, name[i]) != 0)
            assert_string_equal(device_class(dev), full);
        assert_string_not_equal(strcmp(was, full) == 0 ? "" : device_class(dev), was);
        snprintf(was, sizeof was, "%s", device_class(dev));
        device_close(dev);
    }
    assert_string_equal(was, full);
    setenv("LETHE_CPU", "sse9", 1);
    CHECK_FAILS(device_open(&dev, "cpu", 1), LT_E_USAGE, "LETHE_CPU: unknown value 'sse9'");
    unsetenv("LETHE_CPU");
}

static void test_device_open_survives_lack_of_memory(void **state)
{
    const int64_t held = mem_held();
    Device *dev;
    Status st = LT_E_NOMEM;

    (void)state;
    for (uint64_t n = 1; st != LT_OK; n++) {
        mem_fail_at(n);
        st = device_open(&dev, "cpu", 2);
        mem_fail_at(0);
        if (st != LT_OK)
            CHECK_FAILS(st, LT_E_NOMEM, "out of memory");
        else
            assert_true(n > 3);
    }
    device_close(dev);
    assert_int_equal(mem_held(), held);
}

static void test_device_memory_is_aligned(void **state)
{
    Device *dev = open_cpu(1);
    size_t free_bytes = 0, total_bytes = 0;
    void *block[9];

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        CHECK_OK(device_alloc(dev, i * 37, &block[i]));
        assert_int_equal((uintptr_t)block[i] % 256, 0);
        memset(block[i], 0xa5, i * 37);
    }
    for (size_t i = 0; i < 9; i++)
        device_release(dev, block[i]);
    device_release(dev, NULL);
    CHECK_FAILS(device_alloc(dev, SIZE_MAX, &block[0]), LT_E_NOMEM, "out of memory");
    CHECK_OK(device_memory(dev, &free_bytes, &total_bytes));
    assert_true(free_bytes > 0 && free_bytes <= total_bytes);
    device_close(dev);
}

enum { KB = 1024 };

/* A machine of 64 GB with 32 GB to be had, where groups lie within each other: /, a, a/b. Other lines and numbers are there to be passed over. */
static void check_room(const char *(*group)[2], const char *mine, size_t free_bytes, size_t total_bytes)
{
    static const char *const folder[] = {"sys/fs/cgroup", "sys/fs/cgroup/a", "sys/fs/cgroup/a/b"};
    static const char meminfo[] = "MemTotal:       67108864 kB\nMemFree: 5 kB\nMemAvailable:   33554432 kB\nMemMapped: 7 kB\n";
    const char *root = test_folder();
    size_t found_free = 0, found_total = 0;
    char path[512];

    snprintf(path, sizeof path, "%s/proc/self", root);
    CHECK_OK(dir_make(path));
    test_file(path, "cgroup", mine, strlen(mine));
    snprintf(path, sizeof path, "%s/proc", root);
    test_file(path, "meminfo", meminfo, strlen(meminfo));
    for (size_t i = 0; i < 3; i++) {
        static const char stat[] = "anon 4096\ninactive_file 1048576\nactive_file 8192\n";

        snprintf(path, sizeof path, "%s/%s", root, folder[i]);
        CHECK_OK(dir_make(path));
        if (group[i][0] == NULL)
            continue;
        test_file(path, "memory.max", group[i][0], strlen(group[i][0]));
        test_file(path, "memory.current", group[i][1], strlen(group[i][1]));
        test_file(path, "memory.stat", stat, strlen(stat));
    }
    CHECK_OK(memory_of_process(root, &found_free, &found_total));
    assert_int_equal(found_free, free_bytes);
    assert_int_equal(found_total, total_bytes);
}

static void test_device_memory_keeps_to_its_control_groups(void **state)
{
    static const size_t mb = KB * KB, gb = KB * KB * (size_t)KB;
    const char *none[3][2] = {{NULL}}, *unlimited[3][2] = {{NULL}, {"max\n", "1\n"}, {"max\n", "1\n"}};
    const char *inner[3][2] = {{NULL}, {"8589934592\n", "1073741824\n"}, {"4294967296\n", "1073741824\n"}};
    const char *outer[3][2] = {{NULL}, {"8589934592\n", "8053063680\n"}, {"8589934592\n", "1073741824\n"}};
    const char *container[3][2] = {{"2147483648\n", "3221225472\n"}};

    (void)state;
    check_room(none, "", 32 * gb, 64 * gb);
    check_room(unlimited, "0::/a/b\n", 32 * gb, 64 * gb);
    check_room(inner, "0::/a/b\n", 3 * gb + mb, 4 * gb); /* the page cache's megabyte is given up */
    check_room(inner, "4:memory:/b\n0::/a\n", 7 * gb + mb, 8 * gb);
    check_room(outer, "0::/a/b\n", gb / 2 + mb, 8 * gb);
    check_room(container, "0::/\n", 0, 2 * gb); /* it has had more before the limit was lowered */
    check_room(inner, "0::/a/gone\n", 7 * gb + mb, 8 * gb);
}

/* On the device under test: a matrix that goes there and comes back, with padding that stays as it was. */
static void check_round_trip(Device *dev, int64_t rows, int64_t cols, int64_t pad)
{
    const int64_t stride = cols + pad, whole = rows * stride;
    uint16_t *all = mem_take((size_t)whole, sizeof *all), *sent = mem_take((size_t)(rows * cols), sizeof *sent), *got = mem_take((size_t)whole, sizeof *got);
    void *block, *other;

    CHECK_OK(device_alloc(dev, (size_t)whole * 2, &block));
    CHECK_OK(device_alloc(dev, (size_t)whole * 2, &other));
    const Tensor bytes = tensor_of(block, LT_U16, 1, whole), t = {block, LT_U16, rows, cols, stride}, u = {other, LT_U16, rows, cols, stride};

    for (int64_t i = 0; i < whole; i++)
        all[i] = 0xabcd;
    for (int64_t i = 0; i < rows * cols; i++)
        sent[i] = (uint16_t)(i * 7919 + i / 65536);
    CHECK_OK(device_upload(dev, bytes, all));
    CHECK_OK(device_upload(dev, t, sent));
    memset(got, 0, (size_t)(rows * cols) * 2);
    CHECK_OK(device_download(dev, got, t));
    assert_memory_equal(got, sent, (size_t)(rows * cols) * 2);
    CHECK_OK(device_copy(dev, u, t));
    CHECK_OK(device_fill_zero(dev, t));
    CHECK_OK(device_download(dev, got, u));
    assert_memory_equal(got, sent, (size_t)(rows * cols) * 2);
    CHECK_OK(device_download(dev, got, bytes));
    for (int64_t i = 0; i < whole; i++)
        assert_int_equal(got[i], i % stride < cols ? 0 : 0xabcd);
    device_release(dev, block);
    device_release(dev, other);
    mem_free(all);
    mem_free(sent);
    mem_free(got);
}

/* Around the megabyte that travels at a time: rows of which several fit, rows that are longer, and more than the 16 that are under way at once. */
static void test_device_transfers_of_all_sizes(void **state)
{
    enum { MEGABYTE = 1 << 19 }; /* elements of 2 bytes */
    static const int64_t shape[][3] = {{1, 1, 0}, {3, 5, 2}, {1, MEGABYTE - 1, 0}, {1, MEGABYTE + 1, 0}, {3, 1000, 0}, {2000, 300, 1}, {3, MEGABYTE + 7, 3},
                                       {2, 17 * MEGABYTE / 2 + 5, 0}};
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, test_device(), 1));
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        check_round_trip(dev, shape[i][0], shape[i][1], shape[i][2]);
    device_close(dev);
}

/* What was sent is the caller's to change at once, however many sendings the device still has before it. */
static void test_device_upload_has_consumed_its_source(void **state)
{
    enum { N = 40 };
    int32_t value, got[N];
    void *block;
    Device *dev;

    (void)state;
    CHECK_OK(device_open(&dev, test_device(), 1));
    CHECK_OK(device_alloc(dev, sizeof got, &block));
    for (value = 0; value < N; value++)
        CHECK_OK(device_upload(dev, tensor_of((int32_t *)block + value, LT_I32, 1, 1), &value));
    CHECK_OK(device_download(dev, got, tensor_of(block, LT_I32, 1, N)));
    for (value = 0; value < N; value++)
        assert_int_equal(got[value], value);
    device_release(dev, block);
    device_close(dev);
}

static void test_device_under_test_says_what_it_is(void **state)
{
    size_t free_bytes = 0, total_bytes = 0;
    double seconds = -1.0;
    void *block = NULL;
    char name[64];
    Device *dev;

    (void)state;
    if (strcmp(test_device(), "cpu") == 0)
        test_skip("LETHE_TEST_DEVICE names no other device");
    snprintf(name, sizeof name, "%s:0", test_device());
    CHECK_OK(device_open(&dev, name, 1));
    assert_string_equal(device_backend(dev), "cuda");
    assert_true(strcmp(device_class(dev), "cudasim") == 0 || strncmp(device_class(dev), "sm_", 3) == 0);
    CHECK_OK(device_memory(dev, &free_bytes, &total_bytes));
    assert_true(free_bytes > 0 && free_bytes <= total_bytes);
    CHECK_FAILS(device_alloc(dev, SIZE_MAX / 2, &block), LT_E_NOMEM, "out of memory: 9223372036854775807 bytes asked for on the GPU");
    CHECK_OK(device_mark(dev, 0));
    CHECK_OK(device_mark(dev, 7));
    CHECK_OK(device_elapsed(dev, 0, 7, &seconds));
    assert_true(seconds >= 0.0 && seconds < 10.0);
    device_close(dev);
    snprintf(name, sizeof name, "%s:1x", test_device());
    CHECK_FAILS(device_open(&dev, name, 1), LT_E_USAGE, "expected cuda:N");
    snprintf(name, sizeof name, "%s:99", test_device());
    CHECK_FAILS(device_open(&dev, name, 1), LT_E_DEVICE, "numbered from 0");
}

/* Two columns of padding: what lies between the rows stays. */
static void test_device_transfers_keep_to_their_rows(void **state)
{
    const int32_t from[6] = {1, 2, 3, 4, 5, 6};
    int32_t memory[10] = {0}, other[10] = {0}, back[6] = {0};
    const Tensor t = {memory, LT_I32, 2, 3, 5}, u = {other, LT_I32, 2, 3, 4};
    Device *dev = open_cpu(1);

    (void)state;
    CHECK_OK(device_upload(dev, t, from));
    assert_memory_equal(memory, ((int32_t[10]){1, 2, 3, 0, 0, 4, 5, 6, 0, 0}), sizeof memory);
    CHECK_OK(device_download(dev, back, t));
    assert_memory_equal(back, from, sizeof from);
    CHECK_OK(device_copy(dev, u, t));
    assert_memory_equal(other, ((int32_t[10]){1, 2, 3, 0, 4, 5, 6, 0, 0, 0}), sizeof other);
    memory[3] = 9;
    CHECK_OK(device_fill_zero(dev, t));
    assert_memory_equal(memory, ((int32_t[10]){0, 0, 0, 9, 0, 0, 0, 0, 0, 0}), sizeof memory);
    CHECK_FAILS(device_copy(dev, u, tensor_rows(t, 0, 1)), LT_E_FAIL, "copy: from i32 [1, 3] to i32 [2, 3]");
    CHECK_FAILS(device_copy(dev, u, tensor_of(back, LT_F32, 2, 3)), LT_E_FAIL, "copy: from f32 [2, 3] to i32 [2, 3]");
    CHECK_OK(device_upload(dev, (Tensor){0}, NULL));
    CHECK_OK(device_sync(dev));
    device_close(dev);
}

static void test_device_measures_time(void **state)
{
    Device *dev = open_cpu(1);
    double seconds = -1.0, backwards = 1.0;

    (void)state;
    CHECK_OK(device_mark(dev, 0));
    for (volatile int i = 0; i < 100000; i++)
        ;
    CHECK_OK(device_mark(dev, 7));
    CHECK_OK(device_elapsed(dev, 0, 7, &seconds));
    CHECK_OK(device_elapsed(dev, 7, 0, &backwards));
    assert_true(seconds > 0.0 && seconds < 10.0);
    check_close("backwards", backwards, -seconds, 0.0, 0.0);
    device_close(dev);
}

static void test_tensor_views_count_elements(void **state)
{
    uint16_t x[40];
    const Tensor t = {x, LT_BF16, 5, 6, 8}, v = tensor_cols(tensor_rows(t, 2, 3), 1, 4);
    const Tensor planned = {NULL, LT_BF16, 5, 6, 8};

    (void)state;
    assert_ptr_equal(v.data, x + 2 * 8 + 1);
    assert_int_equal(v.rows, 3);
    assert_int_equal(v.cols, 4);
    assert_int_equal(v.stride, 8);
    assert_null(tensor_rows(planned, 2, 3).data);
    assert_int_equal(dtype_bytes(LT_F64), 8);
    assert_string_equal(dtype_name(LT_U16), "u16");
}

static Status carve(TensorArena *a, Tensor out[3])
{
    TRY(tensor_arena_take(a, &out[0], LT_F32, 3, 5));
    TRY(tensor_arena_take(a, &out[1], LT_BF16, 1, 129));
    return tensor_arena_take(a, &out[2], LT_F64, 0, 7);
}

static void test_tensor_arena_takes_what_it_planned(void **state)
{
    Device *dev = open_cpu(1);
    TensorArena plan, arena;
    Tensor t[3];
    size_t bytes;

    (void)state;
    tensor_arena_plan(&plan, dev);
    CHECK_OK(carve(&plan, t));
    assert_null(t[0].data);
    bytes = plan.used;
    assert_int_equal(bytes, 256 + 512);
    CHECK_OK(tensor_arena_open(&arena, dev, bytes));
    CHECK_OK(carve(&arena, t));
    assert_int_equal(arena.used, bytes);
    assert_int_equal((uintptr_t)t[1].data % 256, 0);
    assert_ptr_equal(t[1].data, (char *)t[0].data + 256);
    assert_int_equal(t[1].stride, 129);
    CHECK_FAILS(tensor_arena_take(&arena, &t[0], LT_F32, 1, 1), LT_E_NOMEM, "the arena of 768 bytes has 0 left, a tensor f32 [1, 1] needs 256");
    CHECK_FAILS(tensor_arena_take(&plan, &t[0], LT_F64, INT64_MAX, 4), LT_E_NOMEM, "does not fit into the address space");
    tensor_arena_close(&arena);
    assert_null(arena.base);
    mem_fail_at(1);
    CHECK_FAILS(tensor_arena_open(&arena, dev, 4096), LT_E_NOMEM, "4096 bytes needed on device 'cpu', ");
    mem_fail_at(0);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_open_knows_its_names),
        cmocka_unit_test(test_device_open_counts_threads),
        cmocka_unit_test(test_device_level_is_lowered_by_the_environment),
        cmocka_unit_test(test_device_open_survives_lack_of_memory),
        cmocka_unit_test(test_device_memory_is_aligned),
        cmocka_unit_test(test_device_memory_keeps_to_its_control_groups),
        cmocka_unit_test(test_device_transfers_of_all_sizes),
        cmocka_unit_test(test_device_upload_has_consumed_its_source),
        cmocka_unit_test(test_device_under_test_says_what_it_is),
        cmocka_unit_test(test_device_transfers_keep_to_their_rows),
        cmocka_unit_test(test_device_measures_time),
        cmocka_unit_test(test_tensor_views_count_elements),
        cmocka_unit_test(test_tensor_arena_takes_what_it_planned),
    };

    return TEST_MAIN(tests);
}
