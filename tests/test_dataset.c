#include "tests/rows.h"

#include "core/clock.h"
#include "core/file.h"
#include "eval/tasks/unpack.h"
#include "tests/world/world.h"

#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

static const char two[] = "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"c\", \"answer\": \"d\"}\n";

static void check_two(DataSet *set)
{
    assert_int_equal(set->n_doc, 2);
    assert_int_equal(set->doc[1].index, 1);
    check_str(set->doc[1].context[0], "Question: c\nAnswer:", 19);
    check_str(set->doc[1].target, "d", 1);
    assert_int_equal(json_array_size(set->rows), 2);
    assert_ptr_equal(set->doc[1].row, json_array_get(set->rows, 1));
}

static void check_opens(const char *path)
{
    DataSet set;
    CHECK_OK(dataset_open(&set, &task_gsm8k, path));
    check_two(&set);
    dataset_close(&set);
}

static void check_text_opens(Str text)
{
    check_opens(test_file(test_folder(), "rows.jsonl", text.data, text.len));
}

static void check_text_fails(Str text, const char *part)
{
    DataSet set;
    CHECK_FAILS(rows_from_text(&set, &task_gsm8k, text), LT_E_INPUT, part);
}

static Str gzipped(const char *text, char *room, size_t size)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = (Bytef *)room;
    z.avail_out = (uInt)size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const Str out = {room, z.total_out};
    deflateEnd(&z);
    return out;
}

static Str zstd_packed(const char *text, char *room, size_t size)
{
    const size_t n = ZSTD_compress(room, size, text, strlen(text), 3);
    assert_false(ZSTD_isError(n));
    return (Str){room, n};
}

static void test_open_reads_lines_and_arrays(void **state)
{
    (void)state;
    check_text_opens(str_of(two));
    check_text_opens(str_of("[{\"question\": \"a\", \"answer\": \"b\"},\n {\"question\": \"c\", \"answer\": \"d\"}]"));
    check_text_opens(str_of("\xef\xbb\xbf\n [{\"question\": \"a\", \"answer\": \"b\"},{\"question\": \"c\", \"answer\": \"d\"}]\n"));
}

static void test_open_accepts_bom_crlf_blank_lines_and_no_final_newline(void **state)
{
    (void)state;
    check_text_opens(str_of("\xef\xbb\xbf{\"question\": \"a\", \"answer\": \"b\"}\r\n\r\n \t\n{\"question\": \"c\", \"answer\": \"d\"}"));
}

static void test_open_reads_compressed_files_with_one_digest(void **state)
{
    (void)state;
    const char *folder = test_folder();
    char room[3][512];
    DataSet set;
    const Str gz = gzipped(two, room[0], sizeof room[0]), zst = zstd_packed(two, room[1], sizeof room[1]);
    const char *path[] = {test_file(folder, "a.jsonl", two, sizeof two - 1), test_file(folder, "a.jsonl.gz", gz.data, gz.len),
                          test_file(folder, "a.jsonl.zst", zst.data, zst.len)};
    Digest want;
    CHECK_OK(sha256_of(two, sizeof two - 1, &want));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(dataset_open(&set, &task_gsm8k, path[i]));
        check_two(&set);
        assert_memory_equal(&set.digest, &want, sizeof want);
        assert_string_equal(set.path, path[i]);
        dataset_close(&set);
    }
    /* Two members, as two gzip files put behind one another. */
    const char *half = strchr(two, '\n') + 1;
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)(half - two), two);
    const Str a = gzipped(first, room[0], 256), b = gzipped(half, room[2], sizeof room[2]);
    memcpy(room[0] + a.len, b.data, b.len);
    check_opens(test_file(folder, "two.gz", room[0], a.len + b.len));
    const Str c = zstd_packed(first, room[1], 256), d = zstd_packed(half, room[2], sizeof room[2]);
    memcpy(room[1] + c.len, d.data, d.len);
    check_opens(test_file(folder, "two.zst", room[1], c.len + d.len));
}

