#include "tests/check.h"

#include "core/appendlog.h"
#include "core/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static Status join(void *context, Str payload, const char *path)
{
    StrBuf *out = context;

    assert_non_null(path);
    strbuf_add_str(out, payload);
    strbuf_add_char(out, '|');
    return LT_OK;
}

/* The records of a file with this content, joined by '|'. */
static void check_records(Str content, const char *want, uint64_t records, uint64_t damaged)
{
    static const char *folder;
    AppendLogCount count;
    StrBuf got;

    if (folder == NULL)
        folder = test_folder();
    strbuf_init(&got);
    CHECK_OK(appendlog_read(test_file(folder, "x.log", content.data, content.len), join, &got, &count));
    check_str(strbuf_str(&got), want, strlen(want));
    assert_int_equal(count.record, records);
    assert_int_equal(count.damaged, damaged);
    strbuf_release(&got);
}

/* Three records; *path stays valid. */
static const char *write_three(const char *folder)
{
    const char *path;
    AppendLog log;

    CHECK_OK(appendlog_create(&log, folder));
    CHECK_OK(appendlog_add(&log, str_of("{\"a\":1}")));
    CHECK_OK(appendlog_add(&log, str_of("")));
    CHECK_OK(appendlog_sync(&log));
    CHECK_OK(appendlog_add(&log, str_of("{\"text\":\"0000000c 00000000 \"}")));
    path = test_file(folder, "copy", log.path, strlen(log.path));
    CHECK_OK(appendlog_close(&log));
    CHECK_OK(appendlog_close(&log));
    return path;
}

/* The bytes of three records. */
static void three_records(StrBuf *text)
{
    const char *folder = test_folder();
    StrBuf name;

    strbuf_init(&name);
    CHECK_OK(file_read(write_three(folder), 4096, &name));
    CHECK_OK(file_read(name.data, 4096, text));
    strbuf_release(&name);
}

static void test_records_read_back_in_order(void **state)
{
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    three_records(&text);
    check_records(strbuf_str(&text), "{\"a\":1}||{\"text\":\"0000000c 00000000 \"}|", 3, 0);
    check_records((Str){"", 0}, "", 0, 0);
    /* The format itself, with the check value that RFC 3720's polynomial is known by. */
    check_records(str_of("00000009 e3069283 123456789\n"), "123456789|", 1, 0);
    strbuf_release(&text);
}

/* A writer killed at any byte: all records before the torn one are there, and none that was not written. */
static void test_truncation_at_every_byte_loses_the_tail_only(void **state)
{
    static const char *const want[] = {"", "{\"a\":1}|", "{\"a\":1}||"};
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    three_records(&text);
    for (size_t n = 0; n < text.len; n++) {
        const Str head = str_slice(strbuf_str(&text), 0, n);
        size_t whole = 0;
        for (size_t i = 0; i < n; i++)
            whole += head.data[i] == '\n';
        check_records(head, want[whole], whole, n > 0 && head.data[n - 1] != '\n');
    }
    strbuf_release(&text);
}

/* A flipped byte costs the record it is in, and its neighbour at most (where it was the LF between them). */
static void test_flipped_byte_costs_its_record_only(void **state)
{
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    three_records(&text);
    const size_t first = str_find(strbuf_str(&text), str_of("\n"), 0);
    const size_t second = str_find(strbuf_str(&text), str_of("\n"), first + 1);
    for (size_t i = 0; i < text.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
            if (i < first)
                check_records(strbuf_str(&text), "|{\"text\":\"0000000c 00000000 \"}|", 2, 1);
            else if (i == first)
                check_records(strbuf_str(&text), "{\"text\":\"0000000c 00000000 \"}|", 1, 1);
            else if (i < second)
                check_records(strbuf_str(&text), "{\"a\":1}|{\"text\":\"0000000c 00000000 \"}|", 2, 1);
            else if (i == second)
                check_records(strbuf_str(&text), "{\"a\":1}|", 1, 1);
            else
                check_records(strbuf_str(&text), "{\"a\":1}||", 2, 1);
            text.data[i] = (char)(text.data[i] ^ 1 << bit);
        }
    strbuf_release(&text);
}

static void test_damage_in_the_middle_is_one_stretch(void **state)
{
    static const char good[] = "00000009 e3069283 123456789\n";
    char zeros[4096] = {0};
    StrBuf text;

    (void)state;
    strbuf_init(&text);
    strbuf_add_text(&text, good);
    strbuf_add(&text, zeros, sizeof zeros); /* blocks that a crashed file system never filled */
    strbuf_add_text(&text, "\n");
    strbuf_add_text(&text, good);
    check_records(strbuf_str(&text), "123456789|123456789|", 2, 1);
    strbuf_add_text(&text, "junk\n\nmore junk\n");
    strbuf_add_text(&text, good);
    strbuf_add_text(&text, "00000009 E3069283 123456789\n"); /* never written so */
    check_records(strbuf_str(&text), "123456789|123456789|123456789|", 3, 3);
    strbuf_clear(&text);
    strbuf_add_text(&text, "ffffffff e3069283 123456789\n");
    strbuf_add_text(&text, good);
    check_records(strbuf_str(&text), "123456789|", 1, 1);
    strbuf_release(&text);
}

static Status refuse(void *context, Str payload, const char *path)
{
    (void)context;
    return FAIL(LT_E_NUMERIC, "%s: " STR_FORMAT, path, STR_ARG(payload));
}

