/* Lines for people: what reaches stderr, caught in a file. A file is no terminal, so progress is plain here and nothing is coloured. */
#include "tests/check.h"

#include "core/file.h"
#include "core/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* What `write` sends to stderr. */
static void catch_lines(StrBuf *out, void (*write)(void))
{
    const char *path = test_file(test_folder(), "stderr", "", 0);
    const int kept = dup(STDERR_FILENO), file = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(kept >= 0 && file >= 0);
    fflush(stderr);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    write();
    fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(file);
    close(kept);
    CHECK_OK(file_read(path, 1 << 20, out));
}

static void check_lines(void (*write)(void), const char *want)
{
    StrBuf got;

    strbuf_init(&got);
    catch_lines(&got, write);
    check_str(strbuf_str(&got), want, strlen(want));
    strbuf_release(&got);
}

static void write_three(void)
{
    log_note("read %d files", 3);
    log_warning("%s: 100%% odd", "x.json");
    log_error("no such verb");
}

static void write_three_quietly(void)
{
    log_set_level(LOG_QUIET);
    write_three();
    log_set_level(LOG_NORMAL);
}

static void test_lines_say_who_speaks(void **state)
{
    (void)state;
    check_lines(write_three, "lethe: read 3 files\nlethe: warning: x.json: 100% odd\nlethe: no such verb\n");
    check_lines(write_three_quietly, "lethe: no such verb\n");
}

static void write_hostile(void)
{
    log_note("wrote %s", "a\nlethe: b/\033[2J\x7f\t\xc3\xa9");
    log_warning("tensor '%s'", "\r\033]0;title\a");
    log_error("%s", "line\nline");
}

/* Names come from files and folders: they must not add lines, nor speak to the terminal. */
static void test_a_line_stays_one_line(void **state)
{
    (void)state;
    check_lines(write_hostile, "lethe: wrote a?lethe: b/?[2J??\xc3\xa9\nlethe: warning: tensor '??]0;title?'\nlethe: line?line\n");
}

static void write_too_long(void)
{
    static char text[9000];

    memset(text, 'x', sizeof text - 1);
    log_error("%s", text);
}

static void test_a_line_too_long_is_cut_visibly(void **state)
{
    StrBuf got;

    (void)state;
    strbuf_init(&got);
    catch_lines(&got, write_too_long);
    assert_in_range(got.len, 4096, 8999);
    assert_true(str_ends(strbuf_str(&got), str_of("xxx...\n")));
    strbuf_release(&got);
}

static void write_progress(void)
{
    Progress p;

    progress_start(&p, "ti\ny", 4);
    progress_add(&p, 3, 30, "acc 0.5");
    p.last_s -= 31; /* as if half a minute had gone by */
    progress_add(&p, 1, 10, "acc 0.75");
    progress_end(&p);
}

/* A plain line only after thirty seconds, then the closing line. */
static void test_progress_is_rare_where_no_terminal_is(void **state)
{
    StrBuf got;

    (void)state;
    strbuf_init(&got);
    catch_lines(&got, write_progress);
    const Str all = strbuf_str(&got);
    assert_true(str_starts(all, str_of("ti?y: 4/4 (100 %), ")));
    const size_t second = str_find(all, str_of("\n"), 0) + 1;
    assert_true(str_find(all, str_of("0s left, acc 0.75\n"), 0) < second);
    assert_true(str_starts(str_slice(all, second, all.len), str_of("lethe: ti?y: 4 items in 0s (")));
    assert_int_equal(str_find(all, str_of("\n"), second), all.len - 1);
    assert_int_equal(str_find(all, str_of("\033"), 0), SIZE_MAX);
    strbuf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_say_who_speaks),
        cmocka_unit_test(test_a_line_stays_one_line),
        cmocka_unit_test(test_a_line_too_long_is_cut_visibly),
        cmocka_unit_test(test_progress_is_rare_where_no_terminal_is),
    };

    return TEST_MAIN(tests);
}
