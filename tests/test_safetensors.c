#include "tests/check.h"

#include "model/safetensors.h"

#include <stdio.h>
#include <unistd.h>

/* ---- helpers -------------------------------------------------------------------------------------------------------------- */

/* A file of this header text and n bytes of data. */
static const char *make_file(const char *folder, const char *name, Str header, size_t n_data)
{
    char bytes[8192] = {0};

    assert_true(8 + header.len + n_data <= sizeof bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(header.len >> (8 * i));
    memcpy(bytes + 8, header.data, header.len);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + header.len + i] = (char)(i + 1);
    return test_file(folder, name, bytes, 8 + header.len + n_data);
}

static const char *text_file(const char *header, size_t n_data)
{
    return make_file(test_folder(), "model.safetensors", str_of(header), n_data);
}

#define F32_4 "{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}"

/* ---- what is accepted ----------------------------------------------------------------------------------------------------- */

static void test_safetensors_reads_tensors_in_place_order(void **state)
{
    const char *path = text_file("{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]},"
                                 "\"a\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[0,4]}}   ",
                                 7);
    uint8_t data[2];
    StFile f;
    DType dtype;
    int64_t at;

    (void)state;
    CHECK_OK(st_open(&f, path));
    assert_int_equal(f.n_tensor, 2);
    assert_string_equal(f.tensor[0].name.data, "a");
    assert_string_equal(f.tensor[0].dtype, "BF16");
    assert_int_equal(f.tensor[0].rank, 2);
    assert_int_equal(f.tensor[0].count, 2);
    assert_true(st_dtype(&f.tensor[0], &dtype));
    assert_int_equal(dtype, LT_BF16);
    assert_false(st_dtype(&f.tensor[1], &dtype));
    CHECK_OK(st_read(&f, &f.tensor[1], 1, data, 2));
    assert_int_equal(data[0], 6);
    assert_int_equal(data[1], 7);
    assert_true(map_get(&f.metadata_key, str_of("format"), &at));
    assert_string_equal(f.metadata_value[at], "pt");
    st_close(&f);
}

static const struct {
    const char *header;
    size_t n_data;
    size_t n_tensor;
} good[] = {
    {"{}", 0, 0},
    {"{\"__metadata__\":null}", 0, 0},
    {"{\"__metadata__\":{}}  ", 0, 0},
    {"{\"a\":" F32_4 "}\n\t ", 16, 1},
    {"{\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, 1},
    /* an empty tensor between two others */
    {"{\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]},\"c\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[2,3]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[2,2]}}", 3, 3},
    /* starts off its own alignment, odd header length */
    {"{\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, 2},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, 1},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"note\":[-1,{\"x\":1.5}]}}", 4, 1},
    {"{\"../../etc/passwd\":" F32_4 "}", 16, 1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,2]}}", 2, 1},
};

static void test_safetensors_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        StFile f;

        CHECK_OK(st_open(&f, text_file(good[i].header, good[i].n_data)));
        assert_int_equal(f.n_tensor, good[i].n_tensor);
        st_close(&f);
    }
}

/* ---- what is refused ------------------------------------------------------------------------------------------------------ */

#define ONE(dtype, shape, offsets) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