static void test_open_refuses_damaged_compression(void **state)
{
    (void)state;
    char room[2][512];
    const Str gz = gzipped(two, room[0], sizeof room[0]), zst = zstd_packed(two, room[1], sizeof room[1]);
    for (size_t cut = 4; cut < gz.len; cut++)
        check_text_fails(str_slice(gz, 0, cut), "rows.jsonl: ");
    check_text_fails(str_slice(gz, 0, gz.len - 1), "gzip data ends too early");
    for (size_t cut = 5; cut < zst.len; cut++)
        check_text_fails(str_slice(zst, 0, cut), "rows.jsonl: ");
    check_text_fails(str_slice(zst, 0, zst.len - 1), "zstd data ends too early");
    room[0][gz.len - 6] ^= 1; /* in the checksum */
    check_text_fails(gz, "damaged gzip data");
    room[1][4] ^= 0x08; /* a reserved bit of the frame header */
    check_text_fails(zst, "damaged zstd data");
}

static void test_open_bounds_what_a_small_file_unpacks_to(void **state)
{
    (void)state;
    char *zeros, *room;
    const size_t n = (size_t)1 << 20;
    CHECK_OK(MEM_NEW(zeros, n + 1));
    CHECK_OK(MEM_NEW(room, n));
    memset(zeros, ' ', n);
    const Str packed[] = {gzipped(zeros, room, n / 2), zstd_packed(zeros, room + n / 2, n / 2)};
    for (int i = 0; i < 2; i++) {
        StrBuf out;
        strbuf_init(&out);
        const char *path = test_file(test_folder(), "bomb", packed[i].data, packed[i].len);
        CHECK_FAILS(unpack_file(&out, path, n - 1), LT_E_INPUT, "at most 1048575 bytes");
        strbuf_clear(&out);
        CHECK_OK(unpack_file(&out, path, n));
        assert_int_equal(out.len, n);
        strbuf_release(&out);
    }
    mem_free(zeros);
    mem_free(room);
}

static void test_open_refuses_hostile_rows(void **state)
{
    (void)state;
    check_text_fails(str_of(""), "expected rows of gsm8k, found none");
    check_text_fails(str_of("\n\n"), "found none");
    check_text_fails(str_of("[]"), "found none");
    check_text_fails(str_of("{\"question\": \"a\", \"answer\": \"b\"}\n[1]\n"), "rows.jsonl:2");
    check_text_fails(str_of("{\"question\": \"a\", \"answer\": \"b\"}\n\n7\n"), "rows.jsonl:3");
    check_text_fails(str_of("[{\"question\": \"a\", \"answer\": \"b\"}, 7]"), "[1]");
    check_text_fails(str_of("{\"question\": \"a\", \"answer\": \"\xff\"}\n"), "rows.jsonl:1");
    check_text_fails(str_of("{\"question\": \"a\", \"answer\": \"\xed\xa0\x80\"}\n"), "rows.jsonl:1");
    check_text_fails((Str){"{\"question\": \"a\0\", \"answer\": \"b\"}\n", 33}, "rows.jsonl:1");
    check_text_fails((Str){two, sizeof two - 4}, "rows.jsonl:2");
    check_text_fails(str_of("{\"question\": \"a\", \"question\": \"a\", \"answer\": \"b\"}\n"), "rows.jsonl:1");
    check_text_fails(str_of("[{\"question\": \"a\", \"answer\": \"b\"}"), "rows.jsonl");
    StrBuf deep;
    strbuf_init(&deep);
    strbuf_add_text(&deep, "{\"question\": ");
    for (int i = 0; i < 1 << 20; i++)
        strbuf_add_char(&deep, '[');
    check_text_fails(strbuf_str(&deep), "rows.jsonl:1");
    strbuf_release(&deep);
    DataSet set;
    CHECK_FAILS(dataset_open(&set, &task_gsm8k, "/nowhere/rows.jsonl"), LT_E_INPUT, "/nowhere/rows.jsonl");
}

