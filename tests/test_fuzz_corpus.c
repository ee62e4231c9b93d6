/* Every fuzz target over its seeds, over what once broke something (tests/fuzz/corpus/), over each seed cut at every byte, and for a while
 * over changed seeds. Runs without libFuzzer; `make fuzz` builds the targets with it. */
#include "tests/check.h"
#include "tests/fuzz/fuzz.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char corpus_folder[] = "tests/fuzz/corpus";

/* Enough to break a planted mistake in a second or two; LETHE_FUZZ_SECONDS asks for more. */
static double fuzz_seconds(void)
{
    const char *wanted = getenv("LETHE_FUZZ_SECONDS");

    return wanted != NULL ? strtod(wanted, NULL) : getenv("LETHE_TEST_REDUCED") != NULL ? 0.5 : 2;
}

/* The input under way lies in a file of its own, so that it is there when it kills the program. */
typedef struct Runner {
    const FuzzTarget *target;
    FILE *under_way;
    char path[512];
    double slowest_s;
} Runner;

static void runner_open(Runner *r, const FuzzTarget *target)
{
    const char *root = getenv("TMPDIR");

    *r = (Runner){.target = target};
    snprintf(r->path, sizeof r->path, "%s/lethe-fuzz-%s-%ld", root != NULL && *root != '\0' ? root : "/tmp", target->name, (long)getpid());
    r->under_way = fopen(r->path, "wb");
    assert_non_null(r->under_way);
    setvbuf(r->under_way, NULL, _IONBF, 0);
    printf("%s: an input that breaks it is left in %s\n", target->name, r->path);
    fflush(stdout);
}

static void run_input(Runner *r, const void *data, size_t size)
{
    const double began = clock_s();

    assert_int_equal(ftruncate(fileno(r->under_way), 0), 0);
    rewind(r->under_way);
    assert_int_equal(fwrite(data, 1, size, r->under_way), size);
    status_clear();
    assert_int_equal(r->target->run(data, size), 0);
    if (clock_s() - began > r->slowest_s)
        r->slowest_s = clock_s() - began;
}

static void runner_close(Runner *r)
{
    fclose(r->under_way);
    remove(r->path);
}

/* The target's seeds, then its files of the corpus. */
static void gather(const FuzzTarget *target, SeedList *out)
{
    char folder[256], path[512];
    FileList names = {0};

    target->seeds(out);
    snprintf(folder, sizeof folder, "%s/%s", corpus_folder, target->name);
    if (dir_exists(folder))
        CHECK_OK(dir_list(folder, &names));
    for (size_t i = 0; i < names.count; i++) {
        StrBuf text;

        snprintf(path, sizeof path, "%s/%s", folder, names.name[i]);
        strbuf_init(&text);
        CHECK_OK(file_read(path, FUZZ_MAX_BYTES, &text));
        seed_add_buf(out, &text);
    }
    file_list_release(&names);
}

static void run_cuts(Runner *r, Str seed)
{
    for (size_t n = 0; n < seed.len; n++) {
        /* A copy of exactly n bytes: the sanitizer sees the first one read behind them. */
        uint8_t *cut = malloc(n > 0 ? n : 1);

        assert_non_null(cut);
        memcpy(cut, seed.data, n);
        run_input(r, cut, n);
        free(cut);
    }
}

static size_t run_changed(Runner *r, const SeedList *seeds, double until)
{
    static uint8_t data[FUZZ_MAX_BYTES];
    TestRandom random = {1};
    size_t n_run = 0;

    for (; clock_s() < until; n_run++) {
        const Str seed = strbuf_str(&seeds->item[test_random(&random) % seeds->count]);
        const Str other = strbuf_str(&seeds->item[test_random(&random) % seeds->count]);
        size_t size = seed.len < sizeof data ? seed.len : sizeof data;

        memcpy(data, seed.data, size);
        size = fuzz_mutate(data, size, sizeof data, other, &random.state);
        run_input(r, data, size);
    }
    return n_run;
}

static void test_fuzz_target(void **state)
{
    const FuzzTarget *target = *state;
    SeedList seeds = {0};
    Runner r;

    gather(target, &seeds);
    runner_open(&r, target);
    for (size_t i = 0; i < seeds.count; i++)
        run_input(&r, strbuf_str(&seeds.item[i]).data, seeds.item[i].len);
    const double began = clock_s();
    const size_t n = run_changed(&r, &seeds, began + fuzz_seconds());
    const double took = clock_s() - began;
    for (size_t i = 0; i < seeds.count; i++)
        run_cuts(&r, strbuf_str(&seeds.item[i]));
    printf("%s: %zu seeds, %zu changed ones, %.0f a second, the slowest %.1f ms\n", target->name, seeds.count, n, (double)n / took,
           1e3 * r.slowest_s);
    runner_close(&r);
    seed_release(&seeds);
}

/* A target that is in no table would be built by nobody. */
static void test_fuzz_targets_are_complete(void **state)
{
    FileList names = {0};
    size_t n_target = 0, n_file = 0;

    (void)state;
    if (!dir_exists("tests/fuzz"))
        test_skip("the sources are not here");
    while (fuzz_targets[n_target].name != NULL)
        n_target++;
    CHECK_OK(dir_list("tests/fuzz", &names));
    for (size_t i = 0; i < names.count; i++)
        n_file += str_starts(str_of(names.name[i]), str_of("fuzz_")) && str_ends(str_of(names.name[i]), str_of(".c"));
    assert_int_equal(n_file, n_target);
    file_list_release(&names);
}

int main(void)
{
    static struct CMUnitTest tests[64] = {cmocka_unit_test(test_fuzz_targets_are_complete)};
    static char names[64][64];
    size_t n = 1;

    log_set_level(LOG_QUIET);
    for (const FuzzTarget *t = fuzz_targets; t->name != NULL && n < sizeof tests / sizeof *tests; t++, n++) {
        snprintf(names[n], sizeof names[n], "test_fuzz_%s", t->name);
        tests[n] = (struct CMUnitTest){.name = names[n], .test_func = test_fuzz_target, .initial_state = (void *)(uintptr_t)t};
    }
    return test_main(__FILE__, tests, n);
}