/* Every message names the file; `named` is what else it has to say. */
static const struct {
    const char *header;
    size_t n_data;
    const char *named;
} refused[] = {
    {"", 0, "'{'"},
    {" {}", 0, "'{'"},
    {"[]", 0, "'{'"},
    {"\xef\xbb\xbf{}", 0, "'{'"},
    {"{} x", 0, "model.safetensors"},
    {"{\"a\":", 0, "model.safetensors"},
    {"{\"\xff\":" F32_4 "}", 16, "model.safetensors"},
    {"{\"\\ud800\":" F32_4 "}", 16, "model.safetensors"},
    {"{\"a\\u0000b\":" F32_4 "}", 16, "NUL"},
    {"{\"\":" F32_4 "}", 16, "0"},
    {ONE("\"F32\"", "[2]", "[0,8]"), 12, "12"},                   /* a hole at the end */
    {ONE("\"F32\"", "[2]", "[4,12]"), 12, "hole"},                /* at the start */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "overlap"},
    {ONE("\"F32\"", "[2]", "[8,0]"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[2]", "[-8,0]"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[2]", "[0,4]"), 4, "expected 8 bytes"},
    {ONE("\"F32\"", "[2]", "[0,8]"), 4, "t.data_offsets"},        /* beyond the file */
    {ONE("\"F32\"", "[2]", "[0,8,8]"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[2]", "8"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[281474976710656,281474976710656]", "[0,8]"), 8, "t.shape"},
    {ONE("\"F32\"", "[4611686018427387904]", "[0,8]"), 8, "t.shape"},
    {ONE("\"F32\"", "[9223372036854775807,0]", "[0,0]"), 0, "t.shape"},
    {ONE("\"F32\"", "[18446744073709551615,0]", "[0,0]"), 0, "model.safetensors"},
    {ONE("\"F32\"", "[2.0]", "[0,8]"), 8, "t.shape"},
    {ONE("\"F32\"", "[2e0]", "[0,8]"), 8, "t.shape"},
    {ONE("\"F32\"", "[2]", "[-0,8]"), 8, "-0"},
    {ONE("\"F32\"", "[02]", "[0,8]"), 8, "model.safetensors"},
    {ONE("\"F32\"", "[2]", "[0,8.0]"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[2]", "[0,\"8\"]"), 8, "t.data_offsets"},
    {ONE("\"F32\"", "[2]", "[0,99999999999999999999]"), 8, "model.safetensors"},
    {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "t.shape"},
    {ONE("\"F32\"", "2", "[0,8]"), 8, "t.shape"},
    {ONE("\"F33\"", "[2]", "[0,8]"), 8, "t.dtype"},
    {ONE("\"f32\"", "[2]", "[0,8]"), 8, "t.dtype"},
    {ONE("32", "[2]", "[0,8]"), 8, "t.dtype"},
    {ONE("\"F4\"", "[3]", "[0,2]"), 2, "t.dtype"},                /* a byte and a half */
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "t.data_offsets"},
    {"{\"t\":[]}", 0, "t"},
    {"{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dup"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "dup"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0, "dup"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a"},
    {"{\"__metadata__\":[]}", 0, "__metadata__"},
    {"{\"t\":" F32_4 ",\"t\":" F32_4 "}", 16, "dup"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":[[[[[[[[[[]]]]]]]]]]}}", 4, "nesting"},
};

static void test_safetensors_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *path = text_file(refused[i].header, refused[i].n_data);
        StFile f;
        Status st = st_open(&f, path);

        if (st != LT_OK)
            assert_non_null(strstr(status_text(), "model.safetensors"));
        check_status(st, LT_E_INPUT, refused[i].named, refused[i].header, __FILE__, __LINE__);
    }
}

static void test_safetensors_refuses_long_names_and_trailing_nul(void **state)
{
    char header[4096] = "{\"";
    StFile f;

    (void)state;
    memset(header + 2, 'n', 1025);
    strcpy(header + 2 + 1025, "\":" F32_4 "}");
    CHECK_FAILS(st_open(&f, text_file(header, 16)), LT_E_INPUT, "1025");
    CHECK_FAILS(st_open(&f, make_file(test_folder(), "model.safetensors", (Str){"{}\0\0", 4}, 0)), LT_E_INPUT, "model.safetensors");
}

static void test_safetensors_refuses_header_lengths(void **state)
{
    static const uint64_t lengths[] = {0, 3, 100000001, UINT64_MAX, INT64_MAX};
    StFile f;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char bytes[10] = {0};

        for (int k = 0; k < 8; k++)
            bytes[k] = (char)(lengths[i] >> (8 * k));
        bytes[8] = '{';
        bytes[9] = '}';
        CHECK_FAILS(st_open(&f, test_file(test_folder(), "model.safetensors", bytes, sizeof bytes)), LT_E_INPUT, "model.safetensors");
    }
    CHECK_FAILS(st_open(&f, test_file(test_folder(), "model.safetensors", "{}", 2)), LT_E_INPUT, "8 bytes");
    CHECK_FAILS(st_open(&f, test_file(test_folder(), "model.safetensors", "", 0)), LT_E_INPUT, "8 bytes");
    CHECK_FAILS(st_open(&f, test_folder()), LT_E_INPUT, "regular");
    CHECK_FAILS(st_open(&f, "no-such.safetensors"), LT_E_INPUT, "no-such.safetensors");
}