/* An escaped NUL is text like any other: lengths are counted, nothing is cut. */
static void test_open_keeps_escaped_nul(void **state)
{
    (void)state;
    DataSet set;
    CHECK_OK(rows_from_text(&set, &task_gsm8k, str_of("{\"question\": \"a\\u0000b\", \"answer\": \"c\"}")));
    check_str(set.doc[0].context[0], "Question: a\0b\nAnswer:", 21);
    dataset_close(&set);
}

/* Opens with the first, second, ... allocation failing until it succeeds: always the same status, never a block left behind. */
static uint64_t starve(const Task *task, const char *path)
{
    const int64_t held = mem_held();
    uint64_t n = 0;
    for (Status st = LT_E_NOMEM; st != LT_OK;) {
        DataSet set;
        mem_fail_at(++n);
        st = dataset_open(&set, task, path);
        mem_fail_at(0);
        if (st == LT_OK)
            dataset_close(&set);
        else
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
    return n;
}

static void test_open_survives_failed_allocations(void **state)
{
    (void)state;
    char room[512];
    const Str gz = gzipped(two, room, sizeof room);
    assert_true(starve(&task_gsm8k, test_file(test_folder(), "rows.jsonl.gz", gz.data, gz.len)) > 20);
}

/* The readers alone: Jansson itself writes past a buffer that it could not grow, so rows with long texts are parsed beforehand. */
static void test_read_survives_failed_allocations(void **state)
{
    (void)state;
    static const char *const text[] = {
        "{\"activity_label\":\"A [b]\",\"ctx_a\":\"c  d\",\"ctx_b\":\"E\",\"endings\":[\"f [title] g\",\"h\",\"i\",\"j\"],\"label\":1}",
        "{\"question\":{\"stem\":\"a\",\"choices\":[{\"text\":\"b\",\"label\":\"A\"},{\"text\":\"c\",\"label\":\"B\"},{\"text\":\"d\","
        "\"label\":\"C\"}]},\"answerKey\":\"A\"}",
        "{\"sentence\":\"a _ b\",\"option1\":\"c\",\"option2\":\"d\",\"answer\":1}",
        "{\"question\": \"a\", \"answer\": \"b\"}",
    };
    for (int i = 0; i < 4; i++) {
        json_t *row;
        CHECK_OK(json_parse(&row, str_of(text[i]), "row", 1));
        const int64_t held = mem_held();
        uint64_t n = 0;
        for (Status st = LT_E_NOMEM; st != LT_OK;) {
            Doc doc = {0};
            Arena arena;
            arena_init(&arena);
            mem_fail_at(++n);
            st = tasks[i]->read(json_root(row, "row", 1), &arena, &doc);
            mem_fail_at(0);
            CHECK_FAILS(st, st == LT_OK ? LT_OK : LT_E_NOMEM, NULL);
            arena_release(&arena);
            assert_int_equal(mem_held(), held);
        }
        assert_true(n > 1);
        json_decref(row);
    }
}

/* Rows of all tasks with random bytes changed, removed and doubled: read or refused, with the file's name, and nothing else. */
static void test_open_reads_or_refuses_mangled_rows(void **state)
{
    (void)state;
    const char *world = test_folder(), *folder = test_folder();
    TestRandom random = {20};
    int refused = 0, read = 0;
    CHECK_OK(world_make_data(world, 9));
    for (int round = 0; round < 400; round++) {
        StrBuf path, data, text;
        DataSet set;
        const Task *task = tasks[round % 4];
        strbuf_init(&path);
        strbuf_init(&data);
        strbuf_init(&text);
        CHECK_OK(path_join(&data, world, "data"));
        CHECK_OK(dataset_find(&path, task, task->score_split, data.data, NULL));
        CHECK_OK(file_read(path.data, (size_t)1 << 20, &text));
        for (uint64_t k = test_random(&random) % 3; k < 3; k++) {
            const size_t at = test_random(&random) % text.len;
            text.data[at] = "\"{}[],:\\x0"[test_random(&random) % 10];
        }
        const size_t cut = test_random(&random) % 4 == 0 ? test_random(&random) % text.len : text.len;
        const Status st = dataset_open(&set, task, test_file(folder, "mangled.jsonl", text.data, cut));
        if (st == LT_OK) {
            dataset_close(&set);
            read++;
        } else {
            CHECK_FAILS(st, LT_E_INPUT, "mangled.jsonl");
            refused++;
        }
        strbuf_release(&path);
        strbuf_release(&data);
        strbuf_release(&text);
    }
    assert_true(refused > 100 && read > 10);
}

static void check_found(const Task *task, const char *split, const char *data, const char *want)
{
    StrBuf path;
    strbuf_init(&path);
    CHECK_OK(dataset_find(&path, task, split, data, NULL));
    check_str(strbuf_str(&path), want, strlen(want));
    strbuf_release(&path);
}

static const char *put(const char *data, const char *folder, const char *name)
{
    char inside[512];
    snprintf(inside, sizeof inside, "%s/%s", data, folder);
    return test_file(inside, name, two, sizeof two - 1);
}

static void test_find_takes_upstream_and_hub_names(void **state)
{
    (void)state;
    const char *data = test_folder();
    check_found(&task_hellaswag, "validation", data, put(data, "hellaswag", "hellaswag_val.jsonl"));
    check_found(&task_hellaswag, "validation", data, put(data, "hellaswag", "validation.json.zst"));
    check_found(&task_hellaswag, "train", data, put(data, "hellaswag", "hellaswag_train.jsonl.gz"));
    check_found(&task_winogrande, "train", data, put(data, "winogrande", "train_xl.jsonl"));
    check_found(&task_winogrande, "validation", data, put(data, "winogrande", "dev.jsonl"));
    check_found(&task_winogrande, "dev", data, put(data, "winogrande", "dev.jsonl"));
    check_found(&task_arc_challenge, "test", data, put(data, "arc_challenge", "ARC-Challenge-Test.jsonl"));
    check_found(&task_arc_challenge, "validation", data, put(data, "arc_challenge", "ARC-Challenge-Dev.json"));
    check_found(&task_arc_challenge, "train", data, put(data, "arc_challenge", "ARC-Challenge-Train.jsonl"));
    check_found(&task_gsm8k, "test", data, put(data, "gsm8k", "test.json.gz"));
}

static void test_find_takes_a_named_file(void **state)
{
    (void)state;
    StrBuf path;
    strbuf_init(&path);
    const char *file = put(test_folder(), "x", "mine.txt");
    CHECK_OK(dataset_find(&path, &task_gsm8k, "test", NULL, file));
    assert_string_equal(path.data, file);
    CHECK_FAILS(dataset_find(&path, &task_gsm8k, "test", NULL, "/nowhere/x.jsonl"), LT_E_INPUT, "no file '/nowhere/x.jsonl'");
    CHECK_FAILS(dataset_find(&path, &task_gsm8k, "test", NULL, NULL), LT_E_USAGE, "--data gsm8k=FILE");
    strbuf_release(&path);
}

static void test_find_says_what_it_looked_for(void **state)
{
    (void)state;
    StrBuf path;
    strbuf_init(&path);
    const char *data = test_folder();
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "validation", data, NULL), LT_E_INPUT, "no folder");
    put(data, "winogrande", "notes.txt");
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "validation", data, NULL), LT_E_INPUT, "looked for validation, dev, val");
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "test", data, NULL), LT_E_USAGE, "no split 'test'; it has validation, train");
    strbuf_release(&path);
}