static void test_failing_visit_stops_the_reading(void **state)
{
    const char *path = test_file(test_folder(), "x.log", "00000009 e3069283 123456789\n", 28);
    AppendLogCount count;

    (void)state;
    CHECK_FAILS(appendlog_read(path, refuse, NULL, &count), LT_E_NUMERIC, "x.log: 123456789");
    CHECK_FAILS(appendlog_read("nowhere/x.log", refuse, NULL, &count), LT_E_INPUT, "nowhere/x.log");
}

static void test_folder_is_read_in_name_order(void **state)
{
    const char *folder = test_folder();
    AppendLogCount count;
    StrBuf got, inner;

    (void)state;
    strbuf_init(&got);
    strbuf_init(&inner);
    test_file(folder, "2.log", "00000009 e3069283 123456789\ntorn", 32);
    test_file(folder, "1.log", "00000001 c1d04330 a\n", 20);
    test_file(folder, "other.txt", "00000001 c1d04330 a\n", 20);
    CHECK_OK(appendlog_read_folder(folder, join, &got, &count));
    check_str(strbuf_str(&got), "a|123456789|", 12);
    assert_true(count.record == 2 && count.damaged == 1);

    CHECK_OK(path_join(&inner, folder, "not/there"));
    CHECK_OK(appendlog_read_folder(inner.data, join, &got, &count));
    assert_true(count.record == 0 && count.damaged == 0);
    /* create makes the folder, and never takes a name twice. */
    AppendLog one, two;
    CHECK_OK(appendlog_create(&one, inner.data));
    CHECK_OK(appendlog_create(&two, inner.data));
    assert_string_not_equal(one.path, two.path);
    CHECK_OK(appendlog_close(&one));
    CHECK_OK(appendlog_close(&two));
    strbuf_release(&got);
    strbuf_release(&inner);
}

static void test_folder_that_cannot_be_made_is_an_io_error(void **state)
{
    const char *file = test_file(test_folder(), "file", "", 0);
    AppendLog log = {0};

    (void)state;
    CHECK_FAILS(appendlog_create(&log, file), LT_E_IO, file);
    CHECK_OK(appendlog_close(&log));
}

/* A write that stops half-way (file size limit) is an error; the records added after it are not lost with the torn one. */
static void test_record_after_a_torn_write_is_found(void **state)
{
    const char *folder = test_folder();
    struct rlimit limit, small;
    AppendLogCount count;
    AppendLog log;
    StrBuf got;

    (void)state;
    strbuf_init(&got);
    CHECK_OK(appendlog_create(&log, folder));
    CHECK_OK(appendlog_add(&log, str_of("first")));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 40;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_FAILS(appendlog_add(&log, str_of("second, too long for the limit")), LT_E_IO, "cannot append to '");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_OK(appendlog_add(&log, str_of("third")));
    CHECK_OK(appendlog_close(&log));
    CHECK_OK(appendlog_read_folder(folder, join, &got, &count));
    check_str(strbuf_str(&got), "first|third|", 12);
    assert_int_equal(count.damaged, 1);
    strbuf_release(&got);
}

/* kill -9 in the middle of a stream of long records: what was synced is there, and nothing is made up. */
static void test_killed_writer_keeps_what_it_synced(void **state)
{
    enum { LONG = 100000 };
    const char *folder = test_folder();
    AppendLogCount count;
    int synced[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(synced), 0);
    const pid_t child = fork();
    if (child == 0) {
        static char payload[LONG];
        AppendLog log;
        memset(payload, 'x', sizeof payload);
        if (appendlog_create(&log, folder) != LT_OK)
            _exit(1);
        for (int i = 0;; i++) {
            if (appendlog_add(&log, (Str){payload, sizeof payload}) != LT_OK)
                _exit(1);
            if (i == 2 && (appendlog_sync(&log) != LT_OK || write(synced[1], "s", 1) != 1))
                _exit(1);
        }
    }
    assert_int_equal(read(synced[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(synced[0]);
    close(synced[1]);

    StrBuf got;
    strbuf_init(&got);
    CHECK_OK(appendlog_read_folder(folder, join, &got, &count));
    assert_true(count.record >= 3 && count.damaged <= 1);
    assert_int_equal(got.len, count.record * (LONG + 1));
    strbuf_release(&got);
}

static void test_log_survives_lack_of_memory(void **state)
{
    const char *folder = test_folder();
    const int64_t held = mem_held();
    uint64_t n = 1;

    (void)state;
    for (;; n++) {
        AppendLog log = {0};
        mem_fail_at(n);
        Status st = appendlog_create(&log, folder);
        if (st == LT_OK)
            st = appendlog_add(&log, str_of("{}"));
        mem_fail_at(0);
        if (st == LT_OK) {
            CHECK_OK(appendlog_close(&log));
            break;
        }
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
        CHECK_OK(appendlog_close(&log));
        assert_int_equal(mem_held(), held);
    }
    assert_true(n > 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_read_back_in_order),
        cmocka_unit_test(test_truncation_at_every_byte_loses_the_tail_only),
        cmocka_unit_test(test_flipped_byte_costs_its_record_only),
        cmocka_unit_test(test_damage_in_the_middle_is_one_stretch),
        cmocka_unit_test(test_failing_visit_stops_the_reading),
        cmocka_unit_test(test_folder_is_read_in_name_order),
        cmocka_unit_test(test_folder_that_cannot_be_made_is_an_io_error),
        cmocka_unit_test(test_record_after_a_torn_write_is_found),
        cmocka_unit_test(test_killed_writer_keeps_what_it_synced),
        cmocka_unit_test(test_log_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