static void test_safetensors_refuses_every_truncation(void **state)
{
    static const char header[] = "{\"a\":" F32_4 "}";
    char bytes[128] = {0};
    const size_t whole = 8 + sizeof header - 1 + 16;

    (void)state;
    bytes[0] = sizeof header - 1;
    memcpy(bytes + 8, header, sizeof header - 1);
    for (size_t n = 0; n < whole; n++) {
        StFile f;

        CHECK_FAILS(st_open(&f, test_file(test_folder(), "model.safetensors", bytes, n)), LT_E_INPUT, "model.safetensors");
    }
}

/* A file cut after it was opened ends a read with an error, never with a signal. */
static void test_safetensors_read_notices_a_cut_file(void **state)
{
    const char *path = text_file("{\"a\":" F32_4 "}", 16);
    float data[4];
    StFile f;

    (void)state;
    CHECK_OK(st_open(&f, path));
    assert_int_equal(truncate(path, 50), 0);
    CHECK_FAILS(st_read(&f, &f.tensor[0], 0, data, sizeof data), LT_E_INPUT, "model.safetensors");
    st_close(&f);
}

static void test_safetensors_open_survives_lack_of_memory(void **state)
{
    const char *path = text_file("{\"__metadata__\":{\"k\":\"v\"},\"a\":" F32_4 "}", 16);
    uint64_t before = mem_count();
    StFile f;

    (void)state;
    CHECK_OK(st_open(&f, path));
    st_close(&f);
    for (uint64_t n = 1, all = mem_count() - before; n <= all; n++) {
        const int64_t held = mem_held();
        Status st;

        mem_fail_at(n);
        st = st_open(&f, path);
        mem_fail_at(0);
        if (st == LT_OK)
            st_close(&f);
        else
            assert_non_null(strstr(status_text(), "memory"));
        status_clear();
        assert_int_equal(mem_held(), held);
    }
}

/* ---- folders -------------------------------------------------------------------------------------------------------------- */

static void put_shard(const char *folder, const char *name, const char *tensor)
{
    char header[256];

    snprintf(header, sizeof header, "{\"%s\":" F32_4 "}", tensor);
    make_file(folder, name, str_of(header), 16);
}

static void put_index(const char *folder, const char *weight_map)
{
    char text[512];

    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":1},\"weight_map\":%s}", weight_map);
    test_file(folder, "model.safetensors.index.json", text, strlen(text));
}

static void test_safetensors_set_joins_shards(void **state)
{
    const char *folder = test_folder();
    const StFile *file;
    StSet set;

    (void)state;
    put_shard(folder, "m-2.safetensors", "b");
    put_shard(folder, "m-1.safetensors", "a");
    put_index(folder, "{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}");
    CHECK_OK(st_set_open(&set, folder));
    assert_int_equal(set.n_file, 2);
    check_str(path_tail(set.file[0].path), "m-1.safetensors", 15);
    assert_string_equal(st_set_find(&set, str_of("b"), &file)->name.data, "b");
    assert_ptr_equal(file, &set.file[1]);
    assert_null(st_set_find(&set, str_of("c"), &file));
    st_set_close(&set);
}