static void test_find_answers_parquet_with_the_conversion(void **state)
{
    (void)state;
    StrBuf path;
    char want[1024];
    strbuf_init(&path);
    const char *data = test_folder();
    const char *other = put(data, "winogrande", "rows.parquet");
    snprintf(want, sizeof want, "python3 tools/hf_export.py '%s' '%s/winogrande/train.jsonl' --split train", other, data);
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "train", data, NULL), LT_E_INPUT, want);
    /* Files named after the split come in pieces: the folder stands for all of them. */
    const char *parquet = put(data, "winogrande/xl", "validation-00000-of-00002.parquet");
    put(data, "winogrande/xl", "validation-00001-of-00002.parquet");
    snprintf(want, sizeof want, "python3 tools/hf_export.py '%s/winogrande/xl' '%s/winogrande/validation.jsonl'", data, data);
    remove(other);
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "validation", data, NULL), LT_E_INPUT, want);
    snprintf(want, sizeof want, "python3 tools/hf_export.py '%s' '%s/winogrande/validation.jsonl' --split validation", parquet, data);
    CHECK_FAILS(dataset_find(&path, &task_winogrande, "validation", data, parquet), LT_E_INPUT, want);
    strbuf_release(&path);
}

static void test_find_survives_failed_allocations(void **state)
{
    (void)state;
    const char *data = test_folder();
    put(data, "winogrande", "dev.json");
    put(data, "winogrande/hub", "train-0.parquet");
    static const Status want[] = {LT_OK, LT_E_INPUT, LT_E_USAGE};
    static const char *const split[] = {"validation", "train", "tset"};
    for (int i = 0; i < 3; i++) {
        Status st = LT_E_NOMEM;
        for (uint64_t n = 1; st == LT_E_NOMEM; n++) {
            StrBuf path;
            const int64_t held = mem_held();
            strbuf_init(&path);
            mem_fail_at(n);
            st = dataset_find(&path, &task_winogrande, split[i], data, NULL);
            mem_fail_at(0);
            CHECK_FAILS(st, st == LT_E_NOMEM ? LT_E_NOMEM : want[i], NULL);
            strbuf_release(&path);
            assert_int_equal(mem_held(), held);
        }
    }
}

