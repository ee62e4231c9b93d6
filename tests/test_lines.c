#include "tests/check.h"

#include "core/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

/* One gzip member. */
static void add_gzip(StrBuf *out, Str text)
{
    z_stream z = {0};
    char piece[4096];

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text.data;
    z.avail_in = (uInt)text.len;
    int result;
    do {
        z.next_out = (Bytef *)piece;
        z.avail_out = sizeof piece;
        result = deflate(&z, Z_FINISH);
        strbuf_add(out, piece, sizeof piece - z.avail_out);
    } while (result == Z_OK);
    assert_int_equal(result, Z_STREAM_END);
    deflateEnd(&z);
}

static void add_zstd(StrBuf *out, Str text)
{
    const size_t bound = ZSTD_compressBound(text.len);
    char *packed;

    CHECK_OK(MEM_NEW(packed, bound));
    const size_t n = ZSTD_compress(packed, bound, text.data, text.len, 3);
    assert_false(ZSTD_isError(n));
    strbuf_add(out, packed, n);
    mem_free(packed);
}

static const char *file_of(Str content)
{
    static const char *folder;

    if (folder == NULL)
        folder = test_folder();
    return test_file(folder, "lines", content.data, content.len);
}

/* All lines joined by '|'. */
static Status read_joined(const char *path, StrBuf *out)
{
    LineReader *r;
    Status st;

    strbuf_clear(out);
    TRY(lines_open(&r, path));
    for (uint64_t n = 1;; n++) {
        bool more;
        Str line;

        TRY_GOTO(lines_next(r, &line, &more), st, done);
        if (!more)
            break;
        assert_int_equal(lines_number(r), n);
        strbuf_add_str(out, line);
        strbuf_add_char(out, '|');
    }
    st = strbuf_status(out);
done:
    lines_close(r);
    return st;
}

static void check_lines(Str content, Str want)
{
    StrBuf got;

    strbuf_init(&got);
    CHECK_OK(read_joined(file_of(content), &got));
    check_str(strbuf_str(&got), want.data, want.len);
    strbuf_release(&got);
}

#define S(literal) ((Str){(literal), sizeof(literal) - 1})

static void test_lines_of_plain_files(void **state)
{
    (void)state;
    check_lines(S(""), S(""));
    check_lines(S("\n"), S("|"));
    check_lines(S("a\nb\n"), S("a|b|"));
    check_lines(S("a\n\nb"), S("a||b|"));
    check_lines(S("a\r\nb\r\r\n\r\nc\r"), S("a|b\r||c\r|"));
    check_lines(S("\xef\xbb\xbf" "a\n\xef\xbb\xbf\n"), S("a|\xef\xbb\xbf|"));
    check_lines(S("\xef\xbb"), S("\xef\xbb|"));
    check_lines(S("a\0b\n"), S("a\0b|"));
    check_lines(S("\x1f"), S("\x1f|"));
}

/* Lines much longer and much shorter than the pieces that are read, in all three packings. */
static void test_packings_give_the_same_lines(void **state)
{
    StrBuf text, want, packed, got;
    TestRandom random = {3};

    (void)state;
    strbuf_init(&text);
    strbuf_init(&want);
    strbuf_init(&packed);
    strbuf_init(&got);
    for (size_t i = 0; i < 300; i++) {
        const size_t n = (size_t)(test_random(&random) % (i % 50 == 0 ? 300000 : 300));
        for (size_t j = 0; j < n; j++)
            strbuf_add_char(&text, (char)('a' + test_random(&random) % 26));
        strbuf_add_char(&text, '\n');
    }
    const Str all = strbuf_str(&text);
    CHECK_OK(read_joined(file_of(all), &want));
    assert_int_equal(want.len, text.len);
    /* Two members, the cut in the middle of a line. */
    add_gzip(&packed, str_slice(all, 0, all.len / 2));
    add_gzip(&packed, str_slice(all, all.len / 2, all.len));
    CHECK_OK(read_joined(file_of(strbuf_str(&packed)), &got));
    assert_true(str_equal(strbuf_str(&got), strbuf_str(&want)));
    strbuf_clear(&packed);
    add_zstd(&packed, str_slice(all, 0, 100));
    add_zstd(&packed, str_slice(all, 100, all.len));
    CHECK_OK(read_joined(file_of(strbuf_str(&packed)), &got));
    assert_true(str_equal(strbuf_str(&got), strbuf_str(&want)));
    strbuf_release(&text);
    strbuf_release(&want);
    strbuf_release(&packed);
    strbuf_release(&got);
}

/* A file that ends too early, at any byte, is an error that names file and line; it never gives fewer lines in silence. */
static void check_truncated(Str packed, const char *part)
{
    StrBuf got;

    strbuf_init(&got);
    for (size_t n = 5; n < packed.len; n++)
        CHECK_FAILS(read_joined(file_of(str_slice(packed, 0, n)), &got), LT_E_INPUT, part);
    strbuf_release(&got);
}