static void test_safetensors_set_refuses_a_wrong_index(void **state)
{
    static const struct {
        const char *weight_map, *named;
    } cases[] = {
        {"{\"a\":\"m-9.safetensors\"}", "m-9.safetensors"},
        {"{\"a\":\"../m-1.safetensors\"}", "../m-1.safetensors"},
        {"{\"a\":\"/etc/m-1.safetensors\"}", "plain file name"},
        {"{\"a\":\"sub/m-1.safetensors\"}", "plain file name"},
        {"{\"a\":\"..\"}", "plain file name"},
        {"{\"a\":\"\"}", "plain file name"},
        {"{\"a\":\"pytorch_model.bin\"}", "plain file name"},
        {"{\"a\":7}", "weight_map.a"},
        {"{\"a\":\"m-1.safetensors\",\"c\":\"m-1.safetensors\"}", "weight_map.c"},
        {"{\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\"}", "weight_map.b"},
        {"{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}", "weight_map"},
        {"{\"a\":\"m-1.safetensors\",\"twin\":\"m-1b.safetensors\"}", "m-1b.safetensors"},
        {"{}", "weight_map"},
        {"[]", "weight_map"},
        {"{\"a\":\"m-1.safetensors\",\"a\":\"m-1.safetensors\"}", "dup"},
    };
    const char *folder = test_folder();
    StSet set;

    (void)state;
    put_shard(folder, "m-1.safetensors", "a");
    put_shard(folder, "m-1b.safetensors", "a");
    put_shard(folder, "m-2.safetensors", "b");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t held = mem_held();

        put_index(folder, cases[i].weight_map);
        CHECK_FAILS(st_set_open(&set, folder), LT_E_INPUT, cases[i].named);
        assert_true(mem_held() <= held + 2); /* paths that test_file keeps */
    }
    /* a shard that holds more than the map says */
    make_file(folder, "m-1.safetensors",
              str_of("{\"a\":" F32_4 ",\"more\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[16,17]}}"), 17);
    put_index(folder, "{\"a\":\"m-1.safetensors\"}");
    CHECK_FAILS(st_set_open(&set, folder), LT_E_INPUT, "more");
}

static void test_safetensors_set_refuses_other_formats(void **state)
{
    static const struct {
        const char *file, *named;
    } cases[] = {
        {"pytorch_model.bin", "save_pretrained"},
        {"pytorch_model-00001-of-00002.bin", "save_pretrained"},
        {"consolidated.00.pth", "save_file"},
        {"__0_0.distcp", "accelerate merge-weights"},
        {"zero_pp_rank_0_mp_rank_00_model_states.pt", "zero_to_fp32.py"},
        {"latest_checkpointed_iteration.txt", "Megatron"},
        {"notes.txt", "expected model.safetensors"},
    };
    StSet set;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = test_folder();

        test_file(folder, cases[i].file, "x", 1);
        CHECK_FAILS(st_set_open(&set, folder), LT_E_INPUT, cases[i].named);
    }
}

static void test_safetensors_set_reads_golden_shards(void **state)
{
    const char *sharded = test_data("golden/models/mistral_tiny_sharded"), *single = test_data("golden/models/mistral_tiny");
    StSet a, b;

    (void)state;
    CHECK_OK(st_set_open(&a, sharded));
    CHECK_OK(st_set_open(&b, single));
    assert_int_equal(a.n_file, 3);
    assert_int_equal(a.by_name.count, b.by_name.count);
    for (size_t i = 0; i < b.by_name.count; i++) {
        const StFile *fa, *fb;
        const StTensor *ta = st_set_find(&a, map_key(&b.by_name, i), &fa), *tb = st_set_find(&b, map_key(&b.by_name, i), &fb);
        static char da[1 << 20], db[1 << 20];
        const size_t bytes = (size_t)(tb->end - tb->begin);

        assert_non_null(ta);
        assert_int_equal(ta->end - ta->begin, bytes);
        assert_true(bytes <= sizeof da);
        CHECK_OK(st_read(fa, ta, 0, da, bytes));
        CHECK_OK(st_read(fb, tb, 0, db, bytes));
        assert_memory_equal(da, db, bytes);
    }
    st_set_close(&a);
    st_set_close(&b);
}

/* ---- writing -------------------------------------------------------------------------------------------------------------- */