static void test_official_digests_are_recognised(void **state)
{
    (void)state;
    DataSet set;
    rows_shared(&set, &task_gsm8k, "gsm8k/test.jsonl");
    assert_int_equal(set.n_doc, 1319);
    assert_non_null(dataset_official(&set));
    assert_string_equal(dataset_official(&set), "test.jsonl");
    set.digest.byte[0] ^= 1;
    assert_null(dataset_official(&set));
    dataset_close(&set);
}

/* ARC-Easy has ARC-Challenge's form: in its place, it is read without a word, but it is no official ARC-Challenge. */
static void test_official_is_said_of_the_task_s_own_files_only(void **state)
{
    DataSet easy = {.task = &task_arc_challenge}, challenge = {.task = &task_arc_challenge}, other = {.task = &task_hellaswag};

    (void)state;
    assert_true(digest_from_hex(str_of("ce32a0774b4beb1977d2c6b16dda5dd2b24fdc9c7f506882c452678676bd09be"), &easy.digest));
    assert_true(digest_from_hex(str_of("9fa8ffb3e3a1f88cb302d53dd95aae81e39209ad9bcf974376b319d8fd35717c"), &challenge.digest));
    other.digest = challenge.digest;
    assert_null(dataset_official(&easy));
    assert_string_equal(dataset_official(&challenge), "ARC-Challenge-Test.jsonl");
    assert_null(dataset_official(&other));
}