static void test_truncated_data_is_an_error(void **state)
{
    const Str text = S("first line\nsecond line\nthird");
    StrBuf packed;

    (void)state;
    strbuf_init(&packed);
    add_gzip(&packed, text);
    check_truncated(strbuf_str(&packed), "gzip data is damaged: it ends too early");
    strbuf_clear(&packed);
    add_zstd(&packed, text);
    check_truncated(strbuf_str(&packed), "zstd data is damaged: it ends too early");
    strbuf_release(&packed);
}

static void test_damaged_data_names_file_and_line(void **state)
{
    StrBuf packed, got;

    (void)state;
    strbuf_init(&packed);
    strbuf_init(&got);
    add_gzip(&packed, S("first\nsecond\n"));
    packed.data[packed.len - 8] ^= 1; /* the checksum */
    CHECK_FAILS(read_joined(file_of(strbuf_str(&packed)), &got), LT_E_INPUT, "lines': line 1: gzip data is damaged: ");
    strbuf_clear(&packed);
    add_gzip(&packed, S("first\n"));
    strbuf_add_text(&packed, "junk");
    CHECK_FAILS(read_joined(file_of(strbuf_str(&packed)), &got), LT_E_INPUT, "line 2: gzip data is damaged: ");
    strbuf_clear(&packed);
    add_zstd(&packed, S("first\n"));
    strbuf_add_text(&packed, "junk");
    CHECK_FAILS(read_joined(file_of(strbuf_str(&packed)), &got), LT_E_INPUT, "line 2: zstd data is damaged: ");
    CHECK_FAILS(read_joined("nowhere/x.jsonl", &got), LT_E_INPUT, "nowhere/x.jsonl");
    strbuf_release(&packed);
    strbuf_release(&got);
}

/* The lines of `fd` (closed here) as standard input. */
static void check_stdin(int fd, Str want)
{
    const int kept = dup(STDIN_FILENO);
    StrBuf got;

    strbuf_init(&got);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    const Status st = read_joined("/dev/stdin", &got);
    dup2(kept, STDIN_FILENO);
    close(kept);
    close(fd);
    CHECK_OK(st);
    check_str(strbuf_str(&got), want.data, want.len);
    strbuf_release(&got);
}

static void test_stdin_is_read_as_it_stands(void **state)
{
    int ends[2];
    char begun[2];

    (void)state;
    /* A program that talks to another one over a socket. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[1], "a\nb\n", 4), 4);
    close(ends[1]);
    check_stdin(ends[0], S("a|b|"));
    /* A redirected file of which somebody read the first line. */
    const int file = open(file_of(S("1\n2\n3\n")), O_RDONLY);
    assert_int_equal(read(file, begun, 2), 2);
    check_stdin(file, S("2|3|"));
}

/* 16 MiB of empty lines in 16 KiB of gzip: memory stays at the size of a piece, not of the text. */
static void test_bomb_of_short_lines_takes_no_memory(void **state)
{
    enum { PART = 1 << 20, PARTS = 16 };
    StrBuf text, packed;
    LineReader *r;
    uint64_t n = 0;
    bool more = true;

    (void)state;
    strbuf_init(&text);
    strbuf_init(&packed);
    for (size_t i = 0; i < PART; i++)
        strbuf_add_char(&text, '\n');
    for (size_t i = 0; i < PARTS; i++)
        add_gzip(&packed, strbuf_str(&text));
    const char *path = file_of(strbuf_str(&packed));
    strbuf_release(&text);
    strbuf_release(&packed);

    CHECK_OK(lines_open(&r, path));
    const uint64_t taken = mem_count();
    while (more) {
        Str line;
        CHECK_OK(lines_next(r, &line, &more));
        n += more;
    }
    /* The buffer has its size after the first piece; zlib takes no more than its window. */
    assert_true(mem_count() - taken <= 4);
    assert_int_equal(n, (uint64_t)PART * PARTS);
    lines_close(r);
}

static void test_open_survives_lack_of_memory(void **state)
{
    StrBuf packed, got;

    (void)state;
    strbuf_init(&packed);
    add_gzip(&packed, S("first\nsecond\n"));
    const char *path = file_of(strbuf_str(&packed));
    strbuf_release(&packed);
    const int64_t held = mem_held();
    for (uint64_t n = 1;; n++) {
        strbuf_init(&got);
        mem_fail_at(n);
        const Status st = read_joined(path, &got);
        mem_fail_at(0);
        strbuf_release(&got);
        assert_int_equal(mem_held(), held);
        if (st == LT_OK)
            break;
        CHECK_FAILS(st, LT_E_NOMEM, NULL);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_plain_files),
        cmocka_unit_test(test_packings_give_the_same_lines),
        cmocka_unit_test(test_truncated_data_is_an_error),
        cmocka_unit_test(test_damaged_data_names_file_and_line),
        cmocka_unit_test(test_stdin_is_read_as_it_stands),
        cmocka_unit_test(test_bomb_of_short_lines_takes_no_memory),
        cmocka_unit_test(test_open_survives_lack_of_memory),
    };
    return TEST_MAIN(tests);
}
