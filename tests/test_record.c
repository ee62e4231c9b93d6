#include "tests/check.h"

#include "core/appendlog.h"
#include "core/mem.h"
#include "eval/score/record.h"

#include <stdlib.h>

static const char *const KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static ScoreRecord sample_record(int64_t doc_id)
{
    return (ScoreRecord){.doc_id = doc_id, .n_choice = 3, .loglik = {-0.1, -1e-300, -224.21417236328125}, .greedy = {false, true, false},
                         .tokens = 120, .truncated = 1};
}

static void add(AppendLog *log, const char *key, const ScoreRecord *r)
{
    StrBuf text;
    strbuf_init(&text);
    CHECK_OK(record_write(&text, key, "hellaswag", r));
    CHECK_OK(appendlog_add(log, strbuf_str(&text)));
    strbuf_release(&text);
}

static void test_write_is_one_line_of_json(void **state)
{
    const ScoreRecord r = sample_record(7);
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    CHECK_OK(record_write(&text, "k", "a\"b", &r));
    const char want[] = "{\"key\": \"k\", \"task\": \"a\\\"b\", \"doc_id\": 7, \"loglik\": [-0.1, -1e-300, -224.21417236328125], "
                        "\"greedy\": [false, true, false], \"tokens\": 120, \"truncated\": 1}";
    check_str(strbuf_str(&text), want, sizeof want - 1);
    strbuf_release(&text);
}

static void test_load_gives_back_every_bit(void **state)
{
    const char *folder = test_folder();
    const ScoreRecord first = sample_record(0), second = sample_record(1);
    AppendLog log = {0};
    RecordStore store;

    (void)state;
    CHECK_OK(appendlog_create(&log, folder));
    add(&log, KEY, &first);
    add(&log, KEY, &second);
    CHECK_OK(appendlog_add(&log, str_of("{\"kind\": \"another sort of record\"}")));
    CHECK_OK(appendlog_close(&log));
    CHECK_OK(appendlog_create(&log, folder)); /* a second worker did one of them, too */
    add(&log, KEY, &second);
    add(&log, "other", &second);
    CHECK_OK(appendlog_close(&log));

    CHECK_OK(records_load(&store, folder));
    assert_int_equal(store.count, 3);
    const ScoreRecord *got = records_find(&store, KEY, 1);
    assert_non_null(got);
    assert_memory_equal(got->loglik, second.loglik, 3 * sizeof(double));
    assert_memory_equal(got->greedy, second.greedy, 3 * sizeof(bool));
    assert_int_equal(got->tokens, 120);
    assert_int_equal(got->truncated, 1);
    assert_null(records_find(&store, KEY, 2));
    assert_null(records_find(&store, "other", 0));
    records_release(&store);
}

static void test_load_alarms_when_two_records_differ(void **state)
{
    const char *folder = test_folder();
    ScoreRecord r = sample_record(5);
    AppendLog log = {0};
    RecordStore store;

    (void)state;
    CHECK_OK(appendlog_create(&log, folder));
    add(&log, KEY, &r);
    r.loglik[2] += 1e-6;
    add(&log, KEY, &r);
    CHECK_OK(appendlog_close(&log));
    CHECK_FAILS(records_load(&store, folder), LT_E_FAIL, "item 5 under key 0123456789abcdef differ: choice 2");
}

static void test_load_refuses_records_that_make_no_sense(void **state)
{
    static const char *const bad[] = {
        "{\"key\": \"k\", \"doc_id\": -1, \"loglik\": [1.0], \"greedy\": [true]}",
        "{\"key\": \"k\", \"doc_id\": 1, \"loglik\": [1.0], \"greedy\": []}",
        "{\"key\": \"k\", \"doc_id\": 1, \"loglik\": [], \"greedy\": []}",
        "{\"key\": \"k\", \"doc_id\": 1, \"loglik\": [\"x\"], \"greedy\": [true]}",
        "{\"key\": 1, \"doc_id\": 1, \"loglik\": [1.0], \"greedy\": [true]}",
        "{\"key\": \"k\", \"doc_id\": 1, \"loglik\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], "
        "\"greedy\": [true,true,true,true,true,true,true,true,true,true,true,true,true,true,true,true,true]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *folder = test_folder();
        AppendLog log = {0};
        RecordStore store;
        CHECK_OK(appendlog_create(&log, folder));
        CHECK_OK(appendlog_add(&log, str_of(bad[i])));
        CHECK_OK(appendlog_close(&log));
        CHECK_FAILS(records_load(&store, folder), LT_E_INPUT, ".log");
    }
}

static void test_load_of_no_folder_is_empty(void **state)
{
    RecordStore store;
    StrBuf path;

    (void)state;
    strbuf_init(&path);
    strbuf_addf(&path, "%s/not/there", test_folder());
    CHECK_OK(records_load(&store, path.data));
    assert_int_equal(store.count, 0);
    records_release(&store);
    strbuf_release(&path);
}

static void test_load_survives_without_memory(void **state)
{
    const char *folder = test_folder();
    AppendLog log = {0};
    RecordStore store;

    (void)state;
    CHECK_OK(appendlog_create(&log, folder));
    for (int64_t i = 0; i < 40; i++) {
        const ScoreRecord r = sample_record(i);
        add(&log, KEY, &r);
    }
    CHECK_OK(appendlog_close(&log));
    json_set_alloc_funcs(malloc, free); /* Jansson 2.14 follows a null pointer where it runs out of memory */
    const int64_t held = mem_held();
    const uint64_t before = mem_count();
    CHECK_OK(records_load(&store, folder));
    const uint64_t n = mem_count() - before;
    records_release(&store);
    for (uint64_t i = 1; i <= n; i++) {
        mem_fail_at(i);
        CHECK_FAILS(records_load(&store, folder), LT_E_NOMEM, NULL);
        mem_fail_at(0);
        assert_int_equal(mem_held(), held);
    }
    json_use_mem();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_is_one_line_of_json),
        cmocka_unit_test(test_load_gives_back_every_bit),
        cmocka_unit_test(test_load_alarms_when_two_records_differ),
        cmocka_unit_test(test_load_refuses_records_that_make_no_sense),
        cmocka_unit_test(test_load_of_no_folder_is_empty),
        cmocka_unit_test(test_load_survives_without_memory),
    };
    return TEST_MAIN(tests);
}