static void test_safetensors_write_orders_and_reads_back(void **state)
{
    static const float wide[3] = {1, -2, 3};
    static const uint16_t half[2] = {0x3f80, 0xc000};
    static const char *const metadata[][2] = {{"format", "pt"}, {"quote", "a\"b"}};
    const StWrite tensors[] = {
        {.name = "z", .dtype = "BF16", .rank = 2, .shape = {1, 2}, .data = half},
        {.name = "b", .dtype = "F32", .rank = 1, .shape = {3}, .data = wide},
        {.name = "a", .dtype = "F32", .rank = 2, .shape = {0, 5}, .data = wide},
    };
    const char *folder = test_folder();
    char path[512];
    float back[3];
    int64_t at;
    StFile f;

    (void)state;
    snprintf(path, sizeof path, "%s/out.safetensors", folder);
    CHECK_OK(st_write(path, tensors, 3, metadata, 2));
    CHECK_OK(st_open(&f, path));
    assert_int_equal(f.data_start % 8, 0);
    assert_int_equal(f.n_tensor, 3);
    assert_string_equal(f.tensor[0].name.data, "a");
    assert_string_equal(f.tensor[1].name.data, "b");
    assert_string_equal(f.tensor[2].name.data, "z");
    CHECK_OK(st_read(&f, &f.tensor[1], 0, back, sizeof back));
    assert_memory_equal(back, wide, sizeof wide);
    assert_true(map_get(&f.metadata_key, str_of("quote"), &at));
    assert_string_equal(f.metadata_value[at], "a\"b");
    st_close(&f);
    CHECK_FAILS(st_write("/no/such/folder/out.safetensors", tensors, 3, NULL, 0), LT_E_IO, "/no/such/folder");
}

/* Written again from what was read, a file of the reference writer comes out byte for byte. */
static void test_safetensors_write_equals_the_reference(void **state)
{
    const char *path = test_data("golden/models/llama2_tiny/model.safetensors");
    static const char *const metadata[][2] = {{"format", "pt"}};
    static char data[1 << 20];
    static StWrite tensors[64];
    size_t used = 0;
    StrBuf want, got;
    char copy[512];
    StFile f;

    (void)state;
    CHECK_OK(st_open(&f, path));
    for (size_t i = 0; i < f.n_tensor; i++) {
        const StTensor *t = &f.tensor[f.n_tensor - 1 - i];

        tensors[i] = (StWrite){.name = t->name.data, .dtype = t->dtype, .rank = t->rank, .data = data + used};
        memcpy(tensors[i].shape, t->shape, sizeof t->shape);
        assert_true(used + (t->end - t->begin) <= sizeof data);
        CHECK_OK(st_read(&f, t, 0, data + used, (size_t)(t->end - t->begin)));
        used += (size_t)(t->end - t->begin);
    }
    snprintf(copy, sizeof copy, "%s/copy.safetensors", test_folder());
    CHECK_OK(st_write(copy, tensors, f.n_tensor, metadata, 1));
    strbuf_init(&want);
    strbuf_init(&got);
    CHECK_OK(file_read(path, 1 << 24, &want));
    CHECK_OK(file_read(copy, 1 << 24, &got));
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    strbuf_release(&want);
    strbuf_release(&got);
    st_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_reads_tensors_in_place_order),
        cmocka_unit_test(test_safetensors_accepts),
        cmocka_unit_test(test_safetensors_refuses),
        cmocka_unit_test(test_safetensors_refuses_long_names_and_trailing_nul),
        cmocka_unit_test(test_safetensors_refuses_header_lengths),
        cmocka_unit_test(test_safetensors_refuses_every_truncation),
        cmocka_unit_test(test_safetensors_read_notices_a_cut_file),
        cmocka_unit_test(test_safetensors_open_survives_lack_of_memory),
        cmocka_unit_test(test_safetensors_set_joins_shards),
        cmocka_unit_test(test_safetensors_set_refuses_a_wrong_index),
        cmocka_unit_test(test_safetensors_set_refuses_other_formats),
        cmocka_unit_test(test_safetensors_set_reads_golden_shards),
        cmocka_unit_test(test_safetensors_write_orders_and_reads_back),
        cmocka_unit_test(test_safetensors_write_equals_the_reference),
    };
    return TEST_MAIN(tests);
}