/* A bound far above what is measured (see the printed figure): what it catches is work that grows with the square of the rows. */
static void test_open_is_quick(void **state)
{
    (void)state;
    static const struct {
        const Task *task;
        const char *file;
        size_t n;
    } big[] = {{&task_hellaswag, "hellaswag/validation.jsonl", 5021}, {&task_winogrande, "winogrande/train_xl.jsonl", 40398}};
    for (int i = 0; i < 2; i++) {
        DataSet set;
        const double start = clock_s();
        rows_shared(&set, big[i].task, big[i].file);
        const double took = clock_s() - start;
        print_message("%s: %zu rows in %.3f s\n", big[i].file, set.n_doc, took);
        assert_int_equal(set.n_doc, big[i].n);
        assert_true(took < 30);
        dataset_close(&set);
    }
}

/* Whatever the threads: the same rows in the same order, and of several bad lines the first. */
static void test_open_does_not_depend_on_threads(void **state)
{
    enum { N_ROW = 1000 };
    StrBuf text;
    Pool *pool;
    DataSet alone, together;

    (void)state;
    CHECK_OK(pool_create(&pool, 3));
    strbuf_init(&text);
    for (int i = 0; i < N_ROW; i++)
        strbuf_addf(&text, "{\"question\": \"number %d\", \"answer\": \"%d\"}\n", i, i * i);
    const char *path = test_file(test_folder(), "rows.jsonl", text.data, text.len);
    CHECK_OK(dataset_open(&alone, &task_gsm8k, path));
    CHECK_OK(dataset_open_on(&together, &task_gsm8k, path, pool));
    assert_int_equal(together.n_doc, N_ROW);
    assert_memory_equal(&together.digest, &alone.digest, sizeof alone.digest);
    for (size_t i = 0; i < N_ROW; i++) {
        assert_int_equal(together.doc[i].index, i);
        assert_ptr_equal(together.doc[i].row, json_array_get(together.rows, i));
        check_str(together.doc[i].shot, alone.doc[i].shot.data, alone.doc[i].shot.len);
    }
    dataset_close(&together);
    dataset_close(&alone);

    memset(text.data + text.len - 3, 'x', 2); /* in the last row */
    text.data[text.len / 3] = '\n'; /* and much earlier */
    const int64_t held = mem_held();
    size_t line = 1;
    for (size_t i = 0; i < text.len / 3; i++)
        line += text.data[i] == '\n';
    char place[64];
    snprintf(place, sizeof place, "rows.jsonl:%zu", line);
    path = test_file(test_folder(), "rows.jsonl", text.data, text.len);
    for (int i = 0; i < 20; i++)
        CHECK_FAILS(dataset_open_on(&together, &task_gsm8k, path, pool), LT_E_INPUT, place);
    assert_int_equal(mem_held(), held);
    strbuf_release(&text);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_open_reads_lines_and_arrays),
        cmocka_unit_test(test_open_accepts_bom_crlf_blank_lines_and_no_final_newline),
        cmocka_unit_test(test_open_reads_compressed_files_with_one_digest),
        cmocka_unit_test(test_open_refuses_damaged_compression),
        cmocka_unit_test(test_open_bounds_what_a_small_file_unpacks_to),
        cmocka_unit_test(test_open_refuses_hostile_rows),
        cmocka_unit_test(test_open_keeps_escaped_nul),
        cmocka_unit_test(test_open_survives_failed_allocations),
        cmocka_unit_test(test_read_survives_failed_allocations),
        cmocka_unit_test(test_open_reads_or_refuses_mangled_rows),
        cmocka_unit_test(test_find_takes_upstream_and_hub_names),
        cmocka_unit_test(test_find_takes_a_named_file),
        cmocka_unit_test(test_find_says_what_it_looked_for),
        cmocka_unit_test(test_find_answers_parquet_with_the_conversion),
        cmocka_unit_test(test_find_survives_failed_allocations),
        cmocka_unit_test(test_official_digests_are_recognised),
        cmocka_unit_test(test_official_is_said_of_the_task_s_own_files_only),
        cmocka_unit_test(test_open_does_not_depend_on_threads),
        cmocka_unit_test(test_open_is_quick),
    };
    return TEST_MAIN(all);
}
