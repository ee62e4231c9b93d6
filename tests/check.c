#include "tests/check.h"

#include "core/file.h"
#include "core/json.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Strings handed to tests live until the program ends. */
static Arena kept;
static char *folders[256];
static size_t n_folder;

void check_status(Status got, Status want, const char *part, const char *what, const char *file, int line)
{
    const char *text = status_text();

    if (got != want || (part != NULL && strstr(text, part) == NULL)) {
        print_error("%s:%d: %s: expected status %s%s%s%s, got %s: %s (%s)\n", file, line, what, status_name(want),
                    part != NULL ? " with '" : "", part != NULL ? part : "", part != NULL ? "'" : "", status_name(got), text, status_place());
        status_clear();
        _fail(file, line);
    }
    if (got == LT_OK && *text != '\0') {
        print_error("%s:%d: %s: succeeded but left the text '%s'\n", file, line, what, text);
        status_clear();
        _fail(file, line);
    }
    status_clear();
}

void check_close(const char *what, double got, double want, double absolute, double relative)
{
    const double bound = absolute + relative * fabs(want);

    if (got == want || fabs(got - want) <= bound)
        return;
    print_error("%s: got %.17g, expected %.17g, off by %.3g (bound %.3g)\n", what, got, want, fabs(got - want), bound);
    fail();
}

void check_close_f32(const char *what, const float *got, const double *want, size_t n, double absolute, double relative)
{
    size_t first = n, worst = n, n_bad = 0;
    double worst_share = 1;

    for (size_t i = 0; i < n; i++) {
        const double bound = absolute + relative * fabs(want[i]);
        const double off = fabs((double)got[i] - want[i]);

        if ((double)got[i] == want[i] || off <= bound)
            continue;
        n_bad++;
        first = first == n ? i : first;
        if (worst == n || !(off / bound <= worst_share)) {
            worst = i;
            worst_share = off / bound;
        }
    }
    if (n_bad == 0)
        return;
    print_error("%s: %zu of %zu elements off; first [%zu] got %.9g, expected %.9g; worst [%zu] got %.9g, expected %.9g, %.3g times the bound\n",
                what, n_bad, n, first, (double)got[first], want[first], worst, (double)got[worst], want[worst], worst_share);
    fail();
}

void check_str(Str got, const char *want, size_t want_len)
{
    if (str_equal(got, (Str){want, want_len}))
        return;
    print_error("got '" STR_FORMAT "' (%zu bytes), expected '%.*s' (%zu bytes)\n", STR_ARG(got), got.len, (int)want_len, want, want_len);
    fail();
}

const char *test_device(void)
{
    const char *name = getenv("LETHE_TEST_DEVICE");

    return name != NULL ? name : "cpu";
}

void test_skip(const char *reason)
{
    print_message("SKIP: %s\n", reason);
    skip();
    abort(); /* skip() jumps away; the compiler cannot know */
}

static const char *keep_path(const char *folder, const char *name)
{
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = arena_take(&kept, bytes, 1);

    assert_non_null(path);
    snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

const char *test_data(const char *relative)
{
    const char *root = getenv("LETHE_TEST_DATA");
    const char *path = keep_path(root != NULL && *root != '\0' ? root : "../shared", relative);

    if (access(path, R_OK) != 0) {
        print_message("SKIP: %s is not there (set LETHE_TEST_DATA)\n", path);
        skip();
    }
    return path;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_folders(void)
{
    for (size_t i = 0; i < n_folder; i++)
        nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    arena_release(&kept);
}

const char *test_folder(void)
{
    const char *root = getenv("TMPDIR");
    char *path = (char *)keep_path(root != NULL && *root != '\0' ? root : "/tmp", "lethe-test-XXXXXX");

    assert_true(n_folder < sizeof folders / sizeof *folders);
    assert_non_null(mkdtemp(path));
    folders[n_folder++] = path;
    return path;
}

const char *test_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    const char *path = keep_path(folder, name);
    FILE *file;

    CHECK_OK(dir_make(folder));
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t test_random(TestRandom *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double test_uniform(TestRandom *r, double low, double high) { return low + (high - low) * (double)(test_random(r) >> 11) * 0x1p-53; }

double test_normal(TestRandom *r)
{
    const double u = 1 - test_uniform(r, 0, 1), v = test_uniform(r, 0, 1);

    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

int test_main(const char *file, const struct CMUnitTest *tests, size_t n_test)
{
    const char *slash = strrchr(file, '/');

    arena_init(&kept);
    atexit(remove_folders);
    json_use_mem();
    return _cmocka_run_group_tests(slash != NULL ? slash + 1 : file, tests, n_test, NULL, NULL);
}
