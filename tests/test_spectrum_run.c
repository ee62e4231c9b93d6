/* The records that spectra are made of. */
#include "tests/check.h"

#include "analysis/run_record.h"
#include "core/appendlog.h"

#include <math.h>

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void log_record(const char *folder, const RunRecord *r)
{
    AppendLog log;
    StrBuf text;

    strbuf_init(&text);
    CHECK_OK(run_record_write(&text, KEY, "a.weight", r));
    CHECK_OK(appendlog_create(&log, folder));
    CHECK_OK(appendlog_add(&log, strbuf_str(&text)));
    CHECK_OK(appendlog_close(&log));
    strbuf_release(&text);
}

static void test_records_read_back_and_must_agree(void **state)
{
    const char *folder = test_folder();
    double sigma[3] = {1.0 / 3, 0x1p-1000, 0};
    SubspaceRow row[2] = {{"angle", "left", 4, 2, NAN, 1.0 / 7, 0.5}, {"intruders", "left", 10, 0, 0.5, 3, NAN}};
    const RunRecord r = {.m = 3, .n = 5, .facts = {LT_BF16, LT_F16, DELTA_CAST_BF16, 0.1, 1e-300, 2.0 / 3}, .sigma = sigma,
                         .subspaces = {.row = row, .count = 2}};
    RunRecords records;

    (void)state;
    run_records_init(&records);
    CHECK_OK(run_records_refresh(&records, "nowhere", NULL));
    assert_null(run_records_find(&records, KEY));
    log_record(folder, &r);
    log_record(folder, &r); /* twice the same: no harm */
    CHECK_OK(run_records_refresh(&records, folder, NULL));
    const RunRecord *got = run_records_find(&records, KEY);
    assert_non_null(got);
    assert_int_equal(records.count, 1);
    assert_memory_equal(got->sigma, sigma, sizeof sigma);
    assert_memory_equal(&got->facts.zero_share, &r.facts.zero_share, sizeof(double));
    assert_memory_equal(&got->facts.noise, &r.facts.noise, sizeof(double));
    assert_memory_equal(&got->facts.base_fro, &r.facts.base_fro, sizeof(double));
    assert_true(got->m == 3 && got->n == 5 && got->facts.dtype == LT_BF16 && got->facts.base_dtype == LT_F16 && got->facts.cast == DELTA_CAST_BF16);

    assert_int_equal(got->subspaces.count, 2);
    for (int i = 0; i < 2; i++) {
        const SubspaceRow *found = &got->subspaces.row[i];

        assert_string_equal(found->quantity, row[i].quantity);
        assert_string_equal(found->side, row[i].side);
        assert_true(found->k == row[i].k && found->index == row[i].index && isnan(found->epsilon) == isnan(row[i].epsilon) &&
                    isnan(found->chance) == isnan(row[i].chance));
        assert_memory_equal(&found->value, &row[i].value, sizeof(double));
    }

    row[0].value = nextafter(row[0].value, 1);
    log_record(folder, &r);
    CHECK_FAILS(run_records_refresh(&records, folder, NULL), LT_E_FAIL, "differ: the same work gave two results");
    run_records_release(&records);
}

/* Every single allocation may fail: the code says so, nothing leaks, and nothing half read stays. */
static void test_records_survive_a_lack_of_memory(void **state)
{
    const char *folder = test_folder();
    double sigma[2] = {2, 1};
    SubspaceRow row = {"angle", "left", 1, 1, NAN, 0.5, 0.5};
    const RunRecord r = {.m = 2, .n = 2, .facts = {LT_F32, LT_F32, DELTA_CAST_NONE, 0, 0, 1}, .sigma = sigma, .subspaces = {.row = &row, .count = 1}};
    const int64_t held = mem_held();
    Status st = LT_E_NOMEM;

    (void)state;
    log_record(folder, &r);
    for (uint64_t n = 1; st != LT_OK; n++) {
        RunRecords records;

        run_records_init(&records);
        mem_fail_at(n);
        st = run_records_refresh(&records, folder, NULL);
        mem_fail_at(0);
        assert_int_equal(run_records_find(&records, KEY) != NULL, st == LT_OK);
        run_records_release(&records);
        if (st != LT_OK)
            CHECK_FAILS(st, LT_E_NOMEM, NULL);
        assert_int_equal(mem_held(), held);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_read_back_and_must_agree),
        cmocka_unit_test(test_records_survive_a_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
